"""The slice viewer beside ipyniivue and beside ipywidgets with matplotlib, in one browser.

    python benchmarks/viewer.py [--side 128 --side 256] [--wheels 40] [--large] [--write]

Each shows the same CT, PET and four readers' masks from the same six NIfTI files, in JupyterLab in
Chromium with WebGL2 in software. "Picture" is from running the cell, reading included (libraries
imported before), until the last of what it draws first is drawn. "Wheel" is from a wheel event to
the end of the drawing that follows it, three planes with fusion and contours; the GPU is waited
for in both, as a program waits for it that reads a pixel. matplotlib redraws at a step of a slider,
and its time is until the page has the new picture. Turns are taken `--rounds` times; figures are
medians (and the 95th percentile of a wheel). `--large` opens a CT of 512 x 512 x 400 voxels too,
and tells the largest message and the most memory that a process of the browser took. `--patients`
goes from patient to patient in the explorer, at 128^3, where the next had been read ahead and where
it had not: until the slices of the other patient are drawn. `--floor` draws next to nothing on an
empty page, at every frame: what no viewer can be faster than here. `--write` puts the table into
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from results import machine, write_results

from boneviz.case import Reader
from boneviz.cohort import Cohort
from boneviz.nifti import write_volume
from boneviz.volume import Grid, Volume

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from tests.browser.harness import PANEL, Lab, NotebookPage, launch_chromium, write_notebook  # noqa: E402

NAMES = ("ct", "pet", "expert_a", "expert_b", "model_a", "model_b")
QUIET_S = 4.0  # so long nothing is drawn once the first picture is whole, at 128^3
MOST_QUIET_S = 25.0  # for larger volumes: ipyniivue draws between one and the next

#: logs when drawing has ended, and when the wheel was turned
WATCH = """(() => {
  const log = window.__watch = {drawn: [], wheels: [], pictures: []};
  const open = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, options) {
    const gl = open.call(this, kind, options);
    if (!gl || kind !== 'webgl2' || gl.__watched) return gl;
    gl.__watched = true;
    let waiting = false;
    const pixel = new Uint8Array(4);
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      waiting = false;
      if (gl.isContextLost()) return;
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      log.drawn.push(performance.now());
      if (document.querySelector('[data-drawn][data-coarse]')) log.coarse ??= performance.now();
    };
    for (const name of ['drawArrays', 'drawElements']) {
      const draw = gl[name].bind(gl);
      gl[name] = (...values) => {
        draw(...values);
        if (!waiting) channel.port2.postMessage(0);
        waiting = true;
      };
    }
    return gl;
  };
  for (const kind of ['wheel', 'keydown']) {
    const note = (event) => log.wheels.push(event.timeStamp);
    window.addEventListener(kind, note, {capture: true, passive: true});
  }
  new MutationObserver(() => {
    for (const image of document.querySelectorAll('.jp-OutputArea img:not([data-seen])')) {
      image.dataset.seen = '1';
      image.decode().then(() => log.pictures.push(performance.now()), () => {});
    }
  }).observe(document, {subtree: true, childList: true});
})();"""

EMPTY = """async (times) => {
  const options = {alpha: false, antialias: false, preserveDrawingBuffer: true};
  const gl = document.querySelector('canvas').getContext('webgl2', options);
  const found = [];
  for (let i = 0; i < times; i++) {
    await new Promise((done) => requestAnimationFrame(done));
    const start = performance.now();
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, 10, 1);
    gl.clearColor(i % 2, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const {port1, port2} = new MessageChannel();
    await new Promise((done) => { port1.onmessage = done; port2.postMessage(0); });
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    found.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 120));
  }
  return found;
}"""

IMPORTS = {
    "boneviz": """
from boneviz.case import CaseRef, Reader
from boneviz.nifti import read_case
from boneviz.palette import styles_of
from boneviz.show.viewer import SliceViewer
readers = [Reader("Expert A", "expert"), Reader("Expert B", "expert"),
           Reader("Model A", "model", learned_from="Expert A"),
           Reader("Model B", "model", learned_from="Expert B")]
""",
    "ipyniivue": "from ipyniivue import NiiVue, SliceType",
    "matplotlib": """
import ipywidgets, nibabel, numpy as np
import matplotlib.pyplot as plt
%matplotlib inline
""",
}
CELLS = {
    "boneviz": """
