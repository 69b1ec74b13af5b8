"""Our detectors beside those of others."""
