"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const N = D.time.length, LAST = N - 1;
let step = 0, playing = false, headingUp = false, zoom = 1, drag = [0, 0];

const text = (tag, content, cls) => { const e = document.createElement(tag); e.textContent = content; if (cls) e.className = cls; return e; };
const row = (table, cells, head) => { const r = document.createElement("tr");
  for (const c of cells) r.append(c instanceof Node ? c : text(head ? "th" : "td", c)); table.append(r); return r; };
const fixed = (v, n = 2) => v === null || v === undefined ? "–" : (typeof v === "number" ? v.toFixed(n) : String(v));

$("title").textContent = D.title;
for (const [label, kind] of D.badges) $("badges").append(text("span", label, "badge " + kind));
$("slider").max = LAST;
$("footer").textContent = D.footer;

row($("rules"), ["Rule", "Value", "Smallest margin", "First violation", "Why"], true);
for (const r of D.rules) {
  const name = document.createElement("td");
  const dot = text("span", "", "dot");
  dot.style.background = r.state === "kept" ? "var(--good)" : r.state === "violated" ? "var(--bad)" : "var(--none)";
  name.append(dot, r.title);
  const when = r.first === null ? text("td", "–") : text("td", "");
  if (r.first !== null) { const b = text("button", fixed(r.first, 1) + " s"); b.onclick = () => go(Math.round(r.first / D.dt)); when.append(b); }
  row($("rules"), [name, fixed(r.value), r.margin === null ? "–" : fixed(r.margin) + " " + r.unit, when, r.reason]);
}
row($("scores"), ["Score", "Value", ""], true);
for (const [name, value, told] of D.scores)
  row($("scores"), [name, fixed(value, 3), told]).style.fontWeight = name.startsWith("\u2003") ? "" : "600";
for (const [name, value] of D.parameters) row($("parameters"), [name, value]);

/* ---- the world from above ---- */
const COLOURS = D.colours;
function fit(canvas) { const r = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * r) || canvas.height !== Math.round(h * r)) { canvas.width = Math.round(w * r); canvas.height = Math.round(h * r); }
  const g = canvas.getContext("2d"); g.setTransform(r, 0, 0, r, 0, 0); g.clearRect(0, 0, w, h); return [g, w, h]; }
function path(g, points, close) { g.beginPath(); for (let i = 0; i < points.length; i += 2) i ? g.lineTo(points[i], points[i + 1]) : g.moveTo(points[i], points[i + 1]); if (close) g.closePath(); }
function box(g, x, y, heading, length, width, fill, edge) {
  g.save(); g.translate(x, y); g.rotate(heading); g.fillStyle = fill; g.fillRect(-length / 2, -width / 2, length, width);
  if (edge) { g.strokeStyle = edge; g.lineWidth = .12; g.strokeRect(-length / 2, -width / 2, length, width);
    g.beginPath(); g.moveTo(length / 2, 0); g.lineTo(length / 2 - Math.min(1.2, length / 3), width / 2); g.moveTo(length / 2, 0);
    g.lineTo(length / 2 - Math.min(1.2, length / 3), -width / 2); g.stroke(); }
  g.restore(); }
