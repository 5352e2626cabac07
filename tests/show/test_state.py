"""Pure steps between states of the explorer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from cases import EXPERT_A, EXPERT_B, VOXEL_ML, Index, case_of, mask_of

from boneviz.case import Reader
from boneviz.errors import InputError
from boneviz.regions import Region, regions
from boneviz.show.state import (
    KINDS,
    ViewState,
    choose_candidate,
    choose_curve,
    choose_metric,
    choose_pair,
    choose_reference,
    choose_region,
    choose_view,
    filter_regions,
    find_worst,
    first_state,
    is_starred,
    join_stars,
    listed_regions,
    move_cursor,
    open_worst,
    order_regions,
    select_case,
    set_thresholds,
    show_panel,
    show_readers,
    shown_readers,
    step_region,
    toggle_star,
    turn_dial,
)

STATE = first_state(["P1", "P2"], ["A", "B", "M"])


def test_opening_shows_the_first_case_and_everybody() -> None:
    everybody = frozenset("ABM")
    opening = ViewState(("P1", "P2"), ("A", "B", "M"), "P1", "dice", everybody, pair=("A", "B"))
    assert opening == STATE
    assert (STATE.view, STATE.thresholds) == ("readers", ())
    assert first_state(["P1"], ["A"]).pair is None
    assert first_state(["P1"], ["A", "B", "M"], off=["M"]).visible == frozenset("AB")


def test_nothing_to_explore_is_refused() -> None:
    with pytest.raises(InputError, match="a cohort without cases"):
        first_state([], ["A"])


def test_another_case_forgets_the_cursor_and_keeps_the_rest() -> None:
    before = move_cursor(choose_metric(show_readers(STATE, "AB"), "hd95_mm"), (1, 2, 3))
    after = select_case(before, "P2")
    assert (after.case_id, after.cursor_mm) == ("P2", None)
    assert (after.metric, after.visible) == ("hd95_mm", frozenset("AB"))


def test_the_same_case_again_changes_nothing() -> None:
    before = move_cursor(STATE, (1, 2, 3))
    assert select_case(before, "P1") is before


def test_an_unknown_case_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no case 'P9'; there is P1, P2"):
        select_case(STATE, "P9")


def test_readers_without_an_outline_here_stay_on_for_the_next_case() -> None:
    # M drew nothing in this case, so its page speaks of A and B alone; B is switched off
    assert show_readers(STATE, ["A"], among=["A", "B"]).visible == frozenset("AM")
    assert show_readers(STATE, ["A"]).visible == frozenset("A")


def test_an_unknown_reader_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no reader Z; there is A, B, M"):
        show_readers(STATE, ["A", "Z"])


def test_a_state_is_a_value() -> None:
    assert move_cursor(STATE, (1, 2, 3)) == move_cursor(STATE, [1.0, 2.0, 3.0])
    assert STATE.cursor_mm is None


def test_view_pair_and_thresholds_go_along_to_the_next_case() -> None:
    chosen = set_thresholds(choose_pair(choose_view(STATE, "error"), "B", "M"), {"M": 0.3})
    after = select_case(chosen, "P2")
    assert (after.view, after.pair, after.thresholds) == ("error", ("B", "M"), (("M", 0.3),))
    assert set_thresholds(STATE, {"N": 0.5, "M": 1.0}).thresholds == (("M", 1.0), ("N", 0.5))


def test_a_pair_is_two_readers_of_the_cohort() -> None:
    with pytest.raises(InputError, match=r"no reader 'Z'; expected one of A, B, M"):
        choose_pair(STATE, "A", "Z")
    with pytest.raises(InputError, match="M against M: expected two readers"):
        choose_pair(STATE, "M", "M")


def test_variants_come_last_where_there_are_too_many_readers() -> None:
    a, b = Reader("A"), Reader("B")
    model, other = Reader("M", "model"), Reader("N", "model")
    ct, pet, seed = (Reader(f"M {what}", "model", variant=what) for what in ("CT", "PET", "seed"))
    readers = (ct, a, pet, model, b, seed, other)
    assert shown_readers(readers, 5) == ((a, b, model, other, ct), (pet, seed))
    assert shown_readers(readers, 3) == ((a, b, model), (other, ct, pet, seed))
    assert shown_readers(readers, 8) == ((a, b, model, other, ct, pet, seed), ())


def row_of(*x: int) -> tuple[Index, ...]:
    return tuple((i, 1, 1) for i in x)


# x: 0 1 2 3 4 5 6 7 8 9 10 11   A  0-2, 5-7 and 10; B 2, 3 and 5; voxels of 0.03 mL, 2 mm apart
#    A A A . . A A A . . A  .    so A's own: 0-1 (boundary), 6-7 (boundary), 10 (extra lesion);
#    . . B B . B . . . . .  .    B's own: 3 (boundary); both: 2 and 5
DRAWN = (row_of(0, 1, 2, 5, 6, 7, 10), row_of(2, 3, 5))
FOUND = regions(
    case_of({r: mask_of(v, (12, 3, 3)) for r, v in zip((EXPERT_A, EXPERT_B), DRAWN, strict=True)}),
    "Expert A",
    "Expert B",
)
OPEN = filter_regions(
    first_state(["017", "018"], ["Expert A", "Expert B", "Model A"]), kinds=KINDS, least_ml=0
)


def numbers(found: Iterable[Region]) -> list[int]:
    return [region.number for region in found]


def test_the_regions_that_the_tests_below_are_about() -> None:
    assert [(r.number, r.kind, r.n_voxels, r.readers[0]) for r in FOUND] == [
        (1, "boundary", 2, "Expert A"),
        (2, "boundary", 2, "Expert A"),
        (3, "boundary", 1, "Expert B"),
        (4, "extra lesion", 1, "Expert A"),
        (5, "shared", 1, "Expert A"),
        (6, "shared", 1, "Expert A"),
    ]


def test_the_first_two_readers_are_compared_at_first() -> None:
    assert OPEN.pair == ("Expert A", "Expert B")


def test_any_two_readers_are_a_pair_and_another_pair_forgets_the_region() -> None:
    before = choose_region(OPEN, FOUND[1])
    after = choose_pair(before, "Model A", "Expert A")
    assert (after.pair, after.region) == (("Model A", "Expert A"), None)
    assert choose_pair(before, "Expert A", "Expert B") is before
    with pytest.raises(InputError, match=r"no reader 'Z'; expected one of Expert A, Expert B"):
        choose_pair(OPEN, "Z", "Expert A")
    with pytest.raises(InputError, match="Expert A against Expert A"):
        choose_pair(OPEN, "Expert A", "Expert A")


def test_a_reader_chosen_on_both_sides_changes_places_with_the_other() -> None:
    assert choose_reference(OPEN, "Model A").pair == ("Model A", "Expert B")
    assert choose_reference(OPEN, "Expert B").pair == ("Expert B", "Expert A")
    assert choose_candidate(OPEN, "Model A").pair == ("Expert A", "Model A")
    assert choose_candidate(OPEN, "Expert A").pair == ("Expert B", "Expert A")
    alone = first_state(["P1"], ["A"])
    assert choose_reference(alone, "A") is choose_candidate(alone, "A") is alone


def test_regions_are_listed_by_kind_and_least_volume() -> None:
    assert numbers(listed_regions(OPEN, FOUND)) == [1, 2, 3, 4, 5, 6]
    assert numbers(listed_regions(filter_regions(OPEN, kinds=["boundary"]), FOUND)) == [1, 2, 3]
    # 2 voxels are 0.06 mL: the least volume is still listed
    assert numbers(listed_regions(filter_regions(OPEN, least_ml=2 * VOXEL_ML), FOUND)) == [1, 2]
    assert listed_regions(filter_regions(OPEN, least_ml=0.061), FOUND) == ()
    at_first = first_state(["017"], ["Expert A", "Expert B"])
    assert "shared" not in at_first.kinds
    with pytest.raises(InputError, match="no kind 'lesion'"):
        filter_regions(OPEN, kinds=["lesion"])
    with pytest.raises(InputError, match=r"a least volume of -1.0 mL"):
        filter_regions(OPEN, least_ml=-1)


def test_regions_are_ordered_largest_value_first_and_undefined_where_it_belongs() -> None:
    hot = [replace(r, suv_max=v) for r, v in zip(FOUND, (1, 9, 5, float("nan"), 2, 3), strict=True)]
    by_suv = order_regions(OPEN, "suv_max")
    assert numbers(listed_regions(by_suv, hot)) == [2, 3, 6, 5, 1, 4]
    # no bone within 50 mm is further than any distance to bone
    nan = float("nan")
    far = [
        replace(r, distance_to_bone_mm=v) for r, v in zip(FOUND, (1, 9, 5, nan, 2, 3), strict=True)
    ]
    by_bone = order_regions(OPEN, "distance_to_bone_mm")
    assert numbers(listed_regions(by_bone, far)) == [4, 2, 3, 6, 5, 1]
    # by kind: the extra lesion before boundaries, shared last; within a kind as they were
    by_kind = order_regions(OPEN, "kind")
    assert numbers(listed_regions(by_kind, FOUND)) == [4, 1, 2, 3, 5, 6]
    with pytest.raises(InputError, match="no order 'size'"):
        order_regions(OPEN, "size")


def test_going_to_a_region_puts_the_cursor_inside_it() -> None:
    # voxels 0 and 1 are centred on 1 mm in x; both are as near, and the one further left is taken
    after = choose_region(OPEN, FOUND[0])
    assert (after.region, after.cursor_mm) == (1, (0, 3, 5))


def test_steps_go_round_the_listed_regions() -> None:
    listed = filter_regions(OPEN, kinds=["boundary"])
    seen, state = [], listed
    for _ in range(4):
        state = step_region(state, FOUND, 1)
        seen.append(state.region)
    assert seen == [1, 2, 3, 1]
    assert step_region(state, FOUND, -1).region == 3
    assert step_region(listed, FOUND, -1).region == 3
    # the region gone to is not listed any more: from the start
    assert step_region(replace(listed, region=6), FOUND, 1).region == 1
    nothing = filter_regions(OPEN, least_ml=99)
    assert step_region(nothing, FOUND, 1) is nothing


def test_a_star_stays_with_its_case_and_pair() -> None:
    first = toggle_star(choose_region(OPEN, FOUND[3]), FOUND)
    assert numbers(first.starred) == [4]
    elsewhere = choose_pair(select_case(first, "018"), "Expert B", "Expert A")
    assert elsewhere.starred == first.starred
    # region 4 of another case or of another pair is another region
    assert not is_starred(elsewhere, replace(FOUND[3], patient_id="018"))
    assert not is_starred(elsewhere, replace(FOUND[3], reference="Expert B"))
    assert is_starred(elsewhere, FOUND[3])
    assert toggle_star(elsewhere, FOUND) is elsewhere  # no region was gone to
    assert toggle_star(first, FOUND).starred == ()


def test_a_starred_region_computed_again_is_the_same_though_a_number_is_nan() -> None:
    nan = float("nan")
    once = [replace(region, suv_max=nan) for region in FOUND]
    again = [replace(region, suv_max=float("nan")) for region in FOUND]
    state = toggle_star(choose_region(OPEN, once[0]), once)
    assert is_starred(state, again[0])
    assert toggle_star(state, again).starred == ()


def test_a_patient_of_a_pair_opens_at_its_worst_region_once_that_is_known() -> None:
    waiting = open_worst(OPEN, "018", "Expert B", "Expert A")
    assert (waiting.case_id, waiting.pair) == ("018", ("Expert B", "Expert A"))
    assert (waiting.region, waiting.cursor_mm) == ("worst", None)
    there = find_worst(waiting, FOUND)
    assert (there.region, there.cursor_mm) == (1, FOUND[0].inside_mm)
    # where nothing is disputed the cursor stays
    agreed = find_worst(move_cursor(waiting, (1, 2, 3)), FOUND[4:])
    assert (agreed.region, agreed.cursor_mm) == (None, (1, 2, 3))
    assert find_worst(OPEN, FOUND) is OPEN


def test_who_moves_the_cursor_is_not_taken_elsewhere_afterwards() -> None:
    waiting = replace(open_worst(OPEN, "018", "Expert A", "Expert B"), cursor_mm=(1.0, 2.0, 3.0))
    assert move_cursor(waiting, (1, 2, 3)) is waiting
    moved = move_cursor(waiting, (4, 5, 6))
    assert find_worst(moved, FOUND).cursor_mm == (4, 5, 6)
    # a region gone to stays the one from which steps go on
    assert move_cursor(choose_region(OPEN, FOUND[2]), (4, 5, 6)).region == 3


def test_an_unknown_panel_is_refused_by_name() -> None:
    assert show_panel(OPEN, "pair").panel == "pair"
    with pytest.raises(InputError, match="no panel 'matrix'; expected one of patients"):
        show_panel(OPEN, "matrix")


def test_the_dial_lies_between_the_models_or_is_off() -> None:
    assert STATE.dial is None
    assert turn_dial(STATE, 0.25).dial == 0.25
    assert turn_dial(turn_dial(STATE, 0), None) == STATE
    for beyond in (-0.01, 1.01, float("nan")):
        with pytest.raises(InputError, match=r"dial at .*: expected 0, the first model, to 1"):
            turn_dial(STATE, beyond)


def test_stars_are_joined_not_replaced() -> None:
    starred = join_stars(join_stars(STATE, FOUND[:2]), (*FOUND[1:2], FOUND[2]))
    assert starred.starred == FOUND[:3]


def test_a_curve_is_of_a_reader_or_of_the_dial() -> None:
    assert choose_curve(STATE, "A", "M").curve == ("A", "M")
    assert choose_curve(STATE, "B", "").curve == ("B", "")
    for wrong in (("X", "M"), ("A", "X"), ("", "M")):
        with pytest.raises(InputError, match="no reader"):
            choose_curve(STATE, *wrong)
