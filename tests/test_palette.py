"""Reader colours stay apart for colour-blind eyes; the PET scale runs from black to white."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab
from small import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B

from boneviz.case import Reader
from boneviz.palette import (
    DIAL,
    HOT_IRON,
    PAIR_COLOURS,
    heat_colours,
    rgb_of,
    simulate_colour_blindness,
    styles_of,
)

DEMO = (EXPERT_A, EXPERT_B, MODEL_A, MODEL_B)
EYES = (None, "protanopia", "deuteranopia", "tritanopia")


def seen(colour: str, eyes: str | None) -> np.ndarray:
    rgb = np.array(rgb_of(colour), dtype=np.uint8)
    return rgb if eyes is None else simulate_colour_blindness(rgb, eyes)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(deltaE_ciede2000(rgb2lab(one / 255), rgb2lab(other / 255)))


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(
    ("one", "other"),
    list(combinations(styles_of(DEMO), 2)),
    ids=lambda style: style.reader.key,
)
def test_the_demo_readers_stay_apart(one: object, other: object, eyes: str | None) -> None:
    # 15 is far beyond "clearly another colour" (about 10), since contours are two pixels thin
    assert distance(seen(one.colour, eyes), seen(other.colour, eyes)) >= 15  # type: ignore[attr-defined]


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(("one", "other"), list(combinations(PAIR_COLOURS, 2)))
def test_regions_of_a_pair_stay_apart(one: str, other: str, eyes: str | None) -> None:
    assert distance(seen(one, eyes), seen(other, eyes)) >= 30


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("n", [2, 4, 8])
def test_more_readers_are_lighter_for_all_eyes(n: int, eyes: str | None) -> None:
    colours = [seen(colour, eyes) for colour in heat_colours(n)]
    assert len(colours) == n
    lightness = [float(rgb2lab(colour / 255)[0]) for colour in colours]
    assert min(np.diff(lightness)) > 40 / n
    # one reader alone is not as dark as air on the CT
    assert lightness[0] > 30


def test_one_reader_alone_has_a_heat_of_one_colour() -> None:
    assert heat_colours(1) == ("#fde725",)


def test_variants_do_not_look_like_the_models_of_a_study() -> None:
    variants = [
        Reader(f"{model.name} {what}", "model", learned_from=model.learned_from, variant=what)
        for what in ("CT only", "PET only")
        for model in (MODEL_A, MODEL_B)
    ]
    styles = styles_of((*DEMO, *variants))
    assert len({style.colour for style in styles}) == 8
    assert all(style.dashed for style in styles[4:])
    assert [s.colour for s in styles[:4]] == [s.colour for s in styles_of(DEMO)]


@pytest.mark.parametrize("eyes", EYES[1:])
def test_greys_stay_grey(eyes: str) -> None:
    # the rows of Machado's matrices sum to one: a CT looks the same to all
    greys = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None], 3, axis=1)
    simulated = simulate_colour_blindness(greys, eyes).astype(int)
    assert np.abs(simulated - greys).max() <= 1


def test_the_simulation_confuses_what_such_eyes_confuse() -> None:
    # hues that differ clearly for most and hardly for red- and green-blind eyes, and the reverse
    red, olive = np.array((180, 60, 40), np.uint8), np.array((105, 100, 30), np.uint8)
    assert distance(red, olive) > 35
    for eyes in ("protanopia", "deuteranopia"):
        blind = distance(*(simulate_colour_blindness(c, eyes) for c in (red, olive)))
        assert blind < distance(red, olive) / 2
    # pure red to protan eyes, by hand: linear (0.152286, 0.114503, -0.003882 -> 0); sRGB
    # 255 * (1.055 * 0.152286 ** (1 / 2.4) - 0.055) = 108.8 and 255 * (... 0.114503 ...) = 95.0
    pure = np.array([[[255, 0, 0]]], dtype=np.uint8)
    assert simulate_colour_blindness(pure, "protanopia").tolist() == [[[109, 95, 0]]]


@pytest.mark.parametrize("eyes", EYES)
def test_a_learner_is_solid_and_apart_from_experts_and_from_the_image(eyes: str | None) -> None:
    *others, learner = styles_of((*DEMO, Reader("Kim", "learner")))
    assert not learner.dashed
    assert [style.colour for style in others] == [style.colour for style in styles_of(DEMO)]
    # a learner is shown beside experts alone, on bone, soft tissue, and uptake red to white
    experts = [style.colour for style in others if style.reader.kind == "expert"]
    assert len(experts) == 2
    for other in (*experts, "#b0b0b0", "#4c4c4c", "#ff0000", "#b02020", "#ffffff"):
        assert distance(seen(learner.colour, eyes), seen(other, eyes)) >= 15, other


@pytest.mark.parametrize("eyes", EYES)
def test_the_dials_outline_is_apart_from_the_readers(eyes: str | None) -> None:
    for style in styles_of(DEMO):
        assert distance(seen(DIAL, eyes), seen(style.colour, eyes)) >= 15


def test_experts_are_solid_and_models_dashed_whatever_their_order() -> None:
    styles = {style.reader: style for style in styles_of((MODEL_B, EXPERT_A, MODEL_A, EXPERT_B))}
    assert [styles[reader].dashed for reader in DEMO] == [False, False, True, True]
    in_order = {style.reader: style for style in styles_of(DEMO)}
    for reader in DEMO:
        assert styles[reader].colour == in_order[reader].colour


def test_a_model_keeps_its_colour_where_its_expert_is_shown_too() -> None:
    # with the other pair there or not, as long as the experts' order is the same
    alone = styles_of((EXPERT_A, MODEL_A))
    assert [s.colour for s in alone] == [s.colour for s in styles_of(DEMO) if "A" in s.reader.name]


def test_a_model_of_nobody_here_takes_a_hue_that_is_left() -> None:
    stranger = Reader("Other", "model", learned_from="Expert Z")
    colours = [style.colour for style in styles_of((*DEMO, stranger))]
    assert len(set(colours)) == 5


def test_a_ninth_reader_still_gets_a_colour() -> None:
    styles = styles_of([Reader(f"Expert {n}") for n in range(9)])
    assert styles[8].colour == styles[0].colour
    assert len({style.colour for style in styles[:4]}) == 4


def test_hex_colours_are_read_channel_by_channel() -> None:
    # 0x0a = 10, 0xff = 255, 0x80 = 128
    assert rgb_of("#0aff80") == (10, 255, 128)


def test_the_pet_scale_rises_from_black_over_red_to_white() -> None:
    assert HOT_IRON.shape == (256, 3)
    assert HOT_IRON[0].tolist() == [0, 0, 0]
    assert HOT_IRON[255].tolist() == [255, 255, 255]
    # half way red is full while green has hardly begun
    assert HOT_IRON[128].tolist()[0] == 255
    assert HOT_IRON[128][1] <= 2
    assert (np.diff(HOT_IRON.astype(int), axis=0) >= 0).all()
    # brighter uptake is a brighter colour at every step but rounding
    assert (np.diff(HOT_IRON.astype(int).sum(axis=1)) >= 1).all()
