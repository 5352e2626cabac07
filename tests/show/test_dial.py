"""The operating point: numbers at the widget are the batch's, and they are there at once."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from nodejs import run_node
from numpy.typing import NDArray
from small import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, limb, write_case, write_tiny_cohort
from test_operating import require_equal
from traitlets import TraitError

from boneviz import explore
from boneviz.blend import blend, blended_levels
from boneviz.case import Case, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.nifti import read_case, write_prediction
from boneviz.operating import OperatingPoint
from boneviz.palette import DIAL
from boneviz.readings import read_readings
from boneviz.show import dial as module
from boneviz.show.counted import count, ends_of, stands
from boneviz.show.dial import operating_words
from boneviz.show.explorer import Explorer
from boneviz.show.later import Later
from boneviz.show.state import choose_curve, first_state, show_panel
from boneviz.volume import Grid, Volume
from show.exploring import BAD

SHARE = np.float32(1 / 255)


@pytest.fixture(autouse=True)
def numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the numbers come at once, and 3D and regions never: they wait until a slider rests."""

    def do(_: Later, what: str, job: Callable[[], None]) -> None:
        if what == "operating":
            job()

    monkeypatch.setattr(Later, "do", do)


def predict(cohort: Cohort, *models: Reader, cases: tuple[str, ...] = ("P01", "P02")) -> None:
    """Let models be sure inside their expert's outline and less so the further away."""
    for n, ref in enumerate(cohort):
        if ref.patient_id not in cases:
            continue
        case = read_case(ref)
        rng = np.random.default_rng(n)
        for model in models:
            expert = next(mask for mask in case.masks if mask.name == model.learned_from)
            inside = case.masks[expert].array
            level = np.where(inside, rng.integers(90, 256, inside.shape), 0)
            level = np.where(rng.random(inside.shape) < 0.02, rng.integers(0, 140), level)
            give(cohort, case, model, level)


def give(cohort: Cohort, case: Case, model: Reader, level: NDArray[np.integer]) -> None:
    probability = Volume(level.astype(np.float32) * SHARE, case.ct.grid, "probability")
    trained = frozenset({"P90"})
    prediction = Prediction(case.patient_id, case.session, model, 0, probability, "c", trained)
    write_prediction(prediction, cohort.root / "predictions" / model.key)


def tiny(root: Path, *models: Reader, cases: tuple[str, ...] = ("P01", "P02")) -> Cohort:
    cohort = write_tiny_cohort(root, [limb("P01"), limb("P02", axes="oblique", place=1)])
    predict(cohort, *models, cases=cases)
    return cohort


@pytest.fixture
def explorer(tmp_path: Path) -> Explorer:
    return opened(tiny(tmp_path / "tiny", MODEL_A, MODEL_B))


def opened(cohort: Cohort) -> Explorer:
    found = explore(cohort)
    found.go(show_panel(found.state, "operating"))
    return found


def move(explorer: Explorer, **traits: Any) -> None:
    """Let the page say what was moved in it."""
    explorer.viewer.set_state(traits)


def between(at: float) -> dict[str, Any]:
    return {"first": "Model A", "second": "Model B", "at": at}


def point(explorer: Explorer, candidate: str, reference: str) -> OperatingPoint:
    return next(
        p for p in explorer.operating.points if (p.candidate, p.reference) == (candidate, reference)
    )


@pytest.mark.parametrize("case_id", ["P01", "P02"])
def test_the_numbers_are_those_of_scoring(explorer: Explorer, case_id: str) -> None:
    explorer.select(case_id)
    move(explorer, thresholds={"Model A": 0.71, "Model B": 0.4})
    move(explorer, dial=between(0.3))
    readings = read_readings(explorer._cohort, explorer._cohort[case_id])
    first, second = readings.predictions
    blended = blend(first, second, 0.3)
    for expert in ("Expert A", "Expert B"):
        for prediction, threshold in ((first, 0.71), (second, 0.4), (blended, 0.7 * 0.71 + 0.12)):
            found = point(explorer, prediction.reader.name, expert)
            assert found.threshold == pytest.approx(threshold, abs=1e-15)
            require_equal(found, readings.case, prediction)
    # and that is what is read in the page
    found = point(explorer, "Model A", "Expert B")
    table = explorer.operating.table.value
    for number in (found.dice, found.sensitivity, found.precision):
        assert f"<td>{number:.3f}</td>" in table
    for number in (found.false_positive_ml, found.false_negative_ml):
        assert f"<td>{number:.2f}</td>" in table
    assert "Model A \u2265 0.71" in table and "Dial at 30 % \u2265 0.62" in table


