// The last failure, and the model's notice.

import { card, el, say, show } from "../dom.js";

/** The card of the last failure, with its traceback and the output before it. */
export function failure() {
  const message = el("p", { class: "message", id: "error-message", role: "alert" });
  const [traceback, tracebackText] = text("traceback", "Traceback");
  const [output, outputText] = text("output", "Last output of the model");
  const node = card("error", "Error", { class: "card wide error", hidden: true }, message, traceback, output);
  node.id = "error";

  function draw({ payload: { operation, error } }) {
    show(node, Boolean(error));
    const what = error ? [error.type, error.message].filter(Boolean).join(": ") : "";
    say(message, error && operation ? `${operation} failed. ${what}` : what);
    const lines = (error?.output ?? []).join("\n");
    show(traceback, Boolean(error?.traceback));
    say(tracebackText, error?.traceback ?? "");
    show(output, Boolean(lines));
    say(outputText, lines);
  }
  return { node, draw };
}

function text(id, title) {
  const pre = el("pre", { id: `${id}-text`, tabindex: 0, role: "region", "aria-label": title });
  return [el("details", { id, open: true, hidden: true }, el("summary", {}, title), pre), pre];
}

/**
 * The card with the model's notice and with a gap in the curves.
 *
 * @param missed returns the numbers of the updates that are missing, if any.
 */
export function notice(missed) {
  const node = el("p", { class: "card wide notice", id: "notice", role: "status", hidden: true });

  function draw({ payload }) {
    const gap = missed();
    const lines = [payload.notice, gap && `Updates ${gap.from} to ${gap.to} were missed; curves may have gaps.`];
    const shown = lines.filter(Boolean).join("\n");
    show(node, Boolean(shown));
    say(node, shown);
  }
  return { node, draw };
}
