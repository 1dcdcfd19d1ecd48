// Draws <div data-chart="ID"> from <script type="application/json" id="ID">:
// {"x": [epoch seconds], "series": [{"label", "color": red|blue|amber|green|violet|slate, "values": [], "is_filled"}],
//  "zone": IANA zone, "unit": word after a figure, "has_days": whether a time needs its day}
const charts = new Map();

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function clock(zone, hasDays) {
  const hour = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-CA", { timeZone: zone, month: "2-digit", day: "2-digit" });
  return (seconds) => {
    const at = new Date(seconds * 1000);
    return hasDays ? `${day.format(at)} ${hour.format(at)}` : hour.format(at);
  };
}

function faded(color) {
  return (plot) => {
    const gradient = plot.ctx.createLinearGradient(0, plot.bbox.top, 0, plot.bbox.top + plot.bbox.height);
    gradient.addColorStop(0, `${color}2e`);
    gradient.addColorStop(1, `${color}00`);
    return gradient;
  };
}

function tip(figures, time) {
  const box = document.createElement("div");
  box.className = "u-tip";
  const show = (plot) => {
    const at = plot.cursor.idx;
    if (at == null || plot.cursor.left < 0) {
      box.style.display = "none";
      return;
    }
    const head = document.createElement("b");
    head.textContent = time(plot.data[0][at]);
    const lines = figures.series.map((one, index) => {
      const line = document.createElement("div");
      line.textContent = `${one.label}  ${plot.data[index + 1][at] ?? "–"} ${figures.unit || ""}`;
      return line;
    });
    box.replaceChildren(head, ...lines);
    box.style.display = "block";
    const left = plot.cursor.left + 14;
    box.style.left = `${left + 130 > plot.over.clientWidth ? plot.cursor.left - 140 : left}px`;
    box.style.top = "6px";
  };
  return { ready: [(plot) => plot.over.append(box)], setCursor: [show] };
}

function optionsOf(place, figures) {
  const time = clock(figures.zone || "UTC", figures.has_days);
  const axis = { stroke: token("--pc-text-3"), font: `11px ${token("--bs-font-sans-serif")}`, ticks: { show: false } };
  const spline = window.uPlot.paths.spline();
  return {
    ...sizeOf(place),
    padding: [8, figures.has_days ? 38 : 18, 0, 0],
    cursor: { y: false, points: { size: 7 } },
    legend: { show: false },
    scales: { x: { time: true }, y: { range: (_plot, _low, high) => [0, Math.max(5, Math.ceil((high * 1.06) / 5) * 5)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, gap: 6, space: figures.has_days ? 100 : 70, values: (_plot, ticks) => ticks.map(time) },
      { ...axis, grid: { stroke: token("--pc-line-2"), width: 1 }, size: 38, gap: 8, space: 38 },
    ],
    series: [
      {},
      ...figures.series.map((one) => {
        const color = token(`--pc-chart-${one.color}`);
        return { label: one.label, stroke: color, width: 2, paths: spline, points: { show: false }, fill: one.is_filled ? faded(color) : undefined };
      }),
    ],
    hooks: tip(figures, time),
  };
}

function sizeOf(place) {
  return { width: place.clientWidth - 14, height: place.clientHeight - 12 };
}

// A chart is as large as its place, whenever the cards beside it let the place grow or shrink.
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const known = charts.get(target);
    if (!known || !target.clientWidth) continue;
    const size = sizeOf(target);
    if (size.width !== known.plot.width || size.height !== known.plot.height) known.plot.setSize(size);
  }
});

function forget(place) {
  watcher.unobserve(place);
  charts.get(place).plot.destroy();
  charts.delete(place);
}

function draw(place, isForced) {
  const source = document.getElementById(place.dataset.chart);
  if (!source || !window.uPlot) return;
  const known = charts.get(place);
  const text = source.textContent;
  if (known && known.text === text && !isForced && place.contains(known.plot.root)) return;
  const figures = JSON.parse(text);
  const values = [figures.x, ...figures.series.map((one) => one.values)];
  if (known && !isForced && place.contains(known.plot.root)) {
    known.plot.setData(values);
    charts.set(place, { plot: known.plot, text });
    return;
  }
  if (known) forget(place);
  place.replaceChildren();
  charts.set(place, { plot: new window.uPlot(optionsOf(place, figures), values, place), text });
  watcher.observe(place);
}

function drawAll(isForced) {
  for (const place of [...charts.keys()]) {
    if (!place.isConnected) forget(place);
  }
  for (const place of document.querySelectorAll("[data-chart]")) draw(place, isForced);
}

document.addEventListener("themechange", () => drawAll(true));
document.addEventListener("htmx:afterSwap", () => drawAll(false));
drawAll(false);
