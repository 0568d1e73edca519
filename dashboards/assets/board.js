// What every dashboard does in the browser: follow the site's colours and width, keep a zoom, say when the
// server is away. Charts are saved by the site's own `files.js`.
(() => {
  "use strict";
  const NARROW = "(max-width: 900px)";
  const screen = () => ({
    theme: document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light",
    narrow: matchMedia(NARROW).matches,
  });

  // Groups of choices and sliders are called what stands over them; Dash cannot be told so.
  const name = (field) => field.querySelectorAll("[role=listbox], [role=slider]").forEach((control) => {
    control.setAttribute("aria-label", field.querySelector("legend, label").textContent);
  });

  let watching = false;
  const watch = () => {
    if (watching) return;
    watching = true;
    document.querySelectorAll(".board .field").forEach((field) => {  // a slider's script comes later than the page
      name(field);
      new MutationObserver(() => name(field)).observe(field, { childList: true, subtree: true });
    });
    const tell = () => window.dash_clientside.set_props("screen", { data: screen() });
    new MutationObserver(tell).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
    matchMedia(NARROW).addEventListener("change", tell);
    if (screen().narrow) document.querySelectorAll("details.display").forEach((part) => { part.open = false; });
  };

  // The figure as drawn by the server, with the zoom of what is shown as long as both say they are the same view.
  // A figure whose `meta` tells a zoom (null: none) says itself where its x axes stand.
  const show = (drawn, shown) => {
    if (!drawn) return [window.dash_clientside.no_update, {}, { display: "none" }];
    const layout = { ...drawn.layout };
    if (shown?.layout?.uirevision !== undefined && shown.layout.uirevision === layout.uirevision) {
      const tells = layout.meta?.zoom !== undefined;
      const leaves = tells && !layout.meta.zoom && shown.layout.xaxis?.autorange === false;
      const kept = leaves ? /^$/ : tells ? /^yaxis\d*$/ : /^[xy]axis\d*$/;
      for (const name of Object.keys(layout).filter((key) => kept.test(key))) {
        const { range, autorange } = shown.layout[name] ?? {};
        if (range && autorange === false) layout[name] = { ...layout[name], range, autorange };
      }
    }
    return [{ ...drawn, layout }, { height: layout.height ? `${layout.height}px` : "100%" }, { display: "block" }];
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    board: { screen: () => { watch(); return screen(); }, show },
  });

  // The page goes on showing what it has; the shell's bar says that the server is away, or that one must sign in again.
  const fetched = window.fetch;
  window.fetch = async (...request) => {
    try {
      const answer = await fetched(...request);
      if (answer.status === 401) window.location.reload();
      window.assay?.away(answer.status >= 500);
      return answer;
    } catch (error) {
      window.assay?.away(true);
      throw error;
    }
  };
})();
