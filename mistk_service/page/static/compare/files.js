// The files of several runs side by side.

import { attempt } from "../ask.js";
import { el } from "../dom.js";
import { artifactUrl } from "../tracking.js";
import { list } from "../runs/artifacts.js";
import { kindOf, preview, textOf } from "../runs/preview.js";
import { diff } from "./diff.js";

const MOST = 1000; // files of a run that are listed
const AROUND = 3; // lines that are shown around a difference
const TEXTS = ["text", "json", "markdown", "table", "notebook"];

/** All files of a run by path, with their sizes. */
async function everyFile(run) {
  const found = new Map();
  const folders = [""];
  while (folders.length && found.size < MOST) {
    for (const file of await list(run, folders.pop())) {
      if (file.is_dir) folders.push(file.path);
      else found.set(file.path, Number(file.file_size ?? 0));
    }
  }
  return found;
}

/** Two pictures on top of each other, with a slider between their visible parts. */
function pictures(runs, path) {
  const [first, second] = runs;
  const above = el("img", { src: artifactUrl(second.run_id, path), alt: `${path} of ${second.name}`, class: "above" });
  const slider = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `How much is seen of ${first.name}`, oninput: () => above.style.setProperty("--cut", `${slider.value}%`) });
  return [
    el("div", { class: "row" }, el("span", {}, first.name), el("span", { class: "end" }, second.name)),
    el("div", { class: "over" }, el("img", { src: artifactUrl(first.run_id, path), alt: `${path} of ${first.name}` }), above),
    slider,
  ];
}

/** The difference of two texts; of long parts that are the same, only the ends. */
export function difference(before, after) {
  const lines = diff(before, after);
  const near = lines.map(() => false);
  lines.forEach(([sign], i) => {
    if (sign !== " ") near.fill(true, Math.max(0, i - AROUND), i + AROUND + 1);
  });
  const shown = [];
  lines.forEach(([sign, line], i) => {
    if (near[i]) shown.push(el("div", { class: { "-": "gone", "+": "come" }[sign] ?? "" }, `${sign} ${line}`));
    else if (near[i - 1] || i === 0) shown.push(el("div", { class: "quiet" }, "⋯"));
  });
  return lines.some(([sign]) => sign !== " ") ? el("pre", { class: "diff", tabindex: 0 }, shown) : el("p", { class: "quiet empty" }, "Both are the same.");
}

async function side(run, path, size, signal) {
  return el("div", { class: "card" }, el("h2", { class: "name-of" }, run.name), size === undefined ? el("p", { class: "quiet" }, "The run does not have this file.") : await preview(run.run_id, path, size, signal));
}

/** Compare the files of runs, and return a function that ends this; `chosen` is the path of one, and `onchoose` is called with another. */
export async function files(container, runs, chosen, onchoose) {
  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const shown = el("div");
  let looking = new AbortController(); // at a file
  container.append(problem);
  await attempt(problem, async () => {
    const found = await Promise.all(runs.map((run) => everyFile(run.run_id)));
    const count = (path) => found.filter((each) => each.has(path)).length;
    const paths = [...new Set(found.flatMap((each) => [...each.keys()]))].sort((a, b) => count(b) - count(a) || a.localeCompare(b));
    if (!paths.length) {
      container.append(el("p", { class: "quiet empty" }, "The runs have no files."));
      return;
    }
    async function open(path) {
      looking.abort();
      const { signal } = (looking = new AbortController());
      onchoose(path);
      await attempt(problem, async () => {
        const having = runs.filter((_, i) => found[i].has(path));
        const nodes = [];
        if (having.length === 2 && kindOf(path) === "image") nodes.push(el("div", { class: "card pictures" }, pictures(having, path)));
        if (having.length === 2 && TEXTS.includes(kindOf(path))) {
          const [before, after] = await Promise.all(having.map((run) => textOf(run.run_id, path, found[runs.indexOf(run)].get(path))));
          nodes.push(el("div", { class: "card" }, el("div", { class: "row quiet" }, `− ${having[0].name}`, el("span", {}, `+ ${having[1].name}`)), difference(before[0], after[0])));
        }
        nodes.push(el("div", { class: "sides" }, await Promise.all(runs.map((run, i) => side(run, path, found[i].get(path), signal)))));
        if (!signal.aborted) shown.replaceChildren(...nodes);
      });
    }
    const choice = el("select", { "aria-label": "File", onchange: () => open(choice.value) }, paths.map((path) => el("option", { value: path, selected: path === chosen }, count(path) === runs.length ? path : `${path} (${count(path)} of ${runs.length})`)));
    container.append(el("div", { class: "row tools" }, choice), shown);
    await open(choice.value);
  });
  return () => looking.abort();
}
