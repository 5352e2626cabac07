/**
 * Thresholds of the models and the dial between two. What is moved here is set in the slice viewer
 * of the same page, which draws it in the next frame; the kernel hears of it from the viewer.
 */

/** @typedef {{name: string, colour: string, dashed: boolean}} Look */
/** @typedef {{experts: string[], expert: string, chosen: string, models: Look[], ends: [string, string] | null, end_words: [string, string], dial_colour: string, place: boolean, why: string[]}} Content */

const SPEAK_AFTER_MS = 700;
const DEFAULT = 0.5;

/** @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string)} children @returns {any} */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** @param {string} colour @param {boolean} dashed */
function sign(colour, dashed) {
  const mark = make("span", { class: dashed ? "bv-swatch bv-dashed" : "bv-swatch", "aria-hidden": "true" });
  mark.style.setProperty("--bv-colour", colour);
  return mark;
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const root = make("div", { class: "bv-root bv-operating", role: "group", "aria-label": "Operating point", "data-lm-suppress-shortcuts": "true", "data-testid": "operating" });
  const spoken = make("div", { class: "bv-spoken", role: "status", "aria-live": "polite" });
  // JupyterLab must not take the arrow keys that are meant for a slider
  root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.stopPropagation());
  el.append(root);
  /** @type {any} the slice viewer */
  let viewer = null;
  let closed = false;
  let built = "";
  let speaking = 0;
  /** Puts the viewer's values into the sliders. */
  let fill = () => {};

  /** @param {Record<string, any>} values */
  const set = (values) => {
    if (!viewer) return;
    viewer.set(values);
    viewer.save_changes();
  };
  /** @returns {Content} */
  const content = () => model.get("content");
  /** Whose curve is drawn, or will be once the kernel has answered. */
  let curve = { expert: "", chosen: "" };
  /** Have the curve of another model or expert drawn. @param {Partial<typeof curve>} wish */
  const choose = (wish) => {
    const wanted = { ...curve, ...wish };
    if (wanted.expert === curve.expert && wanted.chosen === curve.chosen) return;
    curve = wanted;
    model.send({ kind: "curve", expert: curve.expert, model: curve.chosen });
    fill();
  };

  /** One row of the grid. @param {HTMLElement} chip @param {[string, string]} ends @param {HTMLInputElement} slider @param {(HTMLElement)[]} values */
  const row = (chip, [low, high], slider, ...values) => [
    chip, make("div", { class: "bv-op-scale" }, make("span", { "aria-hidden": "true" }, low), slider, make("span", { "aria-hidden": "true" }, high)),
    make("span", { class: "bv-op-value" }, ...values),
  ];

  const build = () => {
    const { experts, models, ends, end_words: words, dial_colour: colour, place, why } = content();
    const rows = make("div", { class: "bv-op-rows" });
    /** @type {(() => void)[]} */
    const fills = [];
    const chip = (/** @type {string} */ name, /** @type {string} */ label, /** @type {HTMLElement} */ swatch, /** @type {() => void} */ act) => {
      const button = make("button", { type: "button", class: "bv-reader", "data-testid": `curve-${label}`, title: `Draw the curve of ${label}`, onclick: act }, swatch, make("span", {}, label));
      fills.push(() => button.setAttribute("aria-pressed", String(curve.chosen === name)));
      return button;
    };
    const threshold = (/** @type {string} */ name) => viewer?.get("thresholds")[name] ?? DEFAULT;
    for (const { name, colour: own, dashed } of models) {
      const value = make("output", {});
      const slider = make("input", {
        type: "range", min: 0.01, max: 1, step: 0.01, "data-testid": `threshold-${name}`, "aria-label": `Threshold of ${name}: the probability from which on it says yes`,
        title: "From which probability on the model says yes; double-click for 0.50",
        oninput: () => move(slider.valueAsNumber), ondblclick: () => move(DEFAULT),
      });
      const move = (/** @type {number} */ at) => {
        choose({ chosen: name });
        set({ thresholds: { ...viewer?.get("thresholds"), [name]: at } });
      };
      fills.push(() => {
        slider.value = String(threshold(name));
        value.textContent = `\u2265 ${threshold(name).toFixed(2)}`;
        slider.setAttribute("aria-valuetext", `${threshold(name).toFixed(2)} and above`);
      });
      rows.append(...row(chip(name, name, sign(own, dashed), () => choose({ chosen: name })), ["outlines more", "less"], slider, value));
    }
    if (ends) {
      const [first, second] = ends;
      const value = make("output", {});
      const slider = make("input", {
        type: "range", min: 0, max: 1, step: 0.01, "data-testid": "dial", "aria-label": `Dial from ${words[0]} to ${words[1]}: one more outline between ${first} and ${second}`,
        title: "One more outline between the two models, at both their thresholds", oninput: () => turn(slider.valueAsNumber),
      });
      const turn = (/** @type {number} */ at) => {
        choose({ chosen: "" });
        set({ dial: { first, second, at } });
      };
      const off = make("button", { type: "button", class: "bv-tool", "data-testid": "dial-off", title: "Take the dial's outline away", onclick: () => set({ dial: {} }) }, "Off");
      fills.push(() => {
        const at = viewer?.get("dial").at;
        off.hidden = at === undefined;
        if (at !== undefined) slider.value = String(at);
        value.textContent = at === undefined ? "off" : `${Math.round(100 * at)} %`;
        slider.setAttribute("aria-valuetext", at === undefined ? "off" : `${Math.round(100 * at)} percent of the way to ${second}`);
      });
      slider.value = "0.5";
      rows.append(...row(chip("", "Dial", sign(colour, true), () => turn(slider.valueAsNumber)), words, slider, value, off));
    }
    const against = make("span", { class: "bv-segments", role: "group", "aria-label": "Expert of the curve" });
    for (const name of experts) {
      const button = make("button", { type: "button", "data-testid": `against-${name}`, onclick: () => choose({ expert: name }) }, name);
      fills.push(() => button.setAttribute("aria-pressed", String(curve.expert === name)));
      against.append(button);
    }
    const reset = make("button", { type: "button", class: "bv-tool bv-end", "data-testid": "operating-reset", title: "All thresholds back to 0.50, the dial off", onclick: () => set({ thresholds: {}, dial: {} }) }, "Reset");
    const head = make("div", { class: "bv-op-head" }, make("span", { class: "bv-field" }, make("span", {}, "Curve against"), against), reset);
    head.hidden = !models.length;
    const notes = ends && !place ? [...why, "Slices show at most eight readers: the dial's outline finds no place among them."] : why;
    root.replaceChildren(head, rows, ...notes.map((text) => make("div", { class: "bv-op-why" }, text)), spoken);
    fill = () => fills.forEach((step) => step());
  };

  const update = () => {
    const { expert, chosen, ...rest } = content();
    curve = { expert, chosen };
    const key = JSON.stringify(rest);
    // built anew under a moving hand, a slider would be lost
    if (key !== built) build();
    built = key;
    fill();
  };
  const follow = () => fill();
  const speak = () => {
    clearTimeout(speaking);
    speaking = window.setTimeout(() => { spoken.textContent = model.get("spoken"); }, SPEAK_AFTER_MS);
  };
  model.on("change:content", update);
  model.on("change:spoken", speak);
  update();
  void model.widget_manager.get_model(model.get("viewer").replace("IPY_MODEL_", "")).then((/** @type {any} */ found) => {
    if (closed) return;
    viewer = found;
    viewer.on("change:thresholds change:dial", follow);
    fill();
  });
  return () => {
    closed = true;
    clearTimeout(speaking);
    viewer?.off("change:thresholds change:dial", follow);
    model.off("change:content", update);
    model.off("change:spoken", speak);
    root.remove();
  };
}

export default { render };
