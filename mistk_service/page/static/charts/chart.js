// One chart: a metric of one or several runs.

import { el, say, show } from "../dom.js";
import { number } from "../words.js";
import { curves, isCoarse, merged } from "./data.js";
import { saveCsv, savePng, saveSvg, toolButton } from "./files.js";
import { moves } from "./gestures.js";
import { drawingOf } from "./lines.js";
import { plotOptions } from "./plot.js";
import { point } from "./tip.js";

const WAIT = 120; // ms without a change after which a range is requested

/** The elements of a chart; `save` has the actions of its buttons, and `big` is the action of the last one. */
function parts(key, save, big) {
  const tool = (...button) => toolButton(key, ...button);
  const tools = el(
    "span",
    { class: "chart-tools" },
    tool("Save as PNG", "PNG", save.png),
    tool("Save as SVG", "SVG", save.svg),
    tool("Save all points as CSV", "CSV", save.csv),
    tool("Larger or smaller", "⤢", big),
  );
  const values = el("span", { class: "quiet now" });
  const problem = el("p", { class: "quiet", role: "alert", hidden: true });
  const note = el("p", { class: "quiet", hidden: true });
  const space = el("div", { class: "plot" });
  const tip = el("div", { class: "tip", hidden: true });
  const title = el("h2", { class: "name-of" }, key);
  const node = el("figure", { class: "chart", tabindex: 0, "aria-label": `Chart of ${key}`, dataset: { key } }, el("figcaption", { class: "row" }, title, values, tools), problem, note, space, tip);
  node.addEventListener("mouseleave", () => show(tip, false));
  return { node, values, problem, note, space, tip };
}

/** Read the curves of a chart. An earlier request is cancelled and returns null. */
function reader(runs, key, settings, space) {
  let asking = null;
  return {
    async read(range, whole) {
      asking?.abort();
      asking = new AbortController();
      const { signal } = asking;
      const columns = Math.max(50, Math.min(10_000, Math.ceil((space.clientWidth || 600) * devicePixelRatio)));
      const found = await curves(runs.filter((run) => !run.hidden), key, { x: settings.x, range, columns, signal, whole });
      return signal.aborted ? null : found;
    },
    end: () => asking?.abort(),
  };
}

/** Call back when the width of a drawn element changes. */
function onResize(space, changed) {
  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (!space.clientWidth || space.clientWidth === width) return;
    const first = width === 0;
    width = space.clientWidth;
    if (!first) changed();
  });
  sizes.observe(space);
  return () => sizes.disconnect();
}

/** Show the last value of a single curve next to the title, and below it the values that a logarithm leaves out. */
function describe({ node, values, note }, shown, logY) {
  const lost = logY ? shown.reduce((sum, { y }) => sum + y.filter((value) => value !== null && value <= 0).length, 0) : 0;
  say(note, lost ? "Values of 0 and less have no logarithm; they are not shown." : "");
  show(note, lost > 0);
  const last = shown.length === 1 ? shown[0].y.findLast((value) => value !== null) : undefined;
  say(values, last === undefined ? "" : number(last));
  node.dataset.points = shown.reduce((sum, curve) => sum + curve.count, 0);
  node.dataset.drawn = String(Number(node.dataset.drawn ?? 0) + 1);
}

/**
 * Make a chart.
 *
 * @param uPlot the library.
 * @param key the metric.
 * @param runs the runs, each with `color`, and `hidden` if its curve is.
 * @param settings `x`, `range`, `smooth` (0 to 1), `logX`, `logY`, `band`, and `groups`, a function from a run to
 *   `{label, color}`, or null.
 * @param on `range(range)`, a range was chosen; `big()`, the chart was enlarged or reduced.
 */
export function chart(uPlot, key, runs, settings, on) {
  const files = { png: () => savePng(plot, key), svg: () => saveSvg(plot, key), csv: () => saveCsv(runs, key) };
  const made = parts(key, files, () => on.big());
  const { node, problem, space } = made;
  const { read, end: stopReading } = reader(runs, key, settings, space);
  const endSizes = onResize(space, () => redraw());
  let whole = null; // the curves over the whole range
  let shown = []; // the curves that are drawn
  let plot = null;
  let timer;
  let detailOf = null;

  /** Read the whole range, and the chosen range if the whole one was divided into columns. */
  async function load() {
    try {
      const found = await read(null);
      if (!found) return;
      whole = found;
      await detail();
      show(problem, false);
    } catch (error) {
      if (error.name === "AbortError") return;
      problem.textContent = error.message;
      show(problem, true);
    }
  }
  async function detail() {
    const { range } = settings;
    if (range && whole.some(isCoarse)) {
      const found = await read(range, whole);
      if (!found) return;
      detailOf = range;
      shown = merged(whole, found);
    } else {
      detailOf = null;
      shown = whole;
    }
    draw();
    node.dataset.range = range ? range.join(" ") : "all";
  }

  function draw() {
    const drawing = drawingOf(shown, settings);
    const { tables, list } = drawing;
    const data = tables.length > 1 ? uPlot.join(tables) : (tables[0] ?? [[], []]);
    const width = space.clientWidth;
    if (!width) return;
    const height = node.classList.contains("big") ? Math.max(300, Math.round(innerHeight * 0.6)) : 210;
    const cursor = (u) => point(made, u, list, settings.x, runs.length > 1);
    plot?.destroy();
    plot = new uPlot(plotOptions(node, { width, height }, settings, drawing, shown, { range: on.range, cursor }), data, space);
    describe(made, shown, settings.logY);
  }
  const redraw = () => whole && draw();

  node.addEventListener("keydown", (event) => {
    const scale = plot?.scales.x;
    if (event.target !== node || !scale || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = moves[event.key];
    if (!by) return;
    event.preventDefault();
    on.range(by(scale.min, scale.max));
  });

  return {
    node,
    key,
    load,
    /** Redraw after a change of the settings; with `axis`, the curves are read again. */
    async change({ axis = false } = {}) {
      clearTimeout(timer);
      if (axis || !whole) return load();
      const { range } = settings;
      if (range && detailOf && range.join() === detailOf.join()) return draw();
      if (!range || !whole.some(isCoarse)) return detail();
      // First the curves that are loaded, then the exact ones when the server has divided the range.
      draw();
      timer = setTimeout(() => detail().catch((error) => { if (error.name !== "AbortError") throw error; }), WAIT);
    },
    redraw,
    end() {
      clearTimeout(timer);
      stopReading();
      endSizes();
      plot?.destroy();
    },
  };
}
