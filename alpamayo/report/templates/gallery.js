"use strict";
/* The gallery: filters, order and two picked episodes are in the address, so that a link shows the same. */
const cards = [...document.querySelectorAll(".card")], list = document.getElementById("cards"), search = document.getElementById("search");
const selects = [...document.querySelectorAll("select[name]")], order = document.getElementById("sort"), compare = document.getElementById("compare");
let picked = [];
const number = (card, key) => card.dataset[key] === "" ? Infinity : parseFloat(card.dataset[key]);
function arrange() {
  const key = order.value, words = search.value.toLowerCase();
  let shown = 0;
  for (const card of cards) { card.hidden = !selects.every(s => !s.value || card.dataset[s.name] === s.value) || !card.textContent.toLowerCase().includes(words); shown += !card.hidden; }
  const before = key === "scenario" ? (a, b) => a.dataset.scenario < b.dataset.scenario ? -1 : a.dataset.scenario > b.dataset.scenario ? 1 : a.dataset.driver < b.dataset.driver ? -1 : 1
    : (a, b) => number(a, key) - number(b, key);
  list.append(...[...cards].sort(before));
  document.getElementById("told").textContent = shown + " of " + cards.length;
  const state = new URLSearchParams(selects.filter(s => s.value).map(s => [s.name, s.value]));
  if (words) state.set("words", search.value);
  if (key !== order.options[0].value) state.set("sort", key);
  history.replaceState(null, "", "#" + state);
}
function restore() { const state = new URLSearchParams(location.hash.slice(1));
  for (const s of selects) s.value = state.get(s.name) || "";
  search.value = state.get("words") || ""; order.value = state.get("sort") || order.options[0].value; arrange(); }
function pick(card) { const id = card.dataset.id; picked = picked.includes(id) ? picked.filter(p => p !== id) : [...picked, id].slice(-2);
  for (const other of cards) other.classList.toggle("picked", picked.includes(other.dataset.id)); compare.disabled = picked.length < 2; }
for (const field of [...selects, search, order]) field.oninput = arrange;
compare.onclick = () => { location.href = "/watch?" + picked.map(id => "run=" + id).join("&"); };
for (const card of cards) card.onclick = event => { if (event.shiftKey || event.ctrlKey) { event.preventDefault(); pick(card); } else location.href = "/watch?run=" + card.dataset.id; };
document.onkeydown = event => {
  if (/^(INPUT|SELECT)$/.test(event.target.tagName)) { if (event.key === "Escape") event.target.blur(); return; }
  const shown = [...list.children].filter(card => !card.hidden), at = shown.findIndex(card => card.contains(document.activeElement));
  const across = Math.max(1, getComputedStyle(list).gridTemplateColumns.split(" ").length);
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  if (by && shown.length) shown[at < 0 ? 0 : Math.max(0, Math.min(shown.length - 1, at + by))].querySelector("a").focus();
  else if (event.key === "/") search.focus();
  else if (event.key === "c" && at >= 0) pick(shown[at]);
  else if (event.key === "Enter" && picked.length === 2 && at < 0) compare.click();
  else return;
  event.preventDefault();
};
restore();
