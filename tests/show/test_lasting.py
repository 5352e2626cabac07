"""The still picture in a notebook's file, kept up to date."""

from __future__ import annotations

import asyncio

import ipywidgets as widgets
import pytest

from boneviz.show import lasting
from boneviz.show.lasting import LastingBox, LastPicture


def test_the_last_picture_is_renewed_once_all_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, dict[str, str], str]] = []
    monkeypatch.setattr(lasting, "SETTLE_S", 0.05)
    for name in ("display", "update_display"):
        monkeypatch.setattr(
            lasting,
            name,
            lambda data, name=name, **how: shown.append((name, data, how["display_id"])),
        )
    made: list[int] = []
    last = LastPicture(lambda: made.append(1) or {"text/plain": str(len(made))})

    async def use() -> None:
        last.renew()
        await asyncio.sleep(0.15)
        assert shown == []  # never displayed: nothing to renew
        last.display()
        for _ in range(5):
            last.renew()
        await asyncio.sleep(0.3)
        last.renew()
        last.cancel()
        await asyncio.sleep(0.15)

    asyncio.run(use())
    assert [(name, data["text/plain"]) for name, data, _ in shown] == [
        ("display", "1"),
        ("update_display", "2"),
    ]
    assert shown[0][2] == shown[1][2]


def test_a_box_is_displayed_with_its_picture_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(lasting, "display", lambda data, **_: shown.append(data))
    made: dict[str, str] = {"text/html": "<p>the slices</p>"}
    box = LastingBox([widgets.HTML()], words="Explorer of Legs", still=lambda: made)
    view = "application/vnd.jupyter.widget-view+json"
    box._ipython_display_()
    live, still = shown
    assert live[view]["model_id"] == box.model_id
    assert live["text/plain"] == "Explorer of Legs"
    assert still == made
    assert set(box._repr_mimebundle_()) == {view, "text/plain", "text/html"}
    box.close()
    box._ipython_display_()
    assert shown[2:] == [{"text/plain": "Explorer of Legs: closed; open it again."}]
