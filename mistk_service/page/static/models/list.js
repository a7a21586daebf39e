// The registered models: `#/models`.

import { attempt } from "../ask.js";
import { el } from "../dom.js";
import { ago, keepInUrl, pairs, read, style } from "../tracking.js";

const MOST = 200; // models of an answer

/** The versions of a model as texts: its aliases and stages. */
export const marks = (model) => [
  ...(model.aliases ?? []).map(({ alias, version }) => `@${alias} → ${version}`),
  ...(model.latest_versions ?? []).filter((each) => each.current_stage !== "None").map((each) => `${each.current_stage} → ${each.version}`),
];

export async function mount(container, params) {
  await style("./runs/runs.css");
  let find = params.find ?? "";
  let token;
  let turn = 0;
  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const list = el("ul", { class: "list" });
  const more = el("button", { hidden: true, onclick: () => load(true) }, "More models");
  const search = el("input", { type: "search", value: find, placeholder: "Find a model", "aria-label": "Find a model", oninput: () => { find = search.value; load(); } });

  const item = (model) => {
    const tags = Object.entries(pairs(model.tags)).filter(([key]) => !key.startsWith("mlflow."));
    const versions = (model.latest_versions ?? []).map((each) => Number(each.version));
    return el(
      "li",
      { class: "card item" },
      el("a", { class: "lead", href: `#/models/${encodeURIComponent(model.name)}` }, model.name),
      model.description && el("p", { class: "quiet clip" }, model.description),
      el(
        "div",
        { class: "row" },
        el("span", { class: "quiet" }, `${versions.length ? `latest version ${Math.max(...versions)}` : "no versions"} · ${ago(model.last_updated_timestamp)}`),
        marks(model).map((mark) => el("span", { class: "tag", dataset: { tone: "good" } }, mark)),
        tags.slice(0, 6).map(([key, value]) => el("span", { class: "tag", dataset: { tone: "idle" } }, value ? `${key}: ${value}` : key)),
      ),
    );
  };

  async function load(further = false) {
    const mine = (turn += 1);
    keepInUrl({ find });
    await attempt(problem, async () => {
      const filter = find ? `name ILIKE '%${find.replaceAll("'", "_")}%'` : undefined;
      const { registered_models: found = [], next_page_token: next } = await read("registered-models/search", { max_results: MOST, filter, page_token: further ? token : undefined });
      if (mine !== turn) return;
      token = next;
      more.hidden = !next;
      if (!further) list.replaceChildren();
      list.append(...found.map(item));
      if (!list.childElementCount) list.append(el("li", { class: "quiet empty" }, find ? "No model matches." : "No model has been registered yet."));
    });
  }

  container.append(el("div", { class: "row tools" }, el("h1", {}, "Models"), el("span", { class: "end" }, search)), problem, list, more);
  await load();
}
