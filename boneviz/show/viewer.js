/** The slice viewer: wires the page's events and the widget's state to the drawing. */

import { keepInside, middleMm, toMm } from "./front/geometry.js";
import { WINDOWS, fullWindow } from "./front/window.js";
import { chosenPair, nextView, planOf } from "./front/modes.js";
import { drawable, storeOf } from "./front/store.js";
import { Frame } from "./front/frame.js";
import { Scene } from "./front/scene.js";
import { Casting } from "./front/cast.js";
import { Pictures } from "./front/pictures.js";
import { buildChrome, el, fillLegend } from "./front/chrome.js";
import { Stage } from "./front/stage.js";
import { movedRange, rangeOf, showPet } from "./front/pet.js";
import { buildModebar } from "./front/modebar.js";
import { hottestDepth } from "./front/readout.js";
import { Words } from "./front/words.js";
import { keyOf, snapshot, wordsOf } from "./front/snapshot.js";
import { Artist } from "./front/artist.js";
import { bringIntoView } from "./front/around.js";
import { listenTo } from "./front/input.js";

/** @typedef {import("./front/geometry.js").Lattice} Lattice */
/** @typedef {import("./front/geometry.js").PlaneName} PlaneName */
/** @typedef {import("./front/geometry.js").Vec3} Vec3 */
/** @typedef {import("./front/geometry.js").View} View */

/** Traits of the widget that change the picture; each is set in the page first and told to Python after. */
const LOOK_TRAITS = ["level", "width", "suv_min", "suv_max", "counts_range", "opacity", "mode", "colour_map", "exact", "filled", "alone", "visible", "view", "pair", "heat", "thresholds", "dial"];
const TELL_EVERY_MS = 50;

export class SliceView {
  /** @param {any} model @param {HTMLElement} host */
  constructor(model, host) {
    this.model = model;
    this.store = storeOf(model);
    this.undo = /** @type {(() => void)[]} */ ([]);
    this.serial = 0;
    this.cursor = /** @type {Vec3} */ ([0, 0, 0]);
    this.frame = new Frame((value) => this.lattice && this.tell("frame", value));
    this.pointed = /** @type {PlaneName} */ ("axial");
    this.due = 0; // the next animation frame
    this.telling = 0; // a timer
    this.toldAt = 0;
    this.warm = false;
    this.coarse = false; // whether images are
    this.scene = /** @type {Scene | Pictures | null} */ (null);
    this.casting = new Casting();
    /** Stop waiting for the loss of the graphics context. */
    this.unwatch = () => {};
    this.build(host);
    this.openScene();
    this.listen();
    this.load();
  }

  get info() {
    return this.store.load?.info;
  }

  /** The plane that has the stage for itself. @returns {PlaneName | null} */
  get alone() {
    return this.model.get("alone") || null;
  }

  /** The CT's voxels, once the case is here. */
  get lattice() {
    return this.serial ? this.info?.volumes.ct.lattice : undefined;
  }

  // ---- page ----

