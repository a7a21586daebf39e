// The operations that are possible now.

import { card, el, rebuild, say, show } from "../dom.js";

/** The card of the operations. */
export function operations() {
  const list = el("ul", { class: "words", id: "possible" });
  const nothing = el("p", { class: "quiet", id: "nothing-possible" }, "…");
  const node = card("possible", "Possible now", { class: "card" }, list, nothing);

  function draw({ payload: { possible = [] } }) {
    rebuild(list, possible, () => possible.map((name) => el("li", {}, name)));
    say(nothing, "No operation would be accepted.");
    show(nothing, possible.length === 0);
  }
  return { node, draw };
}
