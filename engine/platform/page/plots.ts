import uPlot from "uplot";

/** One chart: series whose names start with the same word ("dice", "dice organ") share it. */
interface Plot {
  readonly names: string[];
  /** Steps first, then the values of each series. */
  readonly data: [number[], ...(number | null)[][]];
  readonly chart: uPlot;
  readonly card: HTMLElement;
  stale: boolean;
}

const area = document.getElementById("plots")!;
const plots = new Map<string, Plot>();
const height = 220;
const colors = ["--accent", "#e0861a", "#2a9d6f", "#c2478f", "#7a5bd0", "#b08900", "#3aa6c9", "#d1495b"];

/** Adds a point to the curve of that name. */
export function addPoint(name: string, x: number, y: number): void {
  const group = name.split(" ")[0];
  const plot = plots.get(group) ?? create(group);
  if (!plot.names.includes(name)) addSeries(plot, name);
  const [steps, ...curves] = plot.data;
  // A run that restarts the count (training, then prediction) restarts its curves.
  if (steps.length > 0 && x < steps.at(-1)!) { for (const column of plot.data) column.length = 0; }
  if (steps.at(-1) !== x) {
    steps.push(x);
    for (const curve of curves) curve.push(null);
  }
  curves[plot.names.indexOf(name)][steps.length - 1] = y;
  if (plot.stale) return;
  plot.stale = true;
  requestAnimationFrame(() => {
    plot.stale = false;
    plot.chart.setData(plot.data);
  });
}

export function clearPlots(): void {
  for (const { chart, card } of plots.values()) {
    chart.destroy();
    card.remove();
  }
  plots.clear();
}

function create(group: string): Plot {
  const card = document.createElement("section");
  card.className = "card";
  const title = document.createElement("h2");
  title.textContent = group;
  card.append(title);
  area.append(card);
  const axis: uPlot.Axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
  };
  const options: uPlot.Options = {
    width: width(card),
    height,
    scales: { x: { time: false } },
    axes: [axis, { ...axis, size: 60 }],
    series: [{ label: "step" }],
  };
  const plot: Plot = { names: [], data: [[]], chart: new uPlot(options, [[]], card), card, stale: false };
  plots.set(group, plot);
  fit();
  return plot;
}

function addSeries(plot: Plot, name: string): void {
  const stroke = color(colors[plot.names.length % colors.length]);
  plot.chart.addSeries({ label: name, stroke, width: 2, points: { show: false }, spanGaps: true });
  plot.names.push(name);
  plot.data.push(plot.data[0].map(() => null));
}

/** A color, or the value of a custom property of the page's style. */
function color(name: string): string {
  return name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name) : name;
}

function width(card: HTMLElement): number {
  return Math.max(200, card.clientWidth - 32);
}

function fit(): void {
  for (const { chart, card } of plots.values()) chart.setSize({ width: width(card), height });
}

addEventListener("resize", fit);
