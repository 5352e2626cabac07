/** The slice viewer: wires the page's events and the widget's state to the drawing. */

import {
  PLANES, PLANE_NAMES, arrange, centreOf, clamp, describePosition, fitScale, flatIndex, isInside,
  keepInside, middleMm, panelAt, sideOf, stepSlices, toMm, voxelAt, zoomedCentre,
} from "./front/geometry.js";
import { WINDOWS, fullWindow, halfToNumber, presetOf } from "./front/window.js";
import { storeOf } from "./front/store.js";
import { Scene } from "./front/scene.js";
import { drawOverlay } from "./front/overlay.js";
import { buildChrome, el, fillLegend, swatch } from "./front/chrome.js";

/** @typedef {import("./front/geometry.js").PlaneName} PlaneName */
/** @typedef {import("./front/geometry.js").Vec3} Vec3 */
/** @typedef {import("./front/geometry.js").View} View */

/** Traits of the widget that change the picture; each is set in the page first and told to Python after. */
const LOOK_TRAITS = ["level", "width", "suv_min", "suv_max", "opacity", "mode", "colour_map", "exact", "visible"];
const TELL_EVERY_MS = 50;
const SPEAK_AFTER_MS = 700;
const MAX_ZOOM = 40;

class SliceView {
  /** @param {any} model @param {HTMLElement} host */
  constructor(model, host) {
    this.model = model;
    this.store = storeOf(model);
    this.undo = /** @type {(() => void)[]} */ ([]);
    this.serial = 0;
    this.cursor = /** @type {Vec3} */ ([0, 0, 0]);
    this.centre = /** @type {Vec3} */ ([0, 0, 0]);
    this.zoom = 1;
    this.alone = /** @type {PlaneName | null} */ (null);
    this.pointed = /** @type {PlaneName} */ ("axial");
    this.views = /** @type {Partial<Record<PlaneName, View>>} */ ({});
    this.drawn = /** @type {Record<string, string>} */ ({});
    this.frame = 0;
    this.timers = { tell: 0, speak: 0 };
    this.toldAt = 0;
    this.scene = /** @type {Scene | null} */ (null);
    this.wheelRest = 0;
    this.build(host);
    this.openScene();
    this.listen();
    this.load();
  }

  get info() {
    return this.store.load?.info;
  }

  get lattice() {
    return this.info?.volumes.ct.lattice;
  }

  // ---- page ----

  /** @param {HTMLElement} host */
  build(host) {
    this.chrome = buildChrome({
      set: (/** @type {Record<string, any>} */ values) => this.set(values),
      preset: (/** @type {string} */ name) => this.usePreset(name),
      toggleExact: () => this.set({ exact: !this.model.get("exact") }),
      reset: () => this.reset(),
      help: () => this.toggleHelp(),
    });
    this.image = el("canvas", { class: "bv-image", "data-testid": "slices", "aria-hidden": "true" });
    this.layer = el("canvas", { class: "bv-layer", "data-testid": "overlay", "aria-hidden": "true" });
    this.pen = this.layer.getContext("2d");
    this.captions = Object.fromEntries(
      PLANE_NAMES.map((name) => [name, el("div", { class: "bv-caption", "data-testid": `caption-${name}` })]),
    );
    this.message = el("div", { class: "bv-message", role: "status", "data-testid": "message" });
    this.stage = el(
      "div",
      {
        class: "bv-stage", tabindex: 0, role: "application", "data-testid": "stage",
        "aria-label": "Slices through the patient: axial, sagittal, coronal and PET projection. Press ? for keys.",
      },
      this.image, this.layer, ...Object.values(this.captions), this.message, this.chrome.helpBox,
    );
    // JupyterLab must not take the keys and clicks meant for the viewer
    this.root = el(
      "div", { class: "bv-root", "data-testid": "boneviz-viewer", "data-lm-suppress-shortcuts": "true" },
      this.chrome.head, this.chrome.bar, this.stage, this.chrome.readout, this.chrome.spoken,
    );
    host.append(this.root);
  }

  openScene() {
    try {
      this.scene = new Scene(this.image);
    } catch (error) {
      fallback(this, /** @type {Error} */ (error).message);
    }
  }

