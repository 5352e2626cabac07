"""A cohort's outlines as DICOM SEG over the hospital's own series, which are found again.

The cohort keeps no UID. A patient's series are known by the study id, which follows from the user's
key or table, and the one that a case was made from by its voxels.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from boneviz.case import DEFAULT_THRESHOLD, CaseRef, Reader
from boneviz.cohort import Cohort
from boneviz.dicom import read_ct, read_grid
from boneviz.dicomexport import Identity, SegSettings, write_disagreement_seg, write_reader_seg
from boneviz.dicomfiles import Found, Series
from boneviz.errors import BonevizError, CohortError, GridError, InputError
from boneviz.files import sha256_of
from boneviz.growing import growing_folder
from boneviz.identity import StudyIds
from boneviz.labelsource import source_series
from boneviz.nifti import prediction_files, read_mask, read_predictions, read_volume
from boneviz.sourceseries import SourceSeries
from boneviz.version import __version__
from boneviz.volume import Grid, Volume

__all__ = ["SegExport", "export_dicom_seg", "series_of_case"]

# NIfTI holds an affine in single precision
SAME_MM = 0.05


@dataclass(frozen=True, slots=True)
class SegExport:
    """What goes out as SEG.

    Parameters
    ----------
    threshold : from which probability on a model's voxel is inside
    pair : names of two readers whose disagreement is written too
    identity : ``none``, or ``source`` to keep that of the source series
    """

    threshold: float = DEFAULT_THRESHOLD
    pair: tuple[str, str] | None = None
    identity: Identity = "none"


def export_dicom_seg(
    cohort: Cohort,
    out: str | Path,
    *,
    source: Found,
    ids: StudyIds,
    what: SegExport = SegExport(),
    predictions: str | Path | None = None,
    progress: bool = True,
) -> tuple[Path, ...]:
    """Write a SEG per reader and case into a new folder, whole or not at all.

    Files are ``CASE/reader.dcm`` and ``CASE/a_vs_b.dcm``, their segments on the CT's slices.

    Parameters
    ----------
    source : series of the folder that the cohort was imported from
    ids : the key or table of that import
    predictions : folder of the models' predictions, by default that of the cohort

    Raises
    ------
    InputError
        `out` is there already, the cohort has no cases or no readers, or a reader of the pair is
        not among them.
    CohortError
        No series of the source is the CT of a case.
    GridError
        The CT of a case lies on another grid than the patient's series.
    """
    if not len(cohort):
        raise InputError(f"cohort {cohort.name} has no cases to export")
    by_patient = _ct_of_patients(source, ids)
    settings = json.dumps(
        [
            "dicom-seg",
            __version__,
            [ref.case_id for ref in cohort],
            what.threshold,
            what.pair,
            what.identity,
        ]
    )
    parts: list[Path] = []
    with growing_folder(Path(out), settings=settings) as growing:
        for ref in tqdm(
            cohort, total=len(cohort), desc="SEG", unit="case", disable=not progress, leave=False
        ):
            among = by_patient.get(ref.patient_id, ())
            content = _content_of(cohort, ref, among, predictions)
            folder = growing.folder / ref.case_id
            if not (growing.has(ref.case_id, content) and folder.is_dir()):
                growing.begin(ref.case_id)
                if folder.exists():  # of an earlier run: other readers, or half of them
                    shutil.rmtree(folder)
                series = series_of_case(ref, among)
                _write(cohort, ref, series, folder, what, predictions)
                growing.add(ref.case_id, content)
            parts += [file.relative_to(growing.folder) for file in sorted(folder.glob("*.dcm"))]
    return tuple(Path(out) / part for part in parts)


def series_of_case(ref: CaseRef, among: Sequence[Series]) -> Series:
    """Return the series that has the voxels of a case's CT.

    Parameters
    ----------
    among : the CT series of the same patient

    Raises
    ------
    CohortError
        The patient has no CT series here, or none with these voxels, or two.
    GridError
        None of them lies on the CT's grid.
    """
    if not among:
        raise CohortError(
            f"patient {ref.case_id}: no CT series of this patient in the source; give the folder "
            "that it was imported from, and the key or table of that import (--key, --ids)"
        )
    ct = read_volume(ref.ct, "HU")
    grids = [(series, _grid(series)) for series in among]
    alike = [s for s, grid in grids if grid and grid.matches(ct.grid, tolerance_mm=SAME_MM)]
    if not alike:
        others = "; ".join(sorted({grid.describe() for _, grid in grids if grid})) or "none"
        raise GridError(
            f"patient {ref.case_id}: CT on {ct.grid.describe()}, the source's series of the "
            f"patient on {others}: expected the same grid; give the series it was imported from"
        )
    same = [series for series in alike if _same_voxels(ct, read_ct(series))]
    if len(same) != 1:
        raise CohortError(
            f"patient {ref.case_id}: {len(alike)} CT series of the patient on its grid, {len(same)}"
            " with its voxels: expected one; give the folder that it was imported from"
        )
    return same[0]


def _ct_of_patients(source: Found, ids: StudyIds) -> Mapping[str, Sequence[Series]]:
    series: dict[str, list[Series]] = defaultdict(list)
    for each in source:
        study_id = ids.of(each.patient_id)
        if each.modality == "CT" and study_id:
            series[study_id].append(each)
    return series


def _grid(series: Series) -> Grid | None:
    try:
        return read_grid(series)
    except BonevizError:  # a scout, a tilted series: not what the case was made from
        return None


def _same_voxels(ct: Volume, other: Volume) -> bool:
    stored = other.array
    if stored.dtype != np.int16:  # as it was written
        stored = np.clip(np.rint(stored), -32768, 32767).astype(np.int16)
    return bool(np.array_equal(ct.array, stored))


def _content_of(
    cohort: Cohort, ref: CaseRef, among: Sequence[Series], predictions: str | Path | None
) -> str:
    """Return a hash of all that the files of a case are made from.

    The series come in by their headers, all of the patient's, since which of them it is follows
    from them and the CT.
    """
    readers = [[repr(r), r.key, sha256_of(path)] for r, path in ref.masks.items()]
    # a prediction's record names its reader
    others = [ref.ct, *prediction_files(cohort, ref, folder=predictions)]
    series = [
        [
            (s.study_uid, s.series_uid, s.frame_of_reference_uid, sorted(s.sop_uids)),
            (s.patient_id, s.patient_name, str(s.study_at)),
        ]
        for s in among
    ]
    content = [
        [ref.patient_id, ref.session, cohort.id or cohort.name, repr(ref.label)],
        readers,
        [sha256_of(path) for path in others],
        sorted(series, key=json.dumps),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _write(
    cohort: Cohort,
    ref: CaseRef,
    series: Series,
    folder: Path,
    what: SegExport,
    predictions: str | Path | None,
) -> None:
    # its own grid, in double precision: what the images say
    source = source_series(series, read_grid(series))
    masks = {reader: _on(read_mask(ref, reader), source, ref) for reader in ref.masks}
    for prediction in read_predictions(cohort, ref, folder=predictions):
        masks[prediction.reader] = _on(prediction.mask(what.threshold), source, ref)
    if not masks:
        raise InputError(f"patient {ref.case_id}: no reader's outline to export")
    settings = SegSettings(ref.patient_id, cohort.id or cohort.name, what.identity)
    for reader, mask in masks.items():
        write_reader_seg(
            folder / f"{reader.key}.dcm", mask, reader, source=source, settings=settings
        )
    if what.pair is not None:
        a, b = (_named(name, masks, ref) for name in what.pair)
        path = folder / f"{a.key}_vs_{b.key}.dcm"
        pair = ((a, masks[a]), (b, masks[b]))
        write_disagreement_seg(path, *pair, source=source, settings=settings)


def _on(mask: Volume, source: SourceSeries, ref: CaseRef) -> Volume:
    """Return the mask with the source's own grid, on which it lies but for rounding."""
    if not mask.grid.matches(source.grid, tolerance_mm=SAME_MM):
        raise GridError(
            f"patient {ref.case_id}: a mask on {mask.grid.describe()}, expected the CT's grid, "
            f"{source.grid.describe()}"
        )
    return Volume(mask.array, source.grid, "label")


def _named(name: str, masks: Mapping[Reader, Volume], ref: CaseRef) -> Reader:
    for reader in masks:
        if reader.name == name:
            return reader
    known = ", ".join(reader.name for reader in masks)
    raise InputError(f"patient {ref.case_id}: no outline of {name!r}; there are {known}")
