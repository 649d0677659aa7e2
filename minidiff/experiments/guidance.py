"""CFG, CG and CG on the conditional model over the guidance scale: python -m
minidiff.experiments.guidance FILE

It is `minidiff evaluate` as it stands: 2,000 digits a row, about two hours.
"""

import sys

from minidiff.commands import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", "--out", sys.argv[1]]))
