"""Where each infection sits in the phantom's frame, and how it is painted.

A `Design` is geometry alone, for a right-sided patient; `infect` paints it and returns the
components that the experts then choose from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from boneviz.phantom.anatomy import Body
from boneviz.phantom.shapes import Field, Shape

__all__ = ["Component", "Design", "Findings", "Kind", "Role", "Uptake", "infect"]

Kind = Literal[
    "osteomyelitis", "fracture-related infection", "spondylodiscitis", "septic arthritis"
]
Role = Literal["bone core", "soft-tissue extension", "oedema rim", "sinus tract", "equivocal focus"]
FAR_MM = 24.0


@dataclass(frozen=True, slots=True)
class Uptake:
    """Width of the oedema about an infection, and the SUV of its parts before the scanner."""

    rim_mm: float
    core_suv: float
    extension_suv: float
    rim_suv: float


@dataclass(frozen=True, slots=True)
class Design:
    """The plan of one infection, in the phantom's frame.

    Parameters
    ----------
    core : infected as far as it lies in the host
    host : what counts as bone for this infection, besides bone (a disc)
    extensions : phlegmon and abscess beside the bone
    pus : centres without uptake, inside core or extensions
    involucrum : where new bone thickens the old
    erosions : holes eaten into endplates or under cartilage, with a dense border
    sequestrum : dead, dense bone in a cavity
    gaps : fracture lines
    metal : implant
    sinus : a tract to the skin
    foci : equivocal small uptake
    effusion : whether the first extension is fluid in a joint
    uptake : how hot, and how wide the oedema
    """

    core: Shape
    extensions: tuple[Shape, ...]
    uptake: Uptake
    host: Shape | None = None
    pus: tuple[Shape, ...] = ()
    erosions: tuple[Shape, ...] = ()
    involucrum: Shape | None = None
    sequestrum: Shape | None = None
    gaps: tuple[Shape, ...] = ()
    metal: Shape | None = None
    sinus: Shape | None = None
    foci: tuple[Shape, ...] = ()
    effusion: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One part of an infection: its role and its signed distance on the CT's lattice, mm."""

    role: Role
    distance_mm: Field


@dataclass(slots=True, eq=False)
class Findings:
    """What was planted.

    Parameters
    ----------
    components : parts of the infection
    host_mm : distance to the bone (or disc) that can be infected
    """

    host_mm: Field
    components: list[Component] = field(default_factory=list)


def infect(body: Body, design: Design) -> Findings:
    """Paint an infection into the body and return its components."""
    space = body.space
    wobble = np.float32(1.6) * body.coarse + np.float32(0.5) * body.texture
    if design.involucrum is not None:
        _thicken(body, space.distance(design.involucrum, reach_mm=FAR_MM) + wobble)
    for gap in design.gaps:
        crack = np.maximum(space.distance(gap), body.bone_mm)
        body.lay(crack, hu=90, edge_mm=2.0)
    host = body.bone_mm
    if design.host is not None:
        host = np.minimum(host, space.distance(design.host))
    core = np.maximum(space.distance(design.core, reach_mm=FAR_MM) + wobble, host)
    found = Findings(host_mm=host)

    outside = -host
    within_skin = body.skin_mm + np.float32(2.5)
    extension = np.full(space.shape, FAR_MM, np.float32)
    for shape in design.extensions:
        extension = np.minimum(extension, space.distance(shape, reach_mm=FAR_MM))
    extension = np.maximum(np.maximum(extension + 0.7 * wobble, outside), within_skin)
    # marrow swells about the infected bone only, soft tissue about all of it
    swollen = np.float32(design.uptake.rim_mm) + 0.6 * wobble
    rim = np.minimum(core - swollen, np.maximum(extension - swollen, outside))
    rim = np.maximum(rim, within_skin)

    _paint_rim(body, rim, design.uptake.rim_suv)
    if design.sinus is not None:
        tract = np.maximum(space.distance(design.sinus, reach_mm=FAR_MM), body.skin_mm)
        _paint_rim(body, tract - 2, design.uptake.rim_suv)
        body.lay(tract, hu=30, suv=design.uptake.extension_suv)
    else:
        tract = None
    _paint_extension(body, extension, design)
    _paint_core(body, core, host, design.uptake.core_suv)
    for shape in design.erosions:
        hole = np.maximum(space.distance(shape) + 0.7 * wobble, host)
        border = np.clip((body.ct - 120) / 80, 0, 1).astype(np.float32)
        body.lay(hole - np.float32(3.5), hu=520, weight=np.float32(0.7) * border)
        body.lay(hole, hu=48 + 6 * body.texture)
    for shape in design.pus:
        centre = np.maximum(space.distance(shape) + wobble, np.minimum(core, extension) + 2)
        body.lay(centre, hu=24, suv=0.9, edge_mm=3)
    if design.sequestrum is not None:
        dead = space.distance(design.sequestrum)
        body.lay(dead - np.float32(3.6), hu=38, suv=2.0)
        body.lay(dead, hu=1150, suv=0.4)
    if design.metal is not None:
        body.metal_mm = space.distance(design.metal)
        loosened = np.maximum(body.metal_mm - np.float32(1.8), core)
        body.lay(loosened, hu=50)
        body.lay(body.metal_mm, suv=0.2)

    found.components.append(Component("bone core", core))
    found.components.append(Component("soft-tissue extension", extension))
    found.components.append(Component("oedema rim", rim))
    if tract is not None:
        found.components.append(Component("sinus tract", tract - np.float32(1.5)))
    for shape in design.foci:
        found.components.append(Component("equivocal focus", _paint_focus(body, shape)))
    return found


