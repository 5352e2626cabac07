/** Data and wishes on their way: the store, the order of pictures, wheel and drag. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import test from "node:test";

import { shareInView } from "../../boneviz/show/front/around.js";
import { actionOf, dragKind, pinch, wheelSlices } from "../../boneviz/show/front/input.js";
import { Pictures, Wishes } from "../../boneviz/show/front/pictures.js";
import { inWords, hottestDepth, valuesAt } from "../../boneviz/show/front/readout.js";
import { lanes, partOf, placeOf } from "../../boneviz/show/front/scene.js";
import { Store, drawable, emptyLoad, gunzip, place } from "../../boneviz/show/front/store.js";

const lattice = { shape: [1, 2, 2], spacing: [1, 1, 1], origin: [0, 0, 0] };
const soft = { volume: "probability_2", mip: "mip_probability_2", first: [0, 1, 0], profile: [[130], [130], [0, 130]] };
const readers = [
  { name: "A", colour: "#ffffff", dashed: false, probability: null },
  { name: "<b>", colour: "#ffffff", dashed: true, probability: null },
  { name: "M", colour: "#ffffff", dashed: true, probability: soft },
];
const half = { lattice, bytes: 8, type: "half" };
const info = (serial) => ({
  serial, patient: `P${serial}`, readers, notes: [], pet: { unit: "SUVbw", origin: [], scale: 1, range: null }, hu_range: [0, 1], box: null,
  volumes: {
    ct: half, pet: half, bits: { lattice, bytes: 4, type: "bits" },
    // the voxels (0, 1, 0) and (0, 1, 1) alone
    probability_2: { lattice: { shape: [1, 1, 2], spacing: [1, 1, 1], origin: [0, 1, 0] }, bytes: 2, type: "bytes" },
  },
});

/** The parts of a widget model that the store uses. */
function fakeModel(first) {
  const handlers = {};
  return {
    sent: [], state: { case_info: first, _key: "k" },
    get(name) { return this.state[name]; },
    on(name, handler) { handlers[name] = handler; },
    off(name) { delete handlers[name]; },
    send(content) { this.sent.push(content); },
    say: (name, ...values) => handlers[name]?.(...values),
    handlers,
  };
}

/** A piece as Jupyter hands it over: a view into a larger buffer, not at its start. */
function packed(bytes) {
  const zip = gzipSync(Uint8Array.from(bytes));
  const larger = new Uint8Array(zip.length + 12);
  larger.set(zip, 7);
  return new DataView(larger.buffer, 7, zip.length);
}

test("a packed piece is unpacked from within its buffer", async () => {
  assert.deepEqual([...(await gunzip(packed([1, 2, 250])))], [1, 2, 250]);
});

test("a load is ready once every byte came once", () => {
  const load = emptyLoad(info(1));
  assert.equal(load.total, 22);
  place(load, "ct", 0, new Uint8Array(8));
  place(load, "ct", 0, new Uint8Array(8)); // sent again for another page: not counted twice
  place(load, "pet", 4, new Uint8Array([1, 2, 3, 4]));
  assert.deepEqual([...load.arrays.pet], [0, 0, 0, 0, 1, 2, 3, 4]);
  assert.equal(load.received, 12);
  place(load, "pet", 0, new Uint8Array(4));
  assert.equal(load.ready, false);
  place(load, "bits", 0, new Uint8Array(4));
  assert.equal(load.ready, false);
  place(load, "probability_2", 0, new Uint8Array(2));
  assert.equal(load.ready, true);
});

