"""Raw datasets of nnU-Net v2 as tables of paths.

The folder, after nnU-Net's documentation/dataset_format.md::

    dataset.json                 channel_names, labels, numTraining, file_ending
    imagesTr/CASE_0000.nii.gz    channel 0 of each case, CASE_0001.nii.gz channel 1, ...
    labelsTr/CASE.nii.gz         labels of one expert; of others in folders of any name
    splits_final.json            folds, where they were copied from nnU-Net's preprocessed folder

nnU-Net ignores the key ``boneviz`` of ``dataset.json``, in which an export keeps what nnU-Net does
not ask for: the experts' folders, and the patient and session of each case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boneviz.case import LabelChoice
from boneviz.dataset import Dataset, read_json, table_of, text_of, text_or
from boneviz.errors import CohortError
from boneviz.paths import inside

__all__ = ["CT_NAMES", "PET_NAMES", "is_nnunet", "read_nnunet"]

CT_NAMES = ("ct",)
PET_NAMES = ("pet", "pt", "suv", "suvbw")
ENDINGS = (".nii.gz", ".nii")


def is_nnunet(folder: Path) -> bool:
    """Whether a folder looks like a raw dataset of nnU-Net, by the names in it."""
    return (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir()


def read_nnunet(
    folder: Path,
    *,
    labels: Mapping[str, str] | None = None,
    label: str | None = None,
    patients: Mapping[str, str] | None = None,
) -> Dataset:
    """Return the training cases of a dataset; `boneviz.Cohort.from_nnunet` says how to call it.

    Raises
    ------
    CohortError
        See `boneviz.Cohort.from_nnunet`.
    """
    path = inside(folder, "dataset.json", what=str(folder))
    content = read_json(path, what="the dataset.json of a raw nnU-Net dataset")
    if not isinstance(content, dict) or not isinstance(content.get("channel_names"), dict):
        raise CohortError(
            f"{path}: no channel_names, expected those of nnU-Net v2, such as "
            '{"0": "CT", "1": "PET"}; convert a dataset of nnU-Net v1 with '
            "nnUNetv2_convert_old_nnUNet_dataset"
        )
    ending = content.get("file_ending")
    if ending not in ENDINGS:
        raise CohortError(
            f"{path}: file_ending {ending!r}, expected {' or '.join(ENDINGS)}; convert the images"
        )
    ct, pet = _channels(content["channel_names"], path)
    choice = _label(content.get("labels"), label, path)
    ours = content.get("boneviz")
    ours = ours if isinstance(ours, dict) else {}
    folders = _folders(labels if labels is not None else ours.get("experts"), path)
    listed = content.get("dataset")
    cases = _listed(listed, ct, pet, path) if listed else _found(folder, ending, ct, pet)
    if content.get("numTraining") != len(cases):
        raise CohortError(
            f"{path}: numTraining {content.get('numTraining')!r}, and {len(cases)} cases with "
            "channels in imagesTr; expected the same number: files are missing, or too many"
        )
    who = _patients(patients, ours.get("cases"), list(cases), path)
    rows = []
    for case, (ct_file, pet_file, label_file) in cases.items():
        patient, session = who[case]
        masks = {name: f"{where}/{case}{ending}" for name, where in folders.items()}
        if label_file is not None and len(folders) == 1:
            masks = dict.fromkeys(masks, label_file)
        rows.append(
            {"patient_id": patient, "session": session, "ct": ct_file, "pet": pet_file, **masks}
        )
    table = table_of(rows, path)
    splits = inside(folder, "splits_final.json", what=str(folder))
    if splits.is_file():
        table["fold"] = _folds(read_json(splits, what="nnU-Net's folds"), list(cases), splits)
    return Dataset(
        table,
        text_or(content, "name", folder.resolve().name),
        tuple(folders),
        text_or(content, "licence", text_or(content, "license", "")),
        text_or(content, "description", ""),
        choice,
    )


def _channels(names: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Return the numbers of CT and PET among the channels."""
    found: dict[str, list[int]] = {"CT": [], "PET": []}
    for number, name in names.items():
        word = str(name).strip().casefold()
        if word in (*CT_NAMES, *PET_NAMES):
            if not number.isascii() or not number.isdigit() or len(number) > 4:
                raise CohortError(f"{path}: channel number {number!r}, expected 0, 1, ...")
            found["CT" if word in CT_NAMES else "PET"].append(int(number))
    for what, numbers in found.items():
        if len(numbers) != 1:
            named = ", ".join(f"{number}: {name!r}" for number, name in names.items())
            raise CohortError(
                f"{path}: channel_names {named or 'none'}: {len(numbers)} of them name the {what}, "
                f"expected one CT (named CT) and one PET in SUVbw (named PET, PT, SUV or SUVbw)"
            )
    return found["CT"][0], found["PET"][0]


