/**
 * A plotly figure. Plotly itself comes from the kernel, once for all figures of the page.
 */

/** @typedef {{send: (content: object) => void, get: (name: string) => any, on: Function, off: Function}} Model */
/** @typedef {{model: Model}} Seat one view that waits for plotly */
/** @typedef {{ready: Promise<any>, loaded: boolean, resolve: (plotly: any) => void, reject: (error: Error) => void, waiting: Set<Seat>, asked: Seat | null, askedAt: number}} Shelf */

/** A kernel that has not sent plotly after this time may be dead or busy: another is asked. */
const PATIENCE_MS = 3000;

/** Where the page keeps one version of plotly. @param {string} version @returns {Shelf} */
export function shelfOf(version) {
  const name = `__boneviz_plotly_${version}`;
  const page = /** @type {any} */ (globalThis);
  if (!page[name]) {
    const shelf = { loaded: false, waiting: new Set(), asked: null, askedAt: 0 };
    page[name] = Object.assign(shelf, { ready: new Promise((resolve, reject) => Object.assign(shelf, { resolve, reject })) });
    page[name].ready.catch(() => {}); // each figure says so for itself
  }
  return page[name];
}

/** Have somebody ask who can still hear the answer. @param {Shelf} shelf */
export function askOne(shelf) {
  if (shelf.loaded || (shelf.asked && shelf.waiting.has(shelf.asked))) return;
  const [first] = shelf.waiting;
  if (first) askThis(shelf, first);
}

/** @param {Shelf} shelf @param {Seat} seat */
function askThis(shelf, seat) {
  shelf.asked = seat;
  shelf.askedAt = performance.now();
  seat.model.send({ kind: "library" });
}

/** Ask this seat, whose kernel is known to answer, where the one asked has not for long. @param {Shelf} shelf @param {Seat} seat */
export function askAgain(shelf, seat) {
  const late = performance.now() - shelf.askedAt > PATIENCE_MS;
  if (!shelf.loaded && late && shelf.waiting.has(seat)) askThis(shelf, seat);
}

/** @param {Shelf} shelf @param {DataView} packed */
export async function load(shelf, packed) {
  if (shelf.loaded) return;
  shelf.loaded = true;
  shelf.asked = null; // a closed figure is not kept for having been the first
  const page = /** @type {any} */ (globalThis);
  const others = page.Plotly;
  let url = "";
  try {
    const stream = new Blob([/** @type {any} */ (packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = await new Response(stream).text();
    const parts = ["var module = {exports: {}};\n", source, "\nexport default module.exports;"];
    url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
    shelf.resolve((await import(/* webpackIgnore: true */ url)).default);
  } catch (error) {
    shelf.reject(/** @type {Error} */ (error));
  } finally {
    URL.revokeObjectURL(url);
    // plotly names itself in the page; what another program put there stays
    page.Plotly = others;
  }
}

/** Put buffers in the place of their numbers. @param {any} value @param {DataView[]} buffers @returns {any} */
export function unpacked(value, buffers) {
  if (Array.isArray(value)) return value.map((part) => unpacked(part, buffers));
  if (value === null || typeof value !== "object") return value;
  if ("bdata" in value) {
    const view = buffers[value.bdata];
    // a copy: what came over the socket need not begin at a multiple of eight
    return { ...value, bdata: view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) };
  }
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, unpacked(part, buffers)]));
}

/** @param {{model: Model, el: HTMLElement}} place */
function render({ model, el }) {
  const shelf = shelfOf(model.get("_version"));
  const root = document.createElement("div");
  root.className = "boneviz-plot";
  root.setAttribute("role", "figure");
  root.setAttribute("aria-label", model.get("label"));
  root.style.width = "100%";
  el.append(root);

  let wanted = 0; // number of the newest figure that has come
  let shown = 0;
  let closed = false;
  /** @type {any} */
  let plotly = null;
  /** @type {Promise<void>} */
  let last = Promise.resolve();
  /** One after the other: plotly is not to be changed while it draws. @param {() => Promise<any> | void} job */
  const queue = (job) => {
    last = last.then(async () => { if (!closed) await job(); }).catch((error) => {
      root.dataset.failed = String(error);
      if (!shown) root.textContent = `This figure could not be drawn: ${error}`;
    });
  };

  /** @param {any} message @param {DataView[]} buffers */
  const draw = async (message, buffers) => {
    plotly ??= await shelf.ready;
    if (message.serial !== wanted || message.serial === shown || closed) return;
    const { data, layout } = unpacked({ data: message.data, layout: message.layout }, buffers);
    if (layout.height) root.style.minHeight = `${layout.height}px`;
    await plotly.react(root, data, layout, message.config);
    if (!shown) {
      /** @type {any} */ (root).on("plotly_click", tell);
      /** @type {any} */ (root).on("plotly_afterplot", letThrough);
    }
    letThrough();
    for (const canvas of root.querySelectorAll("canvas")) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", model.get("label"));
    }
    shown = message.serial;
    root.dataset.drawn = String(shown);
  };

  /** In 3D, what says nothing when pointed at does not stand in the way of what lies within it. */
  const letThrough = () => {
    const plot = /** @type {any} */ (root)._fullLayout?.scene?._scene?.glplot;
    let changed = false;
    for (const part of plot?.objects ?? []) {
      if (part._trace?.data?.hoverinfo !== "skip" || part.boneviz) continue;
      part.boneviz = changed = true;
      part.drawPick = () => {};
    }
    if (changed) plot.update({});
  };

  /** @param {any} event */
  const tell = (event) => {
    const [point] = event.points;
    const at = [point.pointNumber ?? point.pointIndex].flat();
    if (at.every(Number.isInteger)) model.send({ kind: "click", serial: shown, trace: point.curveNumber, point: at });
  };

  /** @param {any} message @param {DataView[]} buffers */
  const onMessage = (message, buffers) => {
    if (message.kind === "library") void load(shelf, buffers[0]);
    if (message.kind === "draw") {
      wanted = message.serial;
      window.clearTimeout(patience);
      patience = window.setTimeout(() => askAgain(shelf, seat), PATIENCE_MS);
      queue(() => draw(message, buffers));
    }
    if (message.kind === "restyle") {
      queue(() => {
        // a value that is a list is one value for every trace, not one per trace
        const changes = Object.entries(message.changes).map(([name, value]) => [name, Array.isArray(value) ? message.traces.map(() => value) : value]);
        if (message.serial === shown) return plotly.restyle(root, Object.fromEntries(changes), message.traces);
      });
    }
  };

  const seat = { model };
  let patience = 0;
  let frame = 0;
  const observer = new ResizeObserver(() => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => queue(() => {
      if (shown && root.clientWidth) return plotly.Plots.resize(root);
    }));
  });
  observer.observe(el);

  model.on("msg:custom", onMessage);
  shelf.waiting.add(seat);
  askOne(shelf);
  model.send({ kind: "want" });

  return () => {
    closed = true;
    observer.disconnect();
    cancelAnimationFrame(frame);
    window.clearTimeout(patience);
    model.off("msg:custom", onMessage);
    shelf.waiting.delete(seat);
    askOne(shelf);
    void last.then(() => {
      root.remove();
      if (!plotly) return;
      const canvases = [...root.querySelectorAll("canvas")];
      plotly.purge(root);
      // plotly leaves it to the collector to let a graphics context go; a page has sixteen
      for (const canvas of canvases) canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
    });
  };
}

export default { render };
