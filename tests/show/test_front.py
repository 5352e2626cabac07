"""The front end as one module, its pure functions, and its colours beside Python's."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from nodejs import node, run_node

from boneviz.palette import colour_map
from boneviz.show import viewer as module
from boneviz.show.viewer import SliceViewer

REPO = Path(__file__).resolve().parents[2]


def test_the_page_gets_one_module_that_asks_nothing_of_the_network() -> None:
    esm = str(SliceViewer._esm)
    assert re.findall(r"^(?:import\b.*|export\b.*)$", esm, flags=re.M) == ["export default {"]
    for forbidden in ("http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "fetch("):
        assert forbidden not in esm
    # every module is in it, each before those that use it
    for name in module.MODULES:
        text = (module.FRONT / name).read_text()
        for used in re.findall(r'^import .*?from "\./(?:front/)?([a-z]+\.js)";', text, re.M | re.S):
            names = [Path(n).name for n in module.MODULES]
            assert names.index(used) < names.index(Path(name).name), f"{name} comes before {used}"
    assert {f"front/{p.name}" for p in module.FRONT.glob("front/*.js")} | {"viewer.js"} == set(
        module.MODULES
    )


def test_the_one_module_is_valid(tmp_path: Path) -> None:
    # joined into one, two modules cannot use one name
    (tmp_path / "viewer.mjs").write_text(str(SliceViewer._esm))
    run_node("--check", str(tmp_path / "viewer.mjs"))


def test_the_front_ends_pure_functions() -> None:
    run_node("--test", *sorted(str(p) for p in (REPO / "tests" / "front").glob("*.test.mjs")))


def test_without_a_node_of_its_own_a_machine_uses_playwrights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "playwright" in node()
    assert run_node("--print", "6 * 7").strip() == "42"
    monkeypatch.setitem(sys.modules, "playwright._impl._driver", None)
    with pytest.raises(pytest.fail.Exception, match="no node on the PATH, and no Playwright"):
        node()


def test_page_and_pictures_have_the_same_colours() -> None:
    script = (
        "import {COLOUR_MAPS, colourTable} from './boneviz/show/front/window.js';"
        "console.log(JSON.stringify(Object.keys(COLOUR_MAPS).map((n) => [n, [...colourTable(n)]])))"
    )
    tables = json.loads(run_node("--input-type=module", "--eval", script))
    assert tuple(name for name, _ in tables) == module.COLOUR_MAPS
    for name, table in tables:
        rgba = np.array(table, dtype=np.uint8).reshape(256, 4)
        np.testing.assert_array_equal(colour_map(name), rgba[:, :3], err_msg=name)
