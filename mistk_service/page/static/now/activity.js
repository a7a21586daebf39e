// The running activity with its progress, and the last activity.

import { card, el, rebuild, say, show } from "../dom.js";
import { clock, duration, number } from "../words.js";

const OUTCOME_TONES = { completed: "good", stopped: "wait", unsupported: "idle", failed: "bad" };

/** The card of the activity. */
export function activity() {
  const text = el("p", { class: "lead", id: "activity" }, "…");
  const bar = el("progress", { id: "bar", "aria-labelledby": "activity-title", "aria-describedby": "progress-text" });
  const figures = el("p", { class: "quiet", id: "progress-text" });
  const box = el("div", { id: "progress", hidden: true }, bar, figures);
  const node = card("activity", "Activity", {}, text, box);

  function draw({ state, payload }) {
    const { activity: running, progress } = payload;
    say(text, running ? `${running.operation}, since ${clock(running.startedAt)}` : "Nothing runs.");
    box.toggleAttribute("data-paused", state === "paused");
    show(box, Boolean(progress));
    if (!progress) return;
    const { done, total, unit, rate, timeLeft } = progress;
    if (total) {
      bar.max = total;
      bar.value = done;
    } else {
      bar.removeAttribute("value");
    }
    const parts = [
      total ? `${number(done)} of ${number(total)} ${unit}` : `${number(done)} ${unit}`,
      total && `${Math.floor((100 * done) / total)} %`,
      rate && `${number(rate)} ${unit}/s`,
      Number.isFinite(timeLeft) && state !== "paused" && `${duration(timeLeft)} left`,
    ];
    say(figures, parts.filter(Boolean).join(" · "));
  }
  return { node, draw };
}

/** The card of the last activity. */
export function lastActivity() {
  const text = el("p", { class: "lead", id: "last" }, "…");
  const times = el("p", { class: "quiet", id: "last-times" });
  const node = card("last", "Last activity", {}, text, times);

  function draw({ payload: { lastActivity: last } }) {
    rebuild(text, last ?? null, () => {
      if (!last) return ["None yet."];
      const tone = OUTCOME_TONES[last.outcome] ?? "idle";
      return [last.operation, " ", el("span", { class: "tag", dataset: { tone } }, last.outcome)];
    });
    say(times, last ? `Took ${duration(last.seconds)}, ended ${clock(last.endedAt)}` : "");
  }
  return { node, draw };
}