def test_the_dial_runs_from_one_model_to_the_other_as_they_are_set(explorer: Explorer) -> None:
    move(explorer, thresholds={"Model A": 0.6, "Model B": 0.8})
    for at, name in ((0.0, "Model A"), (1.0, "Model B")):
        move(explorer, dial=between(at))
        # a model's two rows, then the dial's
        model_a, model_b, dial_a, dial_b = [
            p for p in explorer.operating.points if p.candidate == name
        ]
        assert (model_a, model_b) == (dial_a, dial_b)


def test_curve_and_points_are_of_what_was_chosen(explorer: Explorer) -> None:
    def drawn() -> tuple[str, float, float]:
        figure = explorer.operating.plot.figure
        (largest,) = (t for t in figure.data if t.mode == "markers" and t.marker.size == 15)
        return figure.layout.title.text, largest.x[0], largest.y[0]

    def expected(candidate: str, reference: str) -> tuple[float, float]:
        found = point(explorer, candidate, reference)
        return found.false_positive_ml, found.sensitivity

    assert drawn()[0] == "Model A \u2265 0.50 against Expert A"
    assert drawn()[1:] == expected("Model A", "Expert A")
    choose(explorer, "Expert B", "Model B")
    move(explorer, thresholds={"Model B": 0.9})
    assert drawn() == ("Model B \u2265 0.90 against Expert B", *expected("Model B", "Expert B"))
    move(explorer, dial=between(0.5))
    choose(explorer, "Expert B", "")
    assert drawn()[0] == "Dial at 50 % \u2265 0.70 against Expert B"
    assert drawn()[1:] == expected("Model A to Model B at 0.5", "Expert B")
    (bold,) = (t for t in explorer.operating.plot.figure.data if t.line.width == 3)
    assert bold.line.color == DIAL
    # the dial off again: a model's curve
    move(explorer, dial={})
    assert drawn()[0] == "Model A \u2265 0.50 against Expert B"
    # either expert is a point: itself, and the other one against it
    diamonds = {
        t.text[0]: (t.x[0], t.y[0])
        for t in explorer.operating.plot.figure.data
        if t.marker.symbol == "diamond"
    }
    assert diamonds == {"Expert B": (0, 1), "Expert A": expected("Expert A", "Expert B")}


def choose(explorer: Explorer, expert: str, model: str) -> None:
    content = {"kind": "curve", "expert": expert, "model": model}
    explorer.operating.controls._handle_custom_msg(content, [])


def test_a_curve_holds_what_the_slider_reaches_and_no_more(explorer: Explorer) -> None:
    curve = explorer.operating._counted.cuts["Model A"].curve("Expert A")  # type: ignore[union-attr]
    lines = [t for t in explorer.operating.plot.figure.data if t.mode == "lines"]
    bold = next(t for t in lines if t.line.width == 3)
    assert len(lines) == 2
    # the slider begins at 0.01, which the third of 255 levels is the first to reach
    assert bold.y[0] == pytest.approx(curve.sensitivity[2], abs=1e-3)
    assert bold.customdata[0] == 0.01
    assert bold.x[-1] == pytest.approx(curve.false_positive_ml[254], abs=1e-2)
    assert bold.customdata[-1] == 1.0
    assert list(bold.customdata) == sorted(bold.customdata)
    # what a step of the dial sends is small
    move(explorer, dial=between(0.4))
    assert len(json.dumps(explorer.operating.plot._packed[0])) < 8_000
    assert len(explorer.operating.table.value) < 5_000


def test_the_numbers_are_kept_as_they_are_shown(explorer: Explorer) -> None:
    move(explorer, thresholds={"Model A": 0.7}, dial=between(0.25))
    table = explorer.operating.frame(explorer.state)
    shown = [(p.candidate, p.reference, p.dice) for p in explorer.operating.points]
    assert list(zip(table.candidate, table.reference, table.dice, strict=True)) == shown
    assert table.outline[0] == "Model A \u2265 0.70"
    assert table.dial.dropna().tolist() == [0.25, 0.25]
    # of the dial 0.75 * 0.7 + 0.25 * 0.5 = 0.65
    assert table.threshold[table.dial.notna()].tolist() == pytest.approx([0.65, 0.65])


def test_numbers_are_kept_of_a_panel_that_was_never_seen(tmp_path: Path) -> None:
    hidden = explore(tiny(tmp_path / "tiny", MODEL_A, MODEL_B))
    assert len(hidden.operating.frame(hidden.state)) == 2 * 2 + 2  # two models, two experts


def test_a_panel_behind_another_counts_nothing(explorer: Explorer) -> None:
    explorer.go(show_panel(explorer.state, "patients"))
    explorer.select("P02")
    move(explorer, thresholds={"Model A": 0.3})
    assert explorer.operating.points == ()
    assert explorer.operating._counted is None
    assert "Counting the predictions of P02" in explorer.operating.controls.content["why"][0]
    explorer._panels.selected_index = 3
    assert point(explorer, "Model A", "Expert A").threshold == 0.3
    assert point(explorer, "Model A", "Expert A").patient_id == "P02"