  /** @param {HTMLElement} host */
  build(host) {
    this.chrome = buildChrome({
      set: (/** @type {Record<string, any>} */ values) => this.set(values),
      petRange: (/** @type {0 | 1} */ end, /** @type {number} */ value) => this.setPetRange(end, value),
      preset: (/** @type {string} */ name) => this.usePreset(name),
      toggleExact: () => this.toggleExact(),
      toggleFilled: () => this.set({ filled: !this.model.get("filled") }),
      reset: () => this.reset(),
      help: () => this.toggleHelp(),
    });
    this.modebar = buildModebar({
      view: (view) => this.set({ view }),
      heat: () => this.toggleHeat(),
      pair: (place, name) => this.choose(place, name),
      threshold: (name, value) => this.set({ thresholds: { ...this.model.get("thresholds"), [name]: value } }),
      refresh: () => this.refresh(),
    });
    this.artist = new Artist(this);
    // the colours of the other views are explained where those of the readers stand
    this.chrome.head.append(this.modebar.legend);
    this.message = el("div", { class: "bv-message", role: "status", "data-testid": "message" });
    this.notice = el("div", { class: "bv-notice", role: "status", "data-testid": "notice", hidden: true });
    this.panels = new Stage(this.message, this.chrome.helpBox);
    this.stage = this.panels.element;
    // JupyterLab must not take the keys and clicks meant for the viewer
    this.root = el(
      "div", { class: "bv-root", "data-testid": "boneviz-viewer", "data-lm-suppress-shortcuts": "true" },
      this.chrome.head, this.chrome.bar, this.modebar.bar, this.artist.drawbar.bar, this.stage, this.notice, this.chrome.readout, this.chrome.origin, this.chrome.spoken,
    );
    this.words = new Words(this.chrome, this.root);
    host.append(this.root);
  }

  openScene() {
    try {
      this.scene = new Scene(this.panels.image);
    } catch (error) {
      return this.fallBack(/** @type {Error} */ (error).message);
    }
    this.watchContext();
  }

  /** Go on with pictures made in Python, and say why. @param {string} reason */
  fallBack(reason) {
    this.unwatch();
    this.scene?.dispose();
    const pictures = new Pictures(this.panels.replaceImage(), this.model, () => {
      this.notice.textContent = [`Pictures from Python, without WebGL2: ${reason}.`, ...pictures.failed.values()].join(" ");
      this.panels.stale();
      this.refresh();
    });
    pictures.onChange();
    this.scene = pictures;
    this.notice.hidden = false;
    this.serial = 0;
    this.load();
  }

  watchContext() {
    const onLost = () => {
      // the context is gone for good: what it held cannot be freed any more
      this.scene = null;
      this.fallBack("the graphics context was lost (too many open viewers, or the GPU was reset)");
    };
    const canvas = this.panels.image;
    canvas.addEventListener("webglcontextlost", onLost);
    this.unwatch = () => canvas.removeEventListener("webglcontextlost", onLost);
  }

  listen() {
    this.undo.push(listenTo(this));
    this.undo.push(this.store.subscribe(() => this.load()));
    const onLook = () => this.refresh();
    const onCursor = () => {
      const [x, y, z] = this.model.get("cursor_mm");
      if (!this.serial || [x, y, z].every((value, axis) => value === this.cursor[axis])) return;
      // whoever set it last wins, also over a move that Python has not been told of yet
      clearTimeout(this.telling);
      this.telling = 0;
      this.cursor = [x, y, z];
      this.refresh();
    };
    for (const trait of LOOK_TRAITS) this.model.on(`change:${trait}`, onLook);
    this.model.on("change:cursor_mm", onCursor);
    const onFrame = () => this.serial && this.takeFrame();
    this.model.on("change:frame", onFrame);
    this.undo.push(() => this.model.off("change:frame", onFrame));
    const onMessage = (/** @type {any} */ message) => {
      if (message.serial !== this.serial) return;
      // where all is in view, it stays in its place
      if (message.kind === "centre" && this.frame.zoom > 1) this.centreHere();
      if (message.kind === "reveal") bringIntoView(this.stage);
    };
    this.model.on("msg:custom", onMessage);
    this.undo.push(() => this.model.off("msg:custom", onMessage));
    this.undo.push(() => {
      for (const trait of LOOK_TRAITS) this.model.off(`change:${trait}`, onLook);
      this.model.off("change:cursor_mm", onCursor);
    });
    const observer = new ResizeObserver(() => this.refresh());
    observer.observe(this.root);
    this.undo.push(() => observer.disconnect());
    const onResize = () => this.refresh();
    window.addEventListener("resize", onResize);
    this.undo.push(() => window.removeEventListener("resize", onResize));
  }