  listen() {
    const on = (/** @type {EventTarget} */ target, /** @type {string} */ type, /** @type {any} */ handler, /** @type {any} */ options) => {
      target.addEventListener(type, handler, options);
      this.undo.push(() => target.removeEventListener(type, handler, options));
    };
    const stage = this.stage;
    on(stage, "wheel", (/** @type {WheelEvent} */ e) => this.onWheel(e), { passive: false });
    on(stage, "pointerdown", (/** @type {PointerEvent} */ e) => this.onPointerDown(e));
    on(stage, "pointermove", (/** @type {PointerEvent} */ e) => this.onPointerMove(e));
    on(stage, "pointerup", () => (this.drag = null));
    on(stage, "pointercancel", () => (this.drag = null));
    on(stage, "dblclick", (/** @type {MouseEvent} */ e) => this.onDoubleClick(e));
    on(stage, "contextmenu", (/** @type {Event} */ e) => (e.preventDefault(), e.stopPropagation()));
    on(this.root, "keydown", (/** @type {KeyboardEvent} */ e) => this.onKey(e));
    on(this.image, "webglcontextlost", (/** @type {Event} */ e) => {
      e.preventDefault();
      this.scene = null;
      fallback(this, "the graphics context was lost (too many open viewers, or the GPU was reset)");
    });
    on(this.image, "webglcontextrestored", () => {
      this.openScene();
      this.serial = 0;
      this.load();
    });
    this.undo.push(this.store.subscribe(() => this.load()));
    const onLook = () => this.refresh();
    const onCursor = () => {
      const [x, y, z] = this.model.get("cursor_mm");
      if (this.timers.tell || !this.serial) return;
      this.cursor = [x, y, z];
      this.refresh();
    };
    for (const trait of LOOK_TRAITS) this.model.on(`change:${trait}`, onLook);
    this.model.on("change:cursor_mm", onCursor);
    this.undo.push(() => {
      for (const trait of LOOK_TRAITS) this.model.off(`change:${trait}`, onLook);
      this.model.off("change:cursor_mm", onCursor);
    });
    const observer = new ResizeObserver(() => this.refresh());
    observer.observe(this.root);
    this.undo.push(() => observer.disconnect());
  }

