"""One synthetic patient: anatomy, infection, scanner and two experts, all from one seed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from boneviz.case import Case
from boneviz.errors import InputError
from boneviz.phantom.anatomy import Anatomy, Body, paint
from boneviz.phantom.disease import Findings, infect
from boneviz.phantom.distractors import Distractor, distract
from boneviz.phantom.imaging import pet_grid, scan_ct, scan_pet, true_activity
from boneviz.phantom.leg import leg
from boneviz.phantom.pelvis import pelvis
from boneviz.phantom.shapes import Field, Space, Vector
from boneviz.phantom.sites import design
from boneviz.phantom.spine import spine
from boneviz.phantom.styles import EXPERT_A, EXPERT_B, INCLUDES, SURE_SUV, Style, outline
from boneviz.volume import Grid, Volume

__all__ = ["Phantom", "PhantomConfig", "Plant", "make_phantom", "tiny_phantom"]

Size = Literal["full", "tiny"]
GENERATION = 3  # raised whenever the same seed would give other voxels
TINY_HALF_MM: Vector = (76.0, 76.0, 88.0)
SURROUNDED = ("bone core", "soft-tissue extension")
STREAMS = ("pose", "texture", "disease", "distractors", "ct", "pet", "hand A", "hand B")


@dataclass(frozen=True, slots=True)
class PhantomConfig:
    """What all patients of a cohort share.

    Parameters
    ----------
    style : ``two-styles``: Expert A is sensitive, Expert B specific. ``null``: both outline by
        A's rules and differ only by their hands
    size : ``full`` regions at about 2.5 mm, or ``tiny`` boxes around the infection at 4 mm
    """

    style: Style = "two-styles"
    size: Size = "full"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("style", self.style, get_args(Style)),
            ("size", self.size, get_args(Size)),
        ):
            if value not in known:
                raise InputError(
                    f"phantom {name} {value!r}: expected one of {', '.join(map(repr, known))}"
                )


@dataclass(frozen=True, slots=True)
class Plant:
    """What was planted in one patient: the answer that the readers are searching for.

    Parameters
    ----------
    kind, region, side : the infection; side is left, right or midline
    components : role, volume_ml, centroid_mm (RAS+) and the experts who include it
    distractors : sterile foci: kind, centre_mm (RAS+), suv
    experts : name -> rules, intent, hand_mm, volume_ml of the outline
    sure_suv : the activity from which the specific expert is certain
    seed, config, generation : what it was made from
    """

    patient_id: str
    kind: str
    region: str
    side: str
    components: tuple[Mapping[str, Any], ...]
    distractors: tuple[Mapping[str, Any], ...]
    experts: Mapping[str, Mapping[str, Any]]
    sure_suv: float
    seed: int
    config: Mapping[str, str]
    generation: int = GENERATION

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, strings and numbers, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic patient and what was planted in it."""

    case: Case
    plant: Plant


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """From the phantom's frame to the patient's: world = turn (side * point * scale) + shift."""

    side: float
    scale: float
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    def to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        flipped = points * (self.side, 1, 1) * self.scale
        return np.asarray((flipped[..., None, :] * self.turn).sum(axis=-1) + self.shift)


