/** Mouse, touch and keyboard: which event does what to the view. */

import { listenAround } from "./around.js";
import { PLANES, clamp, onSliceBar, sliceAtHeight, stepSlices, voxelAt } from "./geometry.js";

/** @typedef {import("../viewer.js").SliceView} SliceView */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */

/**
 * Whole slices that a wheel event moves by: a notch is one slice, a touchpad's small steps add up.
 *
 * @param {number} rest what earlier events left over
 * @param {number} delta
 * @param {number} mode 0 pixels, 1 lines, 2 pages
 * @returns {{slices: number, rest: number}}
 */
export function wheelSlices(rest, delta, mode) {
  const step = mode === 0 && Math.abs(delta) < 40 ? delta / 40 : Math.sign(delta);
  // a turn of direction starts anew
  const sum = (Math.sign(rest) === -Math.sign(step) ? 0 : rest) + step;
  const slices = Math.trunc(sum + Math.sign(sum) * 1e-9) || 0;
  return { slices, rest: sum - slices };
}

/** What a drag does. @param {{button: number, shiftKey: boolean, altKey: boolean}} event @returns {"pan" | "window" | "cursor"} */
export function dragKind({ button, shiftKey, altKey }) {
  if (button !== 0 || shiftKey) return "pan";
  return altKey ? "window" : "cursor";
}

/** What two fingers have done since the last time: by which factor they are farther apart, and how far their middle has moved. @param {[number, number][]} before @param {[number, number][]} now */
export function pinch(before, now) {
  const apart = (/** @type {[number, number][]} */ [a, b]) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const middle = (/** @type {[number, number][]} */ [a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const [[x0, y0], [x, y]] = [middle(before), middle(now)];
  return { factor: apart(now) / apart(before), x, y, dx: x - x0, dy: y - y0 };
}

/** Listen to the page for a view; the result stops it. @param {SliceView} view @returns {() => void} */
export function listenTo(view) {
  const stop = new AbortController();
  const on = (/** @type {EventTarget} */ target, /** @type {string} */ type, /** @type {(event: any) => void} */ handler) =>
    target.addEventListener(type, handler, { signal: stop.signal, passive: false });
  const { stage, root } = view;
  /** pending: a finger is down and may yet be one of two. @type {{kind: string, plane: PlaneName, x: number, y: number, pending?: boolean} | null} */
  let drag = null;
  /** @type {Map<number, [number, number]>} */
  const fingers = new Map();
  let rest = 0;

  const place = (/** @type {MouseEvent} */ event) => {
    const frame = stage.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    return { x, y, plane: view.lattice ? view.panel(x, y) : null };
  };

  // the explorer's row of buttons asks for a picture
  on(root, "boneviz-keep", () => view.keep());
  on(stage, "wheel", (/** @type {WheelEvent} */ event) => {
    const { x, y, plane } = place(event);
    if (!plane || !view.lattice || !view.chrome.helpBox.hidden) return;
    event.preventDefault();
    event.stopPropagation();
    // keys are for what is looked at
    if (document.activeElement !== stage) stage.focus({ preventScroll: true });
    // with shift held, browsers turn the wheel sideways
    const delta = event.deltaY || event.deltaX;
    if (event.ctrlKey || event.shiftKey) {
      view.zoomBy(Math.exp(-clamp(delta, -200, 200) / 500), plane, x, y);
    } else if (plane !== "mip") {
      const moved = wheelSlices(rest, delta, event.deltaMode);
      rest = moved.rest;
      if (moved.slices) view.moveCursor(stepSlices(view.lattice, view.cursor, PLANES[plane].normal, -moved.slices));
    }
  });

  /** Go to the slice at a height of a plane's bar. @param {PlaneName} plane @param {number} y */
  const slideTo = (plane, y) => {
    const { lattice, cursor } = view;
    const box = view.views[plane]?.box;
    if (!lattice || !box) return;
    const { normal } = PLANES[plane];
    const slice = sliceAtHeight(box, y, lattice.shape[normal]);
    view.moveCursor(stepSlices(lattice, cursor, normal, slice - voxelAt(lattice, cursor)[normal]));
  };

  /** Where the fingers were when the view moved last. @type {[number, number][]} */
  let held = [];
  let pinching = 0;
  const applyPinch = () => {
    cancelAnimationFrame(pinching);
    pinching = 0;
    const now = [...fingers.values()];
    if (drag?.kind !== "pinch" || now.length < 2) return;
    const { factor, x, y, dx, dy } = pinch(held, now);
    held = now;
    const before = view.frame.zoom;
    view.zoomBy(factor, drag.plane, x - dx, y - dy);
    // the scale that is drawn is still the one before
    view.panBy(drag.plane, (dx * before) / view.frame.zoom, (dy * before) / view.frame.zoom);
  };

  /** Whether a pixel is on the bar of its plane. @param {PointerEvent} event @param {PlaneName | null} plane @param {number} x */
  const isOnBar = (event, plane, x) => {
    const box = plane && view.views[plane]?.box;
    return Boolean(box) && onSliceBar(/** @type {PlaneName} */ (plane), /** @type {import("./geometry.js").Box} */ (box), x, event.pointerType === "touch");
  };

  on(stage, "pointerdown", (/** @type {PointerEvent} */ event) => {
    const touch = event.pointerType === "touch";
    if ((drag && !touch) || /** @type {HTMLElement} */ (event.target).closest(".bv-help")) return;
    const { x, y, plane } = place(event);
    if (!plane || fingers.size > 1) return;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (touch) fingers.set(event.pointerId, [x, y]);
    if (fingers.size > 1) {
      view.artist.up();
      drag = { kind: "pinch", plane: drag?.plane ?? plane, x, y };
      held = [...fingers.values()];
      return;
    }
    drag = { kind: dragKind(event), plane, x, y };
    view.pointed = plane;
    if (drag.kind === "cursor" && isOnBar(event, plane, x)) drag.kind = "slice";
    if (drag.kind === "slice") slideTo(plane, y);
    if (drag.kind === "cursor" && view.artist.down(plane, x, y)) drag.kind = "draw";
    if (drag.kind !== "cursor") return;
    if (touch) drag.pending = true;
    else view.pointAt(plane, x, y);
  });

  on(stage, "pointermove", (/** @type {PointerEvent} */ event) => {
    const { x, y, plane } = place(event);
    view.artist.move(plane, x, y);
    if (!drag) {
      view.pointed = plane ?? view.pointed;
      stage.classList.toggle("bv-on-bar", isOnBar(event, plane, x));
      return;
    }
    if (drag.kind === "pinch") {
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
      // each finger tells of itself: both are heard before the view moves
      pinching ||= requestAnimationFrame(applyPinch);
      return;
    }
    const [dx, dy] = [x - drag.x, y - drag.y];
    // a finger at rest trembles
    if (drag.pending && Math.hypot(dx, dy) < 6) return;
    drag = { kind: drag.kind, plane: drag.plane, x, y };
    if (drag.kind === "cursor") view.pointAt(drag.plane, x, y);
    else if (drag.kind === "slice") slideTo(drag.plane, y);
    else if (drag.kind === "pan") view.panBy(drag.plane, dx, dy);
    else if (drag.kind === "window") view.changeWindow(-2 * dy, 4 * dx);
  });

  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    on(stage, type, (/** @type {PointerEvent} */ event) => {
      if (pinching) applyPinch();
      if (type === "pointerup" && drag?.pending) view.pointAt(drag.plane, drag.x, drag.y);
      fingers.delete(event.pointerId);
      view.artist.up();
      drag = null;
    });
  }
  on(stage, "pointerleave", () => drag ?? view.artist.move(null, 0, 0));

  on(stage, "dblclick", (event) => {
    const { x, y, plane } = place(event);
    if (!plane || view.artist.tool !== "look") return;
    view.pointAt(plane, x, y);
    view.centreHere();
  });

  on(stage, "contextmenu", (event) => {
    event.preventDefault();
    event.stopPropagation();
  });

  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && !view.chrome.helpBox.hidden) return view.toggleHelp();
    if (target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = view.artist.actionOf(event.key.toLowerCase(), !target.closest("button, summary")) ?? actionOf(view, event.key);
    if (!action) return;
    event.preventDefault();
    action();
  };
  on(root, "keydown", (/** @type {KeyboardEvent} */ event) => {
    event.stopPropagation();
    onKey(event);
  });
  const stopAround = listenAround(root, onKey);
  return () => {
    cancelAnimationFrame(pinching);
    stopAround();
    stop.abort();
  };
}

