"""A cross-validation that a full disk or a kill stopped at any write goes on to the same files."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import limb, tiny_config, write_tiny_cohort
from test_crossval_kills import files_of

from boneviz import cli, crossval, patches
from boneviz.cohort import Cohort
from boneviz.crossval import plan, run

CONFIG = tiny_config(steps=4, save_every=2, seed=0)  # the command has seed 0 as well
LIMBS = [limb("P01"), limb("P02", axes="lps", place=1)]


def cross_validate(root: Path, **changes: Any) -> Cohort:
    """Open a folder and run two folds, as the command does."""
    cohort = Cohort.open(root)
    todo = plan(cohort, replace(CONFIG, **changes), n_folds=2)
    return run(cohort, todo, progress=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a cohort folder of two patients."""
    return write_tiny_cohort(tmp_path / "tiny", LIMBS).root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cross-validation that nothing disturbed; tests leave it as it is."""
    root = write_tiny_cohort(tmp_path_factory.mktemp("whole") / "tiny", LIMBS).root
    cross_validate(root)
    return root


class Stopped(BaseException):
    """Stands for a kill: nothing catches it."""


@contextmanager
def write_number(
    stop_at: int, fail: Callable[[Path], None], *, before: bool
) -> Iterator[list[str]]:
    """Let one write of a run fail, before or after the file is there; give the names written."""
    names: list[str] = []
    replace_file = Path.replace

    def counted(self: Path, target: Path) -> Any:
        names.append(Path(target).name)
        if before and len(names) == stop_at:
            fail(self)
        done = replace_file(self, target)
        if not before and len(names) == stop_at:
            fail(self)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        yield names


def no_space(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def killed(_: Path) -> None:
    raise Stopped


def test_all_writes_of_a_run_are_known(root: Path) -> None:
    with write_number(0, killed, before=True) as names:
        cross_validate(root)
    # folds; of each of 4 fits: log and state after step 2 of 4, log, weights and card at the end,
    # one prediction and its record; the cohort with two models
    assert len(names) == 1 + 4 * 7 + 1


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("stop_at", range(1, 9))
def test_stopped_at_any_write_a_run_goes_on_to_the_same_files(
    root: Path, whole: Path, stop_at: int, before: bool
) -> None:
    # the folds and all seven writes of the first fit; the other fits are as the first
    with write_number(stop_at, killed, before=before), pytest.raises(Stopped):
        cross_validate(root)
    cross_validate(root)
    assert files_of(root) == files_of(whole)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 5, 6, 7, 8, 30])
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_half_written(
    root: Path,
    whole: Path,
    stop_at: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patches, "TrainConfig", lambda **_: CONFIG)
    command = ["crossval", str(root), "--folds", "2", "--quiet"]
    with write_number(stop_at, no_space, before=True) as names:
        assert cli.main(command) == 1
    assert capsys.readouterr().err.startswith("boneviz: No space left on device")
    assert len(names) == stop_at
    assert not [*root.rglob(".writing-*")]
    assert cli.main(command) == 0  # there is space again
    assert files_of(root) == files_of(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 2 MB, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a disk can only be mounted by root; the full disk above is simulated")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_run_goes_on_when_a_full_disk_has_space_again(
    small_disk: Path,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patches, "TrainConfig", lambda **_: CONFIG)
    root = write_tiny_cohort(small_disk / "tiny", LIMBS).root
    command = ["crossval", str(root), "--folds", "2", "--quiet"]
    ballast = small_disk / "ballast"
    stopped_with = []
    # a little more space each time, as if somebody tidied up too little: every kind of file is cut
    for free_kb in (0, 12, 24, 48, 96, 150, 200, 260, 330, 400, 500, 650, 800):
        ballast.unlink(missing_ok=True)
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - free_kb * 1024)))
        if cli.main(command) == 0:
            break
        assert capsys.readouterr().err.startswith("boneviz: No space left on device")
        assert not [*root.rglob(".writing-*")]
        stopped_with.append(len(files_of(root)))
    assert len(set(stopped_with)) >= 3
    ballast.unlink()
    assert cli.main(command) == 0
    assert files_of(root) == files_of(whole)


def test_half_written_files_of_a_killed_run_are_cleared_away(root: Path, whole: Path) -> None:
    left = [
        root / ".writing-ab12-folds.json",
        root / "models" / ".writing-ab12-model_a_fold0.safetensors",
        root / "predictions" / "model_a" / ".writing-ab12-P01.nii.gz",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with (root / ".crossval.lock").open("a+") as other:
        # another run is under way, and these may be its files
        fcntl.flock(other, fcntl.LOCK_SH)
        cross_validate(root)
        assert all(path.is_file() for path in left)
    cross_validate(root)
    assert files_of(root) == files_of(whole)


def test_a_run_beside_another_is_known_as_one_too(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (root / ".crossval.lock").open("a+")
    fcntl.flock(first, fcntl.LOCK_SH)

    def third_run(*_: Any, **__: Any) -> None:
        first.close()  # the first run ends; the second, this one, is still under way
        with (root / ".crossval.lock").open("a+") as third, pytest.raises(BlockingIOError):
            fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Stopped

    monkeypatch.setattr(crossval, "fit_and_predict", third_run)
    with pytest.raises(Stopped):
        cross_validate(root)


def test_the_state_of_a_fit_that_was_killed_as_it_ended_is_cleared_away(
    whole: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "tiny"))
    (root / "models" / "model_a_fold0.state.safetensors").write_bytes(b"state")
    cross_validate(root)
    assert files_of(root) == files_of(whole)
