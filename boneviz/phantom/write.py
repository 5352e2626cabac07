"""A cohort of synthetic patients on disk, each patient whole or not at all, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boneviz.case import CaseRef
from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.files import write_whole
from boneviz.nifti import write_volume
from boneviz.phantom.generate import GENERATION, PhantomConfig, make_phantom
from boneviz.phantom.sites import PLACES
from boneviz.phantom.styles import EXPERT_A, EXPERT_B

__all__ = ["make_cohort"]

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
        `out` holds another cohort, phantoms of another seed, configuration or version, or more
        phantoms than asked for.
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
    refs = []
    patients = range(1, n_patients + 1)
    for n in tqdm(patients, desc="phantoms", unit="patient", disable=not progress):
        ref = _ref(out, f"P{n:03d}")
        kind, region = PLACES[(n - 1) % len(PLACES)]
        if not _is_complete(ref):
            _write(ref, kind=kind, region=region, seed=seed, config=config)
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
    )
    if not (out / "cohort.toml").is_file():
        cohort.save()
    return cohort


def _ref(out: Path, patient_id: str) -> CaseRef:
    folder = out / patient_id
    return CaseRef(
        patient_id,
        "",
        folder / "ct.nii.gz",
        folder / "pet.nii.gz",
        {reader: folder / f"{reader.key}.nii.gz" for reader in (EXPERT_A, EXPERT_B)},
    )


def _write(ref: CaseRef, *, kind: str, region: str, seed: int, config: PhantomConfig) -> None:
    phantom = make_phantom(ref.patient_id, kind=kind, region=region, seed=seed, config=config)
    write_volume(phantom.case.ct, ref.ct)
    write_volume(phantom.case.pet, ref.pet)
    for reader, path in ref.masks.items():
        write_volume(phantom.case.masks[reader], path)
    # last of all: a patient without it does not count as written
    content = json.dumps(phantom.plant.to_dict(), indent=1)
    write_whole(ref.ct.parent / "plant.json", content.encode())


def _is_complete(ref: CaseRef) -> bool:
    files = (ref.ct, ref.pet, *ref.masks.values(), ref.ct.parent / "plant.json")
    return all(path.is_file() for path in files)


def _require_ours(out: Path, recipe: dict[str, Any], n_patients: int) -> None:
    """Raise unless `out` is new, empty, or holds no more than phantoms of this very recipe."""
    if out.exists() and not out.is_dir():
        raise CohortError(f"{out}: is a file; give a folder for the phantoms")
    plants = sorted(out.glob("*/plant.json"))
    if (out / "cohort.toml").is_file() and not plants:
        raise CohortError(f"{out}: holds another cohort; give a new folder for the phantoms")
    for path in plants:
        try:
            plant = json.loads(path.read_text(encoding="utf-8"))
            found = {key: plant.get(key) for key in recipe}
        except (ValueError, AttributeError) as error:
            raise CohortError(
                f"{path}: not readable ({error}); delete its folder and run again"
            ) from error
        if found != recipe:
            raise CohortError(
                f"{out}: holds phantoms of {_in_words(found)}, expected {_in_words(recipe)}; "
                "give a new folder, or the same options as before"
            )
    if len(plants) > n_patients:
        raise CohortError(
            f"{out}: holds {len(plants)} phantoms, more than the {n_patients} asked for; "
            "ask for as many, or give a new folder"
        )
    strangers = [
        folder.name
        for folder in sorted(out.glob("*/"))
        if any(folder.glob("*.nii*")) and not folder.name.startswith("P")
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
