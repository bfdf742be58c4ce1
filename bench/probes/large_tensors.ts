/**
 * Tensors above 128 MiB, the binding limit of some adapters (lavapipe), which are bound in windows and parts: one line
 * per check, exit code 1 if one fails. Takes a few GB of memory. Run: VOXGRAD_ADAPTER=lavapipe node --import
 * ./engine/platform/cli/register.mjs bench/probes/large_tensors.ts
 */
import * as vg from "../../engine/mod.ts";
import { arange, evaluate, ones, type Tensor } from "../../engine/mod.ts";

let failed = 0;
async function line(name: string, f: () => Promise<boolean | string>): Promise<void> {
  const start = performance.now();
  let outcome: boolean | string;
  try {
    outcome = await f();
  } catch (error) {
    outcome = `${(error as Error).name}: ${(error as Error).message}`;
  }
  if (outcome !== true) failed++;
  const { live, peak } = vg.memoryStats();
  const figures = `${((performance.now() - start) / 1000).toFixed(1)} s, live ${(live / 1e6).toFixed(0)} MB, peak ${
    (peak / 1e6).toFixed(0)
  } MB`;
  console.log(
    `${outcome === true ? "pass" : "FAIL"}  ${name}  (${figures})${typeof outcome === "string" ? ` ${outcome}` : ""}`,
  );
}

/** Runs f on evaluated tensors and disposes of them. */
async function using<T>(tensors: Tensor[], f: (...xs: Tensor[]) => Promise<T>): Promise<T> {
  await evaluate(tensors);
  try {
    return await f(...tensors);
  } finally {
    for (const t of tensors) t.dispose();
  }
}

async function item(t: Tensor): Promise<number> {
  const value = await t.item();
  t.dispose();
  return value;
}
const near = (got: number, wanted: number, tolerance = 1e-5): boolean | string =>
  Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted)) || `got ${got}, wanted ${wanted}`;

/** The largest difference of two tensors, the first evaluated, by reductions only. */
const distance = (a: Tensor, b: Tensor): Promise<number> => item(a.sub(b).abs().max());
/** Values in about [-1, 1), that rise and fall. */
const waves = (n: number, period = 8191): Tensor => {
  const k = arange(n).cast("f32");
  return k
    .sub(k.div(period).floor().mul(period))
    .mul(2 / period)
    .sub(1);
};

const N = 36_000_000; // 144 MB
const { name, limits } = await vg.deviceInfo();
console.log(`${name}: binds ${limits.maxStorageBufferBindingSize / 2 ** 20} MiB`);

await line("sum(ones(3e7)) is 3e7", async () => near(await item(ones([3e7]).sum()), 3e7, 0));
await line(
  "sum of 3.6e7 ones in memory",
  () => using([ones([N]).add(0)], async (x) => near(await item(x.sum()), N, 0)),
);
await line(
  "elementwise chain, two operands",
  () =>
    using([waves(N)], (x) =>
      using([x.mul(x).add(1).sub(vg.flip(x))], (y) =>
        distance(
          y,
          waves(N)
            .square()
            .add(1)
            .sub(vg.flip(waves(N))),
        ).then((d) => near(d, 0, 1e-6)))),
);
await line("slices at the ends and across the window's end", () =>
  using([arange(N)], async (x) => {
    const w = 2 ** 25;
    for (const from of [0, w - 3, N - 6]) {
      const values = await vg.slice(x, { start: [from], end: [from + 6] }).data();
      if (!values.every((v, k) => v === from + k)) return `at ${from}: ${values}`;
    }
    return true;
  }));
await line("broadcast, sum over rows and over columns", () =>
  using(
    [
      waves(6000)
        .reshape({ shape: [6000, 1] })
        .add(waves(6000)),
    ],
    async (x) => {
      const [rows, columns] = [x.sum({ axes: [1] }), x.sum({ axes: [0] })];
      return near(await distance(await evaluate(rows), columns), 0, 1e-2);
    },
  ));
