"""The patients that a folder holds, told by the names of folders and files; nothing is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boneviz.case import CaseRef, Failure, Reader
from boneviz.errors import CohortError
from boneviz.paths import inside
from boneviz.petrecord import pet_record_path

__all__ = ["PassedOver", "one_patient", "other_images", "passed_over", "patients_in", "says"]

# what a cohort keeps beside its patients
NO_PATIENTS = ("models", "predictions", "inflation")
NIFTI = (".nii", ".nii.gz")
OTHER_IMAGES = (
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".img.gz", ".hdr", ".mgh", ".mgz", ".gipl"),
    *(".dcm", ".ima", ".mnc", ".tif", ".tiff", ".npy", ".npz"),
)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A folder or a file of a cohort that no case is made from.

    Parameters
    ----------
    case_id : the case whose it may be; for a folder its name in the cohort; empty where it lies
        beside the patients
    what, expected, do : found, expected, and what to do; names without control characters
    folder : whether it is one
    """

    case_id: str
    what: str
    expected: str
    do: str
    folder: bool = False


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


def passed_over(root: Path, readers: Iterable[Reader]) -> tuple[PassedOver, ...]:
    """Return what lies in a cohort's folder, and looks like a patient or an image, and is not read.

    These are folders without a case in them, images of other kinds than NIfTI, and NIfTI files that
    are neither CT, PET nor a named reader's outline, or lie beside one of the same name. Hidden
    files, ``models``, ``predictions`` and ``inflation`` are left out, and so are files of cases
    that lack one.

    Raises
    ------
    CohortError
        No patient at all.
    """
    readers = tuple(reader for reader in readers if reader.kind == "expert")
    cases, failures = patients_in(root, readers, incomplete="set aside")
    of_folder = {root / case.patient_id / case.session: case for case in cases}
    known = {*of_folder, *(root / failed.patient_id / failed.session for failed in failures)}
    above = {parent for each in known for parent in each.parents}
    return tuple(_passed_over(root, root, of_folder, known, above - known))


def other_images(folder: Path, *, case_id: str) -> tuple[PassedOver, ...]:
    """Return the images of a folder that are no NIfTI."""
    return tuple(
        PassedOver(
            case_id,
            f"{_plain(name)} is not read",
            "images as NIfTI, .nii.gz or .nii",
            "convert it, or move it away",
        )
        for name in _visible(folder, folders=False)
        if name.casefold().endswith(OTHER_IMAGES)
    )


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


def _passed_over(
    folder: Path,
    root: Path,
    of_folder: dict[Path, CaseRef],
    known: set[Path],
    above: set[Path],
) -> Iterator[PassedOver]:
    """Go through a folder that holds a case, or folders of cases."""
    if not folder.resolve().is_relative_to(root.resolve()):
        return  # a link: its cases are refused, and what else lies elsewhere is nobody's business
    case = of_folder.get(folder)
    where = folder.relative_to(root)
    if case is not None or folder not in known:
        yield from _files_passed_over(folder, where, case)
    for name in _visible(folder, folders=True):
        below = folder / name
        if folder == root and name in NO_PATIENTS:
            continue
        if below in known or below in above:
            yield from _passed_over(below, root, of_folder, known, above)
            continue
        shown = _plain((where / name).as_posix())
        yield PassedOver(
            shown,
            f"folder {shown} gives no case",
            "ct.nii.gz and pet.nii.gz in PATIENT or PATIENT/SESSION",
            "put them there, or move the folder out of the cohort",
            folder=True,
        )


def _files_passed_over(folder: Path, where: Path, case: CaseRef | None) -> Iterator[PassedOver]:
    who = "" if case is None else case.case_id
    read = [] if case is None else [case.ct, case.pet, *case.masks.values()]
    of_stem = {_stem(file.name): file.name for file in read}
    for name in _visible(folder, folders=False):
        if not name.casefold().endswith(NIFTI) or name in of_stem.values():
            continue
        if case is None:
            yield PassedOver(
                who,
                f"{_plain((where / name).as_posix())} is no patient's",
                "images in a folder per patient, PATIENT/ct.nii.gz",
                "put it into a folder, or move it away",
            )
        elif _stem(name) in of_stem:
            yield PassedOver(
                who,
                f"{_plain(name)} lies beside {of_stem[_stem(name)]}, which is the one that is read",
                "one file of each",
                "delete the one that is wrong",
            )
        else:
            yield PassedOver(
                who,
                f"{_plain(name)} is neither CT, PET nor the outline of a reader in cohort.toml",
                "files named " + ", ".join(of_stem),
                "name its reader in cohort.toml, rename it, or move it away",
            )
    yield from other_images(folder, case_id=who)


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".nii")


def _visible(folder: Path, *, folders: bool) -> list[str]:
    """Return names in a folder, in order, of folders or of all else, without hidden ones."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() == folders and not path.name.startswith(".")
    )


def _plain(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)


def _of_other_names(root: Path) -> set[Path]:
    """Return folders of images of which none is called CT or PET: somebody's patients, unseen."""
    images = [*root.glob("*/*.nii*"), *root.glob("*/*/*.nii*")]
    within = {image.parent for image in images if not _hidden(image, root)}
    return {
        folder
        for folder in within
        if folder.relative_to(root).parts[0] not in NO_PATIENTS
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
