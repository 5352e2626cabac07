"""Start a server on this machine alone: JupyterLab on a notebook, or the explorer as a page."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from boneviz.errors import InputError
from boneviz.files import write_whole
from boneviz.samples import shipped_folder

__all__ = ["app_command", "jupyter_command", "open_app", "open_notebook", "require_free_port"]

NEWS = "@jupyterlab/apputils-extension:announcements"
APP_EXTENSIONS = (
    "@jupyter-widgets/jupyterlab-manager",
    # Voila's own, of which it takes the one that fits the version of ipywidgets
    "@voila-dashboards/widgets-manager7",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
)
TEMPLATES = Path(__file__).parent / "jupyter"
APP = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "explorer",
            "metadata": {},
            "outputs": [],
            "source": "import boneviz\n\nboneviz.explore()",
        }
    ],
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


def require_free_port(port: int) -> None:
    """Raise `InputError` where something already listens on a port of this machine."""
    if not 0 < port < 65536:
        raise InputError(f"port {port}: expected 1 to 65535, choose another with --port")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = "is in use: stop what runs there, or choose another with --port"
            else:
                why = f"cannot be used ({error.strerror}); choose another with --port"
            raise InputError(f"port {port} {why}") from error


def jupyter_command(notebook: Path, *, port: int, browser: bool) -> list[str]:
    """Return the command that serves a notebook on loopback and asks nothing of the network."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={notebook.parent}",
        # in the address that is printed too, not only in the browser that is opened
        f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *(() if browser else ("--ServerApp.open_browser=False",)),
        *(("--allow-root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
    ]


def app_command(notebook: Path, *, port: int) -> list[str]:
    """Return the command that serves a notebook as a page without code, on loopback, by a token."""
    return [
        sys.executable,
        "-m",
        "voila",
        str(notebook),
        "--Voila.ip=127.0.0.1",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        # without one in its environment it makes its own
        "--Voila.auto_token=True",
        "--template=boneviz",
        # it would serve pictures beside the notebook to everybody, without the token
        "--VoilaConfiguration.file_denylist=.*",
        # of JupyterLab's extensions those that draw widgets: others may fail, or ask a network
        *(f"--VoilaConfiguration.extension_allowlist={name}" for name in APP_EXTENSIONS),
        # a page that was left open and cut off keeps its kernel, and a patient, no longer
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_idle_timeout=3600",
        # its own way to open one leaves the token out
        "--Voila.open_browser=False",
    ]


def open_notebook(
    name: str, *, cohort: Path, predictions: Path | None, folder: Path, port: int, browser: bool
) -> int:
    """Copy one of boneviz's notebooks to a folder, serve it there, and wait until it is stopped.

    Parameters
    ----------
    name : such as ``01_explore.ipynb``
    cohort, predictions : given to the notebook through its environment
    folder : where the notebook is copied to, unless it is there already, and served from
    port : on loopback
    browser : whether to open one

    Returns
    -------
    The exit status of JupyterLab.

    Raises
    ------
    InputError
        The port is in use.
    """
    require_free_port(port)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    notebook = folder / name
    if not notebook.exists():
        shutil.copyfile(shipped_folder("notebooks") / name, notebook)
    environment = _environment(cohort, predictions)
    # JupyterLab would ask whether to fetch news; nothing here is to ask anything of the network
    settings = folder / ".jupyter" / "labconfig" / "page_config.json"
    write_whole(settings, json.dumps({"disabledExtensions": {NEWS: True}}).encode())
    _put_first(environment, "JUPYTER_CONFIG_PATH", settings.parents[1])
    return _serve(jupyter_command(notebook, port=port, browser=browser), environment)


def open_app(
    *,
    cohort: Path,
    predictions: Path | None,
    folder: Path,
    port: int,
    browser: bool,
    say: Callable[[str], None],
) -> int:
    """Serve the explorer as a page for people who do not write code, until it is stopped.

    Parameters
    ----------
    cohort, predictions : what is explored
    folder : for the page's notebook, which holds one line; nothing else in it is served
    port : on loopback
    browser : whether to open one
    say : called with the page's address, once it is served

    Returns
    -------
    The exit status of Voila.

    Raises
    ------
    InputError
        Voila is not installed, or the port is in use.
    """
    if importlib.util.find_spec("voila") is None:
        raise InputError("the app needs Voila: pip install 'boneviz[app]', or use boneviz explore")
    require_free_port(port)
    notebook = folder.resolve() / "boneviz.ipynb"
    write_whole(notebook, json.dumps(APP, indent=1).encode())
    environment = _environment(cohort, predictions)
    _put_first(environment, "JUPYTER_PATH", TEMPLATES)
    # not on the command line, which everybody on the machine can read
    environment["JUPYTER_TOKEN"] = token = secrets.token_hex(24)
    address = f"http://127.0.0.1:{port}/?token={token}"
    with tempfile.TemporaryDirectory(prefix="boneviz-") as private:

        def announce() -> None:
            say(f"The explorer is at {address}\nStop it with Ctrl-C.")
            if browser:
                page = Path(private) / "open.html"
                page.write_text(f'<meta http-equiv="refresh" content="0;url={address}">')
                webbrowser.open(page.as_uri())

        return _serve(app_command(notebook, port=port), environment, port=port, ready=announce)


def _environment(cohort: Path, predictions: Path | None) -> dict[str, str]:
    """Return an environment that tells `boneviz.explore` what to open."""
    environment = {**os.environ, "BONEVIZ_COHORT": str(cohort.resolve())}
    environment.pop("BONEVIZ_PREDICTIONS", None)
    if predictions is not None:
        environment["BONEVIZ_PREDICTIONS"] = str(predictions.resolve())
    return environment


def _put_first(environment: dict[str, str], name: str, folder: Path) -> None:
    """Put a folder in front of a path of folders."""
    paths = [str(folder), environment.get(name, "")]
    environment[name] = os.pathsep.join(path for path in paths if path)


def _serve(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    port: int = 0,
    ready: Callable[[], None] | None = None,
) -> int:
    """Run a server until it is stopped; return its exit status.

    Parameters
    ----------
    port, ready : `ready` is called once the server listens on this port
    """
    server = subprocess.Popen(command, env=environment)
    # ended by its process id, boneviz takes the server with it
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    if ready is not None and _listens(server, port):
        ready()
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            # the server had the same Ctrl-C from the terminal and closes its kernels;
            # JupyterLab asks first
            continue


def _listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server listens on a port of this machine; False where it ends instead."""
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False