await line(
  "a reduction with a large result",
  () =>
    using(
      [vg.stack([waves(N / 2), waves(N / 2, 127), waves(N / 2, 31)])],
      (x) =>
        using([x.max({ axes: [0] })], (y) =>
          distance(y, vg.maximum(vg.maximum(waves(N / 2), waves(N / 2, 127)), waves(N / 2, 31))).then((d) =>
            near(d, 0, 0)
          )),
    ),
);
await line(
  "argmax",
  () => using([arange(N).equal(34_567_890).cast("f32")], async (x) => near(await item(x.argmax()), 34_567_890, 0)),
);
await line(
  "softmax along the last axis",
  () =>
    using([waves(N).reshape({ shape: [N / 1000, 1000] })], (x) =>
      using([vg.softmax(x)], async (y) => {
        const worst = await item(
          y
            .sum({ axes: [1] })
            .sub(1)
            .abs()
            .max(),
        );
        const [given, row] = await Promise.all(
          [x, y].map((t) => vg.slice(t, { start: [35_000], end: [35_001] }).data()),
        );
        const values = Float64Array.from(given, Math.exp);
        const total = values.reduce((a, b) => a + b);
        const error = Math.max(...values.map((v, k) => Math.abs(v / total / row[k] - 1)));
        return worst < 1e-5 && error < 1e-5 ? true : `rows ${worst}, values ${error}`;
      })),
);
await line(
  "groupNorm and its gradient",
  () =>
    using(
      [waves(N).reshape({ shape: [1, 4, 9_000_000] })],
      (x) =>
        using([vg.groupNorm(x, { groups: 2 })], async (y) => {
          const half = y.reshape({ shape: [2, N / 2] });
          const mean = await item(
            half
              .mean({ axes: [1] })
              .abs()
              .max(),
          );
          const variance = await item(
            half
              .square()
              .mean({ axes: [1] })
              .sub(1)
              .abs()
              .max(),
          );
          // sum(y^2) does not depend on x, so its gradient is almost 0.
          const g = vg.grad((v: Tensor) => vg.groupNorm(v, { groups: 2 }).square().mean())(x);
          const slope = await item(g.abs().max());
          return mean < 1e-4 && variance < 1e-3 && slope < 1e-9
            ? true
            : `mean ${mean}, variance ${variance}, slope ${slope}`;
        }),
    ),
);
await line("conv3d 3x3x3 of 330^3, against pieces", () =>
  using(
    [waves(330 ** 3).reshape({ shape: [1, 1, 330, 330, 330] }), waves(27, 11).reshape({ shape: [1, 1, 3, 3, 3] })],
    (x, w) =>
      using([vg.conv3d(x, w, { padding: 1 })], async (y) => {
        for (const z of [1, 109, 164, 219, 310, 327]) {
          const piece = vg.slice(x, { start: [0, 0, z - 1], end: [1, 1, z + 2] });
          const wanted = await evaluate(vg.conv3d(piece, w, { padding: [0, 1, 1] }));
          const got = vg.slice(y, { start: [0, 0, z], end: [1, 1, z + 1] });
          const d = await distance(wanted, got);
          if (d > 1e-5) return `plane ${z} differs by ${d}`;
        }
        return true;
      }),
  ));
await line("conv3d's gradients by input and weights: <g, J v> = <J'g, v>", () =>
  using(
    [waves(330 ** 3).reshape({ shape: [1, 1, 330, 330, 330] }), waves(27, 11).reshape({ shape: [1, 1, 3, 3, 3] })],
    async (x, w) => {
      const f = (a: Tensor, b: Tensor): Tensor => vg.conv3d(a, b, { padding: 1, stride: 2 });
      // Bilinear: <gx, x> = <gw, w> = f's weighted sum.
      const loss = (a: Tensor, b: Tensor): Tensor =>
        f(a, b)
          .mul(waves(165 ** 3, 509).reshape({ shape: [1, 1, 165, 165, 165] }))
          .sum();
      const value = await item(loss(x, w));
      const gx = await item(vg.grad(loss)(x, w).mul(x).sum());
      const gw = await item(
        vg
          .grad((b: Tensor, a: Tensor) => loss(a, b))(w, x)
          .mul(w)
          .sum(),
      );
      const scale = 165 ** 3;
      return Math.abs(gx - value) < 1e-4 * scale && Math.abs(gw - value) < 1e-4 * scale
        ? true
        : `${value}, ${gx}, ${gw}`;
    },
  ));
