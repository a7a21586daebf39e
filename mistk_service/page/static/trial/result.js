// A model's answer in readable form.

import { el } from "../dom.js";
import { markdown } from "../runs/markdown.js";
import { number, plain, words } from "../words.js";

/** The most bars, and the most records, that are shown. */
const BARS = 50;
const RECORDS = 200;

const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;
/** Whether values are probabilities: their name says so, or they add up to 1. */
const areShares = (values, key = "") =>
  values.length > 1 && values.length <= BARS && values.every(isShare) && (SHARE.test(key) || Math.abs(values.reduce((a, b) => a + b) - 1) < 0.02);
const SHARE = /conf|prob|score|certain/i;
/** How every PNG begins in base64. */
const PNG = "iVBORw0KGgo";
const DETAILS = /detail|expla/i;

/**
 * Show the answers to records.
 *
 * @param answers name of the record → answer.
 * @param more further values of the answer for the whole request, by name.
 */
export function answer(answers, more = {}) {
  const entries = Object.entries(answers);
  const extra = Object.entries(more).map(([key, value]) => part(key, value));
  if (entries.length === 1) return el("div", { class: "answer" }, whole(entries[0][1]), extra);
  const columns = [...new Set(entries.flatMap(([, each]) => (isObject(each) ? Object.keys(each) : ["answer"])))];
  const cell = (each, column) => (isObject(each) ? each[column] : column === "answer" ? each : undefined);
  const rows = entries.slice(0, RECORDS).map(([key, each]) =>
    el("tr", {}, el("th", { scope: "row" }, key), columns.map((column) => el("td", {}, short(cell(each, column))))),
  );
  return el(
    "div",
    { class: "answer" },
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Answers" },
      el("table", {}, el("thead", {}, el("tr", {}, ["record", ...columns].map((each) => el("th", { scope: "col" }, each)))), el("tbody", {}, rows)),
    ),
    entries.length > RECORDS && el("p", { class: "quiet" }, `The first ${RECORDS} of ${number(entries.length)} records.`),
    extra,
  );
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const short = (value) => {
  const text = value === undefined ? "" : typeof value === "number" ? number(value) : plain(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

/** The answer to one record. */
function whole(value) {
  if (!isObject(value)) return part("", value);
  const entries = Object.entries(value);
  if (areShares(Object.values(value)) && !entries.some(([key]) => SHARE.test(key))) return bars(entries);
  return entries.map(([key, each]) => part(key, each));
}

function part(key, value) {
  const title = key && el("h3", {}, words(key));
  if (typeof value?.b64 === "string" && value.b64.startsWith(PNG)) {
    return el("div", {}, title, el("img", { src: `data:image/png;base64,${value.b64}`, alt: `${words(key)}, an image` }));
  }
  if (isShare(value) && SHARE.test(key)) return bars([[words(key), value]]);
  if (Array.isArray(value) && areShares(value, key)) {
    return el("div", {}, title, bars(value.map((each, i) => [String(i), each])));
  }
  if (isObject(value) && areShares(Object.values(value), key)) {
    return el("div", {}, title, bars(Object.entries(value)));
  }
  if (typeof value === "string" && DETAILS.test(key)) return el("div", {}, title, el("div", { class: "prose" }, prose(value)));
  if (typeof value === "object" && value !== null) {
    return el("div", {}, title, el("pre", { tabindex: 0, role: "region", "aria-label": words(key) || "Answer" }, JSON.stringify(value, null, 2)));
  }
  return el("div", {}, title, el("p", { class: String(value).length < 30 ? "figure" : "said" }, typeof value === "number" ? number(value) : String(value)));
}

function bars(entries) {
  const highest = Math.max(...entries.map(([, value]) => value));
  const rows = entries.map(([name, value]) =>
    el(
      "li",
      { class: value === highest && entries.length > 1 ? "highest" : null },
      el("span", { class: "key" }, name),
      el("meter", { min: 0, max: 1, value, "aria-label": name }),
      el("span", { class: "share" }, `${(value * 100).toFixed(1)} %`),
    ),
  );
  return el("ul", { class: "bars" }, rows);
}

// --- details, in Markdown or HTML ---------------------------------------------------------------------------------

/** The elements of HTML that are kept, without their attributes; those that are dropped with their content are in DROPPED. */
const KEPT = new Set(
  "a b blockquote br code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i li ol p pre s small span strong sub sup table tbody td th thead tr u ul".split(" "),
);
const DROPPED = new Set(["script", "style", "template", "iframe", "object", "embed", "svg", "math", "noscript", "title"]);

/** The nodes of a text that a model wrote. HTML is parsed without being run, and rebuilt from harmless elements alone. */
export function prose(text) {
  if (!/^\s*</.test(text)) return markdown(text);
  return rebuilt(new DOMParser().parseFromString(text, "text/html").body);
}

function rebuilt(parent) {
  return [...parent.childNodes].flatMap((node) => {
    if (node.nodeType === Node.TEXT_NODE) return [node.data];
    if (node.nodeType !== Node.ELEMENT_NODE) return [];
    const name = node.localName;
    if (DROPPED.has(name)) return [];
    return KEPT.has(name) ? [el(name === "a" ? "span" : name, {}, rebuilt(node))] : rebuilt(node);
  });
}
