"""The patients that a folder holds, told by the names of folders and files; nothing is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from boneviz.case import CaseRef, Failure, Reader
from boneviz.errors import CohortError
from boneviz.paths import inside
from boneviz.petrecord import pet_record_path

__all__ = ["one_patient", "patients_in", "says"]


def patients_in(
    root: Path, experts: Iterable[Reader], *, incomplete: Literal["refuse", "set aside"]
) -> tuple[tuple[CaseRef, ...], tuple[Failure, ...]]:
    """Return the cases of a cohort's folder, and those that lack a file where they are set aside.

    Raises
    ------
    CohortError
        No patient at all; or, where `incomplete` says refuse, one who lacks CT, PET or an expert's
        mask, whose files have other names, or whose folder or file is a link that leads out of
        `root`.
    """
    experts = tuple(experts)
    found = sorted({*root.glob("*/ct.nii*"), *root.glob("*/*/ct.nii*")})
    # folders with a dot are being written
    with_ct = [ct.parent for ct in found if not _hidden(ct, root)]
    pets = [*root.glob("*/pet.nii*"), *root.glob("*/*/pet.nii*")]
    pets = [pet for pet in pets if not _hidden(pet, root)]
    folders = sorted({*with_ct, *(pet.parent for pet in pets), *_of_other_names(root)})
    if not folders:
        raise CohortError(f"{root}: no patient folder with ct.nii.gz and pet.nii.gz")
    cases: list[CaseRef] = []
    failures: list[Failure] = []
    for folder in folders:
        within = folder.relative_to(root).parts
        session = within[1] if len(within) == 2 else ""
        try:
            inside(root, folder.relative_to(root), what=f"patient {within[0]}")
            if folder not in with_ct and not _holds(folder, "pet"):
                names = ", ".join(sorted(f.name for f in folder.glob("*.nii*")))
                raise CohortError(
                    f"patient {within[0]}: no ct.nii.gz and no pet.nii.gz in {folder}, found "
                    f"{names}: expected these names, in small letters; rename the files"
                )
            if folder not in with_ct:
                raise CohortError(
                    f"patient {within[0]}: PET without CT in {folder}: "
                    "expected ct.nii.gz beside pet.nii.gz"
                )
            files = {stem: _nifti(root, folder, stem) for stem in ("ct", "pet")}
            record = pet_record_path(files["pet"]).relative_to(root)
            inside(root, record, what=f"patient {within[0]}")
            masks = {expert: _nifti(root, folder, expert.key) for expert in experts}
            cases.append(CaseRef(within[0], session, files["ct"], files["pet"], masks))
        except CohortError as error:
            if incomplete == "refuse":
                raise
            failures.append(Failure(within[0], session, str(error)))
    return tuple(cases), tuple(failures)


def one_patient(root: Path) -> tuple[CaseRef, str]:
    """Return the case of a folder with one CT, one PET, and masks, told apart by file name.

    Returns
    -------
    The case, whose readers are called as the masks' files, and a note of what was left out.

    Raises
    ------
    CohortError
        No NIfTI file, not exactly one CT and one PET, or a link that leads out of the folder.
    """
    files = sorted({*root.glob("*.nii"), *root.glob("*.nii.gz")})
    if not files:
        raise CohortError(
            f"{root}: neither a cohort.toml nor a NIfTI file (.nii, .nii.gz) here; "
            "give a cohort folder, or a folder with one patient's CT and PET"
        )
    marked = [f for f in files if says(f.name, "mask", "seg", "label", "gtv", "roi")]
    images = {
        "CT": [f for f in files if f not in marked and says(f.name, "ct")],
        "PET": [f for f in files if f not in marked and says(f.name, "pet", "suv", "pt")],
    }
    for what, found in images.items():
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise CohortError(
                f"{root}: {what} files found: {names}; expected exactly one "
                f"whose name says {what} (all files: {', '.join(f.name for f in files)})"
            )
    ct, pet = images["CT"][0], images["PET"][0]
    for file in (*files, pet_record_path(pet)):
        inside(root, file.name, what=str(root))
    # whatever is neither CT nor PET is somebody's outline; one drawn on the PET's grid is a
    # second copy of a contour, and the CT's is the one shown
    outlines = [f for f in files if f not in (ct, pet)]
    on_ct = [f for f in outlines if not says(f.name, "pet", "suv", "pt")]
    readers = {Reader(f.name.removesuffix(".gz").removesuffix(".nii")): f for f in on_ct}
    left_out = [f.name for f in outlines if f not in on_ct]
    note = f"Left out, as drawn on the PET: {', '.join(left_out)}." if left_out else ""
    return CaseRef(root.resolve().name, "", ct, pet, readers), note


def says(name: str, *words: str) -> bool:
    """Whether a file's name has one of these as a word of its own: PET does, Peter does not."""
    pattern = "|".join(words)
    return bool(re.search(rf"(?<![a-z])({pattern})(?![a-z])", name, re.IGNORECASE))


def _of_other_names(root: Path) -> set[Path]:
    """Return folders of images of which none is called CT or PET: somebody's patients, unseen."""
    images = [*root.glob("*/*.nii*"), *root.glob("*/*/*.nii*")]
    within = {image.parent for image in images if not _hidden(image, root)}
    return {
        folder
        for folder in within
        if folder.relative_to(root).parts[0] not in ("models", "predictions")
        and not any(folder in (other, *other.parents) for other in within if _holds(other, "ct"))
        and not _holds(folder, "pet")
    }


def _holds(folder: Path, stem: str) -> bool:
    return any((folder / (stem + suffix)).is_file() for suffix in (".nii.gz", ".nii"))


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _nifti(root: Path, folder: Path, stem: str) -> Path:
    patient_id = folder.relative_to(root).parts[0]
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return inside(root, path.relative_to(root), what=f"patient {patient_id}")
    raise CohortError(
        f"patient {patient_id}: no {stem}.nii.gz in {folder}; every patient needs "
        "ct, pet and one mask per expert (an expert who saw no lesion gives an empty mask)"
    )
