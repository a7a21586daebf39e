// The files of a run: a tree, and a preview of the chosen file.

import { attempt } from "../ask.js";
import { el, show } from "../dom.js";
import { archiveUrl, artifactUrl, bytes, read } from "../tracking.js";
import { preview } from "./preview.js";

/** The entries of a folder of a run; folders first. */
export async function list(run, path) {
  const { files = [] } = await read("artifacts/list", { run_id: run, path: path || undefined });
  return files.sort((a, b) => Number(b.is_dir ?? false) - Number(a.is_dir ?? false) || a.path.localeCompare(b.path, undefined, { numeric: true }));
}

/** Show the files of a run, and return a function that ends this; `chosen` is the path of one, and `onchoose` is called with another. */
export async function artifacts(container, run, chosen, onchoose) {
  const problem = el("p", { class: "card notice", role: "alert", hidden: true });
  const name = el("h3", {});
  const download = el("a", { class: "button", download: "" }, "Download");
  const head = el("div", { class: "row tools", hidden: true }, name, el("span", { class: "end" }, download));
  const shown = el("div", { class: "preview" }, el("p", { class: "quiet empty" }, "Choose a file."));
  let reading = new AbortController(); // of a file

  async function open(file, button) {
    reading.abort();
    const { signal } = (reading = new AbortController());
    for (const each of tree.querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
    button?.setAttribute("aria-current", "true");
    name.textContent = file.path;
    download.href = artifactUrl(run, file.path);
    show(head, true);
    onchoose(file.path);
    await attempt(problem, async () => {
      const nodes = await preview(run, file.path, Number(file.file_size ?? 0), signal);
      if (!signal.aborted) shown.replaceChildren(...nodes);
    });
  }

  async function level(path) {
    const files = await list(run, path);
    const items = await Promise.all(files.map(async (file) => {
      const base = file.path.slice(path ? path.length + 1 : 0);
      if (!file.is_dir) {
        const button = el("button", { class: "plain", onclick: () => open(file, button) }, base, el("span", { class: "quiet" }, ` ${bytes(file.file_size)}`));
        if (file.path === chosen) await open(file, button);
        return el("li", {}, button);
      }
      const place = el("div");
      const unfold = async () => { if (folder.open && !place.childElementCount) await attempt(problem, async () => place.replaceChildren(await level(file.path))); };
      const folder = el("details", { ontoggle: unfold }, el("summary", {}, `${base}/`), place);
      if (chosen?.startsWith(`${file.path}/`)) {
        folder.open = true;
        place.replaceChildren(await level(file.path));
      }
      return el("li", { class: "folder" }, folder, el("a", { href: archiveUrl(run, file.path), download: "", title: `Download ${file.path} as a ZIP archive` }, "zip"));
    }));
    return el("ul", { class: "tree" }, items);
  }

  const tree = el("div", { class: "card" });
  container.replaceChildren(problem, el("div", { class: "artifacts" }, tree, el("div", { class: "card" }, head, shown)));
  await attempt(problem, async () => {
    const top = await level("");
    tree.replaceChildren(
      el("div", { class: "row" }, el("h2", {}, "Files"), top.childElementCount > 0 && el("a", { class: "end", href: archiveUrl(run), download: "" }, "Download all")),
      top.childElementCount ? top : el("p", { class: "quiet" }, "The run has no files."),
    );
  });
  return () => reading.abort();
}
