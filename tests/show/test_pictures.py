"""Slices as pictures from Python, for a page without WebGL2."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boneviz.palette import PAIR_COLOURS, colour_map, heat_colours, rgb_of, styles_of
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Volume
from show.viewing import (
    EXPERT,
    GRID,
    MODEL,
    OTHER,
    SHAPE,
    ask,
    counted,
    label,
    likely,
    made_case,
    viewer,
)

__all__ = ["viewer"]  # fixtures


LOOK = {
    "level": 400,
    "width": 1800,
    "suvMin": 0,
    "suvMax": 8,
    "opacity": 0.6,
    "mode": "ct",
    "colourMap": "hot-iron",
}


def wish_for(plane: str, **look: Any) -> dict[str, Any]:
    return {
        "kind": "picture",
        "serial": 1,
        "plane": plane,
        "key": "k",
        "position_mm": [0, 11, 0],
        "mm_per_pixel": 0.5,
        "look": {**LOOK, **look},
        "lines": [],
        "fill": {"kind": "none"},
        "thresholds": {},
    }


def test_a_page_without_webgl_gets_pictures(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    wish = wish_for("coronal")
    ((content, (png,)),) = ask(viewer, **wish)
    assert content == {"kind": "picture", "serial": 1, "plane": "coronal", "key": "k"}
    picture = np.asarray(Image.open(io.BytesIO(png)))
    # 4 x 2 mm across and 2 x 3 mm up, at half a millimetre
    assert picture.shape == (12, 16, 3)
    assert ask(viewer, **{**wish, "serial": 0}) == []


def test_a_picture_has_the_mode_the_range_and_the_map_that_the_page_asks_for(
    viewer: SliceViewer,
) -> None:
    case = made_case(expert=label((1, 1, 1)))
    suv = Volume(np.full(SHAPE, 3.0), GRID, "SUVbw")
    viewer.show(replace(case, pet=suv), styles_of([EXPERT]))
    wish = wish_for("axial", mode="pet", suvMin=2, suvMax=6, colourMap="grey-inverted")
    ((_, (png,)),) = ask(viewer, **wish)
    # SUV 3 is a quarter of 2 to 6: rint(63.75) = 64 of the scale, and 255 - 64
    assert np.unique(np.asarray(Image.open(io.BytesIO(png)))).tolist() == [191]


def seen(viewer: SliceViewer, wish: dict[str, Any]) -> NDArray[np.uint8]:
    ((_, (png,)),) = ask(viewer, **wish)
    return np.asarray(Image.open(io.BytesIO(png)))


def test_areas_are_tinted_in_their_readers_colours_one_over_the_other(viewer: SliceViewer) -> None:
    # readers in x: A 0 and 1, B 1 and 2
    case = made_case(expert=label((0, 1, 0), (1, 1, 0)), other=label((1, 1, 0), (2, 1, 0)))
    air = Volume(np.full(SHAPE, -1000, np.int16), GRID, "HU")
    styles = styles_of([EXPERT, OTHER])
    viewer.show(replace(case, ct=air), styles)
    wish = {**wish_for("axial"), "mm_per_pixel": 1.0}
    black = seen(viewer, {**wish, "fill": {"kind": "none"}})[1, ::-2].astype(float)
    fill = {"kind": "areas", "names": ["Expert A", "Expert B"]}
    found = seen(viewer, {**wish, "fill": fill})[1, ::-2].astype(float)
    a, b = (np.array(rgb_of(style.colour), dtype=float) for style in styles)
    only_a, only_b = (0.7 * black[n] + 0.3 * colour for n, colour in ((0, a), (2, b)))
    both = 0.7 * (0.7 * black[1] + 0.3 * a) + 0.3 * b
    np.testing.assert_allclose(found, [only_a, both, only_b, black[3]], atol=2)


def test_pictures_have_the_colours_of_the_view(viewer: SliceViewer) -> None:
    # readers in x: A 0 and 1, B 1 and 2; the model 77 of 255 at 2, sure at 3
    case = made_case(expert=label((0, 1, 0), (1, 1, 0)), other=label((1, 1, 0), (2, 1, 0)))
    air = Volume(np.full(SHAPE, -1000, np.int16), GRID, "HU")
    readers = [EXPERT, OTHER, MODEL]
    viewer.show(
        replace(case, ct=air),
        styles_of(readers),
        predictions={MODEL: likely(x210=77 / 255, x310=1.0)},
    )
    wish = {**wish_for("axial"), "mm_per_pixel": 1.0}

    def row(fill: dict[str, Any], **more: Any) -> list[list[int]]:
        """Return the colours of the voxels x = 0 to 3 at y = 1; right is left, two pixels each."""
        return seen(viewer, {**wish, "fill": fill, **more})[1, ::-2].astype(int).tolist()

    first, second, both = (np.array(rgb_of(c)) for c in PAIR_COLOURS)
    # rint(0.45 * 255) = 115 of 255 over black
    share = 115 / 255
    found = row({"kind": "pair", "reference": "Expert A", "candidate": "Expert B"})
    np.testing.assert_allclose(
        found, [first * share, both * share, second * share, [0] * 3], atol=1
    )
    found = row({"kind": "heat"}, thresholds={"Model A": 0.3})
    one, two, _ = (np.array(rgb_of(c)) for c in heat_colours(3))
    # 0.8 * 255 = 204; the model says yes at 2, with expert B, and at 3
    np.testing.assert_allclose(found, np.array([one, two, two, one]) * 204 / 255, atol=1)
    found = row({"kind": "heat"})
    np.testing.assert_allclose(found[2], one * 204 / 255, atol=1)
    found = row({"kind": "wash", "model": "Model A"})
    # both cover 0.8 * 255 = 204
    wash = colour_map("viridis").astype(float)
    np.testing.assert_allclose(
        found, [[0] * 3, [0] * 3, wash[77] * 204 / 255, wash[255] * 204 / 255], atol=1
    )


def test_pictures_draw_a_models_contour_at_its_threshold(viewer: SliceViewer) -> None:
    viewer.show(made_case(), styles_of([MODEL]), predictions={MODEL: likely(x110=77 / 255)})
    line = {"name": "Model A", "colour": "#ff00ff", "dashed": False}
    wish = {**wish_for("axial"), "lines": [line], "mm_per_pixel": 0.2}

    def drawn(threshold: float) -> bool:
        picture = seen(viewer, {**wish, "thresholds": {"Model A": threshold}})
        return bool((picture == (255, 0, 255)).all(axis=-1).any())

    assert (drawn(0.5), drawn(0.2)) == (False, True)


def test_a_page_hears_why_it_gets_no_picture(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    ((content, buffers),) = ask(viewer, **wish_for("axial", suvMin=8))
    assert buffers is None
    assert content == {
        "kind": "picture",
        "serial": 1,
        "plane": "axial",
        "key": "k",
        "failed": "SUV range 8 to 8: expected the second number larger",
    }


def test_pictures_and_stills_of_counts_are_coloured_by_their_range(viewer: SliceViewer) -> None:
    even = Volume(np.full(SHAPE, 1000.0, np.float32), GRID, "counts")
    viewer.show(replace(counted(), pet=even), styles_of([EXPERT]))
    wish = wish_for("axial", mode="pet", suvMin=0, suvMax=4000, colourMap="grey")
    assert np.unique(seen(viewer, wish)).tolist() == [64]  # rint(0.25 x 255)
    viewer.mode, viewer.colour_map, viewer.visible = "pet", "grey", []
    viewer.counts_range = [0.0, 4000.0]
    still = viewer.still()
    picture = np.asarray(Image.open(io.BytesIO(still.png)).convert("RGB"))
    assert [64, 64, 64] in picture.reshape(-1, 3).tolist()
    assert still.pet == "There is no SUV: PET in counts, shown from 0 to 4000."
    page = viewer._repr_mimebundle_()[0]["text/html"]
    assert "<p>There is no SUV: PET in counts, shown from 0 to 4000.</p>" in page
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    assert viewer.still().pet == ""
    assert "no SUV" not in viewer._repr_mimebundle_()[0]["text/html"]
