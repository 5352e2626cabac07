/** Drawing in the page: balls by hand, the volume of bits and its projection, messages with Python. */
import assert from "node:assert/strict";
import test from "node:test";

import { Sheet, between, joined, toEven, underBall } from "../../boneviz/show/front/draw.js";
import { Artist } from "../../boneviz/show/front/artist.js";
import { drawnWords, nextRadius } from "../../boneviz/show/front/drawbar.js";
import { Easel } from "../../boneviz/show/front/easel.js";
import { flatIndex } from "../../boneviz/show/front/geometry.js";
import { Store } from "../../boneviz/show/front/store.js";

// the grid of tests/test_drawing.py
const lattice = { shape: [6, 5, 4], spacing: [2, 3, 5], origin: [10, -20, 30] };
const at = (...index) => index.map((v, axis) => lattice.origin[axis] + v * lattice.spacing[axis]);
const positions = (...voxels) => voxels.map((voxel) => flatIndex(lattice, voxel)).sort((a, b) => a - b);
const blank = (place = 0) => new Sheet(lattice, new Uint8Array(120), new Uint8Array(24), place, null);

test("a ball and a disc by hand", () => {
  // 3 mm reach one neighbour along x (2 mm) and y (3 mm), none along z, no diagonal
  const ball = positions([1, 2, 2], [2, 1, 2], [2, 2, 2], [2, 3, 2], [3, 2, 2]);
  assert.deepEqual(underBall(lattice, at(2, 2, 2), 3), ball);
  assert.deepEqual(underBall(lattice, at(2, 2, 2), 3, 2), ball);
  assert.deepEqual(underBall(lattice, at(2, 2, 2), 3, 0), positions([2, 1, 2], [2, 2, 2], [2, 3, 2]));
  assert.deepEqual(underBall(lattice, at(2.4, 1.7, 2.4), 0.1), positions([2, 2, 2]));
  assert.deepEqual(underBall(lattice, at(-1, 0, 0), 2), positions([0, 0, 0]));
  assert.deepEqual(underBall(lattice, at(-1, 0, 0), 2, 0), []);
  assert.deepEqual(underBall(lattice, [1000, 0, 0], 5), []);
});

test("halves are rounded as NumPy does", () => {
  assert.deepEqual([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6, -2.6].map(toEven), [0, 2, 2, 0, -2, 2, 3, -3]);
});

test("a stroke has no gaps and ends where the pointer is", () => {
  assert.deepEqual(between([0, 0, 0], [3, 4, 0], 2.5), [[1.5, 2, 0], [3, 4, 0]]);
  assert.deepEqual(between([0, 0, 0], [1, 0, 0], 2.5), [[1, 0, 0]]);
});

test("a sheet changes one reader's bit alone, with the projection and the count", () => {
  const sheet = blank(1);
  sheet.bits[flatIndex(lattice, [2, 4, 2])] = 0b1; // another reader's
  const span = sheet.set(positions([2, 1, 2], [3, 2, 2]), true);
  assert.deepEqual(span, [[2, 1, 2], [3, 2, 2]]);
  assert.equal(sheet.bits[flatIndex(lattice, [2, 1, 2])], 0b10);
  // (x, z) = (2, 2) holds both readers, (3, 2) the one
  assert.deepEqual([sheet.flat[2 * 4 + 2], sheet.flat[3 * 4 + 2]], [0b11, 0b10]);
  // positions 2 * 20 + 1 * 4 + 2 and 3 * 20 + 2 * 4 + 2
  assert.deepEqual([sheet.voxels, sheet.check], [2, 46 + 70]);
  assert.equal(sheet.ml, 0.06);
  assert.equal(sheet.set(positions([2, 1, 2]), true), null);
  sheet.set(positions([2, 1, 2]), false);
  assert.equal(sheet.flat[2 * 4 + 2], 0b01);
  sheet.toggle(positions([3, 2, 2], [0, 0, 0]));
  assert.deepEqual([sheet.voxels, sheet.check, sheet.bits[0]], [1, 0, 0b10]);
  sheet.replace(positions([5, 4, 3]));
  assert.deepEqual([sheet.voxels, sheet.check, sheet.bits[0]], [1, 119, 0]);
  // a sheet over bits that are set already counts them
  assert.equal(new Sheet(lattice, sheet.bits, sheet.flat, 1, sheet.span).check, 119);
});

test("spans are joined", () => {
  assert.deepEqual(joined([[0, 5, 2], [1, 6, 2]], [[3, 1, 2], [3, 5, 4]]), [[0, 1, 2], [3, 6, 4]]);
  assert.deepEqual(joined(null, [[1, 1, 1], [2, 2, 2]]), [[1, 1, 1], [2, 2, 2]]);
});