  dispose() {
    cancelAnimationFrame(this.due);
    clearTimeout(this.telling);
    this.frame.stop();
    this.words.forget();
    for (const step of this.undo.splice(0)) step();
    this.artist.leave();
    this.unwatch();
    this.scene?.dispose();
    this.scene = null;
    this.root.remove();
  }

  // ---- data ----

  /** Take the case over once there is enough of it to draw, and its whole images when they are here; say how far it is until then. */
  load() {
    const load = this.store.load;
    if (!load) return this.say("No patient is open.");
    const per_cent = `${Math.round((100 * load.received) / load.total)} %`;
    if (!load.begun) {
      if (this.serial) this.forget();
      this.chrome.patient.textContent = load.info.patient;
      this.chrome.patient.title = load.info.notes.join("\n");
      this.say(`Loading ${per_cent}`);
      this.warmUp(load.info);
      return;
    }
    if (!this.scene) return;
    if (this.serial === load.info.serial) return this.refine(load, per_cent);
    const tooLarge = Math.max(...Object.values(load.info.volumes).flatMap((volume) => volume.lattice.shape));
    if (tooLarge > this.scene.maxSize) {
      return this.fallBack(`a volume has ${tooLarge} voxels along one axis and this GPU takes ${this.scene.maxSize}`);
    }
    const volumes = drawable(load);
    this.scene.retain(volumes.map(([name]) => name));
    for (const volume of volumes) this.scene.upload(...volume);
    this.serial = load.info.serial;
    this.casting.forget();
    this.cursor = /** @type {Vec3} */ ([...this.model.get("cursor_mm")]);
    this.takeFrame();
    this.say("");
    this.markCoarse(load, per_cent);
    this.chrome.patient.textContent = load.info.patient;
    this.chrome.patient.title = load.info.notes.join("\n");
    showPet(this.chrome, load.info.pet);
    fillLegend(this.chrome.legend, load.info.readers, (name) => this.toggleReader(name));
    this.chrome.legend.append(this.chrome.dial);
    this.artist.open();
    // at once: what the next frame waits for, the GPU has before it
    this.paint();
  }

  /** Put whole images in the place of coarse ones when they are here. @param {import("./front/store.js").Load} load @param {string} per_cent */
  refine(load, per_cent) {
    if (!this.coarse) return;
    this.markCoarse(load, per_cent);
    if (this.coarse || !this.scene) return;
    // pictures from Python were whole before
    if (this.scene instanceof Scene) {
      for (const volume of drawable(load)) if (["ct", "pet"].includes(volume[0])) this.scene.upload(...volume);
    }
    this.casting.forget();
    this.panels.stale();
    this.refresh();
  }

  /** Say of coarse images that they are. @param {import("./front/store.js").Load} load @param {string} per_cent */
  markCoarse(load, per_cent) {
    this.coarse = !load.ready;
    this.chrome.coarse.hidden = !this.coarse;
    this.chrome.coarse.textContent = this.coarse ? `Coarse until all is here: ${per_cent}` : "";
    if (this.coarse) this.root.dataset.coarse = "true";
    else delete this.root.dataset.coarse;
  }

  /** Have the GPU make its programs while the first case is on its way. @param {import("./front/store.js").CaseInfo} info */
  warmUp(info) {
    if (this.warm || !(this.scene instanceof Scene)) return;
    this.warm = true;
    try {
      this.scene.warmUp(info, this.look, planOf(this.wish, info));
    } catch (error) {
      this.fallBack(/** @type {Error} */ (error).message);
    }
  }

