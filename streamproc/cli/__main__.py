"""`python -m streamproc.cli` is `streamproc`."""

from streamproc.cli import main

if __name__ == "__main__":
    main()
