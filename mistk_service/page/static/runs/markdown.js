// Markdown as elements: headings, lists, tables, quotes, code, emphasis and links. Markup in it is text.

import { el, link } from "../dom.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)/g;

function inline(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, strong2, em, label, address] = match;
    found.push(text.slice(at, match.index));
    if (code !== undefined) found.push(el("code", {}, code));
    else if (strong ?? strong2) found.push(el("strong", {}, inline(strong ?? strong2)));
    else if (em) found.push(el("em", {}, inline(em)));
    else found.push(/^https?:/i.test(address) ? link(label || address, address) : label);
    at = match.index + whole.length;
  }
  return [...found, text.slice(at)];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((each) => each.trim());
const isList = (line) => /^\s*([*+-]|\d+[.)])\s+/.test(line);
const starts = (line, next) => /^(#{1,6}\s|```|~~~|>|\s*$)/.test(line) || isList(line) || (line.includes("|") && /^[\s|:-]+$/.test(next ?? "") && (next ?? "").includes("-"));

/** The elements of a Markdown text. */
export function markdown(text) {
  const lines = text.replaceAll("\r", "").split("\n");
  const found = [];
  let i = 0;
  const take = (test) => {
    const taken = [];
    while (i < lines.length && test(lines[i])) taken.push(lines[i++]);
    return taken;
  };
  while (i < lines.length) {
    const line = lines[i];
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    const fence = /^(```|~~~)/.exec(line)?.[1];
    if (!line.trim()) i += 1;
    else if (fence) {
      i += 1;
      const code = take((each) => !each.startsWith(fence));
      i += 1;
      found.push(el("pre", {}, code.join("\n")));
    } else if (heading) {
      found.push(el(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
      i += 1;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      found.push(el("hr"));
      i += 1;
    } else if (line.startsWith(">")) {
      found.push(el("blockquote", {}, markdown(take((each) => each.startsWith(">")).map((each) => each.replace(/^>\s?/, "")).join("\n"))));
    } else if (isList(line)) {
      const items = take((each) => isList(each) || /^\s+\S/.test(each));
      const merged = items.reduce((all, each) => (isList(each) ? [...all, each] : [...all.slice(0, -1), `${all.at(-1)} ${each.trim()}`]), []);
      found.push(el(/^\s*\d/.test(line) ? "ol" : "ul", {}, merged.map((each) => el("li", {}, inline(each.replace(/^\s*([*+-]|\d+[.)])\s+/, ""))))));
    } else if (line.includes("|") && starts(line, lines[i + 1])) {
      const rows = take((each) => each.includes("|"));
      found.push(table(cells(rows[0]).map(inline), rows.slice(2).map((row) => cells(row).map(inline))));
    } else {
      const first = lines[i++];
      const rest = take((each) => !starts(each));
      found.push(el("p", {}, inline([first, ...rest].join(" "))));
    }
  }
  return found;
}

/** A table of a head and rows, whose cells are texts or nodes, and its name for screen readers. */
export function table(head, rows, label = "Table") {
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, head.map((each) => el("th", { scope: "col" }, each)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((each) => el("td", {}, each)))))),
  );
}
