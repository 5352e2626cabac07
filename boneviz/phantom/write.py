"""A cohort of synthetic patients on disk, each patient whole or not at all, resumable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boneviz.case import CaseRef
from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.files import sha256_of, write_whole
from boneviz.nifti import write_volume
from boneviz.phantom.generate import GENERATION, Phantom, PhantomConfig, make_phantom
from boneviz.phantom.sites import PLACES
from boneviz.phantom.styles import EXPERT_A, EXPERT_B

__all__ = ["make_cohort"]

HIDDEN = (".writing-", ".replaced-")  # before the name of a patient who is on the way
PROVENANCE = (
    "Synthetic PET/CT of bone infection with two planted expert styles, made by "
    "`boneviz phantom`; for demonstration, not for diagnosis"
)


def make_cohort(
    out: Path,
    *,
    n_patients: int = 24,
    seed: int = 0,
    config: PhantomConfig | None = None,
    progress: bool = True,
) -> Cohort:
    """Write synthetic patients P001, P002, ... into a folder and return them as a cohort.

    Patients that are already there, complete and of the same seed and configuration, are kept,
    so an interrupted run goes on where it stopped, and a larger cohort begins with the smaller.
    A patient's folder appears once all its files are written; until then they are in a hidden one.

    Parameters
    ----------
    out : the folder; made where it does not exist
    n_patients : at least 1; any eight in a row show all infections and all regions
    seed : of the whole cohort; each patient's own stream follows from it and the patient's id
    config : style of the experts and size of the images
    progress : whether to show a progress bar

    Raises
    ------
    CohortError
        `out` holds another cohort, phantoms of another seed, configuration or version, more
        phantoms than asked for, or files in the place of a phantom that are not part of it.
    InputError
        Fewer than one patient, or more than 999.
    """
    out = Path(out)
    config = config or PhantomConfig()
    if not 1 <= n_patients <= 999:
        raise InputError(f"{n_patients} phantom patients: expected 1 to 999")
    recipe = {
        "seed": seed,
        "config": {"style": config.style, "size": config.size},
        "generation": GENERATION,
    }
    _require_ours(out, recipe, n_patients)
    for left_over in _hidden(out):
        shutil.rmtree(left_over)
    refs = []
    patients = range(1, n_patients + 1)
    for n in tqdm(patients, desc="phantoms", unit="patient", disable=not progress):
        ref = _ref(out / _name(n), _name(n))
        kind, region = PLACES[(n - 1) % len(PLACES)]
        if not _is_complete(ref):
            phantom = make_phantom(_name(n), kind=kind, region=region, seed=seed, config=config)
            with _whole_folder(ref) as hidden:
                _write(phantom, hidden)
        refs.append(ref)
    name = f"Phantoms, {'two styles' if config.style == 'two-styles' else 'one style'}"
    cohort = Cohort(
        name=name,
        root=out,
        readers=(EXPERT_A, EXPERT_B),
        cases=tuple(refs),
        licence="CC0-1.0",
        provenance=f"{PROVENANCE}; seed {seed}",
        synthetic=True,
        id=f"phantoms-{GENERATION}-{seed}-{config.style}-{config.size}",
    )
    if not (out / "cohort.toml").is_file():
        cohort.save()
    return cohort


def _name(n: int) -> str:
    return f"P{n:03d}"


def _ref(folder: Path, patient_id: str) -> CaseRef:
    return CaseRef(
        patient_id,
        "",
        folder / "ct.nii.gz",
        folder / "pet.nii.gz",
        {reader: folder / f"{reader.key}.nii.gz" for reader in (EXPERT_A, EXPERT_B)},
    )


def _write(phantom: Phantom, ref: CaseRef) -> None:
    write_volume(phantom.case.ct, ref.ct)
    write_volume(phantom.case.pet, ref.pet)
    for reader, path in ref.masks.items():
        write_volume(phantom.case.masks[reader], path)
    content = json.dumps(phantom.plant.to_dict(), indent=1)
    write_whole(ref.ct.parent / "plant.json", content.encode())


@contextmanager
def _whole_folder(ref: CaseRef) -> Iterator[CaseRef]:
    """Give paths in a hidden folder, which takes the patient's place when the block ends well."""
    folder = ref.ct.parent
    hidden, replaced = (folder.with_name(start + folder.name) for start in HIDDEN)
    hidden.mkdir(parents=True)
    try:
        yield (made := _ref(hidden, ref.patient_id))
        if not _is_complete(made):
            raise CohortError(
                f"{hidden}: files went missing while they were written; "
                "let one run at a time write phantoms there, and run again"
            )
        if folder.exists():
            _require_part_of(folder, hidden)
            folder.rename(replaced)
        hidden.rename(folder)
    finally:
        for path in (hidden, replaced):
            if path.exists():
                shutil.rmtree(path)


