/** What each view shows: whose contours, what is filled, and what the colours mean. Pure. */

/** @typedef {"readers" | "disagreement" | "error" | "probability"} ViewName */
/** @typedef {{volume: string, mip: string, first: [number, number, number], profile: number[][]}} Probability */
/** @typedef {{name: string, colour: string, dashed: boolean, kind: "expert" | "model" | "learner", learned_from: string, probability: Probability | null, made?: boolean}} Reader one that is made in the page has no bit */
/** @typedef {{name: string, colour: string, dashed: boolean, visible: boolean}} Line */
/** @typedef {{kind: "none"} | {kind: "areas", names: string[]} | {kind: "pair", reference: string, candidate: string} | {kind: "heat"} | {kind: "wash", model: string}} Fill */
/** @typedef {{mark: "stripes" | "counter" | "dots" | "flat" | "line" | "dashes", colour: string, text: string}} Meaning */
/** @typedef {{view: ViewName, pair: string[], visible: string[], heat: boolean, filled: boolean, thresholds: Record<string, number>}} Wish what the traits say */
/** @typedef {{view: ViewName, heat: boolean, pair: [string, string] | null, lines: Line[], fill: Fill, why: string}} Plan */
/** @typedef {{readers: Reader[], pair_colours: [string, string, string], heat_colours: string[]}} Info */

/** @type {Record<ViewName, {label: string, title: string}>} */
export const VIEWS = {
  readers: { label: "Readers", title: "Everybody's contours" },
  disagreement: { label: "Disagreement", title: "Where one of two readers says yes, or both" },
  error: { label: "Error", title: "A model against an expert: found, missed, extra" },
  probability: { label: "Probability", title: "A model's map with its threshold" },
};

export const VIEW_NAMES = /** @type {ViewName[]} */ (Object.keys(VIEWS));
export const DEFAULT_THRESHOLD = 0.5;

/** What the bytes of a prediction mean once read from disk: float32 of byte times slope. */
const SLOPE = Math.fround(1 / 255);

/** The lowest byte that is inside at a threshold; the same voxels as Prediction.mask in Python. @param {number} threshold */
export function leastByte(threshold) {
  const sought = Math.fround(threshold);
  for (let byte = 0; byte < 256; byte++) if (Math.fround(byte * SLOPE) >= sought) return byte;
  return 256;
}

/** @param {Record<string, number>} thresholds @param {string} name */
export function thresholdOf(thresholds, name) {
  return thresholds[name] ?? DEFAULT_THRESHOLD;
}

/** Who may be the reference and who the candidate of a view. @param {ViewName} view @param {Reader[]} readers @returns {[Reader[], Reader[]]} */
export function offered(view, readers) {
  const of = (/** @type {string} */ kind) => readers.filter((reader) => reader.kind === kind);
  if (view === "error") return [of("expert"), readers.filter((reader) => reader.kind !== "expert")];
  if (view === "probability") return [readers, readers.filter((reader) => reader.probability)];
  return [readers, readers];
}

/**
 * The pair that a view shows: the chosen one as far as the view allows, else an expert and his
 * model; null where there is none.
 *
 * @param {ViewName} view @param {string[]} pair @param {Reader[]} readers
 * @returns {[string, string] | null}
 */
export function pairOf(view, pair, readers) {
  const [references, candidates] = offered(view, readers);
  const among = (/** @type {Reader[]} */ some, /** @type {string | undefined} */ name) => some.some((reader) => reader.name === name);
  const chosen = [pair[1], pair[0]].find((name) => among(candidates, name));
  const against = [pair[0], pair[1]].find((name) => name !== chosen && among(references, name)) ?? (chosen ? undefined : references[0]?.name);
  const pupil = view === "disagreement" ? undefined : candidates.find((reader) => reader.learned_from === against);
  const candidate = chosen ?? (pupil ?? candidates.find((reader) => reader.name !== against))?.name;
  const teacher = readers.find((reader) => reader.name === candidate)?.learned_from;
  const reference = against ?? (among(references, teacher) ? teacher : references.find((reader) => reader.name !== candidate)?.name);
  return reference && candidate ? [reference, candidate] : null;
}

/** The pair after one of its two names was chosen; choosing the other's name swaps them. @param {[string, string]} pair @param {0 | 1} place @param {string} name @returns {[string, string]} */
export function chosenPair(pair, place, name) {
  const other = pair[1 - place] === name ? pair[place] : pair[1 - place];
  return place === 0 ? [name, other] : [other, name];
}

