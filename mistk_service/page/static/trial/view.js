// Try the model: a form made from what it declares, its answer, and the same request as code.

import { about, address, get, request } from "../api.js";
import { contract } from "../contract.js";
import { card, el, say, show } from "../dom.js";
import { watch } from "../status.js";
import { style } from "../tracking.js";
import { duration, words } from "../words.js";
import { sizeOf, sources, textSource } from "./inputs.js";
import { answer } from "./result.js";
import { snippets } from "./snippets.js";

export async function mount(view) {
  // The model may have been loaded after the page.
  const [{ prediction }, { paths }] = await Promise.all([get("page/about"), contract(), style("./trial/trial.css")]);
  if (!prediction) {
    view.append(el("p", { class: "card" }, "This container does not make predictions."));
    return undefined;
  }
  const ways = waysOf(prediction);
  // Many predictions may run at the same time. The status lists them as possible only for classes that take records.
  const { allowed, while: running } = paths[`/${prediction.operation}`].post["x-mistk-states"];
  const states = [...allowed, running];
  const problem = el("p", { class: "message bad", role: "alert" });
  const state = el("p", { class: "quiet", id: "trial-state" });
  const ask = el("button", { class: "solid", disabled: true }, "Predict");
  const stop = el("button", { type: "button", hidden: true }, "Stop");
  const place = el("div", { class: "fields" });
  const output = el("div", { id: "answer", "aria-live": "polite" }, el("p", { class: "quiet" }, "No prediction has been requested yet."));
  const latency = el("p", { class: "quiet", id: "latency" });
  const code = el("div", { class: "fields" });
  const codeCard = card("code", "The same request", { class: "card", hidden: true }, code);
  let way = ways[0];
  let ended = null;

  const form = el("form", {}, place, problem, el("div", { class: "row" }, ask, stop, state));
  const inputCard = card("trial", "Try the model", { class: "card" }, choice("API", ways, choose), form);
  view.classList.add("trial");
  view.append(el("h1", { class: "unseen" }, "Try it"), inputCard, card("answer", "Answer", { class: "card" }, output, latency), codeCard);
  choose(way);

  function choose(chosen) {
    way = chosen;
    place.replaceChildren(way.node);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(problem, "");
    say(latency, "");
    ask.disabled = true;
    ended = new AbortController();
    const began = performance.now();
    try {
      const { path, json, headers } = await way.request();
      writeCode(path, json);
      const response = await request(path, { method: "POST", json, headers, signal: ended.signal });
      show(stop, true);
      await way.show(response, output);
    } catch (error) {
      if (error.name !== "AbortError") say(problem, error.body?.error ?? error.message);
    }
    show(stop, false);
    if (ended === null) return; // another view
    say(latency, problem.textContent ? "" : `Answered in ${duration((performance.now() - began) / 1000)}.`);
    ask.disabled = !possible;
  });
  stop.addEventListener("click", () => ended?.abort());

  function writeCode(path, json) {
    const list = snippets(address(path), json, about.user !== null).map(([language, text]) => [language, text]);
    const pre = el("pre", { tabindex: 0, role: "region", "aria-label": "Code", id: "snippet" });
    const copy = el("button", { type: "button", class: "small", onclick: async () => {
      await navigator.clipboard.writeText(pre.textContent);
      say(copy, "Copied");
    } }, "Copy");
    const pick = ([, text]) => {
      say(pre, text);
      say(copy, "Copy");
    };
    pick(list[0]);
    code.replaceChildren(el("div", { class: "row" }, choice("Language", list.map((each) => Object.assign(each, { label: each[0] })), pick), copy), pre);
    show(codeCard, true);
  }

  let possible = false;
  const leave = watch({
    draw({ state: current }) {
      const permitted = about.operations[prediction.operation]?.permitted;
      possible = permitted && states.includes(current);
      if (possible || !ended) ask.disabled = !possible;
      const reason = permitted ? `The model cannot predict now; its state is ${words(current)}.` : `The role ${about.role} may not predict.`;
      say(state, possible ? "" : reason);
    },
  });
  return () => {
    leave();
    ended?.abort();
    ended = null;
  };
}

