"""Changed files of every kind: only a `BonevizError` comes out, in time, memory and folder."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from .parent import Outcome, fuzz, shares
from .targets import TARGETS, Target
from .watched import MOST_BYTES, Cases, Watch, chain_of, said_wrongly

#: of all kinds together. One process reads the kinds with torch, one the others
FILES, AT_LEAST, SEED = 10_500, 10_000, 6
WEIGHTS = {target.name: target.share for target in TARGETS}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    plan = shares(FILES, [], WEIGHTS)
    return fuzz(plan, seed=SEED, work=tmp_path_factory.mktemp("fuzz"))


def test_only_boneviz_errors_come_out_of_changed_files(outcome: Outcome) -> None:
    wrong = [f"{each['kept']}\n{said}" for each in outcome.wrong for said in each["wrong"]]
    assert not wrong, f"{len(wrong)} of {outcome.files} files:\n" + "\n\n".join(wrong[:5])
    # none of them the whole file, and none twice
    assert outcome.new >= AT_LEAST


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_kind_was_read_and_refused(outcome: Outcome, name: str) -> None:
    # neither are all changes harmless, nor are all files refused at their first byte
    done = outcome.done[name]
    if WEIGHTS[name] >= 0.3:
        assert done["refused"] > 0
        assert done["read"] > 0
    assert done["slowest_s"] < 10


def test_changes_are_the_same_for_the_same_seed() -> None:
    content = bytes(range(200))
    for target in TARGETS:
        if target.name == "nifti":
            first, again, other = (
                [target.change(random.Random(s), bytes(400) + content) for _ in range(3)]
                for s in (1, 1, 2)
            )
            assert first == again
            assert first != other


def test_each_changed_file_is_another(tmp_path: Path) -> None:
    def make(folder: Path) -> list[Path]:
        (folder / "a").write_bytes(b"a")
        (folder / "b").write_bytes(b"b")
        return [folder / "a", folder / "b"]

    def change(rng: random.Random, _: bytes) -> bytes:
        return rng.choice((b"a", b"b", b"c"))

    target = Target("two", make, change, read=lambda _: None, each=lambda _: [b"a", b"c"])
    cases = Cases(target, tmp_path, 6, [b""])
    found = []
    for number in range(12):
        _, new = cases.put(number)
        content = (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()
        assert new == (content not in {b"ab", *found})
        found += [content] if new else []
    # one letter of two is changed, or cut away where two files are put in one: no more there are
    assert {b"aa", b"ac", b"bb", b"cb"} <= set(found) <= {b"aa", b"ac", b"bb", b"cb", b"a", b"b"}
    assert not new


# the watch itself: what it must find


def watching(folder: Path) -> Watch:
    watch = Watch()
    watch.folder = str(folder.resolve())
    return watch


@pytest.mark.parametrize(
    ("event", "arguments", "found"),
    [
        ("open", ("{}/ct.nii", "r", 0), None),
        ("open", ("{}/../secret", "r", 0), "secret"),
        ("open", ("/etc/hostname", "r", 0), "open /etc/hostname"),
        ("open", ("{}/ct.nii", "w", os.O_WRONLY | os.O_CREAT), "for writing"),
        ("os.listdir", ("/home",), "os.listdir /home"),
        ("os.remove", ("{}/ct.nii", -1), "os.remove"),
        ("subprocess.Popen", ("sh", ["sh"], None, None), "subprocess.Popen 'sh'"),
        ("open", (sys.executable, "r", 0), None),
    ],
)
def test_the_hook_tells_what_leaves_the_folder(
    tmp_path: Path, event: str, arguments: tuple[object, ...], found: str | None
) -> None:
    watch = watching(tmp_path)
    filled = tuple(a.replace("{}", str(tmp_path)) if isinstance(a, str) else a for a in arguments)
    watch.hook(event, filled)
    assert [found in each for each in watch.found] == ([True] if found else []), watch.found


def test_a_link_out_of_the_folder_is_told(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret").touch()
    (inner / "ct.nii").symlink_to("../secret")
    watch = watching(inner)
    watch.hook("open", (str(inner / "ct.nii"), "r", 0))
    assert watch.found == [f"open {(tmp_path / 'secret').resolve()}"]


def test_a_memory_error_behind_a_refusal_is_told() -> None:
    from boneviz.errors import ImageFileError

    def hidden() -> ImageFileError:
        try:
            try:
                raise MemoryError
            except Exception:
                raise ImageFileError("ct.nii: damaged") from None
        except ImageFileError as error:
            return error

    assert [type(each) for each in chain_of(hidden())] == [ImageFileError, MemoryError]
    assert list(said_wrongly(hidden())) == ["memory: ct.nii: damaged"]
    assert list(said_wrongly(ImageFileError("of CANARY"))) == ["identity: of CANARY"]


def test_the_limit_of_memory_holds() -> None:
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MOST_BYTES}, {MOST_BYTES}))\n"
        f"bytes({2 * MOST_BYTES})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "MemoryError" in ended.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MOST_BYTES