function drawScene() {
  const [g, w, h] = fit($("scene")), e = D.ego[step], scale = Math.min(w, h * 1.3) / 85 * zoom;
  g.save(); g.translate(w * .5 + drag[0], h * (headingUp ? .72 : .5) + drag[1]); g.scale(scale, -scale);
  if (headingUp) g.rotate(Math.PI / 2 - e[2]); g.translate(-e[0], -e[1]);
  g.lineJoin = g.lineCap = "round";
  g.fillStyle = "#c3c8cf"; g.beginPath();
  for (const p of D.map.drivable) { for (let i = 0; i < p.length; i += 2) i ? g.lineTo(p[i], p[i + 1]) : g.moveTo(p[i], p[i + 1]); g.closePath(); }
  g.fill("nonzero");
  for (const [centre, width] of D.map.lanes) { path(g, centre); g.strokeStyle = "#c3c8cf"; g.lineWidth = width; g.lineCap = "butt"; g.stroke(); }
  g.lineCap = "round";
  for (const p of D.map.crosswalks) { path(g, p, true); g.fillStyle = "rgba(255,255,255,.65)"; g.fill(); }
  for (const p of D.map.edges) { path(g, p); g.strokeStyle = "#8b929c"; g.lineWidth = .25; g.stroke(); }
  for (const [kind, p] of D.map.lines) { path(g, p); g.strokeStyle = kind.includes("YELLOW") ? "#e3b23c" : "#fff"; g.lineWidth = .18;
    g.setLineDash(kind.startsWith("BROKEN") ? [3, 4] : []); g.stroke(); } g.setLineDash([]);
  for (const p of D.map.stops) { path(g, p); g.strokeStyle = "#fff"; g.lineWidth = .5; g.stroke(); }
  if (D.route.length) { path(g, D.route); g.strokeStyle = "rgba(42,157,143,.55)"; g.lineWidth = .9; g.stroke(); }
  path(g, D.ego.slice(0, step + 1).flatMap(p => [p[0], p[1]])); g.strokeStyle = "rgba(22,104,220,.35)"; g.lineWidth = .5; g.stroke();
  D.signals.forEach((s, i) => { g.beginPath(); g.arc(s[0], s[1], 1.1, 0, 7); g.fillStyle = ["#888", "#e02f2f", "#f0b400", "#20a854", "#444"][D.states[step][i]]; g.fill(); g.strokeStyle = "#222"; g.lineWidth = .15; g.stroke(); });
  for (const a of D.agents) { const p = a.poses[step]; if (p) box(g, p[0], p[1], p[2], a.size[0], a.size[1], COLOURS[a.category] || "#777", a.moves ? "rgba(0,0,0,.55)" : null); }
  const k = Math.min(step, D.plans.length - 1);
  if (k >= 0 && step < N) { D.plans[k].candidates.forEach(p => { path(g, p); g.strokeStyle = "rgba(90,145,225,.4)"; g.lineWidth = .25; g.stroke(); });
    path(g, D.plans[k].driven); g.strokeStyle = D.plans[k].intervened ? "#d98a00" : "#1668dc"; g.lineWidth = .55; g.stroke(); }
  box(g, e[0], e[1], e[2], D.size[0], D.size[1], "#1668dc", "#0b3a80");
  for (const c of D.reasoning[k] ? D.reasoning[k].places : []) { g.beginPath(); g.arc(c[0], c[1], 2.2, 0, 7); g.strokeStyle = "#e07a1f"; g.lineWidth = .45; g.stroke(); }
  g.restore();
  g.fillStyle = "#1d2530"; g.font = "600 13px system-ui, sans-serif"; g.fillText((D.speed[step] * 3.6).toFixed(0) + " km/h", 12, 22);
  g.strokeStyle = "#1d2530"; g.lineWidth = 2; g.beginPath(); g.moveTo(12, h - 14); g.lineTo(12 + 10 * scale, h - 14); g.stroke(); g.font = "12px system-ui, sans-serif"; g.fillText("10 m", 14, h - 20);
}

