/**
 * Where things lie: anatomical planes, millimetres, voxels and screen pixels. Pure functions.
 *
 * Positions are RAS+ millimetres: x grows to the patient's right, y to the front, z to the head.
 * Screen positions are CSS pixels, y down. Every plane is shown in radiological convention: the
 * patient's right, or front, is on the left of the screen, so the screen's x runs against the axis.
 */

/** @typedef {[number, number, number]} Vec3 */
/** @typedef {{shape: Vec3, spacing: Vec3, origin: Vec3}} Lattice voxel centres of a volume */
/** @typedef {"axial"|"coronal"|"sagittal"|"mip"} PlaneName */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */
/** @typedef {{box: Box, centre: Vec3, pxPerMm: number}} View */

/** Axes (0 x, 1 y, 2 z) and the letters at the four sides of each plane. */
export const PLANES = Object.freeze({
  axial: { title: "Axial", normal: 2, across: 0, up: 1, left: "R", right: "L", top: "A", bottom: "P" },
  sagittal: { title: "Sagittal", normal: 0, across: 1, up: 2, left: "A", right: "P", top: "S", bottom: "I" },
  coronal: { title: "Coronal", normal: 1, across: 0, up: 2, left: "R", right: "L", top: "S", bottom: "I" },
  mip: { title: "PET MIP", normal: 1, across: 0, up: 2, left: "R", right: "L", top: "S", bottom: "I" },
});

/** @type {PlaneName[]} */
export const PLANE_NAMES = ["axial", "sagittal", "coronal", "mip"];

/** Letters towards which each axis grows and falls. */
export const AXIS_LETTERS = [["R", "L"], ["A", "P"], ["S", "I"]];

const MARGIN_PX = 14;

/** @param {number} value @param {number} low @param {number} high */
export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/** Size of the volume in mm, voxel edges included. @param {Lattice} lattice @returns {Vec3} */
export function extentMm(lattice) {
  return /** @type {Vec3} */ (lattice.shape.map((n, axis) => n * lattice.spacing[axis]));
}

/** Middle of the volume. @param {Lattice} lattice @returns {Vec3} */
export function middleMm(lattice) {
  return /** @type {Vec3} */ (
    lattice.shape.map((n, axis) => lattice.origin[axis] + ((n - 1) / 2) * lattice.spacing[axis])
  );
}

/** The voxel that holds a position, or the nearest one. @param {Lattice} lattice @param {Vec3} mm */
export function voxelAt(lattice, mm) {
  return /** @type {Vec3} */ (
    lattice.shape.map((n, axis) =>
      clamp(Math.round((mm[axis] - lattice.origin[axis]) / lattice.spacing[axis]), 0, n - 1),
    )
  );
}

/** Whether a position lies within the volume, voxel edges included. @param {Lattice} lattice @param {Vec3} mm */
export function isInside(lattice, mm) {
  return lattice.shape.every((n, axis) => {
    const index = (mm[axis] - lattice.origin[axis]) / lattice.spacing[axis];
    return index >= -0.5 && index <= n - 0.5;
  });
}

/** Centre of a voxel. @param {Lattice} lattice @param {Vec3} voxel @returns {Vec3} */
export function centreOf(lattice, voxel) {
  return /** @type {Vec3} */ (voxel.map((i, axis) => lattice.origin[axis] + i * lattice.spacing[axis]));
}

/** Position in the flat array, whose last axis runs fastest. @param {Lattice} lattice @param {Vec3} voxel */
export function flatIndex(lattice, voxel) {
  return (voxel[0] * lattice.shape[1] + voxel[1]) * lattice.shape[2] + voxel[2];
}

/** Keep a position inside the volume. @param {Lattice} lattice @param {Vec3} mm @returns {Vec3} */
export function keepInside(lattice, mm) {
  return /** @type {Vec3} */ (
    mm.map((value, axis) => {
      const half = lattice.spacing[axis] / 2;
      const first = lattice.origin[axis] - half;
      // a hair inside the far edge, so that rounding finds the last voxel
      const last = lattice.origin[axis] + lattice.shape[axis] * lattice.spacing[axis] - half - 1e-6;
      return clamp(value, first, last);
    })
  );
}

/** Move a position by whole slices, onto a slice's centre. @param {Lattice} lattice @param {Vec3} mm @param {number} axis @param {number} slices @returns {Vec3} */
export function stepSlices(lattice, mm, axis, slices) {
  const index = clamp(voxelAt(lattice, mm)[axis] + slices, 0, lattice.shape[axis] - 1);
  const moved = /** @type {Vec3} */ ([...mm]);
  moved[axis] = lattice.origin[axis] + index * lattice.spacing[axis];
  return moved;
}

/** Pixels per mm at which the whole plane fits its box. @param {PlaneName} plane @param {Lattice} lattice @param {Box} box */
export function fitScale(plane, lattice, box) {
  const { across, up } = PLANES[plane];
  const extent = extentMm(lattice);
  const width = Math.max(box.width - 2 * MARGIN_PX, 16);
  const height = Math.max(box.height - 2 * MARGIN_PX, 16);
  return Math.min(width / extent[across], height / extent[up]);
}

/** Where a position appears. @param {PlaneName} plane @param {View} view @param {Vec3} mm @returns {[number, number]} */
export function toScreen(plane, view, mm) {
  const { across, up } = PLANES[plane];
  const { box, centre, pxPerMm } = view;
  return [
    box.x + box.width / 2 - (mm[across] - centre[across]) * pxPerMm,
    box.y + box.height / 2 - (mm[up] - centre[up]) * pxPerMm,
  ];
}