masks = {reader: folder / f"{name}.nii.gz" for reader, name in zip(readers, names[2:])}
case = read_case(CaseRef("P", "", folder / "ct.nii.gz", folder / "pet.nii.gz", masks))
viewer = SliceViewer()
viewer.show(case, styles_of(readers))
viewer
""",
    "ipyniivue": """
nv = NiiVue(height=900)
nv.opts.slice_type = SliceType.MULTIPLANAR
nv.opts.overlay_outline_width = 1
looks = [("gray", 1.0), ("hot", 0.5), ("blue", 1.0), ("red", 1.0), ("green", 1.0), ("violet", 1.0)]
nv.load_volumes([{"path": folder / f"{name}.nii.gz", "colormap": look, "opacity": opacity}
                 for name, (look, opacity) in zip(names, looks)])
nv
""",
    "matplotlib": """
loaded = (nibabel.load(folder / f"{name}.nii.gz") for name in names)
ct, pet, *masks = (image.get_fdata(dtype=np.float32) for image in loaded)
n = ct.shape[2]
def draw(at=n // 2):
    figure, axes = plt.subplots(1, 3, figsize=(15, 5))
    for axis, (where, place) in enumerate(zip(axes, [0, 1, 2])):
        cut = lambda array: np.take(array, at, axis=2 - place).T
        where.imshow(cut(ct), cmap="gray", vmin=-500, vmax=1300, origin="lower")
        where.imshow(cut(pet), cmap="hot", vmin=0, vmax=8, alpha=0.5, origin="lower")
        for mask, colour in zip(masks, ["blue", "orange", "cyan", "yellow"]):
            where.contour(cut(mask), [0.5], colors=colour)
        where.axis("off")
    plt.show()
ipywidgets.interact(draw, at=ipywidgets.IntSlider(n // 2, 0, n - 1))
""",
}


@dataclass
class Seen:
    """What was measured of one way to show a case, over the rounds."""

    first_s: list[float] = field(default_factory=list)
    coarse_s: list[float] = field(default_factory=list)
    wheel_ms: list[float] = field(default_factory=list)
    received_mb: list[float] = field(default_factory=list)


def write_case(folder: Path, shape: Sequence[int]) -> None:
    """Write a body with bone and noise, warm places, and four balls that differ a little."""
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    rng = np.random.default_rng(0)
    away = np.sqrt((x[:, None] / 0.8) ** 2 + (y[None] / 0.6) ** 2)[..., None]
    ct = np.where(away < 1, np.float32(40), np.float32(-1000)) + np.zeros_like(z)
    ct[(away < 0.3)[..., 0]] = 900
    ct += 15 * rng.standard_normal(ct.shape, dtype=np.float32)
    grid = Grid.straight(tuple(ct.shape), (1.5, 1.5, 1.5))

    def ball(at: float, radius: float) -> NDArray[np.bool_]:
        from_there = (x[:, None, None] - at) ** 2 + y[None, :, None] ** 2 + z[None, None] ** 2
        return np.asarray(from_there < radius**2)

    pet = 0.8 + 0.2 * rng.standard_normal(ct.shape, dtype=np.float32)
    pet[ball(0.2, 0.25)] += 6
    write_volume(Volume(ct, grid, "HU"), folder / "ct.nii.gz")
    write_volume(Volume(np.maximum(pet, 0), grid, "SUVbw"), folder / "pet.nii.gz")
    for n, name in enumerate(NAMES[2:]):
        write_volume(Volume(ball(0.2, 0.2 + 0.04 * n), grid, "label"), folder / f"{name}.nii.gz")


class Bench:
    """One server and one browser for all that is measured."""

    def __init__(self, lab: Lab, browser: Browser) -> None:
        self.lab, self.browser = lab, browser
        self.largest_message = 0

    def open(self, peer: str, folder: Path) -> NotebookPage:
        """Open a notebook whose second cell shows the case, and run the first."""
        context = self.browser.new_context(viewport={"width": 1360, "height": 1250})
        context.add_init_script(WATCH)
        page = NotebookPage(self.lab, context.new_page(), dark=False)
        page.page.on("websocket", lambda socket: socket.on("framereceived", self._count))
        setup = f"from pathlib import Path\nfolder, names = Path({str(folder)!r}), {NAMES!r}\n"
        page.open(write_notebook(self.lab.notebooks, [setup + IMPORTS[peer], CELLS[peer]]))
        page.page.evaluate(
            f"() => {{ ({PANEL}).content.activeCellIndex = 0; "
            "window.jupyterapp.commands.execute('notebook:run-cell-and-select-next'); }"
        )
        page.page.wait_for_function(
            f"() => [...({PANEL}).content.model.sharedModel.cells][0].execution_count !== null",
            timeout=120_000,
        )
        page.page.wait_for_timeout(1500)
        return page

    def _count(self, payload: str | bytes) -> None:
        self.largest_message = max(self.largest_message, len(payload))

    def first(self, page: NotebookPage, log: str, voxels: int) -> tuple[float, float | None]:
        """Run the second cell; return the seconds until all is drawn, and until it is coarsely."""
        quiet_s = min(MOST_QUIET_S, QUIET_S * voxels / 128**3)
        before = page.page.evaluate(
            """() => { window.__start = performance.now();
            window.jupyterapp.commands.execute('notebook:run-cell'); return window.__start; }"""
        )
        page.page.wait_for_function(
            f"""() => {{ const at = window.__watch.{log};
              return at.length && performance.now() - at.at(-1) > {1000 * quiet_s}; }}""",
            timeout=400_000,
            polling=250,
        )
        last, coarse = page.page.evaluate(
            f"() => [window.__watch.{log}.at(-1), window.__watch.coarse ?? null]"
        )
        return (last - before) / 1000, None if coarse is None else (coarse - before) / 1000

    def wheels(self, page: NotebookPage, peer: str, times: int) -> list[float]:
        """Return the milliseconds from each wheel event, or step, to the end of its drawing."""
        mouse = page.page.mouse
        log = "pictures" if peer == "matplotlib" else "drawn"
        if peer == "matplotlib":
            page.page.locator(".noUi-handle").first.focus()
        else:
            canvas = page.page.locator(".jp-OutputArea canvas").first
            page.scroll_to(canvas)
            x, y, width, height = page.box(canvas)
            mouse.move(x + width / 4, y + height / 4)
        found = []
        for n in range(times + 3):
            page.page.evaluate(
                f"() => {{ window.__watch.wheels = []; window.__watch.{log} = []; }}"
            )
            if peer == "matplotlib":
                page.page.keyboard.press("ArrowRight")
            else:
                mouse.wheel(0, 100 if n % 20 < 10 else -100)
            page.page.wait_for_function(f"() => window.__watch.{log}.length", timeout=20_000)
            page.page.wait_for_timeout(120)
            at = page.page.evaluate(f"() => window.__watch.{log}[0] - window.__watch.wheels[0]")
            if n >= 3:  # the first few compile programs
                found.append(float(at))
        return found

    def measure(self, peer: str, folder: Path, side: int, wheels: int, seen: Seen) -> None:
        page = self.open(peer, folder)
        received = page.received_bytes
        log = "pictures" if peer == "matplotlib" else "drawn"
        first_s, coarse_s = self.first(page, log, side**3)
        seen.first_s.append(first_s)
        if coarse_s is not None:
            seen.coarse_s.append(coarse_s)
        seen.received_mb.append((page.received_bytes - received) / 1e6)
        with suppress(PlaywrightError):  # a page that is busy gives no picture of itself
            page.keep(f"bench-{peer}")
        seen.wheel_ms += self.wheels(page, peer, wheels)
        page.page.context.close()
        self.lab.stop_kernels()

    def patients(self, folder: Path, times: int) -> tuple[list[float], list[float]]:
        """Return the milliseconds from patient to patient, read ahead and not."""
        readers = ["Expert A", "Expert B", "Expert C", "Expert D"]
        for patient in ("P001", "P002"):
            (folder / patient).mkdir(parents=True)
            write_case(folder / patient, (128, 128, 128))
            for reader, name in zip(readers, NAMES[2:], strict=True):
                key = Reader(reader).key
                (folder / patient / f"{name}.nii.gz").rename(folder / patient / f"{key}.nii.gz")
        Cohort("Two", folder, tuple(Reader(name) for name in readers), ()).save()
        page = NotebookPage(self.lab, self.browser.new_page(), dark=False)
        cell = f"from boneviz import explore\ne = explore({str(folder)!r})\ne"
        page.open(write_notebook(self.lab.notebooks, [cell]))
        page.run_all()
        page.wait_drawn(serial=1)
        ahead, late = [], []
        for n in range(times):
            page.page.wait_for_timeout(4000)  # regions and surfaces
            page.run("e._ahead._next[1].result()")
            ahead.append(self._until_drawn(page, "P002", 2 * n + 2))
            page.page.wait_for_timeout(4000)
            late.append(self._until_drawn(page, "P001", 2 * n + 3))
        page.page.close()
        self.lab.stop_kernels()
        return ahead, late

    def _until_drawn(self, page: NotebookPage, patient: str, serial: int) -> float:
        return float(
            page.page.evaluate(
                f"""async ([code, serial]) => {{
                  const {{kernel}} = ({PANEL}).context.sessionContext.session;
                  const root = document.querySelector('[data-testid="boneviz-viewer"]');
                  const start = performance.now();
                  kernel.requestExecute({{code, store_history: false}});
                  while (root.dataset.drawn !== serial) {{
                    await new Promise((done) => setTimeout(done, 5));
                  }}
                  const gl = root.querySelector('.bv-image').getContext('webgl2');
                  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
                  return performance.now() - start;
                }}""",
                [f"e.select({patient!r})", str(serial)],
            )
        )

    def floor(self, times: int) -> float:
        """Return the milliseconds from a frame to the end of a drawing of ten pixels in it."""
        page = self.browser.new_page(viewport={"width": 1360, "height": 1250})
        page.set_content('<canvas width="1178" height="660"></canvas>')
        found = page.evaluate(EMPTY, times)
        page.close()
        return statistics.median(found)


def most_memory_gb() -> float:
    """Return the memory of the largest process of the browser."""
    listed = subprocess.run(["ps", "-eo", "rss,comm"], check=True, capture_output=True, text=True)
    sizes = [line.split() for line in listed.stdout.splitlines()[1:]]
    return max(int(rss) for rss, name, *_ in sizes if name.startswith("chrom")) / 2**20


def row(name: str, side: int, seen: Seen) -> str:
    coarse = f"{statistics.median(seen.coarse_s):.2f}" if seen.coarse_s else ""
    return (
        f"| {name} | {side}^3 | {coarse} | {statistics.median(seen.first_s):.2f} "
        f"| {statistics.median(seen.received_mb):.0f} | {statistics.median(seen.wheel_ms):.0f} "
        f"| {np.percentile(seen.wheel_ms, 95):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, action="append")
    parser.add_argument("--peer", action="append", choices=list(CELLS))
    parser.add_argument("--wheels", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--patients", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = [
        "| viewer | voxels | coarse, s | picture, s | received, MB | wheel, ms | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    lab = Lab()
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as kept:
            bench = Bench(lab, launch_chromium(playwright))
            for side in options.side or (128, 256):
                folder = Path(kept, str(side))
                folder.mkdir()
                write_case(folder, (side,) * 3)
                found = {peer: Seen() for peer in options.peer or CELLS}
                for _ in range(options.rounds):
                    for peer, seen in found.items():
                        bench.measure(peer, folder, side, options.wheels, seen)
                for peer, seen in found.items():
                    lines.append(row(peer, side, seen))
                    print(lines[-1], flush=True)
            if options.floor:
                lines += [
                    "",
                    "Ten pixels on an empty page, from a frame to the end of their drawing: "
                    f"{bench.floor(25):.0f} ms.",
                ]
                print(lines[-1], flush=True)
            if options.patients:
                ahead, late = bench.patients(Path(kept, "two"), 5)
                lines += [
                    "",
                    f"From patient to patient in the explorer, 128^3, four readers: "
                    f"{statistics.median(ahead):.0f} ms where the next had been read ahead, "
                    f"{statistics.median(late):.0f} ms where not.",
                ]
                print(lines[-1], flush=True)
            if options.large:
                folder = Path(kept, "large")
                folder.mkdir()
                write_case(folder, (512, 512, 400))
                bench.largest_message = 0
                page = bench.open("boneviz", folder)
                first_s, coarse_s = bench.first(page, "drawn", 512 * 512 * 400)
                lines += [
                    "",
                    f"512 x 512 x 400 voxels: coarse after {coarse_s or first_s:.1f} s, all after "
                    f"{first_s:.1f} s, largest "
                    f"message {bench.largest_message / 1e6:.1f} MB, largest process of the "
                    f"browser {most_memory_gb():.1f} GB.",
                ]
                print(lines[-1], flush=True)
    finally:
        lab.stop()
    text = "\n".join([machine(("anywidget", "ipyniivue", "matplotlib")), "", *lines])
    print(text)
    if options.write:
        write_results("viewer", text)


if __name__ == "__main__":
    main()
