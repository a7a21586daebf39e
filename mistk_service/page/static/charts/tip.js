// The tooltip at the cursor of a chart.

import { el, show } from "../dom.js";
import { number } from "../words.js";
import { elapsed } from "./plot.js";

const MOST = 12; // values that are listed

const placeOf = (x, axis) => {
  if (axis === "time") return new Date(x).toLocaleString();
  return axis === "relative" ? elapsed(x) : `${axis === "step" ? "step " : ""}${number(Math.round(x * 1e6) / 1e6)}`;
};

function value([{ of }, given], isNamed) {
  const swatch = el("i", { class: "swatch" });
  swatch.style.background = of.color;
  return el("div", {}, swatch, el("b", {}, number(given)), ` ${isNamed ? of.name : ""}`);
}

/** Show the values at the cursor of a plot in the tooltip; `list` has the series, and `isNamed` whether values need a name. */
export function point({ node, space, tip }, u, list, axis, isNamed) {
  const { idx, idxs, left, top } = u.cursor;
  const inside = idx !== null && idx !== undefined && left >= 0;
  show(tip, inside && node.matches(":hover"));
  if (tip.hidden) return;
  const found = list.map((each, i) => [each, u.data[i + 1][idxs[i + 1]]]).filter(([each, given]) => !each.quiet && each.of && given !== undefined && given !== null);
  found.sort((a, b) => b[1] - a[1]);
  tip.replaceChildren(el("div", { class: "quiet" }, placeOf(u.data[0][idx], axis)), ...found.slice(0, MOST).map((each) => value(each, isNamed)));
  const box = space.getBoundingClientRect();
  const plotLeft = u.over.offsetLeft + left;
  tip.style.left = `${plotLeft > box.width / 2 ? plotLeft - tip.offsetWidth - 14 : plotLeft + 14}px`;
  tip.style.top = `${space.offsetTop + Math.max(0, Math.min(top, box.height - tip.offsetHeight))}px`;
}
