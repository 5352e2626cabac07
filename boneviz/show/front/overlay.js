/** Draws over the slices: the crosshair on a layer of its own, letters and bars on another that seldom changes. */

import { PLANES, PLANE_NAMES, barHeight, roundLength, toScreen, voxelAt } from "./geometry.js";
import { colourTable, ticks } from "./window.js";

/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {import("./geometry.js").Box} Box */

const INK = "rgba(236, 240, 244, 0.92)";
const FAINT = "rgba(236, 240, 244, 0.62)";
const SHADE = "rgba(0, 0, 0, 0.75)";

/** Draw something anew in each panel that is seen, and nowhere beyond it. @param {CanvasRenderingContext2D} pen @param {number} ratio @param {Partial<Record<PlaneName, View>>} views @param {(plane: PlaneName, view: View) => void} draw */
function inPanels(pen, ratio, views, draw) {
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, pen.canvas.width / ratio, pen.canvas.height / ratio);
  for (const plane of PLANE_NAMES) {
    const view = views[plane];
    if (!view) continue;
    pen.save();
    pen.beginPath();
    pen.rect(view.box.x, view.box.y, view.box.width, view.box.height);
    pen.clip();
    draw(plane, view);
    pen.restore();
  }
}

/** What moves with the cursor. @param {CanvasRenderingContext2D} pen @param {number} ratio @param {Partial<Record<PlaneName, View>>} views @param {Vec3} cursor @param {Lattice} lattice */
export function drawCrosshair(pen, ratio, views, cursor, lattice) {
  inPanels(pen, ratio, views, (plane, view) => {
    crosshair(pen, plane, view, cursor, ratio);
    if (plane !== "mip") sliceBar(pen, view.box, voxelAt(lattice, cursor)[PLANES[plane].normal], lattice.shape[PLANES[plane].normal]);
  });
}

/**
 * Letters of orientation, scale bars and the bar of colours.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {number} ratio
 * @param {Partial<Record<PlaneName, View>>} views
 * @param {{suvMin: number, suvMax: number, colourMap: string, unit: string, barIn: PlaneName | null}} look
 */
export function drawLettering(pen, ratio, views, look) {
  inPanels(pen, ratio, views, (plane, view) => {
    letters(pen, plane, view.box);
    scaleBar(pen, view);
    if (look.barIn === plane) colourBar(pen, view.box, look);
  });
}

/** @param {CanvasRenderingContext2D} pen @param {PlaneName} plane @param {View} view @param {Vec3} cursor @param {number} ratio */
function crosshair(pen, plane, view, cursor, ratio) {
  const snap = (/** @type {number} */ v) => (Math.round(v * ratio - 0.5) + 0.5) / ratio;
  const [x, y] = toScreen(plane, view, cursor).map(snap);
  const { box } = view;
  const gap = 11;
  pen.beginPath();
  pen.moveTo(box.x, y);
  pen.lineTo(x - gap, y);
  pen.moveTo(x + gap, y);
  pen.lineTo(box.x + box.width, y);
  pen.moveTo(x, box.y);
  pen.lineTo(x, y - gap);
  pen.moveTo(x, y + gap);
  pen.lineTo(x, box.y + box.height);
  pen.strokeStyle = "rgba(0, 0, 0, 0.35)";
  pen.lineWidth = 3;
  pen.stroke();
  pen.strokeStyle = "rgba(150, 235, 190, 0.60)";
  pen.lineWidth = 1;
  pen.stroke();
}

/** Where among its slices a plane is. @param {CanvasRenderingContext2D} pen @param {Box} box @param {number} index @param {number} count */
function sliceBar(pen, box, index, count) {
  const x = box.x + box.width - 5;
  const [low, high] = [barHeight(box, 0, count), barHeight(box, count - 1, count)];
  pen.lineCap = "round";
  pen.lineWidth = 3;
  pen.strokeStyle = "rgba(236, 240, 244, 0.16)";
  pen.beginPath();
  pen.moveTo(x, low);
  pen.lineTo(x, high);
  pen.stroke();
  const at = barHeight(box, index, count);
  pen.lineWidth = 5;
  pen.strokeStyle = INK;
  pen.beginPath();
  pen.moveTo(x, at - 6);
  pen.lineTo(x, at + 6);
  pen.stroke();
  pen.lineCap = "butt";
}

/** @param {CanvasRenderingContext2D} pen @param {string} text @param {number} x @param {number} y @param {string} ink */
function print(pen, text, x, y, ink = INK) {
  pen.strokeStyle = SHADE;
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeText(text, x, y);
  pen.fillStyle = ink;
  pen.fillText(text, x, y);
}

/** @param {CanvasRenderingContext2D} pen @param {PlaneName} plane @param {Box} box */
function letters(pen, plane, box) {
  const { left, right, top, bottom } = PLANES[plane];
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const [mx, my] = [box.x + box.width / 2, box.y + box.height / 2];
  print(pen, left, box.x + 10, my);
  print(pen, right, box.x + box.width - 18, my);
  // in a narrow panel below the caption
  print(pen, top, mx, box.y + (box.width < 440 ? 32 : 11));
  print(pen, bottom, mx, box.y + box.height - 11);
}

/** @param {CanvasRenderingContext2D} pen @param {View} view */
function scaleBar(pen, view) {
  const { box, pxPerMm } = view;
  const mm = roundLength(Math.min(100, (box.width * 0.3) / pxPerMm));
  const length = mm * pxPerMm;
  const [x, y] = [box.x + 12, box.y + box.height - 12];
  pen.beginPath();
  pen.moveTo(x, y - 5);
  pen.lineTo(x, y);
  pen.lineTo(x + length, y);
  pen.lineTo(x + length, y - 5);
  pen.strokeStyle = SHADE;
  pen.lineWidth = 4;
  pen.stroke();
  pen.strokeStyle = INK;
  pen.lineWidth = 1.5;
  pen.stroke();
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "bottom";
  print(pen, mm >= 10 && mm % 10 === 0 ? `${mm / 10} cm` : `${mm} mm`, x + 4, y - 4);
}

/** @param {CanvasRenderingContext2D} pen @param {Box} box @param {{suvMin: number, suvMax: number, colourMap: string, unit: string}} look */
function colourBar(pen, box, { suvMin, suvMax, colourMap, unit }) {
  const height = Math.min(180, box.height * 0.6);
  const width = 10;
  const x = box.x + box.width - 30 - width;
  const y = box.y + (box.height - height) / 2;
  const table = colourTable(colourMap);
  for (let i = 0; i < height; i++) {
    const at = 4 * Math.round((1 - i / (height - 1)) * 255);
    pen.fillStyle = `rgb(${table[at]}, ${table[at + 1]}, ${table[at + 2]})`;
    pen.fillRect(x, y + i, width, 1.5);
  }
  pen.strokeStyle = FAINT;
  pen.lineWidth = 1;
  pen.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  const marks = ticks(suvMin, suvMax, 4).map((value) => ({
    value, at: y + height * (1 - (value - suvMin) / (suvMax - suvMin)),
  }));
  pen.beginPath();
  for (const { at } of marks) {
    pen.moveTo(x - 4, at);
    pen.lineTo(x, at);
  }
  pen.stroke();
  for (const { value, at } of marks) print(pen, String(value), x - 7, at);
  pen.textAlign = "center";
  print(pen, unit, x + width / 2, y - 15);
}