def _require_part_of(half: Path, whole: Path) -> None:
    """Raise unless a folder holds nothing but some of the files of the whole patient.

    boneviz 0.1.0 wrote into the final folder, and left half a patient there where it was stopped;
    anything else there is somebody's own.
    """
    for path in sorted(half.iterdir()):
        if path.name.startswith(".writing-"):
            continue  # a single file that was cut short
        twin = whole / path.name
        if not (path.is_file() and twin.is_file() and sha256_of(path) == sha256_of(twin)):
            raise CohortError(
                f"{path}: in the place of phantom {half.name} and not part of it; "
                f"move {half.name} elsewhere, or give a new folder for the phantoms"
            )


def _hidden(out: Path) -> list[Path]:
    """Return the hidden folders of patients that a killed run left."""
    return sorted(path for start in HIDDEN for path in out.glob(f"{start}P[0-9][0-9][0-9]"))


def _is_complete(ref: CaseRef) -> bool:
    files = (ref.ct, ref.pet, *ref.masks.values(), ref.ct.parent / "plant.json")
    return all(path.is_file() for path in files)


def _require_ours(out: Path, recipe: dict[str, Any], n_patients: int) -> None:
    """Raise unless `out` is new, empty, or holds no more than phantoms of this very recipe."""
    if out.exists() and not out.is_dir():
        raise CohortError(f"{out}: is a file; give a folder for the phantoms")
    wanted = {_name(n) for n in range(1, n_patients + 1)}
    folders = [path for path in sorted(out.glob("*/")) if not path.name.startswith(".")]
    plants = [path / "plant.json" for path in folders if (path / "plant.json").is_file()]
    if (out / "cohort.toml").is_file() and not plants:
        raise CohortError(f"{out}: holds another cohort; give a new folder for the phantoms")
    for path in plants:
        try:
            plant = json.loads(path.read_text(encoding="utf-8"))
            found = {key: plant.get(key) for key in recipe}
        except (ValueError, AttributeError, RecursionError) as error:
            raise CohortError(
                f"{path}: not readable ({error}); delete its folder and run again"
            ) from error
        if found != recipe:
            raise CohortError(
                f"{out}: holds phantoms of {_in_words(found)}, expected {_in_words(recipe)}; "
                "give a new folder, or the same options as before"
            )
    beyond = [path.parent.name for path in plants if path.parent.name not in wanted]
    if beyond:
        raise CohortError(
            f"{out}: holds phantoms beyond the {n_patients} asked for "
            f"({', '.join(beyond[:3])}); ask for as many, or give a new folder"
        )
    strangers = [
        folder.name
        for folder in folders
        if folder.name not in wanted
        and any([*folder.glob("*.nii*"), *folder.glob("*/ct.nii*"), *folder.glob("*/pet.nii*")])
    ]
    if strangers:
        raise CohortError(
            f"{out}: holds other images ({', '.join(strangers[:3])}); give a new folder"
        )


def _in_words(recipe: dict[str, Any]) -> str:
    config = recipe.get("config") or {}
    return (
        f"seed {recipe.get('seed')}, style {config.get('style')}, size {config.get('size')}, "
        f"generation {recipe.get('generation')}"
    )
