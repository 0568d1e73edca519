// What every page shares: keyboard, menus, dialogs, live parts, tables. Without it every page still works.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { const box = $("[data-say]"); if (box) box.textContent = text; };

  // -- colours ------------------------------------------------------------------------------------
  const icons = { system: "circle-half", light: "sun", dark: "moon-stars" };
  const showTheme = () => {
    const button = $("[data-theme-switch]");
    if (!button) return;
    const theme = window.assayTheme.chosen();
    button.title = `Colours: ${theme}`;
    const use = $("use", button);
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, "#" + icons[theme]));
  };
  showTheme();

  // -- keyboard -----------------------------------------------------------------------------------
  const typing = (element) => element.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable=true]");
  const help = () => { const dialog = $("#help"); if (dialog && !dialog.open) dialog.showModal(); };
  const compare = () => {
    const form = $("form[data-compare]");
    if (!form) return;
    if ($$("input[data-select]:checked", form).length === 0) { say("Select rows first, then press c."); return; }
    form.requestSubmit($("[data-compare-button]", form));
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") $$("details.menu[open]").forEach((menu) => { menu.open = false; $("summary", menu).focus(); });
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || $("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); $("#search")?.focus(); }
    else if (event.key === "?") { event.preventDefault(); help(); }
    else if (event.key === "n" && document.body.dataset.new) location.href = document.body.dataset.new;
    else if (event.key === "c") compare();
  });

  // -- clicks -------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    $$("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
    const target = event.target.closest("[data-theme-switch], [data-help], [data-open-dialog], [data-close-dialog], [data-copy], .row-open");
    if (!target) return;
    if (target.matches("[data-theme-switch]")) { say("Colours: " + window.assayTheme.next()); showTheme(); }
    else if (target.matches("[data-help]")) help();
    else if (target.matches("[data-open-dialog]")) { event.preventDefault(); openDialog(target.dataset.openDialog); }
    else if (target.matches("[data-close-dialog]")) { event.preventDefault(); target.closest("dialog").close(); }
    else if (target.matches("[data-copy]")) copy(target);
    else if (target.matches(".row-open")) toggleRow(target);
  });
  const openDialog = (id) => {
    const dialog = document.getElementById(id);
    if (!dialog) return;
    $$("details.menu[open]").forEach((menu) => { menu.open = false; });
    dialog.showModal();
  };
  const copy = async (button) => {
    const text = $(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); say("Copied."); button.lastChild.textContent = "Copied"; }
    catch { getSelection().selectAllChildren($(button.dataset.copy)); }
  };

  // A deed that is confirmed by typing a name: its button wakes when the name is right.
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-confirm]");
    if (form) $("button[data-deed]", form).disabled = $("input[name=confirm]", form).value.trim() !== form.dataset.confirm;
  });

  // A form that is about what the address shows: a dashboard changes it without loading a page.
  document.addEventListener("submit", (event) => {
    $$("[data-fill-query]", event.target).forEach((input) => { input.value = location.search.slice(1); });
  });

  // -- tables: select, open a row on a phone, choose columns ----------------------------------------
  const countSelected = () => $$("form[data-compare]").forEach((form) => {
    const chosen = $$("input[data-select]:checked", form).length;
    const button = $("[data-compare-button]", form);
    if (button) button.disabled = chosen === 0;
    const text = $("[data-selected]", form);
    if (text) text.textContent = chosen ? `${chosen} selected` : "";
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) {
      $$("input[data-select]", event.target.closest("form")).forEach((box) => { box.checked = event.target.checked; });
    }
    if (event.target.matches("[data-select], [data-select-all]")) countSelected();
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });

  const icon = (name) => {
    const use = $("svg.icon use");
    const sprite = use ? use.getAttribute("href").split("#")[0] : "";
    return `<svg class="icon" aria-hidden="true"><use href="${sprite}#${name}"></use></svg>`;
  };
  const prepareTables = (root = document) => $$("table.data", root).forEach((table) => {
    if (!$("th.more", table)) return;
    $$("tbody > tr:not(.opened-row)", table).forEach((row) => {
      if ($(".row-open", row)) return;
      const cell = $("[data-first] .label", row) || $("[data-first]", row) || row.cells[0];
      const button = document.createElement("button");
      button.type = "button"; button.className = "row-open";
      button.setAttribute("aria-expanded", "false"); button.setAttribute("aria-label", "More about this row");
      button.innerHTML = icon("chevron-right");
      cell.prepend(button);
    });
  });
  const toggleRow = (button) => {
    const row = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) { row.nextElementSibling?.remove(); return; }
    const heads = $$("thead th", row.closest("table"));
    const list = document.createElement("dl");
    list.className = "facts";
    [...row.cells].forEach((cell, i) => {
      if (!cell.classList.contains("more") || !heads[i]?.textContent.trim()) return;
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = heads[i].textContent.trim();
      value.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
      list.append(term, value);
    });
    const extra = document.createElement("tr"), cell = document.createElement("td");
    extra.className = "opened-row"; cell.colSpan = row.cells.length; cell.append(list); extra.append(cell);
    row.after(extra);
  };

  const columnKey = (table) => "assay.columns." + table.dataset.columns;
  const hidden = (table) => {
    try {
      const kept = JSON.parse(localStorage.getItem(columnKey(table)));
      if (Array.isArray(kept)) return kept;
    } catch { /* nothing kept */ }
    return $$("thead th[data-off]", table).map((head) => head.dataset.column);
  };
  const applyColumns = (table) => {
    const off = new Set(hidden(table));
    $$("thead th", table).forEach((head, i) => {
      if (!head.dataset.column) return;
      $$("tr:not(.opened-row)", table).forEach((row) => { if (row.cells[i]) row.cells[i].hidden = off.has(head.dataset.column); });
    });
  };
  const prepareColumns = (root = document) => $$("table[data-columns]", root).forEach((table) => {
    applyColumns(table);
    const menu = document.querySelector(`[data-columns-of="${CSS.escape(table.dataset.columns)}"]`);
    if (!menu || menu.dataset.ready) return;
    menu.dataset.ready = "1";
    const off = new Set(hidden(table));
    $$("thead th[data-column]", table).forEach((head) => {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox"; box.className = "form-check-input m-0"; box.checked = !off.has(head.dataset.column);
      box.addEventListener("change", () => {
        const now = new Set(hidden(table));
        if (box.checked) now.delete(head.dataset.column); else now.add(head.dataset.column);
        try { localStorage.setItem(columnKey(table), JSON.stringify([...now])); } catch { /* not remembered */ }
        document.querySelectorAll(`table[data-columns="${CSS.escape(table.dataset.columns)}"]`).forEach(applyColumns);
      });
      label.append(box, head.textContent.trim());
      menu.append(label);
    });
  });

  // -- live parts -----------------------------------------------------------------------------------
  const ago = (seconds) => {
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };
  const loaded = Date.now();
  const ticking = () => {
    $$("time[data-ago]").forEach((time) => {
      const text = ago(Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000));
      if (time.textContent !== text) time.textContent = text;
    });
    $$("[data-updated]").forEach((box) => {
      box.dataset.at ||= String(loaded);
      const text = "updated " + ago((Date.now() - Number(box.dataset.at)) / 1000);
      if (box.textContent !== text) box.textContent = text;
    });
  };
  setInterval(ticking, 1000);
  const prepare = (root) => { prepareTables(root); prepareColumns(root); countSelected(); ticking(); };
  const away = (is) => { const bar = $("[data-away]"); if (bar) bar.hidden = !is; };
  window.assay = { away, say, prepare, icon };

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.matches("[data-live]")) event.preventDefault(); // nobody looks
  });
  document.body.addEventListener("htmx:sendError", () => away(true));
  document.body.addEventListener("htmx:timeout", () => away(true));
  document.body.addEventListener("htmx:responseError", (event) => { if (event.detail.xhr.status >= 500) away(true); });
  document.body.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) away(false); });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    // A poll that arrives while someone selects text, or has a row or a menu of that part open, would take it away.
    const part = event.detail.target;
    if (!part?.matches?.("[data-live]")) return;
    const selection = getSelection();
    if ($("details.menu[open], .row-open[aria-expanded=true]", part) ||
        (selection && !selection.isCollapsed && part.contains(selection.anchorNode))) {
      if (!event.detail.xhr.getResponseHeader("HX-Refresh")) event.detail.shouldSwap = $("[data-ended]", part) !== null;
    }
  });
  document.body.addEventListener("htmx:afterSettle", (event) => {
    $$("[data-updated]").forEach((box) => { if (event.target.contains(box) || box.contains(event.target)) box.dataset.at = String(Date.now()); });
    prepare(document);
    document.dispatchEvent(new CustomEvent("assay:settled", { detail: event.target }));
  });
  if (window.Idiomorph) {
    // What the reader did (ticked, opened) outlives a poll.
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
      !((name === "open" && node.tagName === "DETAILS") || (name === "checked") || (name === "data-at"));
    Idiomorph.defaults.ignoreActiveValue = true;
  }
  prepare(document);
})();
