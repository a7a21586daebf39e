// Charts as files.

import { el } from "../dom.js";
import { save } from "../tracking.js";
import { inkOf } from "./colors.js";
import { everyPoint } from "./data.js";

const fileName = (key, ending) => `${key.replace(/[^\w.-]+/g, "_")}.${ending}`;

/** A cell of a CSV file. */
export const cell = (value) => (/[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

export const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\n");

// --- drawings -------------------------------------------------------------------------------------------------------

const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family"];

/** A drawing as a text that needs no style sheet. */
function source(drawing) {
  const copy = drawing.cloneNode(true);
  const copies = copy.querySelectorAll("[class]");
  drawing.querySelectorAll("[class]").forEach((each, i) => {
    const style = getComputedStyle(each);
    for (const name of STYLES) copies[i].setAttribute(name, style.getPropertyValue(name));
  });
  const { width, height } = drawing.viewBox.baseVal;
  for (const [name, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height })) copy.setAttribute(name, value);
  copy.prepend(el("svg:rect", { width: "100%", height: "100%", fill: inkOf("--card") }));
  return new XMLSerializer().serializeToString(copy);
}

async function saveDrawingPng(drawing, key) {
  const url = URL.createObjectURL(new Blob([source(drawing)], { type: "image/svg+xml" }));
  const image = el("img", { src: url });
  await image.decode();
  const canvas = el("canvas", { width: image.width * 2, height: image.height * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => save(fileName(key, "png"), blob));
}

/** A button of the chart with this title. */
export const toolButton = (title, label, text, onclick) => el("button", { class: "plain", title: label, "aria-label": `${label}: ${title}`, onclick }, text);

/** Buttons that save a drawing: `drawing()` is an element svg with a viewBox, and `rows()` are those of the CSV file. */
export function drawingTools(title, key, drawing, rows) {
  const tool = (text, onclick) => toolButton(title, `Save as ${text}`, text, onclick);
  return el(
    "span",
    { class: "chart-tools" },
    tool("PNG", () => saveDrawingPng(drawing(), key)),
    tool("SVG", () => save(fileName(key, "svg"), source(drawing()), "image/svg+xml")),
    tool("CSV", () => save(fileName(key, "csv"), csv(rows()), "text/csv")),
  );
}

// --- plots ----------------------------------------------------------------------------------------------------------

/** Save a plot as PNG. */
export function savePng(plot, key) {
  const from = plot.ctx.canvas;
  const canvas = el("canvas", { width: from.width, height: from.height });
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = inkOf("--card");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(from, 0, 0);
  canvas.toBlob((blob) => save(fileName(key, "png"), blob));
}

/** Save a plot as SVG. */
export function saveSvg(plot, key) {
  const { left, top, width, height } = plot.over.getBoundingClientRect();
  const outer = plot.root.getBoundingClientRect();
  const [dx, dy] = [left - outer.left, top - outer.top];
  const ink = inkOf("--quiet");
  const svg = (tag, attributes, ...children) => el(`svg:${tag}`, attributes, ...children);
  const text = (x, y, anchor, value) => svg("text", { x, y, fill: ink, "font-size": 11, "font-family": "sans-serif", "text-anchor": anchor }, value);
  const lines = plot.data.slice(1).flatMap((values, i) => {
    const { stroke, width: thick } = plot.series[i + 1];
    const color = typeof stroke === "function" ? stroke(plot, i + 1) : stroke;
    let d = "";
    let up = true;
    values.forEach((value, n) => {
      if (value === null) up = true;
      if (value === null || value === undefined) return;
      d += `${up ? "M" : "L"}${plot.valToPos(plot.data[0][n], "x").toFixed(2)} ${plot.valToPos(value, "y").toFixed(2)}`;
      up = false;
    });
    return d && color !== "transparent" ? [svg("path", { d, fill: "none", stroke: color, "stroke-width": thick })] : [];
  });
  const ticks = plot.axes.flatMap((axis, n) => (axis._splits ?? []).map((at, i) => {
    const place = plot.valToPos(at, n ? "y" : "x");
    return n ? text(dx - 8, dy + place + 4, "end", axis._values[i] ?? "") : text(dx + place, dy + height + 18, "middle", axis._values[i] ?? "");
  }));
  const drawing = svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width: outer.width, height: outer.height, viewBox: `0 0 ${outer.width} ${outer.height}` },
    svg("rect", { width: "100%", height: "100%", fill: inkOf("--card") }),
    svg("rect", { x: dx, y: dy, width, height, fill: "none", stroke: inkOf("--edge") }),
    // A drawing within a drawing cuts off what is outside of it.
    svg("svg", { x: dx, y: dy, width, height }, lines),
    ticks,
  );
  save(fileName(key, "svg"), new XMLSerializer().serializeToString(drawing), "image/svg+xml");
}

/** Save all points of a metric, not only those that are drawn. */
export async function saveCsv(runs, key) {
  const rows = [["run_id", "run_name", "step", "timestamp", "value"]];
  for (const run of runs.filter((each) => !each.hidden)) {
    for (const point of await everyPoint(run, key)) rows.push([run.run_id, run.name, point.step, point.timestamp, point.value]);
  }
  save(fileName(key, "csv"), csv(rows), "text/csv");
}
