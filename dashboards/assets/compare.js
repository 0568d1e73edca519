// Compare: a zoom along x goes into the address, from which the server draws that range at full resolution.
(() => {
  "use strict";

  const zoom = (change, search, figure) => {
    const { no_update: nothing } = window.dash_clientside;
    const keys = Object.keys(change ?? {});
    const whole = keys.some((key) => /^xaxis\d*\.autorange$/.test(key));
    const start = keys.find((key) => /^xaxis\d*\.range\[0\]$/.test(key));
    if (!whole && !start) return nothing;
    const query = new URLSearchParams(search ?? "");
    if (whole) {
      query.delete("first");
      query.delete("last");
    } else {
      const log = figure.layout.xaxis.type === "log";
      const end = start.replace("[0]", "[1]");
      const ends = [change[start], change[end]].map((at) => Number((log ? 10 ** at : at).toPrecision(8)));
      query.set("first", Math.min(...ends));
      query.set("last", Math.max(...ends));
    }
    const text = query.toString();
    const address = text ? `?${text}` : "";
    return address === (search ?? "") ? nothing : address;
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, { compare: { zoom } });
})();
