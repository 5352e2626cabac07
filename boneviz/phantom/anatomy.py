"""What a body part is made of (`Anatomy`), and its painting in HU and SUV (`Body`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boneviz.phantom.shapes import Field, Shape, Space, Vector, profile

__all__ = ["AIR_HU", "FAT_HU", "MUSCLE_HU", "Anatomy", "Body", "Bone", "Organ", "paint"]

AIR_HU = -1000.0
FAT_HU = -100.0
MUSCLE_HU = 55.0
SKIN_HU = 20.0
CORTEX_HU = 1350.0
FAT_SUV = 0.25
MUSCLE_SUV = 0.6


@dataclass(frozen=True, slots=True)
class Bone:
    """A bone with its cortical shell.

    Parameters
    ----------
    name : as in anatomy
    shape : its outer surface
    levels : (z, cortical thickness in mm, HU inside the shell) from low to high z
    suv : uptake of its marrow
    cortex_hu : of dense cortex
    """

    name: str
    shape: Shape
    levels: tuple[Vector, ...] = ((0.0, 1.3, 220.0),)
    suv: float = 0.7
    cortex_hu: float = CORTEX_HU


@dataclass(frozen=True, slots=True)
class Organ:
    """Any other tissue, painted in the order given, after muscle and before bone."""

    name: str
    shape: Shape
    hu: float
    suv: float


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The healthy tissues of one region in the phantom's frame, for a right-sided patient.

    Parameters
    ----------
    region : leg, pelvis or spine
    low_mm, high_mm : corners of the field of view
    skin : the outer surface
    muscles : bellies; where two meet a fascial plane of fat remains
    sheath : where given, muscles end there
    fill_mm : how far bellies grow to meet each other
    organs, bones : painted after the muscles, bones last
    """

    region: str
    low_mm: Vector
    high_mm: Vector
    skin: Shape
    muscles: tuple[Shape, ...]
    sheath: Shape | None
    fill_mm: float
    organs: tuple[Organ, ...]
    bones: tuple[Bone, ...]

    def bone(self, name: str) -> Bone:
        """Return the bone of that name."""
        return next(bone for bone in self.bones if bone.name == name)


@dataclass(slots=True, eq=False)
class Body:
    """The patient while being painted: every field is (X, Y, Z) on the CT's lattice.

    Parameters
    ----------
    space : the points
    edge_mm : width over which a surface blurs, the partial volume of a voxel
    ct, suv : HU and SUVbw before the scanner
    bone_mm, skin_mm, metal_mm : signed distances, patient mm
    texture : smooth random field, mean 0, SD 1, finer than a lesion
    coarse : the same at the scale of a lesion
    """

    space: Space
    edge_mm: float
    ct: Field
    suv: Field
    bone_mm: Field
    skin_mm: Field
    metal_mm: Field
    texture: Field
    coarse: Field

    def lay(
        self,
        distance_mm: Field,
        *,
        hu: float | Field | None = None,
        suv: float | Field | None = None,
        edge_mm: float | None = None,
        weight: float | Field = 1.0,
    ) -> None:
        """Blend HU, SUV or both towards new values inside a surface.

        `edge_mm` is the width of the blend across the surface, by default that of a voxel.
        """
        share = self.inside(distance_mm, edge_mm) * np.float32(weight)
        if hu is not None:
            self.ct += share * (np.float32(hu) - self.ct)
        if suv is not None:
            self.suv += share * (np.float32(suv) - self.suv)

    def inside(self, distance_mm: Field, edge_mm: float | None = None) -> Field:
        """Return the share of each voxel that lies inside a surface, 0 to 1."""
        width = np.float32(edge_mm or self.edge_mm)
        return np.asarray(np.clip(np.float32(0.5) - distance_mm / width, 0, 1), np.float32)


def paint(anatomy: Anatomy, space: Space, *, edge_mm: float, texture: Field, coarse: Field) -> Body:
    """Paint the healthy tissues of a region."""
    skin = space.distance(anatomy.skin, reach_mm=60)
    body = Body(
        space=space,
        edge_mm=edge_mm,
        ct=np.full(space.shape, AIR_HU, np.float32),
        suv=np.zeros(space.shape, np.float32),
        bone_mm=np.full(space.shape, 60.0, np.float32),
        skin_mm=skin,
        metal_mm=np.full(space.shape, 60.0, np.float32),
        texture=texture,
        coarse=coarse,
    )
    body.lay(skin, hu=SKIN_HU, suv=0.4)
    body.lay(skin + np.float32(2.2), hu=FAT_HU + 7 * texture, suv=FAT_SUV)
    _paint_muscles(anatomy, body)
    for organ in anatomy.organs:
        block = space.block(organ.shape, edge_mm)
        if block is not None:
            share = body.inside(space.distance_in(organ.shape, block))
            body.ct[block] += share * (np.float32(organ.hu) - body.ct[block])
            body.suv[block] += share * (np.float32(organ.suv) - body.suv[block])
    for bone in anatomy.bones:
        _paint_bone(bone, body)
    return body


def _paint_muscles(anatomy: Anatomy, body: Body) -> None:
    """Paint bellies with fat between them, from the nearest and the second nearest belly."""
    space = body.space
    nearest = np.full(space.shape, 12.0, np.float32)
    second = nearest.copy()
    for muscle in anatomy.muscles:
        block = space.block(muscle, anatomy.fill_mm + 4)
        if block is None:
            continue
        d = np.minimum(space.distance_in(muscle, block), 12)
        second[block] = np.minimum(second[block], np.maximum(nearest[block], d))
        nearest[block] = np.minimum(nearest[block], d)
    surface = nearest - np.float32(anatomy.fill_mm)
    if anatomy.sheath is not None:
        surface = np.maximum(surface, space.distance(anatomy.sheath, reach_mm=30))
    plane = np.clip(1 - (second - nearest) / np.float32(2.4), 0, 1) * np.float32(0.75)
    share = body.inside(surface) * (1 - plane)
    # a little fat between the fibres
    grain = (
        MUSCLE_HU + 3 * body.texture - 26 * np.maximum(body.texture + 0.4 * body.coarse - 1.4, 0)
    )
    body.ct += share * (grain - body.ct)
    body.suv += body.inside(surface) * (MUSCLE_SUV * (1 + 0.08 * body.coarse) - body.suv)


def _paint_bone(bone: Bone, body: Body) -> None:
    space = body.space
    reach = 16.0
    block = space.block(bone.shape, reach)
    if block is None:
        return
    d = space.distance_in(bone.shape, block)
    z = space.points[2][block]
    heights = [level[0] for level in bone.levels]
    cortex = profile(heights, [level[1] for level in bone.levels])(z) * np.float32(space.scale)
    inner = profile(heights, [level[2] for level in bone.levels])(z)
    # trabeculae: coarser and denser where the bone is dense, none in a fatty canal
    inner = inner + np.clip(inner, 0, 300) * np.float32(0.16) * body.texture[block]
    whole, core = body.inside(d), body.inside(d + cortex)
    ct, suv = body.ct[block], body.suv[block]
    ct += whole * (np.float32(bone.cortex_hu) - ct)
    ct += core * (inner - ct)
    suv += whole * (np.float32(0.5 * bone.suv) - suv)
    suv += core * (np.float32(bone.suv) - suv)
    body.bone_mm[block] = np.minimum(body.bone_mm[block], d)