def test_a_model_without_a_prediction_is_named_and_its_dial_waits(tmp_path: Path) -> None:
    cohort = tiny(tmp_path / "tiny", MODEL_A)
    predict(cohort, MODEL_B, cases=("P02",))
    explorer = opened(cohort)
    content = explorer.operating.controls.content
    assert [model["name"] for model in content["models"]] == ["Model A"]
    assert content["ends"] is None
    assert "Model B has no prediction of P01." in content["why"]
    assert {p.candidate for p in explorer.operating.points} == {"Model A", "Expert A", "Expert B"}
    explorer.select("P02")
    assert explorer.operating.controls.content["ends"] == ["Model A", "Model B"]
    assert explorer.operating.controls.content["end_words"] == ["sensitive", "specific"]
    move(explorer, dial=between(0.25))
    explorer.select("P01")
    assert explorer.viewer.dial == {}
    assert explorer.state.dial == 0.25
    explorer.select("P02")
    assert explorer.viewer.dial == between(0.25)


def test_without_models_the_panel_says_so(tmp_path: Path) -> None:
    explorer = opened(tiny(tmp_path / "tiny"))
    assert explorer.operating.points == ()
    content = explorer.operating.controls.content
    assert content["models"] == []
    assert content["why"] == ["Without a model's probabilities there is no threshold to set."]
    assert explorer.operating._numbers.layout.display == "none"
    choose(explorer, "Expert A", "Model A")  # a late message
    assert explorer.state.curve is None


def test_an_expert_who_outlines_nothing_has_no_sensitivity(tmp_path: Path) -> None:
    made = limb("P01").case(seed=1)
    empty = Volume(np.zeros(made.ct.grid.shape, bool), made.ct.grid, "label")
    ref = write_case(made.with_masks({EXPERT_B: empty}), tmp_path / "one")
    cohort = Cohort("One", tmp_path / "one", (EXPERT_A, EXPERT_B), (ref,), synthetic=True)
    give(cohort, made, MODEL_A, np.full(made.ct.grid.shape, 200))
    explorer = opened(cohort)
    choose(explorer, "Expert B", "Model A")
    assert "Expert B outlines nothing here" in explorer.operating.words.value
    assert "no sensitivity" in explorer.operating.plot.figure.layout.annotations[0].text
    assert math.isnan(point(explorer, "Model A", "Expert B").sensitivity)
    assert "<td>\u2013</td>" in explorer.operating.table.value


def test_what_was_learned_from_is_no_new_reading(tmp_path: Path) -> None:
    cohort = tiny(tmp_path / "tiny", MODEL_A)
    readings = read_readings(cohort, cohort["P01"])
    (prediction,) = readings.predictions
    seen = replace(prediction, trained_on=frozenset({"P01"}))
    state = first_state(["P01"], ["Expert A", "Expert B", "Model A"])
    words = []
    for each in (prediction, seen):
        counted = count(replace(readings, predictions=(each,)), (MODEL_A,), ())
        (stand,) = stands(counted, state)
        words.append(operating_words(stand, "Expert A"))
    assert words[0].startswith("Model A \u2265 0.50: finds ")
    assert words[1] == words[0] + " It had learned from this patient: no new reading."


def test_names_are_text(tmp_path: Path) -> None:
    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    a, b = replace(EXPERT_A, name=BAD + "A"), replace(EXPERT_B, name=BAD + "B")
    cases = [replace(r, masks={a: r.masks[EXPERT_A], b: r.masks[EXPERT_B]}) for r in made]
    cohort = replace(made, readers=(a, b), cases=tuple(cases))
    model = replace(MODEL_A, name=BAD + "M", learned_from=a.name)
    case = read_case(made.cases[0])
    give(cohort, case, model, np.where(case.masks[EXPERT_A].array, 200, 30))
    explorer = opened(cohort)
    panel = explorer.operating
    for text in (panel.table.value, panel.words.value, str(panel.plot.figure.to_dict())):
        assert "<img" not in text
        assert "&lt;img" in text
    # in the page names are put in as text, too
    script = (module.FRONT / "operating.js").read_text()
    for forbidden in ("http", "innerHTML", "outerHTML", "insertAdjacentHTML", "fetch("):
        assert forbidden not in script


def test_a_study_with_variants_dials_between_its_own_models() -> None:
    specific = replace(MODEL_B, variant="CT only")
    assert ends_of((MODEL_B, MODEL_A)) == (MODEL_A, MODEL_B)
    assert ends_of((MODEL_A, specific)) is None
    plain = Reader("M", "model"), Reader("N", "model")
    assert ends_of(plain) == plain


