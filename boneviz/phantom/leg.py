"""The right leg from the distal femur to the toes, standing for either leg.

x is lateral of the leg's own axis at x = 90 mm, y points to the front (the toes), z to the knee;
the ankle joint is at z = 75 mm, the knee joint at z = 418 mm.
"""

from __future__ import annotations

from collections.abc import Sequence

from boneviz.phantom.anatomy import Anatomy, Bone, Organ
from boneviz.phantom.shapes import Shape, Vector, cut, ellipsoid, loft, sheet, tube, union

__all__ = ["AXIS_X_MM", "KNEE_Z_MM", "leg"]

AXIS_X_MM = 90.0
KNEE_Z_MM = 418.0
ANKLE: Vector = (0.0, 0.0, 72.0)
POINTED_DEGREES = 9.0

LONG = ((60.0, 1.2, 210.0), (100.0, 1.6, 160.0), (130.0, 3.2, 20.0), (160.0, 4.8, -45.0))
TIBIA = (*LONG, (290.0, 5.0, -45.0), (330.0, 3.4, 10.0), (365.0, 1.8, 130.0), (415.0, 1.5, 230.0))
FIBULA = ((55.0, 1.3, 180.0), (110.0, 2.6, 20.0), (330.0, 2.8, -20.0), (390.0, 1.3, 150.0))
FEMUR = ((418.0, 1.4, 230.0), (455.0, 1.7, 170.0), (490.0, 3.4, 10.0), (520.0, 4.8, -45.0))


def leg() -> Anatomy:
    """Return the anatomy of a lower leg with knee and foot."""
    at_axis = (AXIS_X_MM, 0.0, 0.0)
    bones = (*_knee_and_shank(), *_foot())
    organs = (*_joints(), *_vessels())
    return Anatomy(
        region="leg",
        low_mm=(AXIS_X_MM - 66, -82.0, -34.0),
        high_mm=(AXIS_X_MM + 66, 182.0, 488.0),
        skin=_skin().moved(at_axis),
        muscles=tuple(muscle.moved(at_axis) for muscle in _muscles()),
        sheath=_sheath().moved(at_axis),
        fill_mm=7.0,
        organs=tuple(Organ(o.name, o.shape.moved(at_axis), o.hu, o.suv) for o in organs),
        bones=tuple(
            Bone(b.name, b.shape.moved(at_axis), b.levels, b.suv, b.cortex_hu) for b in bones
        ),
    )


def _knee_and_shank() -> Sequence[Bone]:
    condyles = union(
        ellipsoid((-22, -8, 440), (15.5, 29, 22)),
        ellipsoid((22, -7, 440), (15.5, 30, 22)),
        ellipsoid((0, 12, 450), (27, 14, 18)),
        tube([(0, 0, 462), (0, 4, 485), (0, 6, 520), (0, 6, 545)], [29, 22, 16.5, 15.5]),
        blend_mm=12,
    )
    notch = tube([(0, -60, 428), (0, -22, 434), (0, 4, 424)], [11, 10, 5])
    groove = tube([(2, 34, 425), (2, 34, 470)], 9)
    plateau = union(
        ellipsoid((-19, -2, 402), (20, 24, 13.5)),
        ellipsoid((19, -3, 402), (20, 23, 13.5)),
        tube([(0, 0, 396), (0, 2, 365), (-1, 5, 330)], [25, 21, 14.5]),
        ellipsoid((2, 21, 378), (9, 8, 16)),
        blend_mm=12,
    )
    spines = tube([(-4, 0, 412), (-3, 0, 420)], [5, 2])
    shaft = union(
        tube(
            [(-1, 4, 335), (-3, 3, 260), (-4, 1, 180), (-4, 0, 130), (-4, 0, 96), (-4, 0, 86)],
            [14, 11.5, 10, 11, 17, 17],
        ),
        tube([(2, 17, 345), (1, 13, 260), (-1, 10, 180), (-2, 6, 130)], [6, 5, 5, 5]),
        ellipsoid((-4, 0, 88), (20, 17, 10)),
        tube([(-21, 2, 88), (-23, 3, 68)], [8, 6.5]),
        blend_mm=9,
    )
    tibia = cut(union(plateau, spines, shaft, blend_mm=8), _talus_dome().grown(3.2), blend_mm=2)
    fibula = union(
        ellipsoid((34, -15, 392), (10.5, 11, 12)),
        tube(
            [(34, -15, 385), (33, -14, 350), (31, -11, 250), (27, -9, 150), (25, -8, 105)],
            [7.5, 6, 6.2, 6.2, 7],
        ),
        ellipsoid((25, -6, 76), (8, 10.5, 24)),
        blend_mm=8,
    )
    patella = ellipsoid((1, 42, 450), (21, 9.5, 21.5))
    return (
        Bone("femur", cut(condyles, notch, groove, blend_mm=6), FEMUR, 0.75),
        Bone("tibia", tibia, TIBIA, 0.7),
        Bone("fibula", fibula, FIBULA, 0.6),
        Bone("patella", patella, ((450.0, 1.8, 260.0),), 0.6),
    )


