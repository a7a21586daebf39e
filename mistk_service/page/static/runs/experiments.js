// The experiments: `#/experiments`.

import { ask, attempt } from "../ask.js";
import { el } from "../dom.js";
import { ago, all, keepInUrl, mayEdit, moment, pairs, post, style } from "../tracking.js";

export async function mount(container, params) {
  await style("./runs/runs.css");
  let deleted = params.view === "deleted";
  let find = params.find ?? "";
  let experiments = [];

  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const list = el("ul", { class: "list" });
  const search = el("input", { type: "search", value: find, placeholder: "Find an experiment", "aria-label": "Find an experiment", oninput: () => { find = search.value; draw(); } });
  const stage = el("select", { "aria-label": "Which experiments", onchange: () => { deleted = stage.value === "deleted"; load(); } }, el("option", { value: "active" }, "Active"), el("option", { value: "deleted", selected: deleted }, "Deleted"));

  async function load() {
    await attempt(problem, async () => {
      experiments = await all("experiments/search", { max_results: 1000, view_type: deleted ? "DELETED_ONLY" : "ACTIVE_ONLY" }, "experiments");
    });
    draw();
  }
  const change = async (path, body) => (await attempt(problem, () => post(`experiments/${path}`, body))) && load();

  async function create() {
    const name = await ask("Name of the new experiment", { value: "", action: "Create" });
    if (name) await change("create", { name });
  }
  async function rename(experiment) {
    const name = await ask("New name of the experiment", { value: experiment.name, action: "Rename" });
    if (name && name !== experiment.name) await change("update", { experiment_id: experiment.experiment_id, new_name: name });
  }
  async function remove(experiment) {
    const text = "Its runs go with it. Both can be restored.";
    if (await ask(`Delete the experiment ${experiment.name}?`, { text, action: "Delete", danger: true })) await change("delete", { experiment_id: experiment.experiment_id });
  }

  function draw() {
    keepInUrl({ view: deleted && "deleted", find });
    const found = experiments.filter((each) => `${each.name} ${each.experiment_id}`.toLowerCase().includes(find.toLowerCase()));
    list.replaceChildren(
      ...found.map((experiment) => {
        const note = pairs(experiment.tags)["mlflow.note.content"];
        return el(
          "li",
          { class: "card item" },
          el("a", { class: "lead", href: `#/experiments/${experiment.experiment_id}` }, experiment.name),
          note && el("p", { class: "quiet clip" }, note),
          el(
            "div",
            { class: "row" },
            el("span", { class: "quiet", title: moment(experiment.last_update_time) }, `id ${experiment.experiment_id} · ${ago(experiment.last_update_time)}`),
            mayEdit && el(
              "span",
              { class: "row end" },
              deleted
                ? el("button", { class: "plain", onclick: () => change("restore", { experiment_id: experiment.experiment_id }) }, "Restore")
                : [el("button", { class: "plain", onclick: () => rename(experiment) }, "Rename"), el("button", { class: "plain", onclick: () => remove(experiment) }, "Delete")],
            ),
          ),
        );
      }),
    );
    if (!found.length) list.append(el("li", { class: "quiet empty" }, find ? "No experiment matches." : deleted ? "No experiment is deleted." : "There is no experiment yet."));
  }

  container.append(
    el("div", { class: "row tools" }, el("h1", {}, "Experiments"), el("span", { class: "row end" }, search, stage, mayEdit && el("button", { onclick: create }, "New experiment"))),
    problem,
    list,
  );
  await load();
}
