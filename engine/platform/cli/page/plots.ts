import uPlot from "uplot";

interface Plot {
  readonly x: number[];
  readonly y: number[];
  readonly chart: uPlot;
  readonly card: HTMLElement;
  stale: boolean;
}

const area = document.getElementById("plots")!;
const plots = new Map<string, Plot>();
const height = 220;

/** Adds a point to the curve of that name, one chart each. */
export function addPoint(name: string, x: number, y: number): void {
  const plot = plots.get(name) ?? create(name);
  // A run that starts a new count (training, then prediction) begins its curve anew.
  if (plot.x.length > 0 && x < plot.x.at(-1)!) plot.x.length = plot.y.length = 0;
  plot.x.push(x);
  plot.y.push(y);
  if (plot.stale) return;
  plot.stale = true;
  requestAnimationFrame(() => {
    plot.stale = false;
    plot.chart.setData([plot.x, plot.y]);
  });
}

export function clearPlots(): void {
  for (const { chart, card } of plots.values()) {
    chart.destroy();
    card.remove();
  }
  plots.clear();
}

function create(name: string): Plot {
  const card = document.createElement("section");
  card.className = "card";
  const title = document.createElement("h2");
  title.textContent = name;
  card.append(title);
  area.append(card);
  const style = getComputedStyle(document.documentElement);
  const axis: uPlot.Axis = {
    stroke: style.getPropertyValue("--soft"),
    grid: { stroke: style.getPropertyValue("--line"), width: 1 },
    ticks: { stroke: style.getPropertyValue("--line"), width: 1 },
  };
  const chart = new uPlot(
    {
      width: width(card),
      height,
      scales: { x: { time: false } },
      axes: [axis, { ...axis, size: 60 }],
      series: [
        { label: "step" },
        { label: name, stroke: style.getPropertyValue("--accent"), width: 2, points: { show: false } },
      ],
    },
    [[], []],
    card,
  );
  const plot: Plot = { x: [], y: [], chart, card, stale: false };
  plots.set(name, plot);
  for (const each of plots.values()) each.chart.setSize({ width: width(each.card), height });
  return plot;
}

function width(card: HTMLElement): number {
  return Math.max(200, card.clientWidth - 32);
}

addEventListener("resize", () => {
  for (const { chart, card } of plots.values()) chart.setSize({ width: width(card), height });
});