def test_the_state_keeps_a_curve_that_is_not_here(explorer: Explorer) -> None:
    explorer.go(choose_curve(explorer.state, "Expert B", ""))
    # the dial is off
    content = explorer.operating.controls.content
    assert (content["expert"], content["chosen"]) == ("Expert B", "Model A")


def test_closing_lets_the_panel_go(explorer: Explorer) -> None:
    explorer.close()
    assert explorer.operating.controls.comm is None
    assert explorer.operating.plot.comm is None


def test_a_dial_is_checked() -> None:
    viewer = module.SliceViewer()
    for bad in ({"first": "A"}, between(1.5), between(math.nan)):
        with pytest.raises(TraitError, match="expected first, second and at"):
            viewer.dial = bad
    viewer.dial = between(0.5)
    viewer.dial = {}


def test_a_picture_made_in_python_has_the_dials_outline_too(explorer: Explorer) -> None:
    first, second = read_readings(explorer._cohort, explorer._cohort["P01"]).predictions
    shown = explorer.viewer._shown
    drawn = shown.dialled(between(0.3), 0.55)  # type: ignore[union-attr]
    np.testing.assert_array_equal(drawn, blend(first, second, 0.3).mask(0.55).array)
    look = dict.fromkeys(("level", "width"), 400.0) | {"suvMin": 0, "suvMax": 8, "opacity": 0.5}
    wish = {
        "plane": "axial",
        "position_mm": [-18, 12, -12],
        "mm_per_pixel": 1.0,
        "look": {**look, "mode": "ct", "colourMap": "grey"},
        "thresholds": {"Dial at 30 %": 0.55},
        "lines": [{"name": "Dial at 30 %", "colour": DIAL, "dashed": False}],
        "fill": {"kind": "none"},
        "dial": between(0.3),
    }
    with_it = explorer.viewer._picture(wish)
    without = explorer.viewer._picture({**wish, "lines": []})
    assert (with_it != without).any()


def test_page_and_kernel_blend_alike() -> None:
    steps = [0, 0.1, 0.25, 0.37, 0.5, 0.61, 0.99, 1]
    script = (
        "import {blendedLevels} from './boneviz/show/front/blend.js';"
        f"console.log(JSON.stringify({steps}.map((t) => [...blendedLevels(t)])))"
    )
    for at, levels in zip(
        steps, json.loads(run_node("--input-type=module", "--eval", script)), strict=True
    ):
        np.testing.assert_array_equal(np.array(levels).reshape(256, 256), blended_levels(at))


def test_numbers_follow_a_slider_within_100_ms(tmp_path: Path) -> None:
    # 128 x 128 x 128 voxels, in a cube of which nearly all pairs of levels occur
    grid = Grid.straight((128, 128, 128), (2, 2, 2))
    rng = np.random.default_rng(3)
    cube = (slice(30, 75),) * 3
    outlined = np.zeros((2, *grid.shape), bool)
    outlined[0][cube] = True
    outlined[1][40:70, 40:70, 40:70] = True
    case = Case(
        "P01",
        "",
        Volume(np.zeros(grid.shape, np.int16), grid, "HU"),
        Volume(np.zeros(grid.shape, np.float32), grid, "SUVbw"),
        {
            expert: Volume(mask, grid, "label")
            for expert, mask in zip((EXPERT_A, EXPERT_B), outlined, strict=True)
        },
    )
    ref = write_case(case, tmp_path / "large")
    cohort = Cohort("Large", tmp_path / "large", (EXPERT_A, EXPERT_B), (ref,), synthetic=True)
    levels = np.zeros((2, *grid.shape), int)
    for n, model in enumerate((MODEL_A, MODEL_B)):
        levels[n][cube] = rng.integers(0, 256, (45, 45, 45))
        give(cohort, case, model, levels[n])
    explorer = opened(cohort)
    took: list[float] = []

    def timed(**traits: Any) -> None:
        start = time.perf_counter()
        move(explorer, **traits)
        took.append(time.perf_counter() - start)

    for n in range(5):
        cut = 0.31 + 0.1 * n
        timed(thresholds={"Model A": cut})
        inside = levels[0] * SHARE.astype(np.float32) >= np.float32(cut)
        found = point(explorer, "Model A", "Expert B")
        n_both = int((inside & outlined[1]).sum())
        assert found.sensitivity == n_both / 27_000
        assert found.dice == 2 * n_both / (27_000 + int(inside.sum()))
        assert found.false_positive_ml == pytest.approx((int(inside.sum()) - n_both) * 0.008)
    steps, took = took, []
    for n in range(5):
        timed(dial=between(0.2 * n + 0.1))
    assert explorer.operating._counted.dial.count.size > 60_000  # type: ignore[union-attr]
    print(f"threshold {1e3 * median(steps):.0f} ms, dial {1e3 * median(took):.0f} ms")
    assert median(steps) < 0.1
    assert median(took) < 0.1
