// Building and updating elements. Values are only used as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element.
 *
 * @param tag its name; with the prefix "svg:" an element of a drawing.
 * @param attributes text and numbers are attributes; true is an empty one, and false, null and undefined are none; a function is
 *   a listener (`onclick`); an object is the dataset.
 * @param children nodes and texts; lists are flattened, and false, null and undefined are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== false && child !== null && child !== undefined));
  return node;
}

/** A card, a section with a title. Its id ends with "-card". */
export function card(id, title, attributes, ...children) {
  const heading = el("h2", { id: `${id}-title` }, title);
  const named = { class: "card wide", id: `${id}-card`, "aria-labelledby": heading.id };
  return el("section", { ...named, ...attributes }, heading, ...children);
}

export const byId = (id) => document.getElementById(id);

/** Set a text only if it differs, so that screen readers do not repeat it and a selection is kept. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Rebuild the children of a node from a value, but only if the value has changed. */
export function rebuild(node, value, build) {
  const key = JSON.stringify(value);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  node.replaceChildren(...build(value));
}

/** A link if the URL is an http(s) URL, which excludes script URLs; otherwise a text. */
export function link(text, address) {
  const url = typeof address === "string" && URL.canParse(address, document.baseURI) && new URL(address, document.baseURI);
  if (!url || !["http:", "https:"].includes(url.protocol)) return text;
  return el("a", { href: url.href, rel: "noopener noreferrer" }, text);
}
