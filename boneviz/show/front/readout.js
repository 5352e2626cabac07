/** What lies under the crosshair: HU, SUV and the readers who mark it, nearest voxel. */

import { swatch, el } from "./chrome.js";
import { centreOf, describePosition, flatIndex, isInside, voxelAt } from "./geometry.js";
import { halfToNumber } from "./window.js";

/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./store.js").Load} Load */
/** @typedef {{position: string, hu: string, suv: string, yes: import("./store.js").ReaderStyle[]}} Found */

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

/** @param {Load} load @param {Vec3} mm @returns {Found} */
export function valuesAt(load, mm) {
  const [hu, suv] = [halfAt(load, "ct", mm), halfAt(load, "pet", mm)];
  const { lattice } = load.info.volumes.bits;
  const bits = isInside(lattice, mm) ? load.arrays.bits[flatIndex(lattice, voxelAt(lattice, mm))] : 0;
  return {
    position: describePosition(mm),
    hu: hu === null ? NONE : String(Math.round(hu)),
    suv: suv === null ? NONE : suv.toFixed(2),
    yes: load.info.readers.filter((_, i) => (bits >> i) & 1),
  };
}

/** The y of the highest uptake along the line of sight of the projection. @param {Load} load @param {Vec3} mm */
export function hottestDepth(load, mm) {
  const { lattice } = load.info.volumes.pet;
  const values = halves(load.arrays.pet);
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
}

/** Say nothing, while a case is on its way. @param {Record<string, HTMLElement>} cells */
export function clearReadout(cells) {
  for (const cell of Object.values(cells)) cell.textContent = NONE;
}

/** The same as a sentence. @param {Found} found */
export function inWords({ position, hu, suv, yes }) {
  const names = yes.map((reader) => reader.name).join(", ") || "nobody";
  return `${position} mm, ${hu} HU, SUV ${suv}, marked by ${names}`;
}
