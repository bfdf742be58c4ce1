/** Scatter plots as SVG text: groups of points by color on equal axes, several panels side by side. */
import { scaleLinear } from "d3-scale";
import { VoxgradError } from "../../core/errors.ts";
import { drawNothing, drawTicks, type Frame, type GridPanel, legendOf, panelGridSvg } from "./panel_grid.ts";
import { COLORS, extent, type Point, round } from "./plots.ts";

export interface ScatterGroup {
  readonly name: string;
  readonly points: readonly Point[];
  /** Default: the next of COLORS; a name has the same color in all panels. */
  readonly color?: string;
}

export interface ScatterPanel extends GridPanel {
  /** Drawn in this order, the last on top. */
  readonly groups: readonly ScatterGroup[];
}

export interface ScatterOptions {
  readonly title?: string;
  readonly xLabel?: string;
  readonly yLabel?: string;
  /** Draws the line x = y and gives it this name in the legend. */
  readonly diagonal?: string;
}

/**
 * Points of groups as small translucent dots. All panels and both axes share the range of all points, so that panels
 * are comparable and the line x = y is at 45 degrees.
 *
 * @returns an SVG document
 * @throws VoxgradError for a point that is not two finite numbers
 * @example
 * ```ts
 * import { scatterSvg } from "voxgrad/train";
 *
 * const groups = [{ name: "lesion", points: [[2.1, -0.3], [1.4, 0.2]] as [number, number][] }];
 * const svg = scatterSvg([{ title: "held out", groups }], { diagonal: "boundary" });
 * ```
 */
export function scatterSvg(panels: readonly ScatterPanel[], options: ScatterOptions = {}): string {
  const { title, xLabel, yLabel, diagonal } = options;
  for (const panel of panels) checkPoints(panel);
  const groups = panels.flatMap((panel) => panel.groups);
  const range = extent(groups.flatMap((group) => group.points).flat(), [0, 1]);
  const domain = scaleLinear().domain(range).nice(6).domain();
  const legend = legendOf(groups, COLORS);
  const colorOf = new Map(legend.map(({ name, color }) => [name, color]));
  const draw = (panel: ScatterPanel, frame: Frame): string => {
    const x = scaleLinear().domain(domain).range([frame.left, frame.right]);
    const y = scaleLinear().domain(domain).range([frame.bottom, frame.top]);
    const dots = panel.groups.map(({ name, points }) => {
      const circles = points.map((p) => `<circle cx="${round(x(p[0]))}" cy="${round(y(p[1]))}" r="1.7"/>`);
      return `<g fill="${colorOf.get(name)}" fill-opacity="0.4">${circles.join("")}</g>`;
    });
    const line = `M${frame.left},${round(frame.bottom)}L${frame.right},${round(frame.top)}`;
    return [
      drawTicks(frame, { x, y }, { x: 6, y: 6 }),
      ...dots,
      diagonal ? `<path d="${line}" fill="none" stroke="#1a1a1a" stroke-width="1.2" stroke-dasharray="5 4"/>` : "",
      panel.groups.every(({ points }) => points.length === 0) ? drawNothing(frame) : "",
    ].join("\n");
  };
  const lines = diagonal ? [{ name: diagonal, color: "#1a1a1a", line: true }] : [];
  return panelGridSvg(panels, { title, xLabel, yLabel, legend: [...legend, ...lines], aspect: 1, draw });
}

function checkPoints(panel: ScatterPanel): void {
  for (const { name, points } of panel.groups) {
    const wrong = points.findIndex((point) => !Number.isFinite(point[0]) || !Number.isFinite(point[1]));
    if (wrong < 0) continue;
    throw new VoxgradError(
      `scatterSvg: ${panel.title}: point ${wrong} of "${name}" is (${
        points[wrong].join(", ")
      }), wanted finite numbers; ` +
        "leave out what is not defined",
    );
  }
}
