"""python -m minidiff train | sample | evaluate | verify."""

import sys

from minidiff.commands import main

if __name__ == "__main__":
    sys.exit(main())
