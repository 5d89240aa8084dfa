"use strict";
/* One or several episodes on one clock: worlds, cameras, reasoning and guard of each, and keys. */
const $ = id => document.getElementById(id);
const element = (tag, content, cls) => { const e = document.createElement(tag); e.textContent = content; if (cls) e.className = cls; return e; };
const fixed = (v, n = 2) => v === null || v === undefined ? "–" : (typeof v === "number" ? v.toFixed(n) : String(v));
const SPEEDS = [.25, .5, 1, 2, 4];

class Player {
  constructor(panes, dt) { /* panes: {data, world, root, camera(step)} */
    this.panes = panes; this.dt = dt; this.last = Math.max(...panes.map(p => p.data.time.length)) - 1; this.step = 0; this.playing = false; this.speed = 1; this.loop = false;
    this.listeners = [];
    for (const pane of panes) pane.world.onview = from => { for (const other of panes) if (other.world !== from) {
      other.world.zoom = from.zoom; other.world.drag = [...from.drag]; other.world.draw(other.world.step); } };
    $("slider").max = this.last;
    $("slider").oninput = e => { this.play(false); this.go(+e.target.value); };
    $("play").onclick = () => { if (this.step === this.last) this.go(0); this.play(!this.playing); };
    $("follow").onclick = () => this.turn();
    $("speed").onclick = () => { this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length]; $("speed").textContent = this.speed + "×"; };
    document.addEventListener("keydown", e => this.key(e));
    window.addEventListener("resize", () => this.show());
    window.addEventListener("hashchange", () => this.fromHash());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    const tick = now => { if (this.playing) { const due = Math.floor((now - this.began) / 1000 / this.dt * this.speed);
        if (due > 0) { this.began = now; if (this.step < this.last) this.go(this.step + due); else if (this.loop) this.go(0); else this.play(false); } }
      requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
  }
  fromHash() { const found = location.hash.match(/step=(\d+)/); this.go(found ? +found[1] : 0); }
  turn() { for (const pane of this.panes) pane.world.headingUp = !pane.world.headingUp; $("follow").textContent = this.panes[0].world.headingUp ? "North up" : "Heading up"; this.show(); }
  play(on) { this.playing = on; this.began = performance.now(); $("play").textContent = on ? "❚❚ Pause" : "▶ Play"; if (!on) this.remember(); }
  remember() { history.replaceState(null, "", "#step=" + this.step); }
  go(to) { this.step = Math.max(0, Math.min(this.last, to)); this.show(); if (!this.playing) this.remember(); }
  key(e) { /* keys have one meaning everywhere: a slider that has the focus does not step a second time */
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && e.target.type !== "range") return;
    const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[e.key];
    if (by) { this.play(false); this.go(this.step + by); }
    else if (e.key === "Home" || e.key === "End") { this.play(false); this.go(e.key === "Home" ? 0 : this.last); }
    else if (e.key === " ") $("play").click();
    else if (e.key === "h") this.turn();
    else if (e.key === "l") this.loop = !this.loop;
    else if (e.key === "+" || e.key === "-") { const w = this.panes[0].world; w.zoomBy(e.key === "+" ? 1.25 : .8, w.anchor()); w.onview(w); }
    else return;
    e.preventDefault();
    this.show();
  }
  show() {
    $("slider").value = this.step; $("clock").textContent = (this.step * this.dt).toFixed(1) + " / " + (this.last * this.dt).toFixed(1) + " s";
    for (const pane of this.panes) showPane(pane, Math.min(this.step, pane.data.time.length - 1));
    for (const listener of this.listeners) listener(this.step);
  }
}
function showPane(pane, step) {
  const D = pane.data, k = Math.min(step, D.plans.length - 1), r = k >= 0 ? D.reasoning[k] : null, part = name => pane.root.querySelector("." + name), guard = part("guard");
  pane.camera(step);
  part("sentence").textContent = r ? r.sentence : "This driver gives no reasons.";
  part("chips").replaceChildren(...(r ? [element("span", "longitudinal: " + r.longitudinal), element("span", "lateral: " + r.lateral), ...r.components.map(c => element("span", c))] : []));
  const on = D.guarded && k >= 0 && D.plans[k].intervened;
  guard.textContent = !D.guarded ? "The guard was off." : on ? "Guard: " + (D.plans[k].reason || "intervened") : "Guard: the driver's plan is driven.";
  guard.className = "guard" + (D.guarded ? on ? " on" : "" : " off");
  pane.world.draw(step);
}
/* The margins of the rules, the guard and the speed over time; a click goes to a time, the pointer is told what is there. */
class Timeline {
  constructor(canvas, data, go) { this.canvas = canvas; this.data = data; this.rows = data.rules.filter(r => r.series); this.step = 0; this.pointer = null;
    canvas.onclick = e => go(this.stepAt(e));
    canvas.onpointermove = e => { this.pointer = [this.stepAt(e), e.clientY - canvas.getBoundingClientRect().top]; this.draw(this.step); };
    canvas.onpointerleave = () => { this.pointer = null; this.draw(this.step); }; }
  left() { return Math.min(230, this.canvas.clientWidth * .36); }
  stepAt(e) { const r = this.canvas.getBoundingClientRect(), left = this.left();
    return Math.max(0, Math.min(this.data.time.length - 1, Math.round((e.clientX - r.left - left) / (r.width - left - 12) * (this.data.time.length - 1)))); }
  draw(step) {
    this.step = step;
    const D = this.data, N = D.time.length, [g, w, h] = fit(this.canvas), c = palette(), left = this.left(), x = i => left + (w - left - 12) * i / Math.max(1, N - 1);
    const height = Math.min(20, (h - 120) / Math.max(1, this.rows.length + 1)), wide = Math.max(1.5, x(1) - x(0)) + .5;
    g.font = "12px system-ui, sans-serif"; g.textBaseline = "middle";
    const label = (text, y) => { g.fillStyle = c.ink; let name = text; while (name.length > 3 && g.measureText(name + "…").width > left - 8) name = name.slice(0, -1); g.fillText(name === text ? text : name + "…", 0, y); };
    this.rows.forEach((r, k) => { const y = 4 + k * height; label(r.title, y + height / 2);
      r.series.forEach((m, i) => { g.fillStyle = m === null ? c.none : m < 0 ? c.bad : c.good; g.globalAlpha = m === null ? .6 : m < 0 ? 1 : .3 + .6 * Math.min(1, Math.max(0, 1 - m / r.large_margin));
        g.fillRect(x(i) - wide / 2, y + 2, wide, height - 4); }); g.globalAlpha = 1; });
    const y = 4 + this.rows.length * height; label("guard", y + height / 2);
    D.plans.forEach((p, i) => { g.fillStyle = p.intervened ? c.warn : c.chip; g.fillRect(x(i) - wide / 2, y + 2, wide, height - 4); });
    const top = y + height + 12, bottom = h - 24, fast = Math.max(1, ...D.speed, ...D.limit.filter(v => v !== null)) * 1.08;
    label("speed (m/s), limit dashed", (top + bottom) / 2); g.fillStyle = c.soft; g.textAlign = "right"; g.fillText(fast.toFixed(0), left - 4, top + 4); g.fillText("0", left - 4, bottom - 4); g.textAlign = "left";
    g.strokeStyle = c.line; g.lineWidth = 1; g.strokeRect(left, top, w - left - 12, bottom - top);
    const line = (values, stroke) => { g.strokeStyle = stroke; g.lineWidth = 1.6; g.beginPath(); let pen = false;
      values.forEach((v, i) => { if (v === null) { pen = false; return; } const yy = bottom - (bottom - top) * v / fast; pen ? g.lineTo(x(i), yy) : g.moveTo(x(i), yy); pen = true; }); g.stroke(); };
    g.setLineDash([4, 4]); line(D.limit, c.soft); g.setLineDash([]); line(D.speed, c.ego);
    const seconds = D.time[N - 1], every = [1, 2, 5, 10, 20, 60, 120].find(s => seconds / s <= Math.max(2, (w - left) / 50)) || 600;
    g.fillStyle = c.soft; g.textAlign = "center"; for (let s = 0; s <= seconds + 1e-6; s += every) g.fillText(s + " s", x(s / D.dt), h - 10); g.textAlign = "left";
    g.strokeStyle = c.ink; g.lineWidth = 1.4; g.beginPath(); g.moveTo(x(step), 2); g.lineTo(x(step), bottom); g.stroke();
    if (this.pointer) this.tell(g, c, x, height, w); }
  tell(g, c, x, height, w) {
    const [i, py] = this.pointer, r = this.rows[Math.floor((py - 4) / height)], m = r ? r.series[i] : undefined;
    const text = this.data.time[i].toFixed(1) + " s" + (r ? ": " + r.title + (m === null || m === undefined ? " does not apply" : ", margin " + m.toFixed(2) + " " + r.unit) : ", " + (this.data.speed[i] * 3.6).toFixed(0) + " km/h");
    const wide = g.measureText(text).width + 10, left = Math.min(x(i) + 8, w - wide - 4);
    g.fillStyle = c.card; g.fillRect(left, py - 24, wide, 20); g.strokeStyle = c.line; g.strokeRect(left, py - 24, wide, 20); g.fillStyle = c.ink; g.fillText(text, left + 5, py - 13); }
}
