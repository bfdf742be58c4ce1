/**
 * shaders/sampling/resize_axis.wgsl.ts against float64 loops, against PyTorch's numbers, and its adjoint against the
 * forward kernel: <u, A v> = <A'u, v>, and entry by entry.
 */
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { lowerResizeAxis } from "../../shaders/sampling/resize_axis.wgsl.ts";
import type { ResizeAxisParams } from "../../shaders/sampling/resize_axis.wgsl.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import type { Runner } from "../helpers/conv_kernel_runner.ts";
import { noise } from "../helpers/noise.ts";

type Mode = ResizeAxisParams["mode"];
let runner: Runner;

test.before(async () => {
  runner = await openRunner();
});
test.after(() => closeRunner(runner));

const variants: readonly (readonly [Mode, boolean])[] = [
  ["nearest", false],
  ["linear", false],
  ["linear", true],
  ["cubic", false],
  ["cubic", true],
];
const sizes: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 7],
  [5, 1],
  [2, 3],
  [3, 2],
  [4, 8],
  [8, 4],
  [7, 13],
  [29, 3],
  [16, 17],
  [31, 96],
];

/** [outer, inner]; sizes that 4 divides take kernels with four results at a time. */
const layouts = [[1, 1], [3, 5], [5, 1], [2, 4]] as const;

/** The n by m matrix of the interpolation, row by output, as the documentation of PyTorch defines it. */
function matrix(n: number, m: number, mode: Mode, alignCorners: boolean): Float64Array[] {
  return Array.from({ length: m }, (_, i) => {
    const row = new Float64Array(n);
    const add = (index: number, weight: number): void => {
      row[Math.min(n - 1, Math.max(0, index))] += weight;
    };
    if (mode === "nearest") {
      add(Math.floor((i * n) / m), 1);
      return row;
    }
    let s = alignCorners ? (m > 1 ? (i * (n - 1)) / (m - 1) : 0) : ((2 * i + 1) * n) / (2 * m) - 0.5;
    if (mode === "linear") s = Math.max(0, s);
    const base = Math.floor(s);
    if (mode === "linear") {
      add(base, 1 - (s - base));
      add(base + 1, s - base);
      return row;
    }
    const a = -0.75;
    for (let k = -1; k <= 2; k++) {
      const d = Math.abs(s - (base + k));
      add(base + k, d <= 1 ? (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1 : a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a);
    }
    return row;
  });
}

function parameters(p: Partial<ResizeAxisParams>): ResizeAxisParams {
  return {
    outer: 1,
    inner: 1,
    inputSize: 1,
    outputSize: 1,
    mode: "linear",
    alignCorners: false,
    transposed: false,
    ...p,
  };
}

async function run(p: ResizeAxisParams, x: Float32Array, target = runner.target): Promise<Float32Array> {
  const length = p.outer * p.inner * (p.transposed ? p.inputSize : p.outputSize);
  return (await runLowered(runner, lowerResizeAxis(p, target), [x], length)).output;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.is(a.length, b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    assert.not(Number.isNaN(a[i]), `NaN at ${i}`);
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
  }
  return worst;
}

for (const [mode, alignCorners] of variants) {
  const label = `${mode}${alignCorners ? ", aligned corners" : ""}`;

  test(`lowerResizeAxis() and its adjoint agree with float64 loops: ${label}`, async () => {
    for (const [index, [n, m]] of sizes.entries()) {
      const rows = matrix(n, m, mode, alignCorners);
      const [outer, inner] = layouts[index % 4];
      const p = parameters({ outer, inner, inputSize: n, outputSize: m, mode, alignCorners });
      const x = noise(outer * n * inner, n);
      const u = noise(outer * m * inner, m + 100);
      const forward = new Float64Array(outer * m * inner);
      const adjoint = new Float64Array(outer * n * inner);
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            for (let b = 0; b < inner; b++) {
              forward[(o * m + i) * inner + b] += rows[i][j] * x[(o * n + j) * inner + b];
              adjoint[(o * n + j) * inner + b] += rows[i][j] * u[(o * m + i) * inner + b];
            }
          }
        }
      }
      // The kernels of both kinds of adapter run on any.
      const target = { ...runner.target, software: index % 3 > 0 };
      const at = `${n} -> ${m}, outer ${outer}, inner ${inner}`;
      const there = largestDifference(await run(p, x, target), forward);
      assert.ok(there < 1e-6, `${at}: forward differs by ${there}`);
      const back = largestDifference(await run({ ...p, transposed: true }, u, target), adjoint);
      assert.ok(back < 1e-6 * Math.max(4, m / n), `${at}: adjoint differs by ${back}`);
    }
  });

  test(`lowerResizeAxis() satisfies <u, A v> = <A'u, v>: ${label}`, async () => {
    for (const [n, m] of [[37, 91], [91, 37], [64, 128]] as const) {
      const p = parameters({ outer: 3, inner: 7, inputSize: n, outputSize: m, mode, alignCorners });
      const [v, u] = [noise(21 * n, 1), noise(21 * m, 2)];
      const dot = (a: Float32Array, b: Float32Array): number => a.reduce((s, x, i) => s + x * b[i], 0);
      const [left, right] = [dot(u, await run(p, v)), dot(await run({ ...p, transposed: true }, u), v)];
      assert.ok(Math.abs(left - right) < 1e-5 * Math.sqrt(21 * n * m), `${n} -> ${m}: ${left} and ${right}`);
    }
  });
}

