"""The lumbar spine from L1 to the sacrum.

The origin lies in the disc between L3 and L4; x to the right, y to the front, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boneviz.phantom.anatomy import Anatomy, Bone, Organ
from boneviz.phantom.pelvis import ilium_wing
from boneviz.phantom.shapes import Shape, Vector, cut, ellipsoid, loft, sheet, tube, union

__all__ = ["PITCH_MM", "disc", "disc_centre", "spine", "vertebral_body"]

PITCH_MM = 37.0
LEVELS = ("T12", "L1", "L2", "L3", "L4", "L5")


def spine(*, aorta_side: float, contrast: bool) -> Anatomy:
    """Return the anatomy of a lumbar spine.

    Parameters
    ----------
    aorta_side : sign of x on which the patient's left, and so the aorta, lies
    contrast : whether vessels and kidneys are enhanced
    """
    bones = [
        Bone(name, _vertebra(n), ((0.0, 1.3, 165.0),), 1.45, 950.0) for n, name in enumerate(LEVELS)
    ]
    wing = ilium_wing().moved((0, 18, -206))
    bones += [
        Bone("ilium", wing, ((0.0, 1.8, 150.0),), 1.2),
        Bone("other ilium", wing.mirrored(), ((0.0, 1.8, 150.0),), 1.2),
        Bone("S1", _sacral_base(), ((0.0, 1.4, 150.0),), 1.4, 950.0),
    ]
    bones += [
        Bone("rib", shape, ((0.0, 1.8, 120.0),), 1.0)
        for rib in _ribs()
        for shape in (rib, rib.mirrored())
    ]
    muscles = _muscles()
    return Anatomy(
        region="spine",
        low_mm=(-160.0, -116.0, -102.0),
        high_mm=(160.0, 108.0, 104.0),
        skin=_skin(),
        muscles=(*muscles, *(muscle.mirrored() for muscle in muscles)),
        sheath=None,
        fill_mm=1.5,
        organs=(*_abdomen(aorta_side, contrast=contrast), *_discs()),
        bones=tuple(bones),
    )


def body_centre(n: int) -> Vector:
    """Return the centre of the body of T12 (n = 0) to L5 (n = 5)."""
    z = (3 - n) * PITCH_MM + PITCH_MM / 2
    return 0.0, _lordosis(z), z


def disc_centre(n: int) -> Vector:
    """Return the centre of the disc below the body of T12 (n = 0) to L5 (n = 5)."""
    z = (3 - n) * PITCH_MM
    return 0.0, _lordosis(z), z


def vertebral_body(n: int) -> Shape:
    """Return the body of T12 (n = 0) to L5 (n = 5): waisted, kidney-shaped in section."""
    width = 22.5 + 0.6 * n
    whole = loft(
        {
            -14: (0, 0, width + 1.5, 17.0),
            -9: (0, 0, width - 0.5, 15.8),
            0: (0, 0, width - 2.5, 14.8),
            9: (0, 0, width - 0.5, 15.8),
            14: (0, 0, width + 1.5, 17.0),
        },
        power=2.4,
        round_mm=3,
    )
    hollow = tube([(0, -30, -30), (0, -30, 30)], 15.5)
    return _tilted(cut(whole, hollow, blend_mm=4), n)


def disc(n: int) -> Shape:
    """Return the disc below the body of T12 (n = 0) to L5 (n = 5)."""
    x, y, z = disc_centre(n)
    width = 23.5 + 0.6 * n
    whole = loft(
        {-6: (0, 0, width, 17.5), 0: (0, 0, width + 1, 18), 6: (0, 0, width, 17.5)}, power=2.4
    )
    hollow = tube([(0, -31, -20), (0, -31, 20)], 15.5)
    return cut(whole, hollow, blend_mm=4).tilted(_slope(z), (0, 0, 0)).moved((x, y, z))


def _lordosis(z: float) -> float:
    return 14.0 - 22.0 * ((z + 8.0) / 110.0) ** 2


def _slope(z: float) -> float:
    """Return the tilt, degrees, of a segment whose axis follows the lordosis."""
    return float(-np.degrees(np.arctan(-44.0 * (z + 8.0) / 110.0**2)))


def _tilted(shape: Shape, n: int) -> Shape:
    centre = body_centre(n)
    return shape.tilted(_slope(centre[2]), (0, 0, 0)).moved(centre)


def _vertebra(n: int) -> Shape:
    sides = []
    for s in (-1.0, 1.0):
        sides += [
            tube([(s * 15, -12, 6), (s * 17, -30, 5)], [6, 5.5]),
            tube([(s * 18, -30, 4), (s * 32, -33, 5), (s * 42, -36, 6)], [4.5, 3.6, 3.2]),
            ellipsoid((s * 19, -35, 13), (6.5, 7, 10)),
            ellipsoid((s * 14, -41, -16), (6, 6, 10)),
            tube([(s * 17, -35, 4), (s * 13, -41, -8)], [5.5, 5.5]),
            tube([(s * 13, -40, -4), (0, -49, -6)], [4.2, 4.2]),
        ]
    spinous = loft({-16: (0, -64, 3.6, 14), 2: (0, -62, 3.2, 15)}, power=3)
    arch = union(*sides, spinous, blend_mm=4)
    return union(vertebral_body(n), _tilted(arch, n), blend_mm=3)


def _sacral_base() -> Shape:
    plate = sheet(
        {
            -112: [(-46, -52, 13), (0, -30, 20), (46, -52, 13)],
            -94: [(-44, -36, 11), (0, -16, 20), (44, -36, 11)],
            -84: [(-34, -28, 6), (0, -8, 19), (34, -28, 6)],
        }
    )
    crest = tube([(-14, -48, -92), (0, -62, -96), (14, -48, -92)], [5, 5, 5])
    beside = ilium_wing().moved((0, 18, -206)).grown(3.0)
    canal = tube([(0, -36, -80), (0, -48, -112)], [11, 10])
    return cut(union(plate, crest, blend_mm=6), canal, beside, beside.mirrored(), blend_mm=3)


def _ribs() -> Sequence[Shape]:
    return (
        tube([(30, -34, 100), (62, -58, 92), (96, -56, 80), (118, -34, 66)], [5, 5, 4.8, 4]),
        tube([(60, -64, 122), (104, -62, 108), (130, -34, 96), (138, 0, 84), (132, 26, 78)], 5),
    )


def _skin() -> Shape:
    return loft(
        {
            -140: (0, -4, 158, 103),
            -90: (0, -4, 154, 102),
            -20: (0, -4, 144, 98),
            50: (0, -3, 146, 99),
            140: (0, -2, 152, 103),
        },
        power=2.3,
    )


def _muscles() -> Sequence[Shape]:
    return (
        tube(
            [(27, -4, 92), (34, -2, 40), (40, 2, -10), (46, 8, -60), (52, 18, -120)],
            [6, 13, 18, 21, 19],
        ),
        sheet(
            {
                -110: [(20, -86, 6), (36, -84, 8), (48, -80, 5)],
                -60: [(20, -74, 17), (40, -72, 18), (60, -66, 10)],
                20: [(20, -72, 17), (42, -68, 20), (64, -60, 12)],
                130: [(20, -74, 15), (40, -74, 17), (60, -70, 10)],
            }
        ),
        tube([(12, -62, 130), (11, -58, 40), (12, -60, -50), (16, -74, -110)], [9, 11, 14, 12]),
        sheet({-72: [(56, -38, 6), (82, -34, 7)], 90: [(40, -44, 5), (64, -46, 6)]}),
        sheet({-130: [(7, 82, 6), (42, 80, 6)], 130: [(7, 84, 6), (52, 82, 6)]}),
        sheet(
            {
                -100: [(52, 80, 5), (100, 62, 7), (124, 30, 7), (132, 0, 5)],
                -20: [(54, 78, 5), (104, 56, 8), (124, 6, 9), (98, -42, 6)],
                50: [(58, 80, 5), (108, 56, 7), (126, 6, 8), (100, -46, 6)],
                130: [(62, 84, 5), (114, 60, 6), (134, 10, 6), (104, -58, 6)],
            }
        ),
        sheet({-20: [(66, -74, 4), (92, -56, 4)], 130: [(62, -84, 6), (118, -56, 7)]}),
        sheet({-110: [(70, -74, 9), (104, -44, 12)], -74: [(84, -62, 3), (104, -44, 4)]}),
    )


def _discs() -> Sequence[Organ]:
    return [Organ(f"disc below {name}", disc(n), 82, 0.8) for n, name in enumerate(LEVELS)]


def _abdomen(aorta_side: float, *, contrast: bool) -> Sequence[Organ]:
    blood = 160.0 if contrast else 45.0
    kidney_hu = 150.0 if contrast else 34.0
    a = aorta_side
    front = [(z, _lordosis(z) + 28) for z in (120.0, 70.0, 20.0, -38.0)]
    aorta = tube([(a * 8, y + 1, z) for z, y in front], [10.5, 10, 9.5, 9])
    cava = tube([(-a * 16, y - 1, z) for z, y in front], [12, 11.5, 11, 10.5])
    iliacs = [
        tube([(a * 8, 40, -38), (s * 26, 36, -76), (s * 38, 22, -120)], [7, 6, 6]) for s in (-1, 1)
    ]
    iliac_veins = [
        tube([(-a * 14, 36, -42), (s * 24, 26, -78), (s * 34, 10, -120)], [9, 7.5, 7])
        for s in (-1, 1)
    ]
    kidneys = []
    for s, z in ((a, 52.0), (-a, 42.0)):
        outline = ellipsoid((s * 72, -14, z), (25, 27, 50))
        bean = cut(outline, ellipsoid((s * 44, 0, z), (16, 16, 18)), blend_mm=10)
        kidneys += [
            Organ("kidney", bean, kidney_hu, 4.5),
            Organ("renal pelvis", ellipsoid((s * 62, -6, z), (8, 8, 17)), 8, 9.0),
            Organ("renal vein", tube([(s * 52, -2, z), (-a * 12, 38, z + 2)], [4, 5]), blood, 1.6),
        ]
    liver = union(
        ellipsoid((-a * 94, 24, 100), (38, 62, 48)),
        ellipsoid((-a * 104, 8, 60), (26, 36, 30)),
        blend_mm=16,
    )
    colon = [
        tube([(-a * 102, 8, 24), (-a * 106, 18, -30), (-a * 98, 26, -100)], [17, 18, 21]),
        tube(
            [(a * 112, -4, 100), (a * 114, -2, 30), (a * 108, 4, -50), (a * 96, 12, -110)],
            [14, 13, 12, 12],
        ),
        tube([(-a * 96, 56, 34), (-a * 40, 74, 10), (a * 40, 74, 20), (a * 100, 52, 76)], 14),
    ]
    gas = [
        tube([(-a * 104, 22, 10), (-a * 100, 34, -80)], [7, 11]),
        tube([(-a * 70, 70, 24), (-a * 30, 79, 8), (a * 50, 76, 26)], [7, 8, 6]),
        tube([(a * 114, 4, 60), (a * 110, 8, -10)], [6, 5]),
    ]
    loops = [
        tube(
            [
                (x * 1.0, 56 + 5 * np.sin(x / 11 + z), z + 7 * np.cos(x / 14))
                for x in range(-70, 71, 14)
            ],
            12.5,
        )
        for z in (-30.0, -62.0, -92.0)
    ]
    stomach = tube(
        [(a * 70, 60, 110), (a * 30, 66, 78), (-a * 14, 56, 72), (-a * 36, 36, 62)],
        [24, 19, 14, 12],
    )
    pancreas = tube([(-a * 30, 40, 44), (-a * 10, 48, 58), (a * 30, 40, 68)], [14, 9, 8])
    thecal = tube([(0, _lordosis(z) - 28, z) for z in range(120, -120, -20)], 8.5)
    return (
        Organ("thecal sac", thecal, 22, 0.7),
        *(Organ("small bowel", loop, 32, 1.1) for loop in loops),
        Organ("pancreas", pancreas, 42, 1.3),
        Organ("liver", liver, 62 if not contrast else 105, 2.0),
        Organ("stomach", stomach, 30, 1.3),
        *(Organ("colon", loop, 34, 1.2) for loop in colon),
        *(Organ("colonic gas", loop, -830, 0.3) for loop in gas),
        *kidneys,
        Organ("vena cava", cava, blood * 0.8, 1.6),
        *(Organ("iliac vein", vein, blood * 0.8, 1.6) for vein in iliac_veins),
        Organ("aorta", aorta, blood, 1.6),
        *(Organ("iliac artery", artery, blood, 1.6) for artery in iliacs),
    )
