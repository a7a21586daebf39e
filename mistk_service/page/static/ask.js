// Dialogs that ask for a confirmation or a text.

import { el } from "./dom.js";

/**
 * Ask, and return what was chosen: true or the text; null if it was cancelled.
 *
 * @param title what is asked.
 * @param options `text`, an explanation; `value`, if a text is asked for, what it is before; `action`, the label of the button;
 *   `danger`, whether something is lost.
 */
export function ask(title, { text, value, action = "OK", danger = false } = {}) {
  const field = value === undefined ? null : el("input", { value, "aria-label": title, required: true });
  const dialog = el(
    "dialog",
    { class: "ask", "aria-label": title },
    el(
      "form",
      { method: "dialog" },
      el("p", { class: "lead" }, title),
      text && el("p", { class: "quiet" }, text),
      field,
      el(
        "div",
        { class: "row end" },
        el("button", { value: "", formnovalidate: true }, "Cancel"),
        el("button", { value: "yes", class: danger ? "danger solid" : "solid", autofocus: !field }, action),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  field?.select();
  // Enter in the field presses the first button, which cancels.
  field?.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && field.value) {
      event.preventDefault();
      dialog.close("yes");
    }
  });
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? (field ? field.value : true) : null);
    });
  });
}

/**
 * Do something, and show in `place` what went wrong. Returns whether it succeeded.
 *
 * What went wrong before is hidden at the beginning, not at the end: something else may have failed meanwhile.
 */
export async function attempt(place, action) {
  place.hidden = true;
  try {
    await action();
    return true;
  } catch (error) {
    place.textContent = error.message;
    place.hidden = false;
    return false;
  }
}
