import { test } from "uvu";
import * as assert from "uvu/assert";
import { decode } from "fast-png";
import { makeVolume, phantomCase, type Triple, type Volume } from "../../../engine/imaging/mod.ts";
import { overlaySvg } from "../../../engine/train/plot/overlay.ts";
import { base64, fromBase64 } from "../../../engine/train/run/base64.ts";
import { outline } from "../../../engine/train/plot/overlay_shapes.ts";
import { chartSvg, progressSvg, smooth, thin } from "../../../engine/train/plot/plots.ts";
import type { Point } from "../../../engine/train/plot/plots.ts";
import { checkSvg } from "../../helpers/svg.ts";

const curves = (svg: string) =>
  [...svg.matchAll(/<path d="(M[^"]*)" fill="none" stroke="#[0-9a-f]{6}"[^>]*stroke-width="2"/g)].map((m) =>
    [...m[1].matchAll(/[ML]([-\d.]+),([-\d.]+)/g)].map((p) => [Number(p[1]), Number(p[2])])
  );

test("chartSvg() places points on linear scales", () => {
  const svg = chartSvg([
    {
      title: "T",
      series: {
        a: [
          [0, 0],
          [50, 0.25],
          [100, 1],
        ],
      },
      range: [0, 1],
    },
  ]);
  checkSvg(svg);
  const [[a, b, c]] = curves(svg);
  assert.is(b[0], (a[0] + c[0]) / 2);
  assert.ok(Math.abs((a[1] - b[1]) / (a[1] - c[1]) - 0.25) < 1e-4);
  assert.ok(a[1] > c[1], "high values are above");
});

test("chartSvg() places points on logarithmic scales, and on symlog ones from 0 down", () => {
  const panel = {
    title: "T",
    series: {
      a: [
        [0, 1],
        [1, 10],
        [2, 100],
      ] as Point[],
    },
    log: true,
  };
  const [[a, b, c]] = curves(chartSvg([panel]));
  assert.ok(Math.abs(2 * b[1] - a[1] - c[1]) < 0.05);
  const symlog = chartSvg([
    {
      ...panel,
      series: {
        a: [
          [0, -1],
          [1, 0],
          [2, 1],
        ] as Point[],
      },
    },
  ]);
  checkSvg(symlog);
  const [[p, q, r]] = curves(symlog);
  assert.ok(Math.abs(2 * q[1] - p[1] - r[1]) < 0.05);
  const [[zero, one, hundred]] = curves(
    chartSvg([
      {
        ...panel,
        series: {
          a: [
            [0, 0],
            [1, 1],
            [2, 100],
          ] as Point[],
        },
      },
    ]),
  );
  assert.ok((zero[1] - one[1]) / (zero[1] - hundred[1]) > 0.1, "1 of 100 shows");
});

test("progressSvg() draws loss and Dice with axes, legend and gaps", () => {
  const loss = Array.from({ length: 300 }, (_, i): Point => [i + 1, 2 / (1 + i / 50) - 0.5]);
  const dice = {
    'a <b> & "c"': [
      [10, 0.2],
      [20, NaN],
      [30, 0.8],
    ] as Point[],
    d: [[10, NaN]] as Point[],
  };
  for (const logLoss of [false, true]) {
    const svg = progressSvg({ loss, dice }, { title: "Run 1", logLoss });
    checkSvg(svg);
    for (const word of ["Run 1", "Loss", "Dice", "step", "a &#60;b&#62; &#38; &#34;c&#34; 0.8", ">d -<"]) {
      assert.ok(svg.includes(word), word);
    }
    const gap = [...svg.matchAll(/d="(M[^"]*)"/g)].find((m) => (m[1].match(/M/g) ?? []).length === 2);
    assert.ok(gap, "an undefined value breaks the curve");
  }
  const named = progressSvg({ loss: { training: loss, "held out": [[100, 1]] } });
  checkSvg(named);
  assert.ok(named.includes("held out 1"));
  const plain = chartSvg([{ title: "Dice", series: { spleen: [[1, 0.5], [2, 0.2137]] }, latest: false }]);
  assert.ok(plain.includes(">spleen<") && !plain.includes("0.21"));
  for (const empty of [{ loss: [] }, { loss: [[1, NaN]] as Point[] }]) {
    checkSvg(progressSvg(empty));
    assert.ok(progressSvg(empty).includes("no values yet"));
  }
});

