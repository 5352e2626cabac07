"""A made patient with every thing at a known place, for the viewer's browser tests.

Grid: 96 x 80 x 64 voxels of 2 x 2 x 3 mm, first voxel at (-95, -79, -94.5) mm, so the middle is 0.

    bone ring     around the z axis, radius 24 to 32 mm, 1200 HU, all slices
    body          ellipse of 86 x 70 mm about the axis, 40 HU; air, -1000 HU, beyond
    marker        box at x = +56 to +64 (the patient's RIGHT), y = 0 to 12, 900 HU, all slices
    uptake        Gaussian of SUV 9 at (40, -20, 12) mm, sigma 8 mm, over 0.4 in the body
    Expert A      ball of 18 mm about the uptake
    Expert B      ball of 10 mm there
    Model A       ball of 18 mm there, 8 mm further up and to the left of the patient
    Model B       ball of 10 mm, 24 mm above Expert B: not on the uptake's slice

`predictions` gives the models' probabilities: 1 in the middle of a ball, 0.5 on its surface,
falling evenly to 0 at twice its radius, so that a threshold t outlines a ball of 2 (1 - t) radii.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from small import write_case

from boneviz.case import Case, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.nifti import write_prediction
from boneviz.palette import ReaderStyle, styles_of
from boneviz.volume import Grid, Volume

SHAPE = (96, 80, 64)
SPACING_MM = (2.0, 2.0, 3.0)
ORIGIN_MM = (-95.0, -79.0, -94.5)
HOT_MM = (40.0, -20.0, 12.0)
READERS = (
    Reader("Expert A", "expert", "high-sensitivity"),
    Reader("Expert B", "expert", "high-specificity"),
    Reader("Model A", "model", learned_from="Expert A"),
    Reader("Model B", "model", learned_from="Expert B"),
)


def grid() -> Grid:
    return Grid.straight(SHAPE, SPACING_MM, ORIGIN_MM)


def patient(patient_id: str = "P001", readers: tuple[Reader, ...] = READERS) -> Case:
    """Return the patient described above."""
    where = grid()
    x, y, z = where.to_mm(np.moveaxis(np.indices(SHAPE), 0, -1)).transpose(3, 0, 1, 2)
    hu = np.full(SHAPE, -1000.0)
    body = (x / 86) ** 2 + (y / 70) ** 2 <= 1
    hu[body] = 40
    radius = np.hypot(x, y)
    hu[(radius >= 24) & (radius <= 32)] = 1200
    hu[(x >= 56) & (x <= 64) & (y >= 0) & (y <= 12)] = 900
    away = (x - HOT_MM[0]) ** 2 + (y - HOT_MM[1]) ** 2 + (z - HOT_MM[2]) ** 2
    suv = 0.4 * body + 9 * np.exp(-away / (2 * 8**2))

    def ball(radius_mm: float, dx: float = 0, dz: float = 0) -> Volume:
        centre = (HOT_MM[0] + dx, HOT_MM[1], HOT_MM[2] + dz)
        gone = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
        return Volume(gone <= radius_mm**2, where, "label")

    masks = (ball(18), ball(10), ball(18, dx=-8, dz=8), ball(10, dz=24))
    return Case(
        patient_id,
        "",
        Volume(hu.astype(np.float32), where, "HU"),
        Volume(suv.astype(np.float32), where, "SUVbw"),
        dict(zip(readers, masks, strict=True)),
    )


def styles(readers: tuple[Reader, ...] = READERS) -> tuple[ReaderStyle, ...]:
    """Return the colours in which the readers are drawn."""
    return styles_of(readers)


def predictions() -> dict[Reader, Volume]:
    """Return the models' probabilities described above."""
    where = grid()
    x, y, z = where.to_mm(np.moveaxis(np.indices(SHAPE), 0, -1)).transpose(3, 0, 1, 2)
    found = {}
    for reader, radius_mm, dx, dz in ((READERS[2], 18, -8, 8), (READERS[3], 10, 0, 24)):
        away_mm = np.sqrt(
            (x - HOT_MM[0] - dx) ** 2 + (y - HOT_MM[1]) ** 2 + (z - HOT_MM[2] - dz) ** 2
        )
        probability = np.clip(1 - away_mm / (2 * radius_mm), 0, 1).astype(np.float32)
        found[reader] = Volume(probability, where, "probability")
    return found


def write_cohort(root: Path) -> Cohort:
    """Write the patient as P001 and again as P002, whom model B has not predicted."""
    refs = []
    for patient_id in ("P001", "P002"):
        case = patient(patient_id)
        experts = {reader: case.masks[reader] for reader in READERS[:2]}
        refs.append(write_case(replace(case, masks=experts), root))
        for model, probability in predictions().items():
            if (patient_id, model.name) != ("P002", "Model B"):
                prediction = Prediction(patient_id, "", model, 0, probability, "c", frozenset())
                write_prediction(prediction, root / "predictions" / model.key)
    Cohort("Made", root, READERS[:2], tuple(refs), synthetic=True).save()
    return Cohort.open(root)
