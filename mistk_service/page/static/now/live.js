// The worker's output, predictions and the usage of the machine, from a stream that is open while the page is visible.

import { about, address } from "../api.js";
import { card, el, rebuild, show } from "../dom.js";
import { duration, number } from "../words.js";

/** The maximum number of lines that are shown. */
const LINES = 1000;

/** The cards of the output, of the predictions and of the machine, and what ends the stream. */
export function live() {
  const pre = el("pre", { id: "log-text", class: "log", tabindex: 0, role: "log", "aria-label": "Output of the model" });
  const empty = el("p", { class: "quiet" }, "The model has printed nothing.");
  const log = card("log", "Output of the model", {}, empty, pre);
  const predictions = el("dl", { id: "predictions" });
  const machine = el("ul", { class: "meters", id: "usage" });
  const figures = [
    card("predictions", "Predictions", { hidden: !about.prediction }, predictions),
    card("usage", "Machine", { hidden: true }, machine),
  ];
  let known = 0;
  let source = null;

  function print({ first, lines }) {
    const fresh = lines.slice(Math.max(0, known + 1 - first));
    known = first + lines.length - 1;
    const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
    pre.append(...fresh.map((line) => el("span", {}, `${line}\n`)));
    while (pre.childElementCount > LINES) pre.firstChild.remove();
    show(empty, pre.childElementCount === 0);
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  }

  function draw({ inFlight, failed, recordsPerSecond, median, p95, system }) {
    const rows = [
      ["In flight", number(inFlight)],
      ["Rate", `${number(recordsPerSecond)} records/s`],
      ["Median latency", median === undefined ? "–" : duration(median)],
      ["95th percentile", p95 === undefined ? "–" : duration(p95)],
      ["Failed", number(failed)],
    ];
    rebuild(predictions, rows, () => rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    const shown = meters(system);
    show(machine.parentElement, shown.length > 0);
    rebuild(machine, shown, () => shown.map(meter));
  }

  function open() {
    if (source || document.hidden) return;
    known = 0;
    pre.replaceChildren();
    source = new EventSource(address("page/live"));
    source.addEventListener("log", (message) => print(JSON.parse(message.data)));
    source.addEventListener("figures", (message) => draw(JSON.parse(message.data)));
    // After a reconnect, the stream begins again.
    source.addEventListener("open", () => { known = 0; pre.replaceChildren(); });
  }

  function close() {
    source?.close();
    source = null;
  }

  // A browser opens few connections to a service, and a page in the background needs none of them for this.
  const turn = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", turn);
  open();
  const end = () => {
    document.removeEventListener("visibilitychange", turn);
    close();
  };
  return { log, figures, end };
}

/** [name, share of 100, value in words] of what is measured. */
function meters(system) {
  const value = (name) => system[`system/${name}`];
  const rows = [
    ["Processor", value("cpu_utilization_percentage")],
    ["Memory", value("system_memory_usage_percentage"), value("system_memory_usage_megabytes")],
    ["Disk", value("disk_usage_percentage"), value("disk_usage_megabytes")],
  ];
  for (let gpu = 0; value(`gpu_${gpu}_memory_usage_percentage`) !== undefined; gpu += 1) {
    rows.push([`GPU ${gpu}`, value(`gpu_${gpu}_utilization_percentage`)]);
    rows.push([`GPU ${gpu} memory`, value(`gpu_${gpu}_memory_usage_percentage`), value(`gpu_${gpu}_memory_usage_megabytes`)]);
  }
  return rows
    .filter(([, share]) => share !== undefined)
    .map(([name, share, megabytes]) => [name, share, megabytes === undefined ? `${number(share)} %` : size(megabytes)]);
}

const size = (megabytes) => (megabytes < 1000 ? `${Math.round(megabytes)} MB` : `${(megabytes / 1000).toFixed(1)} GB`);

function meter([name, share, text]) {
  const value = el("span", { class: "quiet" }, text);
  return el("li", {}, el("span", {}, name), value, el("meter", { min: 0, max: 100, value: share, "aria-label": name }));
}