test("coarse images stand in until the whole ones are here, and give no value away", () => {
  const given = info(1);
  const sparse = { shape: [1, 1, 2], spacing: [1, 2, 1], origin: [0, 0, 0] };
  for (const name of ["ct", "pet"]) given.volumes[`coarse_${name}`] = { lattice: sparse, bytes: 4, type: "half" };
  const load = emptyLoad(given);
  place(load, "bits", 0, new Uint8Array(4));
  place(load, "probability_2", 0, new Uint8Array(2));
  place(load, "coarse_ct", 0, new Uint8Array(4));
  place(load, "ct", 0, new Uint8Array(8));
  assert.equal(load.begun, false);
  place(load, "coarse_pet", 0, new Uint8Array([0, 0, 0, 0x3c]));
  assert.equal(load.begun, true);
  assert.equal(load.ready, false);
  const drawn = () => drawable(load).map(([name, bytes, { lattice }]) => [name, bytes.length, lattice.shape]);
  assert.deepEqual(drawn(), [["ct", 4, [1, 1, 2]], ["pet", 4, [1, 1, 2]], ["bits", 4, [1, 2, 2]], ["probability_2", 2, [1, 1, 2]]]);
  const { hu, suv } = valuesAt(load, [0, 0, 1], {});
  assert.deepEqual([hu, suv], ["\u2013", "\u2013"]);
  assert.equal(hottestDepth(load, [0, 1, 1]), 0);
  place(load, "pet", 0, new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0x3c]));
  assert.equal(load.ready, true);
  assert.deepEqual(drawn().slice(0, 2), [["ct", 8, [1, 2, 2]], ["pet", 8, [1, 2, 2]]]);
  assert.equal(valuesAt(load, [0, 1, 1], {}).suv, "1.00");
  assert.equal(hottestDepth(load, [0, 0, 1]), 1);
});

test("a case is asked for once, and pieces of the one before are dropped", async () => {
  const model = fakeModel(info(1));
  const store = new Store(model, () => {});
  store.ask();
  assert.deepEqual(model.sent, [{ kind: "want", serial: 1 }]);
  model.state.case_info = info(2);
  model.say("change:case_info");
  assert.deepEqual(model.sent[1], { kind: "want", serial: 2 });
  await store.receive({ kind: "piece", serial: 1, volume: "bits", offset: 0 }, [packed([9, 9, 9, 9])]);
  assert.deepEqual([...store.load.arrays.bits], [0, 0, 0, 0]);
  await store.receive({ kind: "piece", serial: 2, volume: "bits", offset: 0 }, [packed([1, 2, 3, 0])]);
  assert.deepEqual([...store.load.arrays.bits], [1, 2, 3, 0]);
});

test("a piece that is still being unpacked when the patient changes is dropped", async () => {
  const model = fakeModel(info(1));
  const store = new Store(model, () => {});
  const under = store.receive({ kind: "piece", serial: 1, volume: "bits", offset: 0 }, [packed([9, 9, 9, 9])]);
  model.state.case_info = info(2);
  model.say("change:case_info");
  await under;
  assert.deepEqual([...store.load.arrays.bits], [0, 0, 0, 0]);
  assert.equal(store.load.received, 0);
});

test("the last view to leave takes the data and the handlers along", () => {
  const model = fakeModel(info(1));
  let empty = 0;
  const store = new Store(model, () => (empty += 1));
  const [first, second] = [store.subscribe(() => {}), store.subscribe(() => {})];
  first();
  assert.equal(empty, 0);
  second();
  assert.equal(empty, 1);
  assert.equal(store.load, null);
  assert.deepEqual(Object.keys(model.handlers), []);
});

test("the readout takes the voxel that holds the crosshair", () => {
  const load = { ...emptyLoad(info(1)), ready: true };
  // half floats 1, -5, 0, 65504; the last axis runs fastest: (0, 0, 1) holds -5
  load.arrays.ct.set(new Uint8Array(Uint16Array.from([0x3c00, 0xc500, 0, 0x7bff]).buffer));
  load.arrays.pet.set(new Uint8Array(Uint16Array.from([0, 0x3c00, 0, 0xc500]).buffer));
  load.arrays.bits.set([0, 0b11, 0b10, 0]);
  const found = valuesAt(load, [0.2, 0.4, 0.6], {});
  assert.equal(found.hu, "-5");
  assert.equal(found.suv, "1.00");
  assert.deepEqual(found.yes, readers.slice(0, 2));
  assert.equal(inWords(found), "R 0.2  A 0.4  S 0.6 mm, -5 HU, SUV 1.00, marked by A, <b>, probability of M 0.00");
  assert.deepEqual(valuesAt(load, [0, 0, 5], {}), {
    position: "R 0.0  A 0.0  S 5.0", hu: "\u2013", unit: "SUVbw", suv: "\u2013", yes: [], probabilities: [["M", "0.00"]],
  });
  // at z = 1 the uptakes along y are 1 and -5
  assert.equal(hottestDepth(load, [0, 1, 1]), 0);
});

