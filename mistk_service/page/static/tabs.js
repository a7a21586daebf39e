// Tabs, each of which fills its own part when it is opened.

import { attempt } from "./ask.js";
import { el } from "./dom.js";

/**
 * Tabs.
 *
 * @param names pairs of a name and a label.
 * @param problem shows why a tab could not be filled.
 * @param fill fills the part of a tab: `(name, part, isOpen)` may return a function that ends it.
 * @returns `list` and `panel`, two elements; `open(name)`; and `close()`, which ends the open tab.
 */
export function tabbed(names, problem, fill) {
  let part;
  let end;
  const panel = el("div", { role: "tabpanel" });
  const list = el("div", { class: "tabs", role: "tablist" }, names.map(([name, label]) => el("button", { role: "tab", dataset: { tab: name }, onclick: () => open(name) }, label)));

  function close() {
    end?.();
    part = end = undefined;
  }

  async function open(name) {
    for (const each of list.children) each.setAttribute("aria-selected", String(each.dataset.tab === name));
    close();
    const mine = (part = el("div"));
    panel.replaceChildren(mine);
    await attempt(problem, async () => {
      const finished = await fill(name, mine, () => part === mine);
      if (part === mine) end = finished;
      else finished?.(); // another tab was opened meanwhile
    });
  }

  return { list, panel, open, close };
}
