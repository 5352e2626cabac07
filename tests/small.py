"""Small named grids, cases and a tiny cohort, all worked out by hand or drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boneviz.case import Case, CaseRef, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.nifti import read_volume, write_volume
from boneviz.petrecord import PetRecord, write_pet_record
from boneviz.volume import Grid, Unit, Volume

if TYPE_CHECKING:
    from boneviz.patches import TrainConfig

EXPERT_A = Reader("Expert A", "expert", "high-sensitivity")
EXPERT_B = Reader("Expert B", "expert", "high-specificity")
MODEL_A = Reader("Model A", "model", "high-sensitivity", learned_from="Expert A")
MODEL_B = Reader("Model B", "model", "high-specificity", learned_from="Expert B")

#: one millimetre sizes that differ on every axis, so that a swapped axis shows
STRAIGHT = Grid.straight((5, 4, 3), (2, 3, 4), (10, -20, 30))


def tiny_config(**changes: Any) -> TrainConfig:
    """Return the settings of a fit of a few seconds, torch being loaded only here."""
    from boneviz.network import NetConfig
    from boneviz.patches import TrainConfig

    base = TrainConfig(
        expert="Expert A",
        fold=0,
        steps=6,
        batch=2,
        patch=(16, 16, 16),
        spacing_mm=(6.0, 6.0, 6.0),
        rate=5e-3,
        seed=3,
        save_every=2,
        net=NetConfig(filters=(4, 8, 8)),
    )
    return replace(base, **changes)


def affine_of(*columns: Sequence[float], origin: Sequence[float] = (0, 0, 0)) -> np.ndarray:
    """Return the 4 x 4 affine whose axes are the three columns, in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    affine[:3, 3] = origin
    return affine


