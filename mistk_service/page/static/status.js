// The status of the container: follows the status stream, shows the state in the head of every view, and notifies the views.

import { about, address } from "./api.js";
import { byId, say, show } from "./dom.js";
import { entitle } from "./title.js";
import { clock, words } from "./words.js";

const TONES = { pausing: "wait", paused: "wait", resetting: "wait", terminating: "wait", failed: "bad" };

/** The colour of a state. */
export function tone(state) {
  if (state === about.ready) return "good";
  return TONES[state] ?? (about.running?.includes(state) ? "busy" : "idle");
}

const CONNECTIONS = {
  connecting: "Connecting …",
  live: "Live",
  lost: "Connection lost, retrying …",
  ended: "Terminated. Reload the page when the service runs again.",
};
const RETRY_MS = 2000;

/** The status, and its payload; null before the first one. */
export let status = null;

const listeners = new Set();
let scheduled = false;

/**
 * Call a listener with each event of the stream at once, and with the status before the next drawing.
 *
 * @param listener `take(event)` receives every event, null after a restart of the container, and first the current status with
 *   `late: true`; `draw(status)` receives the status to draw. Both are optional.
 * @returns a function that ends it.
 */
export function watch(listener) {
  listeners.add(listener);
  if (status) {
    listener.take?.({ payload: status, late: true });
    schedule();
  }
  return () => listeners.delete(listener);
}

function tell(event) {
  for (const { take } of listeners) take?.(event);
}

/** Draw soon; once for all changes until then. */
export function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (!status) return;
    const { objectInfo, state } = status;
    say(byId("name"), objectInfo.name);
    say(byId("state"), words(state));
    byId("badge").dataset.tone = tone(state);
    say(byId("updated"), `Version ${objectInfo.resourceVersion}, ${clock(objectInfo.modificationTime)}`);
    for (const { draw } of listeners) draw?.(status);
  });
}

function connection(name) {
  byId("connection").dataset.connection = name;
  say(byId("connection"), CONNECTIONS[name]);
}

/** Follow the stream, from a version on; it resumes after a lost connection. */
export function follow(since = 0) {
  show(byId("live"), true);
  const source = new EventSource(address(`${about.api}/status?watch=true&resourceVersion=${since}`));
  // Before the first status, the page is not live yet. After a reconnect it is, though the next status may take long.
  source.addEventListener("open", () => connection(status ? "live" : "connecting"));
  source.addEventListener("status", (message) => receive(source, JSON.parse(message.data)));
  source.addEventListener("error", () => {
    connection("lost");
    // A browser reconnects and resumes on its own, unless the response was not a stream, such as a proxy's 502.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => follow(status?.objectInfo.resourceVersion), RETRY_MS);
    }
  });
}

function receive(source, event) {
  if (status && event.payload.objectInfo.id !== status.objectInfo.id) {
    // The container was restarted and counts versions from the beginning, so this page cannot resume.
    source.close();
    status = null;
    tell(null);
    follow();
    return;
  }
  status = { payload: {}, ...event.payload };
  tell(event);
  // Set at once, since a tab in the background is not drawn but shows its title.
  entitle({ state: words(status.state), name: status.objectInfo.name });
  schedule();
  const ended = status.state === "terminated";
  if (ended) source.close();
  connection(ended ? "ended" : "live");
}
