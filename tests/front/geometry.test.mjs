import assert from "node:assert/strict";
import test from "node:test";

import * as g from "../../boneviz/show/front/geometry.js";

// 10 x 20 x 30 voxels of 2 x 1 x 3 mm, first voxel at (-9, 100, -40): x spans -10..10 mm with the
// voxels' edges, y 99.5..119.5, z -41.5..48.5
const lattice = { shape: [10, 20, 30], spacing: [2, 1, 3], origin: [-9, 100, -40] };
const box = { x: 100, y: 50, width: 200, height: 100 };
const view = { box, centre: [0, 110, 5], pxPerMm: 4 };
const near = (found, expected) => found.forEach((v, i) => assert.ok(Math.abs(v - expected[i]) < 1e-9, `${found} is not ${expected}`));

test("the volume's size and middle count whole voxels", () => {
  assert.deepEqual(g.extentMm(lattice), [20, 20, 90]);
  assert.deepEqual(g.middleMm(lattice), [0, 109.5, 3.5]);
});

test("a position belongs to the nearest voxel, and the last axis runs fastest", () => {
  assert.deepEqual(g.voxelAt(lattice, [-7.1, 100.4, -40]), [1, 0, 0]);
  assert.deepEqual(g.voxelAt(lattice, [999, -999, 50]), [9, 0, 29]);
  // (2 * 20 + 3) * 30 + 4
  assert.equal(g.flatIndex(lattice, [2, 3, 4]), 1294);
});

test("inside reaches to the voxels' edges", () => {
  assert.equal(g.isInside(lattice, [10, 119.5, 48.5]), true);
  assert.equal(g.isInside(lattice, [10.01, 110, 0]), false);
  near(g.keepInside(lattice, [500, 110, -500]), [9.999999, 110, -41.5]);
  assert.equal(g.isInside(lattice, g.keepInside(lattice, [500, 500, 500])), true);
});

test("the patient's right is on the left in axial and coronal, the front on the left in sagittal", () => {
  // centre of the box is (200, 100); 10 mm at 4 px per mm are 40 px
  near(g.toScreen("axial", view, [10, 115, 5]), [160, 80]); // right of the patient, in front
  near(g.toScreen("coronal", view, [10, 115, 15]), [160, 60]); // towards the head is up
  near(g.toScreen("sagittal", view, [10, 120, 15]), [160, 60]); // in front is left
});

test("a pixel leads back to the millimetre that it shows", () => {
  for (const plane of g.PLANE_NAMES) {
    const mm = [3, 104, -7];
    const [x, y] = g.toScreen(plane, view, mm);
    near(g.toMm(plane, view, x, y, mm), mm);
  }
});

test("steps land on slice centres and stop at the ends", () => {
  assert.deepEqual(g.stepSlices(lattice, [0.3, 104.2, -39], 2, 1), [0.3, 104.2, -37]);
  assert.deepEqual(g.stepSlices(lattice, [0.3, 104.2, -39], 2, -5), [0.3, 104.2, -40]);
  assert.deepEqual(g.stepSlices(lattice, [0, 104, 0], 0, 99), [9, 104, 0]);
});

test("a plane fits its box with true aspect", () => {
  // coronal: 20 x 90 mm into 172 x 72 px inside the margins of 14 px: height decides, 72 / 90
  assert.equal(g.fitScale("coronal", lattice, box), 0.8);
  // axial: 20 x 20 mm into 172 x 72 px
  assert.equal(g.fitScale("axial", lattice, box), 3.6);
});

test("zooming holds the millimetre under the pointer", () => {
  const before = g.toMm("sagittal", view, 130, 70, view.centre);
  const centre = g.zoomedCentre("sagittal", view, 130, 70, 2);
  near(g.toMm("sagittal", { ...view, centre, pxPerMm: 8 }, 130, 70, centre), before);
  assert.equal(centre[0], 0);
});

test("a trunk stands two by two, a leg side by side, one plane alone fills the stage", () => {
  const trunk = { shape: [400, 250, 200], spacing: [1, 1, 1], origin: [0, 0, 0] };
  const leg = { shape: [150, 150, 600], spacing: [1, 1, 1], origin: [0, 0, 0] };
  const grid = g.arrange(1000, trunk);
  assert.equal(grid.height, 600);
  assert.deepEqual(grid.boxes.axial, { x: 0, y: 0, width: 499, height: 299 });
  assert.deepEqual(grid.boxes.mip, { x: 501, y: 301, width: 499, height: 299 });
  const row = g.arrange(1000, leg).boxes;
  for (const name of g.PLANE_NAMES) {
    assert.equal(row[name].height, 600);
    near([row[name].width], [(1000 - 6) / 4]);
  }
  assert.deepEqual(g.arrange(1000, leg, "axial").boxes, { axial: { x: 0, y: 0, width: 1000, height: 600 } });
});

test("panels are found by their pixels, gaps belong to none", () => {
  const { boxes } = g.arrange(1000, { shape: [4, 4, 4], spacing: [1, 1, 1], origin: [0, 0, 0] });
  assert.equal(g.panelAt(boxes, -1, 10), null);
  assert.equal(g.panelAt(boxes, 1, 1), "axial");
  assert.equal(g.panelAt({ axial: { x: 0, y: 0, width: 10, height: 10 } }, 10, 5), null);
});

test("scale bars are 1, 2 or 5 times a power of ten", () => {
  assert.deepEqual([73, 50, 49, 19, 1.5, 0.7].map(g.roundLength), [50, 50, 20, 10, 1, 0.5]);
});

test("positions are read with the letters of their sides", () => {
  assert.equal(g.describePosition([12.34, -3, -0.04]), "R 12.3  P 3.0  S 0.0");
});

test("in a low window the stage leaves room for what is around it", () => {
  const cube = { shape: [4, 4, 4], spacing: [1, 1, 1], origin: [0, 0, 0] };
  assert.equal(g.arrange(1000, cube, null, 2000).height, 600);
  assert.equal(g.arrange(1000, cube, null, 700).height, 434);
  assert.equal(g.arrange(1000, cube, null, 300).height, 340);
});

test("the bar of slices runs from the lowest below to the highest above, and back", () => {
  const box = { x: 100, y: 50, width: 300, height: 252 };
  // 26 px stay free at both ends: 200 px for 41 slices
  assert.deepEqual([0, 20, 40].map((index) => g.barHeight(box, index, 41)), [276, 176, 76]);
  assert.deepEqual([276, 176, 174, 76].map((y) => g.sliceAtHeight(box, y, 41)), [0, 20, 20, 40]);
  assert.deepEqual([0, 500].map((y) => g.sliceAtHeight(box, y, 41)), [40, 0]);
  assert.equal(g.barHeight(box, 0, 1), 176);
  assert.equal(g.sliceAtHeight(box, 90, 1), 0);
  assert.deepEqual([385, 386, 399].map((x) => g.onSliceBar("axial", box, x, false)), [false, true, true]);
  assert.equal(g.onSliceBar("axial", box, 373, true), true);
  assert.equal(g.onSliceBar("mip", box, 399, true), false);
});
