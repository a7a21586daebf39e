// One chart: a metric of one or several runs.

import { el, say, show } from "../dom.js";
import { number } from "../words.js";
import { inkOf } from "./colors.js";
import { averaged, curves, merged, smoothed } from "./data.js";
import { saveCsv, savePng, saveSvg } from "./files.js";

const WAIT = 120; // ms until a range that is still being changed is asked for

/** A colour that lets through what is behind it. */
const faint = (color, share) => `color-mix(in srgb, ${color} ${Math.round(share * 100)}%, transparent)`;

/** The distances of the ticks of a time in seconds. */
const SPANS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000, 8640000];

/** A time in seconds since the start. */
function elapsed(seconds) {
  const s = Math.abs(seconds);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 60) return `${number(seconds)} s`;
  const sign = seconds < 0 ? "−" : "";
  if (s < 3600) return `${sign}${Math.floor(s / 60)}:${two(s % 60)}`;
  if (s < 86400) return `${sign}${Math.floor(s / 3600)}:${two((s % 3600) / 60)} h`;
  return `${sign}${number(s / 86400)} d`;
}

/**
 * Make a chart.
 *
 * @param uPlot the library.
 * @param key the metric.
 * @param runs the runs, each with `color`, and `hidden` if its curve is.
 * @param settings `x`, `range`, `smooth` (0 to 1), `logX`, `logY`, `band`, and `groups`, a function from a run to
 *   `{label, color}`, or null.
 * @param on `range(range)`, a part was chosen; `big()`, the chart is to be larger or smaller.
 */
