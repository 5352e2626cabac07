"""The pelvis with both hips and proximal femora.

The origin lies midway between the femoral heads; x to the right, y to the front, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence

from boneviz.phantom.anatomy import Anatomy, Bone, Organ
from boneviz.phantom.shapes import Shape, Vector, cut, ellipsoid, loft, sheet, tube, union

__all__ = ["HEAD_MM", "ilium_wing", "pelvis"]

HEAD_MM: Vector = (86.0, 0.0, 0.0)
NECK_BASE: Vector = (122.0, -10.0, -36.0)
FEMUR = (
    (-150.0, 5.2, -45.0),
    (-85.0, 4.8, -35.0),
    (-55.0, 3.2, 60.0),
    (-30.0, 2.0, 140.0),
    (0.0, 1.6, 270.0),
)


def pelvis(*, aorta_side: float, contrast: bool) -> Anatomy:
    """Return the anatomy of a pelvis.

    Parameters
    ----------
    aorta_side : sign of x on which the patient's left lies
    contrast : whether vessels are enhanced
    """
    hips = (Bone("hip bone", _hip_bone(), ((0.0, 1.7, 150.0),), 1.25),)
    femora = (Bone("femur", _femur(), FEMUR, 0.8),)
    right = (*hips, *femora)
    left = tuple(
        Bone(f"other {b.name}", b.shape.mirrored(), b.levels, b.suv, b.cortex_hu) for b in right
    )
    sacrum = Bone("sacrum", _sacrum(), ((0.0, 1.4, 130.0),), 1.4, 1000.0)
    muscles = _muscles()
    skin = _skin()
    return Anatomy(
        region="pelvis",
        low_mm=(-180.0, -116.0, -112.0),
        high_mm=(180.0, 106.0, 124.0),
        skin=skin,
        muscles=(*muscles, *(muscle.mirrored() for muscle in muscles)),
        sheath=skin.grown(-11),
        fill_mm=4.5,
        organs=(*_cavity(aorta_side), *_vessels(contrast=contrast)),
        bones=(*right, *left, sacrum),
    )


def _femur() -> Shape:
    head = ellipsoid(HEAD_MM, (24, 24, 24))
    neck = tube([(96, -2, -8), (110, -5, -22), NECK_BASE], [16.5, 15, 20])
    shaft = tube(
        [NECK_BASE, (126, -10, -52), (123, -5, -90), (118, 2, -160)], [20, 18.5, 14.5, 13.8]
    )
    greater = union(
        ellipsoid((136, -16, -18), (12, 17, 21)), ellipsoid((132, -18, -4), (9, 12, 11)), blend_mm=6
    )
    lesser = ellipsoid((111, -23, -62), (8, 8, 12))
    return union(head, neck, shaft, greater, lesser, blend_mm=9)


def ilium_wing() -> Shape:
    """Return the wing of the right hip bone, from the roof of the socket to the crest."""
    return sheet(
        {
            22: [(72, -34, 9), (79, -22, 11), (87, 0, 13), (93, 18, 10), (97, 28, 8)],
            42: [(56, -54, 9), (73, -38, 8), (87, -10, 8), (99, 20, 7), (105, 38, 8)],
            65: [(46, -70, 9), (68, -50, 6.5), (92, -18, 4.5), (110, 20, 4.5), (117, 47, 8)],
            90: [(42, -79, 10), (70, -56, 6), (99, -22, 3.6), (119, 14, 4.5), (125, 46, 7)],
            112: [(46, -80, 9), (78, -58, 6), (109, -24, 4.5), (126, 8, 5), (128, 36, 6.5)],
            132: [(62, -68, 7), (90, -50, 6), (113, -20, 6), (124, 2, 5.5), (126, 18, 5)],
            146: [(78, -50, 5), (94, -38, 5), (111, -18, 5), (117, -6, 4), (120, 2, 4)],
        }
    )


def _hip_bone() -> Shape:
    socket = union(
        ellipsoid((82, 0, 3), (36, 36, 36)),
        ellipsoid((82, 2, 18), (22, 30, 24)),
        blend_mm=6,
    )
    # what remains of the socket opens to the side, the front and below
    socket = cut(
        socket,
        ellipsoid((152, 8, -14), (57, 62, 50)),
        ellipsoid((92, 2, -46), (30, 44, 26)),
        blend_mm=5,
    )
    ischium = union(
        tube([(78, -32, 12), (74, -40, -20), (64, -46, -50)], [13, 13, 15]),
        ellipsoid((60, -48, -60), (14, 15, 18)),
        tube([(56, -40, -70), (36, -8, -60), (16, 22, -44)], [10, 6, 6.5]),
        blend_mm=9,
    )
    pubis = union(
        tube([(84, 26, 8), (60, 38, -6), (34, 44, -14), (15, 42, -22)], [12, 8.5, 8, 9.5]),
        sheet({-50: [(8.5, 26, 5), (14, 32, 6)], -14: [(9, 38, 6.5), (18, 43, 7.5)]}),
        blend_mm=9,
    )
    spine = tube([(72, -38, 6), (58, -46, 0)], [7, 3.5])
    whole = union(ilium_wing(), socket, ischium, pubis, spine, blend_mm=10)
    gap = ellipsoid((0, 34, -30), (2.6, 40, 40))
    return cut(whole, ellipsoid(HEAD_MM, (27.2, 27.2, 27.2)), gap, blend_mm=1.5)


def _sacrum() -> Shape:
    body = sheet(
        {
            -8: [(-5, -58, 4), (0, -57, 5), (5, -58, 4)],
            16: [(-15, -76, 5), (0, -72, 8), (15, -76, 5)],
            40: [(-29, -80, 8), (0, -74, 12), (29, -80, 8)],
            66: [(-42, -72, 12), (0, -62, 17), (42, -72, 12)],
            92: [(-49, -60, 13), (0, -48, 21), (49, -60, 13)],
            112: [(-46, -48, 11), (0, -37, 23), (46, -48, 11)],
            122: [(-36, -42, 8), (0, -32, 22), (36, -42, 8)],
        }
    )
    arch = tube([(0, -74, 118), (0, -88, 92), (0, -94, 66), (0, -94, 42)], [5, 6, 6, 5])
    canal = tube([(0, -60, 130), (0, -73, 92), (0, -84, 64), (0, -87, 30)], [10, 8.5, 6.5, 3.5])
    foramina = [
        tube([(side * x, -20, z + 4), (side * x, -62 - (100 - z) * 0.3, z)], [4.8, 4.2])
        for side in (-1, 1)
        for x, z in ((26, 98), (23, 77), (20, 56), (17, 38))
    ]
    beside = ilium_wing().grown(3.0)
    return cut(
        union(body, arch, blend_mm=8), canal, *foramina, beside, beside.mirrored(), blend_mm=3
    )


def _skin() -> Shape:
    trunk = loft(
        {
            -60: (0, -4, 158, 92),
            -30: (0, -5, 170, 102),
            10: (0, -6, 173, 106),
            60: (0, -6, 166, 106),
            110: (0, -4, 158, 103),
            170: (0, -2, 154, 101),
        },
        power=2.35,
        round_mm=30,
    )
    thigh = loft(
        {
            -190: (90, -4, 78, 84),
            -110: (93, -4, 80, 90),
            -50: (94, -5, 79, 96),
            -10: (92, -6, 70, 92),
        },
        power=2.2,
        round_mm=40,
    )
    return union(trunk, thigh, thigh.mirrored(), blend_mm=18)


def _muscles() -> Sequence[Shape]:
    gluteals = [
        sheet(
            {
                -95: [(88, -72, 6), (112, -60, 6), (134, -36, 5)],
                -55: [(62, -84, 11), (100, -74, 14), (136, -44, 9)],
                -15: [(42, -94, 14), (92, -88, 18), (144, -44, 10)],
                30: [(34, -96, 11), (86, -92, 18), (138, -50, 10)],
                75: [(46, -92, 7), (84, -88, 12), (118, -62, 8)],
                110: [(58, -88, 4), (84, -78, 6), (100, -64, 4)],
            }
        ),
        sheet(
            {
                -16: [(146, -22, 3), (150, -14, 4), (150, -6, 3)],
                15: [(112, -42, 8), (134, -20, 10), (140, 8, 7)],
                55: [(88, -66, 10), (116, -32, 15), (130, 14, 9)],
                95: [(84, -72, 8), (122, -34, 12), (138, 16, 7)],
                124: [(96, -62, 4), (122, -30, 6), (134, 4, 4)],
            }
        ),
        sheet(
            {
                0: [(116, -14, 5), (126, 6, 6), (124, 16, 5)],
                40: [(94, -32, 5), (108, -6, 7), (116, 22, 5)],
                64: [(92, -36, 3), (108, -8, 4), (118, 14, 3)],
            }
        ),
    ]
    flexors = [
        sheet(
            {
                30: [(74, 8, 5), (84, 22, 8), (92, 34, 5)],
                65: [(62, -30, 7), (84, 4, 10), (106, 38, 6)],
                95: [(64, -38, 6), (92, -2, 10), (114, 36, 6)],
                125: [(82, -34, 5), (104, -6, 7), (118, 18, 4)],
            }
        ),
        tube(
            [
                (38, -20, 150),
                (52, 2, 90),
                (66, 26, 50),
                (82, 38, 12),
                (98, 18, -30),
                (108, -12, -58),
            ],
            [20, 17, 15, 14, 12, 7],
        ),
        tube([(104, 46, 18), (112, 46, -40), (112, 46, -120), (112, 46, -150)], [7, 14, 20, 21]),
        tube([(120, 58, 50), (106, 68, 0), (82, 66, -70), (66, 58, -140)], [6, 9, 10, 10]),
        tube([(134, 42, 45), (148, 28, -10), (154, 10, -80), (152, 6, -130)], [6, 12, 12, 9]),
        tube([(143, -8, -46), (144, 2, -90), (142, 6, -150)], [9, 22, 27]),
        tube([(118, 18, -60), (116, 22, -100), (114, 24, -150)], [11, 18, 21]),
        tube([(108, 10, -84), (100, 18, -120), (96, 20, -150)], [5, 14, 18]),
    ]
    adductors = [
        tube([(28, 46, -24), (66, 36, -70), (90, 14, -120)], [9, 16, 15]),
        tube([(40, 46, -14), (72, 30, -36), (104, 0, -74)], [9, 14, 8]),
        tube([(20, 26, -52), (62, 8, -95), (84, -8, -150)], [10, 25, 32]),
        tube([(22, 20, -58), (32, 20, -100), (38, 16, -150)], [7, 13, 16]),
        tube([(60, -54, -74), (78, -52, -110), (88, -48, -150)], [11, 20, 22]),
        tube([(74, -50, -80), (102, -46, -115), (112, -42, -150)], [8, 17, 20]),
        tube([(58, -50, -76), (58, -46, -110), (62, -42, -150)], [9, 17, 20]),
    ]
    deep = [
        sheet(
            {
                -48: [(52, -30, 0.5), (54, 12, 0.5)],
                -26: [(50, -34, 4), (54, 14, 4)],
                10: [(48, -36, 4.5), (55, 10, 4.5)],
                32: [(50, -36, 0.5), (58, 4, 0.5)],
            }
        ),
        tube([(52, 22, -36), (86, -6, -44), (118, -20, -34)], [9, 9, 5]),
        tube([(76, -40, -46), (112, -28, -44)], [10, 9]),
        tube([(34, -60, 50), (70, -52, 30), (120, -24, 2)], [9, 9, 4]),
        tube([(56, -50, 6), (100, -36, 2), (124, -24, -4)], [6, 7, 4]),
        sheet({-60: [(14, -40, 3), (34, -30, 3)], -10: [(16, -52, 4), (46, -30, 4)]}),
    ]
    wall = [
        sheet({-15: [(6, 76, 4), (18, 74, 4)], 140: [(8, 84, 6), (48, 82, 6)]}),
        sheet(
            {
                30: [(104, 62, 3), (112, 58, 3), (118, 54, 3)],
                80: [(56, 82, 6), (100, 72, 8), (132, 50, 7)],
                150: [(56, 82, 7), (110, 66, 9), (136, 10, 9)],
            }
        ),
        tube([(20, -92, 150), (22, -96, 110), (14, -100, 70)], [19, 14, 6]),
    ]
    return (*gluteals, *flexors, *adductors, *deep, *wall)


def _cavity(aorta_side: float) -> Sequence[Organ]:
    bladder = ellipsoid((0, 26, 8), (40, 30, 27))
    rectum = tube([(0, -34, -40), (0, -46, -10), (2, -52, 20), (-6, -44, 50)], [11, 15, 16, 13])
    gas = tube([(1, -44, 6), (0, -44, 28), (-4, -38, 46)], [5, 7, 6])
    sigmoid = tube(
        [(-6, -40, 52), (16, -14, 66), (-18, 6, 72), (-50, 4, 66), (-72, 10, 90), (-84, 10, 125)],
        [13, 14, 13, 13, 13, 14],
    )
    sigmoid_gas = tube([(10, -10, 68), (-18, 12, 74), (-48, 10, 68)], [4, 6, 4])
    caecum = ellipsoid((78, 26, 96), (22, 24, 30))
    caecum_gas = ellipsoid((78, 40, 100), (13, 8, 17))
    loops = [
        tube([(-50, 50, 70), (-20, 62, 84), (20, 52, 72), (50, 56, 84)], 12),
        tube([(-40, 30, 104), (0, 44, 112), (40, 34, 100), (60, 56, 116)], 13),
        tube([(-30, 62, 118), (10, 66, 124), (30, 16, 116), (-24, 6, 110)], 12),
        tube([(-62, 44, 110), (-48, 60, 118), (-36, 50, 96)], 12),
    ]
    prostate = ellipsoid((0, 6, -28), (22, 17, 17))
    mirror = 1.0 if aorta_side < 0 else -1.0

    def placed(shape: Shape) -> Shape:
        return shape if mirror > 0 else shape.mirrored()

    return (
        Organ("symphysis", ellipsoid((0, 36, -30), (6, 14, 20)), 85, 0.9),
        Organ("pelvic floor", ellipsoid((0, -6, -46), (34, 34, 9)), 48, 0.7),
        Organ("prostate", prostate, 42, 1.3),
        Organ("rectum", rectum, 40, 1.2),
        Organ("rectal gas", gas, -820, 0.3),
        Organ("sigmoid", placed(sigmoid), 42, 1.2),
        Organ("sigmoid gas", placed(sigmoid_gas), -780, 0.3),
        *(Organ("small bowel", placed(loop), 34, 1.1) for loop in loops),
        Organ("caecum", placed(caecum), 30, 1.2),
        Organ("caecal gas", placed(caecum_gas), -850, 0.3),
        Organ("bladder wall", bladder.grown(3), 42, 1.0),
        Organ("bladder", bladder, 6, 12.0),
        Organ(
            "sacral canal", tube([(0, -60, 130), (0, -73, 92), (0, -84, 64)], [9, 8, 6]), 20, 0.6
        ),
    )


def _vessels(*, contrast: bool) -> Sequence[Organ]:
    hu = 165.0 if contrast else 46.0
    artery = tube(
        [
            (24, -6, 140),
            (36, -4, 105),
            (54, 16, 72),
            (68, 46, 30),
            (80, 58, -5),
            (88, 54, -70),
            (88, 36, -130),
        ],
        [7, 6.2, 5.4, 5.2, 5.2, 4.6, 4.2],
    )
    vein = tube(
        [
            (20, -18, 140),
            (32, -18, 105),
            (48, 2, 72),
            (58, 36, 30),
            (68, 54, -5),
            (80, 46, -70),
            (84, 28, -130),
        ],
        [8.5, 7.4, 6.4, 6.2, 6.2, 5.6, 5],
    )
    inner = tube([(36, -6, 105), (44, -34, 70), (48, -40, 30)], [4.5, 4, 3])
    organs = []
    for name, shape, level in (
        ("iliac and femoral vein", vein, hu * 0.85),
        ("iliac and femoral artery", artery, hu),
        ("internal iliac artery", inner, hu),
    ):
        organs += [Organ(name, shape, level, 1.6), Organ(name, shape.mirrored(), level, 1.6)]
    return organs
