// The page of one model container: it follows the status stream of the public API and shows the status.
//
// Values from the model are only used as textContent or as numbers of a drawing, never as markup.

const api = document.body.dataset.api;
const byId = (id) => document.getElementById(id);

// --- words and numbers ------------------------------------------------------------------------------------------

const TONES = {
  started: "idle", initialized: "idle", terminated: "idle",
  ready: "good",
  pausing: "wait", paused: "wait", resetting: "wait", terminating: "wait",
  failed: "bad",
};
const OUTCOME_TONES = { completed: "good", stopped: "wait", unsupported: "idle", failed: "bad" };

const words = (name) => String(name).replaceAll("_", " ");

/** A number with four significant digits. The texts NaN, Infinity and -Infinity are unchanged. */
function number(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return String(value);
  if (Number.isInteger(n) && Math.abs(n) < 1e15) return n.toLocaleString("en");
  return Math.abs(n) >= 1e6 ? n.toExponential(3) : String(Number(n.toPrecision(4)));
}

/** A duration in seconds as readable text. */
function duration(seconds) {
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function clock(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? String(iso) : time.toLocaleTimeString();
}

// --- the document -----------------------------------------------------------------------------------------------

/** Set a text only if it differs, so that screen readers do not repeat it and a selection is kept. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

function element(tag, text = "", className = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

/** Rebuild the children of a node from a value, but only if the value has changed. */
function rebuild(node, value, build) {
  const key = JSON.stringify(value);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  node.replaceChildren(...build(value));
}

// --- metrics ----------------------------------------------------------------------------------------------------

const MAX_POINTS = 400;
const WIDTH = 240;
const HEIGHT = 72;
const SVG = "http://www.w3.org/2000/svg";

/** The points of one metric that this page has seen, and their drawing. */
class Metric {
  constructor(name) {
    this.points = [];
    this.all = null;
    this.changed = false;
    this.node = element("li");
    this.value = element("p", "", "value");
    this.range = element("p", "", "quiet");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.paths = ["area", "line", "last"].map((className) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", className);
      this.svg.append(path);
      return path;
    });
    this.name = name;
    this.node.append(element("h3", name), this.value, this.svg, this.range);
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

const metrics = new Map();

function takeMetrics(reported) {
  for (const name of metrics.keys()) {
    if (!(name in reported)) metrics.delete(name);
  }
  for (const [name, latest] of Object.entries(reported)) {
    if (!metrics.has(name)) metrics.set(name, new Metric(name));
    metrics.get(name).show({ step: null, timestamp: null, ...latest });
  }
}

/**
 * Load the complete curves from the store, for metrics whose first points this page has not seen.
 *
 * @returns whether the store has them.
 */
async function readHistory(run, names) {
  const pages = names.map(async (name) => {
    const query = new URLSearchParams({ run_ids: run.id, metric_key: name, max_results: String(MAX_POINTS / 2) });
    const response = await fetch(`api/2.0/mlflow/metrics/get-history-bulk-interval?${query}`);
    if (!response.ok) throw new Error(`${response.status}`);
    const history = (await response.json()).metrics ?? [];
    if (history.length > 0) metrics.get(name)?.precede(history);
  });
  const results = await Promise.allSettled(pages);
  return results.every((result) => result.status === "fulfilled");
}

// --- the status -------------------------------------------------------------------------------------------------

let status = null;
let gap = null;
let knownName = null; // the model whose hyperparameters are shown
/** The metrics for which this page may lack points, until they are read from the store. */
const unread = new Set();
/** Whether the store could not be read, so that the curves may be incomplete. */
let partial = false;
let scheduled = false;

function take(event) {
  const joined = status === null || Boolean(event.missed);
  gap = event.missed ?? gap;
  status = { payload: {}, ...event.payload };
  const { run, metrics: reported = {} } = status.payload;
  for (const name of Object.keys(reported)) {
    if (joined || !metrics.has(name)) unread.add(name);
  }
  takeMetrics(reported);
  if (run?.id) completeCurves(run);
  else if (joined && unread.size > 0) partial = true;
  // Set at once, since a tab in the background is not drawn but shows its title.
  document.title = `${words(status.state)} · ${status.objectInfo.name}`;
  scheduleDrawing();
}

function scheduleDrawing() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

/** Load the missing points of curves from the store, and show a note if that fails. */
async function completeCurves(run) {
  if (unread.size === 0) return;
  const names = [...unread];
  unread.clear();
  const read = await readHistory(run, names);
  partial = !read || (partial && names.length < metrics.size);
  scheduleDrawing();
}

function draw() {
  scheduled = false;
  if (!status) return;
  const { objectInfo, state, payload } = status;
  say(byId("name"), objectInfo.name);
  say(byId("state"), words(state));
  byId("badge").dataset.tone = TONES[state] ?? "busy";
  say(byId("updated"), `Version ${objectInfo.resourceVersion}, ${clock(objectInfo.modificationTime)}`);
  drawActivity(state, payload);
  drawLast(payload.lastActivity);
  drawPossible(payload.possible ?? []);
  drawNotice(payload.notice);
  if (knownName !== objectInfo.name) {
    knownName = objectInfo.name;
    showDeclared().catch(() => { knownName = null; }); // again with the next status
  }
  drawError(payload.operation, payload.error);
  drawMetrics();
  drawFacts(payload);
}

function drawActivity(state, { activity, progress }) {
  const running = activity ? `${activity.operation}, since ${clock(activity.startedAt)}` : "Nothing runs.";
  say(byId("activity"), running);
  byId("progress").toggleAttribute("data-paused", state === "paused");
  show(byId("progress"), Boolean(progress));
  if (!progress) return;
  const { done, total, unit, rate, timeLeft } = progress;
  const bar = byId("bar");
  if (total) {
    bar.max = total;
    bar.value = done;
  } else {
    bar.removeAttribute("value");
  }
  const parts = [
    total ? `${number(done)} of ${number(total)} ${unit}` : `${number(done)} ${unit}`,
    total && `${Math.floor((100 * done) / total)} %`,
    rate && `${number(rate)} ${unit}/s`,
    Number.isFinite(timeLeft) && state !== "paused" && `${duration(timeLeft)} left`,
  ];
  say(byId("progress-text"), parts.filter(Boolean).join(" · "));
}

function drawLast(last) {
  rebuild(byId("last"), last ?? null, () => {
    if (!last) return ["None yet."];
    const outcome = element("span", last.outcome, "tag");
    outcome.dataset.tone = OUTCOME_TONES[last.outcome] ?? "idle";
    return [last.operation, " ", outcome];
  });
  say(byId("last-times"), last ? `Took ${duration(last.seconds)}, ended ${clock(last.endedAt)}` : "");
}

function drawPossible(possible) {
  rebuild(byId("possible"), possible, () => possible.map((name) => element("li", name)));
  say(byId("nothing-possible"), "No operation would be accepted.");
  show(byId("nothing-possible"), possible.length === 0);
}

function drawNotice(notice) {
  const missed = gap && partial && `Updates ${gap.from} to ${gap.to} were missed; curves may have gaps.`;
  const text = [notice, missed].filter(Boolean).join("\n");
  show(byId("notice"), Boolean(text));
  say(byId("notice"), text);
}

function drawError(operation, error) {
  show(byId("error"), Boolean(error));
  const what = error ? [error.type, error.message].filter(Boolean).join(": ") : "";
  say(byId("error-message"), error && operation ? `${operation} failed. ${what}` : what);
  const output = (error?.output ?? []).join("\n");
  show(byId("traceback"), Boolean(error?.traceback));
  say(byId("traceback-text"), error?.traceback ?? "");
  show(byId("output"), Boolean(output));
  say(byId("output-text"), output);
}

function drawMetrics() {
  show(byId("metrics-card"), metrics.size > 0);
  show(byId("metrics-partial"), partial);
  const list = byId("metrics");
  const nodes = [...metrics.values()].map((metric) => metric.node);
  if (nodes.length !== list.children.length || nodes.some((node, i) => node !== list.children[i])) {
    list.replaceChildren(...nodes);
  }
  for (const metric of metrics.values()) metric.draw();
}

// --- other parts of the status ----------------------------------------------------------------------------------

const SHOWN_ABOVE = new Set([
  "activity", "progress", "metrics", "params", "tags", "artifacts", "possible", "lastActivity", "notice", "operation", "error",
]);

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** A link with a text. */
class Link {
  constructor(text, address) {
    this.text = text;
    this.address = address;
  }
}

/** A link if the URL is an http(s) URL, which excludes script URLs; otherwise a text. */
function link(text, address) {
  const url = typeof address === "string" && URL.canParse(address, document.baseURI) && new URL(address, document.baseURI);
  if (!url || !["http:", "https:"].includes(url.protocol)) return text;
  const node = element("a", text);
  node.href = url.href;
  node.rel = "noopener noreferrer";
  return node;
}

/** A value for display. A text that is an http(s) URL becomes a link. */
function shown(value) {
  if (value instanceof Link) return link(value.text, value.address);
  const text = plain(value);
  return /^https?:\/\/\S+$/.test(text) ? link(text, text) : text;
}

/** The rows of the run, whose name is a link. None if the value is not a run, such as a model's own value of that name. */
function runRows(run) {
  if (!run?.id) return [];
  return [
    ["Run", new Link(run.name || run.id, run.link)],
    ["Run id", run.id],
    ["Run status", run.status],
    ["Experiment id", run.experimentId],
  ];
}

/** The rows of tracking: the location of the store, the state of the remotes, and errors. */
function trackingRows(tracking) {
  if (tracking?.store === undefined) return [];
  const remotes = (tracking.remotes ?? []).map((remote) => [remote.remote, remoteState(remote)]);
  return [
    ["Store", tracking.store],
    ...remotes,
    ["Problem", tracking.error],
    ...(tracking.notes ?? []).map((note) => ["Note", note]),
  ].filter(([, value]) => value !== undefined && value !== null);
}

function remoteState({ connected, depth, refused, lastError }) {
  const parts = [
    connected ? "connected" : "not connected",
    depth ? `${number(depth)} changes waiting` : "up to date",
    refused && `${number(refused)} refused`,
    lastError,
  ];
  return parts.filter(Boolean).join(" · ");
}

function drawFacts(payload) {
  const artifacts = (payload.artifacts ?? []).map(({ path, artifactPath }) => [artifactPath || "/", path]);
  const { run, tracking } = payload;
  const tracked = [...runRows(run), ...trackingRows(tracking)];
  drawList("tracking", tracked);
  const own = (key) => SHOWN_ABOVE.has(key) || (tracked.length > 0 && ["run", "tracking"].includes(key));
  const further = Object.entries(payload).filter(([key]) => !own(key));
  const any = [
    drawList("params", Object.entries(payload.params ?? {})),
    drawList("tags", Object.entries(payload.tags ?? {})),
    drawList("artifacts", artifacts),
    drawList("further", further),
  ].some(Boolean);
  show(byId("facts-card"), any);
}

/** Show the hyperparameters that the model declares, from the contract of this container. */
async function showDeclared() {
  const response = await fetch(`${api}/swagger.json`);
  if (!response.ok) return;
  const { definitions } = await response.json();
  const declared = definitions?.ModelInstanceInitParams?.properties?.hyperparameters?.properties ?? {};
  const about = ({ type, minimum, maximum, default: value, description, enum: choices }) => [
    choices ? choices.join(" or ") : type,
    minimum !== undefined && `from ${minimum}`,
    maximum !== undefined && `up to ${maximum}`,
    value !== undefined && `default ${JSON.stringify(value)}`,
    description,
  ].filter(Boolean).join(", ");
  drawList("declared", Object.entries(declared).map(([name, each]) => [name, about(each)]));
}

function drawList(id, entries) {
  rebuild(byId(id), entries, () => entries.flatMap(([key, value]) => [filled("dt", shown(key)), filled("dd", shown(value))]));
  show(byId(`${id}-card`), entries.length > 0);
  return entries.length > 0;
}

function filled(tag, content) {
  const node = element(tag);
  node.append(content);
  return node;
}

// --- the stream -------------------------------------------------------------------------------------------------

const CONNECTIONS = {
  connecting: "Connecting …",
  live: "Live",
  lost: "Connection lost, retrying …",
  ended: "Terminated. Reload the page when the service runs again.",
};
const RETRY_MS = 2000;

function connection(name) {
  byId("connection").dataset.connection = name;
  say(byId("connection"), CONNECTIONS[name]);
}

function follow(since = null) {
  const source = new EventSource(`${api}/status?watch=true&resourceVersion=${since ?? 0}`);
  // Before the first status, the page is not live yet. After a reconnect it is, though the next status may take long.
  source.addEventListener("open", () => connection(status ? "live" : "connecting"));
  source.addEventListener("status", (message) => receive(source, JSON.parse(message.data)));
  source.addEventListener("error", () => {
    connection("lost");
    // A browser reconnects and resumes on its own, unless the response was not a stream, such as a proxy's 502.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => follow(status && status.objectInfo.resourceVersion), RETRY_MS);
    }
  });
}

function receive(source, event) {
  if (status && event.payload.objectInfo.id !== status.objectInfo.id) {
    // The container was restarted and counts versions from the beginning, so this page cannot resume.
    source.close();
    status = gap = null;
    partial = false;
    unread.clear();
    metrics.clear();
    follow();
    return;
  }
  take(event);
  const ended = status.state === "terminated";
  if (ended) source.close();
  connection(ended ? "ended" : "live");
}

// The cookie of the session itself cannot be seen; this one says that there is somebody to log out.
byId("log-out").hidden = !document.cookie.includes("mistk_session_open=1");
follow();