export function chart(uPlot, key, runs, settings, on) {
  const title = el("h2", { class: "name-of" }, key);
  const values = el("span", { class: "quiet now" });
  const problem = el("p", { class: "quiet", role: "alert", hidden: true });
  const note = el("p", { class: "quiet", hidden: true });
  const space = el("div", { class: "plot" });
  const tip = el("div", { class: "tip", hidden: true });
  const tool = (label, text, onclick) => el("button", { class: "plain", title: label, "aria-label": `${label}: ${key}`, onclick }, text);
  const tools = el(
    "span",
    { class: "chart-tools" },
    tool("Save as PNG", "PNG", () => savePng(plot, key)),
    tool("Save as SVG", "SVG", () => saveSvg(plot, key)),
    tool("Save all points as CSV", "CSV", () => saveCsv(runs, key)),
    tool("Larger or smaller", "⤢", () => on.big()),
  );
  const node = el("figure", { class: "chart", tabindex: 0, "aria-label": `Chart of ${key}`, dataset: { key } }, el("figcaption", { class: "row" }, title, values, tools), problem, note, space, tip);
  let whole = null; // the curves of everything
  let shown = []; // what is drawn
  let drawn = []; // the series of the plot
  let plot = null;
  let asking = null;
  let timer;
  let detailOf = null;
  let pulled = false; // what is shown is being moved

  // --- data -----------------------------------------------------------------------------------------------------

  async function ask(range) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const columns = Math.max(50, Math.min(10_000, Math.ceil((space.clientWidth || 600) * devicePixelRatio)));
    const found = await curves(visible(), key, { x: settings.x, range, columns, signal });
    return signal.aborted ? null : found;
  }
  const visible = () => runs.filter((run) => !run.hidden);

  /** Read everything, and what is in the range if everything has been divided. */
  async function load() {
    try {
      const found = await ask(null);
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
    if (range && whole.some((curve) => curve.divided)) {
      const found = await ask(range);
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

  // --- drawing --------------------------------------------------------------------------------------------------

  /** The tables of the plot and the series that show them. */
  function series() {
    const { smooth, band, groups } = settings;
    const tables = [];
    const list = [];
    const bands = [];
    const add = (x, columns) => {
      tables.push([x, ...columns.map(([values]) => (settings.logY ? values.map((value) => (value > 0 ? value : null)) : values))]);
      for (const [, options] of columns) list.push(options);
    };
    // A point between two gaps has no line.
    const line = (stroke, width, of) => ({ stroke, width, of, points: { show: true, filter: alone, size: 5, fill: stroke } });
    // The edges are lines, or else a peak as wide as a pixel would hardly be seen.
    const banded = (x, low, high, stroke, of) => {
      const first = list.length + 1;
      const edge = { ...line(faint(stroke, 0.55), 1, of), quiet: true };
      add(x, [[high, edge], [low, edge]]);
      bands.push({ series: [first, first + 1], fill: faint(stroke, 0.18) });
    };
    if (groups) {
      const members = new Map();
      for (const curve of shown) {
        const { label, color } = groups(curve.run);
        if (!members.has(label)) members.set(label, { color, list: [] });
        members.get(label).list.push(curve);
      }
      for (const [label, { color, list: some }] of members) {
        const { at, mean, low, high } = averaged(some);
        const of = { name: `${label} (${some.length})`, color };
        banded(at, low, high, color, of);
        add(at, [[smooth ? smoothed(mean, smooth) : mean, line(color, 2, of)]]);
      }
    } else {
      for (const { run, x, y, at, mean, low, high, divided } of shown) {
        if (band && divided) banded(at, low, high, run.color, run);
        const raw = { ...line(smooth || (band && divided) ? faint(run.color, 0.5) : run.color, 1.25, run), quiet: Boolean(smooth) };
        if (!(band && divided && smooth)) add(x, [[y, raw]]);
        if (smooth) add(at, [[smoothed(mean, smooth), line(run.color, 2, run)]]);
      }
    }
    return { tables, list, bands };
  }

  function draw() {
    const { tables, list, bands } = series();
    const data = tables.length > 1 ? uPlot.join(tables) : (tables[0] ?? [[], []]);
    const width = space.clientWidth;
    if (!width) return;
    drawn = list;
    plot?.destroy();
    plot = new uPlot(options(list, bands, width), data, space);
    const lost = settings.logY ? shown.reduce((sum, { y }) => sum + y.filter((value) => value !== null && value <= 0).length, 0) : 0;
    say(note, lost ? "A logarithm has no place for values of 0 and less; they are not shown." : "");
    show(note, lost > 0);
    const ends = shown.map(({ run, y }) => [run, y.findLast((value) => value !== null)]);
    say(values, ends.length === 1 && ends[0][1] !== undefined ? number(ends[0][1]) : "");
    node.dataset.points = shown.reduce((sum, curve) => sum + curve.count, 0);
    node.dataset.drawn = String(Number(node.dataset.drawn ?? 0) + 1);
  }

  function options(list, bands, width) {
    const [ink, edge] = [inkOf("--quiet", node), inkOf("--edge", node)];
    const isTime = settings.x === "time";
    const axis = { stroke: ink, grid: { stroke: edge, width: 1 }, ticks: { stroke: edge, width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
    const big = node.classList.contains("big");
    return {
      width,
      height: big ? Math.max(300, Math.round(innerHeight * 0.6)) : 210,
      ms: 1,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: isTime, distr: settings.logX && !isTime ? 3 : 1, ...(settings.range ? { auto: false, range: (_, low, high) => (pulled ? [low, high] : settings.range) } : {}) },
        y: { distr: settings.logY ? 3 : 1 },
      },
      axes: [
        { ...axis, size: 34, ...(settings.x === "relative" ? { incrs: SPANS } : {}), values: settings.x === "relative" ? (_, ticks) => ticks.map((tick) => (tick === null ? "" : elapsed(tick))) : isTime ? undefined : (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))) },
      ],
      series: [{}, ...list.map(({ of: _, quiet: __, ...each }) => ({ spanGaps: false, ...each }))],
      bands,
      cursor: {
        sync: { key: "mistk-charts", setSeries: false },
        drag: { x: true, y: false, setScale: false },
        dataIdx: nearest,
        points: { size: 5 },
        bind: {
          dblclick: () => () => on.range(null),
          mousedown: (u, _, select) => (event) => { if (event.shiftKey) pull(u, event); else select(event); },
        },
      },
      hooks: {
        ready: [(u) => u.over.addEventListener("pointerdown", (event) => { if (event.pointerType === "touch") touch(u, event); })],
        setSelect: [(u) => choose(u)],
        setCursor: [(u) => point(u)],
        draw: [(u) => others(u)],
      },
    };
  }

  /** The place of a value of a series that is nearest to the cursor, since the curves have different places. */
  function nearest(u, series, hovered) {
    const values = u.data[series];
    if (!series || values[hovered] !== undefined) return hovered;
    for (let step = 1; step < 2000; step += 1) {
      if (values[hovered - step] !== undefined && values[hovered - step] !== null) return hovered - step;
      if (values[hovered + step] !== undefined && values[hovered + step] !== null) return hovered + step;
    }
    return hovered;
  }

  /** The places of the points of a series that have no neighbour. */
  function alone(u, series) {
    const found = [];
    let [before, here, at] = [null, null, -1];
    const values = u.data[series];
    for (let i = 0; i <= values.length; i += 1) {
      const value = i < values.length ? values[i] : null;
      if (value === undefined) continue;
      if (here !== null && before === null && value === null) found.push(at);
      [before, here, at] = [here, value, i];
    }
    return found;
  }

  function choose(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    on.range([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
  }

  /** Move what is shown with the mouse. */
  function pull(u, from) {
    const { min, max } = u.scales.x;
    pulled = true;
    const moved = (event) => {
      const by = ((from.clientX - event.clientX) / u.over.clientWidth) * (max - min);
      u.setScale("x", { min: min + by, max: max + by });
    };
    const done = (event) => {
      removeEventListener("mousemove", moved);
      pulled = false;
      const by = ((from.clientX - event.clientX) / u.over.clientWidth) * (max - min);
      if (by) on.range([min + by, max + by]);
    };
    addEventListener("mousemove", moved);
    addEventListener("mouseup", done, { once: true });
  }

  /** Choose a part with a finger that moves sideways; one that moves up or down scrolls the page. */
  function touch(u, from) {
    const { left } = u.over.getBoundingClientRect();
    const part = (event) => [from.clientX - left, event.clientX - left].sort((a, b) => a - b);
    const moved = (event) => {
      const [low, high] = part(event);
      u.setSelect({ left: low, width: high - low, top: 0, height: u.over.clientHeight }, false);
    };
    const done = (event) => {
      for (const name of ["pointermove", "pointerup", "pointercancel"]) u.over.removeEventListener(name, name === "pointermove" ? moved : done);
      const [low, high] = part(event);
      u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      if (event.type === "pointerup" && high - low > 12) on.range([u.posToVal(low, "x"), u.posToVal(high, "x")]);
    };
    u.over.addEventListener("pointermove", moved);
    u.over.addEventListener("pointerup", done);
    u.over.addEventListener("pointercancel", done);
  }

  /** Say what is at the cursor. */
  function point(u) {
    const { idx, idxs, left, top } = u.cursor;
    const inside = idx !== null && idx !== undefined && left >= 0;
    show(tip, inside && node.matches(":hover"));
    if (tip.hidden) return;
    const x = u.data[0][idx];
    const at = settings.x === "time" ? new Date(x).toLocaleString() : settings.x === "relative" ? elapsed(x) : number(Math.round(x * 1e6) / 1e6);
    const lines = drawn.map((each, i) => [each, u.data[i + 1][idxs[i + 1]]]).filter(([each, value]) => !each.quiet && each.of && value !== undefined && value !== null);
    lines.sort((a, b) => b[1] - a[1]);
    tip.replaceChildren(
      el("div", { class: "quiet" }, `${settings.x === "step" ? "step " : ""}${at}`),
      ...lines.slice(0, 12).map(([{ of }, value]) => {
        const swatch = el("i", { class: "swatch" });
        swatch.style.background = of.color;
        return el("div", {}, swatch, el("b", {}, number(value)), ` ${runs.length > 1 ? of.name : ""}`);
      }),
    );
    const box = space.getBoundingClientRect();
    const plotLeft = u.over.offsetLeft + left;
    tip.style.left = `${plotLeft > box.width / 2 ? plotLeft - tip.offsetWidth - 14 : plotLeft + 14}px`;
    tip.style.top = `${space.offsetTop + Math.max(0, Math.min(top, box.height - tip.offsetHeight))}px`;
  }

  /** Mark NaN and the infinities at the edge of the plot. */
  function others(u) {
    const { ctx, bbox } = u;
    ctx.save();
    for (const { run, others: marks } of shown) {
      ctx.fillStyle = run.color;
      for (const [x, value] of marks) {
        const left = u.valToPos(x, "x", true);
        if (left < bbox.left || left > bbox.left + bbox.width) continue;
        const size = 4 * devicePixelRatio;
        const [edge, away] = value === "-Infinity" ? [bbox.top + bbox.height, -size * 1.6] : [bbox.top, size * 1.6];
        ctx.beginPath();
        ctx.moveTo(left - size, edge);
        ctx.lineTo(left + size, edge);
        ctx.lineTo(left, edge + away);
        ctx.fill();
      }
    }
    ctx.restore();
  }

  // --- keys -----------------------------------------------------------------------------------------------------

  node.addEventListener("keydown", (event) => {
    const scale = plot?.scales.x;
    if (event.target !== node || !scale || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = moves[event.key];
    if (!by) return;
    event.preventDefault();
    on.range(by(scale.min, scale.max));
  });
  node.addEventListener("mouseleave", () => show(tip, false));

  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (!space.clientWidth || space.clientWidth === width) return;
    const first = width === 0;
    width = space.clientWidth;
    if (whole && !first) draw();
  });
  sizes.observe(space);

  return {
    node,
    key,
    load,
    /** Draw again, since settings have changed; `axis` says that the curves have to be read again. */
    async change({ axis = false } = {}) {
      clearTimeout(timer);
      if (axis || !whole) return load();
      const { range } = settings;
      if (range && detailOf && range.join() === detailOf.join()) return draw();
      if (!range || !whole.some((curve) => curve.divided)) return detail();
      // What is there at once, and what is exact as soon as the server has divided the range.
      draw();
      timer = setTimeout(() => detail().catch((error) => { if (error.name !== "AbortError") throw error; }), WAIT);
    },
    redraw: () => whole && draw(),
    end() {
      clearTimeout(timer);
      asking?.abort();
      sizes.disconnect();
      plot?.destroy();
    },
  };
}

/** What keys do to a range. */
export const moves = {
  ArrowLeft: (low, high) => [low - (high - low) / 5, high - (high - low) / 5],
  ArrowRight: (low, high) => [low + (high - low) / 5, high + (high - low) / 5],
  "+": (low, high) => [low + (high - low) / 4, high - (high - low) / 4],
  "-": (low, high) => [low - (high - low) / 2, high + (high - low) / 2],
  0: () => null,
};
