/** Curves of a training: a chart for each kind of value. */
import "./language.ts";
import uPlot from "uplot";
import { make } from "../elements.ts";

/** Series whose names begin with the same word share a chart. */
interface Plot {
  readonly names: string[];
  /** Steps first, then the values of each series. */
  readonly data: [number[], ...(number | null)[][]];
  readonly chart: uPlot;
  readonly card: HTMLElement;
}

const HEIGHT = 190;
/** Of the first curve, the mean; classes have the colors of their labels. */
const STROKE = "--accent";

export class Curves {
  readonly element = make("div", { className: "curves" });
  readonly #plots = new Map<string, Plot>();
  readonly #color: (name: string) => string | undefined;
  #stale = false;

  /** @param color of a series by its name; others have that of links */
  constructor(color: (name: string) => string | undefined = () => undefined) {
    this.#color = color;
    new ResizeObserver(() => this.#fit()).observe(this.element);
    // Charts are drawn in the colors of the page as it was; another scheme draws them anew.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  /** Adds the values of a step. */
  add(step: number, series: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(series)) {
      const group = name.split(" ")[0];
      const plot = this.#plots.get(group) ?? this.#create(group);
      if (!plot.names.includes(name)) this.#addSeries(plot, name);
      const [steps, ...curves] = plot.data;
      if (steps.at(-1) !== step) {
        steps.push(step);
        for (const curve of curves) curve.push(null);
      }
      curves[plot.names.indexOf(name)][steps.length - 1] = value;
    }
    if (this.#stale) return;
    this.#stale = true;
    requestAnimationFrame(() => {
      this.#stale = false;
      for (const { chart, data } of this.#plots.values()) chart.setData(data);
    });
  }

  clear(): void {
    for (const { chart, card } of this.#plots.values()) {
      chart.destroy();
      card.remove();
    }
    this.#plots.clear();
  }

  #create(group: string): Plot {
    const card = make("figure", {}, make("figcaption", {}, group[0].toUpperCase() + group.slice(1)));
    this.element.append(card);
    const axis: uPlot.Axis = {
      stroke: colorOf("--soft"),
      grid: { stroke: colorOf("--line"), width: 1 },
      ticks: { stroke: colorOf("--line"), width: 1 },
    };
    const chart = new uPlot(
      {
        width: this.#width(),
        height: HEIGHT,
        scales: { x: { time: false } },
        axes: [axis, { ...axis, size: 46 }],
        series: [{ label: "step" }],
        cursor: { drag: { x: false, y: false } },
        legend: { live: false },
      },
      [[]],
      card,
    );
    const plot: Plot = { names: [], data: [[]], chart, card };
    this.#plots.set(group, plot);
    return plot;
  }

  #addSeries(plot: Plot, name: string): void {
    const [group, ...rest] = name.split(" ");
    const label = rest.length > 0 ? rest.join(" ") : group === "loss" ? "loss" : "mean";
    const stroke = this.#color(rest.join(" ")) ?? colorOf(STROKE);
    plot.chart.addSeries({ label, stroke, width: 2, points: { show: false }, spanGaps: true });
    plot.names.push(name);
    plot.data.push(plot.data[0].map(() => null));
  }

  #width = (): number => Math.max(200, this.element.clientWidth);

  #fit(): void {
    for (const { chart } of this.#plots.values()) chart.setSize({ width: this.#width(), height: HEIGHT });
  }

  #redraw(): void {
    const kept = [...this.#plots.values()].map(({ names, data }) => ({ names, data }));
    this.clear();
    for (const { names, data: [steps, ...curves] } of kept) {
      steps.forEach((step, k) => {
        const values = names.map((name, n) => [name, curves[n][k]] as const);
        this.add(step, Object.fromEntries(values.filter((each): each is [string, number] => each[1] !== null)));
      });
    }
  }
}

/** The value of a custom property of the page's style. */
const colorOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
