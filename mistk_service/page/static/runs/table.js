// The runs of an experiment: `#/experiments/ID`.

import { ask, attempt } from "../ask.js";
import { el, show } from "../dom.js";
import { tabbed } from "../tabs.js";
import { entitle } from "../title.js";
import { flat, keep, keepInUrl, kept, mayEdit, nowInUrl, pairs, post, read, style } from "../tracking.js";
import { number } from "../words.js";
import { available, chooser, column, usual, valueOf } from "./columns.js";
import { filterField } from "./filter.js";
import { grid } from "./grid.js";
import { markdown } from "./markdown.js";

const FIRST = 100; // runs that are shown at once
const PAGE = 1000; // runs in a later answer
const GROUPED = 10_000; // runs that are loaded to be grouped
const DRAWN = 10; // runs in charts, unless some are selected
const TABS = [["table", "Table"], ["charts", "Charts"], ["sweep", "Sweep"]];

const PARENT = "tags.mlflow.parentRunId";
const split = (text) => (text ? text.split(",").map(decodeURIComponent) : []);
const joined = (list) => list.map(encodeURIComponent).join(",");

export async function mount(container, params) {
  container.classList.add("wide-view");
  const styled = style("./runs/runs.css");
  const id = params.id;
  const memory = `mistk-runs-${id}`;
  const before = kept(memory);
  const state = {
    filter: params.filter ?? "",
    order: params.order ?? "start_time",
    ascending: params.ascending === "1",
    deleted: params.view === "deleted",
    group: params.group ?? "",
    shown: params.columns ? split(params.columns) : (before.shown ?? null),
    pinned: params.pinned ? split(params.pinned) : (before.pinned ?? []),
    tab: TABS.some(([name]) => name === params.tab) ? params.tab : "table",
  };
  let runs = [];
  let token;
  let turn = 0;
  let loading = false;
  let opened = false; // the first tab is
  let closed = new Set();
  const selected = new Map();

  // --- loaded data -----------------------------------------------------------------------------------------------

  async function load({ more = false } = {}) {
    if (more && (loading || !token)) return;
    const mine = more ? turn : (turn += 1);
    loading = true;
    const fields = {
      experiment_ids: [id],
      filter: state.filter,
      run_view_type: state.deleted ? "DELETED_ONLY" : "ACTIVE_ONLY",
      order_by: [`${column(state.order).order ?? "attributes.start_time"} ${state.ascending ? "ASC" : "DESC"}`],
      max_results: more ? PAGE : FIRST,
      page_token: more ? token : undefined,
    };
    const loaded = await attempt(problem, async () => {
      const [answer] = await Promise.all([post("runs/search", fields), styled]);
      if (mine !== turn) return;
      token = answer.next_page_token;
      runs = [...(more ? runs : []), ...(answer.runs ?? []).map(flat)];
    });
    if (mine !== turn) return;
    loading = false;
    if (!more) {
      table.top();
      drawTools();
    }
    draw();
    if (!more && opened && state.tab !== "table") await tabs.open(state.tab);
    if (state.group && token && runs.length < GROUPED && loaded) await load({ more: true });
  }

  // --- display ---------------------------------------------------------------------------------------------------

  const known = {
    fields: () => available(runs).filter((each) => /^(metrics|params|tags)\./.test(each)).map((each) => (/^[\w.]+$/.test(each) ? each : `${each.slice(0, each.indexOf("."))}.\`${each.slice(each.indexOf(".") + 1)}\``)),
    values: (field) => [...new Set(runs.map((run) => valueOf(run, field.replaceAll("`", ""))).filter((value) => value !== undefined).map(String))].slice(0, 50),
  };
  const shownColumns = () => state.shown ?? usual(available(runs));

  const table = grid("Runs", {
    sort: (pressed) => {
      state.ascending = state.order === pressed.id ? !state.ascending : pressed.kind !== "metrics" && pressed.id !== "start_time";
      state.order = pressed.id;
      load();
    },
    near: () => load({ more: true }),
    toggle: (row) => {
      closed[closed.has(row.group) ? "delete" : "add"](row.group);
      draw();
    },
  });

  function select(run, on) {
    if (on) selected.set(run.run_id, run);
    else selected.delete(run.run_id);
  }
  const selectAll = ({ target }) => {
    for (const run of runs) select(run, target.checked);
    draw();
  };
  // The row stays as it is, since it has the focus.
  const selectOne = (run) => ({ target }) => {
    select(run, target.checked);
    run.selected = target.checked;
    target.closest("[role=row]").setAttribute("aria-selected", String(target.checked));
    drawCount();
  };
  const everyRun = () => el("input", { type: "checkbox", "aria-label": "Select all runs that are loaded", checked: runs.length > 0 && runs.every((run) => selected.has(run.run_id)), onchange: selectAll });
  const tick = {
    id: "select",
    label: "Select",
    width: 40,
    pinned: true,
    cell: (run) => el("input", { type: "checkbox", "aria-label": `Select ${run.name}`, checked: selected.has(run.run_id), onchange: selectOne(run) }),
  };

  function grouped() {
    const groups = new Map();
    const names = new Map(runs.map((run) => [run.run_id, run.name]));
    for (const run of runs) {
      const value = valueOf(run, state.group);
      const key = value ?? (state.group === PARENT && runs.some((each) => valueOf(each, PARENT) === run.run_id) ? run.run_id : "");
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(run);
    }
    return [...groups].flatMap(([key, members]) => {
      const label = key === "" ? "none" : state.group === PARENT ? (names.get(key) ?? key) : key;
      const means = shownColumns().filter((each) => each.startsWith("metrics.")).slice(0, 4).map((each) => {
        const values = members.map((run) => Number(valueOf(run, each))).filter(Number.isFinite);
        return values.length ? ` · ${column(each).label} ${number(values.reduce((sum, value) => sum + value, 0) / values.length)}` : "";
      });
      const open = !closed.has(key);
      const head = { group: key, label, open, note: el("span", { class: "quiet" }, `${members.length} ${members.length === 1 ? "run" : "runs"}${means.join("")}`) };
      return open ? [head, ...members] : [head];
    });
  }

  function draw() {
    const pinned = new Set(state.pinned);
    const list = shownColumns().map(column).map((each) => ({ ...each, pinned: each.pinned || pinned.has(each.id) }));
    table.columns([{ ...tick, head: everyRun() }, ...list.filter((each) => each.pinned), ...list.filter((each) => !each.pinned)]);
    table.sorted(state.order, state.ascending);
    for (const run of runs) run.selected = selected.has(run.run_id);
    table.rows(state.group ? grouped() : runs);
    show(empty, !runs.length && !loading && problem.hidden);
    empty.textContent = state.filter ? "No run matches the filter." : state.deleted ? "No run is deleted." : "There is no run yet.";
    drawCount();
    remember();
  }

  function remember() {
    keepInUrl({
      filter: state.filter,
      order: state.order !== "start_time" && state.order,
      ascending: state.ascending && "1",
      view: state.deleted && "deleted",
      group: state.group,
      columns: state.shown && joined(state.shown),
      pinned: state.pinned.length && joined(state.pinned),
      tab: state.tab !== "table" && state.tab,
    });
  }

  function drawTools() {
    const groups = [["", "No groups"], [PARENT, "Parent run"], ...available(runs).filter((each) => /^(params|tags)\./.test(each)).map((each) => [each, each.replace(".", " · ")])];
    if (!groups.some(([value]) => value === state.group)) groups.push([state.group, state.group]);
    group.replaceChildren(...groups.map(([value, label]) => el("option", { value, selected: value === state.group }, label)));
  }

  function drawCount() {
    count.textContent = `${runs.length}${token ? "+" : ""} ${runs.length === 1 ? "run" : "runs"}${selected.size ? `, ${selected.size} selected` : ""}`;
    const chosen = [...selected.values()];
    const compare = el("a", { class: "button solid", href: `#/compare?runs=${chosen.map((run) => run.run_id).join(",")}` }, `Compare ${chosen.length}`);
    actions.replaceChildren(
      ...[
        chosen.length > 1 && compare,
        mayEdit && chosen.length === 1 && !state.deleted && el("button", { onclick: () => rename(chosen[0]) }, "Rename"),
        mayEdit && chosen.length > 0 && (state.deleted ? el("button", { onclick: () => change(chosen, "restore") }, "Restore") : el("button", { onclick: () => remove(chosen) }, "Delete")),
        chosen.length > 0 && el("button", { class: "plain", onclick: () => { selected.clear(); draw(); } }, "Select none"),
      ].filter(Boolean),
    );
  }

  // --- actions ---------------------------------------------------------------------------------------------------

  async function change(chosen, operation) {
    const changed = await attempt(problem, async () => {
      for (const run of chosen) {
        await post(`runs/${operation}`, { run_id: run.run_id });
        selected.delete(run.run_id);
      }
    });
    if (changed) await load();
  }
  async function remove(chosen) {
    const title = chosen.length === 1 ? `Delete the run ${chosen[0].name}?` : `Delete ${chosen.length} runs?`;
    if (await ask(title, { text: "Deleted runs can be restored.", action: "Delete", danger: true })) await change(chosen, "delete");
  }
  async function rename(run) {
    const name = await ask("New name of the run", { value: run.name, action: "Rename" });
    if (name && (await attempt(problem, () => post("runs/update", { run_id: run.run_id, run_name: name })))) {
      selected.clear();
      await load();
    }
  }

  async function fill(name, part) {
    state.tab = name;
    show(tablePart, name === "table");
    remember();
    if (name === "table") return undefined;
    if (name === "sweep") await load({ more: true });
    const chosen = selected.size ? [...selected.values()] : runs;
    const few = name === "charts" && !selected.size && chosen.length > DRAWN;
    if (few) part.append(el("p", { class: "quiet tools" }, `The first ${DRAWN} runs of the table. Select others there.`));
    const here = el("div");
    part.append(here);
    const { mount: mountCharts } = await import(name === "charts" ? "../charts/panel.js" : "../charts/sweep.js");
    return mountCharts(here, few ? chosen.slice(0, DRAWN) : chosen, nowInUrl());
  }

  // --- the view -------------------------------------------------------------------------------------------------

  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const title = el("h1", {}, "…");
  const note = el("div", { class: "quiet" });
  const empty = el("p", { class: "quiet empty", hidden: true });
  const count = el("span", { class: "quiet", role: "status" });
  const actions = el("span", { class: "row" });
  const group = el("select", { "aria-label": "Group", onchange: () => { state.group = group.value; closed = new Set(); load(); } });
  const stage = el("select", { "aria-label": "Which runs", onchange: () => { state.deleted = stage.value === "deleted"; selected.clear(); load(); } }, el("option", { value: "active" }, "Active"), el("option", { value: "deleted", selected: state.deleted }, "Deleted"));
  const choose = el("button", { onclick: () => chooser(available(runs), shownColumns(), state.pinned, (shown, pinned) => {
    Object.assign(state, { shown, pinned });
    keep(memory, { shown, pinned });
    draw();
  }) }, "Columns");
  const refresh = el("button", { onclick: () => load(), title: "Load the runs again" }, "Refresh");
  const filter = filterField(state.filter, known, (text) => {
    if (text === state.filter) return;
    state.filter = text;
    load();
  });
  const tabProblem = el("p", { class: "card notice", role: "alert", hidden: true });
  const tabs = tabbed(TABS, tabProblem, fill);
  const tablePart = el("div", { role: "tabpanel" }, table.node, empty);
  container.append(
    el("div", { class: "row tools" }, el("div", {}, el("p", { class: "quiet crumbs" }, el("a", { href: "#/experiments" }, "Experiments"), " /"), title, note), el("span", { class: "row end" }, count)),
    el("div", { class: "row tools" }, filter, group, stage, choose, refresh),
    problem,
    el("div", { class: "row tools" }, tabs.list, actions),
    tabProblem,
    tablePart,
    tabs.panel,
  );
  const named = attempt(problem, async () => {
    const { experiment } = await read("experiments/get", { experiment_id: id });
    title.textContent = experiment.name;
    note.replaceChildren(...markdown(pairs(experiment.tags)["mlflow.note.content"] ?? ""));
    entitle({ view: experiment.name });
  });
  drawTools();
  await load();
  await named;
  await tabs.open(state.tab);
  opened = true;
  return () => {
    turn += 1;
    table.end();
    tabs.close();
  };
}
