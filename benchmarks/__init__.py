"""What is claimed of speed, latency and memory, measured: ``make bench``."""
