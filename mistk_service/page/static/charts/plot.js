// The options of uPlot for a chart: its axes, its cursor, and the marks of NaN and infinities.

import { number } from "../words.js";
import { inkOf } from "./colors.js";
import { pull, select, touch } from "./gestures.js";

/** The distances of the ticks of a time in seconds. */
const SPANS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000, 8640000];

/** A time in seconds since the start. */
export function elapsed(seconds) {
  const s = Math.abs(seconds);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 60) return `${number(seconds)} s`;
  const sign = seconds < 0 ? "−" : "";
  if (s < 3600) return `${sign}${Math.floor(s / 60)}:${two(s % 60)}`;
  if (s < 86400) return `${sign}${Math.floor(s / 3600)}:${two((s % 3600) / 60)} h`;
  return `${sign}${number(s / 86400)} d`;
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

/** Mark NaN and the infinities of curves at the edge of a plot. */
function mark({ ctx, bbox, valToPos }, curves) {
  ctx.save();
  for (const { run, others } of curves) {
    ctx.fillStyle = run.color;
    for (const [x, value] of others) {
      const left = valToPos(x, "x", true);
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

function axes(node, isTime, isRelative) {
  const [ink, edge] = [inkOf("--quiet", node), inkOf("--edge", node)];
  const axis = { stroke: ink, grid: { stroke: edge, width: 1 }, ticks: { stroke: edge, width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
  const said = (say) => (_, ticks) => ticks.map((tick) => (tick === null ? "" : say(tick)));
  return [
    { ...axis, size: 34, ...(isRelative ? { incrs: SPANS } : {}), values: isTime ? undefined : said(isRelative ? elapsed : number) },
    { ...axis, size: 58, values: said(number) },
  ];
}

/**
 * The options of a plot.
 *
 * @param node the chart that it is in.
 * @param size `width` and `height`.
 * @param settings of the chart.
 * @param drawing the series and bands, as `drawingOf` makes them.
 * @param curves the drawn curves, for the marks.
 * @param on `range(range)`, a part was chosen; `cursor(plot)`, the cursor has moved.
 */
export function plotOptions(node, size, settings, { list, bands }, curves, on) {
  const isTime = settings.x === "time";
  let pulled = false; // the range is being moved
  const range = (_, low, high) => (pulled ? [low, high] : settings.range);
  return {
    ...size,
    ms: 1,
    padding: [10, 12, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: isTime, distr: settings.logX && !isTime ? 3 : 1, ...(settings.range ? { auto: false, range } : {}) },
      y: { distr: settings.logY ? 3 : 1 },
    },
    axes: axes(node, isTime, settings.x === "relative"),
    series: [{}, ...list.map(({ of: _, quiet: __, ...each }) => ({ spanGaps: false, ...each }))],
    bands,
    cursor: {
      sync: { key: "mistk-charts", setSeries: false },
      drag: { x: true, y: false, setScale: false },
      dataIdx: nearest,
      points: { size: 5 },
      bind: {
        dblclick: () => () => on.range(null),
        mousedown: (u, _, usual) => (event) => { if (event.shiftKey) pull(u, event, (now) => { pulled = now; }, on.range); else usual(event); },
      },
    },
    hooks: {
      ready: [(u) => u.over.addEventListener("pointerdown", (event) => { if (event.pointerType === "touch") touch(u, event, on.range); })],
      setSelect: [(u) => select(u, on.range)],
      setCursor: [on.cursor],
      draw: [(u) => mark(u, curves)],
    },
  };
}
