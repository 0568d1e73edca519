// Pareto in the browser: a click on a point leads away.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  pareto: { go: (address) => { if (address) window.location.assign(address); } },
});
