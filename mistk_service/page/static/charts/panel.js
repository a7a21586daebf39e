// The charts of all metrics of one or several runs.

import { el, show } from "../dom.js";
import { status, watch } from "../status.js";
import { flat, keep, keepInUrl, kept, read, style } from "../tracking.js";
import { available, column, valueOf } from "../runs/columns.js";
import { chart } from "./chart.js";
import { color, onTheme } from "./colors.js";
import { AXES } from "./data.js";
import { moves } from "./gestures.js";
import { loadUPlot } from "./uplot.js";

const LIVE = 2000; // ms between two updates of running runs
const PAUSE = 200; // minimum ms between two updates of a run that changes all the time
const MEMORY = "mistk-charts";

const prefix = (key) => (key.includes("/") ? key.slice(0, key.lastIndexOf("/")) : "");
const few = (runs) => runs.length === 1;

/**
 * Show the charts.
 *
 * @param container where.
 * @param runs the runs, as `flat` makes them.
 * @param params the query of the URL.
 * @param options `keys`, a function that selects metrics; by default all but those of the system.
 */
export async function mount(container, runs, params, { keys = (key) => !key.startsWith("system/") } = {}) {
  const [uPlot] = await Promise.all([loadUPlot(), style("./charts/charts.css")]);
  const before = kept(MEMORY);
  // An address with settings contains all of them, so that it can be shared.
  const given = (name) => (["x", "smooth", "logx", "logy", "band"].some((each) => params[each]) ? params : before)[name];
  const range = (params.range ?? "").split(",").map(Number);
  const settings = {
    x: given("x") ?? "step",
    smooth: Math.min(0.99, Math.max(0, Number(given("smooth")) || 0)),
    logX: given("logx") === "1",
    logY: given("logy") === "1",
    band: given("band") === "1",
    range: range.length === 2 && range.every(Number.isFinite) ? range : null,
    groups: null,
  };
  let groupBy = few(runs) ? "" : (params.average ?? "");
  let find = params.find ?? "";
  let big = new Set((params.big ?? "").split("|").filter(Boolean));
  const folded = new Set(before.folded ?? []);
  const hidden = new Set((params.hidden ?? "").split(",").filter(Boolean));
  runs = runs.map((run, n) => ({ ...run, color: color(n), hidden: hidden.has(run.run_id) }));
  let charts = new Map();
  let timer;
  let ended = false;

  // --- settings -------------------------------------------------------------------------------------------------

  function remember() {
    if (ended) return; // the address is that of another view
    const values = {
      x: settings.x,
      smooth: settings.smooth || null,
      logx: settings.logX && "1",
      logy: settings.logY && "1",
      band: settings.band && "1",
    };
    keepInUrl({
      ...values,
      range: settings.range?.map((value) => Number(value.toPrecision(12))).join(","),
      average: groupBy,
      find,
      big: [...big].join("|"),
      hidden: runs.filter((run) => run.hidden).map((run) => run.run_id).join(","),
    });
    const x = settings.x in AXES ? settings.x : "step";
    keep(MEMORY, { ...Object.fromEntries(Object.entries(values).filter(([, value]) => value)), x, folded: [...folded] });
  }
  function change(changed, how) {
    Object.assign(settings, changed);
    remember();
    show(zoomed, settings.range !== null);
    for (const each of charts.values()) if (each.seen) each.change(how);
  }
  const setRange = (next) => change({ range: next });
  function nudge(key) {
    if (settings.range) setRange(moves[key](...settings.range));
  }
  function group(by) {
    groupBy = by;
    const labels = new Map();
    settings.groups = by
      ? (run) => {
          const label = String(valueOf(run, by) ?? "none");
          if (!labels.has(label)) labels.set(label, color(labels.size));
          return { label, color: labels.get(label) };
        }
      : null;
  }
  group(groupBy);

  // --- charts ---------------------------------------------------------------------------------------------------

  const inSight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const each = isIntersecting && charts.get(target.dataset.key);
      if (each && !each.seen) {
        each.seen = true;
        inSight.unobserve(target);
        each.load();
      }
    }
  }, { rootMargin: "300px" });

  function make(key) {
    const having = runs.filter((run) => key in run.metrics);
    const made = chart(uPlot, key, having, settings, {
      range: setRange,
      big: () => {
        big[big.has(key) ? "delete" : "add"](key);
        made.node.classList.toggle("big");
        remember();
        made.redraw();
      },
    });
    made.node.classList.toggle("big", big.has(key));
    inSight.observe(made.node);
    return made;
  }

  function build() {
    for (const each of charts.values()) each.end();
    inSight.disconnect();
    charts = new Map();
    const all = metricKeys();
    const wanted = all.filter((key) => key.toLowerCase().includes(find.toLowerCase()));
    for (const key of wanted) charts.set(key, make(key));
    const sections = Map.groupBy ? Map.groupBy(wanted, prefix) : wanted.reduce((found, key) => found.set(prefix(key), [...(found.get(prefix(key)) ?? []), key]), new Map());
    place.replaceChildren(
      ...[...sections].map(([name, some]) =>
        el(
          "details",
          { class: "section", open: !folded.has(name), ontoggle: (event) => { folded[event.target.open ? "delete" : "add"](name); remember(); } },
          el("summary", {}, name || "Metrics", el("span", { class: "quiet" }, ` ${some.length}`)),
          el("div", { class: "charts" }, some.map((key) => charts.get(key).node)),
        ),
      ),
    );
    if (!wanted.length) place.append(el("p", { class: "quiet empty" }, all.length ? "No metric matches." : "No metric has been logged yet."));
    built = all.join("\n");
  }
  let built = "";

  // --- running runs ---------------------------------------------------------------------------------------------

  const metricKeys = () => [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].filter(keys).sort();

  /** Read what has changed of runs, and draw it. Returns the time that this took, in ms. */
  async function look(some) {
    const started = performance.now();
    try {
      const changed = await Promise.all(some.map(async (run) => {
        const now = flat((await read("runs/get", { run_id: run.run_id })).run);
        if (JSON.stringify(now.measured) === JSON.stringify(run.measured) && now.status === run.status) return false;
        Object.assign(run, { metrics: now.metrics, measured: now.measured, status: now.status });
        return true;
      }));
      if (ended || !changed.includes(true)) return 0;
      if (metricKeys().join("\n") !== built) build();
      else await Promise.all([...charts.values()].filter((each) => each.seen).map((each) => each.load()));
    } catch {
      // The server cannot be reached; the next update tries again.
    }
    return performance.now() - started;
  }

  // All running runs are updated periodically, and the container's own at each event of its stream.
  const running = () => runs.filter((run) => run.status === "RUNNING");
  const own = () => running().filter((run) => run.run_id === status?.payload.run?.id);
  async function lookAtAll() {
    const took = document.hidden ? 0 : await look(running());
    if (!ended && running().length) timer = setTimeout(lookAtAll, Math.max(LIVE, 4 * took));
  }
  let turn = Promise.resolve();
  let queued = false;
  function lookAtOwn() {
    if (queued || !own().length) return;
    queued = true;
    turn = turn.then(async () => {
      queued = false;
      await look(own());
      await new Promise((done) => { setTimeout(done, PAUSE); });
    });
  }

  // --- the view -------------------------------------------------------------------------------------------------

  const check = (label, name) => {
    const box = el("input", { type: "checkbox", checked: settings[name], onchange: () => change({ [name]: box.checked }) });
    return el("label", {}, box, ` ${label}`);
  };
  const metricNames = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].sort();
  const axis = el(
    "select",
    { "aria-label": "Horizontal axis", onchange: () => change({ x: axis.value, range: null }, { axis: true }) },
    Object.entries(AXES).map(([value, label]) => el("option", { value, selected: value === settings.x }, label)),
    el("optgroup", { label: "Metric" }, metricNames.map((value) => el("option", { value, selected: value === settings.x }, value))),
  );
  if (axis.value !== settings.x) settings.x = axis.value;
  const smooth = el("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: settings.smooth, oninput: () => { weight.textContent = smooth.value; change({ smooth: Number(smooth.value) }); } });
  const weight = el("output", {}, String(settings.smooth));
  const search = el("input", { type: "search", value: find, placeholder: "Find a metric", "aria-label": "Find a metric", oninput: () => { find = search.value; remember(); build(); } });
  const groups = el(
    "select",
    { "aria-label": "Average over", onchange: () => { group(groups.value); change({}); } },
    el("option", { value: "" }, "Each run"),
    el("optgroup", { label: "Average over" }, [...available(runs).filter((id) => /^(params|tags)\./.test(id)), "status", "user_id"].map((id) => el("option", { value: id, selected: id === groupBy }, column(id).label))),
  );
  const zoomed = el(
    "span",
    { class: "row zoomed", hidden: settings.range === null },
    [["ArrowLeft", "◀", "Earlier"], ["ArrowRight", "▶", "Later"], ["+", "+", "Zoom in"], ["-", "−", "Zoom out"]].map(([key, text, label]) => el("button", { "aria-label": label, title: label, onclick: () => nudge(key) }, text)),
    el("button", { onclick: () => setRange(null) }, "Show all"),
  );
  const legend = el("ul", { class: "legend", "aria-label": "Runs", hidden: few(runs) }, runs.map((run) => {
    const swatch = el("i", { class: "swatch" });
    swatch.style.background = run.color;
    const button = el("button", { class: "plain", "aria-pressed": String(!run.hidden), title: "Show or hide its curves", onclick: () => {
      run.hidden = !run.hidden;
      button.setAttribute("aria-pressed", String(!run.hidden));
      change({}, { axis: true });
    } }, swatch, run.name);
    return el("li", {}, button);
  }));
  const place = el("div", {});
  container.append(
    el("div", { class: "row tools chart-settings" }, axis, el("label", { class: "row" }, "Smoothing ", smooth, weight), check("log x", "logX"), check("log y", "logY"), check("min/max band", "band"), !few(runs) && groups, search, zoomed),
    legend,
    place,
  );
  build();
  remember();
  const endTheme = onTheme(() => { for (const each of charts.values()) each.redraw(); });
  timer = setTimeout(lookAtAll, LIVE);
  const endWatch = watch({ draw: lookAtOwn });
  return () => {
    ended = true;
    clearTimeout(timer);
    endWatch();
    endTheme();
    inSight.disconnect();
    for (const each of charts.values()) each.end();
  };
}
