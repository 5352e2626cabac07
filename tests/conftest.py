"""Settings and fixtures shared by all tests; the small cases themselves are in `small`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Orthanc, running_orthanc
from hypothesis import settings
from small import write_tiny_cohort

from boneviz.cohort import Cohort

# two learners of these sizes are slower on many threads than on one
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("boneviz", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("boneviz")


@pytest.fixture
def tiny_cohort(tmp_path: Path) -> Cohort:
    """Six patients on straight, LPS and oblique grids, outlined by two experts."""
    return write_tiny_cohort(tmp_path / "tiny")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Return the folder of real scans; tests without it are skipped with the reason."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BONEVIZ_REALDATA", beside))
    if not (folder / "petct").is_dir():
        pytest.skip(f"no real scans: {folder}/petct does not exist (set BONEVIZ_REALDATA)")
    return folder


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Return a real Orthanc that all tests share: each uses patients of its own."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running
