"""The still picture and table for where no widget runs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser.patient import HOT_MM, READERS, patient, predictions, styles
from nodejs import run_node
from PIL import Image

from boneviz.case import Case, Reader
from boneviz.palette import DIAL, PAIR_COLOURS, rgb_of, styles_of
from boneviz.show import still as module
from boneviz.show.plan import pair_of, plan_of
from boneviz.show.still import patients_html, still_html
from boneviz.show.viewer import VIEWS, SliceViewer
from boneviz.volume import Grid, Volume


@pytest.fixture
def viewer() -> Iterator[SliceViewer]:
    made = SliceViewer()
    made.show(patient(), styles(), predictions=predictions(), cursor_mm=HOT_MM)
    yield made
    made.close()


def picture_of(viewer: SliceViewer) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(viewer.still().png)).convert("RGB")).astype(int)


def near(image: np.ndarray[Any, Any], colour: str, within: int = 40) -> int:
    return int((np.abs(image - rgb_of(colour)) <= within).all(axis=-1).sum())


def test_three_planes_at_the_cursor_with_the_contours_that_are_on(viewer: SliceViewer) -> None:
    image = picture_of(viewer)
    # 192 x 160 x 192 mm, the longer side of a plane 340 pixels: 340 x 283, 283 x 340, 340 x 340
    assert image.shape == (340, 340 + 283 + 340 + 2 * 4, 3)
    blue, orange = styles()[0].colour, styles()[1].colour
    assert near(image, blue) > 100
    # the ball of Expert A, 18 mm, lies at the patient's right, which is left: at 340 px / 192 mm
    axial = image[28:-28, :340]
    at = np.argwhere((np.abs(axial - rgb_of(blue)) <= 40).all(axis=-1))
    middle = (at.min(axis=0) + at.max(axis=0)) / 2
    scale = 340 / 192
    assert middle[1] == pytest.approx(170 - HOT_MM[0] * scale, abs=3)
    assert middle[0] == pytest.approx(142 - HOT_MM[1] * scale, abs=3)
    viewer.visible = ["Expert B"]
    image = picture_of(viewer)
    assert near(image, blue) < 10
    assert near(image, orange) > 50


def test_each_plane_has_a_scale_bar(viewer: SliceViewer) -> None:
    viewer.mode = "ct"
    image = picture_of(viewer)
    # 340 px for 192 mm: 5 cm are 88.5 px, and 10 cm more than 0.4 of a plane; the axial slice is
    # 283 px high, in the middle of 340
    for left, bottom in ((0, 28 + 283), (344, 340), (344 + 283 + 4, 340)):
        row = near_row(image[bottom - 6, left : left + 120])
        assert row == pytest.approx(88.5, abs=1)


def near_row(pixels: np.ndarray[Any, Any]) -> int:
    """Count the pixels of a scale bar's row that are as pale as it."""
    return int((np.abs(pixels - rgb_of("#f0f4f8")) <= 8).all(axis=-1).sum())


def test_it_follows_view_and_look(viewer: SliceViewer) -> None:
    grey = picture_of(viewer)
    viewer.mode = "ct"
    assert np.abs(picture_of(viewer) - grey).max() > 100
    viewer.view = "disagreement"
    image = picture_of(viewer)
    assert viewer.still().plan.words == "filled: only Expert A, only Expert B, and both"
    assert near(image, PAIR_COLOURS[0]) > 50
    viewer.heat = True
    assert viewer.still().plan.words == "filled: how many of 4 readers say yes"
    viewer.view = "probability"
    assert viewer.still().plan.fill == {"kind": "wash", "model": "Model A"}


def test_a_pet_that_ends_before_the_ct_leaves_the_rest_grey(viewer: SliceViewer) -> None:
    case = patient()
    grid = case.pet.grid
    low = Grid.straight((96, 80, 10), grid.spacing_mm, grid.to_mm((0, 0, 0)).tolist())
    short = replace(case, pet=Volume(case.pet.array[:, :, :10], low, "SUVbw"))
    viewer.show(short, styles(), cursor_mm=HOT_MM)
    viewer.visible = []
    image = picture_of(viewer)
    # on the axial slice of the cursor there is no uptake: all of it is grey but the letters
    axial = image[28:-28, :340]
    assert (axial.max(axis=-1) - axial.min(axis=-1)).max() < 30
    assert axial.max() > 150


BAD = "<img src=x onerror=alert(1)>"


