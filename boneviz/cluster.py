"""Tasks side by side: in processes of this machine, or on the workers of a Dask cluster.

A task is done when what it writes is on disk. Done again after a worker's death, it goes on from
there, so no result travels between processes.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from boneviz.errors import CohortError, InputError, TrainingError
from boneviz.files import sha256_of
from boneviz.processes import as_done
from boneviz.version import __version__

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Task", "in_processes", "on_cluster"]

Task = Callable[[], object]
CONNECT_S = 30

# torch has one seed for a whole process, and a Dask worker may have several threads
_one_at_a_time = threading.Lock()


def in_processes(
    tasks: Mapping[str, Task], *, workers: int, threads: int
) -> Generator[str, None, None]:
    """Do tasks in processes of this machine; give the name of each as it is done.

    Parameters
    ----------
    tasks : name -> what can be pickled and called
    workers : processes
    threads : of torch in each of them

    Raises
    ------
    TrainingError
        A process was killed.
    """
    killed = TrainingError(
        f"one of {workers} processes was killed, often for want of memory; "
        "run the same command again to go on, with fewer workers"
    )
    calls = (partial(_here, name, task, threads) for name, task in tasks.items())
    yield from as_done(calls, workers=workers, killed=killed)


def _here(name: str, task: Task, threads: int) -> str:
    torch.set_num_threads(threads)
    task()
    return name


def on_cluster(
    tasks: Mapping[str, Task], client: Client | str, *, shared: Path
) -> Generator[str, None, None]:
    """Do tasks on the workers of a Dask cluster; give the name of each as it is done.

    Where workers declare the resource ``GPU``, each task takes one. A task whose worker dies is
    given to another worker by Dask. Closing the iterator, or an error, takes back what has not
    begun; tasks under way run to their end.

    Parameters
    ----------
    tasks : name -> what can be pickled and called. Dask knows a task by its name, and two clients
        that ask for the same one share it
    client : of the cluster, or the address of its scheduler
    shared : a file that every worker must see as it is here

    Raises
    ------
    InputError
        Dask is not installed, there is no scheduler at the address, or a worker has another
        version of boneviz.
    CohortError
        A worker does not see `shared`.
    TrainingError
        Several workers died on one task.
    """
    try:
        import distributed
    except ImportError as error:
        raise InputError(
            "a Dask cluster needs Dask: pip install 'boneviz[dask]', here and on every worker"
        ) from error
    if isinstance(client, str):
        try:
            opened = distributed.Client(client, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler at {client} ({error}); start one with `dask scheduler` and "
                "give the address that it prints, such as tcp://HOST:8786"
            ) from error
        with opened:
            yield from on_cluster(tasks, opened, shared=shared)
        return
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    with_gpu = any(worker["resources"].get("GPU") for worker in known)
    seal = sha256_of(shared)
    futures = [
        client.submit(
            _on_worker,
            task,
            shared,
            seal,
            __version__,
            key=f"boneviz-{name}",
            resources={"GPU": 1} if with_gpu else None,
        )
        for name, task in tasks.items()
    ]
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            future.result()
            yield future.key.removeprefix("boneviz-")
    except distributed.KilledWorker as error:
        raise TrainingError(
            f"workers died again and again ({error}), often for want of memory or time; "
            "run the same command again to go on"
        ) from error
    finally:
        client.cancel(futures)


def _on_worker(task: Task, shared: Path, seal: str, version: str) -> None:
    """Do a task on a worker, once it is sure that worker and client mean the same files."""
    who = f"Dask worker {socket.gethostname()} (process {os.getpid()})"
    if version != __version__:
        raise InputError(
            f"{who} has boneviz {__version__}, expected {version}: install the same everywhere"
        )
    if not shared.is_file() or sha256_of(shared) != seal:
        found = "another file by that name" if shared.is_file() else "no such file"
        raise CohortError(
            f"{who} does not see {shared}: {found}; put the cohort in a folder that all workers "
            "share under the same path, and start them as a user who may write there"
        )
    with _one_at_a_time:
        task()
