// Runs before the first paint: the chosen colours, else the system's.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("assay.theme") || "system"; } catch { return "system"; }
  };
  const apply = () => {
    const theme = chosen();
    root.dataset.bsTheme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
    root.dataset.theme = theme;
    document.dispatchEvent(new CustomEvent("assay:theme"));
  };
  root.classList.add("js");
  apply();
  dark.addEventListener("change", apply);
  window.assayTheme = {
    next() {
      const order = ["system", "light", "dark"];
      const theme = order[(order.indexOf(chosen()) + 1) % order.length];
      try { localStorage.setItem("assay.theme", theme); } catch { /* private window: for this page only */ }
      apply();
      return theme;
    },
    chosen,
  };
})();