/** The position under a pixel; the axis across the plane is taken from `mm`. @param {PlaneName} plane @param {View} view @param {number} x @param {number} y @param {Vec3} mm @returns {Vec3} */
export function toMm(plane, view, x, y, mm) {
  const { across, up } = PLANES[plane];
  const { box, centre, pxPerMm } = view;
  const position = /** @type {Vec3} */ ([...mm]);
  position[across] = centre[across] - (x - box.x - box.width / 2) / pxPerMm;
  position[up] = centre[up] - (y - box.y - box.height / 2) / pxPerMm;
  return position;
}

/** Which panel a pixel lies in. @param {Partial<Record<PlaneName, Box>>} boxes @param {number} x @param {number} y @returns {PlaneName | null} */
export function panelAt(boxes, x, y) {
  const found = PLANE_NAMES.find((name) => {
    const box = boxes[name];
    return box && x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
  });
  return found ?? null;
}

/** How wide the strip at the right of a plane is by which it is dragged through its slices, and how far it stays from the corners, px. */
export const SLICE_BAR = { width: 14, margin: 26 };

/** Whether a pixel lies on a panel's bar of slices; a finger is less exact. @param {PlaneName} plane @param {Box} box @param {number} x @param {boolean} touch */
export function onSliceBar(plane, box, x, touch) {
  return plane !== "mip" && x >= box.x + box.width - (touch ? 2 : 1) * SLICE_BAR.width;
}

/** Height of a slice on its bar: the lowest index is below. @param {Box} box @param {number} index @param {number} count */
export function barHeight({ y, height }, index, count) {
  const span = height - 2 * SLICE_BAR.margin;
  return y + SLICE_BAR.margin + span * (1 - (count > 1 ? index / (count - 1) : 0.5));
}

/** The slice at a height on the bar, the opposite of `barHeight`. @param {Box} box @param {number} y @param {number} count */
export function sliceAtHeight(box, y, count) {
  const span = box.height - 2 * SLICE_BAR.margin;
  return clamp(Math.round((1 - (y - box.y - SLICE_BAR.margin) / span) * (count - 1)), 0, count - 1);
}

/** Centre after zooming by `factor` so that the position under the pixel stays there. @param {PlaneName} plane @param {View} view @param {number} x @param {number} y @param {number} factor @returns {Vec3} */
export function zoomedCentre(plane, view, x, y, factor) {
  const held = toMm(plane, view, x, y, view.centre);
  return /** @type {Vec3} */ (view.centre.map((value, axis) => held[axis] + (value - held[axis]) / factor));
}

/**
 * Boxes of the panels in a stage of the given width: two by two, or side by side at one scale
 * where that shows the body larger (a limb), or one panel alone.
 *
 * @param {number} width
 * @param {Lattice} lattice
 * @param {PlaneName | null} alone
 * @param {number} windowHeight of which controls and tables want a part
 * @returns {{height: number, boxes: Partial<Record<PlaneName, Box>>}}
 */
export function arrange(width, lattice, alone = null, windowHeight = Infinity) {
  const gap = 2;
  const height = Math.round(clamp(Math.min(width * 0.6, windowHeight * 0.62), 340, 660));
  if (alone) return { height, boxes: { [alone]: { x: 0, y: 0, width, height } } };
  const half = (width - gap) / 2;
  const tall = (height - gap) / 2;
  const grid = Object.fromEntries(
    PLANE_NAMES.map((name, i) => [
      name,
      { x: (i % 2) * (half + gap), y: Math.floor(i / 2) * (tall + gap), width: half, height: tall },
    ]),
  );
  const extent = extentMm(lattice);
  const widths = PLANE_NAMES.map((name) => extent[PLANES[name].across]);
  const total = widths.reduce((sum, w) => sum + w, 0);
  let x = 0;
  /** @type {Record<string, Box>} */
  const row = {};
  PLANE_NAMES.forEach((name, i) => {
    const share = ((width - 3 * gap) * widths[i]) / total;
    row[name] = { x, y: 0, width: share, height };
    x += share + gap;
  });
  /** @param {Record<string, Box>} boxes */
  const shownArea = (boxes) =>
    PLANE_NAMES.reduce((sum, name) => {
      const { across, up } = PLANES[name];
      return sum + fitScale(name, lattice, boxes[name]) ** 2 * extent[across] * extent[up];
    }, 0);
  return { height, boxes: shownArea(row) > 1.15 * shownArea(grid) ? row : grid };
}

/** A round length of 1, 2 or 5 times a power of ten, at most `longest`. @param {number} longest */
export function roundLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  return [5, 2, 1].map((m) => m * power).find((length) => length <= longest * (1 + 1e-9)) ?? power;
}

/** A coordinate with the letter of its side, such as `R 12.5`. @param {number} axis @param {number} value */
export function sideOf(axis, value) {
  const [plus, minus] = AXIS_LETTERS[axis];
  const rounded = Math.round(value * 10) / 10;
  return `${rounded < 0 ? minus : plus} ${Math.abs(rounded).toFixed(1)}`;
}

/** A position in words: `R 12.5  A 3.0  S 40.0`. @param {Vec3} mm */
export function describePosition(mm) {
  return mm.map((value, axis) => sideOf(axis, value)).join("  ");
}
