"use strict";
/* Tables: a click on a head sorts, a filter hides rows whose words do not match. */
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, k) => { const text = row.cells[k].dataset.value ?? row.cells[k].textContent; const number = parseFloat(text);
    return Number.isNaN(number) ? text : number; };
  heads.forEach((head, k) => { head.dataset.sort = k; head.tabIndex = 0;
    const sort = () => { const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => { const x = value(a, k), y = value(b, k);
        const order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? -1 : 1; return up ? order : -order; });
      body.append(...rows); };
    head.onclick = sort; head.onkeydown = event => { if (event.key === "Enter") sort(); }; });
}
for (const bar of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.getElementById(bar.dataset.filters).tBodies[0].rows], fields = [...bar.querySelectorAll("input, select")];
  const told = bar.querySelector("output");
  const apply = () => { let shown = 0;
    for (const row of rows) {
      const wanted = fields.every(field => !field.value || (field.name ? row.dataset[field.name] === field.value
        : row.textContent.toLowerCase().includes(field.value.toLowerCase())));
      row.hidden = !wanted; shown += wanted; }
    if (told) told.textContent = shown + " of " + rows.length; };
  for (const field of fields) field.oninput = apply;
  apply();
}
