"""Fits in processes and on Dask workers: the files of a run here, whoever dies on the way."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import joblib
import pytest
import torch
from small import limb, tiny_config, write_tiny_cohort
from test_crossval_kills import LIMBS, files_of

from boneviz import cluster
from boneviz.cluster import in_processes, on_cluster
from boneviz.cohort import Cohort
from boneviz.crossval import plan, run
from boneviz.errors import CohortError, InputError, TrainingError

distributed = pytest.importorskip("distributed")

LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
WITHIN = {"processes": False, "dashboard_address": "127.0.0.1:0"}  # workers in this process
# long enough to be killed in the middle
CONFIG = tiny_config(steps=40, save_every=4)


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """Return a cluster of two worker processes on loopback; a killed worker is started again."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **LOOPBACK) as two:
        yield two


@pytest.fixture
def client(workers: Any) -> Iterator[Any]:
    with distributed.Client(workers, set_as_default=False) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cohort folder of four patients that tests copy."""
    return write_tiny_cohort(tmp_path_factory.mktemp("fresh"), LIMBS).root


@pytest.fixture(scope="module")
def expected(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the files of a run in this process, with one thread as each worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = Path(shutil.copytree(fresh, tmp_path_factory.mktemp("here") / "cohort"))
    run(Cohort.open(root), plan(Cohort.open(root), CONFIG, n_folds=2), progress=False)
    torch.set_num_threads(threads)
    return files_of(root)


def kill_in_the_middle(client: Any, models: Path, killed: list[int]) -> None:
    """Kill the worker that is on a fit as soon as a state of that fit is there."""
    pids = client.run(os.getpid)
    while not killed:
        for address, keys in client.processing().items():
            for key in keys:
                stem = key.removeprefix("boneviz-").rpartition("-")[0]
                if (models / f"{stem}.state.safetensors").is_file() and not killed:
                    os.kill(pids[address], signal.SIGKILL)
                    killed.append(pids[address])
        time.sleep(0.005)


def test_a_workers_death_in_the_middle_of_a_fit_changes_no_file(
    fresh: Path, expected: dict[str, str], client: Any, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(fresh, tmp_path / "cohort"))
    cohort = Cohort.open(root)
    todo = plan(cohort, CONFIG, n_folds=2)
    killed: list[int] = []
    killer = Thread(target=kill_in_the_middle, args=(client, root / "models", killed), daemon=True)
    killer.start()
    grown = run(cohort, todo, client=client, progress=False)
    killer.join(timeout=10)
    assert len(killed) == 1
    assert files_of(root) == expected
    assert [model.name for model in grown.models] == ["Model A", "Model B"]
    # the dead worker is another process now
    client.wait_for_workers(2)
    assert killed[0] not in client.run(os.getpid).values()


def test_processes_of_this_machine_make_the_same_files(
    fresh: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)  # two processes of one thread
    root = Path(shutil.copytree(fresh, tmp_path / "cohort"))
    list(in_processes({"started": os.getpid, "too": os.getpid}, workers=2, threads=1))
    monkeypatch.chdir(tmp_path)  # the processes stay where they were started
    cohort = Cohort.open("cohort")  # processes are told the whole path
    run(cohort, plan(cohort, CONFIG, n_folds=2), workers=2, progress=False)
    assert files_of(root) == expected


def test_what_is_finished_is_not_done_again_on_a_cluster(
    fresh: Path, workers: Any, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(fresh, tmp_path / "cohort"))
    config = tiny_config(steps=1)
    todo = plan(Cohort.open(root), config, n_folds=2)
    run(Cohort.open(root), todo, progress=False)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    # this time the scheduler is named by its address
    run(Cohort.open(root), todo, client=workers.scheduler_address, progress=False)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def write_mark(folder: Path, name: str, slow_s: float = 0.0) -> None:
    """Note when a task begins and when it ends."""
    (folder / f"{name}.begun").write_text(repr(time.time()))
    time.sleep(slow_s)
    (folder / f"{name}.done").write_text(repr(time.time()))


def span(folder: Path, name: str) -> tuple[float, float]:
    begun, done = (float((folder / f"{name}.{what}").read_text()) for what in ("begun", "done"))
    return begun, done


def marks(folder: Path, count: int, slow_s: float) -> dict[str, Any]:
    """Return tasks with names of their own."""
    return {f"{folder.name}-{n}": partial(write_mark, folder, f"{n}", slow_s) for n in range(count)}


def test_a_worker_of_several_threads_does_one_fit_at_a_time(tmp_path: Path) -> None:
    # torch has one seed for a process: two fits in two threads would disturb each other
    (shared := tmp_path / "shared").write_text("x")
    with (
        distributed.LocalCluster(1, threads_per_worker=3, **WITHIN) as one,
        distributed.Client(one, set_as_default=False) as client,
    ):
        done = sorted(on_cluster(marks(tmp_path, 3, 0.2), client, shared=shared))
    assert done == sorted(marks(tmp_path, 3, 0))
    first, second, third = sorted(span(tmp_path, str(n)) for n in range(3))
    assert first[1] <= second[0]
    assert second[1] <= third[0]


def test_each_fit_takes_one_gpu_where_workers_declare_them(tmp_path: Path) -> None:
    (shared := tmp_path / "shared").write_text("x")
    asked: list[Any] = []
    with (
        distributed.LocalCluster(1, threads_per_worker=1, resources={"GPU": 1}, **WITHIN) as one,
        distributed.Client(one, set_as_default=False) as client,
    ):
        submit = client.submit

        def watched(*args: Any, **options: Any) -> Any:
            asked.append(options["resources"])
            return submit(*args, **options)

        client.submit = watched
        list(on_cluster(marks(tmp_path, 2, 0), client, shared=shared))
    assert asked == [{"GPU": 1}] * 2
    assert (tmp_path / "1.done").is_file()


def test_a_worker_that_does_not_see_the_folder_says_so(client: Any, tmp_path: Path) -> None:
    (shared := tmp_path / "folds.json").write_text("here")
    here = "0" * 64
    for path, found in ((tmp_path / "elsewhere", "no such file"), (shared, "another file by that")):
        with pytest.raises(
            CohortError, match=rf"Dask worker .* does not see {path}: {found}.*share under the same"
        ):
            client.submit(cluster._on_worker, print, path, here, cluster.__version__).result()


def test_a_worker_with_another_version_says_so(client: Any, tmp_path: Path) -> None:
    (shared := tmp_path / "folds.json").write_text("here")
    with pytest.raises(
        InputError, match=rf"has boneviz {cluster.__version__}, expected 0\.0\.1: install the same"
    ):
        client.submit(cluster._on_worker, print, shared, "", "0.0.1").result()


def fail(message: str) -> None:
    raise TrainingError(message)


def test_an_error_on_a_worker_ends_the_run_and_takes_back_the_rest(
    client: Any, tmp_path: Path
) -> None:
    (shared := tmp_path / "shared").write_text("x")
    tasks = {"spoiled": partial(fail, "model_a_fold0: loss nan"), **marks(tmp_path, 9, 0.4)}
    # held on to, the error keeps alive what the run held: the rest is taken back all the same
    with pytest.raises(TrainingError, match="model_a_fold0: loss nan") as held:
        list(on_cluster(tasks, client, shared=shared))
    time.sleep(1.5)
    assert held.value.__traceback__ is not None
    # two workers: at most those that had begun are there, the last are not
    assert not (tmp_path / "8.begun").exists()
    assert len(list(tmp_path.glob("*.begun"))) <= 4


def test_interrupted_the_rest_is_taken_back(client: Any, tmp_path: Path) -> None:
    (shared := tmp_path / "shared").write_text("x")
    done = on_cluster(marks(tmp_path, 9, 0.5), client, shared=shared)
    next(done)
    done.close()  # as Ctrl-C does
    time.sleep(1.2)
    assert not (tmp_path / "8.begun").exists()


def test_without_a_scheduler_the_address_is_named(tmp_path: Path) -> None:
    (shared := tmp_path / "shared").write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "CONNECT_S", 0.2)
        # port 9 discards: nobody listens there
        with pytest.raises(InputError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9 .*tcp://"):
            list(on_cluster({"a": print}, "tcp://127.0.0.1:9", shared=shared))
        with pytest.raises(InputError, match="no Dask scheduler at nonsense://x"):
            list(on_cluster({"a": print}, "nonsense://x", shared=shared))


def test_without_dask_the_line_that_installs_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"needs Dask: pip install 'boneviz\[dask\]', here and on"):
        list(on_cluster({"a": print}, "tcp://127.0.0.1:9", shared=tmp_path))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_fit_that_kills_its_workers_ends_the_run(
    workers: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.scheduler, "allowed_failures", 0)  # the first death is the last
    (shared := tmp_path / "shared").write_text("x")
    with pytest.raises(
        TrainingError, match=r"workers died again and again \(.*model_a_fold0.*want of memory"
    ):
        list(on_cluster({"model_a_fold0": die}, client, shared=shared))


def test_a_killed_process_of_this_machine_is_named() -> None:
    with pytest.raises(TrainingError, match=r"one of 2 processes was killed.*with fewer workers"):
        list(in_processes({"a": die, "b": die}, workers=2, threads=1))


def test_an_error_in_a_process_is_the_error_of_the_run() -> None:
    tasks = {"a": partial(fail, "model_a_fold0: loss nan")}
    with pytest.raises(TrainingError, match=r"^model_a_fold0: loss nan$"):
        list(in_processes(tasks, workers=2, threads=1))


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 2, "client": "tcp://x:1"}])
def test_workers_are_processes_here_or_a_cluster(tmp_path: Path, options: dict[str, Any]) -> None:
    cohort = write_tiny_cohort(tmp_path, [limb("P01"), limb("P02", place=1)])
    with pytest.raises(InputError, match=rf"{options['workers']} workers: expected 1 or more, and"):
        run(cohort, plan(cohort, tiny_config(), n_folds=2), **options)


def test_models_that_workers_made_in_a_copy_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = write_tiny_cohort(tmp_path, [limb("P01"), limb("P02", place=1)])
    todo = plan(cohort, tiny_config(), n_folds=2)
    monkeypatch.setattr("boneviz.crossval.on_cluster", lambda *_, **__: (name for name in ""))
    with pytest.raises(CohortError, match=r"model_a_fold0.safetensors was made by a worker but is"):
        run(replace(cohort), todo, client="tcp://x:1", progress=False)
