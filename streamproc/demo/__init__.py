"""What `streamproc demo` shows: a pipeline, payments with two faults in them, and who watches.

`payments.py` is the pipeline file, `scenario.py` what is sent and which faults it holds,
`observer.py` makes figures of what comes back, `summary.py` says what they amount to.
"""