/** An easel whose first question has been answered, and what it sends. */
function easel() {
  const sent = [];
  const info = { serial: 4, draws: "Kim", readers: [{ name: "Kim" }], box: null, volumes: { bits: { lattice } } };
  const load = { info, arrays: { bits: new Uint8Array(120), mip_bits: new Uint8Array(24) } };
  const made = new Easel({ send: (content) => sent.push(content) }, load);
  const answer = (changes, ...found) => {
    // as Jupyter hands bytes over: not at the start of their buffer
    const bytes = new Uint8Array(4 * found.length + 5);
    const view = new DataView(bytes.buffer, 5);
    found.forEach((v, i) => view.setUint32(4 * i, v, true));
    const { voxels, check } = made.sheet;
    const whole = { kind: "drawn", serial: 4, page: made.page, number: made.sent, voxels, check, whole: false, undo: true, redo: false, problem: "" };
    made.receive({ ...whole, ...changes }, found.length ? [view] : []);
  };
  assert.deepEqual(sent.map(({ what, number, serial }) => [what, number, serial]), [["whole", 1, 4]]);
  assert.equal(made.waits, true);
  answer({ whole: true, voxels: 1, check: 7 }, 7);
  sent.length = 0;
  return { made, sent, answer, load };
}

test("what Python holds at first is drawn; a box is kept around all of it", () => {
  const { made, load } = easel();
  assert.equal(made.waits, false);
  assert.deepEqual([made.sheet.voxels, load.arrays.bits[7]], [1, 1]);
  assert.deepEqual(load.info.box, [[0, 1, 3], [0, 1, 3]]);
});

test("a stroke that begins within another leaves it whole", () => {
  const { made, sent } = easel();
  made.begin(false, 3, 2);
  made.draw([at(2, 2, 2)]);
  made.begin(true, 1, 2);
  made.draw([at(4, 2, 2)]);
  made.end();
  assert.deepEqual(sent.map(({ what, points_mm }) => [what, points_mm]), [["brush", [at(2, 2, 2)]], ["erase", [at(4, 2, 2)]]]);
});

test("a stroke is drawn at once and told when it ends, all its points in one step", () => {
  const { made, sent, answer, load } = easel();
  const told = [];
  made.subscribe((span) => told.push(span));
  made.begin(false, 3, 2);
  made.draw([at(2, 2, 2)]);
  assert.equal(made.sheet.voxels, 6);
  assert.deepEqual(told, [[[1, 1, 2], [3, 3, 2]]]);
  assert.deepEqual(sent, []);
  made.draw([at(3, 2, 2)]);
  made.end();
  made.end();
  assert.deepEqual(sent, [{
    kind: "draw", serial: 4, page: made.page, number: 2, what: "brush", points_mm: [at(2, 2, 2), at(3, 2, 2)], radius_mm: 3, across: 2,
  }]);
  assert.deepEqual(load.info.box, [[0, 1, 2], [4, 3, 3]]);
  answer({});
  assert.equal(sent.length, 1); // both hold the same: nothing more is asked
  made.begin(true, 1, null);
  made.draw([at(2, 2, 2)]);
  made.end();
  assert.equal(sent[1].what, "erase");
});

test("fill and undo wait for Python, and nothing is drawn meanwhile", () => {
  const { made, sent, answer } = easel();
  made.ask({ what: "fill", seed_mm: [1, 2, 3], suv: 2.5, within_mm: 40 });
  made.ask({ what: "undo" });
  made.begin(false, 3, null);
  made.draw([at(2, 2, 2)]);
  made.end();
  assert.deepEqual(sent.map(({ what }) => what), ["fill"]);
  assert.equal(made.sheet.voxels, 1);
  answer({ voxels: 3, check: 7 + 20 + 21 }, 20, 21);
  assert.deepEqual([made.waits, made.sheet.voxels, made.can], [false, 3, { undo: true, redo: false }]);
  made.ask({ what: "undo" });
  answer({ voxels: 1, check: 7, redo: true }, 20, 21);
  assert.deepEqual([made.sheet.voxels, made.sheet.check, made.can.redo], [1, 7, true]);
});

test("why a step was refused is said until the next one", () => {
  const { made, answer } = easel();
  made.ask({ what: "fill" });
  answer({ problem: "SUV 1.00 there" });
  assert.equal(made.problem, "SUV 1.00 there");
  made.begin(false, 1, null);
  assert.equal(made.problem, "");
});

