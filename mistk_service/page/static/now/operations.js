// The operations that are possible now, as buttons, each with a form for its parameters.

import { about, ApiError, request } from "../api.js";
import { contract } from "../contract.js";
import { el, rebuild, say, show } from "../dom.js";
import { complain, parameterFields } from "../form.js";
import { readable } from "../words.js";

/** The confirmations for operations of these roles. */
const CONFIRMED = {
  reset: "A running activity is stopped, and a fresh process starts. Everything that was not saved is lost.",
  shutdown: "A running activity is stopped, and the service exits. Everything that was not saved is lost.",
};

/** The list of the operations. */
export function operations() {
  const list = el("ul", { class: "operations", id: "possible", "aria-label": "Operations that are possible now" });
  const nothing = el("p", { class: "quiet", id: "nothing-possible" }, "…");
  const problem = el("p", { class: "message bad", role: "alert", hidden: true });
  const node = el("div", {}, list, nothing, problem);

  function draw({ payload: { possible = [] } }) {
    rebuild(list, possible, () => possible.map((name) => el("li", {}, control(name, problem))));
    const refused = possible.some((name) => about.operations?.[name]?.permitted === false);
    say(nothing, possible.length ? `The role ${about.role} may not call some of them.` : "No operation would be accepted.");
    show(nothing, refused || possible.length === 0);
  }
  return { node, draw };
}

function control(name, problem) {
  const known = about.operations?.[name];
  if (!known) return name;
  const { role, permitted } = known;
  if (!permitted) return readable(name);
  if (role === "prediction") return el("a", { href: "#/try", class: "button" }, "Try it");
  const style = role in CONFIRMED ? "danger" : undefined;
  return el("button", { type: "button", class: style, dataset: { operation: name }, onclick: () => start(name, problem) }, readable(name));
}

/** Begin an operation: at once, or after a dialog that asks for its parameters or for a confirmation. */
async function start(name, problem) {
  show(problem, false);
  try {
    const document = await contract();
    const [method, operation] = Object.entries(document.paths[`/${name}`]).find(([key]) => key !== "parameters");
    const fields = parameterFields(document, operation);
    const { role, streams } = about.operations[name];
    if (fields.nodes.length || streams || CONFIRMED[role]) ask(name, method, operation, fields);
    else await call(name, method, {});
  } catch (error) {
    say(problem, error.message);
    show(problem, true);
    if (!(error instanceof ApiError)) throw error;
  }
}

const call = (name, method, options) => request(`${about.api}/${name}`, { ...options, method: method.toUpperCase() });

/** Open the dialog of an operation. */
function ask(name, method, operation, fields) {
  const { role, streams } = about.operations[name];
  const problem = el("p", { class: "message bad", role: "alert" });
  const output = el("pre", { class: "stream", tabindex: 0, role: "region", "aria-label": "Output", hidden: true });
  const begin = el("button", { class: CONFIRMED[role] ? "danger solid" : "solid" }, readable(name));
  const ended = new AbortController();
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { id: "dialog-title" }, readable(name)),
    el("p", { class: "quiet" }, CONFIRMED[role] ?? operation.summary),
    fields.nodes,
    problem,
    output,
    el("div", { class: "row end" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), begin),
  );
  const dialog = el("dialog", { class: "card", "aria-labelledby": "dialog-title", onclose: () => {
    ended.abort();
    dialog.remove();
  } }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(problem, "");
    begin.disabled = true;
    try {
      const response = await call(name, method, { ...fields.read(), signal: ended.signal });
      if (streams) await follow(response, output);
      else dialog.close();
    } catch (error) {
      if (error.name === "AbortError") return;
      say(problem, error.message);
      complain(form, error.field ?? error.body?.field);
    }
    begin.disabled = false;
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Show the lines of a stream as they arrive. Closing the dialog ends it. */
async function follow(response, output) {
  show(output, true);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    output.append(part.value);
    output.scrollTop = output.scrollHeight;
  }
}
