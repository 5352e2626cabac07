"""Where two readers disagree: each connected part that one or both outline, and what kind it is.

A part is a rim drawn wider, a reach into other tissue, or a lesion that the other did not see.
Volumes are exact to the voxel; distances run between voxel centres, in mm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from boneviz.bone import bone_mask
from boneviz.case import DEFAULT_THRESHOLD, Case, Prediction
from boneviz.content import Uptake, content_of, uptake_at
from boneviz.errors import GridError, InputError
from boneviz.metrics import Voxels, find_lesions
from boneviz.outlines import outlines_of
from boneviz.surface import require_orthogonal
from boneviz.version import __version__
from boneviz.volume import Grid

__all__ = ["Kind", "Region", "Tissue", "regions", "regions_table", "worst_region"]

Kind = Literal["shared", "extra lesion", "boundary", "extension"]
Tissue = Literal["soft tissue", "bone", ""]
Point = tuple[float, float, float]

BONE_SEARCH_MM = 50.0
FLAT = {
    "centroid_mm": ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm"),
    "inside_mm": ("inside_x_mm", "inside_y_mm", "inside_z_mm"),
    "box_mm": ("low_x_mm", "low_y_mm", "low_z_mm", "high_x_mm", "high_y_mm", "high_z_mm"),
}


@dataclass(frozen=True, slots=True)
class Region:
    """A connected part of what only the reference, only the candidate, or both outline.

    Parts are 26-connected, and so is touching. Every voxel that either outlines lies in one
    region, and in one only.

    Parameters
    ----------
    number : from 1 in the order of `regions`
    patient_id, session : the case
    reference, candidate : names of the two readers compared
    readers : names of those who outline this part, one or both, the reference first
    kind : ``shared``, both outline it; ``extra lesion``, it touches nothing of the other's;
        ``boundary``, it touches, and no voxel lies further than `rim_mm` from the other's
        outline; ``extension``, it touches and reaches further
    tissue : of an extension, where most of what lies beyond the rim is, ``bone`` or ``soft
        tissue`` (which has the half as well); empty for every other kind
    n_voxels, volume_ml : its size
    beyond_rim_ml : what of it lies further than `rim_mm` from the other's outline; all of it
        where the other outlines nothing
    reach_mm : its furthest voxel's distance to the nearest voxel of the other's outline; 0 for
        ``shared``, NaN where the other outlines nothing
    suv_max, suv_mean : SUVbw, NaN where a voxel lies outside the PET's field of view or the PET is
        in counts
    hu_mean : HU
    centroid_mm : mean of its voxel centres, RAS+ mm; of a ring or a shell it lies outside
    inside_mm : centre of its own voxel nearest to the centroid, RAS+ mm; of several as near the
        one furthest to the left, back and feet, in this order
    box_mm : low and high corner, RAS+ mm, of the box around the outer faces of its voxels; on an
        oblique grid around the corners of the box along the grid's own axes
    bone_share : share of its voxels that lie in bone as `boneviz.bone` finds it, 0 to 1
    distance_to_bone_mm : from its nearest voxel to the nearest voxel of bone, 0 where one lies in
        bone, NaN where there is no bone within 50 mm
    rim_mm : thickness up to which a rim is a matter of the boundary, as used
    threshold : probability from which a voxel counts as a model's outline
    held_out : whether no model among the two had learned from this patient
    version : of boneviz
    """

    number: int
    patient_id: str
    session: str
    reference: str
    candidate: str
    readers: tuple[str, ...]
    kind: Kind
    tissue: Tissue
    n_voxels: int
    volume_ml: float
    beyond_rim_ml: float
    reach_mm: float
    suv_max: float
    suv_mean: float
    hu_mean: float
    centroid_mm: Point
    inside_mm: Point
    box_mm: tuple[Point, Point]
    bone_share: float
    distance_to_bone_mm: float
    rim_mm: float
    threshold: float
    held_out: bool
    version: str

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id

    @property
    def kind_in_words(self) -> str:
        """The kind, of an extension with what it reaches into."""
        if self.kind != "extension":
            return self.kind
        return "extension along bone" if self.tissue == "bone" else "extension into soft tissue"

    def as_row(self) -> dict[str, Any]:
        """Return one flat row of a tidy table, units in the names."""
        row: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name in FLAT:
                row |= zip(FLAT[name], np.ravel(value).tolist(), strict=True)
            else:
                row[name] = " + ".join(value) if name == "readers" else value
        return row


@dataclass(frozen=True, slots=True, eq=False)
class _Outlined:
    """All voxels that either reader outlines, and what is known of each; arrays of (n,).

    index : (n, 3), of the voxels
    held_by : 1 the reference alone, 2 the candidate alone, 3 both
    alone : whether its part of the image touches nothing of the other reader's
    away_mm : to the other reader's nearest voxel, 0 where both outline it, inf where nothing is
    to_bone_mm : to the nearest voxel of bone, inf where none is within the search
    """

    grid: Grid
    voxels: Voxels
    index: NDArray[np.int64]
    held_by: NDArray[np.uint8]
    alone: NDArray[np.bool_]
    away_mm: NDArray[np.float64]
    to_bone_mm: NDArray[np.float64]
    uptake: Uptake


def regions(
    case: Case,
    reference: str,
    candidate: str,
    predictions: Sequence[Prediction] = (),
    *,
    rim_mm: float = 5.0,
    threshold: float = DEFAULT_THRESHOLD,
) -> tuple[Region, ...]:
    """Split what two readers outline into connected parts, and say of each what kind it is.

    `boneviz.score` counts a whole lesion as missed or extra where it shares no voxel with the
    other outline. Here an outline that only abuts the other's is no extra lesion: it is its
    boundary, or an extension. A part that is a rim and also reaches further is one extension, and
    `beyond_rim_ml` says how much of it is more than rim.

    Parameters
    ----------
    reference, candidate : names of two readers of the case, experts or models
    predictions : the models' readings, on the CT's grid
    rim_mm : a part that lies this close to the other's outline is a matter of the boundary. The
        limit used is at least a voxel's diagonal, the reach of a rim of one voxel all around
    threshold : probability from which a voxel counts as a model's outline

    Returns
    -------
    tuple of Region
        What only one of them outlines, then what both do, each largest first, of one size by
        place. Empty where neither outlines anything.

    Raises
    ------
    InputError
        A name that no reader has, one name twice, a rim that is not above 0 mm, or readings that
        `outlines_of` refuses.
    GridError
        A reading is not on the CT's grid, or the grid is sheared.
    """
    who = f"patient {case.case_id}"
    if not (math.isfinite(rim_mm) and rim_mm > 0):
        raise InputError(f"{who}: a rim of {rim_mm} mm; expected a number above 0")
    masks = {r.name: m for r, m in outlines_of(case, predictions, threshold=threshold).items()}
    for name in (reference, candidate):
        if name not in masks:
            near = get_close_matches(name, masks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{who}: no reader {name!r}; expected one of {', '.join(masks)}{hint}")
    if reference == candidate:
        others = ", ".join(name for name in masks if name != reference)
        raise InputError(f"{who}: {reference} against {reference}; expected another: {others}")
    grid = case.ct.grid
    try:
        require_orthogonal(grid)
    except GridError as error:
        raise GridError(f"{who}: {error}") from error

    learned = {p.reader.name for p in predictions if not p.held_out}
    common = {
        "patient_id": case.patient_id,
        "session": case.session,
        "reference": reference,
        "candidate": candidate,
        "rim_mm": max(float(rim_mm), float(np.linalg.norm(grid.spacing_mm))),
        "threshold": threshold,
        "held_out": learned.isdisjoint((reference, candidate)),
        "version": __version__,
    }
    outlined = _look(case, Voxels.of(masks[reference].array), Voxels.of(masks[candidate].array))
    found: list[Region] = []
    for held_by, readers in ((1, (reference,)), (2, (candidate,)), (3, (reference, candidate))):
        rows = np.flatnonzero(outlined.held_by == held_by)
        part = Voxels.at(outlined.voxels.position[rows], grid.shape)
        found += [
            _region(outlined, rows[within], readers, common) for within in find_lesions(part).rows()
        ]
    found.sort(key=_rank)
    return tuple(replace(region, number=n) for n, region in enumerate(found, start=1))


def regions_table(regions: Iterable[Region]) -> pd.DataFrame:
    """Return one row per region, with the columns of `Region.as_row`; none for no regions."""
    columns = [column for name in Region.__slots__ for column in FLAT.get(name, (name,))]
    return pd.DataFrame([region.as_row() for region in regions], columns=columns)


def worst_region(regions: Iterable[Region]) -> Region | None:
    """Return the largest part that only one reader outlines, None where they outline the same."""
    disputed = [region for region in regions if region.kind != "shared"]
    return max(disputed, key=lambda region: region.n_voxels, default=None)


def _look(case: Case, reference: Voxels, candidate: Voxels) -> _Outlined:
    grid = case.ct.grid
    union = Voxels.union([reference, candidate])
    index = union.index
    place_mm = index * np.array(grid.spacing_mm)  # along the grid's own axes
    in_reference = np.isin(union.position, reference.position, assume_unique=True)
    in_candidate = np.isin(union.position, candidate.position, assume_unique=True)
    held_by = (in_reference + 2 * in_candidate).astype(np.uint8)

    away_mm = np.zeros(len(union))
    for mine, other in ((1, in_candidate), (2, in_reference)):
        away_mm[held_by == mine] = _distance_mm(place_mm[held_by == mine], place_mm[other])

    # a part touches the other's outline where the lesion that both make up holds any of it
    alone = np.zeros(len(union), dtype=bool)
    lesions = find_lesions(union).rows()
    for rows in lesions:
        alone[rows] = np.bitwise_or.reduce(held_by[rows]) < 3
    # bone is looked for around each lesion, or once around all where that is less to look at
    around = [_search_box(grid, index[rows]) for rows in lesions]
    if lesions and sum(map(_n_voxels, around)) > _n_voxels(_search_box(grid, index)):
        lesions = [np.arange(len(union))]
    to_bone_mm = np.full(len(union), math.inf)
    for rows in lesions:
        to_bone_mm[rows] = _to_bone_mm(case, index[rows])
    uptake = uptake_at(case, union)
    return _Outlined(grid, union, index, held_by, alone, away_mm, to_bone_mm, uptake)


def _search_box(grid: Grid, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ends, (2, 3), the second one beyond, of the box in which bone may be near."""
    margin = np.ceil(BONE_SEARCH_MM / np.array(grid.spacing_mm)).astype(np.int64)
    low = np.maximum(index.min(axis=0) - margin, 0)
    return np.stack([low, np.minimum(index.max(axis=0) + margin + 1, grid.shape)])


