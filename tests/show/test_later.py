"""What waits lets what the page asks for go first."""

from __future__ import annotations

import asyncio
import time

from boneviz.show.later import SETTLE_S, Later


def test_the_wait_begins_when_the_loop_is_free() -> None:
    order: list[str] = []

    async def work() -> None:
        later = Later()
        later.do("surfaces", lambda: order.append("surfaces"))
        time.sleep(2 * SETTLE_S)  # a cell that takes long
        asyncio.get_running_loop().call_later(SETTLE_S / 5, order.append, "page")
        await asyncio.sleep(2 * SETTLE_S)

    asyncio.run(work())
    assert order == ["page", "surfaces"]


def test_a_newer_job_of_one_name_takes_the_olders_place_and_none_outlives_a_cancel() -> None:
    order: list[str] = []

    async def work() -> None:
        later = Later()
        later.do("cursor", lambda: order.append("first"))
        later.do("cursor", lambda: order.append("second"))
        await asyncio.sleep(0)  # it now waits for its time
        later.do("cursor", lambda: order.append("third"))
        later.do("regions", lambda: order.append("regions"))
        await asyncio.sleep(2 * SETTLE_S)
        later.do("scores", lambda: order.append("scores"))
        later.cancel()
        later.do("atlas", lambda: order.append("atlas"))
        await asyncio.sleep(0)
        later.cancel()
        await asyncio.sleep(2 * SETTLE_S)

    asyncio.run(work())
    assert order == ["third", "regions"]
