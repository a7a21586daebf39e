// The histories of metrics as curves. The server divides a long one into the columns of pixels of the chart.

import { read } from "../tracking.js";

const RUNS = 100; // the maximum number of runs in a request
const GRID = 10_000; // points within the range at which several curves are averaged
const COARSE = 2_000; // points before and after the range

/** The axes that a curve can be drawn over, besides other metrics. */
export const AXES = { step: "Step", relative: "Time since the start", time: "Time of day" };

const number = (value) => (typeof value === "number" ? value : Number(value));

/**
 * Read the curves of a metric.
 *
 * @param runs the runs.
 * @param key the metric.
 * @param options `x`, one of AXES or a metric; `range`, [low, high] of x or null; `columns`, the width in pixels; `signal`;
 *   with a range `whole`, the curves over the whole range.
 * @returns for each run with points: `run`, `x` and `y` (the line; null where it has a gap), `at`, `mean`, `low` and `high` (a
 *   value for each column of pixels), `others` ([x, what is not finite]), `count`, and over a metric
 *   `steps`, the curve of that one if there are fewer pairs than points.
 */
export async function curves(runs, key, options) {
  return options.x in AXES ? plain(runs, key, options) : overMetric(runs, key, options);
}

async function plain(runs, key, { x, range, columns, signal }) {
  const ask = (some, start, end) =>
    read("metrics/get-columns", { run_ids: some.map((run) => run.run_id), metric_key: key, x: x === "step" ? "step" : "timestamp", start, end, columns }, { signal }).then((answer) => answer.curves ?? []);
  const bounds = (run) => range.map((value, i) => (i ? Math.ceil : Math.floor)(x === "relative" ? run.start_time + value * 1000 : value));
  let asked;
  if (range && x === "relative") asked = runs.map((run) => ask([run], ...bounds(run)));
  else asked = chunks(runs).map((some) => ask(some, ...(range ? bounds(some[0]) : [])));
  const found = new Map((await Promise.all(asked)).flat().map((curve) => [curve.run_id, curve]));
  return runs
    .filter((run) => found.get(run.run_id)?.count)
    .map((run) => ({ run, ...expand(found.get(run.run_id), x === "relative" ? (at) => (at - run.start_time) / 1000 : (at) => at) }));
}

function chunks(runs) {
  const found = [];
  for (let i = 0; i < runs.length; i += RUNS) found.push(runs.slice(i, i + RUNS));
  return found;
}

/** The line through a curve of the server, and its band. */
function expand({ count, points = [], columns = [], not_finite: others = [] }, place) {
  const curve = { count, x: [], y: [], at: [], mean: [], low: [], high: [], others: others.map(([x, value]) => [place(x), value]), divided: columns.length > 0 };
  const line = (x, y) => {
    const last = curve.x.length - 1;
    // A chart has one value for each x. Points that have the same are drawn beside each other, far less than a pixel apart.
    curve.x.push(last >= 0 && x <= curve.x[last] ? next(curve.x[last]) : x);
    curve.y.push(y);
  };
  for (const [x, given] of points) {
    const value = number(given);
    if (!Number.isFinite(value)) curve.others.push([place(x), given]);
    line(place(x), Number.isFinite(value) ? value : null);
  }
  for (const [start, end, , first, low, high, last, mean] of columns) {
    const [a, b] = [place(start), place(end)];
    line(a, first);
    line(a + (b - a) / 3, low);
    line(a + (2 * (b - a)) / 3, high);
    line(b, last);
    curve.at.push((a + b) / 2);
    curve.mean.push(mean);
    curve.low.push(low);
    curve.high.push(high);
  }
  if (!columns.length) Object.assign(curve, { at: curve.x, mean: curve.y, low: curve.y, high: curve.y });
  return curve;
}

const next = (x) => x + Math.max(Math.abs(x) * 1e-12, 1e-9);

/** Insert the curve of a range into that of the whole range, so that the line continues on both sides. */
export function merged(whole, detail) {
  return whole.map((curve) => {
    const fine = detail.find((each) => each.run === curve.run);
    if (!fine) return curve;
    const splice = (xs, names, inside) => {
      if (!inside.length) return {};
      const first = xs.findIndex((x) => x >= inside[0]);
      const before = first < 0 ? xs.length : first;
      const after = Math.max(before, xs.findLastIndex((x) => x <= inside.at(-1)) + 1);
      return Object.fromEntries(names.map((name) => [name, [...curve[name].slice(0, before), ...fine[name], ...curve[name].slice(after)]]));
    };
    return { ...curve, ...splice(curve.x, ["x", "y"], fine.x), ...splice(curve.at, ["at", "mean", "low", "high"], fine.at), others: curve.divided ? fine.others : curve.others };
  });
}

