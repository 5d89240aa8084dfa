"use strict";
const D = JSON.parse($("data").textContent);
const world = new World($("scene"), D), camera = document.querySelector("img.cameras");
const player = new Player([{ data: D, world, root: $("pane"),
  camera: step => { if (D.cameras.length) camera.src = D.cameras[Math.min(D.cameras.length - 1, Math.floor(step / D.every))]; } }], D.dt);
const timeline = new Timeline($("timeline"), D, step => { player.play(false); player.go(step); });
player.listeners.push(step => timeline.draw(step));
showRules($("rules"), D.rules, D.dt, step => { player.play(false); player.go(step); });
tableRow($("scores"), ["Score", "Value", ""], true);
let score = null;
for (const [name, value, told, part] of D.scores) { const r = tableRow($("scores"), [name, fixed(value, 3), told]);
  if (!part) { const parts = []; r.parts = parts; score = r; r.onclick = () => { r.classList.toggle("open"); for (const p of parts) p.hidden = !p.hidden; }; r.tabIndex = 0;
    r.onkeydown = e => { if (e.key === "Enter") r.click(); }; }
  else { r.className = "part"; r.hidden = true; score.parts.push(r); score.classList.add("folds"); } }
for (const [name, value] of D.parameters) tableRow($("parameters"), [name, value]);
$("footer").textContent = D.footer;
player.fromHash();
