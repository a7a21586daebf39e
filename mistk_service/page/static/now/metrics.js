// The metrics of the running training as curves.

import { about, get } from "../api.js";
import { card, el, say, show } from "../dom.js";
import { schedule } from "../status.js";
import { number } from "../words.js";

const MAX_POINTS = 400;
const WIDTH = 240;
const HEIGHT = 72;

/** The points of one metric that this page has received, and their drawing. */
class Metric {
  constructor(name) {
    this.points = [];
    this.all = null;
    this.changed = false;
    this.name = name;
    this.value = el("p", { class: "value" });
    this.range = el("p", { class: "quiet" });
    this.paths = ["area", "line", "last"].map((part) => el("svg:path", { class: part }));
    this.svg = el("svg:svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.paths);
    this.node = el("li", {}, el("h3", {}, name), this.value, this.svg, this.range);
  }

  /** Add the value in the status, with the range of all values. The status does not contain every value. */
  show({ value, step, timestamp, min, max }) {
    this.all = { min, max };
    this.add({ value, step, timestamp });
  }

  add({ value, step, timestamp }) {
    const last = this.points.at(-1);
    if (last && last.value === String(value) && last.step === step && last.timestamp === timestamp) return;
    if (last && step !== null && last.step !== null && step < last.step) {
      // An earlier status, whose point is already in the history.
      if (timestamp < last.timestamp) return;
      // A step that decreases is the beginning of another training.
      this.points = [];
    }
    this.points.push({ value: String(value), y: Number(value), step, timestamp });
    // Drop every second point, so that the whole curve stays visible.
    if (this.points.length > MAX_POINTS) this.points = this.points.filter((_, i) => i % 2 === 0);
    this.changed = true;
  }

  /** Put the points of the store before those that came later. */
  precede(history) {
    const live = this.points;
    this.points = [];
    for (const point of history) this.add(point);
    const end = history.at(-1);
    for (const point of live) {
      if (point.timestamp > end.timestamp || point.step > end.step) this.add(point);
    }
    this.changed = true;
  }

  draw() {
    if (!this.changed) return;
    this.changed = false;
    const last = this.points.at(-1);
    const finite = this.points.map((p) => p.y).filter(Number.isFinite);
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const { min = low, max = high } = this.all ?? {};
    const step = last.step === null ? "" : `step ${number(last.step)}`;
    const range = max > min ? `${number(min)} to ${number(max)}` : "";
    say(this.value, number(last.value));
    say(this.range, [step, range].filter(Boolean).join(" · "));
    this.svg.setAttribute("aria-label", `${this.name}: ${[number(last.value), step, range].filter(Boolean).join(", ")}`);
    this.drawCurve(low, high);
  }

  drawCurve(low, high) {
    const xs = this.positions();
    const place = (i) => {
      const share = high > low ? (this.points[i].y - low) / (high - low) : 0.5;
      return [xs[i] * WIDTH, HEIGHT - 4 - share * (HEIGHT - 8)];
    };
    // A value that is not a number interrupts the curve.
    const parts = [[]];
    this.points.forEach((p, i) => (Number.isFinite(p.y) ? parts.at(-1).push(place(i)) : parts.push([])));
    const drawn = parts.filter((part) => part.length > 0);
    const curve = (part) => part.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    const area = (part) => `M${part[0][0].toFixed(1)} ${HEIGHT}L${curve(part)}L${part.at(-1)[0].toFixed(1)} ${HEIGHT}Z`;
    const [areaPath, linePath, lastPath] = this.paths;
    areaPath.setAttribute("d", drawn.map(area).join(""));
    linePath.setAttribute("d", drawn.map((part) => `M${curve(part)}`).join(""));
    // A line of length zero with round ends is a dot that stays round at any width of the drawing.
    lastPath.setAttribute("d", drawn.length ? `M${curve([drawn.at(-1).at(-1)])}h0` : "");
  }

  /** The position of each point between left (0) and right (1): by step, by time, or otherwise by order. */
  positions() {
    for (const key of ["step", "timestamp"]) {
      const values = this.points.map((p) => p[key]);
      const [first, last] = [values[0], values.at(-1)];
      if (values.every(Number.isFinite) && last > first) return values.map((v) => (v - first) / (last - first));
    }
    const end = this.points.length - 1;
    return this.points.map((_, i) => (end ? i / end : 1));
  }
}

/** The card with the curves. */
export function metrics() {
  const known = new Map();
  /** The metrics for which this page may lack points, until they are read from the store. */
  const unread = new Set();
  let joined = false;
  /** Whether the store could not be read, so that the curves may be incomplete. */
  let partial = false;
  let gap = null;

  const list = el("ul", { class: "metrics", id: "metrics" });
  const note = el(
    "p",
    { class: "quiet", id: "metrics-partial", hidden: true },
    "The curves only show points that this page has received: there is no store with the others.",
  );
  const node = card("metrics", "Metrics", { hidden: true }, list, note);

  function take(event) {
    if (event === null) {
      joined = partial = false;
      gap = null;
      unread.clear();
      known.clear();
      return;
    }
    const late = !joined || Boolean(event.missed);
    joined = true;
    gap = event.missed ?? gap;
    const { run, metrics: reported = {} } = event.payload.payload ?? {};
    for (const name of Object.keys(reported)) {
      if (late || !known.has(name)) unread.add(name);
    }
    for (const name of known.keys()) {
      if (!(name in reported)) known.delete(name);
    }
    for (const [name, latest] of Object.entries(reported)) {
      if (!known.has(name)) known.set(name, new Metric(name));
      known.get(name).show({ step: null, timestamp: null, ...latest });
    }
    if (run?.id) complete(run);
    else if (late && unread.size > 0) partial = true;
  }

  /** Load the missing points of curves from the store, and show a note if that fails. */
  async function complete(run) {
    if (unread.size === 0) return;
    const names = [...unread];
    unread.clear();
    const results = await Promise.allSettled(names.map((name) => read(run, name)));
    const failed = results.some((result) => result.status === "rejected");
    partial = failed || (partial && names.length < known.size);
    schedule();
  }

  async function read(run, name) {
    const query = { run_ids: run.id, metric_key: name, max_results: MAX_POINTS / 2 };
    const { metrics: history = [] } = await get(`${about.tracking}/metrics/get-history-bulk-interval`, query);
    if (history.length > 0) known.get(name)?.precede(history);
  }

  function draw() {
    show(node, known.size > 0);
    show(note, partial);
    const nodes = [...known.values()].map((metric) => metric.node);
    if (nodes.length !== list.children.length || nodes.some((each, i) => each !== list.children[i])) {
      list.replaceChildren(...nodes);
    }
    for (const metric of known.values()) metric.draw();
  }

  /** The events that are missing in the curves, if any. */
  return { node, take, draw, missed: () => (partial ? gap : null) };
}
