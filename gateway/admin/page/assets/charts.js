// Draws what the server has put into `data-chart`: [[times], [values], ...] with the columns' names in `data-names`.
// With `data-bars` times are minutes, those that lack are 0, and values stand on each other, the first on top.
/* global uPlot */
const HEIGHT = 190;
const BARS = 15;
const BAR_S = 60;
const drawn = new Map();

export function drawCharts(root) {
  for (const place of root.querySelectorAll("[data-chart]")) draw(place);
  for (const [place, known] of drawn) if (!place.isConnected) { known.plot.destroy(); drawn.delete(place); }
}

function draw(place) {
  const text = place.dataset.chart;
  let known = drawn.get(place);
  if (known?.text === text) return;
  const data = "bars" in place.dataset ? piled(JSON.parse(text)) : JSON.parse(text);
  if (!known) {
    known = { plot: build(place, data) };
    drawn.set(place, known);
  } else known.plot.setData(data);
  known.text = text;
}

function piled([times, ...columns]) {
  const ends = times.at(-1);
  const minutes = Array.from({ length: BARS }, (_, at) => ends - (BARS - 1 - at) * BAR_S);
  const value = (column, minute) => column[times.indexOf(minute)] ?? 0;
  const pile = (from) => minutes.map((minute) => columns.slice(from).reduce((sum, column) => sum + value(column, minute), 0));
  return [minutes, ...columns.map((_, from) => pile(from))];
}

function build(place, data) {
  const names = place.dataset.names.split(" ");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { stroke: () => colour("--faint"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const paths = "bars" in place.dataset ? uPlot.paths.bars({ size: [0.8, 40] }) : undefined;
  place.classList.add("drawn");
  const plot = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
    scales: { x: { range: (_, low, high) => "bars" in place.dataset ? [low - BAR_S / 2, high + BAR_S / 2] : [low, high] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
    axes: [{ ...axis, size: 28, space: 60, incrs: [60, 120, 300, 600, 3600], values: (_, times) => times.map((at) => new Date(at * 1e3).toISOString().slice(11, 16)) }, { ...axis, size: 55 }],
    series: [{}, ...names.map((label, at) => series(label, at, colour, paths))],
  }, data, place);
  place.append(legend(names, place.dataset.unit, "bars" in place.dataset));
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  document.addEventListener("theme", () => plot.redraw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  return plot;
}

const DASHES = [[], [6, 3], [2, 3]]; // told apart without colours too

function series(label, at, colour, paths) {
  const stroke = () => colour(`--series-${at + 1}`);
  return { label, stroke, fill: paths ? stroke : undefined, width: paths ? 0 : 2, dash: paths ? undefined : DASHES[at], paths, points: paths ? { show: false } : { size: 4 } };
}

// As they are drawn: boxes for bars, else lines with their dashes.
function legend(names, unit, bars) {
  const list = document.createElement("ul");
  list.className = "legend";
  const svg = "http://www.w3.org/2000/svg";
  names.forEach((name, at) => {
    const item = document.createElement("li");
    const swatch = document.createElementNS(svg, "svg");
    const path = document.createElementNS(svg, "path");
    swatch.setAttribute("viewBox", "0 0 22 8");
    swatch.setAttribute("aria-hidden", "true");
    path.setAttribute("d", "M0 4H22");
    path.setAttribute("class", ["one", "two", "three"][at]);
    path.setAttribute("stroke-width", bars ? 8 : 2);
    path.setAttribute("stroke-dasharray", bars ? "none" : DASHES[at].join(" ") || "none");
    swatch.append(path);
    item.append(swatch, `${name} (${unit})`);
    list.append(item);
  });
  return list;
}
