"use strict";
/* The tables of a verdict. */
function tableRow(table, cells, head) { const r = document.createElement("tr");
  for (const c of cells) r.append(c instanceof Node ? c : element(head ? "th" : "td", c));
  if (head) { const top = document.createElement("thead"); top.append(r); table.append(top); } else (table.tBodies[0] || table.createTBody()).append(r);
  return r; }
function showRules(table, rules, dt, go) {
  tableRow(table, ["Rule", "Value", "Smallest margin", "First violation", "Why"], true);
  for (const r of rules) {
    const name = document.createElement("td"); name.title = r.summary; name.append(element("span", "", "dot " + r.state.split(" ")[0]), r.title);
    const when = element("td", r.first === null ? (r.state === "violated" ? "violated" : "–") : "");
    if (r.first !== null) { const b = element("button", fixed(r.first, 1) + " s"); b.onclick = () => { go(Math.round(r.first / dt)); document.querySelector("canvas.world").scrollIntoView({ behavior: "smooth", block: "center" }); }; when.append(b); }
    tableRow(table, [name, fixed(r.value), r.margin === null ? "–" : fixed(r.margin) + " " + r.unit, when, r.reason]);
  }
}
