/** The four panels on the page: canvases, captions and letters, each drawn anew only where it is out of date. */

import { el } from "./chrome.js";
import { PLANES, PLANE_NAMES, arrange, centreOf, fitScale, middleMm, panelAt, sideOf, voxelAt } from "./geometry.js";
import { boxAt } from "./modes.js";
import { drawCrosshair, drawLettering } from "./overlay.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {import("./scene.js").Scene | import("./pictures.js").Pictures} AnyScene */
/** @typedef {{serial: number, lattice: Lattice, cursor: Vec3, frame: import("./frame.js").Frame, alone: PlaneName | null, look: import("./scene.js").Look, dial: object, revisions: Record<PlaneName, number>} & import("./cast.js").Cast} Seen what is on show */

export class Stage {
  /** @param {...HTMLElement} over what may lie over the slices */
  constructor(...over) {
    /** What a panel shows of the patient, once it is drawn. */
    this.views = /** @type {Partial<Record<PlaneName, View>>} */ ({});
    this.image = newImage();
    this.layer = el("canvas", { class: "bv-layer", "data-testid": "overlay", "aria-hidden": "true" });
    this.pen = this.layer.getContext("2d");
    this.lettering = el("canvas", { class: "bv-layer", "data-testid": "lettering", "aria-hidden": "true" });
    this.captions = Object.fromEntries(
      PLANE_NAMES.map((name) => [name, el("div", { class: "bv-caption", "data-testid": `caption-${name}` })]),
    );
    this.element = el(
      "div",
      {
        class: "bv-stage", tabindex: 0, role: "application", "data-testid": "stage",
        "aria-label": "Slices through the patient: axial, sagittal, coronal and PET projection. Press ? for keys.",
      },
      this.image, this.layer, this.lettering, ...Object.values(this.captions), ...over,
    );
    this.drawn = /** @type {Record<string, string>} */ ({});
    this.lettered = "";
    this.size = "";
  }

  /** Put a new canvas in the place of the one whose graphics are lost. @returns {HTMLCanvasElement} */
  replaceImage() {
    const canvas = newImage();
    this.image.replaceWith(canvas);
    this.image = canvas;
    this.size = "";
    return canvas;
  }

  /** Have every panel drawn anew. */
  stale() {
    this.drawn = {};
  }

  /** Leave nothing of a case. */
  forget() {
    this.views = {};
    for (const caption of Object.values(this.captions)) caption.textContent = "";
  }

  /** @param {number} x @param {number} y */
  panel(x, y) {
    const boxes = Object.fromEntries(Object.entries(this.views).map(([name, view]) => [name, view.box]));
    return panelAt(boxes, x, y);
  }

  /** Draw what is out of date; a scene that cannot raises. @param {Seen} seen @param {AnyScene} scene */
  draw(seen, scene) {
    const { serial, lattice, cursor, frame, alone, look, held, plan, thresholds, dial, revisions } = seen;
    const { info } = held;
    const width = this.element.clientWidth;
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    const { height, boxes } = arrange(width, lattice, alone, window.innerHeight);
    this.resize(width, height, ratio, JSON.stringify(boxes), scene);
    const shown = {
      lines: plan.lines, fill: plan.fill, readers: info.readers, thresholds, dial, box: boxAt(info.box, info.readers, thresholds),
      pairColours: info.pair_colours, heatColours: info.heat_colours,
    };
    const voxel = voxelAt(lattice, cursor);
    const sliceMm = centreOf(lattice, voxel);
    this.views = {};
    for (const plane of PLANE_NAMES) {
      const box = boxes[plane];
      this.captions[plane].hidden = !box;
      if (!box) continue;
      const flat = plane === "mip";
      const view = {
        box,
        centre: flat ? middleMm(lattice) : frame.centre,
        pxPerMm: fitScale(plane, lattice, box) * (flat ? 1 : frame.zoom),
      };
      this.views[plane] = view;
      const slice = flat ? 0 : voxel[PLANES[plane].normal];
      const revision = revisions[plane];
      const key = JSON.stringify([serial, slice, view, look, plan, thresholds, dial, ratio, revision]);
      if (this.drawn[plane] !== key) scene.draw(plane, view, sliceMm, look, { ...shown, revision }, ratio);
      this.drawn[plane] = key;
      this.caption(plane, box, sliceMm, slice, lattice.shape);
    }
    const bar = { suvMin: look.suvMin, suvMax: look.suvMax, colourMap: look.colourMap, unit: info.pet.unit, barIn: boxes.mip ? /** @type {PlaneName} */ ("mip") : alone };
    const lettered = JSON.stringify([this.views, bar]);
    if (this.lettered !== lettered) drawLettering(this.lettering.getContext("2d"), ratio, this.views, bar);
    this.lettered = lettered;
    drawCrosshair(this.pen, ratio, this.views, cursor, lattice);
  }

  /** What a picture of the stage is put together from. */
  get layers() {
    const captions = Object.entries(this.views).map(([name, { box }]) => (
      { text: this.captions[name].textContent ?? "", x: box.x + 8, y: box.y + 8 }
    ));
    return { image: this.image, layers: [this.layer, this.lettering], ratio: this.image.width / this.element.clientWidth, captions };
  }

  /** @param {number} width @param {number} height @param {number} ratio @param {string} boxes where the panels are: what lies between them is cleared @param {AnyScene} scene */
  resize(width, height, ratio, boxes, scene) {
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    const size = `${w} ${h} ${boxes}`;
    if (this.size === size) return;
    this.size = size;
    this.element.style.height = `${height}px`;
    this.stale();
    this.lettered = "";
    for (const canvas of [this.image, this.lettering, this.layer]) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    scene.clear();
  }

  /** @param {PlaneName} plane @param {Box} box @param {Vec3} sliceMm @param {number} slice @param {Vec3} shape */
  caption(plane, box, sliceMm, slice, shape) {
    const { title, normal } = PLANES[plane];
    const caption = this.captions[plane];
    const place = plane === "mip" ? "" : `  ${sideOf(normal, sliceMm[normal])} mm  ${slice + 1}/${shape[normal]}`;
    const text = title + place;
    if (caption.textContent !== text) caption.textContent = text;
    caption.style.transform = `translate(${box.x + 8}px, ${box.y + 6}px)`;
  }
}

function newImage() {
  return el("canvas", { class: "bv-image", "data-testid": "slices", "aria-hidden": "true" });
}
