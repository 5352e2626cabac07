/** The controls of drawing: tool, size, reach, SUV limit, undo and redo, and how much is drawn. */

import { el } from "./chrome.js";
import { NO_SUV } from "./pet.js";

/** @typedef {"look" | "brush" | "erase" | "fill"} Tool */
/** @typedef {{tool: Tool, radius: number, solid: boolean, suv: number, within: number}} Settings mm and SUVbw */

/** @type {Record<Tool, {label: string, title: string, key: string}>} */
export const TOOLS = {
  look: { label: "Look", title: "Move the crosshair", key: "l" },
  brush: { label: "Brush", title: "Draw under the pointer; Enter draws at the crosshair", key: "b" },
  erase: { label: "Eraser", title: "Erase under the pointer; Enter erases at the crosshair", key: "e" },
  fill: { label: "Fill", title: "Fill all that is connected to the clicked voxel and as hot as the limit", key: "g" },
};
/** Why nothing can be filled where the PET is in counts. */
export const NO_FILL = `Fill goes by SUV, and there is ${NO_SUV}`;
export const RADIUS = { low: 0.5, high: 25, step: 0.5 };
/** @type {Settings} */
export const FIRST = { tool: "look", radius: 5, solid: false, suv: 2.5, within: 40 };

/** The next radius, in steps that grow with it. @param {number} radius @param {1 | -1} way */
export function nextRadius(radius, way) {
  const at = way < 0 ? radius - 0.01 : radius;
  const step = at < 5 ? 0.5 : at < 15 ? 1 : 2.5;
  return Math.min(RADIUS.high, Math.max(RADIUS.low, Math.round((radius + way * step) * 10) / 10));
}

/** What has been drawn, in words. @param {number} ml @param {boolean} waits @param {string} problem */
export function drawnWords(ml, waits, problem) {
  if (problem) return problem;
  if (waits) return "Working \u2026";
  return ml ? `Drawn ${ml.toFixed(ml < 10 ? 2 : 1)} mL` : "Nothing drawn";
}

/**
 * Build the controls; `show` puts the state into them.
 *
 * @param {{use: (settings: Partial<Settings>) => void, undo: () => void, redo: () => void}} act
 */
export function buildDrawbar(act) {
  const tools = el("span", { class: "bv-segments", role: "group", "aria-label": "Drawing tool" });
  for (const [tool, { label, title, key }] of Object.entries(TOOLS)) {
    tools.append(el("button", {
      type: "button", "data-tool": tool, "data-testid": `tool-${tool}`, "aria-pressed": "false",
      title: `${title} (${key.toUpperCase()})`, onclick: () => act.use({ tool }),
    }, label));
  }
  const number = (/** @type {string} */ name, /** @type {string} */ label, /** @type {Record<string, number>} */ limits) => {
    const input = el("input", {
      type: "number", class: "bv-number", "data-testid": `draw-${name}`, "aria-label": label, ...limits,
      onchange: () => {
        if (input.checkValidity() && Number.isFinite(input.valueAsNumber)) act.use({ [name]: input.valueAsNumber });
        else act.use({});
      },
    });
    return input;
  };
  const radius = number("radius", "Radius of brush and eraser, mm", { min: RADIUS.low, max: RADIUS.high, step: "any" });
  const suv = number("suv", "Fill from this SUV on", { min: 0, max: 1000, step: 0.1 });
  const within = number("within", "Fill within this distance of the clicked voxel, mm", { min: 1, max: 1000, step: "any" });
  const reach = el("span", { class: "bv-segments", role: "group", "aria-label": "Reach of brush and eraser" });
  for (const [solid, label, title] of [[false, "This slice", "A disc on the slice that is seen (D)"], [true, "3D", "A ball: neighbouring slices too (D)"]]) {
    reach.append(el("button", {
      type: "button", "data-solid": String(solid), "data-testid": solid ? "reach-ball" : "reach-slice", "aria-pressed": "false",
      title, onclick: () => act.use({ solid }),
    }, label));
  }
  const fillTool = tools.querySelector("[data-tool=fill]");
  const brushing = el("span", { class: "bv-group" }, el("label", { class: "bv-field" }, "Radius", radius, "mm"), reach);
  const filling = el("span", { class: "bv-group" },
    el("label", { class: "bv-field" }, "SUV \u2265", suv), el("label", { class: "bv-field" }, "within", within, "mm"));
  const step = (/** @type {string} */ name, /** @type {string} */ title, /** @type {() => void} */ onclick) =>
    el("button", { type: "button", class: "bv-tool", "data-testid": `draw-${name.toLowerCase()}`, title, onclick }, name);
  const undo = step("Undo", "Take the last step back (Z)", () => act.undo());
  const redo = step("Redo", "Do it again (Y)", () => act.redo());
  const words = el("span", { class: "bv-drawn", role: "status", "data-testid": "drawn" });
  const bar = el("div", { class: "bv-bar bv-drawbar", role: "toolbar", "aria-label": "Drawing", "data-testid": "drawbar", hidden: true },
    tools, brushing, filling, el("span", { class: "bv-group bv-end" }, words, undo, redo));

  /** @param {Settings} now @param {{ml: number, waits: boolean, problem: string, can: {undo: boolean, redo: boolean}}} drawn @param {boolean} hasSuv */
  const show = (now, { ml, waits, problem, can }, hasSuv) => {
    fillTool.disabled = !hasSuv;
    fillTool.title = hasSuv ? `${TOOLS.fill.title} (G)` : NO_FILL;
    for (const button of tools.children) button.setAttribute("aria-pressed", String(button.dataset.tool === now.tool));
    for (const button of reach.children) button.setAttribute("aria-pressed", String(button.dataset.solid === String(now.solid)));
    brushing.hidden = now.tool !== "brush" && now.tool !== "erase";
    filling.hidden = now.tool !== "fill";
    for (const [input, value] of [[radius, now.radius], [suv, now.suv], [within, now.within]]) {
      if (document.activeElement !== input || !input.checkValidity()) input.value = String(value);
    }
    undo.disabled = waits || !can.undo;
    redo.disabled = waits || !can.redo;
    const said = drawnWords(ml, waits, problem);
    if (words.textContent !== said) words.textContent = said;
    words.classList.toggle("bv-problem", Boolean(problem));
  };
  return { bar, show };
}
