"""A real JupyterLab in a real Chromium, for tests and for pictures.

Fixtures (in ``tests/browser/conftest.py``, for every test below ``tests/browser``):

``lab``
    One JupyterLab server for the session: loopback, a free port, a token, settings and runtime
    files in a temporary folder, the repository as every kernel's working directory and PYTHONPATH.
``notebook``
    ``notebook(cells)`` writes the cells into a notebook, opens it, runs all of it and returns a
    `NotebookPage`. JupyterLab takes longer to load than most tests to run, so its page stays for
    the next test, with the tab of the last one closed; a page of its own is opened for another
    theme, ratio or ``init_script``, and beside a notebook that is open. Keywords: ``width``,
    ``height`` (of the window, CSS pixels), ``ratio`` (device pixels per CSS pixel), ``dark``,
    ``wait`` (seconds; 0: do not wait for cells),
    ``init_script`` (JavaScript that runs in the page before anything else).
    ``notebook(path=Path("notebooks/01_explore.ipynb"))`` opens a copy of a notebook file.
    At the end of the test its kernel stops, and the test fails if the page had asked for
    anything beyond loopback or had logged an error (`NotebookPage.assert_clean`).

`NotebookPage`
    ``page``                    the Playwright page
    ``run(code)``               appends a cell, runs it, waits; raises where the cell raises
    ``output(code)``            the same, and returns the text that the cell printed
    ``viewer(nth=0)``           locator of the nth slice viewer
    ``wait_drawn(nth=0, serial=None)``  waits until its slices are drawn (of that case number)
    ``settle()``                waits until the next frames have been drawn
    ``until(check, seconds=15)``  waits until a function says True
    ``pixels(locator)``         (H, W, 3) uint8 of what the screen shows there, device pixels
    ``keep(name, locator=None)``  saves a screenshot as ``test-output/NAME.png``
    ``scroll_to(locator)``, ``box(locator)``
    ``errors``, ``requests``    console errors and addresses so far
    ``allowed_errors``          substrings of errors that a test provokes on purpose
    ``received_bytes``          over web sockets so far
    ``frames``                  what came over them, text as bytes; kept from when it is set to []

Without a browser the tests fail with the reason; they do not skip.
"""

from __future__ import annotations

import contextlib
import io
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
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Playwright

from .find_browser import NAMES, find_browser

REPO = Path(__file__).resolve().parents[2]
OUTPUT = REPO / "test-output"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


# the notebook, also where another tab is in front
PANEL = """[...(window.jupyterapp?.shell?.widgets('main') ?? [])].find(
  (widget) => widget.context?.sessionContext && widget.content?.widgets)"""


class Lab:
    """A JupyterLab server of our own; `stop` ends it by its process id."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="boneviz-lab-"))
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.notebooks = self.folder / "notebooks"
        self.notebooks.mkdir()
        for plugin, content in SETTINGS.items():
            path = self.folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        startup = self.folder / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "00-folder.py").write_text(f"import os; os.chdir({str(REPO)!r}); del os\n")
        paths = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        environment = {
            **os.environ,
            **{name: str(self.folder / sub) for name, sub in paths.items()},
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": "1",
        }
        self.log_path = self.folder / "server.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyterlab",
                    "--no-browser",
                    "--allow-root",
                    "--ServerApp.ip=127.0.0.1",
                    f"--ServerApp.port={self.port}",
                    "--ServerApp.port_retries=0",
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.notebooks}",
                    "--LabApp.expose_app_in_browser=True",
                    "--LabApp.news_url=",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                ],
                cwd=REPO,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.ask("GET", "api/status")
            except OSError:
                time.sleep(0.2)
            else:
                return
        log = self.log_path.read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"JupyterLab did not start at {self.url}:\n{log}")

    def ask(self, method: str, path: str) -> Any:
        """Send a request to the server's REST interface and return its answer."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def stop_kernels(self) -> None:
        """Shut down every session and its kernel."""
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")

    def stop(self) -> None:
        """Shut the kernels down, end the server and delete its folder."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.stop_kernels()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def launch_chromium(playwright: Playwright) -> Browser:
    """Start the installed Chromium or Chrome, else Playwright's own; raise where there is none."""
    found = find_browser()
    try:
        return playwright.chromium.launch(executable_path=found, args=list(CHROMIUM_FLAGS))
    except Exception as error:
        raise RuntimeError(
            f"no browser for the browser tests: looked for {', '.join(NAMES)} on the PATH "
            f"({found or 'none found'}) and for Playwright's own; "
            f"run python tests/browser/find_browser.py --install. {error}"
        ) from error


