// Confusion matrices and ROC curves from the results of an evaluation.

import { el } from "../dom.js";
import { number } from "../words.js";
import { inkOf } from "./colors.js";
import { drawingTools } from "./files.js";

const svg = (tag, attributes, ...children) => el(`svg:${tag}`, attributes, ...children);

/** A confusion matrix as a drawing, for files. */
function matrixDrawing(rows, name, most) {
  const [ink, accent] = [inkOf("--ink"), inkOf("--accent")];
  const [side, wide, high] = [110, 70, 30];
  const text = (column, row, value) => svg("text", { x: column < 0 ? side / 2 : side + (column + 0.5) * wide, y: (row + 1.65) * high, fill: ink, "font-size": 12, "font-family": "sans-serif", "text-anchor": "middle" }, value);
  return svg(
    "svg",
    { viewBox: `0 0 ${side + rows.length * wide} ${(rows.length + 1) * high}` },
    rows.map((_, i) => [text(i, -1, name(i)), text(-1, i, name(i))]),
    rows.map((row, i) => row.map((value, j) => [
      svg("rect", { x: side + j * wide, y: (i + 1) * high, width: wide, height: high, fill: accent, "fill-opacity": (0.45 * value) / most }),
      text(j, i, number(value)),
    ])),
  );
}

/** A confusion matrix: a row for each true class, a column for each predicted one. */
function matrix(rows, labels) {
  const most = Math.max(1, ...rows.flat());
  const name = (i) => String(labels?.[i] ?? i);
  const table = () => [["", ...rows.map((_, j) => name(j))], ...rows.map((row, i) => [name(i), ...row])];
  const cell = (value, i, j) => {
    const td = el("td", { title: `${name(i)} taken for ${name(j)}: ${value}` }, number(value));
    td.style.setProperty("--share", value / most);
    return td;
  };
  return el(
    "figure",
    { class: "card matrix" },
    el("figcaption", { class: "row" }, "Confusion matrix ", el("span", { class: "quiet" }, "rows: truth, columns: prediction"), drawingTools("Confusion matrix", "confusion_matrix", () => matrixDrawing(rows, name, most), table)),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, el(
      "table",
      {},
      el("thead", {}, el("tr", {}, el("td"), rows.map((_, j) => el("th", { scope: "col" }, name(j))))),
      el("tbody", {}, rows.map((row, i) => el("tr", {}, el("th", { scope: "row" }, name(i)), row.map((value, j) => cell(value, i, j))))),
    )),
  );
}

/** A ROC curve: the rate of true positives over that of false ones. */
function roc(falses, trues, area) {
  const size = 260;
  const place = (x, y) => `${(40 + x * size).toFixed(1)} ${(10 + (1 - y) * size).toFixed(1)}`;
  const text = (x, y, value, anchor = "middle") => svg("text", { x, y, "text-anchor": anchor, class: "tick" }, value);
  const given = area ?? falses.slice(1).reduce((sum, x, i) => sum + ((x - falses[i]) * (trues[i] + trues[i + 1])) / 2, 0);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${size + 60} ${size + 48}`, role: "img", "aria-label": `ROC curve, area ${number(given)}` },
    svg("rect", { x: 40, y: 10, width: size, height: size, class: "frame" }),
    svg("path", { d: `M${place(0, 0)}L${place(1, 1)}`, class: "chance" }),
    svg("path", { d: `M${falses.map((x, i) => place(x, trues[i])).join("L")}`, class: "curve" }),
    [0, 0.5, 1].map((at) => [text(40 + at * size, size + 26, at), text(34, 14 + (1 - at) * size, at, "end")]),
    text(40 + size / 2, size + 44, "false positives"),
  );
  const table = () => [["false_positive_rate", "true_positive_rate"], ...falses.map((x, i) => [x, trues[i]])];
  return el(
    "figure",
    { class: "card roc" },
    el("figcaption", { class: "row" }, "ROC ", el("span", { class: "quiet" }, `area under the curve ${number(given)}`), drawingTools("ROC", "roc_curve", () => drawing, table)),
    drawing,
  );
}

const isMatrix = (value) => Array.isArray(value) && value.length > 1 && value.length <= 200 && value.every((row) => Array.isArray(row) && row.length === value.length && row.every(Number.isFinite));
const isCurve = (value) => Array.isArray(value) && value.length >= 2 && value.slice(0, 2).every((list) => Array.isArray(list) && list.length > 1 && list.every(Number.isFinite)) && value[0].length === value[1].length;

/** The charts for the results of an evaluation, at any depth in its JSON. */
export function evaluation(results, depth = 0) {
  if (!results || typeof results !== "object" || depth > 4) return [];
  const found = [];
  if (isMatrix(results.confusion_matrix)) found.push(matrix(results.confusion_matrix, results.labels ?? results.classes));
  if (isCurve(results.roc_curve)) found.push(roc(results.roc_curve[0], results.roc_curve[1], Number.isFinite(results.roc_auc_score) ? results.roc_auc_score : undefined));
  for (const each of Object.values(results)) if (each && typeof each === "object") found.push(...evaluation(each, depth + 1));
  return found.slice(0, 12);
}
