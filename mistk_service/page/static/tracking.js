// Requests to the tracking server for the views of runs, models and charts.

import { about, address, ApiError, request } from "./api.js";
import { el } from "./dom.js";

/** Whether the visitor may change something. */
export const mayEdit = !["viewer", "predictor"].includes(about.role);

/** The query of an operation; a list repeats its parameter. */
const query = (fields) =>
  new URLSearchParams(
    Object.entries(fields).flatMap(([name, value]) =>
      [value].flat().filter((each) => each !== undefined && each !== null).map((each) => [name, each]),
    ),
  );

/** Call an operation that reads, by its path below MLflow's API. */
export const read = async (path, fields = {}, options) =>
  (await request(`${about.tracking}/${path}?${query(fields)}`, options)).json();

/** Call an operation that searches or writes. */
export const post = async (path, fields, options) =>
  (await request(`${about.tracking}/${path}`, { method: "POST", json: fields, ...options })).json();

/** Call one of the few operations that take another method. */
export const call = async (method, path, fields) =>
  (await request(`${about.tracking}/${path}`, { method, json: fields })).json();

/** Read all pages of a search; `name` is the list in the answers. */
export async function all(path, fields, name) {
  const found = [];
  for (let token; ; ) {
    const page = await post(path, { ...fields, page_token: token });
    found.push(...(page[name] ?? []));
    token = page.next_page_token;
    if (!token) return found;
  }
}

const root = about.tracking?.replace(/api\/2\.0\/mlflow\/?$/, "") ?? "";

/** The address of a file of a run. */
export const artifactUrl = (run, path) => address(`${root}get-artifact?${query({ run_id: run, path })}`);

/** The address of a folder of a run as a ZIP archive. */
export const archiveUrl = (run, path) => address(`${about.tracking}/artifacts/archive?${query({ run_id: run, path })}`);

/** A file of a run as a response. */
export async function artifact(run, path, headers) {
  const response = await fetch(artifactUrl(run, path), { headers });
  if (!response.ok) throw new ApiError(response.status, `${path} cannot be read: the server answered ${response.status}.`);
  return response;
}

/** Pairs of keys and values as an object without a prototype. */
export const pairs = (list = []) => Object.assign(Object.create(null), Object.fromEntries(list.map((each) => [each.key, each.value])));

/** A run with its params, metrics and tags as objects. */
export function flat(run) {
  const { params, metrics, tags } = run.data;
  return {
    ...run.info,
    name: run.info.run_name || run.info.run_id,
    params: pairs(params),
    metrics: pairs(metrics),
    tags: pairs(tags),
    measured: metrics ?? [],
    inputs: run.inputs ?? {},
    outputs: run.outputs ?? {},
  };
}

/** Load a style sheet of a view, once. */
export function style(path) {
  const href = new URL(path, import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return Promise.resolve();
  return new Promise((done) => {
    document.head.append(el("link", { rel: "stylesheet", href, onload: done, onerror: done }));
  });
}

/** The current query of the hash. */
export const nowInUrl = () => Object.fromEntries(new URLSearchParams(location.hash.split(/\?(.*)/s)[1]));

/** Change the query of the hash without a new entry in the history; empty values are left out. */
export function keepInUrl(values) {
  const [path, given] = location.hash.split(/\?(.*)/s);
  const now = new URLSearchParams(given);
  for (const [name, value] of Object.entries(values)) {
    if (value) now.set(name, value);
    else now.delete(name);
  }
  history.replaceState(history.state, "", `${path || "#/"}${now.size ? `?${now}` : ""}`);
}

/** Values that this browser stores under a name. A browser without storage has none. */
export const kept = (name) => {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? {};
  } catch {
    return {};
  }
};
export function keep(name, values) {
  try {
    localStorage.setItem(name, JSON.stringify(values));
  } catch {
    // Full, or forbidden: the page works without.
  }
}

// Creating one of these takes long.
const MOMENT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** A time in ms since 1970 in readable form. */
export const moment = (ms) => (ms ? MOMENT.format(ms) : "");

/** How long ago a time is. */
export function ago(ms) {
  if (!ms) return "";
  const seconds = (Date.now() - ms) / 1000;
  for (const [unit, size] of [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return RELATIVE.format(-Math.round(seconds / size), unit);
  }
  return "just now";
}

/** A size in bytes. */
export function bytes(size) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let n = Number(size ?? 0);
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) [n, unit] = [n / 1000, unit + 1];
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

const TONES = { RUNNING: "busy", SCHEDULED: "wait", FINISHED: "good", FAILED: "bad", KILLED: "wait" };

/** The status of a run as a badge. */
export const statusBadge = (status) => el("span", { class: "tag status", dataset: { tone: TONES[status] ?? "idle" } }, (status ?? "").toLowerCase());

/** Offer a blob or a text as a file. */
export function save(name, content, type = "text/plain") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