/** Whether a curve lacks points, so that a range of it can be read in more detail. */
export const isCoarse = ({ divided, steps }) => divided || Boolean(steps);

/** The steps between which another metric is in a range, by its columns. */
function stepsWithin({ at, low, high }, [first, last]) {
  const inside = [...at.keys()].filter((i) => high[i] >= first && low[i] <= last);
  return inside.length ? [at[inside[0] - 1] ?? at[0], at[inside.at(-1) + 1] ?? at.at(-1)] : [at[0], at[0]];
}

/** A metric over another one: the values of both at each step. */
async function overMetric(runs, key, { x, range, columns, signal, whole }) {
  const both = (some, steps) => Promise.all([key, x].map((each) => plain(some, each, { x: "step", range: steps, columns, signal })));
  if (!range) return paired(...(await both(runs, null)));
  const parts = await Promise.all(whole.filter(isCoarse).map(({ run, steps }) => both([run], stepsWithin(steps, range))));
  return parts.flatMap(([ys, xs]) => paired(ys, xs, range));
}

function paired(ys, xs, range = [-Infinity, Infinity]) {
  return ys.flatMap((curve) => {
    const other = xs.find((each) => each.run === curve.run);
    if (!other) return [];
    let i = 0;
    const pairs = [];
    curve.at.forEach((step, n) => {
      while (i + 1 < other.at.length && other.at[i + 1] <= step) i += 1;
      if (other.at[i] <= step && other.mean[i] !== null && curve.mean[n] !== null) pairs.push([other.mean[i], curve.mean[n]]);
    });
    pairs.sort((a, b) => a[0] - b[0]);
    const kept = pairs.filter(([at]) => at >= range[0] && at <= range[1]);
    const steps = curve.divided || other.divided ? other : null;
    return [{ run: curve.run, steps, ...expand({ count: kept.length, points: kept }, (at) => at) }];
  });
}

/** The exponential moving average of values, as TensorBoard has it; gaps stay. */
export function smoothed(values, weight) {
  let average = 0;
  let count = 0;
  return values.map((value) => {
    if (value === null) return null;
    count += 1;
    average = average * weight + (1 - weight) * value;
    return average / (1 - weight ** count);
  });
}

const thinned = (xs, most) => (xs.length <= most ? xs : Array.from({ length: most }, (_, i) => xs[0] + ((xs.at(-1) - xs[0]) * i) / (most - 1)));

/** The mean of several curves with its spread (one standard deviation), on a common grid, which is finer in the range. */
export function averaged(list, range) {
  const [first, last] = range ?? [-Infinity, Infinity];
  const every = [...new Set(list.flatMap((curve) => curve.at))].sort((a, b) => a - b);
  const grid = [
    ...thinned(every.filter((x) => x < first), COARSE),
    ...thinned(every.filter((x) => x >= first && x <= last), range ? GRID : COARSE),
    ...thinned(every.filter((x) => x > last), COARSE),
  ];
  const places = list.map(() => 0);
  const found = { at: [], mean: [], low: [], high: [] };
  for (const x of grid) {
    const values = list.flatMap(({ at, mean }, n) => {
      if (!at.length || x < at[0] || x > at.at(-1)) return [];
      while (places[n] + 1 < at.length && at[places[n] + 1] <= x) places[n] += 1;
      const i = places[n];
      const [a, b] = [mean[i], mean[i + 1] ?? mean[i]];
      if (a === null) return [];
      const share = at[i + 1] > at[i] ? (x - at[i]) / (at[i + 1] - at[i]) : 0;
      return [a + (b - a) * share];
    });
    if (!values.length) continue;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    found.at.push(x);
    found.mean.push(mean);
    found.low.push(mean - spread);
    found.high.push(mean + spread);
  }
  return found;
}

/** All points of a metric of a run, for a file. */
export async function everyPoint(run, key) {
  const found = [];
  for (let token; ; ) {
    const page = await read("metrics/get-history", { run_id: run.run_id, metric_key: key, max_results: 50_000, page_token: token });
    found.push(...(page.metrics ?? []));
    token = page.next_page_token;
    if (!token) return found;
  }
}