  /** Leave nothing on the page of the case before. */
  forget() {
    clearTimeout(this.telling);
    this.telling = 0;
    this.frame.stop();
    this.words.forget();
    this.serial = 0;
    this.panels.forget();
    delete this.root.dataset.drawn;
    delete this.root.dataset.coarse;
    this.chrome.coarse.hidden = true;
    this.chrome.legend.replaceChildren();
    this.modebar.clear();
    this.artist.close();
    this.chrome.origin.hidden = true;
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

  /** Tell Python what belongs to this case, with its number: Python drops what comes late. @param {"cursor_mm" | "visible" | "pair" | "counts_range" | "frame"} name @param {any} value */
  tell(name, value) {
    this.model.set(name, value);
    this.model.set(`told_${name}`, { serial: this.serial, value });
    this.model.save_changes();
  }

  /** Set one end of the range that the PET's colours span, in the unit of the case. @param {0 | 1} end @param {number} value */
  setPetRange(end, value) {
    if (this.info?.pet.unit !== "counts") return this.set({ [end ? "suv_max" : "suv_min"]: value });
    this.tell("counts_range", movedRange(this.model.get("counts_range"), end, value));
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

  toggleExact() {
    this.set({ exact: !this.model.get("exact") });
  }

  /** Move level and width of the CT window, HU. @param {number} byLevel @param {number} byWidth */
  changeWindow(byLevel, byWidth) {
    const [level, width] = [this.model.get("level") + byLevel, this.model.get("width") + byWidth];
    this.set({ level: Math.round(level), width: Math.max(1, Math.round(width)) });
  }

  /** The plan of what to draw of the readers, once a case is here. */
  get plan() {
    return this.info ? planOf(this.wish, this.info) : null;
  }

  get wish() {
    const get = (/** @type {string} */ name) => this.model.get(name);
    return { view: get("view"), pair: get("pair"), visible: get("visible"), heat: get("heat"), filled: get("filled"), thresholds: get("thresholds") };
  }

  /** Who is drawn, once a case is here. */
  get cast() {
    return this.casting.of(/** @type {import("./front/store.js").Load} */ (this.store.load), this.wish, this.model.get("dial"), this.scene);
  }

  /** What each panel shows of the patient, where it is drawn. */
  get views() {
    return this.panels.views;
  }

  /** How the images are shown. @returns {import("./front/scene.js").Look} */
  get look() {
    const get = (/** @type {string} */ name) => this.model.get(name);
    const [suvMin, suvMax] = rangeOf(this.info?.pet, [get("suv_min"), get("suv_max")], get("counts_range"));
    return {
      level: get("level"), width: get("width"), suvMin, suvMax, petScale: this.info?.pet.scale ?? 1, opacity: get("opacity"),
      mode: get("mode"), colourMap: get("colour_map"), exact: get("exact"),
    };
  }

  nextView() {
    if (this.info && this.plan) this.set({ view: nextView(this.plan.view, this.info.readers) });
  }

  /** Count all readers, or show a pair again; from another view go to the heat. */
  toggleHeat() {
    const here = this.model.get("view") === "disagreement";
    this.set({ view: "disagreement", heat: !here || !this.model.get("heat") });
  }

  /** @param {0 | 1} place @param {string} name */
  choose(place, name) {
    const pair = this.plan?.pair;
    if (pair) this.tell("pair", chosenPair(pair, place, name));
    this.refresh();
  }

  /** @param {string} name */
  toggleReader(name) {
    if (this.plan?.view !== "readers") return;
    const shown = /** @type {string[]} */ (this.model.get("visible"));
    const names = this.info?.readers.map((reader) => reader.name) ?? [];
    this.tell("visible", names.filter((other) => shown.includes(other) !== (other === name)));
  }

  reset() {
    if (!this.lattice) return;
    this.frame.centreAt(middleMm(this.lattice), 1);
    if (this.info?.pet.range) this.tell("counts_range", [...this.info.pet.range]);
    this.set({ ...this.model.get("defaults"), alone: "" });
  }

  /** Save the slices as drawn as a picture: by the browser, from this page's memory. */
  keep() {
    if (!this.lattice || this.coarse || this.serial !== this.info?.serial) return;
    const { held, plan, thresholds } = this.cast;
    const key = keyOf(plan, held.info, thresholds);
    snapshot({ ...this.panels.layers, key, words: wordsOf(plan, held.info, this.look) }).toBlob((picture) => {
      const address = URL.createObjectURL(/** @type {Blob} */ (picture));
      el("a", { href: address, download: "slices.png" }).click();
      // the browser reads it in its own time
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }, "image/png");
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
    if (this.telling) return;
    const wait = Math.max(0, this.toldAt + TELL_EVERY_MS - performance.now());
    this.telling = window.setTimeout(() => {
      this.telling = 0;
      this.toldAt = performance.now();
      this.tell("cursor_mm", [...this.cursor]);
    }, wait);
  }

  /** @param {number} factor @param {PlaneName} plane @param {number} x @param {number} y */
  zoomBy(factor, plane, x, y) {
    const view = this.views[plane];
    if (!view || plane === "mip") return;
    this.frame.zoomBy(factor, plane, view, x, y);
    this.refresh();
  }

  /** Put the crosshair under a pixel; in the projection, at the depth of the highest uptake there. @param {PlaneName} plane @param {number} x @param {number} y */
  pointAt(plane, x, y) {
    const view = this.views[plane];
    if (!view) return;
    const mm = toMm(plane, view, x, y, this.cursor);
    if (plane === "mip") mm[1] = hottestDepth(/** @type {any} */ (this.store.load), mm);
    this.moveCursor(mm);
  }

  /** @param {number} x @param {number} y */
  panel(x, y) {
    return this.panels.panel(x, y);
  }

  /** Move the views by pixels of one plane. @param {PlaneName} plane @param {number} dx @param {number} dy */
  panBy(plane, dx, dy) {
    const view = this.views[plane];
    if (!view || plane === "mip") return;
    this.frame.panBy(plane, view, dx, dy);
    this.refresh();
  }

  /** Take zoom and middle over from Python. */
  takeFrame() {
    this.frame.take(this.model.get("frame"), middleMm(/** @type {Lattice} */ (this.lattice)));
    this.refresh();
  }

  /** Centre all planes at the crosshair. */
  centreHere() {
    this.frame.centreAt(this.cursor);
    this.refresh();
  }

  /** The plane under the pointer alone, or all four. */
  toggleAlone() {
    this.set({ alone: this.alone ? "" : this.pointed });
  }

  // ---- drawing ----

  /** Draw at the next animation frame, once, however often it is asked for. */
  refresh() {
    if (this.due) return;
    this.due = requestAnimationFrame(() => {
      this.due = 0;
      this.paint();
    });
  }

  paint() {
    const { lattice, scene, info: own } = this; // own: without the dial
    if (!own || !lattice || !scene || !this.stage.clientWidth || this.serial !== own.serial) return;
    const { cast, look } = this;
    const { serial, cursor, frame, alone, artist } = this;
    try {
      this.panels.draw({ ...cast, serial, lattice, cursor, frame, alone, look, dial: this.model.get("dial"), revisions: artist.revisions }, scene);
    } catch (error) {
      // the program of contours is made when it is first needed
      if (scene instanceof Scene) return this.fallBack(/** @type {Error} */ (error).message);
      throw error;
    }
    artist.ring(this.panels.pen);
    this.root.dataset.drawn = String(serial);
    const at = /** @type {Vec3} */ ([...cursor]);
    this.words.later(() => {
      this.words.fill({ ...cast, look, cursor: at, presets: this.presets(), pet: own.pet });
      this.modebar.show(cast.plan, own, cast.thresholds, look.colourMap);
    });
  }
}

export default {
  /** @param {{model: any, el: HTMLElement}} context */
  render(context) {
    let view = /** @type {SliceView | null} */ (new SliceView(context.model, context.el));
    // who keeps the function, as JupyterLab does for a closed widget, does not keep the view
    return () => {
      view?.dispose();
      view = null;
    };
  },
};
