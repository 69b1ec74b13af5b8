"""Talking to brokers: the embedded one, topics and their settings, who answers at an address."""
