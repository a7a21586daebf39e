// A run: `#/experiments/ID/runs/RUN` and `#/runs/RUN`.

import { ask, attempt } from "../ask.js";
import { card, el, link, show } from "../dom.js";
import { tabbed } from "../tabs.js";
import { entitle } from "../title.js";
import { ago, flat, keepInUrl, mayEdit, moment, nowInUrl, post, read, statusBadge, style } from "../tracking.js";
import { duration, number } from "../words.js";
import { artifacts, list } from "./artifacts.js";
import { markdown, table } from "./markdown.js";
import { evaluation } from "../charts/evaluation.js";
import { kindOf, textOf } from "./preview.js";

const TABS = [["overview", "Overview"], ["charts", "Charts"], ["system", "System"], ["files", "Files"]];
/** The tabs of MLflow's own addresses. */
const MLFLOW = { "model-metrics": "charts", "system-metrics": "system", artifacts: "files" };
const LARGEST = 1 << 20; // bytes of the results of an evaluation

const definitions = (pairs) => el("dl", {}, pairs.filter(([, value]) => value).map(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));

/** Params and the like as a table. */
function pairsCard(id, title, entries) {
  const rows = entries.map(([key, value]) => [el("code", {}, key), value]);
  return card(id, `${title} (${entries.length})`, {}, entries.length ? table(["Name", "Value"], rows, title) : el("p", { class: "quiet" }, "None."));
}

function metricsCard(run) {
  const rows = run.measured.map(({ key, value, step }) => [el("code", {}, key), el("span", { title: String(value) }, number(value)), number(step)]);
  return card("metrics", `Metrics (${rows.length})`, {}, rows.length ? table(["Name", "Last value", "Step"], rows, "Metrics") : el("p", { class: "quiet" }, "None."));
}

const runLink = (id, text = id) => el("a", { href: `#/runs/${id}` }, text);

/** The origin of a run, and its results. */
async function lineageCard(run) {
  const parent = run.tags["mlflow.parentRunId"];
  const [children, versions] = await Promise.all([
    post("runs/search", { experiment_ids: [run.experiment_id], filter: `tags.mlflow.parentRunId = '${run.run_id}'`, max_results: 50 }).then(({ runs = [] }) => runs.map(flat)),
    read("model-versions/search", { filter: `run_id = '${run.run_id}'`, max_results: 100 }).then((answer) => answer.model_versions ?? []),
  ]);
  const datasets = (run.inputs.dataset_inputs ?? []).map(({ dataset, tags = [] }) => {
    const context = tags.find((tag) => tag.key === "mlflow.data.context")?.value;
    return el("div", {}, el("b", {}, dataset.name), ` ${dataset.digest} `, el("span", { class: "quiet" }, [context, dataset.source_type].filter(Boolean).join(" · ")), el("details", {}, el("summary", {}, "Source"), el("pre", {}, dataset.source, dataset.schema ? `\n${dataset.schema}` : "")));
  });
  return card(
    "lineage",
    "Lineage",
    {},
    definitions([
      ["Data", datasets.length && datasets],
      ["Parent run", parent && runLink(parent)],
      ["Made from run", run.tags["mistk.madeFromRunId"] && runLink(run.tags["mistk.madeFromRunId"])],
      ["Child runs", children.length && children.map((child) => el("div", {}, runLink(child.run_id, child.name)))],
      ["Models used", run.inputs.model_inputs?.map((each) => each.model_id).join(", ")],
      ["Models made", run.outputs.model_outputs?.map((each) => each.model_id).join(", ")],
      ["Registered as", versions.length && versions.map((each) => el("div", {}, el("a", { href: `#/models/${encodeURIComponent(each.name)}/versions/${each.version}` }, `${each.name}, version ${each.version}`)))],
    ]),
  );
}

/** The charts for the results of an evaluation among the files of a run. */
async function figures(run) {
  const top = await list(run.run_id, "");
  const inside = top.some((file) => file.is_dir && file.path === "evaluation") ? await list(run.run_id, "evaluation") : [];
  const files = [...top, ...inside].filter((file) => kindOf(file.path) === "json" && Number(file.file_size) < LARGEST).slice(0, 8);
  const results = await Promise.all(files.map(async (file) => evaluation(JSON.parse((await textOf(run.run_id, file.path, 0))[0]))).map((each) => each.catch(() => [])));
  return results.flat();
}

