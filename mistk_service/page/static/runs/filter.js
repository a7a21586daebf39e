// A field for MLflow's filter grammar, which completes names, comparators and values.

import { el } from "../dom.js";

const ATTRIBUTES = ["run_name", "status", "user_id", "start_time", "end_time", "run_id", "artifact_uri", "datasets.name", "datasets.digest", "datasets.context"];
const NUMBERS = /^(metrics?\.|start_time|end_time|attributes?\.(start|end)_time)/;
const STATES = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];
const FIELD = "(?:[\\w.]+\\.)?(?:`[^`]*`|\"[^\"]*\"|[^\\s=<>!(),'`]+)";

/** A name in a filter: in backticks unless it is plain. */
export const named = (kind, key) => (/^[\w.]+$/.test(key) ? `${kind}.${key}` : `${kind}.\`${key}\``);

/** What may be written at the end of a text: `{from, options}`, the start of the word and its possible replacements. */
export function completions(before, known) {
  const value = new RegExp(`(${FIELD})\\s*(?:!=|=|i?like)\\s*('[^']*|[^\\s']*)$`, "i").exec(before);
  if (value) {
    const [, field, typed] = value;
    const values = field === "status" || field.endsWith(".status") ? STATES : known.values(field);
    return pick(values.map((each) => `'${each.replaceAll("'", "")}'`), typed, before.length);
  }
  const comparator = new RegExp(`(?:^|\\sand\\s|\\()\\s*(${FIELD})\\s+([a-z<>!=]*)$`, "i").exec(before);
  if (comparator) {
    const [, field, typed] = comparator;
    return pick(NUMBERS.test(field) ? ["=", "!=", ">", ">=", "<", "<="] : ["=", "!=", "LIKE", "ILIKE", "IN", "IS NULL", "IS NOT NULL"], typed, before.length);
  }
  const field = /(?:^|\sand\s|\()\s*([^\s=<>!()]*)$/i.exec(before);
  if (field) return pick([...known.fields(), ...ATTRIBUTES], field[1], before.length);
  const joint = /\s([a-z]*)$/i.exec(before);
  return joint ? pick(["AND"], joint[1], before.length) : { from: before.length, options: [] };
}

function pick(options, typed, end) {
  const lower = typed.toLowerCase();
  const found = options.filter((each) => each.toLowerCase().includes(lower) && each !== typed);
  found.sort((a, b) => Number(b.toLowerCase().startsWith(lower)) - Number(a.toLowerCase().startsWith(lower)));
  return { from: end - typed.length, options: found.slice(0, 12) };
}

/**
 * The field.
 *
 * @param value the filter.
 * @param known `fields()`, the existing names; `values(field)`, the values of one.
 * @param onchange called with a new filter.
 */
export function filterField(value, known, onchange) {
  const list = el("ul", { class: "completions", role: "listbox", id: "filter-options", "aria-label": "Completions", hidden: true });
  const input = el("input", {
    type: "search",
    class: "filter",
    value,
    placeholder: "Filter: metrics.loss < 0.1 AND params.model = 'tree'",
    "aria-label": "Filter in MLflow's grammar",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
  });
  let from = 0;
  let chosen = -1;

  function close() {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function offer() {
    const found = completions(input.value.slice(0, input.selectionStart), known);
    from = found.from;
    chosen = -1;
    list.replaceChildren(
      ...found.options.map((option, i) => el("li", { role: "option", id: `filter-option-${i}`, onmousedown: (event) => { event.preventDefault(); take(option); } }, option)),
    );
    list.hidden = !found.options.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }
  function take(option) {
    const rest = input.value.slice(input.selectionStart);
    input.value = `${input.value.slice(0, from)}${option} ${rest.trimStart()}`;
    const caret = from + option.length + 1;
    input.setSelectionRange(caret, caret);
    offer();
  }
  function mark(step) {
    const options = [...list.children];
    chosen = (chosen + step + options.length + (chosen < 0 && step < 0 ? 1 : 0)) % options.length;
    options.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
    options[chosen].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[chosen].id);
  }
  const commit = () => {
    close();
    onchange(input.value.trim());
  };
  input.addEventListener("input", () => (input.value ? offer() : commit()));
  input.addEventListener("focus", offer);
  input.addEventListener("blur", close);
  input.addEventListener("change", commit);
  input.addEventListener("keydown", (event) => {
    if (["ArrowDown", "ArrowUp"].includes(event.key) && list.children.length) {
      event.preventDefault();
      if (list.hidden) offer();
      else mark(event.key === "ArrowDown" ? 1 : -1);
    } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
      event.preventDefault();
      take(list.children[chosen].textContent);
    } else if (event.key === "Enter") commit();
    else if (event.key === "Escape") close();
  });
  return el("div", { class: "filter-box" }, input, list);
}
