// The lines and bands of the curves of a chart.

import { averaged, smoothed } from "./data.js";

/** A translucent colour. */
const faint = (color, share) => `color-mix(in srgb, ${color} ${Math.round(share * 100)}%, transparent)`;

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

// A point between two gaps has no line.
const line = (stroke, width, of) => ({ stroke, width, of, points: { show: true, filter: alone, size: 5, fill: stroke } });

/** Adds curves to the tables, series and bands of a plot. */
function collector({ smooth, band, logY }) {
  const drawing = { tables: [], list: [], bands: [] };
  const { tables, list, bands } = drawing;

  function add(x, columns) {
    tables.push([x, ...columns.map(([values]) => (logY ? values.map((value) => (value > 0 ? value : null)) : values))]);
    for (const [, options] of columns) list.push(options);
  }
  /** An area with its edges as lines, or else a peak as wide as a pixel would hardly be seen. */
  function area(x, low, high, stroke, of) {
    const first = list.length + 1;
    const edge = { ...line(faint(stroke, 0.55), 1, of), quiet: true };
    add(x, [[high, edge], [low, edge]]);
    bands.push({ series: [first, first + 1], fill: faint(stroke, 0.18) });
  }
  function group({ at, mean, low, high }, of) {
    area(at, low, high, of.color, of);
    add(at, [[smooth ? smoothed(mean, smooth) : mean, line(of.color, 2, of)]]);
  }
  function run({ run: of, x, y, at, mean, low, high, divided }) {
    const banded = band && divided;
    if (banded) area(at, low, high, of.color, of);
    const raw = { ...line(smooth || banded ? faint(of.color, 0.5) : of.color, 1.25, of), quiet: Boolean(smooth) };
    if (!(banded && smooth)) add(x, [[y, raw]]);
    if (smooth) add(at, [[smoothed(mean, smooth), line(of.color, 2, of)]]);
  }
  return { drawing, group, run };
}

/** The curves of each group. */
function members(curves, groups) {
  const found = new Map();
  for (const curve of curves) {
    const { label, color } = groups(curve.run);
    if (!found.has(label)) found.set(label, { color, list: [] });
    found.get(label).list.push(curve);
  }
  return found;
}

/** The `tables` of a plot, the `list` of the series that show them, and the `bands` between series. */
export function drawingOf(curves, settings) {
  const { drawing, group, run } = collector(settings);
  if (settings.groups) {
    for (const [label, { color, list }] of members(curves, settings.groups)) group(averaged(list, settings.range), { name: `${label} (${list.length})`, color });
  } else curves.forEach(run);
  return drawing;
}
