// deno-lint-ignore-file no-explicit-any
/** ALPNet's prototypes and few-shot head: published numbers, float64 loops, derivatives, what cannot be. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, compile, grad, type Tensor, tensor, valueAndGrad, vjp, zeros } from "../../../engine/mod.ts";
import { alpnet } from "../../../models/mod.ts";
import * as reference from "../../helpers/reference/alpnet.ts";
import { assertClose } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

interface Case {
  name: string;
  mode: "mask" | "gridconv" | "gridconv+";
  window: [number, number];
  support: string;
  mask: string;
  query: string;
  output: string;
  cotangent: string;
  gradQuery: string;
  gradSupport: string;
}
const { cases } = goldenJson("models_alp") as { cases: Case[] };
const golden = goldenTensors("models_alp");

// Cosines times 20 with a softmax of up to e^20 between them: f32 keeps 1e-6 of 20, gradients add a few sums.
const TOLERANCE = 1e-5;

for (const c of cases) {
  test(`alpnet.prototypeSimilarity() and its gradients agree with the published model: ${c.name}`, async () => {
    const mask = toTensor(golden(c.mask));
    const run = compile((query: Tensor, support: Tensor, cotangent: Tensor) => {
      const f = (q: Tensor, s: Tensor): Tensor =>
        alpnet.prototypeSimilarity(q, s, mask, { mode: c.mode, window: c.window, threshold: 0.95, temperature: 20 });
      const [out, pullback] = vjp(f, [query, support]);
      return [out, ...pullback(cotangent)] as Tensor[];
    }) as any;
    const [out, gq, gs] = await run(
      toTensor(golden(c.query)),
      toTensor(golden(c.support)),
      toTensor(golden(c.cotangent)),
    );
    await assertClose(out, golden(c.output), TOLERANCE, "output");
    await assertClose(gq, golden(c.gradQuery), TOLERANCE, "gradient of the query");
    await assertClose(gs, golden(c.gradSupport), TOLERANCE, "gradient of the support");
    run.dispose();
  });
}

const maps = (n: number, c: number, h: number, w: number, seed: number): reference.Maps => ({
  n,
  c,
  h,
  w,
  // As f32, so that both sides start from the same numbers; an offset, so that cosines are not all near 0.
  data: Float64Array.from(noise(n * c * h * w, seed), (v) => Math.fround(v + 0.3)),
});
const toMaps = ({ n, c, h, w, data }: reference.Maps): Tensor =>
  tensor(Float32Array.from(data), { shape: [n, c, h, w] });

test("alpnet.prototypeSimilarity() of several images agrees with loops for any window and mask", async () => {
  const [S, C, H, W] = [2, 5, 9, 11];
  const [support, query] = [maps(S, C, H, W, 1), maps(3, C, 6, 7, 2)];
  const box = (s: number, y: number, x: number): number => Number(s === 0 && y < 6 && x > 2);
  const masks: Record<string, (s: number, y: number, x: number) => number> = {
    none: () => 0,
    all: () => 1,
    "in one of two images": box,
    soft: (s, y, x) => Math.fround(Math.max(0, 1 - 0.05 * (y + x + s))),
    "exactly at the threshold": (s, y, x) => Number(!(y % 4 === 1 && x % 5 === 2) && s < 2),
    "a few pixels": (s, y, x) => Number(y === 3 && x > 3 && x < 6 + s),
  };
  const poolings: reference.Pooling[] = [
    { mode: "mask", window: [4, 4], threshold: 0.95 },
    { mode: "gridconv", window: [4, 5], threshold: 0.95 },
    { mode: "gridconv", window: [4, 5], threshold: 0.95, inclusive: true },
    { mode: "gridconv+", window: [2, 3], threshold: 0.95 },
    { mode: "gridconv+", window: [1, 2], threshold: 0.6, probe: 4 },
    { mode: "gridconv+", window: [9, 11], threshold: 0.4, probe: 40 },
    { mode: "gridconv+", window: [1, 2], threshold: 0.6, probe: [1, 5] },
  ];
  const values = Object.values(masks).map((f) =>
    Float64Array.from({ length: S * H * W }, (_, i) => f(Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W))
  );
  const run = compile((q: Tensor, s: Tensor, ...given: Tensor[]) =>
    given.flatMap((mask) =>
      poolings.map((p) => alpnet.similarity(q, alpnet.prototypes(s, mask, p as any), { temperature: 7 }))
    )
  ) as any;
  const results = await run(
    toMaps(query),
    toMaps(support),
    ...values.map((v) => tensor(Float32Array.from(v), { shape: [S, H, W] })),
  );
  for (const [m, name] of Object.keys(masks).entries()) {
    for (const [k, p] of poolings.entries()) {
      const wanted = reference.similarity(query, reference.prototypes(support, values[m], p), 7);
      const what = `${name}, ${JSON.stringify(p)}`;
      await assertClose(results[m * poolings.length + k], { shape: [3, 6, 7], data: wanted }, TOLERANCE, what);
      if (name === "none") assert.ok(wanted.every((v) => v === 0));
    }
  }
  run.dispose();
});

const heads: (Partial<reference.Head> & { ways: number })[] = [
  { ways: 1 },
  { ways: 2, window: [2, 3] },
  { ways: 2, window: [2, 3], probe: 4 },
  { ways: 2, window: [1, 1], probe: 6 },
  { ways: 2, window: [2, 2], rule: "paper" },
  { ways: 2, foreground: "mask", background: "mask", temperature: 5 },
];

/** Supports: class 1 in the first image, 2 in both, and something that is neither; queries with other places. */
const labelMap = (n: number, h: number, w: number, shift: number): reference.Labels => ({
  h,
  w,
  data: Int32Array.from({ length: n * h * w }, (_, i) => {
    const [s, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, (i % w) + shift];
    if (y === 0) return 255;
    if (s === 0 && y < h / 2 && x < w / 2) return 1;
    return y > 0.7 * h && x > w / 3 ? 2 : 0;
  }),
});
const toLabels = ({ h, w, data }: reference.Labels): Tensor => tensor(data, { shape: [data.length / (h * w), h, w] });

