// Draws the traffic charts from the data that the page carries, and says when a refresh fails.
"use strict";

const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function line(name, label) {
  return { label, stroke: colour(name), width: 2, spanGaps: false, points: { size: 5 } };
}

// At most two decimals, and none that say nothing.
function plain(value, unit) {
  return (Math.round(value * 100) / 100).toLocaleString("en") + unit;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

function options(box) {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const unit = box.dataset.unit || "";
  return {
    width: box.clientWidth,
    height: 190,
    legend: { show: false },
    cursor: { y: false },
    scales: { y: { range: (u, low, high) => [0, box.dataset.top ? Number(box.dataset.top) : Math.max(high || 0, 0.5) * 1.15] } },
    axes: [{ ...axis, values: (u, ticks) => ticks.map(clock) }, { ...axis, size: 56, values: (u, ticks) => ticks.map((tick) => plain(tick, unit)) }],
    series: [{}, line("--stable", "stable"), line("--canary", "canary")],
  };
}

function scaled(values, box) {
  const factor = Number(box.dataset.factor || 1);
  return values.map((value) => (value === null ? null : value * factor));
}

function draw() {
  const source = document.getElementById("series");
  if (!source) return;
  const series = JSON.parse(source.dataset.series);
  for (const box of document.querySelectorAll(".chart")) {
    const key = box.dataset.key;
    const data = [series.times, scaled(series["stable_" + key], box), scaled(series["canary_" + key], box)];
    const known = charts.get(key);
    if (known && known.root.isConnected) known.setData(data);
    else charts.set(key, new uPlot(options(box), data, box));
  }
}

function redraw() {
  for (const chart of charts.values()) chart.destroy();
  charts.clear();
  draw();
}

document.addEventListener("DOMContentLoaded", draw);
document.addEventListener("htmx:after:swap", draw);
// A hidden page asks for nothing.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden) event.preventDefault();
});
// An error page must not take the place of the figures: they stay, marked as old.
document.addEventListener("htmx:before:swap", (event) => {
  const failed = event.detail.ctx.response.status >= 400;
  document.body.classList.toggle("is-stale", failed);
  if (failed) event.preventDefault();
});
document.addEventListener("htmx:error", () => document.body.classList.add("is-stale"));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let waiting = 0;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 150);
});
