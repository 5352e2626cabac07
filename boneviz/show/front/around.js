/** What lies around the viewer in the page: keys pressed there, and whether it is in view. */

/** Widgets whose keys are the viewer's too: JupyterLab would cut the cell at an X. */
const WHOLE = ".boneviz-explorer, .boneviz-teaching";
/** Who has a use of his own for letters. */
const TYPING = "input, select, textarea, [contenteditable]";
/** Less of the slices than this share, and they are brought into view. */
const ENOUGH = 0.5;

/** Listen in the widget around a viewer, for keys of letters, digits and signs; the result stops it. @param {HTMLElement} root of the viewer @param {(event: KeyboardEvent) => void} onKey @returns {() => void} */
export function listenAround(root, onKey) {
  const stop = new AbortController();
  const heard = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    // arrows, tab and enter belong to tabs and tables
    if (event.key.length !== 1 || event.key === " " || root.contains(target) || target.closest(TYPING)) return;
    onKey(event);
  };
  // it has a size once it has its place in the page
  const placed = new ResizeObserver(() => {
    const whole = /** @type {HTMLElement | null} */ (root.closest(WHOLE));
    if (!whole) return;
    placed.disconnect();
    whole.dataset.lmSuppressShortcuts = "true";
    whole.tabIndex = -1;
    whole.style.outline = "none";
    whole.addEventListener("keydown", heard, { signal: stop.signal });
    // after a click on what takes no focus, JupyterLab gives it to the cell, and the keys with it
    whole.addEventListener("click", () => {
      if (document.activeElement?.contains(whole)) whole.focus({ preventScroll: true });
    }, { signal: stop.signal });
  });
  placed.observe(root);
  return () => {
    placed.disconnect();
    stop.abort();
  };
}

/** The share of an element's height that is in the window, 0 to 1. @param {DOMRect} frame @param {number} windowHeight */
export function shareInView({ top, bottom, height }, windowHeight) {
  return height ? Math.max(0, Math.min(bottom, windowHeight) - Math.max(top, 0)) / height : 0;
}

/** Scroll to an element unless enough of it is seen. @param {HTMLElement} element */
export function bringIntoView(element) {
  if (shareInView(element.getBoundingClientRect(), window.innerHeight) < ENOUGH) element.scrollIntoView({ block: "nearest" });
}