test("a model marks where its probability reaches its threshold, whatever its bit", () => {
  const load = { ...emptyLoad(info(1)), ready: true };
  load.arrays.bits.set([0, 0, 0b100, 0b001]);
  // (0, 1, 0) 0.49, (0, 1, 1) 0.51: 125 and 130 of 255
  load.arrays.probability_2.set([125, 130]);
  const names = (mm, thresholds) => valuesAt(load, mm, thresholds).yes.map(({ name }) => name);
  assert.deepEqual(names([0, 1, 0], {}), []);
  assert.deepEqual(names([0, 1, 1], {}), ["A", "M"]);
  assert.deepEqual(names([0, 1, 1], { M: 0.52 }), ["A"]);
  assert.deepEqual(names([0, 1, 0], { M: 0.49 }), ["M"]);
  assert.deepEqual(valuesAt(load, [0, 1, 1], {}).probabilities, [["M", "0.51"]]);
});

test("one picture is asked for at a time, and only the latest wish of a plane", () => {
  const wishes = new Wishes();
  wishes.want("axial", "a1", { n: 1 });
  assert.deepEqual(wishes.next(), { n: 1, plane: "axial", key: "a1" });
  wishes.want("axial", "a2", { n: 2 });
  wishes.want("axial", "a3", { n: 3 });
  wishes.want("coronal", "c1", { n: 4 });
  assert.equal(wishes.next(), null);
  assert.equal(wishes.answered("axial", "a0"), false);
  assert.equal(wishes.answered("axial", "a1"), true);
  assert.deepEqual(wishes.next(), { n: 3, plane: "axial", key: "a3" });
  wishes.answered("axial", "a3");
  wishes.want("axial", "a3", { n: 3 }); // shown already
  assert.equal(wishes.next().plane, "coronal");
});

test("a picture that fails says why, and the next plane is still asked for", async () => {
  const model = fakeModel(info(1));
  const fakePen = { getContext: () => ({}) };
  let changes = 0;
  const pictures = new Pictures(fakePen, model, () => (changes += 1));
  pictures.wishes.want("axial", "a1", {});
  pictures.wishes.want("coronal", "c1", {});
  pictures.send();
  await pictures.receive({ kind: "picture", plane: "axial", key: "a1", failed: "SUV range 8 to 8" }, []);
  assert.deepEqual([...pictures.failed.values()], ["No axial slice: SUV range 8 to 8."]);
  assert.equal(changes, 1);
  assert.deepEqual(model.sent.map(({ plane }) => plane), ["axial", "coronal"]);
  // bytes that are no picture free the way too (there is no createImageBitmap in node)
  await pictures.receive({ kind: "picture", plane: "coronal", key: "c1" }, [new DataView(new ArrayBuffer(4))]);
  assert.match(pictures.failed.get("coronal"), /^No coronal slice: /);
  pictures.wishes.want("axial", "a1", {}); // the same again would fail again
  assert.equal(pictures.wishes.next(), null);
  pictures.wishes.want("axial", "a2", {});
  assert.equal(pictures.wishes.next().key, "a2");
  pictures.upload("ct", new Uint8Array(8), { lattice });
  assert.equal(pictures.failed.size, 0);
  // a case with fewer models leaves nothing of the one before
  pictures.upload("probability_2", new Uint8Array(2), { lattice });
  pictures.retain(["ct", "pet"]);
  assert.deepEqual([...pictures.volumes.keys()], ["ct"]);
});

