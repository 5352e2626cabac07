/** What a learner draws, voxel by voxel, as `boneviz.drawing` draws it in Python. No page, no messages. */

import { flatIndex } from "./geometry.js";

/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {[number[], number[]]} Span lowest and highest voxel */

const CHECK = 2 ** 32;

/** The nearest whole number, a half to the even one, as NumPy rounds. @param {number} value */
export function toEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Positions in the flat volume of the voxels under a ball: those whose centre is at most a radius
 * away, and the one that the ball's centre lies in.
 *
 * @param {Lattice} lattice @param {Vec3} centre mm @param {number} radius mm
 * @param {number | null} across an axis: only the slice across it that holds the centre
 */
export function underBall(lattice, centre, radius, across = null) {
  const { shape, spacing, origin } = lattice;
  const limit = radius * (1 + 1e-9) + 1e-9;
  const at = shape.map((_, axis) => (centre[axis] - origin[axis]) * (1 / spacing[axis]));
  const nearest = at.map(toEven);
  const reach = spacing.map((step, axis) => (axis === across ? 0 : limit / step));
  const low = at.map((v, axis) => Math.max(0, Math.min(Math.ceil(v - reach[axis]), nearest[axis])));
  const high = at.map((v, axis) => Math.min(shape[axis] - 1, Math.max(Math.floor(v + reach[axis]), nearest[axis])));
  const squared = (/** @type {number} */ axis, /** @type {number} */ i) => (spacing[axis] * (i - at[axis])) ** 2;
  const found = [];
  for (let x = low[0]; x <= high[0]; x++) {
    for (let y = low[1]; y <= high[1]; y++) {
      const inPlane = squared(0, x) + squared(1, y);
      for (let z = low[2]; z <= high[2]; z++) {
        const here = x === nearest[0] && y === nearest[1] && z === nearest[2];
        if (here || inPlane + squared(2, z) <= limit * limit) found.push(flatIndex(lattice, [x, y, z]));
      }
    }
  }
  return found;
}

/** Points from one to another, the first left out, so close that a stroke has no gaps. @param {Vec3} from @param {Vec3} to @param {number} step mm @returns {Vec3[]} */
export function between(from, to, step) {
  const n = Math.max(1, Math.ceil(Math.hypot(...to.map((v, axis) => v - from[axis])) / step));
  return Array.from({ length: n }, (_, i) =>
    /** @type {Vec3} */ (i + 1 === n ? [...to] : from.map((v, axis) => v + ((to[axis] - v) * (i + 1)) / n)));
}

/** The smallest span that holds both. @param {Span | null} one @param {Span | null} other @returns {Span | null} */
export function joined(one, other) {
  if (!one || !other) return one ?? other;
  return [one[0].map((v, axis) => Math.min(v, other[0][axis])), one[1].map((v, axis) => Math.max(v, other[1][axis]))];
}

/** One reader's bit in the volume of all, its projection, and what it adds up to. */
export class Sheet {
  /** @param {Lattice} lattice @param {Uint8Array} bits @param {Uint8Array} flat their projection along y @param {number} place of the reader @param {Span | null} span where bits may be set */
  constructor(lattice, bits, flat, place, span) {
    this.lattice = lattice;
    this.bits = bits;
    this.flat = flat;
    this.bit = 1 << place;
    /** Voxels drawn, and the sum of their positions: the kernel's drawing is compared by these. */
    this.voxels = 0;
    this.check = 0;
    /** All that was ever drawn lies in it: a large volume is not searched for little. */
    this.span = span;
    for (const position of this.drawn()) this.count(position, 1);
  }

  /** Millilitres that are drawn. */
  get ml() {
    return (this.voxels * this.lattice.spacing.reduce((a, b) => a * b)) / 1000;
  }

  /** @param {number} position @param {1 | -1} sign */
  count(position, sign) {
    this.voxels += sign;
    this.check = (this.check + sign * position + CHECK) % CHECK;
  }

  /** Set or clear voxels; the span of those that changed, or null. @param {ArrayLike<number>} positions @param {boolean} on */
  set(positions, on) {
    return this.turn(positions, (position) => Boolean(this.bits[position] & this.bit) !== on);
  }

  /** Set voxels that are clear and clear those that are set. @param {ArrayLike<number>} positions */
  toggle(positions) {
    return this.turn(positions, () => true);
  }

  /** Draw these voxels and no others. @param {ArrayLike<number>} positions */
  replace(positions) {
    return joined(this.set(this.drawn(), false), this.set(positions, true));
  }

  /** Positions of the voxels that are set. */
  drawn() {
    /** @type {number[]} */
    const found = [];
    const [low, high] = this.span ?? [[0, 0, 0], [-1, -1, -1]];
    for (let x = low[0]; x <= high[0]; x++) {
      for (let y = low[1]; y <= high[1]; y++) {
        const row = flatIndex(this.lattice, [x, y, 0]);
        for (let z = low[2]; z <= high[2]; z++) if (this.bits[row + z] & this.bit) found.push(row + z);
      }
    }
    return found;
  }

  /** @param {ArrayLike<number>} positions @param {(position: number) => boolean} test @returns {Span | null} */
  turn(positions, test) {
    const [, ny, nz] = this.lattice.shape;
    const [low, high] = [[Infinity, Infinity, Infinity], [-1, -1, -1]];
    for (let n = 0; n < positions.length; n++) {
      const position = positions[n];
      if (!test(position)) continue;
      this.bits[position] ^= this.bit;
      this.count(position, this.bits[position] & this.bit ? 1 : -1);
      [Math.floor(position / (ny * nz)), Math.floor(position / nz) % ny, position % nz].forEach((v, axis) => {
        low[axis] = Math.min(low[axis], v);
        high[axis] = Math.max(high[axis], v);
      });
    }
    if (high[0] < 0) return null;
    this.span = joined(this.span, [low, high]);
    this.project(low, high);
    return [low, high];
  }

  /** Make the projection anew where it may have changed. @param {number[]} low @param {number[]} high */
  project(low, high) {
    const [, ny, nz] = this.lattice.shape;
    for (let x = low[0]; x <= high[0]; x++) {
      for (let z = low[2]; z <= high[2]; z++) {
        let all = 0;
        for (let y = 0; y < ny; y++) all |= this.bits[(x * ny + y) * nz + z];
        this.flat[x * nz + z] = all;
      }
    }
  }
}
