// Many runs at once: one param or metric over another, and all of them as parallel coordinates.

import { el } from "../dom.js";
import { keepInUrl, style } from "../tracking.js";
import { number } from "../words.js";
import { available, column, valueOf } from "../runs/columns.js";
import { inkOf, onTheme } from "./colors.js";
import { drawingTools } from "./files.js";

const svg = (tag, attributes, ...children) => el(`svg:${tag}`, attributes, ...children);
const AXES = 7; // axes that are shown at first
const split = (text) => (text ? text.split(",").map(decodeURIComponent) : null);

/** A scale from the values of runs to 0 … 1: of numbers, by their logarithm if they span much, or of words. */
export function scale(values) {
  const given = values.filter((value) => value !== undefined && value !== "");
  const numbers = given.map(Number);
  if (given.length && numbers.every(Number.isFinite)) {
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const isLog = low > 0 && high / low > 100;
    const of = isLog ? Math.log10 : (value) => value;
    const span = of(high) - of(low) || 1;
    const ticks = Array.from({ length: 5 }, (_, i) => of(low) + ((of(high) - of(low)) * i) / 4).map((at) => (isLog ? 10 ** at : at));
    return { place: (value) => (of(Number(value)) - of(low)) / span, ticks: [...new Set(ticks)].map((at) => [at, number(at)]), isLog };
  }
  const words = [...new Set(given.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  return { place: (value) => (words.length > 1 ? words.indexOf(String(value)) / (words.length - 1) : 0.5), ticks: words.slice(0, 30).map((word) => [word, word.length > 14 ? `${word.slice(0, 13)}…` : word]), isLog: false };
}

const SHADES = [[52, 93, 214], [196, 70, 148], [240, 150, 50]]; // blue, magenta, orange

/** A colour for a share from 0 to 1. */
function shade(share) {
  const at = Math.min(share, 0.9999) * (SHADES.length - 1);
  const [from, to] = SHADES.slice(Math.floor(at), Math.floor(at) + 2);
  return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * (at % 1))).join(" ")})`;
}

export async function mount(container, runs, params) {
  await style("./charts/charts.css");
  const ids = available(runs).filter((id) => /^(metrics|params)\./.test(id));
  const varied = ids.filter((id) => new Set(runs.map((run) => String(valueOf(run, id)))).size > 1);
  const metrics = varied.filter((id) => id.startsWith("metrics.") && !id.startsWith("metrics.system/"));
  const variedParams = varied.filter((id) => id.startsWith("params."));
  if (!varied.length) {
    container.append(el("p", { class: "quiet empty" }, "The runs differ in no param and no metric."));
    return undefined;
  }
  const has = (id) => (ids.includes(id) ? id : undefined);
  const state = {
    colored: has(params.colored) ?? metrics[0] ?? varied[0],
    across: has(params.across) ?? variedParams[0] ?? varied[0],
    up: has(params.up) ?? metrics[0] ?? varied.at(-1),
    axes: split(params.axes)?.filter(has) ?? [...variedParams.slice(0, AXES - 1), metrics[0]].filter(Boolean),
  };
  const brushes = new Map((params.within ?? "").split(",").filter(Boolean).flatMap((each) => {
    const [id, low, high] = each.split("~").map(decodeURIComponent);
    return has(id) && Number(low) <= Number(high) ? [[id, [Number(low), Number(high)]]] : [];
  }));
  const label = (id) => column(id).label;

  const within = (run) => [...brushes].every(([id, [low, high]]) => {
    const value = valueOf(run, id);
    const at = value === undefined ? -1 : scales.get(id).place(value);
    return at >= low && at <= high;
  });
  let scales = new Map();
  const tint = (run) => {
    const value = valueOf(run, state.colored);
    return value === undefined ? inkOf("--edge") : shade(Math.min(1, Math.max(0, scales.get(state.colored).place(value))));
  };
  const goTo = (run) => () => { location.hash = `#/experiments/${run.experiment_id}/runs/${run.run_id}`; };
  const hint = (run, some) => svg("title", {}, [run.name, ...some.map((id) => `${label(id)}: ${valueOf(run, id) ?? "–"}`)].join("\n"));

  function scatter(width) {
    const height = 320;
    const [left, right, top, bottom] = [64, 16, 12, 42];
    const [x, y] = [scales.get(state.across), scales.get(state.up)];
    const px = (share) => left + share * (width - left - right);
    const py = (share) => height - bottom - share * (height - top - bottom);
    const [ink, edge] = [inkOf("--quiet"), inkOf("--edge")];
    const text = (at, up, anchor, value) => svg("text", { x: at, y: up, fill: ink, "font-size": 11, "font-family": "sans-serif", "text-anchor": anchor }, value);
    return svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${label(state.up)} over ${label(state.across)}` },
      x.ticks.map(([at, name]) => [svg("path", { d: `M${px(x.place(at))} ${top}V${height - bottom}`, stroke: edge }), text(px(x.place(at)), height - bottom + 16, "middle", name)]),
      y.ticks.map(([at, name]) => [svg("path", { d: `M${left} ${py(y.place(at))}H${width - right}`, stroke: edge }), text(left - 8, py(y.place(at)) + 4, "end", name)]),
      text(width / 2, height - 6, "middle", `${label(state.across)}${x.isLog ? " (log)" : ""}`),
      runs
        .filter((run) => valueOf(run, state.across) !== undefined && valueOf(run, state.up) !== undefined)
        .map((run) => svg("circle", { cx: px(x.place(valueOf(run, state.across))), cy: py(y.place(valueOf(run, state.up))), r: 4.5, fill: tint(run), "fill-opacity": within(run) ? 0.85 : 0.1, cursor: "pointer", onclick: goTo(run) }, hint(run, [state.across, state.up, state.colored]))),
    );
  }

  function parallel(width) {
    const height = 340;
    const [side, top, bottom] = [70, 34, 16];
    const place = (n) => (state.axes.length > 1 ? side + (n * (width - 2 * side)) / (state.axes.length - 1) : width / 2);
    const up = (share) => height - bottom - share * (height - top - bottom);
    const [ink, quiet, edge, card] = ["--ink", "--quiet", "--edge", "--card"].map((name) => inkOf(name));
    const lines = [...runs].sort((a, b) => Number(within(a)) - Number(within(b))).map((run) => {
      const d = state.axes.flatMap((id, n) => { const value = valueOf(run, id); return value === undefined ? [] : [`${place(n)} ${up(scales.get(id).place(value))}`]; }).join("L");
      return d && svg("path", { d: `M${d}`, fill: "none", stroke: tint(run), "stroke-width": 1.3, "stroke-opacity": within(run) ? 0.7 : 0.06, cursor: "pointer", onclick: goTo(run) }, hint(run, state.axes));
    });
    const axes = state.axes.map((id, n) => {
      const { ticks, place: share } = scales.get(id);
      const brush = brushes.get(id);
      const area = svg("rect", { x: place(n) - 14, y: top, width: 28, height: height - top - bottom, fill: "transparent", cursor: "ns-resize" });
      area.addEventListener("pointerdown", (event) => pull(event, id, (y) => Math.min(1, Math.max(0, (height - bottom - y) / (height - top - bottom)))));
      return svg(
        "g",
        {},
        svg("path", { d: `M${place(n)} ${top}V${height - bottom}`, stroke: edge, "stroke-width": 2 }),
        ticks.map(([at, name]) => svg("text", { x: place(n) + 6, y: up(share(at)) + 4, fill: quiet, stroke: card, "stroke-width": 3, "paint-order": "stroke", "font-size": 10, "font-family": "sans-serif" }, name)),
        svg("text", { x: place(n), y: 16, fill: ink, "font-size": 11, "font-weight": 600, "font-family": "sans-serif", "text-anchor": "middle" }, label(id)),
        brush && svg("rect", { x: place(n) - 7, y: up(brush[1]), width: 14, height: Math.max(2, up(brush[0]) - up(brush[1])), fill: inkOf("--accent"), "fill-opacity": 0.3 }),
        area,
      );
    });
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Parallel coordinates" }, lines, axes);
  }

  /** Choose a part of an axis with the pointer; a press without a move chooses all. */
  function pull(event, id, share) {
    const drawing = event.target.ownerSVGElement;
    const at = (each) => share(((each.clientY - drawing.getBoundingClientRect().top) * drawing.viewBox.baseVal.height) / drawing.getBoundingClientRect().height);
    const from = at(event);
    brushes.delete(id);
    const moved = (each) => {
      brushes.set(id, [Math.min(from, at(each)), Math.max(from, at(each))]);
      draw();
    };
    const done = () => {
      removeEventListener("pointermove", moved);
      draw();
    };
    event.preventDefault();
    addEventListener("pointermove", moved);
    addEventListener("pointerup", done, { once: true });
  }

  // --- files ----------------------------------------------------------------------------------------------------

  function framed(title, name, some) {
    const box = el("div", { class: "plot" });
    const rows = () => [["run_id", "run_name", ...some()], ...runs.map((run) => [run.run_id, run.name, ...some().map((id) => valueOf(run, id) ?? "")])];
    const tools = drawingTools(title, name, () => box.querySelector("svg"), rows);
    return [box, el("figure", { class: "chart big", "aria-label": title }, el("figcaption", { class: "row" }, el("h2", { class: "name-of" }, title), tools), box)];
  }

  // --- the view -------------------------------------------------------------------------------------------------

  const choice = (text, name) => {
    const select = el("select", { onchange: () => { state[name] = select.value; draw(); } }, ids.map((id) => el("option", { value: id, selected: id === state[name] }, id.replace(".", " · "))));
    return el("label", { class: "row" }, `${text} `, select);
  };
  const [parallelBox, parallelFrame] = framed("Parallel coordinates", "parallel", () => state.axes);
  const [scatterBox, scatterFrame] = framed("Scatter", "scatter", () => [state.across, state.up, state.colored]);
  const shown = el("details", {}, el("summary", {}, "Axes"), el("div", { class: "row" }, ids.map((id) => {
    const box = el("input", { type: "checkbox", checked: state.axes.includes(id), onchange: () => { state.axes = box.checked ? [...state.axes, id] : state.axes.filter((each) => each !== id); draw(); } });
    return el("label", {}, box, ` ${label(id)}`);
  })));
  const note = el("p", { class: "quiet", role: "status" });

  function draw() {
    scales = new Map([...new Set([...state.axes, ...brushes.keys(), state.across, state.up, state.colored])].map((id) => [id, scale(runs.map((run) => valueOf(run, id)))]));
    keepInUrl({ colored: state.colored, across: state.across, up: state.up, axes: state.axes.map(encodeURIComponent).join(","), within: [...brushes].map(([id, part]) => [encodeURIComponent(id), ...part.map((at) => at.toFixed(3))].join("~")).join(",") });
    parallelBox.replaceChildren(parallel(Math.max(110 * state.axes.length, parallelBox.clientWidth)));
    scatterBox.replaceChildren(scatter(Math.max(300, scatterBox.clientWidth)));
    note.textContent = `${runs.filter(within).length} of ${runs.length} runs. Drag along an axis to choose among them.`;
  }
  container.append(
    el("div", { class: "row tools chart-settings" }, choice("Colour", "colored"), note),
    el("div", { class: "charts" }, parallelFrame, el("div", { class: "big-row" }, shown), el("div", { class: "row tools chart-settings big-row" }, choice("Across", "across"), choice("Up", "up")), scatterFrame),
  );
  const sizes = new ResizeObserver(() => draw());
  sizes.observe(container);
  const endTheme = onTheme(draw);
  return () => {
    sizes.disconnect();
    endTheme();
  };
}
