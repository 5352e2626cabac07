"""The plan of each infection in each region: where it sits, how far it reaches, how hot it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boneviz.errors import InputError
from boneviz.phantom.disease import Design, Kind, Uptake
from boneviz.phantom.leg import AXIS_X_MM, KNEE_Z_MM
from boneviz.phantom.pelvis import HEAD_MM
from boneviz.phantom.shapes import Shape, Vector, cut, ellipsoid, tube, union
from boneviz.phantom.spine import disc, disc_centre, vertebral_body

__all__ = ["PLACES", "design"]

Rng = np.random.Generator
PLACES: tuple[tuple[Kind, str], ...] = (
    ("osteomyelitis", "leg"),
    ("fracture-related infection", "pelvis"),
    ("spondylodiscitis", "spine"),
    ("septic arthritis", "pelvis"),
    ("fracture-related infection", "leg"),
    ("osteomyelitis", "pelvis"),
    ("spondylodiscitis", "spine"),
    ("septic arthritis", "leg"),
)


def design(kind: str, region: str, rng: Rng) -> tuple[Design, Vector]:
    """Return the plan of one infection and its centre.

    Raises
    ------
    InputError
        No such infection in that region.
    """
    plans: dict[tuple[str, str], Callable[[Rng], tuple[Design, Vector]]] = {
        ("osteomyelitis", "leg"): _tibial_osteomyelitis,
        ("osteomyelitis", "pelvis"): _femoral_osteomyelitis,
        ("fracture-related infection", "leg"): _plated_tibia,
        ("fracture-related infection", "pelvis"): _nailed_femur,
        ("spondylodiscitis", "spine"): _spondylodiscitis,
        ("septic arthritis", "leg"): _septic_knee,
        ("septic arthritis", "pelvis"): _septic_hip,
    }
    if (kind, region) not in plans:
        known = "; ".join(f"{k} in {r}" for k, r in plans)
        raise InputError(f"phantom of {kind!r} in {region!r}: expected one of {known}")
    return plans[kind, region](rng)


@dataclass(frozen=True, slots=True)
class _Shaft:
    """An infection about the shaft of a long bone."""

    core: Shape
    extension: Shape
    abscess: Shape
    sinus: Shape
    foci: tuple[Shape, ...]
    half_mm: float


def _uptake(rng: Rng, low_rim_mm: float, high_rim_mm: float) -> Uptake:
    return Uptake(
        rim_mm=rng.uniform(low_rim_mm, high_rim_mm),
        core_suv=rng.uniform(5.2, 7.5),
        extension_suv=rng.uniform(3.2, 4.6),
        rim_suv=rng.uniform(2.1, 2.7),
    )


def _along(start: Vector, step: Vector, amount: float) -> Vector:
    x, y, z = (a + amount * b for a, b in zip(start, step, strict=True))
    return x, y, z


def _blob(centre: Vector, rng: Rng, low_mm: float, high_mm: float) -> Shape:
    return ellipsoid(centre, rng.uniform(low_mm, high_mm, 3).tolist())


def _shaft(
    rng: Rng, centre: Vector, axis: Vector, outward: Vector, radius: float, half: float
) -> _Shaft:
    """Return the infection about a shaft: `radius` is the bone's, `half` half the core's length."""
    beside = _along(centre, outward, radius + 7.5)
    wide, high = rng.uniform(13, 18, 2), rng.uniform(0.6, 0.8) * half
    bend = _along(_along(centre, outward, radius + 30), axis, -10)
    skin = _along(_along(centre, outward, radius + 95), axis, -16)
    up = float(rng.choice((-1.0, 1.0)))
    turn = rng.uniform(0, 2 * np.pi)
    across: Vector = (radius * np.cos(turn), radius * np.sin(turn), 0.0)
    spots = [(0.8, up * (half + rng.uniform(17, 22)))]
    if rng.random() < 0.4:
        spots.append((-0.8, -up * (half + rng.uniform(17, 22))))
    return _Shaft(
        core=ellipsoid(centre, (radius + 5.5, radius + 5.5, half)),
        extension=ellipsoid(beside, (*wide, max(high, 17.0))),
        abscess=ellipsoid(_along(centre, outward, radius + 8), (5.5, 5.5, 0.25 * half)),
        sinus=tube([centre, beside, bend, skin], [3.0, 4.0, 3.4, 3.4]),
        foci=tuple(
            _blob(_along(_along(centre, across, side), axis, far), rng, 5.5, 6.8)
            for side, far in spots
        ),
        half_mm=half,
    )


def _tibial_osteomyelitis(rng: Rng) -> tuple[Design, Vector]:
    centre, axis = (AXIS_X_MM - 2.5, 4.0, rng.uniform(215, 290)), (0.0, 0.0, 1.0)
    outward = (-0.5, -0.55, 0.0) if rng.random() < 0.4 else (-0.85, 0.3, 0.0)
    part = _shaft(rng, centre, axis, outward, 13.0, rng.uniform(24, 44))
    plan = Design(
        core=part.core,
        extensions=(part.extension,),
        uptake=_uptake(rng, 3.6, 5.2),
        pus=(part.abscess,),
        involucrum=ellipsoid(centre, (20, 20, part.half_mm)),
        sequestrum=ellipsoid(_along(centre, (0.5, 0.8, 3.0), rng.uniform(-1, 1)), (3.2, 4.0, 12.0)),
        sinus=part.sinus,
        foci=part.foci,
    )
    return plan, centre


def _femoral_osteomyelitis(rng: Rng) -> tuple[Design, Vector]:
    centre, axis = (123.0, -5.0, -72.0 + rng.uniform(-8, 6)), (-0.06, 0.08, -1.0)
    outward = (0.75, -0.55, 0.0) if rng.random() < 0.5 else (0.8, 0.45, 0.0)
    part = _shaft(rng, centre, axis, outward, 15.0, rng.uniform(20, 33))
    plan = Design(
        core=part.core,
        extensions=(part.extension,),
        uptake=_uptake(rng, 3.6, 5.2),
        pus=(part.abscess,),
        involucrum=ellipsoid(centre, (28, 28, part.half_mm)),
        sequestrum=ellipsoid(_along(centre, axis, rng.uniform(-6, 8)), (3.6, 3.6, 11.0)),
        sinus=part.sinus,
        foci=(_blob((104.0, 10.0, -4.0), rng, 5.5, 6.5),),
    )
    return plan, centre


def _oblique_gap(centre: Vector, *, tilt: float) -> Shape:
    c, s = np.cos(tilt), np.sin(tilt)
    return ellipsoid(centre, (30, 30, 1.6), axes=np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))


def _plated_tibia(rng: Rng) -> tuple[Design, Vector]:
    z = rng.uniform(185, 250)
    centre, axis = (AXIS_X_MM - 3.0, 4.0, z), (0.0, 0.0, 1.0)
    outward: Vector = (-0.8, 0.5, 0.0)
    part = _shaft(rng, centre, axis, outward, 13.0, rng.uniform(24, 40))
    plate_x, plate_y, _ = _along(centre, outward, 16.5)
    plate = union(
        *(
            tube([(plate_x + dx, plate_y + dy, z - 70), (plate_x + dx, plate_y + dy, z + 70)], 2.2)
            for dx, dy in ((-2.0, -3.2), (0.0, 0.0), (2.0, 3.2))
        ),
        blend_mm=2,
    )
    screws = [
        tube([(plate_x, plate_y, h), _along((centre[0], centre[1], h), outward, -14.0)], 2.0)
        for h in (z - 62, z - 44, z - 26, z + 26, z + 44, z + 62)
    ]
    plan = Design(
        core=part.core,
        extensions=(part.extension,),
        uptake=_uptake(rng, 3.6, 5.2),
        pus=(part.abscess,),
        involucrum=ellipsoid(centre, (22, 22, 22)),
        gaps=(_oblique_gap(centre, tilt=rng.uniform(-0.5, 0.5)),),
        metal=union(plate, *screws),
        sinus=part.sinus if rng.random() < 0.6 else None,
        foci=part.foci,
    )
    return plan, centre


def _nailed_femur(rng: Rng) -> tuple[Design, Vector]:
    centre, axis = (123.5, -6.0, -64.0 + rng.uniform(-6, 4)), (-0.06, 0.08, -1.0)
    part = _shaft(rng, centre, axis, (0.85, -0.4, 0.0), 15.0, rng.uniform(20, 32))
    nail = tube([(131, -16, 8), (126, -9, -50), (123, -5, -90), (118, 2, -160)], [6.0, 5.6, 5, 5])
    lag = tube([(142, -12, -48), (112, -5, -20), (92, -1, -3)], [5.0, 4.6, 4.2])
    plan = Design(
        core=part.core,
        extensions=(part.extension,),
        uptake=_uptake(rng, 3.6, 5.2),
        involucrum=ellipsoid(centre, (24, 24, 22)),
        gaps=(_oblique_gap(centre, tilt=rng.uniform(0.3, 0.8)),),
        metal=union(nail, lag),
        sinus=part.sinus if rng.random() < 0.5 else None,
        foci=(_blob((102.0, 9.0, -2.0), rng, 5.5, 6.5),),
    )
    return plan, centre


def _spondylodiscitis(rng: Rng) -> tuple[Design, Vector]:
    n = int(rng.integers(2, 5))
    centre = disc_centre(n)
    _, y, z = centre
    host = union(vertebral_body(n), disc(n), vertebral_body(n + 1))
    psoas = (36.0, y - 2, z - rng.uniform(10, 20))
    extensions = [
        ellipsoid((28, y, z - 4), (rng.uniform(9, 12), 15, rng.uniform(20, 25))),
        ellipsoid((-27, y, z - 2), (rng.uniform(5, 9), 13, rng.uniform(14, 20))),
        ellipsoid((0, y + 18, z), (17, 6, rng.uniform(13, 18))),
        ellipsoid((0, y - 19, z), (9, 4, rng.uniform(12, 17))),
        ellipsoid(psoas, (13, 12, rng.uniform(17, 22))),
    ]
    erosions = [
        ellipsoid((rng.uniform(-13, 13), y + rng.uniform(-5, 9), z + end * 6), (9, 8, 5.5))
        for end in (-1, -1, 1, 1)
    ]
    corner = (float(rng.choice((-15.0, 15.0))), disc_centre(n + 1)[1] + 11, z - 31.0)
    reach = rng.uniform(15, 25)
    plan = Design(
        core=ellipsoid(centre, (29, 24, reach)),
        host=host,
        extensions=tuple(extensions),
        erosions=tuple(erosions),
        pus=(
            ellipsoid(psoas, (7, 6, 11)),
            ellipsoid((rng.uniform(-4, 4), y + 2, z), (15, 10, 5)),
        ),
        foci=(_blob(corner, rng, 5.5, 6.5),),
        uptake=_uptake(rng, 2.4, 3.6),
    )
    return plan, centre


def _septic_hip(rng: Rng) -> tuple[Design, Vector]:
    x, y, z = HEAD_MM
    capsule = union(
        ellipsoid(HEAD_MM, (29, 30, 28)),
        tube([(x + 6, y + 3, z - 8), (x + 22, y + 1, z - 22)], [27, 21]),
        blend_mm=8,
    )
    bursa = ellipsoid((x + 2, y + 36, z + 6), (11, 9, rng.uniform(15, 22)))
    core = _blob((x - 5, y + 2, z + rng.uniform(10, 14)), rng, 18, 25)
    sinus = None
    if rng.random() < 0.4:
        sinus = tube(
            [(x + 28, y + 10, z - 6), (x + 50, y + 40, z + 4), (x + 70, y + 80, z + 6)], 3.8
        )
    plan = Design(
        core=core,
        extensions=(capsule, bursa),
        erosions=(
            ellipsoid((x - 4, y + rng.uniform(-8, 12), z + 22), (9, 7, 5)),
            ellipsoid((x - 12, y + rng.uniform(-8, 8), z + 31), (8, 8, 4.5)),
        ),
        sinus=sinus,
        foci=(_blob((134.0, -22.0, -12.0), rng, 5.5, 6.8),),
        effusion=True,
        uptake=_uptake(rng, 2.0, 3.2),
    )
    return plan, HEAD_MM


def _septic_knee(rng: Rng) -> tuple[Design, Vector]:
    x, z = AXIS_X_MM, KNEE_Z_MM
    recess = cut(
        union(
            ellipsoid((x, 33, z + 52), (24, 7, 16)),
            ellipsoid((x - 25, 24, z + 28), (10, 10, 16)),
            ellipsoid((x + 27, 24, z + 28), (9, 10, 16)),
            blend_mm=8,
        ),
        ellipsoid((x + 1, 45, z + 32), (22, 10, 23)),
    )
    line = ellipsoid((x, -2, z), (40, 27, 5))
    centre = (x + float(rng.choice((-19.0, 19.0))), -3.0, z + 1)
    plan = Design(
        core=ellipsoid(centre, (24, 27, rng.uniform(19, 27))),
        extensions=(recess, line),
        erosions=(
            ellipsoid((centre[0] + rng.uniform(-6, 6), -2, z - 8), (8, 10, 5)),
            ellipsoid((centre[0] + rng.uniform(-6, 6), -4, z + 6), (7, 9, 4.5)),
        ),
        foci=(_blob((x + 1, 44, z + 44), rng, 5.5, 6.5),),
        effusion=True,
        uptake=_uptake(rng, 1.8, 2.6),
    )
    return plan, centre