export async function mount(container, params) {
  await style("./runs/runs.css");
  container.classList.add("wide-view");
  const [given, ...rest] = (params.tab ?? "").split("/");
  let tab = MLFLOW[given] ?? (TABS.some(([name]) => name === given) ? given : "overview");
  let run;

  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const head = el("div", { class: "row tools" });
  const tabs = tabbed(TABS, problem, fill);

  async function load() {
    run = flat((await read("runs/get", { run_id: params.run })).run);
    const { experiment } = await read("experiments/get", { experiment_id: run.experiment_id });
    entitle({ view: run.name });
    const ended = run.end_time ? ` · ${duration((run.end_time - run.start_time) / 1000)}` : "";
    head.replaceChildren(
      el(
        "div",
        {},
        el("p", { class: "quiet crumbs" }, el("a", { href: "#/experiments" }, "Experiments"), " / ", el("a", { href: `#/experiments/${run.experiment_id}` }, experiment.name), " /"),
        el("h1", {}, run.name),
        el("p", { class: "row quiet" }, statusBadge(run.status), el("span", { title: moment(run.start_time) }, `${ago(run.start_time)}${ended}`), run.lifecycle_stage === "deleted" && el("b", {}, "deleted")),
      ),
      ...(mayEdit ? [el("span", { class: "row end actions" }, run.lifecycle_stage === "deleted" ? el("button", { onclick: () => change("restore") }, "Restore") : [el("button", { onclick: rename }, "Rename"), el("button", { onclick: () => describe() }, "Describe"), el("button", { onclick: remove }, "Delete")])] : []),
    );
  }
  const change = async (operation, fields) => {
    if (await attempt(problem, () => post(`runs/${operation}`, { run_id: run.run_id, ...fields }))) {
      await load();
      await tabs.open(tab);
    }
  };
  async function rename() {
    const name = await ask("New name of the run", { value: run.name, action: "Rename" });
    if (name) await change("update", { run_name: name });
  }
  async function describe() {
    const text = await ask("Description of the run", { text: "Markdown.", value: run.tags["mlflow.note.content"] ?? "", action: "Save" });
    if (text !== null) await change("set-tag", { key: "mlflow.note.content", value: text });
  }
  async function remove() {
    if (await ask(`Delete the run ${run.name}?`, { text: "It can be restored.", action: "Delete", danger: true })) await change("delete");
  }
  async function tag() {
    const text = await ask("New tag", { text: "name = value", value: "", action: "Add" });
    if (!text) return;
    const [key, ...value] = text.split("=");
    await change("set-tag", { key: key.trim(), value: value.join("=").trim() });
  }

  function tagsCard() {
    const own = Object.entries(run.tags).filter(([key]) => !key.startsWith("mlflow."));
    const rows = own.map(([key, value]) => [el("code", {}, key), value, mayEdit && el("button", { class: "plain", "aria-label": `Remove the tag ${key}`, onclick: () => change("delete-tag", { key }) }, "Remove")]);
    return card("tags", `Tags (${own.length})`, {}, own.length > 0 && table(["Name", "Value", el("span", { class: "unseen" }, "Actions")], rows, "Tags"), mayEdit && el("button", { class: "plain add", onclick: tag }, "Add a tag"));
  }
  function originCard() {
    const tags = run.tags;
    return card("origin", "Who and what started it", {}, definitions([
      ["User", run.user_id || tags["mlflow.user"]],
      ["Account", tags["mistk.startedBy"]],
      ["Source", tags["mlflow.source.name"]],
      ["Kind of source", tags["mlflow.source.type"]],
      ["Model class", tags["mistk.modelClass"]],
      ["Container", tags["mistk.containerId"]],
      ["Commit", tags["mlflow.source.git.commit"]],
      ["Repository", tags["mlflow.source.git.repoURL"] && link(tags["mlflow.source.git.repoURL"], tags["mlflow.source.git.repoURL"])],
      ["Started", moment(run.start_time)],
      ["Ended", moment(run.end_time)],
      ["Run id", el("code", {}, run.run_id)],
      ["Files at", el("code", {}, run.artifact_uri)],
    ]));
  }

  async function fill(name, part, isOpen) {
    tab = name;
    if (!given || !(given in MLFLOW)) keepInUrl({ tab: name !== "overview" && name, path: name === "files" ? params.path : null });
    if (name === "overview") {
      const note = run.tags["mlflow.note.content"];
      const failure = run.tags["mistk.failure"];
      part.append(
        el(
          "div",
          { class: "cards two" },
          failure && card("failure", "Failure", { class: "card wide error" }, el("pre", {}, failure)),
          note && card("note", "Description", {}, el("div", { class: "prose" }, markdown(note))),
          el("div", { class: "half" }, pairsCard("params", "Params", Object.entries(run.params)), originCard()),
          el("div", { class: "half" }, metricsCard(run), await lineageCard(run), tagsCard()),
        ),
      );
    } else if (name === "files") {
      return artifacts(part, run.run_id, params.path ?? rest.join("/"), (path) => { if (isOpen()) keepInUrl({ path }); });
    } else {
      const { mount: charts } = await import("../charts/panel.js");
      const isSystem = (key) => key.startsWith("system/");
      const drawn = el("div");
      part.append(drawn);
      const finished = await charts(drawn, [run], nowInUrl(), { keys: (key) => isSystem(key) === (name === "system") });
      if (name === "charts") {
        await attempt(problem, async () => {
          const found = await figures(run);
          if (found.length) part.append(el("h2", { class: "gap" }, "Evaluation"), el("div", { class: "figures" }, found));
        });
      }
      return finished;
    }
    return undefined;
  }

  container.append(problem, head, el("div", { class: "tools" }, tabs.list), tabs.panel);
  if (await attempt(problem, load)) await tabs.open(tab);
  else show(tabs.list, false);
  return tabs.close;
}
