"""Scores of one patient: every number about two readings, each pair of readers once.

A reading is a mask on the CT's grid; which reader is called reference is a matter of order, as no
expert is truth. Scans, surfaces and lesions are made once per reading, not once per pair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from boneviz.case import DEFAULT_THRESHOLD, Case, Prediction, Reader
from boneviz.content import Content, content_of, uptake_at
from boneviz.errors import GridError, InputError
from boneviz.matching import Drawn, LesionMatch, distances_of_matches
from boneviz.mesh import Mesh, find_mesh
from boneviz.meshpair import MeshPair
from boneviz.metrics import (
    Lesions,
    Voxels,
    dice,
    f1,
    find_lesions,
    iou,
    match_lesions,
    pattern_counts,
    share,
)
from boneviz.outlines import outlines_of
from boneviz.scorerow import Scores, SurfaceKind, status_of
from boneviz.surface import Surface, SurfaceDistances, SurfacePair, find_surface, require_orthogonal
from boneviz.version import __version__
from boneviz.volume import Grid
from boneviz.volumematch import above_zero, volume_matched_dice

__all__ = ["ScoreSettings", "default_pairs", "score_case"]


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One reader's mask with what is made of it once."""

    reader: Reader
    prediction: Prediction | None  # of a model
    voxels: Voxels
    lesions: Lesions
    content: Content
    surface: Surface | Mesh
    above_zero: NDArray[np.floating] | None  # of the prediction

    @property
    def held_out(self) -> bool:
        """Whether the reader is a person, or a model that had not learned from the patient."""
        return self.prediction is None or self.prediction.held_out

    @property
    def demonstration(self) -> bool:
        """Whether the reader is a model that learned from phantoms only."""
        return self.prediction is not None and self.prediction.demonstration

    @property
    def drawn(self) -> Drawn:
        """What matching lesions takes of it."""
        return Drawn(self.voxels, self.lesions, self.surface.voxel)


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What all scores of one run share.

    Parameters
    ----------
    threshold : probability from which a voxel counts as a model's outline, above 0, at most 1
    tolerance_mm : of surface Dice, one or more above 0; kept ascending, each once
    surface : ``grid`` or ``mesh``, what distances are measured between

    Raises
    ------
    InputError
        One of them is impossible.
    """

    threshold: float = DEFAULT_THRESHOLD
    tolerance_mm: tuple[float, ...] = (1.0, 2.0)
    surface: SurfaceKind = "grid"

    def __post_init__(self) -> None:
        tolerances = tuple(sorted({float(tolerance) for tolerance in self.tolerance_mm}))
        if not tolerances or not all(math.isfinite(t) and t > 0 for t in tolerances):
            raise InputError(
                f"tolerances {self.tolerance_mm} mm: expected one or more numbers above 0"
            )
        for tolerance in tolerances:
            if float(f"{tolerance:g}") != tolerance:  # it names a column of the table
                raise InputError(
                    f"tolerance {tolerance!r} mm: expected at most six digits, as {tolerance:g}"
                )
        if not 0 < self.threshold <= 1:
            raise InputError(f"threshold {self.threshold}: expected above 0 and at most 1")
        if self.surface not in get_args(SurfaceKind):
            raise InputError(
                f"surface {self.surface!r}: expected one of {', '.join(get_args(SurfaceKind))}"
            )
        object.__setattr__(self, "tolerance_mm", tolerances)
        object.__setattr__(self, "threshold", float(self.threshold))


def default_pairs(readers: Iterable[Reader]) -> tuple[tuple[str, str], ...]:
    """Return every pair of readers once, by name, experts before models as reference.

    Variants of a model, its ablations and repeats, are scored against the experts alone: no
    statistic takes a variant beside another model, and of ten readers these are most pairs.
    """
    ordered = sorted(readers, key=lambda reader: reader.kind == "model")
    return tuple(
        (first.name, second.name)
        for first, second in itertools.combinations(ordered, 2)
        if first.kind == "expert" or not (first.variant or second.variant)
    )


def score_case(
    case: Case,
    predictions: Sequence[Prediction] = (),
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    tolerance_mm: Sequence[float] = (1.0, 2.0),
    mesh: bool = False,
) -> tuple[Scores, ...]:
    """Score readers of one case against each other.

    Each mask is scanned once and all that concerns it alone is made once. Distances are between
    surface elements of the grid (`boneviz.surface`), which at tolerances below two voxels only
    see steps of the lattice; with `mesh` they are between triangle meshes (`boneviz.meshpair`),
    which takes several times as long. SUV are those of the PET as `harmonise` puts it onto the CT.

    Parameters
    ----------
    case : its masks are the experts' readings, on the CT's grid
    predictions : the models' readings, on the same grid
    pairs : names (reference, candidate); by default those of `default_pairs`
    threshold : probability from which a voxel counts as a model's outline
    tolerance_mm : of surface Dice
    mesh : measure all distances between triangle meshes

    Returns
    -------
    One `Scores` per pair, in the order of `pairs`.

    Raises
    ------
    GridError
        A mask or prediction is not on the CT's grid, or the grid is sheared.
    InputError
        Fewer than two readers, a reader twice, an unknown reader in `pairs`, a prediction for
        another case, a model's mask without its prediction, or an impossible tolerance.
    """
    who = f"patient {case.case_id}"
    settings = ScoreSettings(threshold, tuple(tolerance_mm), "mesh" if mesh else "grid")
    volumes = outlines_of(case, predictions, threshold=threshold)
    if pairs is None:
        pairs = default_pairs(volumes)
    by_name = {reader.name: reader for reader in volumes}
    wanted = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    for name in wanted:
        if name not in by_name:
            raise InputError(f"{who}: no reader {name!r} to score; there is {', '.join(by_name)}")
    for pair in pairs:
        if pair[0] == pair[1] or list(pairs).count(pair) > 1:
            raise InputError(
                f"{who}: pair {pair[0]}, {pair[1]}: expected two readers, each pair once"
            )
    if not pairs:
        return ()
    grid = case.ct.grid
    try:
        require_orthogonal(grid)
    except GridError as error:
        raise GridError(f"{who}: {error}") from error
    of_model = {prediction.reader: prediction for prediction in predictions}
    scans = {name: Voxels.of(volumes[by_name[name]].array) for name in wanted}
    everywhere = Voxels.union([*scans.values()])
    uptake = uptake_at(case, everywhere)
    readings: dict[str, _Reading] = {}
    for name, voxels in scans.items():
        rows = np.searchsorted(everywhere.position, voxels.position)
        prediction = of_model.get(by_name[name])
        readings[name] = _Reading(
            by_name[name],
            prediction,
            voxels,
            find_lesions(voxels),
            content_of(uptake, rows, voxel_ml=grid.voxel_volume_ml),
            (find_mesh if mesh else find_surface)(voxels, spacing_mm=grid.spacing_mm),
            None if prediction is None else above_zero(prediction.probability.array),
        )
    shared = _shared_voxels(readings)
    done: dict[tuple[str, str], Scores] = {}
    for first, second in pairs:
        if (second, first) in done:
            done[first, second] = done[second, first].swapped()
            continue
        done[first, second] = _score_pair(
            case,
            readings[first],
            readings[second],
            n_both=shared[frozenset((first, second))],
            settings=settings,
        )
    return tuple(done[pair[0], pair[1]] for pair in pairs)


def _shared_voxels(readings: Mapping[str, _Reading]) -> dict[frozenset[str], int]:
    """Return how many voxels each two readings share, from the counts of their patterns."""
    names = list(readings)
    if not names:
        return {}
    counts = pattern_counts([reading.voxels for reading in readings.values()])
    return {
        frozenset((names[a], names[b])): counts.in_all(a, b)
        for a, b in itertools.combinations(range(len(names)), 2)
    }


def _score_pair(
    case: Case, reference: _Reading, candidate: _Reading, *, n_both: int, settings: ScoreSettings
) -> Scores:
    grid = case.ct.grid
    ml = grid.voxel_volume_ml
    n_reference, n_candidate = len(reference.voxels), len(candidate.voxels)
    shared = match_lesions(
        (reference.voxels, reference.lesions), (candidate.voxels, candidate.lesions)
    )
    missed = np.delete(reference.lesions.size, np.unique(shared[:, 0]))
    extra = np.delete(candidate.lesions.size, np.unique(shared[:, 1]))
    matched_share = 1 - share(missed.size, len(reference.lesions))
    right_share = 1 - share(extra.size, len(candidate.lesions))
    distances, matches = _distances(grid, reference, candidate, shared, settings.tolerance_mm)
    return Scores(
        patient_id=case.patient_id,
        session=case.session,
        reference=reference.reader,
        candidate=candidate.reader,
        status=status_of(n_reference, n_candidate),
        held_out=reference.held_out and candidate.held_out,
        demonstration=reference.demonstration or candidate.demonstration,
        threshold=settings.threshold,
        tolerance_mm=settings.tolerance_mm,
        spacing_mm=grid.spacing_mm,
        diagonal_mm=float(np.linalg.norm(np.array(grid.shape) * grid.spacing_mm)),
        surface=settings.surface,
        version=__version__,
        dice=dice(n_both, n_reference, n_candidate),
        iou=iou(n_both, n_reference, n_candidate),
        sensitivity=share(n_both, n_reference),
        precision=share(n_both, n_candidate),
        volume_matched_dice=_volume_matched(reference, candidate),
        reference_ml=n_reference * ml,
        candidate_ml=n_candidate * ml,
        volume_difference_ml=(n_candidate - n_reference) * ml,
        hd_mm=distances.hd_mm if distances else math.nan,
        hd95_mm=distances.hd95_mm if distances else math.nan,
        assd_mm=distances.assd_mm if distances else math.nan,
        masd_mm=distances.masd_mm if distances else math.nan,
        surface_dice={
            tolerance: distances.surface_dice(tolerance) if distances else math.nan
            for tolerance in settings.tolerance_mm
        },
        reference_lesions=len(reference.lesions),
        candidate_lesions=len(candidate.lesions),
        missed_lesions=missed.size,
        extra_lesions=extra.size,
        # as Dice: 0 where all lesions were missed, NaN where there was none to find
        lesion_f1=0.0 if n_reference and not n_candidate else f1(matched_share, right_share),
        fpv_ml=int(extra.sum()) * ml,
        fnv_ml=int(missed.sum()) * ml,
        reference_content=reference.content,
        candidate_content=candidate.content,
        matches=matches,
        pet_unit="SUVbw" if case.has_suv else "counts",
    )


def _volume_matched(reference: _Reading, candidate: _Reading) -> float:
    expert, model = sorted(
        (reference, candidate), key=lambda reading: reading.prediction is not None
    )
    if expert.prediction is not None or model.prediction is None or model.above_zero is None:
        return math.nan
    return volume_matched_dice(model.prediction.probability.array, model.above_zero, expert.voxels)


def _distances(
    grid: Grid,
    reference: _Reading,
    candidate: _Reading,
    shared: NDArray[np.int64],
    tolerance_mm: Sequence[float],
) -> tuple[SurfaceDistances | None, tuple[LesionMatch, ...]]:
    """Return the distances between two whole outlines, and between the lesions that both drew."""
    first, second = reference.surface, candidate.surface
    if not len(first) or not len(second):
        return None, ()
    pair: SurfacePair | MeshPair
    if isinstance(first, Mesh) and isinstance(second, Mesh):
        lesion = [side.lesions.label[side.surface.voxel] for side in (reference, candidate)]
        pair = MeshPair.of(first, second, lesion[0].astype(np.int64), lesion[1].astype(np.int64))
    elif isinstance(first, Surface) and isinstance(second, Surface):
        pair = SurfacePair.of(first, second)
    matches = distances_of_matches(
        grid, reference.drawn, candidate.drawn, shared, part=pair.part, tolerance_mm=tolerance_mm
    )
    return pair.whole(), matches