test("thin() keeps the mean, and smooth() a straight line", () => {
  const points = Array.from({ length: 10_000 }, (_, i): Point => [i, (i * 7919) % 101]);
  const mean = (list: readonly Point[]) => list.reduce((sum, p) => sum + p[1], 0) / list.length;
  assert.is(thin(points).length, 1000);
  assert.ok(Math.abs(mean(thin(points)) - mean(points)) < 1e-9);
  const straight = Array.from({ length: 100 }, (_, i): Point => [i, i]);
  smooth(straight)
    .slice(2, 98)
    .forEach((p) => assert.ok(Math.abs(p[1] - p[0]) < 1e-9));
});

test("base64() agrees with the host's", () => {
  for (let n = 0; n < 12; n++) {
    const bytes = Uint8Array.from({ length: n }, (_, i) => (i * 91 + 200) & 255);
    assert.is(base64(bytes), Buffer.from(bytes).toString("base64"));
    assert.equal([...fromBase64(base64(bytes), "text")], [...bytes]);
  }
});

test("outline() goes round every pixel of a label, and round its holes", () => {
  for (let round = 0; round < 200; round++) {
    const [columns, rows] = [1 + (round % 7), 1 + (round % 5)];
    const plane = Array.from({ length: columns * rows }, (_, i) => ((i * 2654435761 + round * 40503) >>> 7) % 3);
    const path = outline(plane, columns, rows, 1, [2, 3]);
    // The shoelace formula: loops round the region count positive, holes negative.
    let area = 0;
    for (const loop of path.split("Z").filter(Boolean)) {
      let [x, y] = [0, 0];
      const points: number[][] = [];
      for (const [, command, value] of loop.matchAll(/([MHV])([-\d. ]+)/g)) {
        if (command === "M") [x, y] = value.split(" ").map(Number);
        else if (command === "H") x = Number(value);
        else y = Number(value);
        points.push([x, y]);
      }
      points.forEach(([px, py], i) => {
        const [qx, qy] = points[(i + 1) % points.length];
        area += (px * qy - qx * py) / 2;
      });
    }
    assert.is(area, 6 * plane.filter((v) => v === 1).length, path);
  }
  assert.is(outline([0, 1, 0, 0], 2, 2, 1), "M1 0H2V1H1Z");
  assert.is(outline([0, 0], 2, 1, 1), "");
});

/** The same anatomy stored in another axis order: axis i of the result is axis order[i] of the volume. */
function reorder(volume: Volume, order: Triple, flip: readonly boolean[]): Volume {
  const shape = order.map((axis) => volume.shape[axis]) as unknown as Triple;
  const data = volume.data.slice();
  const strides = [1, volume.shape[0], volume.shape[0] * volume.shape[1]];
  let at = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++) {
        const index = [i, j, k].reduce(
          (sum, v, axis) => sum + (flip[axis] ? shape[axis] - 1 - v : v) * strides[order[axis]],
          0,
        );
        data[at++] = volume.data[index];
      }
    }
  }
  const affine = volume.affine.map((_, n) => {
    const [row, column] = [Math.floor(n / 4), n % 4];
    if (column < 3) return volume.affine[row * 4 + order[column]] * (flip[column] ? -1 : 1);
    return order.reduce(
      (sum, axis, c) => sum + (flip[c] ? volume.affine[row * 4 + axis] * (shape[c] - 1) : 0),
      volume.affine[n],
    );
  });
  return makeVolume(data, { shape, affine, name: volume.name });
}

