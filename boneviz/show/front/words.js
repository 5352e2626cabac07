/** Words and numbers beside the slices, written after them: a browser takes longer over text. */

import { swatch } from "./chrome.js";
import { petNumber } from "./pet.js";
import { clearReadout, fillReadout, inWords, valuesAt } from "./readout.js";
import { presetOf } from "./window.js";

/** @typedef {{look: import("./scene.js").Look, plan: import("./modes.js").Plan, held: import("./blend.js").Held, thresholds: Record<string, number>, cursor: import("./geometry.js").Vec3, presets: any, pet: any}} Said what controls and readout tell */

const SPEAK_AFTER_MS = 700;
const WRITE_EVERY_MS = 100;

export class Words {
  /** @param {any} chrome controls and readout @param {HTMLElement} root says in data-busy that words wait */
  constructor(chrome, root) {
    this.chrome = chrome;
    this.root = root;
    this.timers = { write: 0, speak: 0 };
    this.wroteAt = 0;
    this.unwritten = () => {};
  }

  /** Write when the picture is drawn, and at most every 100 ms; a newer job takes the place of one that waits. @param {() => void} job */
  later(job) {
    this.unwritten = job;
    this.root.dataset.busy = "true";
    if (this.timers.write) return;
    const wait = Math.max(0, this.wroteAt + WRITE_EVERY_MS - performance.now());
    this.timers.write = window.setTimeout(() => {
      this.timers.write = 0;
      this.wroteAt = performance.now();
      delete this.root.dataset.busy;
      this.unwritten();
    }, wait);
  }

  /** Leave no word of the case before. */
  forget() {
    clearTimeout(this.timers.write);
    clearTimeout(this.timers.speak);
    this.timers = { write: 0, speak: 0 };
    this.unwritten = () => {};
    delete this.root.dataset.busy;
    this.chrome.spoken.textContent = "";
    clearReadout(this.chrome.cells);
  }

  /** Put the values into the controls and the readout. @param {Said} said */
  fill({ look, plan, held, thresholds, cursor, presets, pet }) {
    const { chrome } = this;
    for (const button of chrome.modes.children) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === look.mode));
    }
    chrome.preset.value = presetOf(look.level, look.width, presets);
    const inputs = [[chrome.level, look.level], [chrome.width, look.width], [chrome.suvMin, look.suvMin], [chrome.suvMax, look.suvMax], [chrome.opacity, look.opacity]];
    for (const [input, value] of inputs) {
      const text = input === chrome.suvMin || input === chrome.suvMax ? petNumber(value, pet) : String(Math.round(value * 100) / 100);
      if (input.value !== text && !(document.activeElement === input && input.type === "number")) input.value = text;
    }
    chrome.map.value = look.colourMap;
    chrome.exact.setAttribute("aria-pressed", String(look.exact));
    chrome.filled.setAttribute("aria-pressed", String(plan.fill.kind === "areas"));
    chrome.filled.disabled = plan.view !== "readers";
    // in the other views the pair says who is drawn, and in which colours
    chrome.legend.hidden = plan.view !== "readers";
    const made = held.info.readers.find((reader) => reader.made);
    plan.lines.filter((line) => line.name !== made?.name).forEach((line, i) => chrome.legend.children[i]?.setAttribute("aria-pressed", String(line.visible)));
    chrome.dial.hidden = !made;
    if (made) chrome.dial.replaceChildren(swatch(made), made.name);
    const found = valuesAt(held, cursor, thresholds);
    fillReadout(chrome.cells, found);
    clearTimeout(this.timers.speak);
    this.timers.speak = window.setTimeout(() => {
      chrome.spoken.textContent = inWords(found);
    }, SPEAK_AFTER_MS);
  }
}