/** What a key does. @param {SliceView} view @param {string} key @returns {(() => void) | undefined} */
export function actionOf(view, key) {
  const { lattice, pointed } = view;
  if (!lattice) return undefined;
  const { across, up, normal } = PLANES[pointed];
  const move = (/** @type {number} */ axis, /** @type {number} */ slices) => () =>
    view.moveCursor(stepSlices(lattice, view.cursor, axis, slices));
  const zoom = (/** @type {number} */ factor) => () => {
    const box = view.views[pointed]?.box;
    if (box) view.zoomBy(factor, pointed, box.x + box.width / 2, box.y + box.height / 2);
  };
  const reader = view.info?.readers[Number(key) - 1];
  if (reader) return () => view.toggleReader(reader.name);
  // the regions are Python's: it is told of which case it is asked, and drops what comes late
  const region = (/** @type {string} */ name) => () => view.model.send({ kind: "region", serial: view.serial, key: name });
  /** @type {Record<string, () => void>} */
  const actions = {
    ArrowLeft: move(across, 1),
    ArrowRight: move(across, -1),
    ArrowUp: move(up, 1),
    ArrowDown: move(up, -1),
    PageUp: move(normal, 1),
    PageDown: move(normal, -1),
    "+": zoom(1.25),
    "=": zoom(1.25),
    "-": zoom(0.8),
    c: () => view.set({ mode: "ct" }),
    t: () => view.set({ mode: "pet" }),
    f: () => view.set({ mode: "fused" }),
    v: () => view.nextView(),
    h: () => view.toggleHeat(),
    a: () => view.set({ filled: !view.model.get("filled") }),
    x: () => view.toggleExact(),
    m: () => view.toggleAlone(),
    r: () => view.reset(),
    k: () => view.keep(),
    n: region("next"),
    p: region("previous"),
    s: region("star"),
    "?": () => view.toggleHelp(),
  };
  return actions[key.length === 1 ? key.toLowerCase() : key];
}
