// Forms made from the schemas of the contract (Swagger 2.0, JSON Schema).

import { el } from "./dom.js";
import { plain } from "./words.js";

/**
 * A field for a value.
 *
 * @param document the contract, in which references are looked up.
 * @param schema the schema of the value.
 * @param options `name`; `required`, whether there has to be a value; `path`, by which an error of the service names the field.
 * @returns `node`, and `read()`, which returns the value; undefined if nothing was entered. It throws an Error with a message for
 *   a text that is not the JSON that it should be.
 */
export function field(document, schema, options) {
  const resolved = resolve(document, schema);
  const { type, properties, additionalProperties: values, items, enum: choices } = resolved;
  if (choices) return choice(resolved, options);
  if (type === "boolean") return choice({ ...resolved, enum: [true, false] }, options);
  if (type === "integer" || type === "number") return numeric(resolved, options);
  if (type === "array" && resolve(document, items ?? {}).enum) return checks(resolve(document, items), resolved, options);
  if (properties) return record(document, resolved, options);
  if (type === "object" && typeof values === "object") return table(document, resolved, options);
  if (type === "string") return text(resolved, options);
  return json(resolved, options);
}

function resolve(document, schema) {
  if (schema.$ref) return resolve(document, schema.$ref.split("/").slice(1).reduce((node, key) => node[key], document));
  if (!schema.allOf) return schema;
  const parts = schema.allOf.map((part) => resolve(document, part));
  return {
    ...schema,
    type: "object",
    required: parts.flatMap((part) => part.required ?? []),
    properties: Object.assign({}, ...parts.map((part) => part.properties)),
  };
}

/** A description of the contract, whose code is in backticks. */
const prose = (text) => text.trim().split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

let count = 0;

/** A control with its label and its description. */
function labelled(control, { description }, { name, required, path = name }) {
  count += 1;
  control.id = `field-${count}`;
  control.dataset.path = path;
  if (required && control.type !== "checkbox") control.required = true;
  const hint = description && el("p", { class: "hint", id: `${control.id}-hint` }, prose(description));
  if (hint) control.setAttribute("aria-describedby", hint.id);
  const label = el("label", { for: control.id }, name, required && el("span", { class: "quiet" }, " (required)"));
  return el("div", { class: "field" }, label, control, hint);
}

function text(schema, options) {
  const control = el("input", { type: "text", value: schema.default, autocomplete: "off", spellcheck: "false" });
  return { node: labelled(control, schema, options), read: () => control.value || undefined };
}

function numeric(schema, options) {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, type, default: value } = schema;
  const control = el("input", {
    type: "number",
    value,
    step: type === "integer" ? 1 : "any",
    min: exclusiveMinimum ? null : minimum,
    max: exclusiveMaximum ? null : maximum,
  });
  return { node: labelled(control, schema, options), read: () => (control.value === "" ? undefined : Number(control.value)) };
}

function choice(schema, options) {
  const values = schema.enum.filter((value) => value !== null);
  const given = values.indexOf(schema.default);
  const spelled = (value) => (value === true ? "yes" : value === false ? "no" : plain(value));
  const control = el(
    "select",
    {},
    given < 0 && el("option", { value: "" }, options.required ? "Choose …" : "not set"),
    values.map((value, i) => el("option", { value: i, selected: i === given }, spelled(value))),
  );
  return {
    node: labelled(control, schema, options),
    read: () => (control.value === "" ? undefined : values[Number(control.value)]),
  };
}

function checks(items, schema, options) {
  const { name, path = name } = options;
  const values = items.enum.filter((value) => !items["x-mistk-synonyms"]?.includes(value));
  const boxes = values.map((value) => el("input", { type: "checkbox", value }));
  const labels = boxes.map((box) => el("label", { class: "check" }, box, box.value));
  const node = el("fieldset", { dataset: { path } }, el("legend", {}, name), el("div", { class: "checks" }, labels));
  return {
    node,
    read: () => {
      const chosen = values.filter((_, i) => boxes[i].checked);
      return chosen.length ? chosen : undefined;
    },
  };
}

function json(schema, options) {
  const example = schema.default === undefined ? "" : JSON.stringify(schema.default);
  const placeholder = schema.type === "array" ? "[…]" : '{"name": value}';
  const control = el("textarea", { rows: 2, spellcheck: "false", placeholder }, example);
  return {
    node: labelled(control, schema, options),
    read: () => {
      if (!control.value.trim()) return undefined;
      try {
        return JSON.parse(control.value);
      } catch (error) {
        throw Object.assign(new Error(`${options.name} is not JSON: ${error.message}`), { field: options.path ?? options.name });
      }
    },
  };
}

