/** Draws slices without WebGL2: pictures made in Python, asked for one at a time, stale ones dropped. */

import { PLANES, extentMm, middleMm, toScreen } from "./geometry.js";
import { colourTable, halfToNumber } from "./window.js";

/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {import("./geometry.js").Lattice} Lattice */

/**
 * Which request to send next: the latest wish of each plane, one request on its way at a time.
 * Pure but for its own memory, so that it can be tested without a page.
 */
export class Wishes {
  constructor() {
    /** @type {Map<string, {key: string, request: any}>} */
    this.waiting = new Map();
    /** @type {{plane: string, key: string} | null} */
    this.sent = null;
    /** @type {Map<string, string>} */
    this.shown = new Map();
  }

  /** @param {string} plane @param {string} key @param {any} request */
  want(plane, key, request) {
    if (this.shown.get(plane) === key) this.waiting.delete(plane);
    else if (this.sent?.plane !== plane || this.sent.key !== key) this.waiting.set(plane, { key, request });
    else this.waiting.delete(plane);
  }

  /** The request to send now, or null. */
  next() {
    const first = this.sent ? undefined : this.waiting.entries().next().value;
    if (!first) return null;
    const [plane, { key, request }] = first;
    this.waiting.delete(plane);
    this.sent = { plane, key };
    return { ...request, plane, key };
  }

  /** Take an answer; false where it is not the one awaited. @param {string} plane @param {string} key */
  answered(plane, key) {
    if (this.sent?.plane !== plane || this.sent.key !== key) return false;
    this.sent = null;
    this.shown.set(plane, key);
    return true;
  }
}

export class Pictures {
  /** @param {HTMLCanvasElement} canvas @param {any} model @param {() => void} onChange called when a picture is here, or cannot be had */
  constructor(canvas, model, onChange) {
    this.canvas = canvas;
    this.model = model;
    this.onChange = onChange;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.maxSize = Infinity;
    this.wishes = new Wishes();
    /** @type {Map<string, CanvasImageSource>} */
    this.ready = new Map();
    /** Why there is no picture, by plane. @type {Map<string, string>} */
    this.failed = new Map();
    /** @type {Map<string, {lattice: Lattice, bytes: Uint8Array}>} */
    this.volumes = new Map();
    this.mipLook = "";
    this.onMessage = (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => void this.receive(message, buffers);
    model.on("msg:custom", this.onMessage);
  }

  /** @param {string} name @param {Uint8Array} bytes @param {{lattice: Lattice, made?: boolean}} info */
  upload(name, bytes, { lattice, made }) {
    // what the page has made, Python makes for itself
    if (made) return;
    this.volumes.set(name, { lattice, bytes });
    this.wishes = new Wishes();
    this.ready.clear();
    this.failed.clear();
    this.mipLook = "";
  }

  /** A part of the bits has changed: Python, which has drawn it too, is asked anew at the next draw. */
  update() {}

  /** @param {string} name */
  free(name) {
    this.volumes.delete(name);
  }

  /** Forget the volumes of a case before. @param {string[]} names */
  retain(names) {
    for (const name of [...this.volumes.keys()]) if (!names.includes(name)) this.volumes.delete(name);
  }

  /** @param {any} message @param {DataView[]} buffers */
  async receive(message, buffers) {
    const wishes = this.wishes;
    if (message.kind !== "picture" || !wishes.answered(message.plane, message.key)) return;
    try {
      if (message.failed) throw new Error(message.failed);
      const blob = new Blob([/** @type {any} */ (buffers[0])], { type: "image/png" });
      const picture = await createImageBitmap(blob);
      if (wishes !== this.wishes) return;
      this.ready.set(message.plane, picture);
      this.failed.delete(message.plane);
    } catch (error) {
      if (wishes !== this.wishes) return;
      // the picture shown so far is of an earlier wish: rather none than a wrong slice
      this.ready.delete(message.plane);
      this.failed.set(message.plane, `No ${message.plane} slice: ${/** @type {Error} */ (error).message}.`);
    }
    this.onChange();
    this.send();
  }

  send() {
    const request = this.wishes.next();
    if (request) this.model.send({ kind: "picture", ...request });
  }

  clear() {
    this.pen.fillStyle = "#262b30";
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * Draw what is there of one plane and ask for what is not; the arguments are those of Scene.draw.
   *
   * @param {PlaneName} plane
   * @param {View} view
   * @param {Vec3} sliceMm
   * @param {import("./scene.js").Look} look
   * @param {import("./scene.js").Shown} shown
   * @param {number} ratio
   */
  draw(plane, view, sliceMm, look, shown, ratio) {
    const { pen } = this;
    const { box } = view;
    const lattice = /** @type {{lattice: Lattice}} */ (this.volumes.get("ct")).lattice;
    if (plane === "mip") this.drawProjection(look);
    else {
      const { dial, fill, thresholds, revision } = shown;
      const lines = shown.lines.filter((line) => line.visible);
      const serial = this.model.get("case_info").serial;
      const request = { serial, position_mm: sliceMm, mm_per_pixel: Math.max(0.25, 1 / (view.pxPerMm * ratio)), look, lines, fill, thresholds, dial };
      const key = JSON.stringify([serial, sliceMm[PLANES[plane].normal], look, lines, fill, thresholds, dial, request.mm_per_pixel, revision]);
      this.wishes.want(plane, key, request);
      this.send();
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.save();
    pen.beginPath();
    pen.rect(box.x, box.y, box.width, box.height);
    pen.clip();
    pen.fillStyle = "#06070a";
    pen.fillRect(box.x, box.y, box.width, box.height);
    const picture = this.ready.get(plane);
    if (picture) {
      const { across, up } = PLANES[plane];
      const [extent, middle] = [extentMm(lattice), middleMm(lattice)];
      const [x, y] = toScreen(plane, view, middle);
      const [width, height] = [extent[across] * view.pxPerMm, extent[up] * view.pxPerMm];
      pen.drawImage(picture, x - width / 2, y - height / 2, width, height);
    }
    pen.restore();
  }

  /** @param {import("./scene.js").Look} look */
  drawProjection({ suvMin, suvMax, petScale, colourMap }) {
    const key = JSON.stringify([suvMin, suvMax, petScale, colourMap]);
    if (this.mipLook === key) return;
    this.mipLook = key;
    const { lattice, bytes } = /** @type {{lattice: Lattice, bytes: Uint8Array}} */ (this.volumes.get("mip"));
    const [width, , height] = lattice.shape;
    const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
    const table = colourTable(colourMap);
    const image = new ImageData(width, height);
    for (let x = 0; x < width; x++) {
      for (let z = 0; z < height; z++) {
        const level = (petScale * halfToNumber(values[x * height + z]) - suvMin) / (suvMax - suvMin);
        const at = 4 * Math.round(255 * Math.min(1, Math.max(0, level)));
        image.data.set(table.subarray(at, at + 4), 4 * ((height - 1 - z) * width + (width - 1 - x)));
      }
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(image, 0, 0);
    this.ready.set("mip", canvas);
  }

  dispose() {
    this.model.off("msg:custom", this.onMessage);
    this.ready.clear();
    this.volumes.clear();
  }
}
