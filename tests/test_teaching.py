"""Hidden until committed, then compared with both experts, by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import EXPERT_A, EXPERT_B, SPACING_MM, VOXEL_ML, case_of, mask_of

from boneviz.case import Case, CaseRef, Reader
from boneviz.cohort import Cohort
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError, GridError, InputError
from boneviz.score import score_case
from boneviz.teaching import Session, commit, reveal, shown, start_session
from boneviz.volume import Grid, Volume

SHAPE = (9, 2, 1)
GRID = Grid.straight(SHAPE, SPACING_MM)
#   x:         0 1 2 3 4 5 6 7 8      y = 0
#   expert A   # # # . # . # # .      three lesions, 6 voxels
#   expert B   . # . . . . . . .      one lesion, 1 voxel
A, B = (0, 1, 2, 4, 6, 7), (1,)


def mask_at(where: Sequence[int]) -> np.ndarray:
    return mask_of([(x, 0, 0) for x in where], SHAPE)


def drawing_at(where: Sequence[int], grid: Grid = GRID) -> Drawing:
    return Drawing.of(Volume(mask_at(where), grid, "label"))


def case_called(patient_id: str) -> Case:
    return case_of({EXPERT_A: mask_at(A), EXPERT_B: mask_at(B)}, patient_id=patient_id)


CASE = case_called("017")


def cohort_of(*patients: str, experts: tuple[Reader, ...] = (EXPERT_A, EXPERT_B)) -> Cohort:
    nowhere = Path("nowhere")
    refs = tuple(CaseRef(p, "", nowhere / p / "ct.nii", nowhere / p / "pet.nii") for p in patients)
    return Cohort("Tiny", nowhere, experts, refs)


# Reader 1 is expert B, so that the masked order is not the cohort's
SESSION = Session("Tiny", "Kim", 0, ("017",), (EXPERT_B, EXPERT_A))


def revealed(*where: int):
    return reveal(commit(SESSION, CASE, drawing_at(where)), CASE)


def test_the_seed_decides_the_order_and_the_masked_names() -> None:
    cohort = cohort_of(*(f"P{n}" for n in range(8)))
    first = start_session(cohort, "Kim", seed=3)
    again = start_session(replace(cohort, cases=cohort.cases[::-1]), "Lee", seed=3)
    assert (first.case_ids, first.experts) == (again.case_ids, again.experts)
    assert sorted(first.case_ids) == [f"P{n}" for n in range(8)]
    sessions = [start_session(cohort, "Kim", seed=seed) for seed in range(20)]
    assert len({session.case_ids for session in sessions}) == 20
    assert {session.experts for session in sessions} == {
        (EXPERT_A, EXPERT_B),
        (EXPERT_B, EXPERT_A),
    }
    few = start_session(cohort, "Kim", seed=3, case_ids=["P5", "P2"])
    assert sorted(few.case_ids) == ["P2", "P5"]
    assert first.cohort_id == "Tiny"
    assert start_session(replace(cohort, id="tiny-1"), "Kim", seed=0).cohort_id == "tiny-1"


def test_labels_are_hidden_until_the_case_is_committed() -> None:
    assert dict(shown(SESSION, CASE).masks) == {}
    with pytest.raises(InputError, match="case 017: not committed yet, so the experts stay hidden"):
        reveal(SESSION, CASE)
    after = commit(SESSION, CASE, drawing_at([1, 2]))
    assert dict(shown(SESSION, CASE).masks) == {}  # the session before knows nothing of it
    seen = shown(after, CASE)
    assert list(seen.masks) == [EXPERT_B, EXPERT_A, Reader("Kim", "learner")]
    np.testing.assert_array_equal(seen.masks[after.reader].array, mask_at([1, 2]))
    assert after.current is None


def test_experts_go_by_masked_names() -> None:
    assert SESSION.label_of("Expert B") == "Reader 1"
    assert SESSION.label_of("Expert A") == "Reader 2"
    assert [each.label for each in revealed(1).comparisons] == ["Reader 1", "Reader 2"]
    assert "Expert" not in revealed(1, 2).words


def test_a_comparison_by_hand() -> None:
    #   x:         0 1 2 3 4 5 6 7 8
    #   learner    # # . . . . . . #      two lesions, 3 voxels
    b, a = revealed(0, 1, 8).comparisons
    assert (a.expert, b.expert) == (EXPERT_A, EXPERT_B)
    # A: two of its six voxels, two of three lesions missed, and one extra
    assert a.scores.dice == pytest.approx(2 * 2 / (6 + 3))
    assert (a.scores.missed_lesions, a.scores.extra_lesions) == (2, 1)
    # B: its one voxel of three drawn
    assert b.scores.dice == pytest.approx(2 * 1 / (1 + 3))
    assert (b.scores.missed_lesions, b.scores.extra_lesions) == (0, 1)
    missed = [r for r in a.regions if r.kind == "extra lesion" and r.readers == ("Expert A",)]
    # at 6 and 7 together, and at 4; but 8 abuts 7, so both are boundary, extension or so
    assert [r.n_voxels for r in missed] == [1]
    assert [r.n_voxels for r in b.regions if r.kind == "extra lesion"] == [1]


def test_the_scores_are_those_of_score_case() -> None:
    for comparison in revealed(0, 1, 8).comparisons:
        case = case_of({EXPERT_A: mask_at(A), EXPERT_B: mask_at(B)})
        with_kim = case.with_masks({SESSION.reader: Volume(mask_at([0, 1, 8]), GRID, "label")})
        (scores,) = score_case(with_kim, pairs=[(comparison.expert.name, "Kim")])
        assert comparison.scores.numbers() == pytest.approx(scores.numbers(), nan_ok=True)


@pytest.mark.parametrize(
    ("drawn", "by_dice", "by_volume", "by_boundary", "overall"),
    [
        # as A draws: Dice 10/11 with A and 2/6 with B; 1 voxel off A, 4 off B
        pytest.param((0, 1, 2, 6, 7), "Expert A", "Expert A", "Expert A", "Expert A", id="A"),
        # as B draws: Dice 1 with B and 2/7 with A
        pytest.param((1,), "Expert B", "Expert B", "Expert B", "Expert B", id="B"),
        # 1 and 4 voxels off B and A; Dice 2/3 with B, 4/8 with A. Of the three voxels of learner
        # and B one lies off, by three voxels (6 mm): about 6/3 mm. Of the eight of learner and A
        # two do, 6 and 7, by two and three voxels: about (4 + 6)/8 mm
        pytest.param((1, 4), "Expert B", "Expert B", "Expert A", "", id="between"),
        # nowhere near: Dice 0 with both says nothing
        pytest.param((5,), "", "Expert B", "Expert A", "", id="elsewhere"),
    ],
)
def test_closeness_by_hand(
    drawn: Sequence[int], by_dice: str, by_volume: str, by_boundary: str, overall: str
) -> None:
    closeness = revealed(*drawn).closeness
    assert closeness is not None
    assert closeness.by_dice == by_dice
    assert closeness.by_volume == by_volume
    assert closeness.by_boundary == by_boundary
    assert closeness.overall == overall


def test_words() -> None:
    words = revealed(0, 1, 2, 6, 7).words
    assert words.startswith("Your drawing is closer to Reader 2 (the sensitive style). Reader 1: ")
    # 5 voxels of 0.03 mL drawn where A has 6; one lesion of three missed
    assert (
        "Reader 2: Dice 0.91. You drew 0.15 mL where Reader 2 has 0.18 mL; missed 1 lesion of 3, "
        "extra 0 lesions of 2; outlines lie " in words
    )
    assert revealed(5).words.startswith(
        "Your drawing follows neither reader throughout: by volume closer to Reader 1 (the "
        "specific style), by boundary closer to Reader 2 (the sensitive style). Reader 1: Dice 0.00"
    )


@pytest.mark.parametrize(
    ("side_mm", "says"), [(10, "1.0 mL"), (20, "8.0 mL"), (50, "125 mL"), (5, "0.12 mL")]
)
def test_volumes_are_told_as_people_do(side_mm: float, says: str) -> None:
    # one voxel of so many mm a side
    grid = Grid.straight((2, 2, 2), (side_mm,) * 3)
    case = case_of(dict.fromkeys((EXPERT_A, EXPERT_B), mask_of([(0, 0, 0)], (2, 2, 2))), grid=grid)
    words = reveal(commit(SESSION, case, Drawing.blank(grid)), case).words
    assert words.startswith(f"You drew nothing; Reader 1 outlined 1 lesion, {says}; Reader 2 ")


def test_drawing_nothing_is_no_style() -> None:
    nothing = revealed()
    assert nothing.closeness is None
    assert nothing.words == (
        "You drew nothing; Reader 1 outlined 1 lesion, 0.03 mL; "
        "Reader 2 outlined 3 lesions, 0.18 mL."
    )


def test_notes_do_not_give_the_masks_away() -> None:
    notes = ("CT resampled linearly to 2 x 2 x 2 mm", "mask of Expert A resampled: 0.18 mL before")
    case = replace(CASE, notes=notes)
    assert shown(SESSION, case).notes == notes[:1]
    assert shown(commit(SESSION, case, drawing_at([1])), case).notes == notes


def test_words_where_an_expert_outlined_nothing() -> None:
    case = case_of({EXPERT_A: mask_at(A), EXPERT_B: mask_at(())})
    words = reveal(commit(SESSION, case, drawing_at([4])), case).words
    assert "Reader 1 outlined nothing; you drew 1 lesion, 0.03 mL." in words
    # Dice is undefined with one of them, so that volume alone does not make a style; 1 voxel off B
    assert "neither reader throughout: by volume closer to Reader 1 (the specific style)." in words
    both = case_of({EXPERT_A: mask_at(()), EXPERT_B: mask_at(())})
    seen = reveal(commit(SESSION, both, drawing_at([])), both)
    assert seen.words == (
        "Reader 1 outlined nothing, and neither did you. "
        "Reader 2 outlined nothing, and neither did you."
    )


def test_words_where_neither_is_closer() -> None:
    case = case_of({EXPERT_A: mask_at(A), EXPERT_B: mask_at(A)})
    words = reveal(commit(SESSION, case, drawing_at([1])), case).words
    assert words.startswith("Your drawing is as close to one reader as to the other. Reader 1: ")


@pytest.mark.parametrize("n_experts", [1, 3])
def test_closeness_is_between_two(n_experts: int) -> None:
    experts = tuple(Reader(f"Expert {n}") for n in range(n_experts))
    session = Session("Tiny", "Kim", 0, ("017",), experts)
    case = case_of({expert: mask_at(A) for expert in experts})
    seen = reveal(commit(session, case, drawing_at([1])), case)
    assert seen.closeness is None
    assert len(seen.comparisons) == n_experts
    assert not any(result.closer for result in seen.results)
    assert seen.words.startswith("Reader 1: Dice")


def test_results_by_hand() -> None:
    first, second = revealed(0, 1, 8).results
    assert (first.reader, first.intent) == ("Reader 1", "high-specificity")
    assert (second.reader, second.intent) == ("Reader 2", "high-sensitivity")
    assert second.dice == pytest.approx(4 / 9)
    assert second.sensitivity == pytest.approx(2 / 6)
    assert second.precision == pytest.approx(2 / 3)
    assert second.expert_ml == pytest.approx(6 * VOXEL_ML)
    assert second.learner_ml == pytest.approx(3 * VOXEL_ML)
    assert (second.expert_lesions, second.learner_lesions) == (3, 2)
    assert second.fnv_ml == pytest.approx(3 * VOXEL_ML)
    assert second.fpv_ml == pytest.approx(1 * VOXEL_ML)
    # Dice 1/2 with B; 2 voxels off B, 3 off A
    assert (first.closer_by_dice, first.closer_by_volume) == (True, True)
    assert (second.closer_by_dice, second.closer_by_volume) == (False, False)


def test_cases_are_read_in_order_and_once() -> None:
    session = Session("Tiny", "Kim", 0, ("P2", "P1"), (EXPERT_A, EXPERT_B))
    drawn = drawing_at([1]).brush((0, 0, 0), radius_mm=1)
    with pytest.raises(InputError, match="case P1: expected P2; cases are read in the order"):
        commit(session, case_called("P1"), drawn)
    session = commit(session, case_called("P2"), drawn)
    assert session.current == "P1"
    with pytest.raises(InputError, match="case P2: committed already, and stays as it is"):
        commit(session, case_called("P2"), drawn)
    session = commit(session, case_called("P1"), drawn)
    with pytest.raises(InputError, match="expected none, as all are committed"):
        commit(session, case_called("P3"), drawn)
    kept = session.committed_drawing("P2")
    assert kept is not None
    assert kept.past == ()


STRANGE = replace(CASE, masks=dict(itertools.islice(CASE.masks.items(), 1)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(
            lambda: start_session(cohort_of("P1"), "Kim", seed=-1), InputError, "seed -1", id="seed"
        ),
        pytest.param(
            lambda: start_session(cohort_of("P1", experts=()), "Kim", seed=0),
            InputError,
            "experts none; expected one or more",
            id="no expert",
        ),
        pytest.param(
            lambda: start_session(cohort_of("P1"), "Kim", seed=0, case_ids=[]),
            InputError,
            "cases none; expected one or more",
            id="no case",
        ),
        pytest.param(
            lambda: start_session(cohort_of("P1"), "Expert A", seed=0),
            InputError,
            "'Expert A': an expert goes by this name; type another",
            id="an expert's name",
        ),
        pytest.param(
            lambda: start_session(cohort_of("P1"), "Reader 2", seed=0),
            InputError,
            "'Reader 2': an expert goes by this name",
            id="a masked name",
        ),
        pytest.param(
            lambda: start_session(cohort_of("P1"), " ", seed=0), InputError, "not blank", id="blank"
        ),
        pytest.param(
            lambda: Session("Tiny", "Kim", 0, ("P1", "P1"), (EXPERT_A,)),
            InputError,
            "cases P1, P1; expected one or more, each once",
            id="a case twice",
        ),
        pytest.param(
            lambda: replace(commit(SESSION, CASE, drawing_at([])), case_ids=("P1", "017")),
            InputError,
            "committed 017; expected the first of P1, 017",
            id="another order",
        ),
        pytest.param(
            lambda: commit(
                SESSION, CASE, drawing_at([1], Grid.straight(SHAPE, SPACING_MM, (0, 0, 1)))
            ),
            GridError,
            "case 017: the drawing is on 9x2x1 .* expected the CT's grid",
            id="another grid",
        ),
        pytest.param(
            lambda: reveal(commit(SESSION, STRANGE, drawing_at([1])), STRANGE),
            InputError,
            "case 017: no mask of Expert B; open the cohort",
            id="an expert lacks",
        ),
        pytest.param(
            lambda: SESSION.label_of("Expert C"),
            InputError,
            "no expert 'Expert C' in this session; there is Expert B, Expert A",
            id="unknown expert",
        ),
    ],
)
def test_bad_input_is_named(
    call: Callable[[], object], error: type[BonevizError], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
