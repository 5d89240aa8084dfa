"use strict";
/* The world of an episode from above, on a canvas: drag, zoom about the pointer, and the name of what the pointer is on. */
const fit = canvas => { const r = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * r) || canvas.height !== Math.round(h * r)) { canvas.width = Math.round(w * r); canvas.height = Math.round(h * r); }
  const g = canvas.getContext("2d"); g.setTransform(r, 0, 0, r, 0, 0); g.clearRect(0, 0, w, h); return [g, w, h]; };
const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const palette = () => Object.fromEntries(["ink", "soft", "line", "chip", "good", "bad", "warn", "none", "ego", "ground", "road", "mark", "edge", "card"]
  .map(name => [name, colour(name)]));
const tracePath = (g, points, close) => { g.beginPath();
  for (let i = 0; i < points.length; i += 2) i ? g.lineTo(points[i], points[i + 1]) : g.moveTo(points[i], points[i + 1]);
  if (close) g.closePath(); };
const VIEW_M = 85, STANDING_PLAN_M = 0.5, MAX_LABEL = 24;

class World {
  constructor(canvas, data) {
    this.canvas = canvas; this.data = data; this.step = 0; this.zoom = 1; this.drag = [0, 0]; this.headingUp = false; this.pointer = null;
    this.onview = null; /* called when the view was moved: two worlds side by side share it */
    const moved = () => { this.draw(this.step); if (this.onview) this.onview(this); };
    canvas.addEventListener("wheel", event => { if (!event.ctrlKey && !event.metaKey && !canvas.matches(":focus")) return;
      event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY / 500), this.at(event)); moved(); }, { passive: false });
    canvas.addEventListener("pointerdown", event => { canvas.focus({ preventScroll: true }); canvas.setPointerCapture(event.pointerId);
      this.start = [event.clientX - this.drag[0], event.clientY - this.drag[1]]; });
    canvas.addEventListener("pointermove", event => { this.pointer = this.at(event);
      if (this.start) { this.drag = [event.clientX - this.start[0], event.clientY - this.start[1]]; moved(); } else this.draw(this.step); });
    canvas.addEventListener("pointerup", () => { this.start = null; });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(this.step); });
    canvas.addEventListener("dblclick", () => { this.drag = [0, 0]; this.zoom = 1; moved(); });
    canvas.tabIndex = 0;
  }
  at(event) { const r = this.canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; }
  zoomBy(factor, at) {
    const next = Math.max(.2, Math.min(8, this.zoom * factor)), by = next / this.zoom, [x, y] = this.anchor();
    this.drag = [this.drag[0] + (at[0] - x - this.drag[0]) * (1 - by), this.drag[1] + (at[1] - y - this.drag[1]) * (1 - by)];
    this.zoom = next;
  }
  anchor() { return [this.canvas.clientWidth * .5, this.canvas.clientHeight * (this.headingUp ? .72 : .5)]; }
  scale() { return Math.min(this.canvas.clientWidth, this.canvas.clientHeight * 1.3) / VIEW_M * this.zoom; }
  onScreen(x, y) { /* a place of the world, in pixels */
    const e = this.data.ego[this.step], s = this.scale(), [ax, ay] = this.anchor(), a = this.headingUp ? Math.PI / 2 - e[2] : 0;
    const dx = x - e[0], dy = y - e[1]; return [ax + this.drag[0] + s * (dx * Math.cos(a) - dy * Math.sin(a)), ay + this.drag[1] - s * (dx * Math.sin(a) + dy * Math.cos(a))]; }
  draw(step) {
    this.step = step;
    const D = this.data, [g, w, h] = fit(this.canvas), c = palette(), e = D.ego[step], scale = this.scale(), [ax, ay] = this.anchor();
    g.fillStyle = c.ground; g.fillRect(0, 0, w, h);
    g.save(); g.translate(ax + this.drag[0], ay + this.drag[1]); g.scale(scale, -scale);
    if (this.headingUp) g.rotate(Math.PI / 2 - e[2]);
    g.translate(-e[0], -e[1]); g.lineJoin = g.lineCap = "round";
    this.drawMap(g, c);
    this.drawMotion(g, c, step, e);
    g.restore();
    this.drawLabels(g, c, step);
    g.fillStyle = c.ink; g.font = "600 13px system-ui, sans-serif"; g.fillText((D.speed[step] * 3.6).toFixed(0) + " km/h", 12, 22);
    g.strokeStyle = c.ink; g.lineWidth = 2; g.beginPath(); g.moveTo(12, h - 14); g.lineTo(12 + 10 * scale, h - 14); g.stroke();
    g.font = "12px system-ui, sans-serif"; g.fillText("10 m", 14, h - 20);
  }
  drawMap(g, c) {
    const M = this.data.map;
    g.fillStyle = c.road; g.beginPath();
    for (const p of M.drivable) { for (let i = 0; i < p.length; i += 2) i ? g.lineTo(p[i], p[i + 1]) : g.moveTo(p[i], p[i + 1]); g.closePath(); }
    g.fill("nonzero");
    g.lineCap = "butt"; g.strokeStyle = c.road;
    for (const [centre, width] of M.lanes) { tracePath(g, centre); g.lineWidth = width; g.stroke(); }
    g.lineCap = "round";
    for (const p of M.crosswalks) { tracePath(g, p, true); g.fillStyle = "rgba(255,255,255,.5)"; g.fill(); }
    for (const p of M.edges) { tracePath(g, p); g.strokeStyle = c.edge; g.lineWidth = .25; g.stroke(); }
    for (const [kind, p] of M.lines) { tracePath(g, p); g.strokeStyle = kind.includes("YELLOW") ? "#e3b23c" : c.mark; g.lineWidth = .18;
      g.setLineDash(kind.startsWith("BROKEN") ? [3, 4] : []); g.stroke(); }
    g.setLineDash([]);
    for (const p of M.stops) { tracePath(g, p); g.strokeStyle = c.mark; g.lineWidth = .5; g.stroke(); }
  }
  drawMotion(g, c, step, e) {
    const D = this.data, k = Math.min(step, D.plans.length - 1);
    if (D.route.length) { tracePath(g, D.route); g.strokeStyle = "rgba(42,157,143,.55)"; g.lineWidth = .9; g.stroke(); }
    tracePath(g, D.ego.slice(0, step + 1).flatMap(p => [p[0], p[1]])); g.strokeStyle = c.ego; g.globalAlpha = .35; g.lineWidth = .5; g.stroke(); g.globalAlpha = 1;
    D.signals.forEach((s, i) => { g.beginPath(); g.arc(s[0], s[1], 1.1, 0, 7); g.fillStyle = ["#888", "#e02f2f", "#f0b400", "#20a854", "#444"][D.states[step][i]];
      g.fill(); g.strokeStyle = "#222"; g.lineWidth = .15; g.stroke(); });
    for (const a of D.agents) { const p = a.poses[step]; if (p) this.box(g, p[0], p[1], p[2], a.size[0], a.size[1], D.colours[a.category] || "#777", a.moves ? "rgba(0,0,0,.55)" : null); }
    if (k >= 0) { for (const p of D.plans[k].candidates) { tracePath(g, p); g.strokeStyle = "rgba(90,145,225,.4)"; g.lineWidth = .25; g.stroke(); }
      this.plan(g, D.plans[k].driven, e, D.plans[k].intervened ? c.warn : c.ego); }
    this.box(g, e[0], e[1], e[2], D.size[0], D.size[1], c.ego, "#0b3a80");
    for (const p of k >= 0 && D.reasoning[k] ? D.reasoning[k].places : []) { g.beginPath(); g.arc(p[0], p[1], 2.2, 0, 7);
      g.setLineDash([.8, .8]); g.strokeStyle = "#b0449c"; g.lineWidth = .45; g.stroke(); g.setLineDash([]); }
  }
  plan(g, points, e, stroke) { /* a plan to stand still is a bar before the ego */
    const n = points.length; g.strokeStyle = stroke; g.lineWidth = .55;
    if (Math.hypot(points[n - 2] - e[0], points[n - 1] - e[1]) >= STANDING_PLAN_M) { tracePath(g, points); g.stroke(); return; }
    const half = this.data.size[1] / 2 + .4, x = e[0] + (this.data.size[0] / 2 + .7) * Math.cos(e[2]), y = e[1] + (this.data.size[0] / 2 + .7) * Math.sin(e[2]);
    g.beginPath(); g.moveTo(x - half * Math.sin(e[2]), y + half * Math.cos(e[2])); g.lineTo(x + half * Math.sin(e[2]), y - half * Math.cos(e[2])); g.stroke();
  }
  box(g, x, y, heading, length, width, fill, edge) {
    g.save(); g.translate(x, y); g.rotate(heading); g.fillStyle = fill; g.fillRect(-length / 2, -width / 2, length, width);
    if (edge) { const nose = length / 2 - Math.min(1.2, length / 3); g.strokeStyle = edge; g.lineWidth = .12; g.strokeRect(-length / 2, -width / 2, length, width);
      g.beginPath(); g.moveTo(nose, width / 2); g.lineTo(length / 2, 0); g.lineTo(nose, -width / 2); g.stroke(); }
    g.restore(); }
  drawLabels(g, c, step) { /* names of those that the verdict blames, and of the one under the pointer */
    g.font = "12px system-ui, sans-serif"; g.textBaseline = "alphabetic";
    for (const a of this.data.agents) { const p = a.poses[step]; if (!p) continue;
      const [x, y] = this.onScreen(p[0], p[1]), reach = Math.max(10, this.scale() * a.size[0] / 2);
      const near = this.pointer && Math.hypot(this.pointer[0] - x, this.pointer[1] - y) < reach;
      if (!a.named && !near) continue;
      const name = a.id.length > MAX_LABEL ? a.id.slice(0, MAX_LABEL - 1) + "…" : a.id;
      const text = near ? name + ", " + a.category.toLowerCase() + ", " + this.speedOf(a, step) : name, wide = g.measureText(text).width;
      g.fillStyle = c.card; g.globalAlpha = .85; g.fillRect(x + 8, y - 20, wide + 10, 18); g.globalAlpha = 1; g.fillStyle = a.named ? c.bad : c.ink; g.fillText(text, x + 13, y - 7); }
  }
  speedOf(a, step) { const k = Math.max(1, step), p = a.poses[k], q = a.poses[k - 1];
    return p && q ? (Math.hypot(p[0] - q[0], p[1] - q[1]) / this.data.dt * 3.6).toFixed(0) + " km/h" : "–"; }
}
