// The live view of the container.

import { el } from "../dom.js";
import { watch } from "../status.js";
import { activity, lastActivity } from "./activity.js";
import { facts } from "./facts.js";
import { failure, notice } from "./failure.js";
import { live } from "./live.js";
import { machine } from "./machine.js";
import { metrics } from "./metrics.js";
import { operations } from "./operations.js";

export function mount(view) {
  const curves = metrics();
  const [tracking, declared, details] = facts();
  const [first, last] = [activity(), lastActivity()];
  const above = [notice(curves.missed), failure(), machine(operations())];
  const parts = [...above, first, last, curves, tracking, declared, details];
  const { log, figures, end } = live();
  const stack = (style, ...nodes) => el("div", { class: `stack ${style}` }, nodes);
  view.classList.add("cards");
  view.append(
    el("h1", { class: "unseen" }, "Now"),
    ...above.map(({ node }) => node),
    stack("most", first.node, curves.node, log, tracking.node),
    stack("", last.node, figures, declared.node),
    details.node,
  );
  const leave = watch({
    take: (event) => parts.forEach(({ take }) => take?.(event)),
    draw: (status) => parts.forEach(({ draw }) => draw(status)),
  });
  return () => {
    leave();
    end();
  };
}
