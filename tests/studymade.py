"""A hospital's folder made by hand: PET/CT studies with known SUV and known outlines.

A CT of 16 x 14 pixels of 2 x 3 mm, ten slices 4 mm apart, z from 28 to 68 mm; a PET of 10 x 10
pixels of 4 x 5 mm, five slices 8 mm apart, over the same length. The PET is SUV 1, and SUV 8 in a
block; one voxel in a corner, of another value in each study, is its mark.

    voxels of the CT      columns  rows   slices
    A, everywhere          4 to 7  5 to 7  3 to 5    4 x 3 x 3 = 36 voxels of 24 mm3, 0.864 mL
    B, as SHIFTED          5 to 8  5 to 8  4 to 6    4 x 4 x 3 = 48 voxels, 1.152 mL
    both                   5 to 7  5 to 7  4 to 5    18 voxels: Dice 2 x 18 / (36 + 48) = 3/7
    B, as TALLER           4 to 7  5 to 7  3 to 6    48 voxels, both 36: Dice 72 / 84 = 6/7
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dicommade import Edit, Scan, uid, write_ct_series, write_pet_series
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from segmade import contour_of, rt_file, seg_file, written

Block = tuple[slice, slice, slice]
#: columns, rows, slices
A_BLOCK: Block = (slice(4, 8), slice(5, 8), slice(3, 6))
SHIFTED: Block = (slice(5, 9), slice(5, 9), slice(4, 7))
TALLER: Block = (slice(4, 8), slice(5, 8), slice(3, 7))
CT_SHAPE = (10, 14, 16)
PET_SHAPE = (5, 10, 10)
#: SUV is stored x slope x 4e-4: SUV 1 is 25, 50, 100, 10, 20 stored
SLOPES = (100.0, 50.0, 25.0, 250.0, 125.0)
HOT = 8.0

A_NAME, B_NAME = "lesion by A", "lesion by B"


@dataclass(frozen=True)
class Study:
    """One examination: whose, when, and what Expert B outlines."""

    patient: str
    name: str
    date: str = "20240229"
    b: Block = SHIFTED
    edit: Edit | None = None


def write_study(folder: Path, study: Study) -> None:
    """Write CT, scout, AC and NAC PET, A's RTSTRUCT and B's SEG, in one folder each."""
    frame = f"frame {study.name}"

    def dated(n: int, ds: Dataset) -> None:
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = study.date
        for dose in ds.get("RadiopharmaceuticalInformationSequence", []):
            dose.RadiopharmaceuticalStartDateTime = f"{study.date}090000"
        if study.edit:
            study.edit(n, ds)

    def scan(series: str, **more: object) -> Scan:
        return Scan(study.patient, study.name, series, frame, **more)  # type: ignore[arg-type]

    def scout(n: int, ds: Dataset) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dated(n, ds)

    def uncorrected(n: int, ds: Dataset) -> None:
        ds.CorrectedImage = ["NORM", "DTIM", "DECY", "RAN"]
        dated(n, ds)

    write_ct_series(folder / "ct", ct_stored(study), scan=scan("ct"), edit=dated)
    write_ct_series(
        folder / "scout", np.full((1, 30, 20), 1000, np.int16), scan=scan("scout"), edit=scout
    )
    of_pet = scan(
        "pet",
        between_rows_mm=5.0,
        between_columns_mm=4.0,
        step_mm=8.0,
        origin_mm=(-12.0, -22.0, 32.0),
    )
    write_pet_series(folder / "pet", pet_stored(study), slopes=SLOPES, scan=of_pet, edit=dated)
    nac = Scan(**{**vars(of_pet), "series": "nac"})
    write_pet_series(folder / "nac", pet_stored(study), slopes=SLOPES, scan=nac, edit=uncorrected)
    write_rt(folder / "a" / "rt.dcm", study, dated)
    write_seg(folder / "b" / "seg.dcm", study, dated)


def ct_stored(study: Study) -> NDArray[np.int16]:
    """Return stored values (slices, rows, columns): air, 40 HU, bone of 700 HU, the study's mark.

    No two studies have the same voxels, as no two scans have.
    """
    values = np.full(CT_SHAPE, 24, np.int16)
    values[:, 1:13, 2:14] = 1064
    values[:, 3:10, 3:10] = 1724
    values[0, 0, 0] = 24 + sum(study.name.encode()) % 97
    return values


def pet_stored(study: Study) -> NDArray[np.uint16]:
    """Return stored values (slices, rows, columns) of SUV 1, 8 in a block, and the study's mark."""
    suv = np.ones(PET_SHAPE)
    suv[1:4, 2:5, 3:6] = HOT
    suv[0, 0, 0] = 2 + sum(study.name.encode()) % 97 * 0.04
    return np.rint(suv / (np.array(SLOPES)[:, None, None] * 4e-4)).astype(np.uint16)


