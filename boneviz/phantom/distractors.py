"""Sterile uptake that no expert outlines: healing fracture, worn joint, injection site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boneviz.phantom.anatomy import Body
from boneviz.phantom.shapes import Shape, Vector, ellipsoid

__all__ = ["Distractor", "distract"]


@dataclass(frozen=True, slots=True)
class Distractor:
    """One sterile focus: what it is, where (phantom frame, mm) and its uptake before blurring."""

    kind: str
    centre_mm: Vector
    suv: float


def distract(body: Body, region: str, *, kind: str, rng: np.random.Generator) -> list[Distractor]:
    """Paint two sterile foci away from the infection and return them."""
    places = _places(region, kind)
    chosen = sorted(rng.choice(len(places), size=2, replace=False).tolist())
    painters = {
        "healing fracture": _fracture,
        "worn joint": _worn_joint,
        "injection site": _injection,
    }
    found = []
    for n in chosen:
        what, centre = places[n]
        found.append(Distractor(what, centre, painters[what](body, centre, rng)))
    return found


def _places(region: str, kind: str) -> list[tuple[str, Vector]]:
    if region == "leg":
        return [
            ("healing fracture", (119.0, -9.0, 135.0 if kind != "septic arthritis" else 250.0)),
            ("worn joint", (84.0, 40.0, 36.0)),
            ("injection site", (82.0, 78.0, 34.0)),
        ]
    if region == "pelvis":
        return [
            ("healing fracture", (-45.0, 42.0, -10.0)),
            ("worn joint", (-84.0, 2.0, 26.0)),
            ("injection site", (-84.0, -90.0, 45.0)),
        ]
    return [
        ("healing fracture", (-96.0, -56.0, 80.0)),
        ("worn joint", (-16.0, -30.0, 37.0)),
        ("injection site", (-46.0, -92.0, 15.0)),
    ]


def _fracture(body: Body, centre: Vector, rng: np.random.Generator) -> float:
    """Paint callus about a fracture line, bridged and mildly active."""
    suv = float(rng.uniform(2.2, 3.0))
    ball = body.space.distance(ellipsoid(centre, (13, 13, 13)), reach_mm=24)
    callus = np.maximum(body.bone_mm - 4.0 * np.clip(0.5 - ball / 10, 0, 1), ball)
    body.lay(callus, hu=480 + 90 * body.texture, suv=suv, weight=0.85)
    body.lay(
        np.maximum(body.space.distance(ellipsoid(centre, (12, 12, 1.3))), body.bone_mm), hu=180
    )
    return suv


def _worn_joint(body: Body, centre: Vector, rng: np.random.Generator) -> float:
    """Paint dense bone on both sides of a joint with mild uptake and osteophytes."""
    suv = float(rng.uniform(1.9, 2.6))
    ball = body.space.distance(ellipsoid(centre, (14, 14, 11)), reach_mm=24)
    dense = np.maximum(ball, body.bone_mm - 2.5)
    body.lay(dense, hu=640 + 80 * body.texture, suv=suv, weight=0.8, edge_mm=5)
    return suv


def _injection(body: Body, centre: Vector, rng: np.random.Generator) -> float:
    """Paint a hot, stranded spot in soft tissue, away from bone."""
    suv = float(rng.uniform(4.5, 7.5))
    spot: Shape = ellipsoid(centre, rng.uniform(6.5, 9.5, 3).tolist())
    d = np.maximum(body.space.distance(spot), -(body.bone_mm - 2))
    d = np.maximum(d, body.skin_mm + 2)
    body.lay(d - 3, hu=-25 + 15 * body.texture, edge_mm=5, weight=0.7)
    body.lay(d, hu=25, suv=suv, edge_mm=4)
    return suv
