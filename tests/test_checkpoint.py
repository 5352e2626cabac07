"""A model is safetensors and a card that vouch for each other; anything else is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import MODEL_A

from boneviz.checkpoint import (
    Checkpoint,
    card_of,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
)
from boneviz.errors import CheckpointError
from boneviz.files import sha256_of
from boneviz.fuse import FuseConfig
from boneviz.network import NetConfig, build_network

NET = NetConfig(filters=(4, 8, 8))


def saved(folder: Path, **changes: Any) -> Checkpoint:
    """Write a small untrained model and return what was written."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        reader=MODEL_A,
        net=NET,
        fuse=FuseConfig(level_hu=300, modality="ct"),
        spacing_mm=(2.0, 3.0, 4.0),
        patch=(16, 8, 12),
        fold=2,
        trained_on=frozenset({"P01", "P02"}),
        trained_in="Tiny",
        settings='{"rate": 0.002, "seed": 5}',
        demonstration=True,
        weights=folder / "model_a_fold2.safetensors",
    )
    checkpoint = replace(checkpoint, **changes)
    save_checkpoint(checkpoint, build_network(NET).state_dict())
    return checkpoint


def test_a_model_comes_back_with_all_that_it_is(tmp_path: Path) -> None:
    there = saved(tmp_path)
    back = load_checkpoint(there.weights)
    assert back == replace(there, checkpoint_id=sha256_of(there.weights))
    # the card names the same model
    assert load_checkpoint(card_of(there.weights)) == back


def test_weights_come_back_as_half_precision(tmp_path: Path) -> None:
    there = saved(tmp_path)
    torch.manual_seed(0)
    made = build_network(NET).state_dict()
    stored = load_tensors(there.weights)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = load_checkpoint(there.weights).network()
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32, name
        # float16 keeps eleven bits: half a unit in the last place is 2**-12 of the value
        assert torch.allclose(tensor, made[name], rtol=2**-11, atol=1e-7), name


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert sha256_of(one.weights) == sha256_of(two.weights)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_half_a_model_is_refused(tmp_path: Path, suffix: str) -> None:
    weights = saved(tmp_path).weights
    lost = weights.with_suffix(suffix)
    lost.unlink()
    with pytest.raises(CheckpointError, match=f"fold2{suffix}: no such file; a model is a"):
        load_checkpoint(weights)


def changed_card(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda card: {**card, **changes}


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda card: {key: value for key, value in card.items() if key != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed_card(format=1), "format 1, expected 2; it was written by boneviz"),
        (changed_card(sha256="0" * 64), "sha256 .*, the card says 000000000000.*copy the model"),
        (changed_card(reader={"name": "X", "kind": "robot"}), "not a model's card .*robot"),
        (changed_card(reader={"nmae": "X"}), "not a model's card .*nmae"),
        (
            changed_card(net={"architecture": "vnet", "filters": [4, 8]}),
            "not a model's card .*vnet",
        ),
        (changed_card(net={"filters": 3}), "not a model's card"),
        (changed_card(net={"filters": [4, 8.5]}), "not a model's card .*8.5 .*whole numbers"),
        (changed_card(net={"filters": [4] * 11}), "11 levels: expected at most 10"),
        (changed_card(settings=[]), "not a model's card .*settings are no names"),
        (changed_card(fold=float("inf")), "not a model's card .*infinity"),
        (changed_card(fuse={"modality": "mri"}), "not a model's card .*mri"),
        (changed_card(fuse={"width_hu": 0}), "not a model's card .*width 0"),
        (changed_card(patch=[16, 16]), "not a model's card"),
        (changed_card(spacing_mm="2.5"), "not a model's card"),
        (changed_card(fold="first"), "not a model's card"),
        # letters of one id would stand for patients, and the model would seem to know none
        (changed_card(trained_on="P01"), "not a model's card"),
        (without("trained_on"), "not a model's card .*trained_on"),
        (without("settings"), "not a model's card .*settings"),
        (without("format"), "not a model's card .*format"),
        (lambda _: [1, 2], "not a model's card"),
        (lambda _: 7, "not a model's card"),
    ],
)
def test_a_card_that_was_tampered_with_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    path = card_of(saved(tmp_path).weights)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(path)


def test_a_card_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = card_of(saved(tmp_path).weights)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(CheckpointError, match=r"fold2.json: not a model's card"):
        load_checkpoint(path)


@pytest.mark.parametrize("cut", [1, 5000])
def test_weights_that_were_changed_are_refused(tmp_path: Path, cut: int) -> None:
    weights = saved(tmp_path).weights
    content = weights.read_bytes()
    weights.write_bytes(content[:-cut])
    with pytest.raises(CheckpointError, match=r"sha256 .*changed or cut short, copy the model"):
        load_checkpoint(weights)
    # one bit flipped in the last weight is found as well
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(weights)


def vouched(card: Path) -> None:
    """Put the present weights' sha256 on the card, as someone who means harm would."""
    content = json.loads(card.read_text())
    content["sha256"] = sha256_of(card.with_suffix(".safetensors"))
    card.write_text(json.dumps(content))


class Bomb:
    """A pickle of this writes a file as it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.mark, "loaded"))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    there = saved(tmp_path)
    mark = tmp_path / "mark"
    torch.save({"weights": torch.zeros(3), "bomb": Bomb(mark)}, there.weights)  # a .pt, renamed
    vouched(card_of(there.weights))
    checkpoint = load_checkpoint(there.weights)
    with pytest.raises(CheckpointError, match=r"fold2.safetensors: not readable as safetensors"):
        checkpoint.network()
    assert not mark.exists()
    # the file would have done it
    torch.load(io.BytesIO(there.weights.read_bytes()), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("content", [b"", b"not safetensors", bytes(100)])
def test_other_files_are_not_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x.safetensors: not readable as safetensors"):
        load_tensors(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    there = saved(tmp_path)
    other = replace(there, weights=tmp_path / "other.safetensors")
    save_checkpoint(other, build_network(NetConfig(filters=(4, 8, 16))).state_dict())
    with pytest.raises(
        CheckpointError, match=r"other.safetensors: weights do not fit the network on the card"
    ):
        load_checkpoint(other.weights).network()


def test_a_model_of_another_modality_is_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path).weights
    assert load_checkpoint(weights, modality="ct").fuse.modality == "ct"
    with pytest.raises(
        CheckpointError,
        match=r"model_a_fold2.safetensors \(Model A\) learned from ct input, expected fused;"
        " choose a fused model",
    ):
        load_checkpoint(weights, modality="fused")
