// What the container does now, live.

import { watch } from "../status.js";
import { activity, lastActivity } from "./activity.js";
import { facts } from "./facts.js";
import { failure, notice } from "./failure.js";
import { metrics } from "./metrics.js";
import { operations } from "./operations.js";

export function mount(view) {
  const curves = metrics();
  const parts = [notice(curves.missed), failure(), activity(), lastActivity(), operations(), curves, ...facts()];
  view.classList.add("cards");
  view.append(...parts.map(({ node }) => node));
  return watch({
    take: (event) => parts.forEach(({ take }) => take?.(event)),
    draw: (status) => parts.forEach(({ draw }) => draw(status)),
  });
}
