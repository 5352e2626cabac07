import assert from "node:assert/strict";
import test from "node:test";

import * as w from "../../boneviz/show/front/window.js";

const entry = (name, i) => [...w.colourTable(name).slice(4 * i, 4 * i + 3)];

test("the bone window runs from -500 to 1300 HU", () => {
  const { level, width } = w.WINDOWS.bone;
  assert.deepEqual([-500, 400, 1300, 2000].map((hu) => w.windowed(hu, level, width)), [0, 0.5, 1, 1]);
});

test("a level and width are named where they are a preset's", () => {
  const presets = { ...w.WINDOWS, full: w.fullWindow([-1000, 2000]) };
  assert.equal(w.presetOf(40, 400, presets), "soft");
  assert.equal(w.presetOf(500, 3000, presets), "full");
  assert.equal(w.presetOf(41, 400, presets), "custom");
});

test("hot iron runs from black through red and orange to white", () => {
  assert.deepEqual(entry("hot-iron", 0), [0, 0, 0]);
  assert.deepEqual(entry("hot-iron", 255), [255, 255, 255]);
  // 64 / 255 of the scale is 0.251, over the red ramp's 0.5: 0.502 of 255
  assert.deepEqual(entry("hot-iron", 64), [128, 0, 0]);
});

test("named maps begin and end with their own colours and no table has a hole", () => {
  assert.deepEqual(entry("viridis", 0), [0x44, 0x01, 0x54]);
  assert.deepEqual(entry("inferno", 255), [0xfc, 0xff, 0xa4]);
  assert.deepEqual(entry("grey-inverted", 255), [0, 0, 0]);
  for (const name of Object.keys(w.COLOUR_MAPS)) {
    assert.equal(w.colourTable(name).length, 1024);
  }
});

test("ticks are round and lie in the range", () => {
  assert.deepEqual(w.ticks(0, 8, 4), [0, 2, 4, 6, 8]);
  assert.deepEqual(w.ticks(1, 2.1, 4), [1, 1.5, 2]);
  assert.deepEqual(w.ticks(3, 3, 4), [3]);
});

test("half floats are read as numbers", () => {
  // sign 1, exponent 5, fraction 10 bits: 0x3c00 = 1, 0xc500 = -(1 + 256/1024) * 4, 0x0001 = 2^-24
  assert.deepEqual([0x3c00, 0xc500, 0x0001, 0x7bff, 0].map(w.halfToNumber), [1, -5, 2 ** -24, 65504, 0]);
});