def mask_of(block: Block) -> NDArray[np.bool_]:
    """Return a block as voxels of the CT, (columns, rows, slices)."""
    mask = np.zeros(CT_SHAPE[::-1], dtype=bool)
    mask[block] = True
    return mask


def write_rt(path: Path, study: Study, edit: Callable[[int, Dataset], None]) -> Path:
    """Write A's outline: a rectangle along the edges of the voxels on each slice."""
    columns, rows, slices = A_BLOCK
    x = [-10 + 2 * (columns.start - 0.5), -10 + 2 * (columns.stop - 0.5)]
    y = [-20 + 3 * (rows.start - 0.5), -20 + 3 * (rows.stop - 0.5)]
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    contours = [
        contour_of([(*corner, 30 + 4 * k) for corner in corners], image=sop_of(study, k))
        for k in range(slices.start, slices.stop)
    ]
    images = [sop_of(study, k) for k in range(CT_SHAPE[0])]
    ds = rt_file(
        {1: contours},
        frame=uid(f"frame {study.name}"),
        series=uid(study.name, "ct"),
        images=images,
    )
    ds.StructureSetROISequence[0].ROIName = A_NAME
    return _label_file(path, ds, study, "rt", edit)


def write_seg(path: Path, study: Study, edit: Callable[[int, Dataset], None]) -> Path:
    """Write B's outline, a frame for each slice that has a voxel."""
    planes = range(study.b[2].start, study.b[2].stop)
    frames = [mask_of(study.b)[:, :, k].T.astype(np.uint8) for k in planes]
    ds = seg_file(frames, [(1, 4.0 * k) for k in planes], step_mm=4.0, labels={1: B_NAME})
    ds.FrameOfReferenceUID = uid(f"frame {study.name}")
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = uid(study.name, "ct")
    return _label_file(path, ds, study, "seg", edit)


def sop_of(study: Study, k: int) -> str:
    """Return the SOPInstanceUID of a slice of the CT."""
    return uid(study.name, "ct", str(k))


def _label_file(
    path: Path, ds: Dataset, study: Study, kind: str, edit: Callable[[int, Dataset], None]
) -> Path:
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(study.name, kind, "0")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(study.name), uid(study.name, kind)
    ds.PatientID, ds.PatientName = study.patient, f"Name^{study.patient}"
    ds.StudyTime = "095500"
    edit(0, ds)
    path.parent.mkdir(parents=True, exist_ok=True)
    return written(ds, path)


def write_hospital(folder: Path) -> Path:
    """Write three patients: P1 of two sessions 20 days apart, P2, and P3 without weight."""

    def without_weight(_: int, ds: Dataset) -> None:
        if "PatientWeight" in ds:
            del ds.PatientWeight

    # the later session lies first in the folder
    write_study(folder / "x1", Study("P1", "second", "20240320", TALLER))
    write_study(folder / "x2", Study("P1", "first"))
    write_study(folder / "x3", Study("P2", "other"))
    write_study(folder / "x4", Study("P3", "refused", edit=without_weight))
    (folder / "notes.txt").write_text("not DICOM")
    return folder
