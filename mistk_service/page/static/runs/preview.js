// Previews of the files of a run.

import { el } from "../dom.js";
import { artifact, artifactUrl, bytes } from "../tracking.js";
import { evaluation } from "../charts/evaluation.js";
import { markdown, table } from "./markdown.js";

const MOST = 1 << 20; // bytes of a text that are read
const ROWS = 1000; // rows of a table that are shown

const IMAGES = /\.(png|jpe?g|gif|webp|bmp|ico|svg|avif)$/i;
const TEXTS = /(^|\/)(mlmodel|mlproject|dockerfile|license|readme|makefile)$|\.(txt|log|out|err|py|r|jl|js|ts|java|c|h|cpp|go|rs|sh|sql|ya?ml|toml|cfg|ini|conf|env|xml|html?|css|tex|diff|patch|jsonl|ndjson|rst)$/i;

/** The kind of a file by its name: "image", "text" ...; null if it cannot be shown. */
export function kindOf(path) {
  if (IMAGES.test(path)) return "image";
  if (/\.(csv|tsv)$/i.test(path)) return "table";
  if (/\.json$/i.test(path)) return "json";
  if (/\.(md|markdown)$/i.test(path)) return "markdown";
  if (/\.ipynb$/i.test(path)) return "notebook";
  if (/\.pdf$/i.test(path)) return "pdf";
  return TEXTS.test(path) ? "text" : null;
}

/** The beginning of a file as text, and whether there is more. */
export async function textOf(run, path, size) {
  const cut = size > MOST;
  const response = await artifact(run, path, cut ? { Range: `bytes=0-${MOST - 1}` } : {});
  return [await response.text(), cut];
}

/** The rows of a CSV text. */
export function rowsOf(text, separator) {
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length && rows.length <= ROWS + 1; i += 1) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[(i += 1)];
      else quoted = false;
    } else if (c === '"' && !cell) quoted = true;
    else if (c === separator || c === "\n") {
      rows.at(-1).push(cell.replace(/\r$/, ""));
      cell = "";
      if (c === "\n") rows.push([]);
    } else cell += c;
  }
  if (cell || rows.at(-1).length) rows.at(-1).push(cell);
  return rows.filter((row) => row.length);
}

/** JSON as a tree that can be folded. */
function tree(value, name, depth = 0) {
  const label = name === undefined ? [] : [el("span", { class: "key" }, name), ": "];
  if (value === null || typeof value !== "object") return el("div", { class: "leaf" }, label, el("span", { class: typeof value }, JSON.stringify(value)));
  const entries = Object.entries(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!entries.length) return el("div", { class: "leaf" }, label, open, close);
  const inside = el("div", { class: "inside" });
  const fill = () => { if (!inside.childElementCount) inside.append(...entries.slice(0, ROWS).map(([key, each]) => tree(each, key, depth + 1)), ...(entries.length > ROWS ? [`… and ${entries.length - ROWS} more`] : [])); };
  if (depth < 2) fill();
  return el("details", { open: depth < 2, ontoggle: fill }, el("summary", {}, label, `${open}${entries.length}${close}`), inside);
}

function notebook(text) {
  const join = (lines) => [lines ?? ""].flat().join("");
  return JSON.parse(text).cells.flatMap((each) => {
    if (each.cell_type === "markdown") return markdown(join(each.source));
    const outputs = (each.outputs ?? []).map((output) => {
      const data = output.data ?? {};
      const image = ["image/png", "image/jpeg"].find((type) => data[type]);
      if (image) return el("img", { src: `data:${image};base64,${join(data[image]).replace(/\s/g, "")}`, alt: "Output of the cell" });
      return el("pre", { class: "output" }, join(output.text ?? data["text/plain"] ?? output.traceback).replace(/\u001b\[[\d;]*m/g, ""));
    });
    return [el("pre", { class: "cell" }, join(each.source)), ...outputs];
  });
}

async function pdf(run, path, signal) {
  const blob = new Blob([await (await artifact(run, path)).arrayBuffer()], { type: "application/pdf" });
  if (signal.aborted) return [];
  const url = URL.createObjectURL(blob);
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  return [el("iframe", { src: url, title: path, class: "pdf" })];
}

/** The nodes that show a file, until the signal is aborted because they are no longer shown. */
export async function preview(run, path, size, signal) {
  const kind = kindOf(path);
  if (kind === "image") return [el("img", { src: artifactUrl(run, path), alt: path, class: "picture" })];
  if (kind === "pdf") return pdf(run, path, signal);
  if (kind === null) return [el("p", { class: "quiet empty" }, `A file of this kind is not shown here (${bytes(size)}).`)];
  const [text, cut] = await textOf(run, path, size);
  const note = cut ? [el("p", { class: "quiet" }, `The first ${bytes(MOST)} of ${bytes(size)}.`)] : [];
  try {
    if (kind === "markdown") return [...note, el("div", { class: "prose" }, markdown(text))];
    if (kind === "table") {
      const [head, ...rows] = rowsOf(text, /\.tsv$/i.test(path) ? "\t" : ",");
      const more = rows.length > ROWS ? [el("p", { class: "quiet" }, `The first ${ROWS} rows.`)] : [];
      return [...note, ...more, table(head ?? [], rows.slice(0, ROWS))];
    }
    if (kind === "json" && !cut) return [...evaluation(JSON.parse(text)), el("div", { class: "json" }, tree(JSON.parse(text)))];
    if (kind === "notebook" && !cut) return [el("div", { class: "prose" }, notebook(text))];
  } catch {
    // Its contents do not match its name, so it is shown as text.
  }
  return [...note, el("pre", { class: "file", tabindex: 0 }, text)];
}
