// Dialogs that ask for a confirmation or a text.

import { el } from "./dom.js";

/** Ask the user, and return the answer: true or the text; null if it was cancelled.
 * @param title the question.
 * @param options `text`, an explanation; `value`, the initial text if a text is requested; `action`, the label of the button;
 *   `danger`, whether data is lost.
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
 * Do something, and show an error in `place`. Returns whether it succeeded.
 *
 * An earlier error is hidden at the beginning, not at the end, since something else may have failed in the meantime.
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
