// Hardware in the browser: a zoom becomes part of the address, a click on a bar opens its run.
(() => {
  "use strict";
  const { assign } = Object;

  // Plotly gives the reader's own local time as text; without a zone `Date` reads it as such.
  const seconds = (text) => new Date(typeof text === "string" ? text.replace(" ", "T") : text).getTime() / 1000;

  const zoom = (layout, search) => {
    const unchanged = window.dash_clientside.no_update;
    const query = new URLSearchParams(search ?? "");
    const [from, to] = layout?.["xaxis.range"] ?? [layout?.["xaxis.range[0]"], layout?.["xaxis.range[1]"]];
    if (from !== undefined && to !== undefined) {
      const first = Math.floor(seconds(from)), last = Math.max(Math.ceil(seconds(to)), Math.floor(seconds(from)) + 10);
      if (!Number.isFinite(first) || !Number.isFinite(last)) return unchanged;
      if (String(first) === query.get("first") && String(last) === query.get("last")) return unchanged;
      query.set("first", first);
      query.set("last", last);
    } else if (layout?.["xaxis.autorange"] && query.has("first")) {
      query.delete("first");
      query.delete("last");
    } else return unchanged;
    return `?${query}`;
  };

  const open = (click) => {
    const address = click?.points?.[0]?.customdata;
    if (typeof address === "string" && /^\/runs\/\d+$/.test(address)) window.location.assign(address);
    return window.dash_clientside.no_update;
  };

  window.dash_clientside = assign({}, window.dash_clientside, { hardware: { zoom, open } });
})();