test("overlaySvg() shows the same picture whatever the axis order of the file", () => {
  const { image, label } = phantomCase({ seed: 6, shape: [20, 18, 16], spacing: [1, 1.25, 2] });
  const labels = ["background", "organ", "gland", "tumor"];
  const draw = (i: Volume, l: Volume, along: "S" | "A" | "R") =>
    overlaySvg([{ name: "case", image: i, reference: l.data, prediction: l.data }], {
      labels,
      along,
      slices: 3,
      title: "T",
    });
  for (const along of ["S", "A", "R"] as const) {
    const straight = draw(image, label, along);
    checkSvg(straight);
    for (
      const [order, flip] of [
        [
          [2, 0, 1],
          [true, false, false],
        ],
        [
          [0, 2, 1],
          [false, true, true],
        ],
        [
          [1, 0, 2],
          [true, true, true],
        ],
      ] as [Triple, boolean[]][]
    ) {
      assert.is(draw(reorder(image, order, flip), reorder(label, order, flip), along), straight);
    }
  }
});

test("overlaySvg() hangs the patient's right on the left and front on top", () => {
  const shape: Triple = [3, 2, 1];
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]; // RAS: x grows to the right, y to the front
  const image = makeVolume(Uint8Array.from([0, 1, 2, 3, 4, 5]), { shape, affine });
  const svg = overlaySvg(
    [{ name: "n", image, prediction: Uint8Array.from([0, 0, 0, 0, 0, 1]), reference: new Uint8Array(6) }],
    { labels: ["b", "x", "y"] },
  );
  checkSvg(svg);
  const png = decode(Buffer.from(/base64,([^"]+)"/.exec(svg)![1], "base64"));
  assert.equal([png.width, png.height, [...png.data]], [3, 2, [255, 204, 153, 102, 51, 0]]);
  assert.ok(svg.includes("x 0.00, y in neither"));
  assert.match(svg, /<path d="M0 0H[\d.]+V[\d.]+H0Z" fill="#e69f00"/, "the front right voxel is top left");
  assert.throws(
    () => overlaySvg([{ name: "n", image, reference: new Uint8Array(5) }], { labels: ["b", "x"] }),
    /got 5 labels, wanted 6/,
  );
});

test("overlaySvg() shows slices in which there is something; with a context, something of the reference", () => {
  const image = makeVolume(new Uint8Array(20), {
    shape: [1, 1, 20],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  });
  const at = (...slices: number[]) => Uint8Array.from({ length: 20 }, (_, k) => Number(slices.includes(k)));
  const shown = (item: object) =>
    [
      ...overlaySvg([{ name: "n", image, ...item }], { labels: ["b", "x"], contexts: ["c"], slices: 3 }).matchAll(
        />slice (\d+) of 20</g,
      ),
    ]
      .map((m) => Number(m[1]) - 1);
  assert.equal(shown({ reference: at(2, 3), prediction: at(17) }), [2, 3, 17]);
  assert.equal(shown({ reference: at(2, 3), prediction: at(17), context: at(9, 10) }), [2, 3]);
  assert.equal(shown({ reference: at(), prediction: at(5, 6, 7, 8, 19) }), [6, 7, 8]);
  assert.equal(shown({ reference: at() }), [3, 10, 16]);
});

test("overlaySvg() fills contexts in colors after those of the labels, and outlines the prediction with dashes", () => {
  const image = makeVolume(new Uint8Array(6), {
    shape: [3, 2, 1],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  });
  const item = {
    name: "n",
    image,
    reference: [1, 0, 0, 0, 0, 0],
    prediction: [1, 1, 0, 0, 0, 0],
    context: [0, 0, 1, 2, 2, 2],
  };
  const svg = overlaySvg([item], { labels: ["b", "x"], contexts: ["near", "far"] });
  checkSvg(svg);
  const paths = [...svg.matchAll(/<path d="[^"]*" (fill="[^"]*")(?: stroke="([^"]*)")?[^>]*>/g)].map((
    m,
  ) => [m[1], m[2]]);
  assert.equal(paths, [
    ['fill="#56b4e9"', undefined],
    ['fill="#cc79a7"', undefined],
    ['fill="none"', "#e69f00"],
    ['fill="none"', "#e69f00"],
  ]);
  assert.is(svg.match(/stroke-dasharray/g)!.length, 1);
  for (const word of [">near<", ">far<", "dashed: prediction", "n: Dice x 0.67"]) assert.ok(svg.includes(word), word);
  assert.throws(() => overlaySvg([{ ...item, context: [0] }], { labels: ["b", "x"] }), /got 1 labels, wanted 6/);
});

test.run();
