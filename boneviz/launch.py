"""Start JupyterLab on a notebook, on this machine alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from boneviz.errors import InputError
from boneviz.files import write_whole
from boneviz.samples import shipped_folder

__all__ = ["jupyter_command", "open_notebook", "require_free_port"]

NEWS = "@jupyterlab/apputils-extension:announcements"


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
    environment = {**os.environ, "BONEVIZ_COHORT": str(cohort.resolve())}
    environment.pop("BONEVIZ_PREDICTIONS", None)
    if predictions is not None:
        environment["BONEVIZ_PREDICTIONS"] = str(predictions.resolve())
    # JupyterLab would ask whether to fetch news; nothing here is to ask anything of the network
    settings = folder / ".jupyter" / "labconfig" / "page_config.json"
    write_whole(settings, json.dumps({"disabledExtensions": {NEWS: True}}).encode())
    paths = [str(settings.parents[1]), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(path for path in paths if path)
    command = jupyter_command(notebook, port=port, browser=browser)
    server = subprocess.Popen(command, env=environment)
    # ended by its process id, boneviz takes the server with it
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            # JupyterLab had the same Ctrl-C from the terminal: it asks, and closes its kernels
            continue