class Seen(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text: str) -> None:
        self.texts += text


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 4.0, 5.0), (7.0, 2.0, 0.8)])
def test_the_pet_is_as_if_all_of_it_were_resampled(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch, spacing: tuple[float, float, float]
) -> None:
    grid = Grid.straight((12, 10, 8), (2.0, 2.0, 4.0))
    shape = tuple(round(26 / side) for side in spacing)
    where = Grid.straight(shape, spacing, (-1.0, 2.0, 3.0))
    suv = np.random.default_rng(0).uniform(0, 8, shape)
    hu = Volume(np.full(grid.shape, -1000, dtype=np.int16), grid, "HU")
    none = Volume(np.zeros(grid.shape, dtype=bool), grid, "label")
    reader = Reader("Expert A")
    case = Case("P1", "", hu, Volume(suv, where, "SUVbw"), {reader: none})
    viewer.show(case, styles_of([reader]))
    for place_mm in ([0.0, 2.0, 0.0], [11.0, 9.0, 14.0], [22.0, 18.0, 28.0]):
        viewer.cursor_mm = place_mm
        found = viewer.still().png
        with monkeypatch.context() as patched:
            patched.setattr(module, "_around", lambda volume, *_: volume)
            assert viewer.still().png == found


def test_names_are_text_and_long_tables_are_cut(viewer: SliceViewer) -> None:
    readers = tuple(replace(reader, name=BAD + reader.name) for reader in READERS)
    viewer.show(patient(BAD, readers), styles(readers))
    table = pd.DataFrame({"Patient": [BAD] * 40, BAD: [0.5, None] * 20})
    seen = Seen(still_html(BAD, viewer.still(), below=patients_html(table)))
    pictures = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert len(pictures) == 1
    assert str(pictures[0]["src"]).startswith("data:image/png;base64,")
    assert seen.texts.count(BAD) >= 4 + 1 + 30
    assert "10 more patients are not listed" in seen.texts
    bundle = viewer._repr_mimebundle_()[0]
    assert len([tag for tag, _ in Seen(bundle["text/html"]).tags if tag == "img"]) == 1


def test_a_front_end_chooses_widget_picture_or_text(viewer: SliceViewer) -> None:
    bundle, _ = viewer._repr_mimebundle_()
    view = "application/vnd.jupyter.widget-view+json"
    assert set(bundle) == {view, "text/plain", "text/html", "image/png"}
    assert bundle[view]["model_id"] == viewer.model_id
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert len(bundle["image/png"]) < 200_000
    # nothing shown yet, nothing to picture
    assert set(SliceViewer()._repr_mimebundle_()[0]) == {view, "text/plain"}


def test_pictures_show_the_pair_that_the_page_shows() -> None:
    names = [reader.name for reader in READERS]
    pairs = [[], ["Expert A", "Expert B"], ["Expert B", "Model A"], ["Model A", "Expert B"]]
    pairs += [["Model A", "Model B"], ["Model B", "Model A"], ["Expert B", "Expert A"]]
    teams = [READERS, READERS[:3], (READERS[0], READERS[3]), READERS[2:], READERS[:2]]
    teams.append((*READERS[:2], Reader("You", "learner")))
    cases = [
        (view, pair, team, soft)
        for view in VIEWS[1:]
        for team in teams
        for pair in pairs
        if set(pair) <= {reader.name for reader in team}
        for soft in ([], ["Model B"], names[2:])
    ]
    asked = [
        {
            "view": view,
            "pair": pair,
            "readers": [
                {
                    "name": reader.name,
                    "kind": reader.kind,
                    "learned_from": reader.learned_from or "",
                    "probability": reader.name in soft or None,
                }
                for reader in team
            ],
        }
        for view, pair, team, soft in cases
    ]
    script = (
        "import {pairOf} from './boneviz/show/front/modes.js';"
        f"console.log(JSON.stringify({json.dumps(asked)}"
        ".map((c) => pairOf(c.view, c.pair, c.readers))))"
    )
    in_page = json.loads(run_node("--input-type=module", "--eval", script))
    here = [pair_of(view, pair, team, soft) for view, pair, team, soft in cases]
    assert [None if pair is None else list(pair) for pair in here] == in_page
    assert len(cases) > 100
    assert None in here


def test_the_dials_outline_is_in_the_still_too(viewer: SliceViewer) -> None:
    assert near(picture_of(viewer), DIAL) == 0
    viewer.thresholds = {"Model A": 0.3}
    viewer.dial = {"first": "Model A", "second": "Model B", "at": 0.25}
    lines = viewer.still().plan.lines
    assert lines[-1] == {"name": "Dial at 25 %", "colour": DIAL, "dashed": True}
    assert near(picture_of(viewer), DIAL) > 50
    viewer.view = "disagreement"
    assert "Dial" not in str(viewer.still().plan.lines)


def test_one_model_alone_has_its_probability() -> None:
    (lone,) = styles()[2:3]
    plan = plan_of("probability", [], [lone], soft=["Model A"], visible=[], heat=False)
    assert plan.fill == {"kind": "wash", "model": "Model A"}
    assert [line["name"] for line in plan.lines] == ["Model A"]


def test_a_view_with_nothing_to_show_shows_the_contours() -> None:
    plan = plan_of("error", [], styles()[:2], soft=[], visible=["Expert B"], heat=False)
    assert [line["name"] for line in plan.lines] == ["Expert B"]
    assert plan.fill == {"kind": "none"}
