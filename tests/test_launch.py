"""Starting JupyterLab."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from boneviz.errors import InputError
from boneviz.launch import jupyter_command, require_free_port


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is in use.*--port"):
            require_free_port(port)
    require_free_port(port)  # free again


def test_the_server_listens_on_loopback_and_asks_for_no_news(tmp_path: Path) -> None:
    command = jupyter_command(tmp_path / "a b.ipynb", port=9001, browser=False)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=9001" in command
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert "--LabApp.default_url=/lab/tree/a%20b.ipynb" in command
    assert "--LabApp.news_url=" in command
    assert "--LabApp.extension_manager=readonly" in command
    assert "--ServerApp.open_browser=False" in command
    assert not any("token" in part for part in command)  # JupyterLab makes its own
