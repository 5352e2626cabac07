"""Reads folders in which one file or folder is a link to a whole one outside; run as a process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from boneviz.cohort import Cohort
from boneviz.errors import BonevizError
from boneviz.folds import Folds
from boneviz.learnerfile import LearnerFile
from boneviz.nifti import read_case, read_predictions
from boneviz.nrrdfile import read_nrrd_mask

from .images import make_nrrd, read_series, series_of
from .refusals import tried
from .targets import checked_cohort, make_cohort, make_datalist, make_learner, make_nnunet
from .watched import WATCH

__all__ = ["FOLDERS", "each_as_link"]


def read_whole_cohort(folder: Path) -> None:
    root = folder / "cohort"
    tried(
        lambda: checked_cohort(folder),
        lambda: Folds.load(root / "folds.json"),
        lambda: read_case(Cohort.open(root)["P01"]),
        lambda: read_predictions(Cohort.open(root), Cohort.open(root)["P01"]),
    )


FOLDERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "cohort": (make_cohort, read_whole_cohort),
    "nnunet": (make_nnunet, lambda f: Cohort.open(f / "Dataset501_Bone")),
    "datalist": (make_datalist, lambda f: Cohort.open(f / "bone.json")),
    "learner": (make_learner, lambda f: LearnerFile.open(f / "kim")),
    "dicom": (series_of("CT"), read_series),
    "nhdr": (make_nrrd(data_file="mask.raw"), lambda f: read_nrrd_mask(f / "mask.nhdr")),
}


def each_as_link(kind: str, work: Path) -> dict[str, list[str]]:
    """Return what was opened outside, for each file and folder that was a link; most open none."""
    make, read = FOLDERS[kind]
    (work / "whole").mkdir(parents=True)
    make(work / "whole")
    read(work / "whole")  # whole, it is read, and modules are loaded
    found: dict[str, list[str]] = {}
    for path in sorted((work / "whole").rglob("*")):
        name = path.relative_to(work / "whole")
        folder, outside = work / "inside", work / "outside"
        for each in (folder, outside):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(work / "whole", folder)
        outside.mkdir()
        (folder / name).rename(outside / name.name)
        (folder / name).symlink_to(outside / name.name)
        WATCH.found.clear()
        WATCH.folder = str(folder.resolve())
        try:
            read(folder)
        except BonevizError:
            pass
        finally:
            WATCH.folder = ""
        # names in a folder are listed before it is refused; files are not opened
        found[str(name)] = [each for each in WATCH.found if each.startswith("open ")]
    return found


if __name__ == "__main__":
    sys.addaudithook(WATCH.hook)
    print(json.dumps({kind: each_as_link(kind, Path(sys.argv[1]) / kind) for kind in FOLDERS}))
