"""Models: what kind they are, how they score and learn, and their published versions."""
