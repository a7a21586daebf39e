// A table in which only the visible rows exist, so that it may have any number of them.

import { el } from "../dom.js";

const ROW = 36; // px, the height of a row
const SPARE = 8; // rows above and below the visible ones

/**
 * Make a table.
 *
 * @param label its name.
 * @param on `sort(column)`, a head was pressed; `near()`, the last rows are nearly visible; `toggle(group)`, a group was pressed.
 * @returns `node`; `columns(list)`, where a column has `id`, `label`, `width`, `cell(row)`, and may be `pinned`, `number` and
 *   `sortable`; `rows(list, count)`, where a row with a `group` is a head of a group; `sorted(id, ascending)`.
 */
export function grid(label, on) {
  const head = el("div", { class: "grid-head", role: "row", "aria-rowindex": 1 });
  const body = el("div", { class: "grid-body", role: "rowgroup" });
  const node = el("div", { class: "grid", role: "table", "aria-label": label, tabindex: 0 }, el("div", { role: "rowgroup" }, head), body);
  let columns = [];
  let rows = [];
  let order = {};
  let drawn = "";
  let waiting = 0;

  const place = (cell, column) => {
    if (column.pinned) cell.style.left = `${column.left}px`;
    return cell;
  };
  const classes = (column) => [column.pinned && "pinned", column.number && "number"].filter(Boolean).join(" ");

  function drawHead() {
    head.replaceChildren(
      ...columns.map((column) => {
        const sorted = order.id === column.id ? (order.ascending ? "ascending" : "descending") : null;
        const mark = sorted && el("span", { "aria-hidden": "true" }, sorted === "ascending" ? " ↑" : " ↓");
        const inside = column.sortable ? el("button", { class: "plain", title: `Sort by ${column.label}`, onclick: () => on.sort(column) }, column.label, mark) : (column.head ?? column.label);
        return place(el("div", { role: "columnheader", class: classes(column), title: column.label, "aria-sort": sorted }, inside), column);
      }),
    );
  }

  function drawRow(row, number) {
    const cells = row.group
      ? [el("div", { role: "cell", class: "group" }, el("button", { class: "plain", "aria-expanded": String(row.open), onclick: () => on.toggle(row) }, `${row.open ? "▾" : "▸"} ${row.label}`), row.note)]
      : columns.map((column) => place(el("div", { role: "cell", class: classes(column) }, column.cell(row)), column));
    const line = el("div", { class: row.group ? "grid-row grouped" : "grid-row", role: "row", "aria-rowindex": number + 2 }, cells);
    if (row.selected) line.setAttribute("aria-selected", "true");
    line.style.top = `${number * ROW}px`;
    return line;
  }

  function draw() {
    waiting = 0;
    const first = Math.max(0, Math.floor(node.scrollTop / ROW) - SPARE);
    const last = Math.min(rows.length, Math.ceil((node.scrollTop + node.clientHeight) / ROW) + SPARE);
    const key = `${first} ${last}`;
    if (key !== drawn) {
      drawn = key;
      body.replaceChildren(...rows.slice(first, last).map((row, i) => drawRow(row, first + i)));
    }
    if (rows.length && last > rows.length - 3 * SPARE) on.near?.();
  }
  const later = () => {
    waiting ||= requestAnimationFrame(draw);
  };
  node.addEventListener("scroll", later, { passive: true });
  const sizes = new ResizeObserver(later);
  sizes.observe(node);

  return {
    node,
    columns(list) {
      let left = 0;
      columns = list.map((column) => {
        const placed = { ...column, left };
        if (column.pinned) left += column.width;
        return placed;
      });
      node.style.setProperty("--columns", columns.map((column) => `${column.width}px`).join(" "));
      node.style.setProperty("--width", `${columns.reduce((sum, column) => sum + column.width, 0)}px`);
      drawn = "";
      drawHead();
      later();
    },
    rows(list) {
      rows = list;
      body.style.height = `${rows.length * ROW}px`;
      node.style.setProperty("--rows", Math.max(rows.length, 1));
      node.setAttribute("aria-rowcount", rows.length + 1);
      drawn = "";
      draw();
    },
    sorted(id, ascending) {
      order = { id, ascending };
      drawHead();
    },
    top() {
      node.scrollTop = 0;
    },
    end() {
      sizes.disconnect();
    },
  };
}
