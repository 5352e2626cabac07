/** What stands below a kept picture, and how it is broken into lines. */
import assert from "node:assert/strict";
import test from "node:test";

import { keyOf, linesOf, wordsOf } from "../../boneviz/show/front/snapshot.js";

const line = (name, dashed, visible) => ({ name, colour: "#123456", dashed, visible });
const plan = { view: "readers", heat: false, pair: null, why: "", fill: { kind: "none" }, lines: [line("A", false, true), line("B", false, false), line("M", true, true)] };
const info = { pet: { unit: "SUVbw" }, readers: [{}, {}, {}], pair_colours: ["#1", "#2", "#3"], heat_colours: ["#4", "#5", "#6"] };
const look = { level: 400, width: 1800, suvMin: 0, suvMax: 7.456, mode: "fused" };

test("the key names the readers that are drawn, as they are drawn", () => {
  assert.deepEqual(keyOf(plan, info, {}).map(({ mark, text }) => [mark, text]), [["line", "A"], ["dashes", "M"]]);
  const pair = { ...plan, view: "error", pair: ["A", "M"], fill: { kind: "pair", reference: "A", candidate: "M" } };
  assert.deepEqual(keyOf(pair, info, {}).map(({ text }) => text), ["missed: only A", "extra: only M", "found: both"]);
});

test("the words give the scales that are in use", () => {
  assert.equal(wordsOf(plan, info, look), "CT L 400 W 1800 HU, PET 0 to 7.46 SUVbw, not for diagnosis");
  assert.equal(wordsOf(plan, info, { ...look, mode: "ct" }), "CT L 400 W 1800 HU, not for diagnosis");
  const heat = { ...plan, fill: { kind: "heat" } };
  assert.equal(wordsOf(heat, info, { ...look, mode: "pet" }), "how many of 3 readers say yes, PET 0 to 7.46 SUVbw, not for diagnosis");
});

test("parts go to the next line where they do not fit", () => {
  assert.deepEqual(linesOf([40, 40, 40, 100, 10], 100), [[0, 1], [2], [3], [4]]);
  assert.deepEqual(linesOf([], 100), []);
  // wider than a line, it has one of its own
  assert.deepEqual(linesOf([30, 500], 100), [[0], [1]]);
});
