/** The controls around the slices, as plain labelled HTML. Names from data are text, never markup. */

import { COLOUR_MAPS, WINDOWS } from "./window.js";

/** @typedef {{name: string, colour: string, dashed: boolean}} ReaderStyle */

/** What the keyboard and mouse do, as shown by `?`. */
export const HELP = [
  ["Click or drag", "move the crosshair"],
  ["Wheel, or drag the bar at a plane's right", "next or previous slice"],
  ["Arrow keys", "move the crosshair in the plane under the pointer"],
  ["Page Up, Page Down", "next or previous slice"],
  ["Double-click", "centre all planes there"],
  ["Ctrl or Shift + wheel, + and \u2212", "zoom"],
  ["Shift + drag, right or middle drag", "pan"],
  ["Two fingers", "zoom and pan"],
  ["Alt + drag", "CT window: sideways width, up and down level"],
  ["1 to 8", "switch a reader on or off, in the view Readers"],
  ["C, T, F", "CT, PET (tracer) or fused"],
  ["V", "next view: readers, disagreement, error, probability"],
  ["H", "disagreement as heat: how many say yes"],
  ["N, P", "next or previous region of disagreement"],
  ["S", "star the region for the report"],
  ["A", "fill what each reader marks, in the view Readers"],
  ["X", "smooth contours, or the voxels' own edges"],
  ["M", "the plane under the pointer alone, or all four"],
  ["R", "reset views and window"],
  ["K", "keep the slices as a picture (PNG)"],
  ["?", "this help"],
];

/** What is added where a case may be drawn on. */
export const DRAWING_HELP = [
  ["B, E, G, L", "brush, eraser, fill from an SUV on, or look"],
  ["Click or drag with brush or eraser", "draw or erase"],
  ["Enter", "draw, erase or fill at the crosshair"],
  ["[ and ]", "smaller or larger brush and eraser"],
  ["D", "brush and eraser on this slice alone, or as a ball"],
  ["Z, Y", "undo, redo"],
];

/**
 * An element with properties, attributes and children; strings become text nodes.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** @param {string} label @param {HTMLElement} control @param {string} [hint] */
function field(label, control, hint = "") {
  return el("label", { class: "bv-field", title: hint }, el("span", {}, label), control);
}

/** @param {string} id @param {string} label @param {number} step @param {(value: number) => void} onChange */
function number(id, label, step, onChange) {
  const input = el("input", {
    type: "number", step, "aria-label": label, "data-testid": id, class: "bv-number",
    onchange: () => Number.isFinite(input.valueAsNumber) && onChange(input.valueAsNumber),
  });
  return input;
}

/** A line as it is drawn on the slices: solid or dashed. @param {ReaderStyle} style */
export function swatch(style) {
  const mark = el("span", { class: style.dashed ? "bv-swatch bv-dashed" : "bv-swatch", "aria-hidden": "true" });
  mark.style.setProperty("--bv-colour", style.colour);
  return mark;
}

/**
 * Build all controls. `act` says what a control does; `show` of the result puts values into them.
 *
 * @param {Record<string, (...values: any[]) => void>} act
 */