/** Whether a view has something to show of these readers; else why not. @param {ViewName} view @param {Reader[]} readers */
export function whyNot(view, readers) {
  if (view === "disagreement" && readers.length < 2) return "Disagreement needs two readers.";
  if (view === "error" && !pairOf(view, [], readers)) return "Error needs an expert and a model.";
  if (view === "probability" && !offered(view, readers)[1].length) return "No model comes with probabilities here.";
  return "";
}

/** The next view that has something to show. @param {ViewName} view @param {Reader[]} readers @returns {ViewName} */
export function nextView(view, readers) {
  const from = VIEW_NAMES.indexOf(view);
  const after = [...VIEW_NAMES.slice(from + 1), ...VIEW_NAMES.slice(0, from)];
  return after.find((name) => !whyNot(name, readers)) ?? view;
}

/** What to draw. @param {Wish} wish @param {Info} info @returns {Plan} */
export function planOf(wish, info) {
  const { readers } = info;
  const why = whyNot(wish.view, readers);
  const view = why ? "readers" : wish.view;
  const own = readers.map(({ name, colour, dashed }) => ({ name, colour, dashed, visible: wish.visible.includes(name) }));
  const plain = { view, heat: false, pair: null, lines: own, fill: /** @type {Fill} */ ({ kind: "none" }), why };
  if (view === "readers") return wish.filled ? { ...plain, fill: { kind: "areas", names: own.filter((line) => line.visible).map(({ name }) => name) } } : plain;
  if (view === "disagreement" && wish.heat) {
    return { ...plain, heat: true, pair: pairOf(view, wish.pair, readers), lines: own.map((line) => ({ ...line, visible: false })), fill: { kind: "heat" } };
  }
  const pair = pairOf(view, wish.pair, readers);
  const [reference, candidate] = pair ?? ["", ""];
  if (view === "probability") {
    const [model] = pair ? [candidate] : offered(view, readers)[1].map((reader) => reader.name);
    const lines = own.map((line) => ({ ...line, visible: line.name === reference || line.name === model }));
    return { ...plain, pair, lines, fill: { kind: "wash", model } };
  }
  const lines = own.map((line) => ({
    name: line.name,
    colour: info.pair_colours[line.name === candidate ? 1 : 0],
    dashed: line.name === candidate,
    visible: line.name === reference || line.name === candidate,
  }));
  return { ...plain, pair, lines, fill: { kind: "pair", reference, candidate } };
}

/** What the colours of a plan mean, in words. @param {Plan} plan @param {Info} info @param {Record<string, number>} thresholds @returns {Meaning[]} */
export function meanings(plan, info, thresholds) {
  const [first, second, both] = info.pair_colours;
  const [reference, candidate] = plan.pair ?? ["", ""];
  if (plan.fill.kind === "heat") {
    return info.heat_colours.map((colour, i) => ({ mark: "flat", colour, text: String(i + 1) }));
  }
  if (plan.fill.kind === "wash") {
    const { model } = plan.fill;
    return plan.lines.filter((line) => line.visible).map((line) => ({
      mark: line.dashed ? "dashes" : "line",
      colour: line.colour,
      text: line.name === model ? `${model} at ${thresholdOf(thresholds, model).toFixed(2)}` : line.name,
    }));
  }
  if (plan.fill.kind === "none" || plan.fill.kind === "areas") return [];
  const words = plan.view === "error"
    ? [`missed: only ${reference}`, `extra: only ${candidate}`, "found: both"]
    : [`only ${reference}`, `only ${candidate}`, "both"];
  return [
    { mark: "stripes", colour: first, text: words[0] },
    { mark: "counter", colour: second, text: words[1] },
    { mark: "dots", colour: both, text: words[2] },
  ];
}

/** The colour map of probabilities: another than that of the PET. @param {string} petMap */
export function washMap(petMap) {
  return petMap === "viridis" ? "inferno" : "viridis";
}

/**
 * The lowest and highest voxel that anybody marks: the bits' box, grown by what models mark at
 * their thresholds.
 *
 * @param {[number[], number[]] | null} box @param {Reader[]} readers @param {Record<string, number>} thresholds
 * @returns {[number[], number[]] | null}
 */
export function boxAt(box, readers, thresholds) {
  let [low, high] = box ?? [[Infinity, Infinity, Infinity], [-1, -1, -1]];
  for (const { name, probability } of readers) {
    if (!probability) continue;
    const least = leastByte(thresholdOf(thresholds, name));
    const ends = probability.profile.map((values) => [
      values.findIndex((v) => v >= least), values.findLastIndex((v) => v >= least),
    ]);
    if (ends.some(([from]) => from < 0)) continue;
    low = low.map((v, axis) => Math.min(v, probability.first[axis] + ends[axis][0]));
    high = high.map((v, axis) => Math.max(v, probability.first[axis] + ends[axis][1]));
  }
  return high[0] < 0 ? null : [low, high];
}
