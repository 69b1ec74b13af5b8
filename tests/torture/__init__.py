"""``make torture``: break a running pipeline in every way we know, and count what it cost."""
