// The states of the container as a line of stations, with the current one highlighted. The table is from the contract.

import { about } from "../api.js";
import { contract } from "../contract.js";
import { card, el } from "../dom.js";
import { tone } from "../status.js";
import { words } from "../words.js";

/**
 * The order of the states.
 *
 * A station is a state that lasts until the next operation. A state in which an operation runs lies before the station that it
 * leads to, or else at the station from which it begins.
 *
 * @param operations [name, {allowed, while, then}] of the operations, without those that end the instance.
 * @param initial the first state.
 * @param states all states.
 * @returns `stations`, a list of {state, before, at}, and `others`, the states that can follow any other.
 */
export function arrange(operations, initial, states) {
  const list = (value) => [value ?? []].flat();
  const moves = operations.flatMap(([, { allowed, while: running, then }]) =>
    allowed.flatMap((from, i) => {
      const between = list(running);
      const through = between.length === allowed.length ? between[i] : between[0];
      return list(then === "back" ? from : then).map((to) => ({ from, through, to }));
    }),
  );
  const transient = new Set(moves.map(({ through }) => through));
  const stations = [{ state: initial, before: [], at: [] }];
  const placed = new Set([initial]);
  const place = (state, where) => {
    if (state === undefined || placed.has(state)) return;
    placed.add(state);
    where.push(state);
  };
  for (const station of stations) {
    for (const { from, to } of moves) {
      if (from !== station.state || transient.has(to) || placed.has(to)) continue;
      placed.add(to);
      stations.push({ state: to, before: [], at: [] });
    }
  }
  const number = (state) => stations.findIndex((station) => station.state === state);
  for (const { from, through, to } of moves) {
    if (number(from) >= 0 && number(to) > number(from)) place(through, stations[number(to)].before);
  }
  for (const { from, through } of moves) {
    if (number(from) >= 0) place(through, stations[number(from)].at);
  }
  // An operation that begins during another one, such as a pause, belongs to the station of that one.
  for (const { from, through, to } of moves) {
    const home = stations.find(({ at, before }) => at.includes(from) || before.includes(from));
    for (const state of [through, to]) if (home) place(state, home.at);
  }
  return { stations, others: states.filter((state) => !placed.has(state)) };
}

/** The card with the diagram, and below it the operations. */
export function machine(operations) {
  const diagram = el("ol", { class: "machine", "aria-label": "States" });
  const others = el("ul", { class: "states others", "aria-label": "States that can follow any other" });
  const node = card("machine", "State", {}, diagram, others, operations.node);
  const chips = new Map();
  let known = null;

  function chip(state, style) {
    const made = el("span", { class: `state ${style}` }, words(state));
    chips.set(state, made);
    return made;
  }

  async function build() {
    const { paths } = await contract();
    const ends = ["reset", "shutdown"];
    const rows = Object.entries(about.operations).filter(([, { role }]) => !ends.includes(role)).map(([name]) => {
      const found = Object.values(paths[`/${name}`] ?? {}).find((each) => each["x-mistk-states"]);
      return [name, found?.["x-mistk-states"]];
    });
    const { stations, others: rest } = arrange(rows.filter(([, states]) => states), about.initial, about.states);
    const list = (states, style) => states.length > 0 && el("ul", { class: `states ${style}` }, states.map((state) => el("li", {}, chip(state, "passing"))));
    diagram.replaceChildren(
      ...stations.map(({ state, before, at }) => el("li", {}, list(before, "before"), chip(state, "station"), list(at, "at"))),
    );
    others.replaceChildren(...rest.map((state) => el("li", {}, chip(state, "passing"))));
  }

  function draw({ state, ...rest }) {
    operations.draw({ state, ...rest });
    if (!about.operations) return;
    known ??= build().catch(() => { known = null; });
    known.then(() => {
      for (const [each, made] of chips) {
        const lit = each === state;
        made.classList.toggle("lit", lit);
        if (lit) made.dataset.tone = tone(state);
        else delete made.dataset.tone;
        if (lit) made.setAttribute("aria-current", "step");
        else made.removeAttribute("aria-current");
      }
    });
  }
  return { node, draw };
}
