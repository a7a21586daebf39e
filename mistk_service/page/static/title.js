// The title of the page: the view, the state of the container, and the name of the service.

const parts = { view: "", state: "", name: "" };

/** Change some of the parts `view`, `state` and `name`. */
export function entitle(changed) {
  Object.assign(parts, changed);
  document.title = [parts.view, parts.state, parts.name].filter(Boolean).join(" · ");
}
