/** Drawing on the slices: what pointer and keys do while a case may be drawn on. */

import { PLANES, PLANE_NAMES, centreOf, toMm, toScreen, voxelAt } from "./geometry.js";
import { between } from "./draw.js";
import { Easel } from "./easel.js";
import { FIRST, NO_FILL, TOOLS, buildDrawbar, nextRadius } from "./drawbar.js";

/** @typedef {import("../viewer.js").SliceView} SliceView */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */

export class Artist {
  /** @param {SliceView} view */
  constructor(view) {
    this.view = view;
    this.settings = { ...FIRST };
    this.easel = /** @type {Easel | null} */ (null);
    /** Counts, for each plane, how often the slice that it shows has changed. @type {Record<PlaneName, number>} */
    this.revisions = { axial: 0, sagittal: 0, coronal: 0, mip: 0 };
    this.hand = /** @type {{plane: PlaneName, at: Vec3} | null} */ (null);
    this.leave = () => {};
    this.drawbar = buildDrawbar({
      use: (settings) => this.use(settings),
      undo: () => this.easel?.ask({ what: "undo" }),
      redo: () => this.easel?.ask({ what: "redo" }),
    });
  }

  /** Whether the PET has SUV to fill by. */
  get hasSuv() {
    return this.view.info?.pet.unit !== "counts";
  }

  /** The tool in hand; without a drawing it is the crosshair. */
  get tool() {
    return this.easel ? this.settings.tool : "look";
  }

  /** Take up the drawing of the case that is shown, where there is one. */
  open() {
    const { view } = this;
    const load = /** @type {import("./store.js").Load} */ (view.store.load);
    this.close();
    if (!load.info.draws) return;
    const easel = (load.easel ??= new Easel(view.model, load));
    this.leave = easel.subscribe((span) => {
      this.renew(span);
      if (span) this.put(span);
      this.show();
      view.refresh();
    });
    this.easel = easel;
    // what was in hand for the case before
    if (this.settings.tool === "fill" && !this.hasSuv) this.settings.tool = "look";
    this.drawbar.bar.hidden = false;
    view.modebar.bar.hidden = true;
    view.root.dataset.draws = "true";
    // the program of contours is made before the first stroke needs it
    if (view.scene && "readingsOf" in view.scene) view.scene.readingsOf({ readers: 1, fill: "none", soft: false, exact: view.model.get("exact") });
    this.show();
  }

  close() {
    this.leave();
    this.leave = () => {};
    this.easel = null;
    this.hand = null;
    this.drawbar.bar.hidden = true;
    this.view.modebar.bar.hidden = false;
    delete this.view.root.dataset.draws;
  }

  /** Have those planes drawn anew whose slice goes through what has changed. @param {import("./draw.js").Span | null} span */
  renew(span) {
    const { cursor, lattice, scene } = this.view;
    // pictures from Python are of the drawing there, also where nothing has changed here
    const all = !scene || !("readingsOf" in scene);
    const slice = lattice ? voxelAt(lattice, cursor) : [0, 0, 0];
    for (const plane of PLANE_NAMES) {
      const { normal } = PLANES[plane];
      const through = span && (plane === "mip" || (span[0][normal] <= slice[normal] && slice[normal] <= span[1][normal]));
      if (all || through) this.revisions[plane] += 1;
    }
  }

  /** Bring what has changed onto the GPU. @param {import("./draw.js").Span} span */
  put([low, high]) {
    const { arrays } = /** @type {import("./store.js").Load} */ (this.view.store.load);
    this.view.scene?.update("bits", arrays.bits, low, high);
    this.view.scene?.update("mip_bits", arrays.mip_bits, [low[0], 0, low[2]], [high[0], 0, high[2]]);
  }

  /** @param {Partial<import("./drawbar.js").Settings>} settings */
  use(settings) {
    if (settings.tool === "fill" && !this.hasSuv) {
      if (this.easel) this.easel.problem = NO_FILL;
      return this.show();
    }
    this.settings = { ...this.settings, ...settings };
    this.show();
    this.view.refresh();
  }

  show() {
    const { easel } = this;
    if (easel) this.drawbar.show(this.settings, { ml: easel.sheet.ml, waits: easel.waits, problem: easel.problem, can: easel.can }, this.hasSuv);
  }

  /** The place under a pixel, on the slice that is seen. @param {PlaneName} plane @param {number} x @param {number} y */
  place(plane, x, y) {
    const { cursor, views } = this.view;
    const { normal } = PLANES[plane];
    const mm = toMm(plane, /** @type {any} */ (views[plane]), x, y, cursor);
    mm[normal] = this.onSlice()[normal];
    return mm;
  }