def turned_about_z(degrees: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return 3 x 3 axes of this spacing, RAS turned about the patient's length."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(spacing_mm)


def volume_of(value: float, grid: Grid, unit: Unit) -> Volume:
    """Return a volume with one value everywhere."""
    return Volume(np.full(grid.shape, value, bool if unit == "label" else np.float32), grid, unit)


def case_on(ct: Grid, pet: Grid | None = None, masks: dict[Reader, Volume] | None = None) -> Case:
    """Return patient P01 with air on `ct` and no uptake on `pet` (the CT's grid by default)."""
    return Case(
        "P01", "", volume_of(-1000, ct, "HU"), volume_of(0, pet or ct, "SUVbw"), masks or {}
    )


def prediction_of(
    reader: Reader = MODEL_A,
    *,
    patient_id: str = "P01",
    session: str = "",
    value: float = 0.25,
    trained_on: frozenset[str] = frozenset({"P02", "P03"}),
    checkpoint_id: str = "c0ffee",
) -> Prediction:
    """Return a prediction of one probability everywhere on `STRAIGHT`."""
    return Prediction(
        patient_id,
        session,
        reader,
        1,
        volume_of(value, STRAIGHT, "probability"),
        checkpoint_id,
        trained_on,
        demonstration=True,
    )


@dataclass(frozen=True)
class Limb:
    """A block of soft tissue with one infected box, given in millimetres about its middle.

    In the box the CT is sclerotic (900 HU) and the PET hot (SUVbw 8); around it 50 HU and SUVbw 1.
    Expert A outlines the box, expert B the box 6 mm further in on every side.
    """

    patient_id: str
    session: str
    grid: Grid
    centre_mm: tuple[float, float, float]
    half_mm: float

    def lesion(self, grid: Grid, *, inset_mm: float = 0.0) -> np.ndarray:
        index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
        away = np.abs(grid.to_mm(index) - self.centre_mm).max(axis=-1)
        return away <= self.half_mm - inset_mm

    def case(self, *, seed: int) -> Case:
        rng = np.random.default_rng(seed)
        ct = np.where(self.lesion(self.grid), 900, 50) + rng.normal(0, 20, self.grid.shape)
        low, high = self.grid.corners_mm().min(axis=0) - 6, self.grid.corners_mm().max(axis=0) + 6
        shape = np.ceil((high - low) / 6).astype(int) + 1
        pet_grid = Grid.straight(shape.tolist(), (6, 6, 6), low.tolist())
        pet = np.where(self.lesion(pet_grid), 8.0, 1.0) + rng.uniform(0, 0.2, pet_grid.shape)
        return Case(
            self.patient_id,
            self.session,
            Volume(np.rint(ct).astype(np.int16), self.grid, "HU"),
            Volume(pet.astype(np.float32), pet_grid, "SUVbw"),
            {
                EXPERT_A: Volume(self.lesion(self.grid), self.grid, "label"),
                EXPERT_B: Volume(self.lesion(self.grid, inset_mm=6), self.grid, "label"),
            },
        )


def limb(patient_id: str, session: str = "", *, axes: str = "straight", place: int = 0) -> Limb:
    """Return one of the tiny cohort's limbs: 108 x 96 x 108 mm about the origin.

    axes : ``straight``, ``lps`` (x and y run to the patient's left and back) or ``oblique``
        (turned 10 degrees about z)
    place : picks where the box lies and how large it is
    """
    shape, spacing = (36, 32, 18), (3.0, 3.0, 6.0)
    columns = {
        "straight": np.diag(spacing),
        "lps": np.diag([-3.0, -3.0, 6.0]),
        "oblique": turned_about_z(10, spacing),
    }[axes]
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = -columns @ ((np.array(shape) - 1) / 2)  # the middle at 0 mm
    centre = [(-18.0, 12.0, -12.0), (15.0, -9.0, 12.0), (0.0, 15.0, 18.0)][place % 3]
    return Limb(patient_id, session, Grid(shape, affine), centre, 16.0 + 2.0 * place)


def tiny_limbs() -> tuple[Limb, ...]:
    """Return six patients, P01 to P06, the three kinds of axes twice."""
    kinds = ("straight", "lps", "oblique") * 2
    return tuple(limb(f"P{n + 1:02}", axes=kind, place=n) for n, kind in enumerate(kinds))


def write_case(case: Case, root: Path) -> CaseRef:
    """Write a case into its folder of a cohort."""
    folder = root / case.patient_id / case.session
    masks = {reader: folder / f"{reader.key}.nii.gz" for reader in case.masks}
    write_volume(case.ct, folder / "ct.nii.gz")
    write_volume(case.pet, folder / "pet.nii.gz")
    for reader, path in masks.items():
        write_volume(case.masks[reader], path)
    return CaseRef(
        case.patient_id, case.session, folder / "ct.nii.gz", folder / "pet.nii.gz", masks
    )


def in_counts(case: Case, *, per_suv: float = 20_000.0) -> Case:
    """Return the case with its PET in counts, so many for an SUV of 1, and why."""
    counts = Volume(case.pet.array * np.float32(per_suv), case.pet.grid, "counts")
    return replace(case, pet=counts, pet_origin=("PatientWeight (0010,1030) is absent",))


def put_into_counts(ref: CaseRef, *, per_suv: float = 20_000.0) -> None:
    """Write the PET of a cohort's case anew, in counts, with the record that says so."""
    pet = read_volume(ref.pet, "SUVbw")
    counts = Volume(pet.array * np.float32(per_suv), pet.grid, "counts")
    write_volume(counts, ref.pet)
    write_pet_record(PetRecord("counts", ("PatientWeight (0010,1030) is absent",)), ref.pet)


def write_tiny_cohort(root: Path, limbs: Sequence[Limb] | None = None) -> Cohort:
    """Write limbs (by default `tiny_limbs`) as a cohort folder and return it, opened."""
    chosen = tiny_limbs() if limbs is None else limbs
    refs = [write_case(each.case(seed=n), root) for n, each in enumerate(chosen)]
    Cohort("Tiny", root, (EXPERT_A, EXPERT_B), tuple(refs), synthetic=True).save()
    return Cohort.open(root)
