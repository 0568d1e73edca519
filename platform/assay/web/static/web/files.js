// Saves a chart: a button [data-save=png|svg|html|csv] within .chart, whose data-name names the file.
(() => {
  "use strict";
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
Plotly.newPlot("chart", chart.data, chart.layout, {responsive: true, displaylogo: false, showSendToCloud: false});</script></body></html>`);
  };

  // A text that a spreadsheet would take for a formula gets an apostrophe before it, as in assay/spreadsheet.py.
  const cell = (value) => (typeof value === "string" && /^(\s*[=+\-@＝＋－＠]|[\t\r\n])/.test(value) ? `'${value}` : value);
  window.assay = Object.assign(window.assay ?? {}, { cell });

  // The traces as they are drawn; what only shades (a band) is left out.
  const table = (chart) => {
    const rows = [["line", "x", "y"]];
    for (const trace of chart.data.filter((one) => !one.fill && one.y?.length)) {
      trace.y.forEach((y, at) => rows.push([trace.name ?? "", trace.x?.[at] ?? at, y ?? ""]));
    }
    const quoted = (value) => {
      const text = String(cell(value));
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(quoted).join(",")).join("\r\n");
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    if (!button) return;
    const frame = button.closest(".chart");
    const chart = frame.querySelector(".js-plotly-plot");
    button.closest("details").open = false;
    if (!chart) return;
    const format = button.dataset.save;
    const name = (frame.dataset.name || "chart").replace(/[^\w.-]+/g, "-");
    if (format === "html") page(chart, name);
    else if (format === "csv") save(`${name}.csv`, "text/csv", table(chart));
    else image(chart, name, format);
  });
})();