/** Buttons of which one is pressed; nothing if there is no choice. `onchoose` receives the option, which has a `label`. */
function choice(name, options, onchoose) {
  const buttons = options.map((option) =>
    el("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => press(option) }, option.label),
  );
  function press(option) {
    options.forEach((each, i) => buttons[i].setAttribute("aria-pressed", String(each === option)));
    onchoose(option);
  }
  buttons[0]?.setAttribute("aria-pressed", "true");
  return options.length > 1 && el("div", { class: "choice", role: "group", "aria-label": name }, buttons);
}

// --- kinds of request --------------------------------------------------------------------------------------------

/** The kinds of request that the model supports: `label`, the `node` of the form, `request()`, and `show(response, output)`. */
function waysOf({ operation, model, records, tensors, rows, generates, encoding, inputs }) {
  const found = [];
  const encoded = inputs.some(({ codec }) => codec);
  if (generates) found.push(promptWay(model));
  if (tensors && inputs.length > 0 && !encoded) found.push(tensorWay(model, inputs));
  if (rows && encoded) found.push(rowWay(model, inputs));
  if (records || found.length === 0) found.push(recordWay(operation, encoding, inputs));
  return found;
}

/** A choice of sources, for one input. */
function pickSource(input) {
  const place = el("div", {});
  let source;
  const made = sources(input).map(([label, make]) => ({ label, make, source: null }));
  const choose = (option) => {
    source = option.source ??= option.make();
    place.replaceChildren(source.node);
  };
  choose(made[0]);
  const title = input && el("p", { class: "quiet" }, `${input.name}: ${input.codec ?? input.dtype}, ${input.shape.slice(1).map((n) => (n < 0 ? "any" : n)).join(" × ") || "one value"}`);
  return { node: el("div", { class: "fields" }, title, choice("Source", made, choose), place), read: () => source.read() };
}

/** Named tensors, through the Open Inference Protocol. */
function tensorWay(model, inputs) {
  const picked = inputs.map((input) => ({ input, ...pickSource(input) }));

  async function tensor({ input, read }) {
    const { rows, texts } = await read();
    const data = texts ?? rows.flat();
    const count = (texts ?? rows).length;
    const size = texts ? 1 : rows[0].length;
    const known = sizeOf(input);
    const shape = [count, ...(known === null && input.shape.length === 2 ? [size] : input.shape.slice(1))];
    const datatype = input.dtype.replace("float", "fp").toUpperCase();
    return { name: input.name, datatype, shape: input.shape.length === 0 ? [] : shape, data };
  }

  async function show(response, output) {
    const { outputs } = await response.json();
    const count = Math.max(1, ...outputs.map(({ shape }) => shape[0] ?? 1));
    const answers = Array.from({ length: count }, (_, i) => {
      const each = outputs.map(({ name, shape, data }) => {
        const size = data.length / (shape[0] ?? 1);
        return [name, size === 1 ? data[i] : data.slice(i * size, (i + 1) * size)];
      });
      return [String(i + 1), Object.fromEntries(each)];
    });
    output.replaceChildren(answer(Object.fromEntries(answers)));
  }
  return {
    label: "Tensors",
    node: el("div", { class: "fields" }, picked.map(({ node }) => node)),
    request: async () => ({
      path: `v2/models/${encodeURIComponent(model)}/infer`,
      json: { inputs: await Promise.all(picked.map(tensor)) },
    }),
    show,
  };
}

/** A row with texts, JSON, CSV and images, through KServe's API. */
function rowWay(model, inputs) {
  const picked = inputs.map((input) => ({ ...input, ...pickSource(input) }));

  async function value({ codec, read }) {
    const { rows, texts, bytes } = await read();
    if (bytes) return { b64: base64(bytes) };
    if (rows) return rows[0].length === 1 ? rows[0][0] : rows[0];
    if (codec !== "json") return texts[0];
    try {
      return JSON.parse(texts[0]);
    } catch (error) {
      throw new Error(`The text is not JSON: ${error.message}`);
    }
  }
  return {
    label: "Rows",
    node: el("div", { class: "fields" }, picked.map(({ node }) => node)),
    request: async () => {
      const values = await Promise.all(picked.map(async (each) => [each.name, await value(each)]));
      return { path: `v1/models/${encodeURIComponent(model)}:predict`, json: { instances: [Object.fromEntries(values)] } };
    },
    show: async (response, output) => {
      const { predictions } = await response.json();
      output.replaceChildren(answer(Object.fromEntries(predictions.map((each, i) => [String(i + 1), each]))));
    },
  };
}

/** A prompt, whose answer arrives piece by piece. */
function promptWay(model) {
  const prompt = el("textarea", { rows: 4, id: "prompt" });
  const most = el("input", { type: "number", min: 1, id: "most", value: 200 });
  const temperature = el("input", { type: "number", min: 0, step: "any", id: "temperature" });
  const labelled = (control, label) => el("div", { class: "field" }, el("label", { for: control.id }, label), control);
  return {
    label: "Prompt",
    node: el("div", { class: "fields" }, labelled(prompt, "Prompt"), labelled(most, "Length in tokens"), labelled(temperature, "Temperature")),
    request: async () => {
      const given = [["max_tokens", most.value], ["temperature", temperature.value]].filter(([, value]) => value !== "");
      const parameters = Object.fromEntries(given.map(([name, value]) => [name, Number(value)]));
      return { path: `v2/models/${encodeURIComponent(model)}/generate_stream`, json: { text_input: prompt.value, parameters } };
    },
    show: (response, output) => follow(response, output, ({ text_output: text }) => text),
  };
}

/** Records, through the lifecycle API. */
function recordWay(operation, encoding, inputs) {
  const input = inputs.length === 1 && !inputs[0].codec ? inputs[0] : null;
  const source = input ? pickSource(input) : pickSource(null);
  const free = input ? textSource() : null;
  const asText = el("input", { type: "checkbox" });
  const place = el("div", {}, source.node);
  asText.addEventListener("change", () => place.replaceChildren(asText.checked ? free.node : source.node));
  const details = el("input", { type: "checkbox", checked: true });
  const node = el(
    "div",
    { class: "fields" },
    place,
    input && el("label", { class: "check" }, asText, "The record is a text"),
    el("label", { class: "check" }, details, "With details"),
  );

  async function read() {
    const { rows, texts, bytes } = await (asText.checked ? free : source).read();
    const values = bytes ? [bytes] : texts ?? rows.map((row) => (encoding === "base64" ? packed(row, input.dtype) : JSON.stringify(row)));
    const encode = (value) => (encoding === "base64" || value instanceof Uint8Array ? base64(value) : value);
    return Object.fromEntries(values.map((value, i) => [String(i + 1), encode(value)]));
  }
  return {
    label: "Records",
    node,
    request: async () => ({
      path: `${about.api}/${operation}${details.checked ? "?details=true" : ""}`,
      json: await read(),
      headers: { Accept: "application/x-ndjson, application/json" },
    }),
    async show(response, output) {
      if (response.headers.get("Content-Type").includes("ndjson")) {
        await follow(response, output, (part) => part);
        return;
      }
      const found = await response.json();
      const asked = Object.entries(found).filter(([key]) => /^\d+$/.test(key));
      const more = Object.entries(found).filter(([key]) => !/^\d+$/.test(key));
      output.replaceChildren(answer(Object.fromEntries(asked.length ? asked : more), asked.length ? Object.fromEntries(more) : {}));
    },
  };
}

const ARRAYS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  float32: Float32Array, float64: Float64Array,
};

/** The bytes of numbers, little-endian as on every machine that has a browser. */
function packed(row, dtype) {
  const Type = ARRAYS[dtype];
  if (!Type) throw new Error(`Numbers of the type ${dtype} cannot be packed here.`);
  return new Uint8Array(new Type(row).buffer);
}

function base64(value) {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// --- answers in parts --------------------------------------------------------------------------------------------

/** Show the parts of an answer as they arrive: lines of JSON, or Server-Sent Events. */
async function follow(response, output, text) {
  const pre = el("pre", { class: "said stream", tabindex: 0, role: "region", "aria-label": "Answer" });
  output.replaceChildren(pre);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.replace(/^data: ?/, "").trim();
      if (!data || data === "[DONE]" || /^(event|id|retry|:)/.test(data)) continue;
      const value = JSON.parse(data);
      if (value?.error) throw new Error(value.error.message ?? value.error);
      const piece = text(value);
      pre.append(typeof piece === "string" ? piece : `${JSON.stringify(piece)}\n`);
    }
  }
}