  dispose() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timers.tell);
    clearTimeout(this.timers.speak);
    for (const step of this.undo.splice(0)) step();
    this.scene?.dispose();
    this.scene = null;
    this.root.remove();
  }

  // ---- data ----

  /** Take the case over once all of it is here; say how far it is until then. */
  load() {
    const load = this.store.load;
    if (!load) return this.say("No patient is open.");
    if (!load.ready) {
      clearTimeout(this.timers.tell);
      this.timers.tell = 0;
      this.serial = 0;
      delete this.root.dataset.drawn;
      if (this.scene) this.say(`Loading ${Math.round((100 * load.received) / load.total)} %`);
      return;
    }
    if (!this.scene || this.serial === load.info.serial) return;
    const tooLarge = Math.max(...Object.values(load.info.volumes).flatMap((volume) => volume.lattice.shape));
    if (tooLarge > this.scene.maxSize) {
      return fallback(this, `a volume has ${tooLarge} voxels along one axis and this GPU takes ${this.scene.maxSize}`);
    }
    for (const [name, volume] of Object.entries(load.info.volumes)) {
      this.scene.upload(name, load.arrays[name], volume);
    }
    this.serial = load.info.serial;
    this.cursor = /** @type {Vec3} */ ([...this.model.get("cursor_mm")]);
    this.zoom = 1;
    this.centre = middleMm(load.info.volumes.ct.lattice);
    this.say("");
    this.chrome.patient.textContent = load.info.patient;
    this.chrome.patient.title = load.info.notes.join("\n");
    fillLegend(this.chrome.legend, load.info.readers, (name) => this.toggleReader(name));
    this.refresh();
  }

  /** @param {string} text */
  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  // ---- state ----

  /** Change the look, here at once and in Python after. @param {Record<string, any>} values */
  set(values) {
    if ("suv_max" in values) values.suv_max = Math.max(values.suv_max, this.model.get("suv_min") + 0.1);
    if ("suv_min" in values) values.suv_min = Math.min(values.suv_min, this.model.get("suv_max") - 0.1);
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
    this.refresh();
  }

  presets() {
    return { ...WINDOWS, full: fullWindow(this.info?.hu_range ?? [-1000, 1000]) };
  }

  /** @param {string} name */
  usePreset(name) {
    const found = /** @type {Record<string, any>} */ (this.presets())[name];
    if (found) this.set({ level: found.level, width: found.width });
    else this.refresh();
  }

  /** @param {string} name */
  toggleReader(name) {
    const shown = /** @type {string[]} */ (this.model.get("visible"));
    const names = this.info?.readers.map((reader) => reader.name) ?? [];
    this.set({ visible: names.filter((other) => shown.includes(other) !== (other === name)) });
  }

  reset() {
    if (!this.lattice) return;
    this.zoom = 1;
    this.alone = null;
    this.centre = middleMm(this.lattice);
    this.set({ ...this.model.get("defaults") });
  }

  toggleHelp() {
    const box = this.chrome.helpBox;
    box.hidden = !box.hidden;
    (box.hidden ? this.stage : this.chrome.helpClose).focus({ preventScroll: true });
  }

  /** Move the crosshair, here at once and in Python at most every 50 ms. @param {Vec3} mm */
  moveCursor(mm) {
    if (!this.lattice) return;
    this.cursor = keepInside(this.lattice, mm);
    this.refresh();
    if (this.timers.tell) return;
    const wait = Math.max(0, this.toldAt + TELL_EVERY_MS - performance.now());
    const serial = this.serial;
    this.timers.tell = window.setTimeout(() => {
      this.timers.tell = 0;
      if (serial !== this.serial) return;
      this.toldAt = performance.now();
      this.model.set("cursor_mm", [...this.cursor]);
      this.model.set("cursor_serial", serial);
      this.model.save_changes();
    }, wait);
  }

  // ---- events ----

  /** @param {MouseEvent} event @returns {[number, number]} */
  place(event) {
    const frame = this.image.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  /** @param {number} x @param {number} y */
  panel(x, y) {
    const boxes = Object.fromEntries(Object.entries(this.views).map(([name, view]) => [name, view.box]));
    return panelAt(boxes, x, y);
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    const [x, y] = this.place(event);
    const plane = this.panel(x, y);
    if (!plane || !this.lattice || !this.chrome.helpBox.hidden) return;
    event.preventDefault();
    event.stopPropagation();
    // with shift held, browsers turn the wheel sideways
    const delta = event.deltaY || event.deltaX;
    if (event.ctrlKey || event.shiftKey) {
      return this.zoomBy(Math.exp(-clamp(delta, -200, 200) / 500), plane, x, y);
    }
    if (plane === "mip") return;
    // a notch of a wheel is one slice; a touchpad's small steps add up to one
    const step = event.deltaMode === 0 && Math.abs(delta) < 40 ? delta / 40 : Math.sign(delta);
    this.wheelRest += step;
    const slices = Math.trunc(this.wheelRest);
    this.wheelRest -= slices;
    if (slices) this.moveCursor(stepSlices(this.lattice, this.cursor, PLANES[plane].normal, -slices));
  }

  /** @param {number} factor @param {PlaneName} plane @param {number} x @param {number} y */
  zoomBy(factor, plane, x, y) {
    const view = this.views[plane];
    if (!view || plane === "mip") return;
    const zoom = clamp(this.zoom * factor, 0.5, MAX_ZOOM);
    this.centre = zoomedCentre(plane, view, x, y, zoom / this.zoom);
    this.zoom = zoom;
    this.refresh();
  }

  /** @param {PointerEvent} event */
  onPointerDown(event) {
    if (/** @type {HTMLElement} */ (event.target).closest(".bv-help")) return;
    const [x, y] = this.place(event);
    const plane = this.panel(x, y);
    if (!plane || !this.lattice) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    const kind = event.button !== 0 || event.shiftKey ? "pan" : event.altKey ? "window" : "cursor";
    this.drag = { kind, plane, x, y };
    if (kind === "cursor") this.pointAt(plane, x, y);
  }

  /** @param {PointerEvent} event */
  onPointerMove(event) {
    const [x, y] = this.place(event);
    if (!this.drag) {
      this.pointed = this.panel(x, y) ?? this.pointed;
      return;
    }
    const { kind, plane } = this.drag;
    const [dx, dy] = [x - this.drag.x, y - this.drag.y];
    this.drag = { kind, plane, x, y };
    if (kind === "cursor") return this.pointAt(plane, x, y);
    if (kind === "window") {
      const [level, width] = [this.model.get("level"), this.model.get("width")];
      return this.set({ level: Math.round(level - dy * 2), width: Math.max(1, Math.round(width + dx * 4)) });
    }
    const view = this.views[plane];
    if (!view || plane === "mip") return;
    const { across, up } = PLANES[plane];
    this.centre = /** @type {Vec3} */ ([...this.centre]);
    this.centre[across] += dx / view.pxPerMm;
    this.centre[up] += dy / view.pxPerMm;
    this.refresh();
  }

  /** @param {MouseEvent} event */
  onDoubleClick(event) {
    const [x, y] = this.place(event);
    const plane = this.panel(x, y);
    if (!plane || !this.lattice) return;
    this.pointAt(plane, x, y);
    this.centre = /** @type {Vec3} */ ([...this.cursor]);
    this.refresh();
  }

  /** Put the crosshair under a pixel; in the projection, at the depth of the highest uptake there. @param {PlaneName} plane @param {number} x @param {number} y */
  pointAt(plane, x, y) {
    const view = this.views[plane];
    if (!view) return;
    const mm = toMm(plane, view, x, y, this.cursor);
    if (plane === "mip") mm[1] = this.hottestDepth(mm);
    this.moveCursor(mm);
  }

  /** @param {Vec3} mm */
  hottestDepth(mm) {
    const { arrays, info } = /** @type {import("./front/store.js").Load} */ (this.store.load);
    const lattice = info.volumes.pet.lattice;
    const values = halves(arrays.pet);
    const voxel = voxelAt(lattice, mm);
    let best = -Infinity;
    let depth = mm[1];
    for (let j = 0; j < lattice.shape[1]; j++) {
      voxel[1] = j;
      const suv = halfToNumber(values[flatIndex(lattice, voxel)]);
      if (suv > best) [best, depth] = [suv, centreOf(lattice, voxel)[1]];
    }
    return depth;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    event.stopPropagation();
    if (event.key === "Escape" && !this.chrome.helpBox.hidden) return this.toggleHelp();
    if (target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("button") && (event.key === " " || event.key === "Enter")) return;
    if (!this.lattice) return;
    const plane = PLANES[this.pointed];
    const move = (/** @type {number} */ axis, /** @type {number} */ slices) =>
      this.moveCursor(stepSlices(/** @type {any} */ (this.lattice), this.cursor, axis, slices));
    const box = this.views[this.pointed]?.box;
    const zoom = (/** @type {number} */ factor) => box && this.zoomBy(factor, this.pointed, box.x + box.width / 2, box.y + box.height / 2);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => move(plane.across, 1),
      ArrowRight: () => move(plane.across, -1),
      ArrowUp: () => move(plane.up, 1),
      ArrowDown: () => move(plane.up, -1),
      PageUp: () => move(plane.normal, 1),
      PageDown: () => move(plane.normal, -1),
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(0.8),
      c: () => this.set({ mode: "ct" }),
      p: () => this.set({ mode: "pet" }),
      f: () => this.set({ mode: "fused" }),
      x: () => this.set({ exact: !this.model.get("exact") }),
      m: () => {
        this.alone = this.alone ? null : this.pointed;
        this.refresh();
      },
      r: () => this.reset(),
      "?": () => this.toggleHelp(),
    };
    const reader = this.info?.readers[Number(event.key) - 1];
    const action = reader ? () => this.toggleReader(reader.name) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // ---- drawing ----

  /** Draw at the next animation frame, once, however often it is asked for. */
  refresh() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const { info, lattice, scene } = this;
    const width = this.stage.clientWidth;
    if (!info || !lattice || !scene || !width || this.serial !== info.serial) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    const { height, boxes } = arrange(width, lattice, this.alone);
    this.resize(width, height, ratio);
    const get = (/** @type {string} */ name) => this.model.get(name);
    const look = {
      level: get("level"), width: get("width"), suvMin: get("suv_min"), suvMax: get("suv_max"), opacity: get("opacity"),
      mode: get("mode"), colourMap: get("colour_map"), exact: get("exact"),
    };
    const visible = /** @type {string[]} */ (get("visible"));
    const readers = info.readers.map((reader) => ({ ...reader, visible: visible.includes(reader.name) }));
    const voxel = voxelAt(lattice, this.cursor);
    const sliceMm = centreOf(lattice, voxel);
    this.views = {};
    for (const plane of PLANE_NAMES) {
      const box = boxes[plane];
      this.captions[plane].hidden = !box;
      if (!box) continue;
      const flat = plane === "mip";
      const view = {
        box,
        centre: flat ? middleMm(lattice) : this.centre,
        pxPerMm: fitScale(plane, lattice, box) * (flat ? 1 : this.zoom),
      };
      this.views[plane] = view;
      const slice = flat ? 0 : voxel[PLANES[plane].normal];
      const key = JSON.stringify([this.serial, slice, view, look, visible, ratio]);
      if (this.drawn[plane] !== key) {
        scene.draw(plane, view, sliceMm, look, readers, info.box, ratio);
        this.drawn[plane] = key;
      }
      this.caption(plane, box, sliceMm, slice, lattice.shape);
    }
    drawOverlay(this.pen, ratio, this.views, this.cursor, {
      suvMin: look.suvMin, suvMax: look.suvMax, colourMap: look.colourMap, barIn: boxes.mip ? "mip" : this.alone,
    });
    this.showValues(look, visible);
    this.root.dataset.drawn = String(this.serial);
  }

  /** @param {number} width @param {number} height @param {number} ratio */
  resize(width, height, ratio) {
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.image.width === w && this.image.height === h && this.boxes === this.alone) return;
    this.boxes = this.alone;
    this.stage.style.height = `${height}px`;
    this.drawn = {};
    for (const canvas of [this.image, this.layer]) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    this.scene?.clear();
  }

  /** @param {PlaneName} plane @param {import("./front/geometry.js").Box} box @param {Vec3} sliceMm @param {number} slice @param {Vec3} shape */
  caption(plane, box, sliceMm, slice, shape) {
    const { title, normal } = PLANES[plane];
    const caption = this.captions[plane];
    const place = plane === "mip" ? "" : `  ${sideOf(normal, sliceMm[normal])} mm  ${slice + 1}/${shape[normal]}`;
    const text = title + place;
    if (caption.textContent !== text) caption.textContent = text;
    caption.style.transform = `translate(${box.x + 8}px, ${box.y + 6}px)`;
  }

  /** Put the values into the controls and the readout. @param {any} look @param {string[]} visible */
  showValues(look, visible) {
    const { chrome } = this;
    for (const button of chrome.modes.children) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === look.mode));
    }
    chrome.preset.value = presetOf(look.level, look.width, this.presets());
    const inputs = [[chrome.level, look.level], [chrome.width, look.width], [chrome.suvMin, look.suvMin], [chrome.suvMax, look.suvMax], [chrome.opacity, look.opacity]];
    for (const [input, value] of inputs) {
      const text = String(Math.round(value * 100) / 100);
      if (input.value !== text && !(document.activeElement === input && input.type === "number")) input.value = text;
    }
    chrome.map.value = look.colourMap;
    chrome.exact.setAttribute("aria-pressed", String(look.exact));
    this.info?.readers.forEach((reader, i) => {
      chrome.legend.children[i]?.setAttribute("aria-pressed", String(visible.includes(reader.name)));
    });
    this.showReadout();
  }

  showReadout() {
    const load = /** @type {import("./front/store.js").Load} */ (this.store.load);
    const { volumes, readers } = load.info;
    const valueOf = (/** @type {string} */ name) => {
      const { lattice } = volumes[name];
      if (!isInside(lattice, this.cursor)) return null;
      return halves(load.arrays[name])[flatIndex(lattice, voxelAt(lattice, this.cursor))];
    };
    const [hu, suv] = [valueOf("ct"), valueOf("pet")];
    const bits = load.arrays.bits[flatIndex(volumes.bits.lattice, voxelAt(volumes.bits.lattice, this.cursor))];
    const yes = readers.filter((_, i) => (bits >> i) & 1);
    const { cells, spoken } = this.chrome;
    cells.position.textContent = describePosition(this.cursor);
    cells.hu.textContent = hu === null ? "\u2013" : String(Math.round(halfToNumber(hu)));
    cells.suv.textContent = suv === null ? "\u2013" : halfToNumber(suv).toFixed(2);
    cells.yes.replaceChildren(
      ...(yes.length ? yes.map((reader) => el("span", { class: "bv-mark" }, swatch(reader), reader.name)) : ["nobody"]),
    );
    clearTimeout(this.timers.speak);
    this.timers.speak = window.setTimeout(() => {
      const names = yes.map((reader) => reader.name).join(", ") || "nobody";
      spoken.textContent = `${cells.position.textContent} mm, ${cells.hu.textContent} HU, SUV ${cells.suv.textContent}, marked by ${names}`;
    }, SPEAK_AFTER_MS);
  }
}

/** @param {Uint8Array} bytes */
function halves(bytes) {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

/** Say why nothing can be drawn with WebGL2. @param {SliceView} view @param {string} reason */
function fallback(view, reason) {
  view.say(`The slices cannot be drawn: ${reason}.`);
}

export default {
  /** @param {{model: any, el: HTMLElement}} context */
  render(context) {
    const view = new SliceView(context.model, context.el);
    return () => view.dispose();
  },
};