/* ---- the verdict's timeline ---- */
const LEFT = 170;
function drawTimeline() {
  const [g, w, h] = fit($("timeline")), x = i => LEFT + (w - LEFT - 12) * i / N;
  const rows = D.rules.filter(r => r.series), height = Math.min(20, (h - 100) / Math.max(1, rows.length + 1));
  g.font = "12px system-ui, sans-serif"; g.textBaseline = "middle";
  rows.forEach((r, k) => { const y = 4 + k * height; g.fillStyle = "#1d2530"; g.fillText(r.title, 0, y + height / 2);
    r.series.forEach((m, i) => { g.fillStyle = m === null ? "#d5dae1" : m < 0 ? "#d23c3c" : "#1f9d61"; g.globalAlpha = m === null ? 1 : m < 0 ? 1 : .35 + .5 * Math.min(1, Math.max(0, 1 - m / r.large_margin));
      g.fillRect(x(i), y + 2, Math.max(1.5, x(1) - x(0)) + .5, height - 4); }); g.globalAlpha = 1; });
  let y = 4 + rows.length * height; g.fillStyle = "#1d2530"; g.fillText("guard", 0, y + height / 2);
  D.plans.forEach((p, i) => { g.fillStyle = p.intervened ? "#d98a00" : "#eef1f5"; g.fillRect(x(i), y + 2, Math.max(1.5, x(1) - x(0)) + .5, height - 4); });
  const top = y + height + 14, bottom = h - 8, fast = Math.max(1, ...D.speed, ...D.limit.filter(v => v !== null)) * 1.08;
  g.fillStyle = "#1d2530"; g.fillText("speed (m/s)", 0, (top + bottom) / 2); g.fillStyle = "#667182"; g.fillText(fast.toFixed(0), LEFT - 26, top + 4); g.fillText("0", LEFT - 26, bottom - 4);
  g.strokeStyle = "#dfe3e9"; g.lineWidth = 1; g.strokeRect(LEFT, top, w - LEFT - 12, bottom - top);
  const line = (values, colour) => { g.strokeStyle = colour; g.lineWidth = 1.6; g.beginPath(); let pen = false;
    values.forEach((v, i) => { if (v === null) { pen = false; return; } const yy = bottom - (bottom - top) * v / fast; pen ? g.lineTo(x(i), yy) : g.moveTo(x(i), yy); pen = true; }); g.stroke(); };
  g.setLineDash([4, 4]); line(D.limit, "#98a2b0"); g.setLineDash([]); line(D.speed, "#1668dc");
  g.strokeStyle = "#1d2530"; g.lineWidth = 1.4; g.beginPath(); g.moveTo(x(step), 2); g.lineTo(x(step), bottom); g.stroke();
}

function show() {
  const k = Math.min(step, D.plans.length - 1), r = k >= 0 ? D.reasoning[k] : null, guard = $("guard");
  $("slider").value = step; $("clock").textContent = D.time[step].toFixed(1) + " / " + D.time[LAST].toFixed(1) + " s";
  if (D.cameras.length) $("cameras").src = D.cameras[Math.min(D.cameras.length - 1, Math.floor(step / D.every))];
  $("sentence").textContent = r ? r.sentence : "This driver gives no reasons.";
  $("chips").replaceChildren(...(r ? [text("span", "longitudinal: " + r.longitudinal), text("span", "lateral: " + r.lateral), ...r.components.map(c => text("span", c))] : []));
  if (!D.guarded) { guard.textContent = "The guard was off."; guard.className = "off"; }
  else if (k >= 0 && D.plans[k].intervened) { guard.textContent = "Guard: " + (D.plans[k].reason || "intervened"); guard.className = "on"; }
  else { guard.textContent = "Guard: the driver's plan is safe and is driven."; guard.className = ""; }
  drawScene(); drawTimeline();
}
function go(to) { step = Math.max(0, Math.min(LAST, to)); show(); }
function play(on) { playing = on; $("play").textContent = on ? "❚❚ Pause" : "▶ Play"; }
$("slider").oninput = e => { play(false); go(+e.target.value); };
$("play").onclick = () => { if (step === LAST) go(0); play(!playing); };
$("follow").onclick = () => { headingUp = !headingUp; $("follow").textContent = headingUp ? "North up" : "Heading up"; show(); };
$("timeline").onclick = e => { const r = e.target.getBoundingClientRect(); play(false); go(Math.round((e.clientX - r.left - LEFT) / (r.width - LEFT - 12) * N)); };
$("scene").onwheel = e => { e.preventDefault(); zoom = Math.max(.2, Math.min(8, zoom * Math.exp(-e.deltaY / 500))); show(); };
$("scene").onpointerdown = e => { const x = e.clientX - drag[0], y = e.clientY - drag[1]; $("scene").setPointerCapture(e.pointerId);
  $("scene").onpointermove = m => { drag = [m.clientX - x, m.clientY - y]; show(); }; };
$("scene").onpointerup = () => { $("scene").onpointermove = null; };
$("scene").ondblclick = () => { drag = [0, 0]; zoom = 1; show(); };
document.onkeydown = e => { if (e.key === "ArrowRight") { play(false); go(step + 1); } else if (e.key === "ArrowLeft") { play(false); go(step - 1); }
  else if (e.key === " ") { e.preventDefault(); $("play").click(); } };
window.onresize = show;
setInterval(() => { if (playing) { if (step < LAST) go(step + 1); else play(false); } }, D.dt * 1000);
const asked = parseInt((location.hash.match(/step=(\d+)/) || [])[1] || "0"); go(asked);