def make_phantom(
    patient_id: str, *, kind: str, region: str, seed: int, config: PhantomConfig | None = None
) -> Phantom:
    """Make one synthetic patient; the same arguments give the same voxels.

    Parameters
    ----------
    patient_id : also part of the seed, so that patients of one cohort differ
    kind : osteomyelitis, fracture-related infection, spondylodiscitis or septic arthritis
    region : leg, pelvis or spine
    seed : at least 0
    config : style and size

    Returns
    -------
    Phantom
        CT in HU (int16) with both masks on its grid, PET in SUVbw (float32) on its own.

    Raises
    ------
    InputError
        No such infection in that region, or a negative seed.
    """
    config = config or PhantomConfig()
    if seed < 0:
        raise InputError(f"phantom seed {seed}: expected 0 or more")
    root = np.random.SeedSequence([seed, zlib.crc32(patient_id.encode())])
    rngs = dict(zip(STREAMS, map(np.random.default_rng, root.spawn(len(STREAMS))), strict=True))
    plan, centre = design(kind, region, rngs["disease"])
    pose = _pose(rngs["pose"])
    anatomy = _anatomy(region, -pose.side, rngs["pose"])
    grid, spacing_pet = _grid(anatomy, pose, centre, config.size, rngs["pose"])
    space = _space(grid, pose, rngs["pose"])
    texture, coarse = _textures(grid, rngs["texture"])
    edge = float(np.mean(grid.spacing_mm))
    body = paint(anatomy, space, edge_mm=edge, texture=texture, coarse=coarse)
    distractors = distract(body, region, kind=kind, rng=rngs["distractors"])
    found = infect(body, plan)
    activity = true_activity(body, grid)

    noise_hu = float(rngs["ct"].uniform(12, 17))
    ct = scan_ct(body, grid, noise_hu=noise_hu, rng=rngs["ct"])
    lattice = pet_grid(grid, spacing_pet, rng=rngs["pet"])
    pet = scan_pet(activity, grid, pet=lattice, rng=rngs["pet"])
    masks, experts = {}, {}
    for reader, stream in ((EXPERT_A, "hand A"), (EXPERT_B, "hand B")):
        rules = "high-sensitivity" if config.style == "null" else reader.intent
        hand_mm = float(rngs[stream].uniform(0.6, 1.0))
        mask = outline(
            rules, body, found, activity=activity, grid=grid, hand_mm=hand_mm, rng=rngs[stream]
        )
        masks[reader] = Volume(mask, grid, "label")
        experts[reader.name] = {
            "intent": reader.intent,
            "rules": rules,
            "hand_mm": round(hand_mm, 3),
            "volume_ml": round(masks[reader].volume_ml, 3),
        }
    side = "midline" if region == "spine" else ("right" if pose.side > 0 else "left")
    plant = Plant(
        patient_id=patient_id,
        kind=kind,
        region=region,
        side=side,
        components=tuple(_components(found, body, grid, experts)),
        distractors=tuple(_placed(d, pose) for d in distractors),
        experts=experts,
        sure_suv=SURE_SUV,
        seed=seed,
        config={"style": config.style, "size": config.size},
    )
    return Phantom(Case(patient_id, "", ct, pet, masks, notes=("synthetic phantom",)), plant)


def tiny_phantom(seed: int = 0) -> Phantom:
    """Return a small piece of a leg with osteomyelitis of the shaft, in a fraction of a second."""
    config = PhantomConfig(size="tiny")
    return make_phantom("tiny", kind="osteomyelitis", region="leg", seed=seed, config=config)


