/** The outline between two models, made in the page from their probabilities. Pure. */

import { thresholdOf } from "./modes.js";
import { MAX_READERS } from "./scene.js";

/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./modes.js").Reader} Reader */
/** @typedef {import("./store.js").CaseInfo} CaseInfo */
/** @typedef {import("./store.js").VolumeInfo} VolumeInfo */
/** @typedef {{first: string, second: string, at: number}} DialTrait how far from the first model to the second, 0 to 1 */
/** @typedef {{info: CaseInfo, arrays: Record<string, Uint8Array>, ready: boolean}} Held a case, as far as it is drawn; ready: with its whole images */
/** @typedef {Held & {made: string[]}} Blended with one more reader, whose volumes are new */

const DIAL_VOLUMES = ["probability_dial", "mip_probability_dial"];

/** To the nearest whole number, a half to the even one, as numpy rounds. @param {number} value */
function rint(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 ? below + 1 : below;
}

/** The level of every pair of levels, 256 a + b, as boneviz.blend has it. @param {number} at */
export function blendedLevels(at) {
  const levels = new Uint8Array(65536);
  for (let a = 0; a < 256; a++) {
    for (let b = 0; b < 256; b++) levels[256 * a + b] = rint((1 - at) * a + at * b);
  }
  return levels;
}

/** From which probability on the blend says yes: at either end as that model does. @param {DialTrait} dial @param {Record<string, number>} thresholds */
export function cutOf({ first, second, at }, thresholds) {
  return (1 - at) * thresholdOf(thresholds, first) + at * thresholdOf(thresholds, second);
}

/** What the dial's outline is called. @param {DialTrait} dial */
export function dialName({ at }) {
  return `Dial at ${Math.round(100 * at)} %`;
}

/** Whether the dial lies between two models of a case, and one more reader finds place. @param {Partial<DialTrait>} dial @param {Reader[]} readers */
export function canBlend(dial, readers) {
  const soft = (/** @type {string | undefined} */ name) => readers.some((reader) => reader.name === name && reader.probability);
  return readers.length < MAX_READERS && soft(dial.first) && soft(dial.second);
}

/**
 * A case with the reader between two of its models, or the case as it is where there is none.
 *
 * @param {Held} held @param {DialTrait} dial @returns {Blended}
 */
export function withBlend(held, dial) {
  const { info, arrays, ready } = held;
  if (!canBlend(dial, info.readers)) return { ...held, made: [] };
  const parts = [dial.first, dial.second].map((name) => {
    const { volume, first } = /** @type {import("./modes.js").Probability} */ (info.readers.find((reader) => reader.name === name)?.probability);
    return { first, shape: info.volumes[volume].lattice.shape, bytes: arrays[volume] };
  });
  const low = /** @type {Vec3} */ ([0, 1, 2].map((axis) => Math.min(...parts.map((part) => part.first[axis]))));
  const shape = /** @type {Vec3} */ ([0, 1, 2].map((axis) => Math.max(...parts.map((part) => part.first[axis] + part.shape[axis])) - low[axis]));
  const levels = blendedLevels(dial.at);
  const [nx, ny, nz] = shape;
  const bytes = new Uint8Array(nx * ny * nz);
  const flat = new Uint8Array(nx * nz);
  const profile = shape.map((n) => new Array(n).fill(0));
  const [a, b] = [new Uint8Array(nz), new Uint8Array(nz)];
  for (let x = 0; x < nx; x++) {
    for (let y = 0; y < ny; y++) {
      readRow(parts[0], low, x, y, a);
      readRow(parts[1], low, x, y, b);
      const start = (x * ny + y) * nz;
      let most = 0;
      for (let z = 0; z < nz; z++) {
        const level = levels[(a[z] << 8) | b[z]];
        if (!level) continue;
        bytes[start + z] = level;
        if (level > most) most = level;
        if (level > flat[x * nz + z]) flat[x * nz + z] = level;
      }
      profile[0][x] = Math.max(profile[0][x], most);
      profile[1][y] = Math.max(profile[1][y], most);
    }
  }
  // along z the projection has the highest already
  for (let x = 0; x < nx; x++) for (let z = 0; z < nz; z++) profile[2][z] = Math.max(profile[2][z], flat[x * nz + z]);
  const { origin, spacing } = info.volumes.bits.lattice;
  const where = /** @type {Vec3} */ (origin.map((v, axis) => v + low[axis] * spacing[axis]));
  /** @type {Reader} */
  const reader = {
    name: dialName(dial), colour: info.dial_colour, dashed: true, kind: "model", learned_from: "", made: true,
    probability: { volume: DIAL_VOLUMES[0], mip: DIAL_VOLUMES[1], first: low, profile },
  };
  /** @type {Record<string, VolumeInfo>} */
  const volumes = {
    [DIAL_VOLUMES[0]]: { type: "bytes", bytes: bytes.length, made: true, lattice: { shape, spacing, origin: where } },
    [DIAL_VOLUMES[1]]: { type: "bytes", bytes: flat.length, made: true, lattice: { shape: [nx, 1, nz], spacing, origin: [where[0], 0, where[2]] } },
  };
  return {
    info: { ...info, readers: [...info.readers, reader], volumes: { ...info.volumes, ...volumes } },
    arrays: { ...arrays, [DIAL_VOLUMES[0]]: bytes, [DIAL_VOLUMES[1]]: flat },
    ready,
    made: DIAL_VOLUMES,
  };
}

/** Read a map along z into a row that begins at `low`, 0 beyond the map. @param {{first: Vec3, shape: Vec3, bytes: Uint8Array}} part @param {Vec3} low @param {number} x @param {number} y @param {Uint8Array} row */
function readRow({ first, shape, bytes }, low, x, y, row) {
  const [i, j, from] = [x + low[0] - first[0], y + low[1] - first[1], first[2] - low[2]];
  row.fill(0);
  if (i < 0 || j < 0 || i >= shape[0] || j >= shape[1]) return;
  const start = (i * shape[1] + j) * shape[2];
  row.set(bytes.subarray(start, start + shape[2]), from);
}
