// What every dashboard does in the browser: follow the site's colours and width, keep a zoom, save charts as files,
// say when the server is away.
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

  // -- charts as files ------------------------------------------------------------------------------------

  const save = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  const withBackground = (chart) => ({
    data: chart.data,
    layout: { ...chart.layout, height: chart.clientHeight, paper_bgcolor: getComputedStyle(document.body).backgroundColor },
  });

  const image = (chart, name, format) => window.Plotly.downloadImage(
    withBackground(chart),
    { format, filename: name, scale: format === "png" ? 2 : 1, width: chart.clientWidth, height: chart.clientHeight });

  // One file that needs neither this server nor the internet: the chart's data and Plotly itself.
  const page = async (chart, name) => {
    const source = document.querySelector('script[src*="/plotly.min.js"]').src;
    const plotly = (await (await fetch(source)).text()).replaceAll("</script", "<\\/script");
    const whole = window.Plotly.Plots.graphJson(withBackground(chart), false, "keepall").replaceAll("<", "\\u003c");
    const title = document.title.replace(/[<&]/g, "");
    save(`${name}.html`, "text/html", `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<body style="margin:0;background:${getComputedStyle(document.body).backgroundColor}"><div id="chart"></div>
<script>${plotly}</script><script>const chart = ${whole};
Plotly.newPlot("chart", chart.data, chart.layout, {responsive: true, displaylogo: false});</script></body></html>`);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    if (!button) return;
    const frame = button.closest(".chart");
    const chart = frame.querySelector(".js-plotly-plot");
    button.closest("details").open = false;
    if (!chart) return;
    const format = button.dataset.save;
    if (format === "html") page(chart, frame.dataset.name);
    else image(chart, frame.dataset.name, format);
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
