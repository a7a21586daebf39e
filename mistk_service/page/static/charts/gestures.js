// Changes the range of a chart by mouse, touch and keys. `choose` receives the new range.

/** Change a range by a key. */
export const moves = {
  ArrowLeft: (low, high) => [low - (high - low) / 5, high - (high - low) / 5],
  ArrowRight: (low, high) => [low + (high - low) / 5, high + (high - low) / 5],
  "+": (low, high) => [low + (high - low) / 4, high - (high - low) / 4],
  "-": (low, high) => [low - (high - low) / 2, high + (high - low) / 2],
  0: () => null,
};

/** Zoom to the part that was selected with the mouse. */
export function select(u, choose) {
  const { left, width } = u.select;
  if (width < 4) return;
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  choose([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
}

/** Move the range with the mouse; `pulled` is called when that begins and ends. */
export function pull(u, from, pulled, choose) {
  const { min, max } = u.scales.x;
  const by = (event) => ((from.clientX - event.clientX) / u.over.clientWidth) * (max - min);
  const moved = (event) => u.setScale("x", { min: min + by(event), max: max + by(event) });
  const done = (event) => {
    removeEventListener("mousemove", moved);
    pulled(false);
    if (by(event)) choose([min + by(event), max + by(event)]);
  };
  pulled(true);
  addEventListener("mousemove", moved);
  addEventListener("mouseup", done, { once: true });
}

/** Choose a part with a finger that moves sideways; one that moves up or down scrolls the page. */
export function touch(u, from, choose) {
  const { left } = u.over.getBoundingClientRect();
  const part = (event) => [from.clientX - left, event.clientX - left].sort((a, b) => a - b);
  const moved = (event) => {
    const [low, high] = part(event);
    u.setSelect({ left: low, width: high - low, top: 0, height: u.over.clientHeight }, false);
  };
  const done = (event) => {
    for (const name of ["pointermove", "pointerup", "pointercancel"]) u.over.removeEventListener(name, name === "pointermove" ? moved : done);
    const [low, high] = part(event);
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (event.type === "pointerup" && high - low > 12) choose([u.posToVal(low, "x"), u.posToVal(high, "x")]);
  };
  u.over.addEventListener("pointermove", moved);
  u.over.addEventListener("pointerup", done);
  u.over.addEventListener("pointercancel", done);
}