def _talus_dome() -> Shape:
    return ellipsoid((-3, 2, 58), (17, 23, 15)).tilted(POINTED_DEGREES, ANKLE)


def _foot() -> Sequence[Bone]:
    talus = union(
        ellipsoid((-3, 2, 58), (17, 23, 15)),
        tube([(-5, 16, 54), (-9, 34, 48)], [11, 12]),
        blend_mm=8,
    )
    calcaneus = union(
        tube([(2, -46, 22), (5, -30, 27), (7, -8, 31), (12, 24, 27)], [17, 16, 14, 11.5]),
        ellipsoid((3, -48, 18), (15, 13, 18)),
        ellipsoid((-8, 6, 40), (11, 9, 6)),
        blend_mm=9,
    )
    tarsus = {
        "navicular": ellipsoid((-11, 52, 45), (17, 6.5, 12)),
        "cuboid": ellipsoid((17, 48, 26), (11, 17, 11)),
        "medial cuneiform": ellipsoid((-21, 70, 36), (8, 11, 13)),
        "middle cuneiform": ellipsoid((-7, 68, 42), (6.5, 8, 9)),
        "lateral cuneiform": ellipsoid((6, 69, 38), (7, 10, 10)),
    }
    rays: list[tuple[str, Sequence[Vector], Sequence[float]]] = [
        ("1st", [(-24, 84, 34), (-29, 112, 24), (-32, 136, 14)], [9.5, 6.5, 10]),
        ("2nd", [(-9, 80, 40), (-11, 115, 28), (-13, 144, 13)], [7, 4.2, 6.5]),
        ("3rd", [(4, 82, 37), (4, 114, 26), (3, 140, 12)], [7, 4.2, 6.3]),
        ("4th", [(15, 76, 31), (17, 108, 22), (18, 132, 11)], [7, 4.2, 6.3]),
        ("5th", [(26, 66, 24), (30, 96, 17), (33, 122, 10)], [7.5, 4.6, 6.5]),
    ]
    bones = [Bone("talus", talus, ((55.0, 1.6, 320.0),)), Bone("calcaneus", calcaneus)]
    bones += [Bone(name, shape) for name, shape in tarsus.items()]
    for name, path, radii in rays:
        tip_x, tip_y, tip_z = path[-1]
        thick = 1.5 if name == "1st" else 1.0
        toe = [
            (tip_x + 0.3, tip_y + 12, tip_z),
            (tip_x + 0.5, tip_y + 22, tip_z + 1),
            (tip_x + 0.5, tip_y + 30, tip_z),
        ]
        bones.append(Bone(f"{name} metatarsal", tube(path, radii), ((0.0, 2.2, 90.0),)))
        phalanges = union(
            tube(toe[:2], [5.0 * thick, 3.6 * thick]),
            tube([(tip_x + 0.5, tip_y + 29, tip_z), toe[2]], 3.8 * thick),
        )
        bones.append(Bone(f"{name} toe", phalanges, ((0.0, 1.6, 120.0),)))
    return [
        Bone(b.name, b.shape.tilted(POINTED_DEGREES, ANKLE), b.levels, 0.55, 1100.0) for b in bones
    ]


def _skin() -> Shape:
    limb = loft(
        {
            60: (0, -9, 33, 44),
            85: (0, -9, 34, 42),
            120: (0, -9, 33, 40),
            180: (2, -12, 42, 47),
            260: (2, -15, 54, 57),
            320: (2, -13, 57, 58),
            380: (0, -4, 54, 57),
            425: (0, 0, 57, 58),
            460: (0, 0, 61, 60),
            510: (0, -6, 66, 66),
            560: (0, -6, 70, 70),
        },
        power=2.15,
    )
    foot = union(
        ellipsoid((2, -44, 20), (29, 27, 31)),
        tube([(1, -30, 18), (4, 20, 29), (2, 80, 29)], [26, 24, 25]),
        tube([(0, -14, 52), (-5, 34, 44), (-10, 84, 32)], [35, 31, 22]),
        *(
            tube([(x, 92, 24), (x - 1, y, z)], [18, r])
            for x, y, z, r in (
                (-27, 172, 14, 14.5),
                (-12, 176, 13, 11),
                (4, 171, 12, 10.5),
                (18, 162, 11, 10.5),
                (32, 150, 10, 11),
            )
        ),
        blend_mm=9,
    )
    return union(limb, foot.tilted(POINTED_DEGREES, ANKLE), blend_mm=14)


def _sheath() -> Shape:
    """Return the deep fascia: muscles end there, subcutaneous fat begins."""
    shank = loft(
        {
            70: (2, -10, 26, 32),
            120: (2, -8, 27, 34),
            180: (3, -11, 36, 40),
            260: (4, -14, 47, 49),
            320: (3, -13, 49, 49),
            385: (1, -8, 44, 46),
            425: (0, -6, 44, 44),
            470: (0, -2, 50, 48),
            560: (0, -6, 60, 60),
        },
        power=2.1,
    )
    foot = tube([(0, -8, 20), (-2, 60, 24), (0, 120, 18)], [14, 20, 15])
    return union(shank, foot.tilted(POINTED_DEGREES, ANKLE))


