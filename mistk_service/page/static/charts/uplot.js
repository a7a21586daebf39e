// Loads uPlot, which draws the curves. Its file is a classic script that defines a global.

import { el } from "../dom.js";
import { style } from "../tracking.js";

let loading = null;

export function loadUPlot() {
  loading ??= Promise.all([
    style("./vendor/uPlot.min.css"),
    new Promise((done, failed) => {
      document.head.append(el("script", { src: new URL("../vendor/uPlot.iife.min.js", import.meta.url).href, onload: done, onerror: () => failed(new Error("The charts cannot be loaded.")) }));
    }),
  ]).then(() => window.uPlot);
  loading.catch(() => { loading = null; });
  return loading;
}