test("alpnet.episodeLoss() and its gradients agree with loops for any ways, shots and background rule", async () => {
  const [support, query] = [maps(2, 4, 8, 9, 3), maps(2, 4, 7, 8, 4)];
  // The network has learned something: what is labeled alike looks alike.
  const supportLabels = labelMap(2, 16, 18, 0);
  const queryLabels = labelMap(2, 21, 15, 3);
  const mark = (m: reference.Maps, labels: reference.Labels): void => {
    for (let i = 0; i < m.n * m.h * m.w; i++) {
      const [s, y, x] = [Math.floor(i / (m.h * m.w)), Math.floor(i / m.w) % m.h, i % m.w];
      const [v, u] = [Math.floor(((y + 0.5) * labels.h) / m.h), Math.floor(((x + 0.5) * labels.w) / m.w)];
      const k = labels.data[(s * labels.h + v) * labels.w + u];
      const place = ((s * m.c + (k % 255)) * m.h + y) * m.w + x;
      m.data[place] = Math.fround(m.data[place] + 1);
    }
  };
  mark(support, supportLabels);
  mark(query, queryLabels);
  for (const given of heads) {
    const head: reference.Head = {
      foreground: "gridconv+",
      background: "gridconv",
      rule: "code",
      window: [4, 4],
      threshold: 0.95,
      temperature: 20,
      ...given,
    };
    const what = JSON.stringify(given);
    const weights = [0.05, 1, 0.7].slice(0, head.ways + 1);
    const run = compile((q: Tensor, s: Tensor) => {
      const f = (a: Tensor, b: Tensor) => {
        const labels = { queryLabels: toLabels(queryLabels), supportLabels: toLabels(supportLabels) };
        const result = alpnet.episodeLoss({ query: a, support: b, ...labels }, {
          ...given,
          weights,
          alignment: 0.5,
        } as any);
        return [result.loss, result] as const;
      };
      const [[loss, parts], gq] = valueAndGrad(f, { hasAux: true })(q, s);
      const gs = grad((b: Tensor) => f(q, b)[0])(s);
      return { loss, parts, gq, gs };
    }) as any;
    const { loss, parts, gq, gs } = await run(toMaps(query), toMaps(support));
    const wanted = reference.losses(query, queryLabels, support, supportLabels, head, weights);
    const near = async (t: Tensor, value: number, part: string) => {
      const got = await t.item();
      assert.ok(Math.abs(got - value) <= TOLERANCE * Math.max(1, value), `${what}: ${part} is ${got}, ${value} wanted`);
    };
    await near(parts.segmentation, wanted[0], "segmentation");
    await near(parts.alignment, wanted[1], "alignment");
    await near(loss, wanted[0] + 0.5 * wanted[1], "loss");
    const list = reference.scores(query, reference.classes(support, supportLabels, head), head.temperature);
    const full = list.map((s) => reference.scale(s, [7, 8], [21, 15]));
    const logits = Float64Array.from(
      { length: 2 * list.length * 315 },
      (_, i) => full[Math.floor(i / 315) % list.length][Math.floor(i / 315 / list.length) * 315 + (i % 315)],
    );
    await assertClose(parts.logits, { shape: [2, list.length, 21, 15], data: logits }, TOLERANCE, `${what}: logits`);

    // Along some directions, against central differences in float64 (good to 1e-8 here).
    for (
      const [g, m, which] of [
        [gq, query, 0],
        [gs, support, 1],
      ] as const
    ) {
      const gradient = await g.data();
      for (const seed of [5, 6]) {
        const direction = noise(m.data.length, seed + which);
        const moved = (step: number): number => {
          const data = m.data.map((v, i) => v + step * direction[i]);
          const [q, s] = which === 0 ? [{ ...m, data }, support] : [query, { ...m, data }];
          const [a, b] = reference.losses(q, queryLabels, s, supportLabels, head, weights);
          return a + 0.5 * b;
        };
        const slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        const got = gradient.reduce((sum: number, v: number, i: number) => sum + v * direction[i], 0);
        const norm = Math.sqrt(gradient.reduce((sum: number, v: number) => sum + v * v, 0));
        // Rounding of the gradient is relative to its length, and the direction's entries are below 1.
        assert.ok(Math.abs(got - slope) <= 1e-4 * norm, `${what}: slope ${got}, ${slope} wanted, length ${norm}`);
      }
    }
    run.dispose();
  }
});

