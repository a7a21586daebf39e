// The frame of the page: navigation, theme, log-out, and the view that the hash names.

import { about } from "./api.js";
import { byId, el, link, say, show } from "./dom.js";
import { routes } from "./routes.js";
import { follow } from "./status.js";
import { entitle } from "./title.js";

const views = routes.filter(([, , , , needs]) => !needs || about[needs]);

// --- navigation -------------------------------------------------------------------------------------------------

/** The route of a hash with its parameters. Without a route of its own, it leads to the first view. */
function find(hash) {
  const [path, query] = (hash.replace(/^#/, "") || "/").split(/\?(.*)/s);
  for (const route of views) {
    const names = [];
    const pattern = route[0].replace(/([:*])(\w+)/g, (_, kind, name) => {
      names.push(name);
      return kind === ":" ? "([^/]+)" : "(.*)";
    });
    const match = new RegExp(`^${pattern}/?$`).exec(path);
    if (!match) continue;
    const parts = match.slice(1).map((part, i) => [names[i], decode(part)]);
    return { route, params: { ...Object.fromEntries(new URLSearchParams(query)), ...Object.fromEntries(parts) } };
  }
  return { route: views[0], params: {} };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let leave;
let turn = 0;

async function navigate() {
  if (location.hash === "#view") return; // the link that skips the navigation
  const mine = (turn += 1);
  const { route, params } = find(location.hash);
  const [pattern, load, title] = route;
  for (const each of byId("views").children) {
    const here = each.dataset.pattern === pattern || (each.dataset.pattern !== "/" && pattern.startsWith(each.dataset.pattern));
    if (here) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  const view = el("div", { class: "view" });
  try {
    const { mount } = await load();
    if (mine !== turn) return; // another view was chosen in the meantime
    leave?.();
    leave = undefined;
    byId("view").replaceChildren(view);
    entitle({ view: title });
    const end = await mount(view, params);
    if (mine === turn) leave = end;
    else end?.();
  } catch (error) {
    if (mine === turn) byId("view").replaceChildren(el("p", { class: "card notice", role: "alert" }, error.message));
    throw error;
  }
}

// --- theme ------------------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function theme(chosen) {
  if (chosen === "auto") {
    localStorage.removeItem("mistk-theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("mistk-theme", chosen);
    document.documentElement.dataset.theme = chosen;
  }
  say(byId("theme"), `Theme: ${chosen}`);
}

// --- start ------------------------------------------------------------------------------------------------------

say(byId("name"), about.name);
say(byId("reference"), about.reference ?? "");
say(byId("version"), `mistk-service ${about.version}`);
byId("links").append(...about.links.map(([text, path]) => link(text, path)));
byId("views").append(
  ...views
    .filter(([, , , label]) => label)
    .map(([pattern, , , label]) => el("a", { href: `#${pattern}`, dataset: { pattern } }, label)),
);
show(byId("views"), byId("views").children.length > 1);
// The page cannot read the session's cookie; this other one shows that a user is logged in.
byId("log-out").hidden = !document.cookie.includes("mistk_session_open=1");
const now = () => document.documentElement.dataset.theme ?? "auto";
theme(now());
byId("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(now()) + 1) % THEMES.length]));
entitle({ name: about.name });
addEventListener("hashchange", navigate);
// The view first, so that it misses no event.
await navigate().finally(() => about.api && follow());