class NotebookPage:
    """One notebook open in JupyterLab; see the module's docstring."""

    def __init__(self, lab: Lab, page: Page, *, dark: bool) -> None:
        self.lab = lab
        self.page = page
        self.dark = dark
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.allowed_errors: list[str] = []
        self.received_bytes = 0
        self.frames: list[bytes] | None = None
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", self._on_socket)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", self._on_console)

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_socket(self, web_socket: Any) -> None:
        self.requests.append(web_socket.url)

        def count(payload: str | bytes) -> None:
            self.received_bytes += len(payload)
            if self.frames is not None:
                self.frames.append(payload.encode() if isinstance(payload, str) else payload)

        web_socket.on("framereceived", count)

    def open_next(self, name: str) -> None:
        """Close what is open in this page's JupyterLab, and open another notebook there."""
        self.close_tabs()
        self.assert_clean()  # what came late, after the last test
        self.errors, self.requests, self.allowed_errors = [], [], []
        self.received_bytes, self.frames = 0, None
        self.page.evaluate(
            "(path) => window.jupyterapp.commands.execute('docmanager:open', {path})", name
        )
        self._wait_for_kernel()

    def close_tabs(self) -> None:
        """Close every tab, saved or not."""
        self.page.evaluate(
            "() => [...window.jupyterapp.shell.widgets('main')].forEach((tab) => tab.dispose())"
        )

    def open(self, name: str) -> None:
        """Load JupyterLab, open a notebook of the server's folder and wait for its kernel."""
        page = self.page
        page.goto(f"{self.lab.url}/lab/tree/{name}?token={self.lab.token}&reset")
        page.wait_for_function(f"() => {PANEL}", timeout=60_000)
        page.evaluate(
            """async (dark) => {
              const app = window.jupyterapp;
              const theme = dark ? 'JupyterLab Dark' : 'JupyterLab Light';
              await app.restored;
              await app.commands.execute('apputils:change-theme', {theme});
              if (!app.shell.leftCollapsed) app.shell.collapseLeft();
              app.shell.collapseRight();
            }""",
            self.dark,
        )
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            f"() => ({PANEL})?.context.sessionContext.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def run_all(self, *, wait: float = 120) -> None:
        """Run all cells and wait until the kernel is done; raise where a cell raised."""
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )
        if wait:
            self.wait_idle(wait)

    def wait_idle(self, seconds: float = 120) -> None:
        """Wait until every code cell has run; raise with the traceback where one raised."""
        self.page.wait_for_function(
            f"""() => {{
              const {{cells}} = ({PANEL}).content.model.sharedModel;
              const code = [...cells].filter((c) => c.cell_type === 'code' && c.source.trim());
              const failed = code.some((c) => c.outputs.some((o) => o.output_type === 'error'));
              return failed || code.every((c) => c.execution_count !== null);
            }}""",
            timeout=seconds * 1000,
        )
        failed = self.page.evaluate(
            f"""() => [...({PANEL}).content.model.sharedModel.cells]
              .filter((c) => c.cell_type === 'code')
              .flatMap((c) => c.outputs.filter((o) => o.output_type === 'error'))
              .map((o) => o.traceback.join('\\n'))"""
        )
        if failed:
            raise AssertionError("a cell raised:\n" + "\n".join(failed))

    def run(self, code: str, *, wait: float = 60) -> None:
        """Run code in the notebook's kernel and wait for its end."""
        self.output(code, wait=wait)

    def output(self, code: str, *, wait: float = 60) -> str:
        """Run code in the notebook's kernel, without a cell, and return what it printed."""
        answer = self.page.evaluate(
            f"""async ([code, seconds]) => {{
              const {{kernel}} = ({PANEL}).context.sessionContext.session;
              const future = kernel.requestExecute({{code, store_history: false}});
              let text = '', error = '';
              future.onIOPub = (m) => {{
                if (m.header.msg_type === 'stream') text += m.content.text;
                if (m.header.msg_type === 'error') error = m.content.traceback.join('\\n');
              }};
              const late = new Promise((_, no) => {{
                setTimeout(() => no(new Error('the kernel is too slow')), seconds * 1000);
              }});
              await Promise.race([future.done, late]);
              return {{text, error}};
            }}""",
            [code, wait],
        )
        if answer["error"]:
            raise AssertionError(answer["error"])
        return str(answer["text"])

    def viewer(self, nth: int = 0) -> Locator:
        """Return the nth slice viewer of the page."""
        return self.page.locator('[data-testid="boneviz-viewer"]').nth(nth)

    def wait_drawn(
        self, nth: int = 0, *, serial: int | None = None, seconds: float = 60
    ) -> Locator:
        """Wait until the nth viewer has drawn (the case of that number) and return it."""
        mark = f'="{serial}"' if serial is not None else ""
        self.page.wait_for_function(
            """([nth, mark]) => document.querySelectorAll('[data-testid="boneviz-viewer"]')[nth]
              ?.matches(`[data-drawn${mark}]`)""",
            arg=[nth, mark],
            timeout=seconds * 1000,
        )
        self.settle()
        return self.viewer(nth)

    def until(self, check: Callable[[], bool], *, seconds: float = 15) -> None:
        """Wait until a check holds; at the end of the time fail."""
        deadline = time.monotonic() + seconds
        while not check() and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        assert check(), f"still not so after {seconds} s"

    def settle(self) -> None:
        """Wait until three animation frames have passed and words stand beside the pictures."""
        self.page.evaluate(
            """async () => {
              const frame = () => new Promise((done) => requestAnimationFrame(done));
              for (let i = 0; i < 3; i++) await frame();
              for (let i = 0; i < 300 && document.querySelector('[data-busy]'); i++) await frame();
            }"""
        )

    def scroll_to(self, locator: Locator) -> None:
        """Bring an element into the middle of the window."""
        locator.evaluate("(e) => e.scrollIntoView({block: 'center', inline: 'nearest'})")
        self.settle()

    def box(self, locator: Locator) -> tuple[float, float, float, float]:
        """Return x, y, width and height of an element in the window, CSS pixels."""
        box = locator.bounding_box()
        assert box is not None, "the element is not on the page"
        return box["x"], box["y"], box["width"], box["height"]

    def pixels(self, locator: Locator) -> NDArray[np.uint8]:
        """Return what the screen shows of an element, (H, W, 3) uint8 in device pixels."""
        return np.asarray(Image.open(io.BytesIO(self._picture(locator))).convert("RGB"))

    def keep(self, name: str, locator: Locator | None = None) -> Path:
        """Save a screenshot, of an element or of the window, as ``test-output/NAME.png``."""
        path = OUTPUT / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._picture(locator) if locator else self.page.screenshot())
        return path

    def _picture(self, locator: Locator) -> bytes:
        self.scroll_to(locator)
        x, y, width, height = self.box(locator)
        return self.page.screenshot(clip={"x": x, "y": y, "width": width, "height": height})

    def assert_clean(self) -> None:
        """Raise where the page asked for anything beyond loopback or logged an error."""
        beyond = [url for url in self.requests if not is_local(url)]
        assert not beyond, f"requests beyond loopback: {beyond}"
        errors = [e for e in self.errors if not any(part in e for part in self.allowed_errors)]
        assert not errors, f"errors in the console: {errors}"


def is_local(url: str) -> bool:
    """Whether an address is of this machine or carries its own content."""
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname in ("127.0.0.1", "localhost")


def write_notebook(folder: Path, cells: Sequence[str]) -> str:
    """Write code cells as a notebook with a name of its own and return the name."""
    name = f"test-{secrets.token_hex(4)}.ipynb"
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(content, folder / name)
    return name