  /** The middle of the voxel under the crosshair. */
  onSlice() {
    const { cursor, lattice } = this.view;
    return centreOf(/** @type {any} */ (lattice), voxelAt(/** @type {any} */ (lattice), cursor));
  }

  /** Begin to draw, where a tool for it is in hand. @param {PlaneName} plane @param {number} x @param {number} y @returns {boolean} whether the pointer is taken */
  down(plane, x, y) {
    if (!this.easel || this.tool === "look" || plane === "mip") return false;
    if (this.tool === "fill") {
      this.view.pointAt(plane, x, y);
      this.fill();
      return true;
    }
    const at = this.place(plane, x, y);
    this.begin(plane);
    this.easel.draw([at]);
    this.hand = { plane, at };
    return true;
  }

  /** @param {PlaneName} plane */
  begin(plane) {
    const { radius, solid } = this.settings;
    this.easel?.begin(this.tool === "erase", radius, solid ? null : PLANES[plane].normal);
  }

  fill() {
    this.easel?.ask({ what: "fill", seed_mm: [...this.view.cursor], suv: this.settings.suv, within_mm: this.settings.within });
  }

  /** Follow the pointer: draw where a stroke has begun. @param {PlaneName | null} plane @param {number} x @param {number} y */
  move(plane, x, y) {
    const { easel, hand } = this;
    if (!easel) return;
    if (easel.stroke && hand) {
      const at = this.place(hand.plane, x, y);
      if (at.some((v, axis) => v !== hand.at[axis])) {
        const { spacing } = easel.sheet.lattice;
        easel.draw(between(hand.at, at, Math.max(this.settings.radius / 4, Math.min(...spacing) / 2)));
      }
      this.hand = { plane: hand.plane, at };
    } else {
      this.hand = plane && plane !== "mip" ? { plane, at: this.place(plane, x, y) } : null;
      if (this.tool !== "look") this.view.refresh();
    }
  }

  up() {
    this.easel?.end();
  }

  /** Draw at the crosshair, without a pointer. @param {PlaneName} plane */
  here(plane) {
    if (!this.easel) return;
    if (this.tool === "fill") return this.fill();
    this.begin(plane);
    this.easel.draw([this.onSlice()]);
    this.easel.end();
  }

  /** What a key does while a case may be drawn on. @param {string} key in lower case @param {boolean} onStage whether no button has the focus @returns {(() => void) | undefined} */
  actionOf(key, onStage) {
    if (!this.easel) return undefined;
    const { radius, solid } = this.settings;
    const tool = Object.entries(TOOLS).find(([, { key: its }]) => its === key);
    if (tool) return () => this.use({ tool: /** @type {any} */ (tool[0]) });
    if ((key === "enter" || key === " ") && onStage && this.tool !== "look") {
      const { pointed } = this.view;
      return () => this.here(pointed === "mip" ? "axial" : pointed);
    }
    /** @type {Record<string, () => void>} */
    const actions = {
      "[": () => this.use({ radius: nextRadius(radius, -1) }),
      "]": () => this.use({ radius: nextRadius(radius, 1) }),
      d: () => this.use({ solid: !solid }),
      z: () => this.easel?.ask({ what: "undo" }),
      y: () => this.easel?.ask({ what: "redo" }),
    };
    return actions[key];
  }

  /** Draw the edge of brush or eraser at the pointer; under a brush that draws its contour is seen. @param {CanvasRenderingContext2D} pen */
  ring(pen) {
    const { hand, tool } = this;
    const view = hand && this.view.views[hand.plane];
    const idle = tool === "brush" && !this.easel?.stroke;
    if (!hand || !view || !(idle || tool === "erase")) return;
    const [x, y] = toScreen(hand.plane, view, hand.at);
    pen.save();
    pen.beginPath();
    pen.rect(view.box.x, view.box.y, view.box.width, view.box.height);
    pen.clip();
    pen.beginPath();
    pen.arc(x, y, Math.max(1.5, this.settings.radius * view.pxPerMm), 0, 2 * Math.PI);
    pen.strokeStyle = "rgba(0, 0, 0, 0.6)";
    pen.lineWidth = 3;
    pen.stroke();
    pen.strokeStyle = "rgba(255, 255, 255, 0.9)";
    pen.lineWidth = 1;
    pen.setLineDash(tool === "erase" ? [4, 3] : []);
    pen.stroke();
    pen.restore();
  }
}
