// Runs side by side: `#/compare?runs=ID,ID`.

import { attempt } from "../ask.js";
import { el } from "../dom.js";
import { tabbed } from "../tabs.js";
import { entitle } from "../title.js";
import { flat, keepInUrl, moment, nowInUrl, read, statusBadge, style } from "../tracking.js";
import { duration, number } from "../words.js";
import { color } from "../charts/colors.js";
import { files } from "./files.js";

const TABS = [["values", "Values"], ["charts", "Charts"], ["sweep", "Sweep"], ["files", "Files"]];
const MOST = 100; // runs

export async function mount(container, params) {
  await Promise.all([style("./runs/runs.css"), style("./compare/compare.css")]);
  container.classList.add("wide-view");
  const ids = [...new Set((params.runs ?? "").split(",").filter(Boolean))].slice(0, MOST);
  const first = TABS.some(([name]) => name === params.tab) ? params.tab : "values";
  let onlyDifferent = params.all !== "1";
  let runs = [];

  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const tabs = tabbed(TABS, problem, fill);

  /** A table with a row for each key and a column for each run; values that differ are marked. */
  function section(title, kind, show) {
    const keys = [...new Set(runs.flatMap((run) => Object.keys(run[kind])))].filter((key) => kind !== "tags" || !key.startsWith("mlflow.")).sort();
    const rows = keys.map((key) => [key, runs.map((run) => run[kind][key])]).filter(([, values]) => !onlyDifferent || new Set(values.map(String)).size > 1);
    const numbers = (values) => values.map(Number).filter(Number.isFinite);
    const body = rows.map(([key, values]) => {
      const [low, high] = [Math.min(...numbers(values)), Math.max(...numbers(values))];
      return el("tr", {}, el("th", { scope: "row" }, key), values.map((value) => {
        const td = el("td", { title: String(value ?? "") }, value === undefined ? el("span", { class: "quiet" }, "–") : show(value));
        if (kind === "metrics" && high > low && Number.isFinite(Number(value))) {
          td.classList.add("bar");
          td.style.setProperty("--share", (Number(value) - low) / (high - low));
        }
        return td;
      }));
    });
    if (!body.length) return [el("tr", { class: "part" }, el("th", { scope: "rowgroup", colspan: runs.length + 1 }, title, el("span", { class: "quiet" }, keys.length ? " all the same" : " none")))];
    return [el("tr", { class: "part" }, el("th", { scope: "rowgroup", colspan: runs.length + 1 }, title)), ...body];
  }

  function values(part) {
    const box = el("input", { type: "checkbox", checked: onlyDifferent, onchange: () => { onlyDifferent = box.checked; tabs.open("values"); } });
    const heads = runs.map((run, n) => {
      const swatch = el("i", { class: "swatch" });
      swatch.style.background = color(n);
      return el("th", { scope: "col" }, swatch, el("a", { href: `#/experiments/${run.experiment_id}/runs/${run.run_id}` }, run.name));
    });
    const fact = (label, show) => el("tr", {}, el("th", { scope: "row" }, label), runs.map((run) => el("td", {}, show(run))));
    part.append(
      el("label", { class: "row tools" }, box, " Only what differs"),
      el("div", { class: "card scroll-x", tabindex: 0, role: "region", "aria-label": "Values" }, el(
        "table",
        { class: "compared" },
        el("thead", {}, el("tr", {}, el("td"), heads)),
        el(
          "tbody",
          {},
          fact("Status", (run) => statusBadge(run.status)),
          fact("Started", (run) => moment(run.start_time)),
          fact("Duration", (run) => (run.end_time ? duration((run.end_time - run.start_time) / 1000) : "")),
          fact("User", (run) => run.user_id ?? ""),
          section("Params", "params", (value) => value),
          section("Metrics", "metrics", (value) => number(value)),
          section("Tags", "tags", (value) => value),
        ),
      )),
    );
  }

  async function fill(name, part, isOpen) {
    keepInUrl({ tab: name !== "values" && name, all: !onlyDifferent && "1" });
    if (name === "values") return values(part);
    if (name === "files") return files(part, runs, params.path, (path) => { if (isOpen()) keepInUrl({ path }); });
    const { mount: charts } = await import(name === "charts" ? "../charts/panel.js" : "../charts/sweep.js");
    return charts(part, runs, nowInUrl());
  }

  container.append(el("div", { class: "row tools" }, el("h1", {}, `Compare ${ids.length} runs`)), problem, el("div", { class: "tools" }, tabs.list), tabs.panel);
  const loaded = await attempt(problem, async () => {
    if (ids.length < 2) throw new Error("The address names fewer than two runs. Select runs in the table of an experiment, and compare them.");
    runs = (await Promise.all(ids.map((id) => read("runs/get", { run_id: id })))).map((answer) => flat(answer.run));
  });
  entitle({ view: `Compare ${ids.length} runs` });
  if (loaded) await tabs.open(first);
  return tabs.close;
}
