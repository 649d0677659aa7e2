"""Guidance in an interval of t, at w = 1: python -m minidiff.experiments.interval FILE"""

import sys
from pathlib import Path

from minidiff.experiments.two_networks import main

if __name__ == "__main__":
    main(Path(sys.argv[1]))
