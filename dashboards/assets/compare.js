// What Compare does in the browser: follow the site's colours and width, save the chart, say when the server is away.
(() => {
  "use strict";
  const NARROW = "(max-width: 900px)";
  const screen = () => ({
    theme: document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light",
    narrow: matchMedia(NARROW).matches,
  });

  let watching = false;
  const watch = () => {
    if (watching) return;
    watching = true;
    const tell = () => window.dash_clientside.set_props("screen", { data: screen() });
    new MutationObserver(tell).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
    matchMedia(NARROW).addEventListener("change", tell);
  };

  const keepZoom = (drawn, shown) => {
    if (!drawn) return window.dash_clientside.no_update;
    const layout = { ...drawn.layout };
    if (shown?.layout?.uirevision === layout.uirevision) {
      for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
        const { range, autorange } = shown.layout[name] ?? {};
        if (range && autorange === false) layout[name] = { ...layout[name], range, autorange };
      }
    }
    return { ...drawn, layout };
  };

  const image = (clicks) => {
    const chart = document.querySelector("#chart .js-plotly-plot");
    if (!clicks || !chart) return window.dash_clientside.no_update;
    const background = getComputedStyle(document.body).backgroundColor;
    window.Plotly.downloadImage(
      { data: chart.data, layout: { ...chart.layout, paper_bgcolor: background } },
      { format: "png", filename: "compare", scale: 2, width: chart.clientWidth, height: chart.clientHeight });
    return window.dash_clientside.no_update;
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    compare: { screen: () => { watch(); return [screen(), !screen().narrow]; }, keep_zoom: keepZoom, image },
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
