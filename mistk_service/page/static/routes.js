// The views of the page. Each is a module with `mount(container, params)`, which may return a function that unmounts it.
//
// `params` holds the named parts of the path and the query of the hash as texts: "#/runs/7?tab=files" → {run: "7", tab: "files"}.
// A part that begins with "*" takes the rest of the path. A view that keeps its state in the URL uses history.replaceState.

/** [pattern, loader, title, label in the navigation or null, what of `about` the service needs]. */
export const routes = [
  ["/", () => import("./now/view.js"), "", "Now", "api"],
  ["/try", () => import("./trial/view.js"), "Try it", "Try it", "prediction"],
  ["/experiments", () => import("./runs/experiments.js"), "Experiments", "Runs", "tracking"],
  ["/experiments/:id", () => import("./runs/table.js"), "Runs", null, "tracking"],
  ["/experiments/:id/runs", () => import("./runs/table.js"), "Runs", null, "tracking"],
  ["/experiments/:id/runs/:run", () => import("./runs/run.js"), "Run", null, "tracking"],
  ["/experiments/:id/runs/:run/*tab", () => import("./runs/run.js"), "Run", null, "tracking"],
  ["/runs/:run", () => import("./runs/run.js"), "Run", null, "tracking"],
  ["/models", () => import("./models/list.js"), "Models", "Models", "tracking"],
  ["/models/:name", () => import("./models/model.js"), "Model", null, "tracking"],
  ["/models/:name/versions/:version", () => import("./models/model.js"), "Model", null, "tracking"],
  ["/compare", () => import("./compare/view.js"), "Compare", null, "tracking"],
];
