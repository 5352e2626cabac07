"""Reads mutated files by hand: ``python -m tests.fuzz --files 100000``, from the repository.

A file that does harm is kept in ``test-output/fuzz`` with its kind, seed and number in its name;
``--only nifti --seed 3 --first 17 --files 1`` reads that one again.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

if __name__ == "__main__":
    from fuzz.parent import main

    sys.exit(main())