def _muscles() -> Sequence[Shape]:
    bellies = [
        tube([(-24, -32, 430), (-22, -42, 360), (-16, -44, 290), (-8, -48, 215)], [11, 18, 19, 7]),
        tube([(22, -32, 430), (22, -42, 360), (18, -42, 295), (6, -48, 220)], [11, 16, 17, 7]),
        tube([(10, -24, 375), (6, -30, 290), (4, -36, 200), (2, -44, 130)], [12, 27, 20, 7]),
        tube([(8, -10, 370), (8, -11, 270), (0, -14, 180), (-12, -17, 110)], [8, 12, 10, 6]),
        tube([(-14, -14, 330), (-18, -16, 240), (-18, -18, 160), (-20, -18, 90)], [7, 10, 9, 5]),
        tube([(18, 14, 385), (19, 16, 300), (12, 18, 210), (-2, 24, 120)], [9, 16, 12, 6]),
        tube([(30, 4, 375), (31, 6, 290), (24, 10, 200), (12, 20, 110)], [7, 11, 10, 6]),
        tube([(44, -10, 375), (45, -8, 290), (38, -12, 200), (30, -22, 100)], [8, 12, 10, 6]),
        tube([(-6, -18, 400), (8, -18, 372)], [12, 9]),
        tube([(-42, 8, 480), (-38, 14, 465), (-45, 5, 540)], [12, 8, 18]),
        tube([(42, 10, 490), (40, 10, 475), (45, 8, 540)], [10, 7, 16]),
        tube([(0, 36, 500), (0, 42, 540)], [10, 16]),
        tube([(-34, -34, 450), (-34, -40, 540)], [9, 16]),
        tube([(36, -32, 440), (34, -40, 540)], [8, 16]),
    ]
    sole = [
        tube([(-6, -26, 8), (-4, 40, 16), (-4, 105, 10)], [8, 9, 6]),
        tube([(-20, -16, 16), (-26, 60, 20), (-28, 115, 11)], [6, 8, 6]),
        tube([(16, -16, 10), (26, 50, 12), (30, 95, 8)], [6, 7, 5]),
        ellipsoid((0, 110, 22), (28, 26, 9)),
    ]
    return (*bellies, *(shape.tilted(POINTED_DEGREES, ANKLE) for shape in sole))


def _joints() -> Sequence[Organ]:
    cartilage = ellipsoid((0, -3, 418), (39, 25, 6))
    tendon = sheet({374: [(-9, 29, 3), (11, 29, 3)], 432: [(-11, 46, 3), (13, 46, 3)]})
    quadriceps = sheet({466: [(-14, 43, 4), (16, 43, 4)], 510: [(-14, 31, 4), (16, 31, 4)]})
    achilles = tube([(2, -52, 210), (2, -42, 130), (2, -43, 90), (2, -54, 40)], [6, 5, 5, 7])
    cruciate = tube([(4, -14, 440), (-6, 8, 414)], [6, 5])
    ankle = ellipsoid((-2, 2, 76), (21, 22, 12))
    ligaments = [
        tube([(-39, -2, 448), (-38, 2, 415), (-26, 2, 385)], 2.5),
        tube([(38, -4, 448), (38, -12, 402)], 2.5),
    ]
    plantar = tube([(2, -46, 1), (0, 30, 8), (0, 100, 6)], 2.4).tilted(POINTED_DEGREES, ANKLE)
    return (
        Organ("knee cartilage", cartilage, 75, 0.7),
        Organ("ankle cartilage", ankle, 60, 0.7),
        Organ("cruciate ligaments", cruciate, 70, 0.6),
        Organ("patellar tendon", tendon, 90, 0.6),
        Organ("quadriceps tendon", quadriceps, 90, 0.6),
        Organ("Achilles tendon", achilles, 95, 0.5),
        Organ("plantar fascia", plantar, 85, 0.5),
        *(Organ("collateral ligament", shape, 80, 0.5) for shape in ligaments),
    )


def _vessels() -> Sequence[Organ]:
    popliteal = tube([(2, -34, 560), (2, -30, 450), (4, -24, 380)], 4.2)
    vein = tube([(8, -38, 560), (7, -35, 450), (8, -28, 380)], 4.8)
    posterior = tube([(4, -24, 380), (-4, -22, 250), (-16, -22, 140), (-22, -24, 80)], 3.2)
    anterior = tube([(6, -20, 375), (14, 2, 345), (12, 8, 200), (4, 18, 100)], 2.6)
    saphenous = tube([(-44, -16, 470), (-40, -10, 330), (-30, 6, 180), (-28, 16, 90)], 2.4)
    return (
        Organ("popliteal artery", popliteal, 48, 1.5),
        Organ("popliteal vein", vein, 46, 1.5),
        Organ("posterior tibial vessels", posterior, 46, 1.4),
        Organ("anterior tibial vessels", anterior, 46, 1.3),
        Organ("great saphenous vein", saphenous, 42, 1.2),
    )
