// A registered model with its versions: `#/models/NAME` and `#/models/NAME/versions/VERSION`.

import { ask, attempt } from "../ask.js";
import { card, el } from "../dom.js";
import { entitle } from "../title.js";
import { ago, call, flat, mayEdit, moment, pairs, post, read, style } from "../tracking.js";
import { number } from "../words.js";
import { markdown, table } from "../runs/markdown.js";

const STAGES = ["None", "Staging", "Production", "Archived"];
const here = (name, version) => `#/models/${encodeURIComponent(name)}${version ? `/versions/${version}` : ""}`;
// The grammar has no way to write a quote within quotes of its own kind.
const quoted = (text) => (text.includes("'") ? `"${text}"` : `'${text}'`);

/** The origin of a version: its run, the run's data, and the runs that evaluated it. */
async function lineage(version) {
  if (!version.run_id) return el("p", { class: "quiet" }, "It has no run.");
  const run = flat((await read("runs/get", { run_id: version.run_id })).run);
  const experiments = (await post("experiments/search", { max_results: 1000 })).experiments ?? [];
  const { runs = [] } = await post("runs/search", { experiment_ids: experiments.map((each) => each.experiment_id), filter: `tags.\`mistk.madeFromRunId\` = ${quoted(run.run_id)}`, max_results: 20 });
  const data = (run.inputs.dataset_inputs ?? []).map(({ dataset, tags = [] }) => el("div", {}, el("b", {}, dataset.name), ` ${dataset.digest} `, el("span", { class: "quiet" }, pairs(tags)["mlflow.data.context"] ?? "")));
  const link = (each) => el("a", { href: `#/experiments/${each.experiment_id}/runs/${each.run_id}` }, each.name);
  const evaluations = runs.map(flat).map((each) => el("div", {}, link(each), el("span", { class: "quiet" }, ` ${each.measured.slice(0, 4).map(({ key, value }) => `${key} ${number(value)}`).join(" · ")}`)));
  const metrics = run.measured.filter(({ key }) => !key.startsWith("system/")).map(({ key, value }) => `${key} ${number(value)}`);
  const rows = [["Run", link(run)], ["Data", data], ["Metrics", metrics.slice(0, 12).join(" · ")], ["Evaluations", evaluations]];
  return el("dl", {}, rows.filter(([, value]) => value?.length !== 0).map(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
}

export async function mount(container, params) {
  await style("./runs/runs.css");
  const { name } = params;
  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const place = el("div", { class: "cards" });
  const head = el("div", { class: "row tools" });

  const change = async (action) => (await attempt(problem, action)) && load();
  async function alias(version) {
    const given = await ask(`Alias of version ${version}`, { text: "Letters, digits, - and _. An alias that another version has moves to this one.", value: "", action: "Set" });
    if (given) await change(() => post("registered-models/alias", { name, alias: given, version }));
  }
  async function describe(version, before) {
    const text = await ask("Description", { text: "Markdown.", value: before ?? "", action: "Save" });
    if (text !== null) await change(() => call("PATCH", version ? "model-versions/update" : "registered-models/update", { name, version, description: text }));
  }
  async function rename() {
    const given = await ask("New name of the model", { value: name, action: "Rename" });
    if (given && given !== name && (await attempt(problem, () => post("registered-models/rename", { name, new_name: given })))) location.hash = here(given);
  }
  async function remove(version) {
    const title = version ? `Delete version ${version} of ${name}?` : `Delete the model ${name} with all its versions?`;
    if (!(await ask(title, { text: "It cannot be restored. The files of its run stay.", action: "Delete", danger: true }))) return;
    if (version) await change(() => call("DELETE", "model-versions/delete", { name, version }));
    else if (await attempt(problem, () => call("DELETE", "registered-models/delete", { name }))) location.hash = "#/models";
  }

  const plain = (label, onclick) => el("button", { class: "plain", onclick }, label);

  function versionCard(version, aliases) {
    const stage = el("select", { "aria-label": `Stage of version ${version.version}`, disabled: !mayEdit, onchange: () => change(() => post("model-versions/transition-stage", { name, version: version.version, stage: stage.value, archive_existing_versions: false })) }, STAGES.map((each) => el("option", { value: each, selected: each === version.current_stage }, each === "None" ? "No stage" : each)));
    const origin = el("div");
    const tags = Object.entries(pairs(version.tags));
    const details = el(
      "details",
      { open: params.version === version.version, ontoggle: () => { if (details.open && !origin.childElementCount) attempt(problem, async () => origin.append(await lineage(version))); } },
      el("summary", {}, "Lineage and details"),
      origin,
      el("dl", {}, [["Source", version.source], ["Status", version.status], ["Created", moment(version.creation_timestamp)], ["User", version.user_id]].filter(([, value]) => value).map(([key, value]) => [el("dt", {}, key), el("dd", {}, value)])),
      tags.length > 0 && table(["Tag", "Value"], tags),
    );
    return card(
      `version-${version.version}`,
      `Version ${version.version}`,
      {},
      el(
        "div",
        { class: "row" },
        aliases.filter((each) => each.version === version.version).map((each) => el("span", { class: "tag status", dataset: { tone: "good" } }, `@${each.alias}`, mayEdit && el("button", { class: "plain", "aria-label": `Remove the alias ${each.alias}`, onclick: () => change(() => call("DELETE", "registered-models/alias", { name, alias: each.alias })) }, "×"))),
        el("span", { class: "quiet", title: moment(version.creation_timestamp) }, ago(version.creation_timestamp)),
        version.run_id && el("a", { href: `#/runs/${version.run_id}` }, "Run"),
        el("span", { class: "row end" }, stage, mayEdit && [plain("Alias", () => alias(version.version)), plain("Describe", () => describe(version.version, version.description)), plain("Delete", () => remove(version.version))]),
      ),
      version.description && el("div", { class: "prose" }, markdown(version.description)),
      details,
    );
  }

  async function load() {
    const [{ registered_model: model }, versions] = await Promise.all([read("registered-models/get", { name }), everyVersion()]);
    entitle({ view: name });
    versions.sort((a, b) => Number(b.version) - Number(a.version));
    const tags = Object.entries(pairs(model.tags));
    head.replaceChildren(
      el("div", {}, el("p", { class: "quiet crumbs" }, el("a", { href: "#/models" }, "Models"), " /"), el("h1", {}, name), el("p", { class: "quiet" }, `${versions.length} ${versions.length === 1 ? "version" : "versions"} · ${ago(model.last_updated_timestamp)}`)),
      ...(mayEdit ? [el("span", { class: "row end actions" }, el("button", { onclick: rename }, "Rename"), el("button", { onclick: () => describe(undefined, model.description) }, "Describe"), el("button", { onclick: () => remove() }, "Delete"))] : []),
    );
    place.replaceChildren(
      ...[
        model.description && card("description", "Description", {}, el("div", { class: "prose" }, markdown(model.description))),
        tags.length > 0 && card("tags", "Tags", {}, table(["Name", "Value"], tags)),
        ...versions.map((version) => versionCard(version, model.aliases ?? [])),
      ].filter(Boolean),
    );
    if (params.version) document.getElementById(`version-${params.version}-card`)?.scrollIntoView();
  }
  async function everyVersion() {
    const found = [];
    for (let token; ; ) {
      const page = await read("model-versions/search", { filter: `name = ${quoted(name)}`, max_results: 1000, page_token: token });
      found.push(...(page.model_versions ?? []));
      token = page.next_page_token;
      if (!token) return found;
    }
  }

  container.append(problem, head, place);
  await attempt(problem, load);
}