/** An object whose properties are known. Those that are rarely needed, which its example does not have, are folded away. */
function record(document, schema, options) {
  const { name, path = name } = options;
  const required = schema.required ?? [];
  const folded = [];
  const shown = [];
  const order = Object.keys(schema.example ?? {});
  const place = ([key]) => (order.includes(key) ? order.indexOf(key) : order.length);
  const entries = Object.entries(schema.properties).sort((a, b) => place(a) - place(b));
  const fields = entries.map(([key, each]) => {
    const made = field(document, each, { name: key, required: required.includes(key), path: path ? `${path}.${key}` : key });
    const plainly = !schema.example || required.includes(key) || (order.includes(key) && !resolve(document, each).properties);
    (plainly ? shown : folded).push(made.node);
    return [key, made.read];
  });
  const more = folded.length > 0 && el("details", {}, el("summary", {}, "More fields"), folded);
  const node = name
    ? el("fieldset", { dataset: { path } }, el("legend", {}, name), shown, more)
    : el("div", { class: "fields" }, shown, more);
  return { node, read: () => collected(fields) };
}

/** An object with any names and values of one type. */
function table(document, schema, options) {
  const { name, path = name } = options;
  const names = Object.keys(schema.example ?? {});
  const rows = new Set();
  const list = el("div", { class: "fields" });

  function add(key = "") {
    const entry = el("input", { type: "text", value: key, "aria-label": `Name in ${name}`, placeholder: "name" });
    const value = field(document, schema.additionalProperties, { name: "", path: `${path}.${key}` });
    const row = { read: () => [entry.value, value.read()] };
    const remove = el("button", { type: "button", class: "small", "aria-label": "Remove this entry", onclick: () => {
      rows.delete(row);
      box.remove();
    } }, "Remove");
    const box = el("div", { class: "entry" }, el("div", { class: "row" }, entry, remove), value.node);
    rows.add(row);
    list.append(box);
  }

  add(names[0]);
  const more = el("button", { type: "button", class: "small", onclick: () => add(names[rows.size]) }, "Add another");
  const hint = schema.description && el("p", { class: "hint" }, prose(schema.description));
  const node = el("fieldset", { dataset: { path } }, el("legend", {}, name), hint, list, more);
  return {
    node,
    read: () => {
      const entries = [...rows].map((row) => row.read()).filter(([key, value]) => key && value !== undefined);
      return entries.length ? Object.fromEntries(entries) : undefined;
    },
  };
}

function collected(fields) {
  const entries = fields.map(([key, read]) => [key, read()]).filter(([, value]) => value !== undefined);
  return entries.length ? Object.fromEntries(entries) : undefined;
}

/**
 * The fields for the parameters of an operation.
 *
 * @returns `nodes`, and `read()`, which returns `{query, json}`.
 */
export function parameterFields(document, operation) {
  const parameters = (operation.parameters ?? []).filter((each) => each.in === "query" || each.in === "body");
  const made = parameters.map((each) => {
    const schema = each.in === "body" ? { description: each.description, ...each.schema } : each;
    const known = each.in === "body" && resolve(document, schema).properties;
    const options = known ? { name: "", path: "" } : { name: each.name, required: each.required && each.in === "query" };
    return { ...each, ...field(document, schema, options) };
  });
  return {
    nodes: made.map(({ node }) => node),
    read: () => ({
      query: collected(made.filter((each) => each.in === "query").map(({ name, read }) => [name, read])) ?? {},
      json: made.filter((each) => each.in === "body").map(({ read, required }) => read() ?? (required ? {} : undefined))[0],
    }),
  };
}

/** Show at a field what is wrong with it; false if the form has no such field. */
export function complain(form, name) {
  const controls = [...form.querySelectorAll("[data-path]")];
  for (const each of controls) each.removeAttribute("aria-invalid");
  const matching = controls.filter((each) => name && (each.dataset.path === name || name.endsWith(`.${each.dataset.path}`)));
  const found = matching.sort((a, b) => b.dataset.path.length - a.dataset.path.length)[0];
  if (!found) return false;
  found.setAttribute("aria-invalid", "true");
  (found.matches("fieldset") ? found.querySelector("input") : found)?.focus();
  return true;
}
