"""Starting JupyterLab."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import nbformat
import pytest

from boneviz.errors import InputError
from boneviz.launch import TEMPLATES, app_command, jupyter_command, open_app, require_free_port


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


def test_the_app_listens_on_loopback_and_shows_no_token_to_other_users(tmp_path: Path) -> None:
    command = app_command(tmp_path / "boneviz.ipynb", port=9002)
    assert "--Voila.ip=127.0.0.1" in command
    assert "--Voila.port=9002" in command
    assert "--Voila.port_retries=0" in command
    assert "--Voila.auto_token=True" in command
    # the page loads no extension of JupyterLab but those that draw widgets
    allowed = [part.partition("allowlist=")[2] for part in command if "extension_allow" in part]
    assert "anywidget" in allowed
    assert all("widget" in name for name in allowed)
    assert not any(part.lower().startswith(("--token", "--voila.token")) for part in command)


def test_the_apps_page_asks_nobody_for_style_sheets() -> None:
    (template,) = (TEMPLATES / "voila" / "templates" / "boneviz").glob("*.j2")
    assert "http" not in template.read_text(encoding="utf-8")


def test_without_voila_the_app_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'boneviz\[app\]'"):
        open_app(
            cohort=tmp_path,
            predictions=None,
            folder=tmp_path / "app",
            port=9003,
            browser=False,
            say=print,
        )
    assert not (tmp_path / "app").exists()


def test_the_app_is_told_cohort_and_token_and_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[tuple[list[str], dict[str, str]]] = []

    def serve(command: list[str], environment: dict[str, str], **how: Any) -> int:
        served.append((command, environment))
        how["ready"]()
        return 0

    monkeypatch.setattr("boneviz.launch._serve", serve)
    said: list[str] = []
    status = open_app(
        cohort=tmp_path / "cohort",
        predictions=None,
        folder=tmp_path / "app",
        port=9004,
        browser=False,
        say=said.append,
    )
    assert status == 0
    ((command, environment),) = served
    token = environment["JUPYTER_TOKEN"]
    assert len(token) > 40
    assert f"http://127.0.0.1:9004/?token={token}" in said[0]
    assert token not in " ".join(command)
    assert environment["BONEVIZ_COHORT"] == str(tmp_path / "cohort")
    assert environment["JUPYTER_PATH"].split(":")[0] == str(TEMPLATES)
    notebook = nbformat.read(tmp_path / "app" / "boneviz.ipynb", as_version=4)
    nbformat.validate(notebook)
