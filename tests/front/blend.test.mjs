/** The outline between two models: its levels, its cut, and where it lies. */
import assert from "node:assert/strict";
import test from "node:test";

import * as m from "../../boneviz/show/front/blend.js";

const model = (name, volume, first) => ({ name, colour: "#ffffff", dashed: true, kind: "model", learned_from: "", probability: { volume, mip: `mip_${volume}`, first, profile: [] } });
const expert = { name: "Expert A", colour: "#3d9bff", dashed: false, kind: "expert", learned_from: "", probability: null };
const lattice = (shape, origin) => ({ type: "bytes", bytes: shape[0] * shape[1] * shape[2], lattice: { shape, spacing: [2, 3, 5], origin } });

//   z:          0    1    2    3          both at x = 1, y = 0; B reaches y = 1 besides
//   model A    200  100    .    .
//   model B      .   51  255   50         y = 1:   .  40   .   .
const held = {
  info: {
    serial: 1, patient: "P1", readers: [expert, model("A", "a", [1, 0, 0]), model("B", "b", [1, 0, 1])], dial_colour: "#123456",
    volumes: { bits: lattice([4, 4, 4], [10, 20, 30]), a: lattice([1, 1, 2], [12, 20, 30]), b: lattice([1, 2, 3], [12, 20, 35]) },
  },
  arrays: { a: Uint8Array.of(200, 100), b: Uint8Array.of(51, 255, 50, 40, 0, 0) },
};

test("levels are blended and rounded, a half to the even one", () => {
  const half = m.blendedLevels(0.5);
  // 75.5 and 127.5 go to the even neighbour, 152.5 down to it
  assert.deepEqual([256 * 100 + 51, 256 * 255, 256 * 50 + 255, 256 * 51].map((i) => half[i]), [76, 128, 152, 26]);
  for (const [at, i] of [[0, 256 * 7 + 9], [1, 256 * 9 + 7]]) assert.equal(m.blendedLevels(at)[i], 7);
});

test("the blend lies where either model does", () => {
  const { info, arrays, made } = m.withBlend(held, { first: "A", second: "B", at: 0.5 });
  const added = info.readers[3];
  assert.deepEqual(made, ["probability_dial", "mip_probability_dial"]);
  assert.deepEqual([added.name, added.colour, added.dashed, added.made], ["Dial at 50 %", "#123456", true, true]);
  assert.deepEqual(added.probability.first, [1, 0, 0]);
  // 255 / 2 = 127.5 goes to 128, 100 / 2 + 51 / 2 = 75.5 to 76
  assert.deepEqual([...arrays.probability_dial], [100, 76, 128, 25, 0, 20, 0, 0]);
  assert.deepEqual([...arrays.mip_probability_dial], [100, 76, 128, 25]);
  assert.deepEqual(added.probability.profile, [[128], [128, 20], [100, 76, 128, 25]]);
  const [whole, flat] = made.map((name) => info.volumes[name].lattice);
  assert.deepEqual([whole.shape, whole.origin], [[1, 2, 4], [12, 20, 30]]);
  assert.deepEqual([flat.shape, flat.origin], [[1, 1, 4], [12, 0, 30]]);
  // the case itself stays as it was
  assert.equal(held.info.readers.length, 3);
  assert.deepEqual(Object.keys(held.arrays), ["a", "b"]);
});

test("at either end it is that model", () => {
  const { arrays } = m.withBlend(held, { first: "A", second: "B", at: 0 });
  assert.deepEqual([...arrays.probability_dial].slice(0, 4), [200, 100, 0, 0]);
  assert.equal(m.cutOf({ first: "A", second: "B", at: 0 }, { A: 0.3 }), 0.3);
  assert.equal(m.cutOf({ first: "A", second: "B", at: 1 }, { A: 0.3 }), 0.5);
  assert.equal(m.cutOf({ first: "A", second: "B", at: 0.25 }, { A: 0.25, B: 0.75 }), 0.375);
});

test("there is none between models that are not both here, nor as a ninth reader", () => {
  const without = (/** @type {any} */ dial, /** @type {any} */ readers = held.info.readers) => m.withBlend({ ...held, info: { ...held.info, readers } }, dial).made;
  assert.deepEqual(without({}), []);
  assert.deepEqual(without({ first: "A", second: "C", at: 0.5 }), []);
  assert.deepEqual(without({ first: "A", second: "Expert A", at: 0.5 }), []);
  const many = [...held.info.readers, ...Array.from({ length: 5 }, (_, i) => ({ ...expert, name: `E${i}` }))];
  assert.deepEqual(without({ first: "A", second: "B", at: 0.5 }, many), []);
  assert.equal(without({ first: "A", second: "B", at: 0.5 }, many.slice(0, 7)).length, 2);
});
