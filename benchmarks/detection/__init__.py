"""How soon detectors see a change, at equal false alarms, ours beside others: ``make detect``."""