def _pose(rng: np.random.Generator) -> _Pose:
    scale = rng.uniform(0.92, 0.99)
    a, b, c = np.radians(rng.uniform(-3, 3, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    shift = np.array([rng.uniform(-5, 5), rng.uniform(-190, -150), rng.uniform(-1200, -600)])
    side = float(rng.choice((-1.0, 1.0)))
    turn = (about_x[:, :, None] * (about_y[:, :, None] * about_z[None]).sum(axis=1)[None]).sum(1)
    return _Pose(side, float(scale), turn, shift)


def _anatomy(region: str, aorta_side: float, rng: np.random.Generator) -> Anatomy:
    """Return the region; `aorta_side` is the sign of x that will be the patient's left."""
    contrast = bool(rng.random() < 0.5)
    if region == "leg":
        return leg()
    if region == "pelvis":
        return pelvis(aorta_side=aorta_side, contrast=contrast)
    return spine(aorta_side=aorta_side, contrast=contrast)


def _grid(
    anatomy: Anatomy, pose: _Pose, centre: Vector, size: Size, rng: np.random.Generator
) -> tuple[Grid, Vector]:
    """Return the CT's grid, over the region or about the lesion alone, and the PET's spacing."""
    finest = {"leg": 2.45, "pelvis": 2.55, "spine": 2.45}[anatomy.region]
    in_plane = float(rng.uniform(finest, finest + 0.15))
    spacing = np.array([in_plane, in_plane, 3.0])
    low, high = np.array(anatomy.low_mm), np.array(anatomy.high_mm)
    pet = (4.07, 4.07, 4.0)
    if size == "tiny":
        spacing = np.array([4.0, 4.0, 4.4])
        low = np.maximum(low, np.array(centre) - TINY_HALF_MM)
        high = np.minimum(high, np.array(centre) + TINY_HALF_MM)
        pet = (5.0, 5.0, 5.0)
    middle = pose.to_world((low + high) / 2)
    shape = np.ceil((high - low) * pose.scale / spacing).astype(int)
    origin = middle - spacing * (shape - 1) / 2
    return Grid.straight(shape.tolist(), spacing.round(4).tolist(), origin.round(3).tolist()), pet


def _space(grid: Grid, pose: _Pose, rng: np.random.Generator) -> Space:
    """Return the grid's points in the phantom's frame, smoothly warped."""
    axes = [
        grid.affine_ras_mm[i, 3] + grid.spacing_mm[i] * np.arange(grid.shape[i]) - pose.shift[i]
        for i in range(3)
    ]
    x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    back = pose.turn.T / pose.scale
    straight = [
        np.float32(row[0]) * x + np.float32(row[1]) * y + np.float32(row[2]) * z for row in back
    ]
    straight[0] = straight[0] * np.float32(pose.side)
    amplitude, n_waves = 0.9, 4
    points: list[Field] = []
    for axis in range(3):
        moved = straight[axis].copy()
        for _ in range(n_waves):
            direction = rng.standard_normal(3)
            direction *= 2 * np.pi / rng.uniform(90, 260) / np.sqrt((direction**2).sum())
            kx, ky, kz = (np.float32(k) for k in direction)
            phase = np.float32(rng.uniform(0, 2 * np.pi))
            wave = np.sin(kx * straight[0] + ky * straight[1] + kz * straight[2] + phase)
            moved += np.float32(amplitude) * wave
        points.append(moved)
    forward = pose.turn * pose.scale * np.array([pose.side, 1.0, 1.0])[None, :]
    to_index = np.empty((3, 4))
    for i in range(3):
        to_index[i, :3] = forward[i] / grid.spacing_mm[i]
        to_index[i, 3] = (pose.shift[i] - grid.affine_ras_mm[i, 3]) / grid.spacing_mm[i]
    return Space((points[0], points[1], points[2]), to_index, amplitude * n_waves, pose.scale)


def _textures(grid: Grid, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return random fields of mean 0 and SD 1, correlated over 2.5 and over 9 mm."""
    fields = []
    for length_mm in (2.5, 9.0):
        white = rng.standard_normal(grid.shape, dtype=np.float32)
        smooth = gaussian_filter(white, tuple(length_mm / np.array(grid.spacing_mm)), truncate=3)
        fields.append(smooth / smooth.std())
    return fields[0], fields[1]


def _components(
    found: Findings, body: Body, grid: Grid, experts: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    records = []
    # the rim's distance holds what it surrounds; its record is what it adds
    within = np.minimum.reduce([c.distance_mm for c in found.components if c.role in SURROUNDED])
    for component in found.components:
        inside = (component.distance_mm < 0) & (body.skin_mm < 0)
        if component.role == "oedema rim":
            inside &= within >= 0
        if not inside.any():
            continue
        centroid = grid.to_mm(np.argwhere(inside)).mean(axis=0)
        records.append(
            {
                "role": component.role,
                "volume_ml": round(int(inside.sum()) * grid.voxel_volume_ml, 3),
                "centroid_mm": centroid.round(2).tolist(),
                "included_by": [
                    name
                    for name, expert in experts.items()
                    if component.role in INCLUDES[expert["rules"]]
                ],
            }
        )
    return records


def _placed(distractor: Distractor, pose: _Pose) -> dict[str, Any]:
    return {
        "kind": distractor.kind,
        "centre_mm": pose.to_world(np.array(distractor.centre_mm)).round(2).tolist(),
        "suv": round(distractor.suv, 3),
    }