await line(
  "concat of two beyond 128 MiB, and of 20",
  () =>
    using([waves(N), arange(N).cast("f32")], (a, b) =>
      using([vg.concat([a, b])], async (y) => {
        const two = await item(
          vg
            .slice(y, { start: [N] })
            .sub(b)
            .abs()
            .max(),
        );
        const first = await item(
          vg
            .slice(y, { end: [N] })
            .sub(a)
            .abs()
            .max(),
        );
        const parts = Array.from(
          { length: 20 },
          (_, k) => vg.slice(a, { start: [k * 1_800_000], end: [(k + 1) * 1_800_000] }),
        );
        const joined = await evaluate(vg.concat(await evaluate(parts)));
        const twenty = await distance(joined, a);
        for (const t of [...parts, joined]) {
          t.dispose();
        }
        return two === 0 && first === 0 && twenty === 0 ? true : `${two}, ${first}, ${twenty}`;
      })),
);
await line(
  "transpose, pad, take",
  () =>
    using(
      [waves(N).reshape({ shape: [6000, 6000] })],
      (x) =>
        using([vg.pad(vg.transpose(x, { axes: [1, 0] }), { before: [1, 0] })], async (y) => {
          const back = vg.transpose(vg.slice(y, { start: [1] }), { axes: [1, 0] });
          const there = await distance(x, back);
          const rows = vg.take(x, vg.sub(5999, arange(6000)));
          const flipped = await distance(await evaluate(rows), vg.flip(x, { axes: [0] }));
          rows.dispose();
          return there === 0 && flipped === 0 ? true : `${there}, ${flipped}`;
        }),
    ),
);
await line(
  "matmul with a factor beyond 128 MiB",
  () =>
    using(
      [waves(N).reshape({ shape: [N / 100, 100] }), waves(300, 7).reshape({ shape: [100, 3] })],
      (a, b) =>
        using([vg.matmul(a, b)], async (y) => {
          const wanted = a
            .mul(vg.slice(b, { start: [0, 1], end: [100, 2] }).reshape({ shape: [1, 100] }))
            .sum({ axes: [1], keepDims: true });
          const got = await evaluate(vg.slice(y, { start: [0, 1], end: [N / 100, 2] }));
          return near(await distance(got, wanted), 0, 1e-4);
        }),
    ),
);
await line("resize of 330^3 to 200^3 and back: a linear ramp stays one", () =>
  using(
    [
      arange(330)
        .cast("f32")
        .reshape({ shape: [1, 1, 1, 1, 330] })
        .add(vg.zeros([1, 1, 330, 330, 1])),
    ],
    (x) =>
      using([vg.resize(x, { size: 200, mode: "linear", alignCorners: true })], (y) =>
        using([vg.resize(y, { size: 330, mode: "linear", alignCorners: true })], async (z) =>
          near(await distance(z, x), 0, 1e-3))),
  ));
await line(
  "a grid above 65,535 workgroups",
  () => using([arange(65536 * 512)], async (x) => near(await item(x.notEqual(arange(65536 * 512)).sum()), 0, 0)),
);
await line(
  "random numbers: mean and variance of 3.6e7",
  () =>
    using([vg.random.normal(vg.random.key(1), { shape: [N] })], async (x) => {
      const [mean, square] = [await item(x.mean()), await item(x.square().mean())];
      return Math.abs(mean) < 1e-3 && Math.abs(square - 1) < 1e-3 ? true : `${mean}, ${square}`;
    }),
);
await line("2^31 elements and buffers beyond the adapter's are refused", async () => {
  const told: string[] = [];
  for (
    const f of [
      () => ones([2 ** 31]),
      () => ones([65536, 1]).add(ones([1, 32768])),
      () =>
        ones([2 ** 31 - 1])
          .add(0)
          .data(),
    ]
  ) {
    try {
      await f();
      return "no error";
    } catch (error) {
      told.push((error as Error).message);
    }
  }
  return told.every((m) => /2\^31|bytes in one buffer|limit is/.test(m)) || told.join(" | ");
});
await vg.closeDevice();
process.exitCode = failed > 0 ? 1 : 0;
