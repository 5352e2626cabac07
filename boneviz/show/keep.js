/** The row of buttons that keep what is seen; files are saved by the browser, from memory. */

/** @param {string} tag @param {Record<string, string>} attributes @param {string} [text] */
function make(tag, attributes, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return /** @type {any} */ (element);
}

/** Hand a file to the browser's downloads. @param {string} name @param {BlobPart} content */
function save(name, content) {
  const address = URL.createObjectURL(new Blob([content]));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // the browser reads it in its own time
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export default {
  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    // several pages may show one explorer: each is answered for itself
    const asker = `${Date.now()}-${Math.random()}`;
    const bar = make("div", { class: "bk-bar", role: "toolbar", "aria-label": "Keep what you see", "data-testid": "keep" });
    const said = make("span", { class: "bk-said", role: "status" });
    const field = make("input", {
      type: "text", class: "bk-link", "aria-label": "Link to this view", "data-testid": "link", spellcheck: "false", autocomplete: "off",
      placeholder: "Link to this view: copy one, or paste one and open it",
    });
    // the keys belong to the field, not to the notebook
    el.dataset.lmSuppressShortcuts = "true";

    const ask = (/** @type {Record<string, string>} */ wish, /** @type {string} */ words) => {
      for (const button of bar.querySelectorAll("button")) button.disabled = true;
      said.classList.remove("bk-failed");
      said.textContent = words;
      model.send({ ...wish, asker });
    };
    const button = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ act) => {
      const made = make("button", { type: "button", title }, text);
      made.addEventListener("click", act);
      return made;
    };
    const open = () => {
      if (field.value.trim()) ask({ kind: "open", text: field.value.trim() }, "Opening ...");
    };
    field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      event.stopPropagation();
      if (event.key === "Enter") open();
    });
    bar.append(make("span", { class: "bk-title" }, "Keep"));
    const picture = () => {
      // the slices are drawn in the page: their own viewer makes the picture, without the kernel
      el.closest(".boneviz-explorer")?.querySelector("[data-testid=boneviz-viewer]")?.dispatchEvent(new CustomEvent("boneviz-keep"));
    };
    bar.append(button("Picture PNG", "The slices as they are drawn, with legend, without the patient's name (key K)", picture));
    for (const { key, label, hint } of model.get("buttons")) {
      bar.append(button(label, hint, () => ask({ kind: "file", key }, `${label} ...`)));
    }
    bar.append(
      field,
      button("Copy link", "A text that opens this view again: patient, place, readers, window, stars", () => ask({ kind: "link" }, "Link ...")),
      button("Open link", "Go to the view that the link in the field describes", open),
      said,
    );

    const onAnswer = async (/** @type {any} */ answer, /** @type {DataView[]} */ buffers) => {
      if (answer.asker !== asker) return;
      for (const each of bar.querySelectorAll("button")) each.disabled = false;
      said.classList.toggle("bk-failed", Boolean(answer.failed));
      if (answer.failed) said.textContent = answer.failed;
      else if (answer.kind === "file") {
        save(answer.name, /** @type {any} */ (buffers[0]));
        said.textContent = `${answer.name} is in your downloads.`;
      } else if (answer.kind === "link") {
        field.value = answer.text;
        field.select();
        try {
          await navigator.clipboard.writeText(answer.text);
          said.textContent = "The link is copied.";
        } catch {
          said.textContent = "The link is in the field: copy it from there.";
        }
      } else said.textContent = "Opened.";
    };
    model.on("msg:custom", onAnswer);
    el.append(bar);
    return () => {
      model.off("msg:custom", onAnswer);
      bar.remove();
    };
  },
};
