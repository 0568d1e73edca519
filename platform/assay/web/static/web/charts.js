// Draws curves ([data-curves]: an address that gives panels) and Plotly artifacts ([data-figure]: the figure itself).
(() => {
  "use strict";
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const settings = { responsive: true, displaylogo: false, displayModeBar: false, showSendToCloud: false };
  const axis = (extra = {}) => ({
    gridcolor: style("--a-line"), linecolor: style("--a-line"), zeroline: false, automargin: true,
    tickfont: { color: style("--a-muted"), size: 11 }, ...extra,
  });
  const layout = (x, y = {}) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "x unified",
    margin: { l: 44, r: 8, t: 6, b: 34 }, font: { family: "system-ui, sans-serif", size: 11, color: style("--a-text") },
    hoverlabel: { bgcolor: style("--a-raised"), bordercolor: style("--a-line"), font: { color: style("--a-text") } },
    xaxis: axis({ title: { text: x, font: { size: 11, color: style("--a-muted") }, standoff: 4 }, nticks: 6 }),
    yaxis: axis({ nticks: 6, ...y }), uirevision: "kept",
  });

  // A loss that falls over three decades says more on a logarithmic axis.
  const scale = (traces) => {
    const values = traces.filter((trace) => !trace.fill).flatMap((trace) => trace.y).filter((value) => value !== null);
    if (!values.length) return {};
    const low = Math.min(...values), high = Math.max(...values);
    return low > 0 && high / low > 300 ? { type: "log", dtick: Math.max(1, Math.ceil(Math.log10(high / low) / 6)), exponentformat: "power" } : {};
  };

  const drawPanels = (box, panels) => {
    if (!panels.length) {
      box.replaceChildren(Object.assign(document.createElement("p"), { className: "muted", textContent: "No metric has been reported yet." }));
      return;
    }
    if (!box.querySelector(".charts")) {
      const more = document.createElement("details");
      more.className = "charts-more";
      more.append(document.createElement("summary"), newGrid());
      more.addEventListener("toggle", () => { if (more.open) drawInto(more.querySelector(".charts"), more.panels || []); });
      box.replaceChildren(newGrid(), more);
    }
    const [main, rest] = box.querySelectorAll(".charts");
    const more = box.querySelector("details");
    more.panels = panels.filter((panel) => !panel.main);
    more.hidden = !more.panels.length;
    more.firstChild.textContent = `${more.panels.length} more: ${more.panels.map((panel) => panel.title).join(", ")}`;
    drawInto(main, panels.filter((panel) => panel.main));
    if (more.open) drawInto(rest, more.panels);
  };

  const downloads = () => {
    const menu = document.createElement("details");
    menu.className = "menu chart-menu";
    const summary = Object.assign(document.createElement("summary"), { className: "button-quiet", title: "Download this chart" });
    summary.setAttribute("aria-label", "Download this chart");
    summary.innerHTML = window.assay.icon("download");
    const body = Object.assign(document.createElement("div"), { className: "menu-body" });
    for (const kind of ["png", "svg", "html", "csv"]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind.toUpperCase() });
      button.dataset.save = kind;
      body.append(button);
    }
    menu.append(summary, body);
    return menu;
  };

  const newGrid = () => Object.assign(document.createElement("div"), { className: "charts" });
  const drawInto = (grid, panels) => {
    const known = new Map([...grid.children].map((chart) => [chart.dataset.key, chart]));
    for (const panel of panels) {
      let chart = known.get(panel.key);
      if (!chart) {
        chart = document.createElement("figure");
        chart.className = "chart mb-0"; chart.dataset.key = panel.key;
        const title = document.createElement("h3"), plot = document.createElement("div");
        plot.className = "plot"; plot.setAttribute("role", "img");
        chart.append(downloads(), title, plot); grid.append(chart);
      }
      chart.dataset.name = panel.title;
      chart.querySelector("h3").textContent = panel.title;
      const plot = chart.querySelector(".plot");
      plot.setAttribute("aria-label", panel.x ? `${panel.title} by ${panel.x}` : panel.title);
      Plotly.react(plot, panel.traces, { ...layout(panel.x, scale(panel.traces)), datarevision: Date.now() }, settings);
    }
    for (const [key, chart] of known) if (!panels.some((panel) => panel.key === key)) chart.remove();
  };

  const watch = (box) => {
    let x = "step", panels = [], timer = 0;
    const load = async () => {
      clearTimeout(timer);
      let again = 3000;
      try {
        const reply = await fetch(`${box.dataset.curves}${box.dataset.curves.includes("?") ? "&" : "?"}x=${x}`, { headers: { Accept: "application/json" } });
        if (!reply.ok) throw new Error(String(reply.status));
        const answer = await reply.json();
        panels = answer.panels;
        drawPanels(box, panels);
        const link = document.querySelector("[data-metrics]");
        if (link && answer.metrics) {
          link.textContent = `${answer.metrics.toLocaleString("en")} metric${answer.metrics > 1 ? "s" : ""}`;
          link.hidden = false;
        }
        window.assay.away(false);
        if (answer.ended) again = 0;
      } catch {
        window.assay.away(true);
      }
      if (again) timer = setTimeout(load, document.hidden ? again * 4 : again);
    };
    document.querySelectorAll("[data-x]").forEach((button) => button.addEventListener("click", () => {
      x = button.dataset.x;
      document.querySelectorAll("[data-x]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      load();
    }));
    document.addEventListener("assay:theme", () => { if (panels.length) drawPanels(box, panels); });
    load();
  };

  // Okabe and Ito's colours for figures that name none; the two that are dim on a dark page come later there.
  const COLOURS = {
    light: ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"],
    dark: ["#56B4E9", "#E69F00", "#2BC49A", "#CC79A7", "#F0E442", "#E8743B", "#3D9BD6"],
  };
  const dark = () => getComputedStyle(document.documentElement).colorScheme.includes("dark");
  const titled = (title) => (typeof title === "string" ? title : title?.text) || "";

  const drawFigure = async (box) => {
    try {
      const reply = await fetch(box.dataset.figure);
      if (!reply.ok) throw new Error(String(reply.status));
      const figure = await reply.json();
      const title = titled(figure.layout?.title);  // the page's heading says it, so the figure need not
      if (title) {
        box.closest("section").querySelector("h2").textContent = title;
        box.setAttribute("aria-label", title);
        box.closest(".chart").dataset.name = title;
      }
      const draw = () => {
        const base = layout("", {});
        const own = figure.layout || {};
        const { paper_bgcolor, plot_bgcolor, font, hoverlabel } = base;
        const axes = Object.keys({ xaxis: 0, yaxis: 0, ...own }).filter((name) => /^[xy]axis\d*$/.test(name));
        Plotly.react(box, figure.data || [], {
          ...own, template: undefined, paper_bgcolor, plot_bgcolor, font, hoverlabel,
          ...Object.fromEntries(axes.map((name) => [name, { ...axis(), tickmode: "auto", nticks: 8, ...own[name], automargin: true }])),
          colorway: own.colorway || COLOURS[dark() ? "dark" : "light"],
          images: (own.images || []).filter((one) => String(one?.source).startsWith("data:image/")),  // none from elsewhere
          title: undefined, margin: { l: 48, r: 12, t: 8, b: 40 },
          legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
          autosize: true, width: undefined, height: undefined,
        }, settings);
      };
      draw();
      document.addEventListener("assay:theme", draw);
    } catch {
      box.textContent = "This figure cannot be drawn here; download it instead.";
    }
  };

  document.querySelectorAll("[data-curves]").forEach(watch);
  document.querySelectorAll("[data-figure]").forEach((box) => { box.before(downloads()); drawFigure(box); });
})();
