/** One plotly for all figures of a page: who asks for it, what a failure does, arrays on their way. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import test from "node:test";

import { askAgain, askOne, load, shelfOf, unpacked } from "../../boneviz/show/plot.js";

const seatOf = () => {
  const sent = [];
  return { sent, model: { send: ({ kind }) => sent.push(kind) } };
};

test("one figure asks for all, and another where it leaves before the answer", () => {
  const shelf = shelfOf("leaving");
  assert.equal(shelfOf("leaving"), shelf);
  const [first, second] = [seatOf(), seatOf()];
  for (const seat of [first, second]) {
    shelf.waiting.add(seat);
    askOne(shelf);
  }
  assert.deepEqual([first.sent, second.sent], [["library"], []]);
  shelf.waiting.delete(first);
  askOne(shelf);
  assert.deepEqual(second.sent, ["library"]);
});

test("a kernel that does not answer holds up nobody whose kernel does", () => {
  const shelf = shelfOf("dead");
  const [dead, alive] = [seatOf(), seatOf()];
  for (const seat of [dead, alive]) {
    shelf.waiting.add(seat);
    askOne(shelf);
  }
  askAgain(shelf, alive); // too early
  assert.deepEqual(alive.sent, []);
  shelf.askedAt -= 10_000;
  askAgain(shelf, alive);
  assert.deepEqual(alive.sent, ["library"]);
  shelf.askedAt -= 10_000;
  shelf.waiting.delete(alive);
  askAgain(shelf, alive); // closed meanwhile
  assert.deepEqual(alive.sent, ["library"]);
});

test("what cannot be unpacked is said to every figure", async () => {
  const shelf = shelfOf("broken");
  await load(shelf, new Uint8Array([1, 2, 3]));
  await assert.rejects(shelf.ready);
  const wrong = shelfOf("wrong");
  await load(wrong, gzipSync("this is no program"));
  await assert.rejects(wrong.ready);
});

test("buffers take the place of their numbers, whatever they lie in", () => {
  const whole = new Uint8Array([9, 1, 2, 3, 4, 9]);
  const found = unpacked({ x: { dtype: "u1", bdata: 0 }, y: [1, null, { z: "text" }] }, [new DataView(whole.buffer, 1, 4)]);
  assert.deepEqual([...new Uint8Array(found.x.bdata)], [1, 2, 3, 4]);
  assert.deepEqual(found.y, [1, null, { z: "text" }]);
});
