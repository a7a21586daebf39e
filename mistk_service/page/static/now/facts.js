// Other parts of the status: tracking, the declared hyperparameters, and the model's own values.

import { contract } from "../contract.js";
import { card, el, link, rebuild, show } from "../dom.js";
import { number, plain } from "../words.js";

/** The keys of the payload with a separate place. */
const SHOWN_ELSEWHERE = new Set([
  "activity", "progress", "metrics", "params", "tags", "artifacts", "possible", "lastActivity", "notice", "operation", "error",
]);

/** The cards of tracking, of the hyperparameters and of the details. */
export function facts() {
  return [tracking(), declared(), details()];
}

function tracking() {
  const list = el("dl", { id: "tracking" });
  const node = card("tracking", "Tracking", { hidden: true }, list);
  return { node, draw: ({ payload }) => show(node, fill(list, trackingRows(payload))) };
}

/** The hyperparameters that the model declares, from the contract of this container. */
function declared() {
  const list = el("dl", { id: "declared" });
  const node = card("declared", "Hyperparameters", { hidden: true }, list);
  let known = null; // the model whose hyperparameters are shown

  async function read() {
    const properties = (await contract()).hyperparameters?.properties ?? {};
    show(node, fill(list, Object.entries(properties).map(([name, schema]) => [name, inWords(schema)])));
  }

  function draw({ objectInfo: { name } }) {
    if (known === name) return;
    known = name;
    read().catch(() => { known = null; }); // again with the next status
  }
  return { node, draw };
}

function inWords({ type, minimum, maximum, default: value, description, enum: choices }) {
  return [
    choices ? choices.join(" or ") : type,
    minimum !== undefined && `from ${minimum}`,
    maximum !== undefined && `up to ${maximum}`,
    value !== undefined && `default ${JSON.stringify(value)}`,
    description,
  ].filter(Boolean).join(", ");
}

function details() {
  const titles = { params: "Parameters", tags: "Tags", artifacts: "Artifacts", further: "Further status" };
  const lists = Object.fromEntries(Object.keys(titles).map((id) => [id, el("dl", { id })]));
  const boxes = Object.entries(lists).map(([id, list]) => el("div", { hidden: true }, el("h3", {}, titles[id]), list));
  const node = card("facts", "Details", { hidden: true }, el("div", { class: "facts" }, boxes));

  function draw({ payload }) {
    const tracked = trackingRows(payload).length > 0;
    const own = (key) => SHOWN_ELSEWHERE.has(key) || (tracked && ["run", "tracking"].includes(key));
    const rows = {
      params: Object.entries(payload.params ?? {}),
      tags: Object.entries(payload.tags ?? {}),
      artifacts: (payload.artifacts ?? []).map(({ path, artifactPath }) => [artifactPath || "/", path]),
      further: Object.entries(payload).filter(([key]) => !own(key)),
    };
    for (const [id, list] of Object.entries(lists)) show(list.parentElement, fill(list, rows[id]));
    show(node, boxes.some((box) => !box.hidden));
  }
  return { node, draw };
}

/** A link with a text. */
class Link {
  constructor(text, address) {
    this.text = text;
    this.address = address;
  }
}

/** A value for display. A text that is an http(s) URL becomes a link. */
function shown(value) {
  if (value instanceof Link) return link(value.text, value.address);
  const text = plain(value);
  return /^https?:\/\/\S+$/.test(text) ? link(text, text) : text;
}

/** Fill a list of names and values, and return whether there are any. */
function fill(list, rows) {
  rebuild(list, rows, () => rows.flatMap(([key, value]) => [el("dt", {}, shown(key)), el("dd", {}, shown(value))]));
  return rows.length > 0;
}

/** The run, the location of the store, the state of the remotes, and errors. */
function trackingRows({ run, tracking: store }) {
  // A model may report its own values under these names.
  const ofRun = run?.id
    ? [
        ["Run", new Link(run.name || run.id, run.link)],
        ["Run id", run.id],
        ["Run status", run.status],
        ["Experiment id", run.experimentId],
      ]
    : [];
  if (store?.store === undefined) return ofRun;
  const rows = [
    ["Store", store.store],
    ...(store.remotes ?? []).map((remote) => [remote.remote, remoteState(remote)]),
    ["Problem", store.error],
    ...(store.notes ?? []).map((note) => ["Note", note]),
  ];
  return [...ofRun, ...rows.filter(([, value]) => value !== undefined && value !== null)];
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
