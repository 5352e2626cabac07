/** What lies under the crosshair: HU, SUV or counts, and the readers who mark it, nearest voxel. */

import { swatch, el } from "./chrome.js";
import { centreOf, describePosition, flatIndex, isInside, voxelAt } from "./geometry.js";
import { leastByte, thresholdOf } from "./modes.js";
import { petText } from "./pet.js";
import { sourceOf } from "./store.js";
import { halfToNumber } from "./window.js";

/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./blend.js").Held} Load */
/** @typedef {{position: string, hu: string, unit: string, suv: string, yes: import("./modes.js").Reader[], probabilities: [string, string][]}} Found */

const NONE = "\u2013";

/** @param {Uint8Array} bytes */
function halves(bytes) {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

/** @param {Load} load @param {string} name @param {Vec3} mm @returns {number | null} */
function halfAt(load, name, mm) {
  const { lattice } = load.info.volumes[name];
  if (!isInside(lattice, mm)) return null;
  return halfToNumber(halves(load.arrays[name])[flatIndex(lattice, voxelAt(lattice, mm))]);
}

/** The byte of a volume, 0 beyond it. @param {Load} load @param {string} name @param {Vec3} mm */
function byteAt(load, name, mm) {
  const { lattice } = load.info.volumes[name];
  return isInside(lattice, mm) ? load.arrays[name][flatIndex(lattice, voxelAt(lattice, mm))] : 0;
}

/** @param {Load} load @param {Vec3} mm @param {Record<string, number>} thresholds of the models @returns {Found} */
export function valuesAt(load, mm, thresholds) {
  // of coarse images no value is told
  const [hu, suv] = ["ct", "pet"].map((name) => (sourceOf(load, name) === name ? halfAt(load, name, mm) : null));
  const bits = byteAt(load, "bits", mm);
  const probabilities = new Map();
  for (const { name, probability } of load.info.readers) {
    if (probability) probabilities.set(name, byteAt(load, probability.volume, mm));
  }
  const says = (/** @type {string} */ name, /** @type {number} */ place) =>
    probabilities.has(name) ? probabilities.get(name) >= leastByte(thresholdOf(thresholds, name)) : (bits >> place) & 1;
  return {
    position: describePosition(mm),
    hu: hu === null ? NONE : String(Math.round(hu)),
    unit: load.info.pet.unit,
    suv: suv === null ? NONE : petText(suv, load.info.pet),
    yes: load.info.readers.filter(({ name }, i) => says(name, i)),
    probabilities: [...probabilities].map(([name, byte]) => [name, (byte / 255).toFixed(2)]),
  };
}

/** The y of the highest uptake along the line of sight of the projection. @param {Load} load @param {Vec3} mm */
export function hottestDepth(load, mm) {
  const name = sourceOf(load, "pet");
  const { lattice } = load.info.volumes[name];
  const values = halves(load.arrays[name]);
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

/** @param {Record<string, HTMLElement>} cells @param {Found} found */
export function fillReadout(cells, found) {
  cells.position.textContent = found.position;
  cells.hu.textContent = found.hu;
  cells.suv.textContent = found.suv;
  const marks = found.yes.map((reader) => el("span", { class: "bv-mark" }, swatch(reader), reader.name));
  cells.yes.replaceChildren(...(marks.length ? marks : ["nobody"]));
  cells.probability.textContent = found.probabilities.map(([name, value]) => `${name} ${value}`).join("   ") || NONE;
  /** @type {HTMLElement} */ (cells.probability.parentElement).hidden = !found.probabilities.length;
}

/** Say nothing, while a case is on its way. @param {Record<string, HTMLElement>} cells */
export function clearReadout(cells) {
  for (const cell of Object.values(cells)) cell.textContent = NONE;
}

/** The same as a sentence. @param {Found} found */
export function inWords({ position, hu, unit, suv, yes, probabilities }) {
  const names = yes.map((reader) => reader.name).join(", ") || "nobody";
  const likely = probabilities.map(([name, value]) => `, probability of ${name} ${value}`).join("");
  const uptake = unit === "SUVbw" ? `SUV ${suv}` : `${suv} ${unit}`;
  return `${position} mm, ${hu} HU, ${uptake}, marked by ${names}${likely}`;
}
