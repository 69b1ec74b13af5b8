"""The Faust side: agents move bytes, ``streamproc`` computes."""
