// Values in readable form.

export const words = (name) => String(name).replaceAll("_", " ");

// Creating one of these takes long.
const WHOLE = new Intl.NumberFormat("en");

/** A number with four significant digits. The texts NaN, Infinity and -Infinity are unchanged. */
export function number(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return String(value);
  if (Number.isInteger(n) && Math.abs(n) < 1e15) return WHOLE.format(n);
  return Math.abs(n) >= 1e6 ? n.toExponential(3) : String(Number(n.toPrecision(4)));
}

/** A duration in seconds. */
export function duration(seconds) {
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** The time of day of an ISO 8601 text. */
export function clock(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? String(iso) : time.toLocaleTimeString();
}

/** Text unchanged, and any other value as JSON. */
export const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The name of an operation: "loadData" → "Load data". */
export function readable(name) {
  const spaced = String(name).replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/[/_]/g, " ").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
