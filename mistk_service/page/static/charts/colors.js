// Colours that can be distinguished on a light and on a dark background.

const PALETTE = ["#4478e0", "#e2762f", "#2c9c6a", "#cc4778", "#8b62d6", "#b38600", "#1697b5", "#d94a4a", "#6f8f1f", "#a0628f"];

/** The colour of the n-th curve. */
export const color = (n) => PALETTE[n] ?? `hsl(${Math.round((n * 137.5) % 360)} 62% 52%)`;

/** A colour of the page, as the canvas needs it. */
export function inkOf(name, node = document.documentElement) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  (node.isConnected ? node : document.body).append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Call back when the theme changes. Returns a function that ends this. */
export function onTheme(changed) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const attribute = new MutationObserver(changed);
  attribute.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", changed);
  return () => {
    attribute.disconnect();
    dark.removeEventListener("change", changed);
  };
}