test("a page that holds anything else takes Python's drawing over, once", () => {
  const { made, sent, answer } = easel();
  made.receive({ serial: 3, page: "other", voxels: 9, check: 9 }, []); // of another case
  assert.deepEqual(sent, []);
  // another page has drawn
  made.receive({ serial: 4, page: "other", number: 8, voxels: 2, check: 19, undo: true }, []);
  assert.deepEqual(sent.map(({ what }) => what), ["whole"]);
  answer({ whole: true, voxels: 2, check: 19 }, 7, 12);
  assert.deepEqual([made.sheet.voxels, made.sheet.check, sent.length], [2, 19, 1]);
  // while a stroke of its own is on its way there is nothing to compare
  made.begin(false, 1, null);
  made.draw([at(2, 2, 2)]);
  made.receive({ serial: 4, page: "other", number: 9, voxels: 0, check: 0 }, []);
  made.end();
  made.receive({ serial: 4, page: "other", number: 9, voxels: 0, check: 0 }, []);
  assert.deepEqual(sent.map(({ what }) => what), ["whole", "brush"]);
});

test("the store hands answers to the easel", () => {
  const handlers = {};
  const model = { get: () => undefined, on: (name, handler) => (handlers[name] = handler), off() {}, send() {} };
  const store = new Store(model, () => {});
  const heard = [];
  store.load = { easel: { receive: (message) => heard.push(message.number) } };
  handlers["msg:custom"]({ kind: "drawn", number: 3 }, []);
  assert.deepEqual(heard, [3]);
});

test("those planes are drawn anew whose slice goes through what has changed", () => {
  const artist = Object.create(Artist.prototype);
  artist.revisions = { axial: 0, sagittal: 0, coronal: 0, mip: 0 };
  artist.view = { lattice, cursor: at(2, 2, 2), scene: { readingsOf() {} } };
  artist.renew([[1, 0, 2], [3, 1, 2]]); // x 1 to 3 and z 2 hold the crosshair, y 0 to 1 does not
  assert.deepEqual(artist.revisions, { axial: 1, sagittal: 1, coronal: 0, mip: 1 });
  artist.renew(null);
  assert.deepEqual(artist.revisions, { axial: 1, sagittal: 1, coronal: 0, mip: 1 });
  artist.view.scene = {}; // pictures from Python
  artist.renew(null);
  assert.deepEqual(artist.revisions, { axial: 2, sagittal: 2, coronal: 1, mip: 2 });
});

test("keys take up tools and draw at the crosshair; without a drawing they are the viewer's", () => {
  const artist = Object.create(Artist.prototype);
  const { made, sent } = easel();
  artist.view = { lattice, cursor: at(2.2, 2, 2), pointed: "mip", refresh() {} };
  artist.settings = { tool: "look", radius: 3, solid: false, suv: 2.5, within: 40 };
  artist.drawbar = { show() {} };
  assert.equal(artist.actionOf("b", true), undefined);
  artist.easel = made;
  assert.equal(artist.actionOf("enter", true), undefined); // the crosshair has nothing to draw
  for (const key of ["b", "[", "enter"]) artist.actionOf(key, true)();
  assert.deepEqual(sent.map(({ what, points_mm, radius_mm, across }) => [what, points_mm, radius_mm, across]), [["brush", [at(2, 2, 2)], 2.5, 2]]);
  assert.equal(artist.actionOf("enter", false), undefined); // a button has the focus
  for (const key of ["e", "d", "enter"]) artist.actionOf(key, true)();
  assert.deepEqual([sent[1].what, sent[1].across], ["erase", null]);
  for (const key of ["g", "enter"]) artist.actionOf(key, true)();
  assert.deepEqual([sent[2].what, sent[2].seed_mm, sent[2].suv], ["fill", at(2.2, 2, 2), 2.5]);
  assert.equal(artist.actionOf("c", true), undefined);
});

test("the radius steps by what suits it and stays within its limits", () => {
  assert.deepEqual([nextRadius(5, 1), nextRadius(5, -1), nextRadius(15, 1), nextRadius(15, -1)], [6, 4.5, 17.5, 14]);
  assert.deepEqual([nextRadius(0.5, -1), nextRadius(25, 1)], [0.5, 25]);
});

test("what is drawn is said in mL", () => {
  assert.equal(drawnWords(0, false, ""), "Nothing drawn");
  assert.equal(drawnWords(1.234, false, ""), "Drawn 1.23 mL");
  assert.equal(drawnWords(12.34, false, ""), "Drawn 12.3 mL");
  assert.equal(drawnWords(1, true, ""), "Working \u2026");
  assert.equal(drawnWords(1, true, "no"), "no");
});
