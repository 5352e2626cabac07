"""Volumes, masks and predictions from and to NIfTI files.

Geometry that cannot be known is refused, never guessed. What is written is whole or not at all,
and the same volume gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel.filebasedimages import ImageFileError as NibabelFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from boneviz.case import Case, CaseRef, LabelChoice, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.errors import (
    MALFORMED,
    BonevizError,
    CohortError,
    GridError,
    ImageFileError,
    InputError,
)
from boneviz.files import write_whole
from boneviz.niftifile import grid_of, read_header, read_voxels, require_intent
from boneviz.paths import inside
from boneviz.petrecord import read_pet_record
from boneviz.volume import Grid, Unit, Volume

__all__ = [
    "has_prediction",
    "prediction_files",
    "predictions_folder",
    "read_case",
    "read_mask",
    "read_prediction",
    "read_predictions",
    "read_volume",
    "write_prediction",
    "write_volume",
]

PROBABILITY_STEP = 1 / 255
FORMAT = 1


def read_volume(path: str | Path, unit: Unit, *, label: LabelChoice | None = None) -> Volume:
    """Read one 3D NIfTI file.

    Parameters
    ----------
    path : ``.nii`` or ``.nii.gz``
    unit : what the voxels measure; ``label`` needs the values 0 and 1 (or one other value) only
    label : which values are the lesion, in a ``label`` file of several structures

    Returns
    -------
    Volume
        HU, SUVbw and counts as stored after the header's slope (float32, or int16 where that is
        exact), label as bool, probability as float32.

    Raises
    ------
    ImageFileError
        Missing, truncated, not 3D, not real numbers, NaN, labels with several values, qform and
        sform apart by more than 2 mm, no geometry at all, a spatial unit other than mm, an intent
        code that says the voxels are something else, more voxels than the file can hold, or more
        than 2^30 voxels or 4 GiB.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageFileError(f"{path}: no such file; check the path")
    try:
        header = read_header(path)
        require_intent(header, unit)
        # numbers beyond any scale become infinite, and are refused as such
        with np.errstate(over="ignore", invalid="ignore"):
            grid = grid_of(header)
            array = read_voxels(path, header)
    except BonevizError as error:
        raise error if str(path) in str(error) else ImageFileError(f"{path}: {error}") from error
    except (
        NibabelFileError,
        HeaderDataError,
        EOFError,
        OSError,
        isal_zlib.error,
        ValueError,
        KeyError,
        MemoryError,
        OverflowError,
    ) as error:
        why = " ".join(str(error).split())
        if "pixdim" in why:
            raise ImageFileError(
                f"{path}: voxel spacing in the header is zero or negative ({why}), expected three "
                "numbers of mm above 0; mend the header at its source"
            ) from error
        raise ImageFileError(
            f"{path}: cannot be read as NIfTI ({why}); the file is damaged or truncated, "
            "copy it again from its source"
        ) from error
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = _as_unit(array, unit) if label is None else _labelled(array, label)
        return Volume(converted, grid, unit)
    except BonevizError as error:
        raise ImageFileError(f"{path}: {error}") from error


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume as NIfTI, whole or not at all, with equal bytes for equal volumes.

    HU is stored as int16 (rounded), SUVbw as int16 with a slope (steps of 1/32767 of the
    maximum), counts as float32 as they are, label as uint8 0/1, probability as uint8 with slope
    1/255.
    """
    path = Path(path)
    slope = 1.0
    stored: NDArray[Any]
    if volume.unit == "label":
        stored = volume.array.astype(np.uint8)
    elif volume.unit == "HU":
        stored = np.clip(np.rint(volume.array), -32768, 32767).astype(np.int16)
    elif volume.unit == "SUVbw":
        top = float(np.abs(volume.array).max())
        slope = float(np.float32(top / 32767)) if top > 0 else 1.0
        stored = np.rint(volume.array / slope).clip(-32767, 32767).astype(np.int16)
    elif volume.unit == "counts":
        stored = volume.array.astype(np.float32)
    else:
        slope = PROBABILITY_STEP
        stored = np.rint(volume.array / slope).astype(np.uint8)
    image = nib.Nifti1Image(stored, volume.grid.affine_ras_mm)
    image.header.set_slope_inter(slope, 0.0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"boneviz {volume.unit}".encode()
    image.set_sform(volume.grid.affine_ras_mm, code="scanner")
    # a qform holds no shear and loses some angles to rounding: it is given only where it is true
    image.set_qform(volume.grid.affine_ras_mm, code="scanner", strip_shears=True)
    if not Grid(volume.grid.shape, image.get_qform()).matches(volume.grid):
        image.set_qform(None)
    content = io.BytesIO()
    image.to_stream(content)
    plain = content.getvalue()
    packed = gzip.compress(plain, compresslevel=6, mtime=0) if path.suffix == ".gz" else plain
    write_whole(path, packed)


def read_case(ref: CaseRef, *, readers: Sequence[Reader] | None = None) -> Case:
    """Read CT, PET and masks of one session, each on the grid of its file.

    The PET is in the unit that its record says, `boneviz.petrecord`; SUVbw without one.

    Parameters
    ----------
    ref : the paths
    readers : whose masks to read; all of them by default

    Raises
    ------
    ImageFileError
        A file cannot be read; the message starts with the patient.
    InputError
        The PET's record is damaged.
    GridError
        A mask does not lie on the CT's grid. Masks are not resampled on the way in.
    """
    try:
        record = read_pet_record(ref.pet)
        chosen = tuple(ref.masks) if readers is None else tuple(readers)
        tasks: list[Callable[[], Volume]] = [
            partial(read_volume, ref.ct, "HU"),
            partial(read_volume, ref.pet, record.unit),
            *(partial(read_mask, ref, reader) for reader in chosen),
        ]
        # unpacking lets other threads run
        with ThreadPoolExecutor(min(len(tasks), os.cpu_count() or 1)) as threads:
            ct, pet, *outlines = threads.map(lambda task: task(), tasks)
        masks = dict(zip(chosen, outlines, strict=True))
    except ImageFileError as error:
        raise ImageFileError(f"patient {ref.case_id}: {error}") from error
    except InputError as error:
        raise InputError(f"patient {ref.case_id}: {error}") from error
    for reader, mask in masks.items():
        if not mask.grid.matches(ct.grid):
            raise GridError(
                f"patient {ref.case_id}: mask of {reader.name} lies on {mask.grid.describe()}, "
                f"expected the CT's grid, {ct.grid.describe()}; resample the mask onto the CT "
                "with nearest neighbour at its source, or give the mask drawn on the CT"
            )
    return Case(ref.patient_id, ref.session, ct, pet, masks, pet_origin=record.origin)


def read_mask(ref: CaseRef, reader: Reader) -> Volume:
    """Read what one reader outlined in a case, on the grid of its file.

    Raises
    ------
    ImageFileError
        The file cannot be read.
    """
    return read_volume(ref.masks[reader], "label", label=ref.label)


def write_prediction(prediction: Prediction, folder: str | Path) -> Path:
    """Write a prediction as ``CASE.nii.gz`` with ``CASE.json`` beside it; return the first path.

    The JSON is written last: a prediction without it does not count.
    """
    path = _prediction_path(Path(folder), prediction.patient_id, prediction.session)
    record = {
        "format": FORMAT,
        "patient_id": prediction.patient_id,
        "session": prediction.session,
        "reader": {
            "name": prediction.reader.name,
            "kind": prediction.reader.kind,
            "intent": prediction.reader.intent,
            "learned_from": prediction.reader.learned_from,
            **({"variant": prediction.reader.variant} if prediction.reader.variant else {}),
        },
        "fold": prediction.fold,
        "checkpoint_id": prediction.checkpoint_id,
        "trained_on": sorted(prediction.trained_on),
        "demonstration": prediction.demonstration,
    }
    # killed in between, new voxels must not stand beside an old record
    _record_path(path).unlink(missing_ok=True)
    write_volume(prediction.probability, path)
    write_whole(_record_path(path), json.dumps(record, indent=1).encode())
    return path


def has_prediction(folder: str | Path, ref: CaseRef, *, checkpoint_id: str) -> bool:
    """Whether `folder` holds a finished prediction of this checkpoint for this case."""
    path = _prediction_path(Path(folder), ref.patient_id, ref.session)
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    same = isinstance(record, dict) and record.get("checkpoint_id") == checkpoint_id
    return path.is_file() and same


def read_prediction(folder: str | Path, ref: CaseRef) -> Prediction:
    """Read what `write_prediction` wrote for this case.

    Raises
    ------
    CohortError
        There is no prediction for the case, or its record is damaged.
    """
    path = _prediction_path(Path(folder), ref.patient_id, ref.session)
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        found = (str(record["patient_id"]), str(record["session"]))
        if found != (ref.patient_id, ref.session):
            raise CohortError(
                f"{_record_path(path)}: a prediction for patient {' '.join(found).strip()}, "
                f"expected {ref.case_id}; a file was renamed, run `boneviz predict` again"
            )
        reader = Reader(**record["reader"])
        fold, checkpoint_id = int(record["fold"]), str(record["checkpoint_id"])
        trained_on, demonstration = record["trained_on"], record.get("demonstration", False)
        # a text would pass for its letters, and a patient that the model saw for a new one
        if not isinstance(trained_on, list) or not all(isinstance(p, str) for p in trained_on):
            raise ValueError(f"trained_on is {trained_on!r}, expected a list of patient ids")
        if not isinstance(demonstration, bool):
            raise ValueError(f"demonstration is {demonstration!r}, expected true or false")
    except FileNotFoundError as error:
        raise CohortError(
            f"patient {ref.case_id}: no prediction in {folder}; run `boneviz predict` first"
        ) from error
    except CohortError:
        raise
    except (InputError, *MALFORMED) as error:
        raise CohortError(
            f"{_record_path(path)}: not a prediction's record ({error}); "
            "delete it and run `boneviz predict` again"
        ) from error
    return Prediction(
        patient_id=ref.patient_id,
        session=ref.session,
        reader=reader,
        fold=fold,
        probability=read_volume(path, "probability"),
        checkpoint_id=checkpoint_id,
        trained_on=frozenset(trained_on),
        demonstration=demonstration,
    )


def read_predictions(
    cohort: Cohort, ref: CaseRef, *, folder: str | Path | None = None
) -> tuple[Prediction, ...]:
    """Read the predictions of all models for one case, in the order of the cohort's models.

    Models are the folders inside `folder`, by default ``predictions/`` of the cohort; a case
    without predictions gives an empty tuple.

    Raises
    ------
    CohortError
        A `folder` was given that holds no predictions at all, a record is damaged, or a link leads
        out of the folder.
    """
    folder = predictions_folder(cohort, folder)
    found = [
        read_prediction(model, ref)
        for model in sorted(folder.glob("*/"))
        if _stands_in(folder, _prediction_path(model, ref.patient_id, ref.session), ref)
    ]
    known = {reader.name: place for place, reader in enumerate(cohort.models)}
    return tuple(sorted(found, key=lambda p: (known.get(p.reader.name, len(known)), p.reader.name)))


def predictions_folder(cohort: Cohort, folder: str | Path | None) -> Path:
    """Return the folder of predictions, by default the cohort's own, which may be missing.

    Raises
    ------
    CohortError
        A `folder` was given that holds no predictions at all, or the cohort's own is a link that
        leads out of the cohort.
    """
    if folder is None:
        return inside(cohort.root, "predictions", what=f"cohort {cohort.name}")
    if not [*Path(folder).glob("*/*.json")]:
        raise CohortError(
            f"{folder}: no predictions here; expected a folder per model with CASE.nii.gz and "
            "CASE.json, as `boneviz predict --out FOLDER` writes them"
        )
    return Path(folder)


def prediction_files(
    cohort: Cohort, ref: CaseRef, *, folder: str | Path | None = None
) -> tuple[Path, ...]:
    """Return the files that `read_predictions` would read: probabilities and their records."""
    folder = predictions_folder(cohort, folder)
    paths = [_prediction_path(model, ref.patient_id, ref.session) for model in folder.glob("*/")]
    return tuple(
        file
        for path in sorted(paths)
        if _stands_in(folder, path, ref)
        for file in (path, _record_path(path))
    )


def _stands_in(folder: Path, path: Path, ref: CaseRef) -> bool:
    """Whether a prediction is there; one that a link leads to from elsewhere is refused."""
    if not _record_path(path).is_file():
        return False
    for file in (path, _record_path(path)):
        inside(folder, file.relative_to(folder), what=f"patient {ref.case_id}")
    return True


def _prediction_path(folder: Path, patient_id: str, session: str) -> Path:
    return folder / f"{patient_id}{'_' if session else ''}{session}.nii.gz"


def _record_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _labelled(array: NDArray[Any], label: LabelChoice) -> NDArray[np.bool_]:
    """Return where a file of several structures has the one that was chosen."""
    values = np.unique(array)
    foreign = values[~np.isin(values, (0, *label.known))]
    if foreign.size:
        listed = ", ".join(f"{v:g}" for v in foreign[:6])
        raise InputError(
            f"a mask with the values {listed}, which its dataset does not name: expected 0 and "
            f"{', '.join(str(v) for v in label.known)}"
        )
    return np.isin(array, label.values)


def _as_unit(array: NDArray[Any], unit: Unit) -> NDArray[Any]:
    if unit == "label":
        marked = np.asarray(array != 0)  # a NaN, too
        value = array.max() or array.min()
        alike = np.count_nonzero(array == value) if value else 0
        # to list the values takes ten times as long
        if not np.isfinite(value) or np.count_nonzero(marked) != alike:
            values = np.unique(array)
            if array.dtype.kind == "f" and not np.isfinite(values).all():
                raise InputError("a mask with NaN: expected 0 and 1")
            if np.count_nonzero(values) > 1:
                listed = ", ".join(f"{v:g}" for v in values[:6])
                raise InputError(
                    f"a mask with the values {listed}: expected 0 and one other; "
                    "save each structure as a mask of its own"
                )
        return marked
    if unit == "HU" and array.dtype == np.int16:
        return array
    return array.astype(np.float32)