test("lowerResizeAxis() takes a NaN to exactly the outputs that read it, in both directions", async () => {
  for (const transposed of [false, true]) {
    const p = parameters({ inputSize: 9, outputSize: 21, transposed });
    const rows = matrix(9, 21, "linear", false);
    const x = noise(transposed ? 21 : 9, 3);
    x[4] = NaN;
    (await run(p, x)).forEach((value, i) => {
      const weight = transposed ? rows[4][i] : rows[i][4];
      if (weight !== 0) assert.ok(Number.isNaN(value), `output ${i}`);
    });
    const touched = (await run(p, x)).filter(Number.isNaN).length;
    assert.ok(touched <= 6, `${touched} outputs are NaN`);
  }
});

test("lowerResizeAxis() folds grids beyond the limit", async () => {
  const target = { ...runner.target, maxWorkgroupsPerDimension: 7 };
  for (const transposed of [false, true]) {
    const p = parameters({ outer: 41, inner: 3, inputSize: 20, outputSize: 41, transposed });
    const x = noise(41 * 3 * (transposed ? 41 : 20), 4);
    const { workgroups } = lowerResizeAxis(p, target).dispatches[0].kernel;
    assert.ok(workgroups[0] <= 7 && workgroups[1] > 1 && workgroups[1] <= 7, `${workgroups}`);
    assert.equal(await run(p, x, target), await run(p, x));
  }
  assert.throws(() => lowerResizeAxis(parameters({ outer: 1e6, outputSize: 9 }), target), /more than one grid/);
});

test("lowerResizeAxis() throws on sizes beyond 32-bit coordinates, and is right near them", async () => {
  assert.throws(() => lowerResizeAxis(parameters({ inputSize: 65536, outputSize: 65536 }), runner.target), /2\^31/);
  assert.throws(() => lowerResizeAxis(parameters({ inputSize: 0 }), runner.target), /at least 1/);
  const [n, m] = [40000, 50001];
  const x = noise(n, 5);
  for (const mode of ["nearest", "linear", "cubic"] as const) {
    const got = await run(parameters({ inputSize: n, outputSize: m, mode }), x);
    for (const i of [0, 1, 777, 25000, 49999, 50000]) {
      const s = mode === "nearest" ? Math.floor((i * n) / m) : Math.max(-1, ((2 * i + 1) * n) / (2 * m) - 0.5);
      const base = Math.floor(s);
      let want = 0;
      for (let k = base - 1; k <= base + 2; k++) {
        const d = Math.abs((mode === "linear" ? Math.max(0, s) : s) - k);
        const weight = mode === "nearest"
          ? (d === 0 ? 1 : 0)
          : mode === "linear"
          ? Math.max(0, 1 - d)
          : d <= 1
          ? 1.25 * d ** 3 - 2.25 * d ** 2 + 1
          : d <= 2
          ? -0.75 * d ** 3 + 3.75 * d ** 2 - 6 * d + 3
          : 0;
        want += weight * x[Math.min(n - 1, Math.max(0, k))];
      }
      assert.ok(Math.abs(got[i] - want) < 2e-6, `${mode} at ${i}: ${got[i]}, not ${want}`);
    }
  }
});

interface Golden {
  readonly name: string;
  readonly options: { readonly size: number[]; readonly mode: Mode; readonly alignCorners?: boolean };
  readonly inputs: string[];
  readonly output: string;
  readonly cotangent: string;
  readonly grads: string[];
}

/** The tensors of a safetensors file by name. */
function readTensors(bytes: Uint8Array): Map<string, { shape: number[]; data: Float32Array }> {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, entry]) => {
      const [from, to] = entry.data_offsets;
      const values = bytes.slice(8 + length + from, 8 + length + to);
      return [name, { shape: entry.shape, data: new Float32Array(values.buffer) }];
    }),
  );
}

test("lowerResizeAxis() and its gradients agree with PyTorch", async () => {
  const folder = new URL("../golden/", import.meta.url);
  const cases = (JSON.parse(await readFile(new URL("resize.json", folder), "utf8")) as { cases: Golden[] }).cases;
  const tensors = readTensors(new Uint8Array(await readFile(new URL("resize.safetensors", folder))));
  assert.is(cases.length, 5);
  for (const { name, options, inputs, output, cotangent, grads } of cases) {
    const { shape, data } = tensors.get(inputs[0])!;
    const axis = (k: number, transposed: boolean, other: number[]): ResizeAxisParams => ({
      outer: other.slice(0, k).reduce((a, b) => a * b, 1),
      inner: other.slice(k + 1).reduce((a, b) => a * b, 1),
      inputSize: shape[k],
      outputSize: options.size[k - 2],
      mode: options.mode,
      alignCorners: options.alignCorners ?? false,
      transposed,
    });
    let y: Float32Array = data;
    const now = [...shape];
    for (let k = 2; k < shape.length; k++) {
      y = await run(axis(k, false, now), y);
      now[k] = options.size[k - 2];
    }
    const scale = (values: Float32Array): number => values.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
    const want = tensors.get(output)!.data;
    const there = largestDifference(y, want) / scale(want);
    let g: Float32Array = tensors.get(cotangent)!.data;
    for (let k = shape.length - 1; k >= 2; k--) {
      g = await run(axis(k, true, now), g);
      now[k] = shape[k];
    }
    const gradient = tensors.get(grads[0])!.data;
    const back = largestDifference(g, gradient) / scale(gradient);
    console.log(`  ${name}: ${there.toExponential(1)} forward, ${back.toExponential(1)} gradient`);
    assert.ok(there < 1e-6 && back < 1e-6, `${name}: ${there} forward, ${back} gradient`);
  }
});

test.run();
