/** Which part of a case the planes show: zoom and middle, told to Python once they rest. */

import { PLANES, clamp, zoomedCentre } from "./geometry.js";

/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {{zoom: number, centre_mm: Vec3}} FrameTrait */

const RESTS_MS = 150;
const ZOOM = { least: 0.5, most: 40 };

export class Frame {
  /** @param {(value: FrameTrait) => void} onRest */
  constructor(onRest) {
    this.onRest = onRest;
    this.zoom = 1;
    this.centre = /** @type {Vec3} */ ([0, 0, 0]);
    this.timer = 0;
  }

  /** Take over what Python says; where it says nothing, all is in view. @param {Partial<FrameTrait>} said @param {Vec3} middle of the case */
  take({ zoom, centre_mm: centre }, middle) {
    this.stop();
    this.zoom = zoom ?? 1;
    this.centre = /** @type {Vec3} */ ([...(centre ?? middle)]);
  }

  /** Zoom so that what is under a pixel stays there. @param {number} factor @param {PlaneName} plane @param {View} view @param {number} x @param {number} y */
  zoomBy(factor, plane, view, x, y) {
    const zoom = clamp(this.zoom * factor, ZOOM.least, ZOOM.most);
    this.centre = zoomedCentre(plane, view, x, y, zoom / this.zoom);
    this.zoom = zoom;
    this.tell();
  }

  /** Move by pixels of a plane. @param {PlaneName} plane @param {View} view @param {number} dx @param {number} dy */
  panBy(plane, view, dx, dy) {
    const { across, up } = PLANES[plane];
    this.centre = /** @type {Vec3} */ ([...this.centre]);
    this.centre[across] += dx / view.pxPerMm;
    this.centre[up] += dy / view.pxPerMm;
    this.tell();
  }

  /** @param {Vec3} mm @param {number} [zoom] */
  centreAt(mm, zoom = this.zoom) {
    this.centre = /** @type {Vec3} */ ([...mm]);
    this.zoom = zoom;
    this.tell();
  }

  tell() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.onRest({ zoom: this.zoom, centre_mm: [...this.centre] });
    }, RESTS_MS);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
  }
}
