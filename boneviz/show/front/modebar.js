/** The controls of the views: which one, of whom, at which threshold, and what the colours mean. */

import { el } from "./chrome.js";
import { VIEWS, VIEW_NAMES, meanings, offered, thresholdOf, washMap, whyNot } from "./modes.js";
import { colourTable } from "./window.js";

/** @typedef {import("./modes.js").Info} Info */
/** @typedef {import("./modes.js").Plan} Plan */
/** @typedef {import("./modes.js").Reader} Reader */
/** @typedef {import("./modes.js").ViewName} ViewName */

/** What the two readers of a pair are called in each view. @type {Record<ViewName, [string, string]>} */
const ROLES = {
  readers: ["Reference", "Candidate"],
  disagreement: ["Reference", "Candidate"],
  error: ["Expert", "Model"],
  probability: ["Outline", "Model"],
};

/** @param {string} id @param {(value: string) => void} onChange */
function chooser(id, onChange) {
  const select = el("select", { "data-testid": id, onchange: () => onChange(select.value) });
  const label = el("span", {}, "Reader");
  return { select, label, whole: el("label", { class: "bv-field" }, label, select) };
}

/** Offer names, one of them chosen. @param {HTMLSelectElement} select @param {string[]} names @param {string} chosen */
function offer(select, names, chosen) {
  if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  }
  select.value = chosen;
}

/** @param {import("./modes.js").Meaning} meaning */
function meaningOf({ mark, colour, text }) {
  const sign = el("span", { class: `bv-sign bv-${mark}`, "aria-hidden": "true" });
  sign.style.setProperty("--bv-colour", colour);
  return el("span", { class: "bv-meaning", role: "listitem" }, sign, el("span", {}, text));
}

/** From 0 to 1 in the colours of a map, as they cover a slice. @param {string} map */
function scale(map) {
  const table = colourTable(map);
  const stops = Array.from({ length: 11 }, (_, i) => {
    const at = 4 * Math.round(25.5 * i);
    const cover = Math.min(1, i / 2);
    return `rgb(${[0, 1, 2].map((c) => Math.round(table[at + c] * cover)).join(" ")})`;
  });
  const bar = el("span", { class: "bv-scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  return bar;
}

/**
 * Build the controls. `act` says what each does; `show` puts the state into them.
 *
 * @param {{view: (name: ViewName) => void, heat: () => void, pair: (place: 0 | 1, name: string) => void, threshold: (name: string, value: number) => void, refresh: () => void}} act
 */
export function buildModebar(act) {
  let tuned = "";
  const views = el("span", { class: "bv-segments", role: "group", "aria-label": "View" });
  for (const name of VIEW_NAMES) {
    const { label } = VIEWS[name];
    views.append(el("button", { type: "button", "data-view": name, "data-testid": `view-${name}`, "aria-pressed": "false", onclick: () => act.view(name) }, label));
  }
  const reference = chooser("pair-reference", (name) => act.pair(0, name));
  const candidate = chooser("pair-candidate", (name) => act.pair(1, name));
  const pair = el("span", { class: "bv-group", role: "group", "aria-label": "Readers compared" }, reference.whole, candidate.whole);
  const heat = el("button", {
    type: "button", class: "bv-tool", "data-testid": "heat", "aria-pressed": "false",
    title: "How many of all readers say yes (H)", onclick: () => act.heat(),
  }, "Heat");
  const legend = el("div", { class: "bv-meanings", role: "list", "aria-label": "What the colours mean", "data-testid": "meanings" });
  const model = chooser("threshold-model", (name) => {
    tuned = name;
    act.refresh();
  });
  const slider = el("input", {
    type: "range", min: 0.01, max: 1, step: 0.01, "data-testid": "threshold", "aria-label": "Threshold",
    title: "From which probability on the model says yes; double-click for 0.50",
    oninput: () => act.threshold(tuned, slider.valueAsNumber), ondblclick: () => act.threshold(tuned, 0.5),
  });
  const value = el("output", { class: "bv-threshold-value", "data-testid": "threshold-value" });
  const threshold = el("span", { class: "bv-group bv-end", role: "group", "aria-label": "Threshold" }, model.whole, slider, value);
  const bar = el("div", { class: "bv-bar bv-modebar", role: "toolbar", "aria-label": "Views and thresholds" }, views, pair, heat, threshold);
  let meant = "";

  /** @param {Plan} plan @param {Info} info @param {Record<string, number>} thresholds @param {string} petMap */
  const show = (plan, info, thresholds, petMap) => {
    const names = (/** @type {Reader[]} */ readers) => readers.map((reader) => reader.name);
    for (const button of views.children) {
      const name = /** @type {ViewName} */ (button.dataset.view);
      const why = whyNot(name, info.readers);
      button.setAttribute("aria-pressed", String(name === plan.view));
      button.disabled = Boolean(why);
      button.title = why || `${VIEWS[name].title} (V)`;
    }
    pair.hidden = !plan.pair || plan.heat;
    heat.hidden = plan.view !== "disagreement";
    heat.setAttribute("aria-pressed", String(plan.heat));
    if (plan.pair) {
      const [references, candidates] = offered(plan.view, info.readers);
      offer(reference.select, names(references), plan.pair[0]);
      offer(candidate.select, names(candidates), plan.pair[1]);
      [reference.label.textContent, candidate.label.textContent] = ROLES[plan.view];
      const learns = info.readers.some(({ name, kind }) => name === plan.pair?.[1] && kind === "learner");
      if (plan.view === "error" && learns) candidate.label.textContent = "Learner";
    }
    const models = names(info.readers.filter((reader) => reader.probability));
    const fixed = plan.view === "error" || plan.view === "probability" ? (plan.pair?.[1] ?? models[0]) : "";
    // in the other views the slider's own choice, at first the candidate
    tuned = models.includes(fixed) ? fixed : models.includes(tuned) ? tuned : models[0] ?? "";
    threshold.hidden = fixed ? !models.includes(fixed) : !models.length;
    offer(model.select, models, tuned);
    model.select.hidden = Boolean(fixed);
    model.label.textContent = fixed ? "Threshold" : "Threshold of";
    if (tuned) {
      const now = thresholdOf(thresholds, tuned);
      slider.value = String(now);
      slider.setAttribute("aria-label", `Threshold of ${tuned}`);
      value.textContent = now.toFixed(2);
    }
    legend.hidden = plan.view === "readers" && !plan.why;
    const words = meanings(plan, info, thresholds);
    const key = JSON.stringify([plan.fill.kind, plan.why, words, petMap]);
    if (key === meant) return;
    meant = key;
    const before = [];
    if (plan.why) before.push(plan.why);
    if (plan.fill.kind === "heat") before.push(`how many of ${info.readers.length} readers say yes:`);
    if (plan.fill.kind === "wash") before.push("probability 0", scale(washMap(petMap)), "1");
    legend.replaceChildren(...before, ...words.map(meaningOf));
  };
  const clear = () => {
    meant = "";
    legend.replaceChildren();
    pair.hidden = threshold.hidden = true;
  };
  clear();
  heat.hidden = true;
  return { bar, legend, show, clear };
}