test("lines of readers who agree lie beside each other, dashed over solid", () => {
  assert.deepEqual(lanes([{ dashed: false }, { dashed: false }, { dashed: true }, { dashed: true }]), [0.5, -0.5, 0.5, -0.5]);
  assert.deepEqual(lanes([{ dashed: false }]), [0]);
});

test("a notch of the wheel is one slice, small steps of a touchpad add up", () => {
  assert.deepEqual(wheelSlices(0, 120, 0), { slices: 1, rest: 0 });
  assert.deepEqual(wheelSlices(0, -3, 1), { slices: -1, rest: 0 });
  assert.deepEqual(wheelSlices(0, 10, 0), { slices: 0, rest: 0.25 });
  assert.deepEqual(wheelSlices(0.75, 10, 0), { slices: 1, rest: 0 });
  assert.deepEqual(wheelSlices(0.75, -10, 0), { slices: 0, rest: -0.25 });
});

test("the button and keys say what a drag does", () => {
  const plain = { button: 0, shiftKey: false, altKey: false };
  assert.equal(dragKind(plain), "cursor");
  assert.equal(dragKind({ ...plain, altKey: true }), "window");
  assert.equal(dragKind({ ...plain, shiftKey: true }), "pan");
  assert.equal(dragKind({ ...plain, button: 2 }), "pan");
});

test("n, p and s ask Python, along with the number of the case; p is no longer PET", () => {
  const sent = [], looks = [];
  const view = {
    lattice, pointed: "axial", views: {}, serial: 3, info: info(3),
    model: { send: (content) => sent.push(content) }, set: (values) => looks.push(values),
  };
  for (const key of ["n", "p", "S"]) actionOf(view, key)();
  assert.deepEqual(sent, ["next", "previous", "star"].map((key) => ({ kind: "region", serial: 3, key })));
  for (const key of ["c", "t", "f"]) actionOf(view, key)();
  assert.deepEqual(looks, [{ mode: "ct" }, { mode: "pet" }, { mode: "fused" }]);
  // before a case is here no key does anything
  assert.equal(actionOf({ ...view, lattice: undefined }, "n"), undefined);
});

test("contours are drawn about what readers mark and nowhere else", () => {
  // a panel of 200 x 100 pixels from (10, 20), 2 pixels per mm, the patient's (0, 0, 0) in its middle
  const view = { box: { x: 0, y: 0, width: 200, height: 100 }, centre: [0, 0, 0], pxPerMm: 2 };
  const place = placeOf("axial", view, [0, 0, 7], [10, 20, 200, 100], 1);
  assert.deepEqual(place.start, [50, -25, 7]);
  // the patient's right, +10 to +20 mm, is left of the middle; a pixel more on each side
  assert.deepEqual(partOf(place, [[10, 0], [20, 10]]), [10 + 59, 20 + 49, 22, 22]);
  // what lies beyond the panel is cut off, and nothing is drawn where nothing is left
  assert.deepEqual(partOf(place, [[-500, -500], [500, 500]]), [10, 20, 200, 100]);
  assert.equal(partOf(place, [[60, 0], [70, 10]]), null);
  assert.equal(partOf(place, null), null);
});

test("two fingers move by their middle and zoom by how far they are apart", () => {
  assert.deepEqual(pinch([[0, 0], [100, 0]], [[10, 20], [210, 20]]), { factor: 2, x: 110, y: 20, dx: 60, dy: 20 });
  // at one place they are a pixel apart
  assert.equal(pinch([[5, 5], [5, 5]], [[5, 5], [8, 9]]).factor, 5);
});

test("the share that is seen counts from both ends of the window", () => {
  const frame = (top, height) => ({ top, bottom: top + height, height });
  assert.deepEqual([frame(0, 100), frame(450, 100), frame(-25, 100), frame(600, 100), frame(0, 0)].map((each) => shareInView(each, 500)), [1, 0.5, 0.75, 0, 0]);
});
