import numpy as np
import pytest
from numpy.typing import NDArray

from boneviz.phantom.anatomy import Body
from boneviz.phantom.disease import Component, Findings
from boneviz.phantom.shapes import Space
from boneviz.phantom.styles import EXPERT_A, EXPERT_B, SURE_SUV, outline
from boneviz.volume import Grid

# one row of 2 mm voxels along x, thick enough in y and z to count:
#
#   x      0 .. 9    10 .. 19      20 .. 29       30 .. 34   35 .. 39
#          marrow    bone core     abscess        oedema     fat
#   SUV    1         6 (last: 2)   6              2          0.3
SHAPE = (40, 10, 10)
GRID = Grid.straight(SHAPE, (2.0, 2.0, 2.0))
X = np.broadcast_to(np.arange(40.0)[:, None, None], SHAPE).astype(np.float32)


def between(first: int, last: int) -> NDArray[np.float32]:
    """Return the signed distance in mm to the slab of voxels first..last."""
    middle, half = (first + last) / 2, (last - first + 1) / 2
    return np.asarray((np.abs(X - middle) - half) * 2.0, np.float32)


def scene() -> tuple[Body, Findings, NDArray[np.float32]]:
    zeros = np.zeros(SHAPE, np.float32)
    body = Body(
        space=Space((zeros, zeros, zeros), np.eye(3, 4), 0.0, 1.0),
        edge_mm=2.0,
        ct=zeros,
        suv=zeros,
        bone_mm=between(0, 19),
        skin_mm=between(-50, 38),
        metal_mm=zeros + 9,
        texture=zeros,
        coarse=zeros,
    )
    found = Findings(
        host_mm=between(0, 19),
        components=[
            Component("bone core", between(10, 19)),
            Component("soft-tissue extension", between(20, 29)),
            Component("oedema rim", between(8, 34)),
            Component("equivocal focus", between(2, 3)),
        ],
    )
    activity = np.full(SHAPE, 0.3, np.float32)
    activity[:10], activity[10:30], activity[19], activity[30:35] = 1, 6, 2, 2
    return body, found, activity


def drawn(rules: str, *, hand_mm: float = 0.0, seed: int = 0) -> NDArray[np.bool_]:
    body, found, activity = scene()
    rng = np.random.default_rng(seed)
    return outline(rules, body, found, activity=activity, grid=GRID, hand_mm=hand_mm, rng=rng)


def test_the_sensitive_expert_includes_every_component() -> None:
    rows = np.flatnonzero(drawn("high-sensitivity")[:, 5, 5]).tolist()
    assert rows == [2, 3, *range(8, 35)]


def test_the_specific_expert_stays_in_sure_bone() -> None:
    # in bone (0..19), in the core with 3 mm to spare (9..), at 3 SUV or more (10..18)
    rows = np.flatnonzero(drawn("high-specificity")[:, 5, 5]).tolist()
    assert SURE_SUV == 3.0
    assert rows == list(range(10, 19))


def test_the_hand_moves_the_outline_by_about_its_sd() -> None:
    exact, shaky = drawn("high-sensitivity"), drawn("high-sensitivity", hand_mm=2.0)
    assert (exact != shaky).any()
    # four surfaces of 100 voxels; 2 mm is one voxel, so well below two layers change
    assert np.count_nonzero(exact != shaky) < 400
    assert (drawn("high-sensitivity", hand_mm=2.0, seed=1) != shaky).any()


def test_metal_and_air_are_nobodys() -> None:
    body, found, activity = scene()
    body.metal_mm[:, :, :5] = -1
    body.skin_mm[:, :3] = 5
    mask = outline(
        "high-sensitivity",
        body,
        found,
        activity=activity,
        grid=GRID,
        hand_mm=0.0,
        rng=np.random.default_rng(0),
    )
    assert mask.any()
    assert not mask[:, :, :5].any() and not mask[:, :3].any()


def test_specks_are_not_drawn() -> None:
    body, found, activity = scene()
    speck = np.full(SHAPE, 9.0, np.float32)
    speck[36, 5, 5] = -1  # 8 microlitres
    found.components.append(Component("equivocal focus", speck))
    mask = outline(
        "high-sensitivity",
        body,
        found,
        activity=activity,
        grid=GRID,
        hand_mm=0.0,
        rng=np.random.default_rng(0),
    )
    assert not mask[36].any()


@pytest.mark.parametrize(
    ("reader", "intent"), [(EXPERT_A, "high-sensitivity"), (EXPERT_B, "high-specificity")]
)
def test_experts_state_their_intent(reader, intent) -> None:
    assert (reader.kind, reader.intent) == ("expert", intent)
