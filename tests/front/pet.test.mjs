/** What the page says of a PET, in SUVbw and in counts. */
import assert from "node:assert/strict";
import test from "node:test";

import { Artist } from "../../boneviz/show/front/artist.js";
import { NO_FILL } from "../../boneviz/show/front/drawbar.js";
import { movedRange, petHeadline, petNumber, petText, rangeOf, showPet } from "../../boneviz/show/front/pet.js";
import { Pictures } from "../../boneviz/show/front/pictures.js";
import { inWords, valuesAt } from "../../boneviz/show/front/readout.js";
import { emptyLoad } from "../../boneviz/show/front/store.js";
import { wordsOf } from "../../boneviz/show/front/snapshot.js";

const SUV = { unit: "SUVbw", origin: ["SUVbw = stored value x 0.000312", "<b>weight</b>"], scale: 1, range: null };
const COUNTS = { unit: "counts", origin: ["PatientWeight (0010,1030) is absent"], scale: 4, range: [0, 24000] };

test("an SUV has two decimals, counts the digits that half floats know", () => {
  assert.equal(petText(2.5, SUV), "2.50");
  assert.equal(petText(6336.5, COUNTS), "25350"); // 25346 to four digits
  assert.equal(petText(-0, COUNTS), "0");
  assert.equal(petText(0.75, { ...COUNTS, scale: 2 ** -20 }), "7.153e-7"); // 0.75 / 1048576
});

test("the range is the case's own in counts, and keeps an extent", () => {
  assert.deepEqual(rangeOf(SUV, [0, 8], [0, 24000]), [0, 8]);
  assert.deepEqual(rangeOf(COUNTS, [0, 8], [0, 24000]), [0, 24000]);
  assert.deepEqual(rangeOf(undefined, [0, 8], [0, 1]), [0, 8]);
  assert.deepEqual(movedRange([0, 24000], 1, 500), [0, 500]);
  assert.deepEqual(movedRange([100, 24000], 1, 50), [100, 124]); // a thousandth of 24000 above the other end
  assert.deepEqual(movedRange([0, 2e-6], 0, 1), [2e-6 - 2e-9, 2e-6]);
});

test("a control shows the whole number of counts, however small or large", () => {
  assert.deepEqual([7.456, 8].map((value) => petNumber(value, SUV)), ["7.46", "8"]);
  assert.deepEqual([93900, 123456, 0.00012, 2.5e9].map((value) => petNumber(value, COUNTS)), ["93900", "123456", "0.00012", "2500000000"]);
});

test("readout and words name counts, and never an SUV", () => {
  const lattice = { shape: [1, 1, 2], spacing: [1, 1, 1], origin: [0, 0, 0] };
  const half = { lattice, bytes: 4, type: "half" };
  const load = emptyLoad({ pet: COUNTS, readers: [], volumes: { ct: half, pet: half, bits: { lattice, bytes: 2, type: "bits" } } });
  load.arrays.pet.set(new Uint8Array(Uint16Array.from([0, 0x6400]).buffer)); // the half float 1024
  const found = valuesAt(load, [0, 0, 1], {});
  assert.deepEqual([found.unit, found.suv], ["counts", "4096"]);
  assert.equal(inWords(found), "R 0.0  A 0.0  S 1.0 mm, 0 HU, 4096 counts, marked by nobody");
  const plan = { fill: { kind: "none" }, lines: [] };
  const look = { level: 400, width: 1800, suvMin: 0, suvMax: 24000, mode: "pet" };
  assert.equal(wordsOf(plan, { pet: COUNTS }, look), "PET 0 to 24000 counts, no SUV: PET in counts, not for diagnosis");
});

test("a projection without WebGL2 is coloured by counts, not by what travels", () => {
  const drawn = [];
  globalThis.ImageData = class { constructor(w, h) { this.data = new Uint8ClampedArray(4 * w * h); } };
  globalThis.document = { createElement: () => ({ getContext: () => ({ putImageData: (image) => drawn.push(image.data[0]) }) }) };
  const pictures = Object.create(Pictures.prototype);
  pictures.ready = new Map();
  // one voxel of 512, which stands for 512 x 4 = 2048 counts: a quarter of 8192, a grey of 64
  pictures.volumes = new Map([["mip", { lattice: { shape: [1, 1, 1] }, bytes: new Uint8Array(Uint16Array.from([0x6000]).buffer) }]]);
  pictures.drawProjection({ suvMin: 0, suvMax: 8192, petScale: 4, colourMap: "grey" });
  assert.deepEqual(drawn, [64]);
});

/** An element that takes texts and attributes, and no markup. */
function element(tag = "") {
  const classes = new Set();
  return {
    tag, attributes: {}, children: [], textContent: "", parentElement: {},
    append(...children) { this.children.push(...children); },
    replaceChildren(...children) { this.children = children; },
    classes, classList: { toggle: (name, on) => void (on ? classes.add(name) : classes.delete(name)) },
    setAttribute(name, value) { this.attributes[name] = value; },
    set innerHTML(_) { throw new Error("markup"); },
  };
}

test("controls name the unit, and the derivation is text in a disclosure", () => {
  globalThis.document = { createElement: element };
  const chrome = Object.fromEntries(["petUnit", "petReading", "suvMin", "suvMax", "origin", "originHead", "originList"].map((name) => [name, element()]));
  showPet(chrome, SUV);
  assert.deepEqual([chrome.petUnit.textContent, chrome.petReading.textContent, chrome.origin.hidden], ["SUV", "SUVbw", false]);
  assert.equal(chrome.originHead.textContent, "Where these SUV come from");
  assert.deepEqual(chrome.originList.children.map(({ tag, children }) => [tag, children]), SUV.origin.map((line) => ["li", [line]]));
  chrome.origin.open = true;
  showPet(chrome, COUNTS);
  assert.deepEqual([chrome.petUnit.textContent, chrome.petReading.textContent, chrome.suvMax.step], ["Counts", "counts", "any"]);
  assert.equal(chrome.suvMin.attributes["aria-label"], "Lowest counts shown");
  assert.equal(chrome.suvMax.parentElement.title, "Highest counts shown");
  assert.deepEqual([...chrome.suvMax.classes], ["bv-wide"]); // room for six digits
  assert.deepEqual([chrome.originHead.textContent, chrome.origin.open], ["There is no SUV: PET in counts", false]);
  assert.deepEqual(chrome.originList.children.map(({ children }) => children), [COUNTS.origin]);
  showPet(chrome, { ...SUV, origin: [] });
  assert.deepEqual([chrome.origin.hidden, petHeadline({ ...SUV, origin: [] })], [true, ""]);
});

test("nothing is filled by SUV where there is none", () => {
  const artist = Object.create(Artist.prototype);
  const shown = [];
  Object.assign(artist, { view: { info: { pet: COUNTS }, refresh() {} }, settings: { tool: "brush" }, easel: { problem: "", sheet: { ml: 0 } } });
  artist.drawbar = { show: (settings, { problem }, hasSuv) => shown.push([settings.tool, problem, hasSuv]) };
  artist.actionOf("g", true)();
  artist.view.info = { pet: SUV };
  artist.easel.problem = "";
  artist.actionOf("g", true)();
  assert.deepEqual(shown, [["brush", NO_FILL, false], ["fill", "", true]]);
  assert.equal(NO_FILL, "Fill goes by SUV, and there is no SUV: PET in counts");
});
