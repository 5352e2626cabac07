/** The slices as drawn, as one picture to keep: with captions and legend, without the patient's id. */

import { meanings } from "./modes.js";
import { NO_SUV } from "./pet.js";

/** @typedef {import("./modes.js").Info} Info */
/** @typedef {import("./modes.js").Meaning} Meaning */
/** @typedef {import("./modes.js").Plan} Plan */
/** @typedef {import("./scene.js").Look} Look */

const LINE_PX = 22;
const FONT = "12px system-ui, sans-serif";

/** What the colours of the picture mean. @param {Plan} plan @param {Info} info @param {Record<string, number>} thresholds @returns {Meaning[]} */
export function keyOf(plan, info, thresholds) {
  if (plan.view !== "readers") return meanings(plan, info, thresholds);
  return plan.lines.filter((line) => line.visible).map((line) => ({
    mark: line.dashed ? "dashes" : "line", colour: line.colour, text: line.name,
  }));
}

/** What is shown and how, in words. @param {Plan} plan @param {Info} info @param {Look} look */
export function wordsOf(plan, info, look) {
  const round = (/** @type {number} */ value) => String(Math.round(value * 100) / 100);
  const parts = [];
  if (plan.fill.kind === "heat") parts.push(`how many of ${info.readers.length} readers say yes`);
  if (plan.fill.kind === "wash") parts.push(`filled: probability of ${plan.fill.model}, 0 to 1`);
  if (look.mode !== "pet") parts.push(`CT L ${round(look.level)} W ${round(look.width)} HU`);
  if (look.mode !== "ct") parts.push(`PET ${round(look.suvMin)} to ${round(look.suvMax)} ${info.pet.unit}`);
  if (info.pet.unit !== "SUVbw") parts.push(NO_SUV);
  parts.push("not for diagnosis");
  return parts.join(", ");
}

/** Break parts into lines that fit. @param {number[]} widths @param {number} room @returns {number[][]} places of the parts of each line */
export function linesOf(widths, room) {
  /** @type {number[][]} */
  const lines = [];
  let used = Infinity;
  widths.forEach((width, place) => {
    if (used + width > room) {
      lines.push([]);
      used = 0;
    }
    lines[lines.length - 1].push(place);
    used += width;
  });
  return lines;
}

/**
 * @param {{image: HTMLCanvasElement, layers: HTMLCanvasElement[], ratio: number, captions: {text: string, x: number, y: number}[], key: Meaning[], words: string}} seen
 * @returns {HTMLCanvasElement}
 */
export function snapshot({ image, layers, ratio, captions, key, words }) {
  const canvas = document.createElement("canvas");
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const width = image.width / ratio;
  pen.font = FONT;
  const parts = [...key.map(({ text }) => 34 + pen.measureText(text).width + 18), pen.measureText(words).width];
  const lines = linesOf(parts, width - 20);
  canvas.width = image.width;
  canvas.height = image.height + Math.round((lines.length * LINE_PX + 8) * ratio);
  pen.fillStyle = "#101418";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0);
  for (const layer of layers) pen.drawImage(layer, 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = FONT;
  pen.textBaseline = "top";
  for (const { text, x, y } of captions) {
    pen.lineWidth = 3;
    pen.strokeStyle = "rgba(0, 0, 0, 0.8)";
    pen.strokeText(text, x, y);
    pen.fillStyle = "rgba(236, 240, 244, 0.92)";
    pen.fillText(text, x, y);
  }
  pen.textBaseline = "middle";
  lines.forEach((places, row) => {
    const y = image.height / ratio + 4 + (row + 0.5) * LINE_PX;
    let x = 10;
    for (const place of places) {
      if (place < key.length) drawSign(pen, key[place], x, y);
      pen.fillStyle = "#dfe5ea";
      pen.fillText(place < key.length ? key[place].text : words, place < key.length ? x + 34 : x, y);
      x += parts[place];
    }
  });
  return canvas;
}

/** The sign of a colour, 26 px wide. @param {CanvasRenderingContext2D} pen @param {Meaning} meaning @param {number} x @param {number} y */
function drawSign(pen, { mark, colour }, x, y) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y - 7, 26, 14);
  pen.clip();
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 3;
  pen.beginPath();
  if (mark === "flat") pen.fillRect(x, y - 7, 26, 14);
  else if (mark === "dots") {
    for (let at = x + 4; at < x + 26; at += 8) for (const up of [-4, 4]) pen.fillRect(at, y + up - 2, 4, 4);
  } else if (mark === "stripes" || mark === "counter") {
    const lean = mark === "stripes" ? 7 : -7;
    for (let at = x - 8; at < x + 34; at += 8) {
      pen.moveTo(at - lean, y + 7);
      pen.lineTo(at + lean, y - 7);
    }
  } else {
    if (mark === "dashes") pen.setLineDash([6, 3]);
    pen.moveTo(x, y);
    pen.lineTo(x + 26, y);
  }
  pen.stroke();
  pen.restore();
}