test("alpnet.episodeLoss() without the class has finite losses and gradients", async () => {
  const empty = { h: 8, w: 8, data: new Int32Array(64) };
  const full = { h: 8, w: 8, data: new Int32Array(64).fill(1) };
  const [q, s] = [toMaps(maps(1, 3, 8, 8, 7)), toMaps(maps(1, 3, 8, 8, 8))];
  for (
    const [a, b] of [
      [empty, empty],
      [empty, full],
      [full, empty],
      [full, full],
    ] as const
  ) {
    const [{ alignment }, gradient] = await (async () => {
      const [[loss, parts], g] = valueAndGrad(
        (x: Tensor, y: Tensor) => {
          const result = alpnet.episodeLoss({
            query: x,
            queryLabels: toLabels(a),
            support: y,
            supportLabels: toLabels(b),
          });
          return [result.loss, result] as const;
        },
        { hasAux: true },
      )(q, s) as any;
      assert.ok(Number.isFinite(await loss.item()));
      return [parts, g];
    })();
    assert.ok((await gradient.data()).every(Number.isFinite));
    if (b === empty) assert.is(await alignment.item(), 0, "no support shows the class");
  }
});

test("alpnet.prototypeSimilarity() and others throw on bad arguments with the fix", () => {
  const [f, l] = [zeros([1, 3, 6, 8]), zeros([1, 12, 16], { dtype: "i32" })];
  const [x, m] = [zeros([3, 6, 8]), zeros([6, 8])];
  refuses(() => alpnet.prototypeSimilarity(f, x, m), /the query is \[C, H, W\], got Tensor\(f32\[1, 3, 6, 8\]\)/);
  refuses(() => alpnet.prototypeSimilarity(x, x, zeros([8, 6])), /the mask is \[1, 6, 8\]/);
  refuses(
    () => alpnet.prototypeSimilarity(x, x, m, { window: 7 }),
    /window .* at most the feature map's \[6, 8\], got 7/,
  );
  refuses(
    () => alpnet.prototypeSimilarity(x, x, m, { mode: "grid" as any }),
    /mode is "mask", "gridconv" or "gridconv\+"/,
  );
  refuses(
    () => alpnet.prototypeSimilarity(x, x, m, { thresh: 1 } as any),
    /unknown option "thresh"; it takes mode, window/,
  );
  refuses(() => alpnet.prototypeSimilarity(x, x, m, { threshold: 95 }), /threshold is a number from 0 to 1, got 95/);
  refuses(() => alpnet.prototypeSimilarity(zeros([2, 6, 8]), x, m), /as many channels, got 2 and 3/);
  refuses(() => alpnet.classPrototypes(f, l, { ways: 0 }), /ways is an integer >= 1, got 0/);
  refuses(() => alpnet.classPrototypes(f, zeros([1, 12, 16])), /support labels are i32 or u32 \[1, height, width\]/);
  refuses(() => alpnet.classPrototypes(f, l, { probe: 0 }), /probe is an integer >= 1 or two, got 0/);
  refuses(() => alpnet.classPrototypes(f, l, { rule: "paper", probe: 4 }), /the rule "paper" asks for no probe, got 4/);
  refuses(() => alpnet.classPrototypes(f, l, { rule: "eq2" as any }), /rule is "code" or "paper", got "eq2"/);
  const episode = { query: f, queryLabels: l, support: f, supportLabels: l };
  refuses(() => alpnet.episodeLoss(episode, { weights: [1] }), /weights are 2 numbers/);
  refuses(() => alpnet.episodeLoss(episode, { lambda: 1 } as any), /unknown option "lambda"/);
});

test.run();