export function buildChrome(act) {
  const patient = el("span", { class: "bv-patient", "data-testid": "patient" });
  const modes = el("span", { class: "bv-segments", role: "group", "aria-label": "Layers shown" });
  for (const [mode, label] of [["ct", "CT"], ["fused", "Fused"], ["pet", "PET"]]) {
    modes.append(el("button", { type: "button", "data-mode": mode, "data-testid": `mode-${mode}`, "aria-pressed": "false", onclick: () => act.set({ mode }) }, label));
  }
  const preset = el("select", {
    "data-testid": "window-preset", "aria-label": "CT window preset", onchange: () => act.preset(preset.value),
  });
  for (const [name, { label }] of Object.entries({ ...WINDOWS, full: { label: "Full range" }, custom: { label: "Custom" } })) {
    preset.append(el("option", { value: name }, label));
  }
  const level = number("level", "CT window level, HU", 10, (value) => act.set({ level: value }));
  const width = number("width", "CT window width, HU", 50, (value) => act.set({ width: Math.max(1, value) }));
  const suvMin = number("suv-min", "Lowest SUV shown", 0.5, (value) => act.petRange(0, value));
  const suvMax = number("suv-max", "Highest SUV shown", 0.5, (value) => act.petRange(1, value));
  const petFrom = field("SUV", suvMin, "Lowest SUV shown");
  const map = el("select", {
    "data-testid": "colour-map", "aria-label": "PET colour map", onchange: () => act.set({ colour_map: map.value }),
  });
  for (const [name, label] of Object.entries(COLOUR_MAPS)) map.append(el("option", { value: name }, label));
  const opacity = el("input", {
    type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Opacity of PET over CT", "data-testid": "opacity",
    oninput: () => act.set({ opacity: opacity.valueAsNumber }),
  });
  const exact = el("button", {
    type: "button", class: "bv-tool", "data-testid": "exact", "aria-pressed": "false",
    title: "Draw the voxels' own edges instead of smooth contours (X)", onclick: () => act.toggleExact(),
  }, "Voxel edges");
  const filled = el("button", {
    type: "button", class: "bv-tool", "data-testid": "filled", "aria-pressed": "false",
    title: "Fill what each reader marks, in the view Readers (A)", onclick: () => act.toggleFilled(),
  }, "Fill areas");
  const reset = el("button", {
    type: "button", class: "bv-tool", "data-testid": "reset", title: "Reset views and window (R)", onclick: () => act.reset(),
  }, "Reset");
  const help = el("button", {
    type: "button", class: "bv-tool bv-round", "data-testid": "help", "aria-label": "Keyboard and mouse help", title: "Help (?)", onclick: () => act.help(),
  }, "?");
  const bar = el(
    "div", { class: "bv-bar", role: "toolbar", "aria-label": "Display" },
    modes,
    el("span", { class: "bv-group" }, field("Window", preset), field("L", level, "Level, HU"), field("W", width, "Width, HU")),
    el("span", { class: "bv-group" }, petFrom, field("to", suvMax, "Highest SUV shown"), map),
    field("PET", opacity, "Opacity of PET over CT"),
    el("span", { class: "bv-group bv-end" }, filled, exact, reset, help),
  );
  const legend = el("div", { class: "bv-legend", role: "group", "aria-label": "Readers' contours" });
  const coarse = el("span", { class: "bv-coarse", "data-testid": "coarse", hidden: true });
  // where the outline between two models is named
  const dial = el("span", { class: "bv-dial-chip", "data-testid": "dial-chip", hidden: true });
  const head = el("div", { class: "bv-head" }, patient, coarse, legend);

  const cells = Object.fromEntries(["position", "hu", "suv", "yes", "probability"].map((name) => [name, el("span", { class: `bv-value bv-${name}`, "data-testid": `readout-${name}` })]));
  const petReading = el("i", { "data-testid": "pet-unit" }, "SUVbw");
  const readout = el(
    "div", { class: "bv-readout", "data-testid": "readout", role: "group", "aria-label": "At the crosshair" },
    el("span", {}, el("i", {}, "mm"), cells.position),
    el("span", {}, el("i", {}, "HU"), cells.hu),
    el("span", {}, petReading, cells.suv),
    el("span", {}, el("i", {}, "Marked by"), cells.yes),
    el("span", { hidden: true }, el("i", {}, "Probability"), cells.probability),
  );
  // a disclosure of the browser's own: by keyboard and screen reader too
  const originHead = el("summary", { "data-testid": "origin-head" });
  const originList = el("ul", {});
  const origin = el("details", { class: "bv-origin", "data-testid": "origin", hidden: true }, originHead, originList);
  // spoken once the crosshair rests, not at every step
  const spoken = el("div", { class: "bv-spoken", role: "status", "aria-live": "polite" });

  const helpList = el("dl", {});
  for (const [keys, what] of HELP) helpList.append(el("dt", {}, keys), el("dd", {}, what));
  for (const [keys, what] of DRAWING_HELP) helpList.append(el("dt", { class: "bv-drawing" }, keys), el("dd", { class: "bv-drawing" }, what));
  const helpClose = el("button", { type: "button", class: "bv-tool", "data-testid": "help-close", onclick: () => act.help() }, "Close");
  const helpBox = el(
    "div", { class: "bv-help", role: "dialog", "aria-label": "Keyboard and mouse", "data-testid": "help-box", hidden: true },
    el("strong", {}, "Keyboard and mouse"), helpList, helpClose,
  );
  const pet = { petUnit: petFrom.firstChild, petReading, origin, originHead, originList };
  return { patient, modes, preset, level, width, suvMin, suvMax, map, opacity, filled, exact, bar, legend, dial, coarse, head, readout, cells, spoken, helpBox, helpClose, ...pet };
}

/**
 * One button per reader.
 *
 * @param {HTMLElement} legend
 * @param {ReaderStyle[]} readers
 * @param {(name: string) => void} onToggle
 */
export function fillLegend(legend, readers, onToggle) {
  legend.replaceChildren(
    ...readers.map((reader, i) =>
      el(
        "button",
        {
          type: "button", class: "bv-reader", "data-testid": `reader-${i + 1}`, "aria-pressed": "true",
          title: `Show or hide ${reader.name} (${i + 1})`, onclick: () => onToggle(reader.name),
        },
        swatch(reader), el("span", {}, reader.name), el("kbd", { "aria-hidden": "true" }, String(i + 1)),
      ),
    ),
  );
}