def _label(labels: Any, chosen: str | None, path: Path) -> LabelChoice:
    """Return the structure that is the lesion."""
    if not isinstance(labels, dict):
        raise CohortError(
            f'{path}: no labels, expected such as {{"background": 0, "infection": 1}}'
        )
    values: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items():
        several = value if isinstance(value, list) else [value]
        if not several or not all(type(v) is int and 0 <= v <= 2**31 for v in several):
            raise CohortError(f"{path}: label {name!r} is {value!r}, expected whole numbers from 0")
        values[name] = tuple(several)
    if "ignore" in values:
        raise CohortError(
            f"{path}: label 'ignore' marks voxels that nobody judged, expected masks that say of "
            "every voxel whether it is a lesion; leave such cases out"
        )
    structures = {name: several for name, several in values.items() if several != (0,)}
    names = ", ".join(map(repr, structures)) or "none"
    if chosen is None and len(structures) != 1:
        raise CohortError(
            f"{path}: labels {names}, expected one; say which is the lesion: "
            'Cohort.from_nnunet(folder, label="NAME")'
        )
    name = next(iter(structures)) if chosen is None else chosen
    if name not in structures:
        raise CohortError(f"{path}: no label {name!r} among {names}; take one of these")
    known = sorted({v for several in structures.values() for v in several if v})
    return LabelChoice(name, structures[name], tuple(known))


def _folders(labels: Any, path: Path) -> dict[str, str]:
    """Return expert -> folder of labels."""
    if labels is None:
        return {"Expert": "labelsTr"}
    if not isinstance(labels, Mapping) or not labels:
        raise CohortError(
            f'{path}: experts {labels!r}, expected such as {{"Expert A": "labelsTr", '
            '"Expert B": "labelsTr_b"}'
        )
    return {
        text_of(name, where=f"{path}: expert"): text_of(where, where=f"{path}: labels of {name!r}")
        for name, where in labels.items()
    }


Case = tuple[str, str, str | None]  # paths of CT, PET and, where it is listed, the label


def _found(folder: Path, ending: str, ct: int, pet: int) -> dict[str, Case]:
    """Return the cases whose CT is in ``imagesTr``, by its file name."""
    mark = f"_{ct:04}{ending}"
    images = inside(folder, "imagesTr", what=str(folder))
    names = sorted(p.name.removesuffix(mark) for p in images.glob(f"*{mark}"))
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise CohortError(f"{images}: no file CASE{mark}, expected one per case")
    return {
        name: (f"imagesTr/{name}{mark}", f"imagesTr/{name}_{pet:04}{ending}", None)
        for name in names
    }


def _listed(listed: Any, ct: int, pet: int, path: Path) -> dict[str, Case]:
    """Return the cases of the key ``dataset``, which names every file by itself."""
    try:
        return {
            name: (
                text_of(case["images"][ct], where=f"{path}: CT of {name!r}"),
                text_of(case["images"][pet], where=f"{path}: PET of {name!r}"),
                text_of(case["label"], where=f"{path}: label of {name!r}"),
            )
            for name, case in sorted(listed.items())
        }
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise CohortError(
            f"{path}: dataset is not a list of cases ({type(error).__name__}: {error}), expected "
            '{"CASE": {"images": [...], "label": ...}}'
        ) from error


def _patients(
    given: Mapping[str, str] | None, ours: Any, cases: Sequence[str], path: Path
) -> dict[str, tuple[str, str]]:
    """Return patient and session of each case."""
    if given is not None:
        lacking = [case for case in cases if case not in given]
        if lacking:
            raise CohortError(f"case {lacking[0]}: not among the patients given; name its patient")
        several = [patient for patient in given.values() if list(given.values()).count(patient) > 1]
        return {case: (given[case], case if given[case] in several else "") for case in cases}
    if not isinstance(ours, dict):
        return {case: (case, "") for case in cases}
    try:
        who = {}
        for case in cases:
            patient, session = ours[case]
            if not isinstance(session, str):
                raise TypeError(f"session {session!r}")
            who[case] = (text_of(patient, where=f"{path}: patient of {case!r}"), session)
        return who
    except (KeyError, TypeError, ValueError) as error:
        raise CohortError(
            f"{path}: boneviz cases do not name patient and session of every case ({error}); "
            "export the cohort again, or delete the key boneviz"
        ) from error


def _folds(splits: Any, cases: Sequence[str], path: Path) -> list[int]:
    """Return the fold in which each case is validated."""
    fold_of: dict[str, int] = {}
    try:
        for fold, split in enumerate(splits):
            for case in split["val"]:
                if case not in cases:
                    raise CohortError(f"{path}: case {case!r} of fold {fold} is not in the dataset")
                if fold_of.setdefault(case, fold) != fold or case in split["train"]:
                    raise CohortError(
                        f"{path}: case {case} is validated in two folds, or trained on in its "
                        "own, expected each case once"
                    )
    except (KeyError, TypeError) as error:
        raise CohortError(
            f"{path}: not nnU-Net's folds ({type(error).__name__}: {error}), expected a list of "
            '{"train": [...], "val": [...]}'
        ) from error
    lacking = [case for case in cases if case not in fold_of]
    if lacking:
        raise CohortError(
            f"{path}: case {lacking[0]} is validated in no fold, expected each case once; delete "
            "the file to deal folds anew"
        )
    return [fold_of[case] for case in cases]
