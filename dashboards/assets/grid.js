// Grids: the shell's colours, numbers as `assay/web/numbers.py` shows them, columns that the browser remembers.
(() => {
  "use strict";

  // -- numbers ---------------------------------------------------------------------------------------------

  const short = (value, digits = 4) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en");
    if (size >= 1e9 || size < 1e-4) {
      const [number, power] = value.toExponential(digits - 2).split("e");
      return `${Number(number)}e${power[0]}${power.slice(1).padStart(2, "0")}`;
    }
    if (size >= 10 ** digits) return Math.round(value).toLocaleString("en");
    return String(Number(value.toPrecision(digits)));
  };

  const like = (spread, mean) => {
    const text = short(mean);
    if (text.includes("e") || short(spread).includes("e")) return short(spread, 2);
    const decimals = (text.split(".")[1] ?? "").length;
    const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    return Number(spread.toFixed(decimals)) ? spread.toLocaleString("en", options) : short(spread, 1);
  };

  const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
  const unitOf = (count) => {
    const size = Math.abs(count);
    return Math.min(size < 1 ? 0 : Math.floor(Math.log10(size) / 3 + 1e-12), UNITS.length - 1);
  };
  const bytes = (count) => `${Number((count / 1000 ** unitOf(count)).toPrecision(3))} ${UNITS[unitOf(count)]}`;
  const bytesLike = (spread, count) => String(Number((spread / 1000 ** unitOf(count)).toPrecision(2)));

  const percent = (value) => `${value < 0 ? "−" : "+"}${short(Math.abs(value), 3)} %`;

  // -- cells -----------------------------------------------------------------------------------------------

  const element = (...parts) => window.React.createElement(...parts);

  const Named = ({ data, value }) => {
    const kind = { solid: "solid", dot: "dotted" }[data.dash] ?? "dashed";
    const swatch = data.colour && element("span", {
      key: "swatch", className: "swatch", "aria-hidden": true,
      style: { borderTopColor: data.colour, borderTopStyle: kind } });
    const name = data.href ? element("a", { key: "name", href: data.href }, value) : element("span", { key: "name" }, value);
    const note = data.reference && element("span", { key: "note", className: "muted" }, "reference");
    return element("span", { className: "row-name", title: value }, [swatch, name, note]);
  };

  const Measured = ({ data, value, place, best, direction, bytes: inBytes }) => {
    if (value === null || value === undefined) return element("span", { className: "muted" }, "–");
    const spread = data[`s${place}`];
    const off = data[`d${place}`];
    const parts = [inBytes ? bytes(value) : short(value)];
    if (spread !== undefined) {
      const shown = spread <= 1e-9 * Math.abs(value) ? "0" : (inBytes ? bytesLike : like)(spread, value);
      parts.push(` ± ${shown}`);
    }
    const number = element(value === best ? "b" : "span", { key: "number" }, parts.join(""));
    if (off === undefined) return element("span", {}, number);
    const good = direction && off ? ((off > 0) === (direction === "max") ? " better" : " worse") : "";
    return element("span", {}, [number, element("span", { key: "off", className: `off${good}` }, percent(off))]);
  };

  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions ?? {}, { Named, Measured });

  // -- columns ---------------------------------------------------------------------------------------------

  const place = (api) => `assay-columns-${window.location.pathname}-${api.getGridId()}`;
  const hidden = (api) => {
    try { return new Set(JSON.parse(localStorage.getItem(place(api)) ?? "[]")); } catch { return new Set(); }
  };
  const NARROW = "(max-width: 900px)";
  const restore = (api) => {
    const gone = hidden(api);
    const narrow = matchMedia(NARROW).matches;
    const columns = api.getColumns() ?? [];
    const left = columns.filter((one) => gone.has(one.getColId()) || (narrow && one.getColDef().context?.wide));
    api.setColumnsVisible(left, false);
    if (narrow) api.setColumnWidths(columns.filter((one) => one.isPinned()).map((key) => ({ key, newWidth: 150 })));
  };

  // A grid whose columns came before its own script did has told nobody of them.
  new MutationObserver((_, observer) => {
    const menus = document.querySelectorAll("details[data-columns]");
    if (!menus.length) return;
    observer.disconnect();
    menus.forEach((menu) => window.dash_ag_grid.getApiAsync(menu.dataset.columns).then(restore));
  }).observe(document.documentElement, { childList: true, subtree: true });

  const offer = async (menu) => {
    const api = await window.dash_ag_grid.getApiAsync(menu.dataset.columns);
    const body = menu.querySelector(".menu-body");
    body.replaceChildren(...(api.getColumns() ?? []).filter((column) => !column.getColDef().lockVisible).map((column) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.className = "form-check-input";
      box.checked = column.isVisible();
      box.addEventListener("change", () => {
        api.setColumnsVisible([column.getColId()], box.checked);
        const gone = hidden(api);
        gone[box.checked ? "delete" : "add"](column.getColId());
        localStorage.setItem(place(api), JSON.stringify([...gone]));
      });
      label.append(box, ` ${column.getColDef().headerName}`);
      return label;
    }));
  };
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details[data-columns]") && event.target.open) offer(event.target);
  }, true);

  // Tab goes from cell to cell; Enter follows the link in one.
  document.addEventListener("keydown", ({ key, target }) => {
    if (key === "Enter" && target.matches?.(".grid .ag-cell")) target.querySelector("a[href]")?.click();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-export]");
    if (!button) return;
    const name = button.dataset.export;
    const api = await window.dash_ag_grid.getApiAsync(name);
    api.exportDataAsCsv({
      fileName: `${name}.csv`, processCellCallback: ({ value }) => window.assay.cell(value ?? ""),
      processHeaderCallback: ({ column }) => window.assay.cell(column.getColDef().headerName ?? column.getColId()),
    });
  });

  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions ?? {}, {
    short, like, bytes,
    inFull: ({ value, data }, at) => {
      if (value === null || value === undefined) return "";
      const spread = data[`s${at}`];
      return spread === undefined ? String(value) : `${value} ± ${spread}`;
    },
    missingLast: (a, b, _one, _other, falling) => {
      const none = (value) => value === null || value === undefined;
      if (none(a) || none(b)) return (none(a) - none(b)) * (falling ? -1 : 1);
      return a - b;
    },
    restoreColumns: ({ api }) => restore(api),
    boardTheme: (theme) => theme.withParams({
      backgroundColor: "var(--a-bg)", foregroundColor: "var(--a-text)", borderColor: "var(--a-line)",
      headerBackgroundColor: "var(--a-soft)", headerTextColor: "var(--a-muted)", accentColor: "var(--a-accent)",
      rowHoverColor: "var(--a-soft)", oddRowBackgroundColor: "var(--a-bg)", chromeBackgroundColor: "var(--a-raised)",
      menuBackgroundColor: "var(--a-raised)", tooltipBackgroundColor: "var(--a-raised)",
      tooltipTextColor: "var(--a-text)", textColor: "var(--a-text)", inputBackgroundColor: "var(--a-bg)",
      browserColorScheme: "inherit", fontFamily: "inherit", fontSize: 14, headerFontSize: 12.5, headerFontWeight: 550,
      rowHeight: 32, headerHeight: 34, spacing: 6, wrapperBorderRadius: 6, cellHorizontalPadding: 10,
    }),
  });
})();
