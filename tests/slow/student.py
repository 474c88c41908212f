"""Runs a study in a process of its own, on tiny packages.

python -m tests.slow.student PACKAGES STUDY OUT [CELLS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.unit.data.nano.conftest import pin

from studies.run import main

if __name__ == "__main__":
    packages, study, out, *cells = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        pin(patch, Path(packages).read_text(encoding="utf-8"))
        sys.exit(main([study, "--out", out, *(["--cells", *cells] if cells else [])]))
