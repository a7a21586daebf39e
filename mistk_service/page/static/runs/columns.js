// The columns that a table of runs may have, and the dialog that chooses among them.

import { el } from "../dom.js";
import { ago, moment, statusBadge } from "../tracking.js";
import { duration, number } from "../words.js";
import { named } from "./filter.js";

const time = (ms) => el("time", { title: moment(ms) }, ago(ms));

const ATTRIBUTES = {
  name: {
    label: "Run",
    width: 240,
    pinned: true,
    order: "attributes.run_name",
    cell: (run) => el("a", { href: `#/experiments/${run.experiment_id}/runs/${run.run_id}`, title: run.name }, run.name),
  },
  status: { label: "Status", width: 110, order: "attributes.status", cell: (run) => statusBadge(run.status) },
  start_time: { label: "Started", width: 130, order: "attributes.start_time", cell: (run) => time(run.start_time) },
  duration: {
    label: "Duration",
    width: 110,
    number: true,
    cell: (run) => (run.end_time || run.status === "RUNNING" ? duration(((run.end_time || Date.now()) - run.start_time) / 1000) : ""),
  },
  user_id: { label: "User", width: 110, order: "attributes.user_id", cell: (run) => run.user_id ?? "" },
  source: { label: "Source", width: 140, cell: (run) => run.tags["mlflow.source.name"] ?? "" },
  run_id: { label: "Run id", width: 290, order: "attributes.run_id", cell: (run) => el("code", {}, run.run_id) },
};

const KINDS = ["metrics", "params", "tags"];

/** The value of a run for the id of a column of a metric, a param or a tag; undefined if it has none. */
export function valueOf(run, id) {
  const kind = id.slice(0, id.indexOf("."));
  return KINDS.includes(kind) ? run[kind][id.slice(kind.length + 1)] : run[id];
}

/** The column of an id. */
export function column(id) {
  const attribute = ATTRIBUTES[id];
  if (attribute) return { id, ...attribute, sortable: Boolean(attribute.order) };
  const kind = id.slice(0, id.indexOf("."));
  const key = id.slice(kind.length + 1);
  const isMetric = kind === "metrics";
  return {
    id,
    label: key,
    kind,
    width: isMetric ? 130 : 140,
    number: isMetric,
    sortable: true,
    order: named(kind, key),
    cell: (run) => {
      const value = valueOf(run, id);
      if (value === undefined) return "";
      return isMetric ? el("span", { title: String(value) }, number(value)) : el("span", { title: value }, value);
    },
  };
}

/** All columns that runs may have, by id. */
export function available(runs) {
  const found = { metrics: new Set(), params: new Set(), tags: new Set() };
  for (const run of runs) {
    for (const kind of KINDS) for (const key of Object.keys(run[kind])) if (kind !== "tags" || !key.startsWith("mlflow.")) found[kind].add(key);
  }
  return [...Object.keys(ATTRIBUTES), ...KINDS.flatMap((kind) => [...found[kind]].sort().map((key) => `${kind}.${key}`))];
}

/** The default columns of a table. */
export function usual(ids) {
  const some = (kind, count) => ids.filter((id) => id.startsWith(`${kind}.`) && !id.startsWith("metrics.system/")).slice(0, count);
  return ["name", "status", "start_time", "duration", ...some("metrics", 5), ...some("params", 5)];
}

/** Let the visitor choose columns and pin them; calls `onchange(shown, pinned)` with lists of ids. */
export function chooser(ids, shown, pinned, onchange) {
  const chosen = new Set(shown);
  const fixed = new Set(pinned);
  const changed = () => onchange([...ids, ...shown.filter((id) => !ids.includes(id))].filter((id) => chosen.has(id)).sort((a, b) => place(a) - place(b)), [...fixed]);
  const place = (id) => (shown.includes(id) ? shown.indexOf(id) : shown.length + ids.indexOf(id));
  const tick = (set, id, label) => {
    const box = el("input", { type: "checkbox", checked: set.has(id), onchange: () => { set[box.checked ? "add" : "delete"](id); changed(); } });
    return el("label", {}, box, ` ${label}`);
  };
  const rows = ids.map((id) => el("li", { dataset: { id } }, tick(chosen, id, `${column(id).kind ? `${column(id).kind} · ` : ""}${column(id).label}`), tick(fixed, id, "pin")));
  const search = el("input", {
    type: "search",
    "aria-label": "Find a column",
    placeholder: "Find a column",
    oninput: () => rows.forEach((row) => { row.hidden = !row.dataset.id.toLowerCase().includes(search.value.toLowerCase()); }),
  });
  const dialog = el(
    "dialog",
    { class: "ask", "aria-label": "Columns" },
    el("div", { class: "row" }, el("p", { class: "lead" }, "Columns"), el("button", { class: "plain end", onclick: () => dialog.close() }, "Done")),
    search,
    el("ul", { class: "choices" }, rows),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
