"""What the outside is told of alerts: payloads, signatures, and what has still to be told."""
