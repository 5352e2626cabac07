/** What each view shows of whom, thresholds as bytes, and the words of the legend. */
import assert from "node:assert/strict";
import test from "node:test";

import * as m from "../../boneviz/show/front/modes.js";

const probability = { volume: "probability_2", mip: "mip_probability_2", first: [10, 0, 5], profile: [[0, 128, 40], [200], [0, 0, 130, 7]] };
const expert = (name, colour) => ({ name, colour, dashed: false, kind: "expert", learned_from: "", probability: null });
const model = (name, teacher, soft) => ({ name, colour: "#b9f0ff", dashed: true, kind: "model", learned_from: teacher, probability: soft });
const [A, B] = [expert("Expert A", "#3d9bff"), expert("Expert B", "#ff8c1a")];
const [MA, MB] = [model("Model A", "Expert A", probability), model("Model B", "Expert B", null)];
const readers = [A, B, MA, MB];
const info = { readers, pair_colours: ["#000001", "#000002", "#000003"], heat_colours: ["#100000", "#200000", "#300000", "#400000"] };
const wish = { view: "readers", pair: ["Expert A", "Expert B"], visible: ["Expert A", "Model B"], heat: false, thresholds: {} };
const drawn = (plan) => plan.lines.filter((line) => line.visible).map((line) => line.name);

test("a threshold begins at the first byte that means as much", () => {
  // 0.5 is 127.5 / 255: byte 127 is below it, byte 128 above
  assert.equal(m.leastByte(0.5), 128);
  // 0.2 is 51 / 255 and 0.6 is 153 / 255, to the last digit
  assert.deepEqual([0.2, 0.6, 1].map(m.leastByte), [51, 153, 255]);
  assert.deepEqual([0.001, 1 / 255, 0.004].map(m.leastByte), [1, 1, 2]);
});

test("the pair is the one chosen, as far as the view allows", () => {
  const pairs = {
    // view, chosen, shown
    a: ["disagreement", ["Expert B", "Expert A"], ["Expert B", "Expert A"]],
    b: ["disagreement", [], ["Expert A", "Expert B"]],
    c: ["error", ["Expert A", "Expert B"], ["Expert A", "Model A"]],
    d: ["error", ["Expert B", "Expert A"], ["Expert B", "Model B"]],
    e: ["error", ["Model A", "Expert B"], ["Expert B", "Model A"]],
    f: ["error", ["Model A", "Model B"], ["Expert B", "Model B"]],
    g: ["error", ["Expert B", "Model A"], ["Expert B", "Model A"]],
    // Model B comes without probabilities
    h: ["probability", ["Expert B", "Model B"], ["Expert B", "Model A"]],
    i: ["probability", ["Expert A", "Expert B"], ["Expert A", "Model A"]],
    j: ["probability", ["Model A", "Expert B"], ["Expert B", "Model A"]],
  };
  for (const [view, chosen, shown] of Object.values(pairs)) {
    assert.deepEqual(m.pairOf(view, chosen, readers), shown, `${view} of ${chosen}`);
  }
  assert.equal(m.pairOf("error", [], [A, B]), null);
  assert.equal(m.pairOf("disagreement", [], [A]), null);
});

test("choosing the other one's name swaps the two", () => {
  assert.deepEqual(m.chosenPair(["A", "B"], 0, "C"), ["C", "B"]);
  assert.deepEqual(m.chosenPair(["A", "B"], 1, "A"), ["B", "A"]);
});

test("views without anything to show say why and are passed over", () => {
  assert.match(m.whyNot("error", [A, B]), /an expert and a model/);
  assert.match(m.whyNot("probability", [A, B, MB]), /No model comes with probabilities/);
  assert.match(m.whyNot("disagreement", [A]), /two readers/);
  assert.equal(m.nextView("disagreement", readers), "error");
  assert.equal(m.nextView("probability", readers), "readers");
  assert.equal(m.nextView("disagreement", [A, B]), "readers");
  assert.equal(m.nextView("readers", [A]), "readers");
  const plan = m.planOf({ ...wish, view: "error" }, { ...info, readers: [A, B] });
  assert.equal(plan.view, "readers");
  assert.deepEqual(drawn(plan), ["Expert A"]);
});

test("each view draws its own contours and fills", () => {
  const plans = Object.fromEntries(m.VIEW_NAMES.map((view) => [view, m.planOf({ ...wish, view }, info)]));
  assert.deepEqual(drawn(plans.readers), ["Expert A", "Model B"]);
  assert.deepEqual(plans.readers.fill, { kind: "none" });
  // whom the readers' buttons had switched off is shown where he is one of the pair
  assert.deepEqual(drawn(plans.disagreement), ["Expert A", "Expert B"]);
  assert.deepEqual(plans.disagreement.fill, { kind: "pair", reference: "Expert A", candidate: "Expert B" });
  assert.deepEqual(plans.disagreement.lines.slice(0, 2).map(({ colour, dashed }) => [colour, dashed]), [["#000001", false], ["#000002", true]]);
  assert.deepEqual(drawn(plans.error), ["Expert A", "Model A"]);
  assert.deepEqual(drawn(plans.probability), ["Expert A", "Model A"]);
  assert.deepEqual(plans.probability.fill, { kind: "wash", model: "Model A" });
  assert.equal(plans.probability.lines[0].colour, A.colour);
  const heat = m.planOf({ ...wish, view: "disagreement", heat: true }, info);
  assert.deepEqual(drawn(heat), []);
  assert.deepEqual(heat.fill, { kind: "heat" });
  // heat is a way to see disagreement, not errors
  assert.equal(m.planOf({ ...wish, view: "error", heat: true }, info).fill.kind, "pair");
});

test("the legend says in words what each colour is", () => {
  const words = (view, more = {}) => m.meanings(m.planOf({ ...wish, view, ...more }, info), info, { "Model A": 0.3 }).map(({ text }) => text);
  assert.deepEqual(words("readers"), []);
  assert.deepEqual(words("disagreement"), ["only Expert A", "only Expert B", "both"]);
  assert.deepEqual(words("disagreement", { heat: true }), ["1", "2", "3", "4"]);
  assert.deepEqual(words("error"), ["missed: only Expert A", "extra: only Model A", "found: both"]);
  assert.deepEqual(words("probability"), ["Expert A", "Model A at 0.30"]);
  const signs = m.meanings(m.planOf({ ...wish, view: "error" }, info), info, {});
  // apart without colour too
  assert.deepEqual(signs.map(({ mark }) => mark), ["stripes", "counter", "dots"]);
});

test("the box grows with what a model marks at its threshold", () => {
  const box = [[0, 0, 0], [3, 0, 3]];
  // at 0.5 byte 128: slice 10 + 1 across x, 5 + 2 across z
  assert.deepEqual(m.boxAt(box, readers, {}), [[0, 0, 0], [11, 0, 7]]);
  // at 0.02 bytes from 6 on: x to 12, z from 7 to 8
  assert.deepEqual(m.boxAt(null, readers, { "Model A": 0.02 }), [[11, 0, 7], [12, 0, 8]]);
  assert.equal(m.boxAt(null, readers, { "Model A": 1 }), null);
  assert.deepEqual(m.boxAt(box, readers, { "Model A": 1 }), box);
  assert.equal(m.boxAt(null, [A], {}), null);
});

test("probabilities never have the colours of the uptake under them", () => {
  assert.equal(m.washMap("hot-iron"), "viridis");
  assert.equal(m.washMap("viridis"), "inferno");
});