def _n_voxels(box: NDArray[np.int64]) -> int:
    return math.prod((box[1] - box[0]).tolist())


def _to_bone_mm(case: Case, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance of voxels to bone, searched in a box around all of them."""
    spacing = np.array(case.ct.grid.spacing_mm)
    low, high = _search_box(case.ct.grid, index)
    hu = case.ct.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    bone = bone_mask(hu, spacing_mm=case.ct.grid.spacing_mm)
    here = index - low
    outside = ~bone[tuple(here.T)]
    # seen from outside, the nearest voxel of bone is one at its surface
    surface = np.argwhere(bone & ~ndimage.binary_erosion(bone))
    distance_mm = np.zeros(len(index))
    distance_mm[outside] = _distance_mm(
        here[outside] * spacing, surface * spacing, within_mm=BONE_SEARCH_MM
    )
    return distance_mm


def _distance_mm(
    place_mm: NDArray[np.float64], other_mm: NDArray[np.float64], *, within_mm: float = math.inf
) -> NDArray[np.float64]:
    """Return the distance of each of (n, 3) points to the nearest of (m, 3), inf beyond a limit."""
    if not len(place_mm) or not len(other_mm):
        return np.full(len(place_mm), math.inf)
    tree = cKDTree(other_mm, leafsize=32, balanced_tree=False, compact_nodes=False)
    distance = tree.query(place_mm, distance_upper_bound=_at_most(within_mm))[0]
    return np.asarray(distance, dtype=np.float64)


def _region(
    outlined: _Outlined, rows: NDArray[np.intp], readers: tuple[str, ...], common: dict[str, Any]
) -> Region:
    """Sum up the voxels in `rows`, all of one part; its number is given later."""
    away_mm, to_bone_mm = outlined.away_mm[rows], outlined.to_bone_mm[rows]
    in_bone = to_bone_mm == 0
    beyond = away_mm > _at_most(common["rim_mm"])
    kind: Kind = "boundary"
    tissue: Tissue = ""
    if len(readers) == 2:
        kind = "shared"
    elif outlined.alone[rows[0]]:
        kind = "extra lesion"
    elif beyond.any():
        kind = "extension"
        tissue = "bone" if 2 * in_bone[beyond].sum() > beyond.sum() else "soft tissue"
    grid, voxel_ml = outlined.grid, outlined.grid.voxel_volume_ml
    content = content_of(outlined.uptake, rows, voxel_ml=voxel_ml)
    index = outlined.index[rows]
    return Region(
        number=0,
        readers=readers,
        kind=kind,
        tissue=tissue,
        n_voxels=len(rows),
        volume_ml=len(rows) * voxel_ml,
        beyond_rim_ml=int(beyond.sum()) * voxel_ml,
        reach_mm=_finite(away_mm.max()),
        suv_max=content.suv_max,
        suv_mean=content.suv_mean,
        hu_mean=content.hu_mean,
        centroid_mm=_point(grid.to_mm(index.mean(axis=0))),
        inside_mm=_inside_mm(grid, index),
        box_mm=_box_mm(grid, index),
        bone_share=float(in_bone.mean()),
        distance_to_bone_mm=_finite(to_bone_mm.min()),
        **common,
    )


def _inside_mm(grid: Grid, index: NDArray[np.int64]) -> Point:
    away_mm = np.linalg.norm((index - index.mean(axis=0)) * np.array(grid.spacing_mm), axis=1)
    nearest = index[away_mm <= _at_most(away_mm.min())]
    # by place, not by index, so that it does not depend on which way the grid's axes run
    return min(map(_point, grid.to_mm(nearest)), key=lambda at: [round(v, 3) for v in at])


def _box_mm(grid: Grid, index: NDArray[np.int64]) -> tuple[Point, Point]:
    ends = np.stack([index.min(axis=0) - 0.5, index.max(axis=0) + 0.5])
    corners = grid.to_mm(np.array(np.meshgrid(*ends.T)).reshape(3, 8).T)
    return _point(corners.min(axis=0)), _point(corners.max(axis=0))


def _rank(region: Region) -> tuple[bool, int, tuple[float, ...]]:
    # rounded, so that two grids for one patient do not differ by the last digit
    place = tuple(round(value, 3) for value in region.centroid_mm)
    return region.kind == "shared", -region.n_voxels, place


def _at_most(limit_mm: float) -> float:
    """Return a limit that distances equal to it stay within, whatever rounding says."""
    return limit_mm * (1 + 1e-9) + 1e-9


def _finite(value_mm: float) -> float:
    return float(value_mm) if math.isfinite(value_mm) else math.nan


def _point(position_mm: NDArray[np.float64]) -> Point:
    x, y, z = position_mm.tolist()
    return x, y, z