def _thicken(body: Body, where_mm: Field) -> None:
    """Lay new bone, less dense and rougher than the old, on the bone's surface."""
    window = np.clip(0.5 - where_mm / np.float32(14), 0, 1)
    rough = np.clip(1 + np.float32(0.6) * body.coarse, 0.2, 2)
    grown = body.bone_mm - np.float32(4.0) * window * rough
    shell = np.maximum(grown, np.float32(0.6) - body.bone_mm)
    body.lay(shell, hu=620 + 120 * body.texture, suv=1.5)
    body.bone_mm = np.where(grown < 0, np.minimum(grown, body.bone_mm), body.bone_mm)


def _paint_rim(body: Body, rim: Field, suv: float) -> None:
    """Paint oedema: water in fat and muscle blurs their planes, marrow fat turns to water."""
    soft = np.clip((350 - body.ct) / 100, 0, 1).astype(np.float32)
    strands = np.float32(14) * body.texture
    watery = np.float32(0.42) * body.ct + np.float32(0.58) * 26 + strands
    body.lay(rim, hu=watery, edge_mm=4, weight=soft)
    patchy = np.float32(suv) * (
        1 + np.float32(0.12) * body.coarse + np.float32(0.05) * body.texture
    )
    body.lay(rim, suv=patchy, edge_mm=3)


def _paint_extension(body: Body, extension: Field, design: Design) -> None:
    if design.effusion:
        body.lay(extension, hu=16, suv=design.uptake.extension_suv)
        body.lay(extension + np.float32(5), suv=0.55 * design.uptake.extension_suv, edge_mm=4)
    else:
        hot = design.uptake.extension_suv * (1 + 0.18 * body.coarse)
        body.lay(extension, hu=38 + 5 * body.texture, suv=hot, edge_mm=3)


def _paint_core(body: Body, core: Field, host: Field, suv: float) -> None:
    """Paint destroyed cortex in patches, sclerosis between, pus and oedema in the marrow."""
    depth = body.inside(core, 5.0)
    marrow = np.clip((260 - body.ct) / 120, 0, 1)
    body.ct += depth * marrow * (48 + 22 * body.texture - body.ct) * np.float32(0.8)
    eaten = np.clip(np.float32(0.12) + np.float32(0.55) * body.coarse + 0.25 * body.texture, 0, 1)
    cortex = np.clip((body.ct - 260) / 200, 0, 1)
    body.ct += depth * cortex * eaten * (110 - body.ct) * np.float32(0.9)
    sclerosis = np.clip(np.float32(-0.35) - body.coarse, 0, 1) * np.clip(-host / 3, 0, 1)
    body.ct += depth * sclerosis * np.float32(330)
    hot = np.maximum(suv * (1 + 0.22 * body.coarse + 0.06 * body.texture), 2.6)
    body.lay(core, suv=hot, edge_mm=3)


def _paint_focus(body: Body, shape: Shape) -> Field:
    """Paint a small spot of mild uptake with a faint lucency, on the bone."""
    d = body.space.distance(shape)
    _paint_rim(body, d - 1, 1.4)
    body.lay(d, suv=4.0, edge_mm=2.5)
    in_bone = np.clip(np.float32(0.5) - body.bone_mm / 2, 0, 1).astype(np.float32)
    body.lay(d + 1, hu=70, weight=np.float32(0.75) * in_bone)
    return d
