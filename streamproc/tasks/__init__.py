"""Tasks: what runs for one stage and one partition. Bytes in, bytes out, no clock, no network."""
