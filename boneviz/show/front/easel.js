/**
 * One drawing in this page and in Python: strokes are drawn here at once and told after; fill, undo
 * and redo are asked for. Shared by all views of a widget, so that an answer is taken once.
 */

import { Sheet, joined, underBall } from "./draw.js";

/** @typedef {import("./draw.js").Span} Span */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {{erase: boolean, radius: number, across: number | null, points: Vec3[]}} Stroke */
/** @typedef {{kind: "drawn", serial: number, page: string, number: number, voxels: number, check: number, whole: boolean, undo: boolean, redo: boolean, problem: string}} Answer */

export class Easel {
  /** @param {any} model @param {import("./store.js").Load} load */
  constructor(model, load) {
    const { bits } = load.info.volumes;
    this.model = model;
    this.load = load;
    this.sheet = new Sheet(bits.lattice, load.arrays.bits, load.arrays.mip_bits, load.info.readers.findIndex(({ name }) => name === load.info.draws), load.info.box);
    /** Steps are numbered in each page by itself. */
    this.page = Math.random().toString(36).slice(2);
    this.sent = 0;
    this.heard = 0;
    this.asked = 0;
    this.stroke = /** @type {Stroke | null} */ (null);
    this.can = { undo: false, redo: false };
    this.problem = "";
    /** @type {Set<(span: Span | null) => void>} */
    this.listeners = new Set();
    // the pieces may be older than the drawing, as after a page was loaded anew
    this.ask({ what: "whole" });
  }

  /** Whether an answer is awaited before anything else may be drawn. */
  get waits() {
    return this.asked > this.heard;
  }

  /** @param {Span | null} span what has changed */
  tell(span) {
    if (span) this.load.info = { ...this.load.info, box: this.sheet.span };
    for (const listener of [...this.listeners]) listener(span);
  }

  /** @param {Record<string, any>} step */
  send(step) {
    this.sent += 1;
    this.model.send({ kind: "draw", serial: this.load.info.serial, page: this.page, number: this.sent, ...step });
  }

  /** Ask Python for a step that it alone can make. @param {Record<string, any>} step */
  ask(step) {
    if (this.waits || this.stroke) return;
    this.problem = "";
    this.send(step);
    this.asked = this.sent;
    this.tell(null);
  }

  /** Begin a stroke. @param {boolean} erase @param {number} radius mm @param {number | null} across */
  begin(erase, radius, across) {
    if (this.waits) return;
    this.end(); // a second finger, or a key while the button is down: the stroke before counts
    this.problem = "";
    this.stroke = { erase, radius, across, points: [] };
  }

  /** Go on with the stroke, here at once. @param {Vec3[]} points mm */
  draw(points) {
    const stroke = this.stroke;
    if (!stroke) return;
    let span = /** @type {Span | null} */ (null);
    for (const point of points) {
      stroke.points.push(point);
      span = joined(span, this.sheet.set(underBall(this.sheet.lattice, point, stroke.radius, stroke.across), !stroke.erase));
    }
    if (span) this.can = { undo: true, redo: false };
    this.tell(span);
  }

  /** End the stroke and tell Python of it: one step to be undone. */
  end() {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke?.points.length) return;
    this.send({ what: stroke.erase ? "erase" : "brush", points_mm: stroke.points, radius_mm: stroke.radius, across: stroke.across });
  }

  /** Take Python's answer to a step, of this page or of another one. @param {Answer} answer @param {DataView[]} buffers */
  receive(answer, buffers) {
    if (answer.serial !== this.load.info.serial) return;
    let span = /** @type {Span | null} */ (null);
    if (answer.page === this.page) {
      this.heard = answer.number;
      if (answer.problem) this.problem = answer.problem;
      if (buffers.length) {
        const bytes = new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength);
        const positions = new Uint32Array(bytes.slice().buffer);
        span = answer.whole ? this.sheet.replace(positions) : this.sheet.toggle(positions);
      }
    }
    const upToDate = this.heard === this.sent && !this.stroke;
    if (upToDate) this.can = { undo: answer.undo, redo: answer.redo };
    this.tell(span);
    // what is committed is Python's drawing: this page must show that one and no other
    const same = answer.voxels === this.sheet.voxels && answer.check === this.sheet.check;
    if (upToDate && !same && !answer.whole) this.askAgain();
  }

  /** Take over Python's drawing as it is, keeping what is said. */
  askAgain() {
    const { problem } = this;
    this.ask({ what: "whole" });
    this.problem = problem;
  }

  /** @param {(span: Span | null) => void} listener @returns {() => void} */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }
}
