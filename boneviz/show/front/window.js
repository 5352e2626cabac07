/** How numbers become brightness and colour: CT windows, PET colour maps, ticks, half floats. Pure. */

/** @typedef {{label: string, level: number, width: number}} WindowPreset */

/** CT windows, HU. @type {Record<string, WindowPreset>} */
export const WINDOWS = {
  bone: { label: "Bone", level: 400, width: 1800 },
  soft: { label: "Soft tissue", level: 40, width: 400 },
  lung: { label: "Lung", level: -600, width: 1500 },
};

/** The window that spans all values. @param {[number, number]} range @returns {WindowPreset} */
export function fullWindow([low, high]) {
  return { label: "Full range", level: Math.round((low + high) / 2), width: Math.max(1, Math.round(high - low)) };
}

/** Name of the preset with this level and width, or `custom`. @param {number} level @param {number} width @param {Record<string, WindowPreset>} presets */
export function presetOf(level, width, presets) {
  const found = Object.entries(presets).find(([, p]) => p.level === level && p.width === width);
  return found ? found[0] : "custom";
}

/** Brightness from 0 to 1 of a value under a window. @param {number} value @param {number} level @param {number} width */
export function windowed(value, level, width) {
  return Math.min(1, Math.max(0, (value - level) / width + 0.5));
}

/** Control colours of the maps without a formula, evenly spaced. */
const STOPS = {
  inferno: "000004 0d0829 280b53 470b6a 65156e 82206c 9f2a63 bc3754 d44842 e8602d f57d15 fc9f07 fac228 f3e55d fcffa4",
  viridis: "440154 481b6d 46327e 3f4788 365c8d 2e6e8e 277f8e 21918c 1fa187 2db27d 4ac16d 73d056 a0da39 d0e11c fde725",
};

/** PET colour maps by name, in the order in which they are offered. */
export const COLOUR_MAPS = Object.freeze({
  "hot-iron": "Hot iron",
  inferno: "Inferno",
  viridis: "Viridis",
  grey: "Grey",
  "grey-inverted": "Grey, inverted",
});

/** 256 RGBA entries of a colour map; hot iron is the one of boneviz.palette. @param {string} name @returns {Uint8Array} */
export function colourTable(name) {
  const table = new Uint8Array(256 * 4);
  for (let i = 0; i < 256; i++) {
    table.set([...colourAt(name, i), 255], 4 * i);
  }
  return table;
}

/** @param {string} name @param {number} i from 0 to 255 @returns {[number, number, number]} */
function colourAt(name, i) {
  if (name === "grey") return [i, i, i];
  if (name === "grey-inverted") return [255 - i, 255 - i, 255 - i];
  if (name in STOPS) {
    const stops = STOPS[/** @type {keyof STOPS} */ (name)].split(" ").map(parseHex);
    const at = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    const [a, b] = [stops[k], stops[k + 1]];
    return /** @type {[number, number, number]} */ (a.map((v, c) => Math.round(v + (b[c] - v) * (at - k))));
  }
  const ramp = (/** @type {number} */ from, /** @type {number} */ over) =>
    Math.round(255 * Math.min(1, Math.max(0, (i / 255 - from) / over)));
  return [ramp(0, 0.5), ramp(0.5, 0.35), ramp(0.75, 0.25)];
}

/** Red, green and blue from 0 to 255 of `4da6ff` or `#4da6ff`. @param {string} hex @returns {[number, number, number]} */
export function parseHex(hex) {
  const value = parseInt(hex.replace("#", ""), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** Round values within a range, about `count` of them. @param {number} low @param {number} high @param {number} count */
export function ticks(low, high, count = 5) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = /** @type {number} */ ([1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + span * 1e-9; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

/** The number that 16 bits of half float mean. @param {number} bits */
export function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
