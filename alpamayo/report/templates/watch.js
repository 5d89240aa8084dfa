"use strict";
/* One episode, or two side by side on one clock. Camera images come from the server; while the time moves on, late ones are left out. */
async function open(root) {
  const answer = await fetch("/data/" + root.dataset.id);
  if (!answer.ok) { root.querySelector(".headline").textContent = await answer.text(); return null; }
  const data = await answer.json(), image = root.querySelector("img.cameras");
  let wanted = 0, shown = -1, loading = false;
  const load = () => { if (loading || wanted === shown) return; loading = true; const step = wanted, next = new Image();
    const done = () => { loading = false; shown = step; if (next.naturalWidth) image.src = next.src; load(); };
    next.onload = next.onerror = done; next.src = "/cameras/" + root.dataset.id + "/" + step; };
  root.querySelector(".headline").textContent = data.headline.text;
  return { data, root, world: new World(root.querySelector("canvas.world"), data), camera: step => { wanted = step; load(); } };
}
Promise.all([...document.querySelectorAll(".pane")].map(open)).then(found => {
  const panes = found.filter(Boolean);
  if (!panes.length) return;
  const player = new Player(panes, panes[0].data.dt), jump = step => { player.play(false); player.go(step); };
  for (const pane of panes) {
    const timeline = new Timeline(pane.root.querySelector("canvas.timeline"), pane.data, jump);
    player.listeners.push(step => timeline.draw(Math.min(step, pane.data.time.length - 1)));
    showRules(pane.root.querySelector("table.rules"), pane.data.rules.filter(r => r.state === "violated"), pane.data.dt, jump);
  }
  document.addEventListener("keydown", event => { if (event.key === "Escape") location.href = document.getElementById("back").href; });
  window.player = player;
  player.fromHash();
});
