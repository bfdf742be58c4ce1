// deno-lint-ignore-file no-explicit-any
/** compile at its edges: numbers, static arguments, structure of arguments, donation, functions within functions. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import * as vg from "../../engine/mod.ts";
import { compile, evaluate, grad, ones, Tensor, tensor, vmap } from "../../engine/mod.ts";
import { message } from "../helpers/refuse.ts";

const values = async (t: Tensor): Promise<number[]> => [...(await t.data())];
/** Tensors on the device, which a donation may overwrite. */
const onDevice = (...lists: number[][]): Promise<Tensor[]> => evaluate(lists.map((list) => tensor(list).add(0)));

const wrongUses: Record<string, (x: any, n: any) => unknown> = {
  "n * 0.5": (x, n) => x.mul(n * 0.5),
  "1 - n": (x, n) => x.mul(1 - n),
  "-n": (x, n) => x.mul(-n),
  "Math.sqrt(n)": (x, n) => x.mul(Math.sqrt(n)),
  "n > 3": (x, n) => (n > 3 ? x : x.neg()),
  "k < n": (x, n) => {
    let y = x;
    for (let k = 0; k < n; k++) y = y.add(1);
    return y;
  },
  "n == 3": (x, n) => (n == 3 ? x : x.neg()),
  "n + 1": (x, n) => x.add(n + 1),
  "x + x": (x) => x + x,
  "Number(n)": (x, n) => x.mul(Number(n)),
  "n ** 2": (x, n) => x.mul(n ** 2),
  "isNaN(n)": (x, n) => (isNaN(n) ? x : x.neg()),
};
for (const [what, f] of Object.entries(wrongUses)) {
  test(`compile() refuses ${what} of what it traces, and names static and operators`, async () => {
    const told = await message(() => (compile as any)(f)(ones([2]), 3));
    assert.match(told, /^Tensor\(f32\[\d?\]\): compile and vmap trace .*x\.mul\(2\).*\{ static: \[k\] \}/);
    if (what !== "x + x") {
      assert.match(await message(() => f(ones([2]), tensor(3))), /a tensor is no number: .*await x\.item\(\)/);
    }
  });
}

test("Tensor.toString() gives type and shape, for messages and logs", () => {
  assert.is(`${ones([2, 3])}`, "Tensor(f32[2, 3])");
  assert.is(String(tensor(1)), "Tensor(f32[])");
  assert.is([ones([2])].join(), "Tensor(f32[2])");
});

test("compile() keeps static arguments as they are, and compiles again for each value", async () => {
  let traces = 0;
  const f = compile(
    (x: Tensor, n: number, how: { sign: number; name: string }) => {
      traces++;
      let y = x;
      for (let k = 0; k < n; k++) y = y.mul(2);
      return Object.is(how.sign, -0) || how.sign < 0 ? y.neg() : y;
    },
    { static: [1, 2] },
  );
  const x = tensor([1, 2]);
  assert.equal(await values(await f(x, 3, { sign: 1, name: "a" })), [8, 16]);
  assert.equal(await values(await f(x, 1, { sign: 1, name: "a" })), [2, 4]);
  assert.equal(await values(await f(x, 1, { sign: -1, name: "a" })), [-2, -4]);
  assert.equal(await values(await f(x, 0, { sign: -0, name: "a" })), [-1, -2]);
  assert.equal(await values(await f(x, 0, { sign: 0, name: "a" })), [1, 2]);
  assert.is(traces, 5);
  await f(x.mul(3), 3, { sign: 1, name: "a" });
  assert.is(traces, 5, "the same values serve again");
  assert.match(
    await message(() => (f as any)(x, tensor(2), { sign: 1, name: "" })),
    /argument 1 is static, so it takes no tensors/,
  );
  assert.match(await message(() => (f as any)(x)), /static lists the argument 1, the call has 1 arguments/);
  assert.match(await message(() => compile((a: Tensor) => a, { static: [0], donate: [0] })), /both static and donated/);
  for (const wrong of [1, ["a"], [-1], [0, 0], null, () => 0]) {
    assert.match(
      await message(() => compile((a: Tensor) => a, { static: wrong as never })),
      /^compile: static lists argument positions/,
    );
  }
});

test("compile() tells structures apart that have the same tensors", async () => {
  const shape = compile((tree: any) =>
    tensor([Array.isArray(tree.a) ? 1 : 0, tree.a === undefined ? 1 : 0]).add(tree.x.mul(0))
  );
  const x = ones([2]);
  const got = [];
  for (const a of [[], {}, undefined, null, "", [[]], [{}]]) got.push(await values(await shape({ a, x })));
  assert.equal(got, [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [1, 0], [1, 0]]);
  const name = compile((t: any) => (t["a.b"] ? t["a.b"] : t.a.b.neg()));
  assert.equal(await values(await name({ "a.b": x })), [1, 1]);
  assert.equal(await values(await name({ a: { b: x } })), [-1, -1]);
  const text = compile((a: string, b: string, t: Tensor) => t.mul(a === "x" ? 1 : b.length));
  assert.equal(await values(await text("x", "y", x)), [1, 1]);
  assert.equal(await values(await text('x" 1="yy', "zzz", x)), [3, 3]);
});

test("compile() takes donated tensors at the call; what started before is right", async () => {
  const step = compile((p: Tensor, x: Tensor) => p.mul(-98).add(x), { donate: [0] });
  for (let k = 0; k < 3; k++) {
    const [p, x] = await onDevice([1, 2, 3], [1, 1, 1]);
    const product = p.mul(2).sum();
    const before = [p.data(), product.data(), p.add(x).sum().item()] as const;
    const next = step(p, x);
    const told = await message(() => p.mul(2).sum().item());
    assert.match(
      told,
      /was donated to a compiled call at \S*compile_arguments\.test\.ts:\d+:\d+, which disposed of it; use what that call returns/,
    );
    assert.match(await message(() => p.data()), /was donated to a compiled call/);
    assert.equal(await values(await next), [-97, -195, -293]);
    assert.equal([...(await before[0])], [1, 2, 3]);
    assert.equal([...(await before[1])], [12]);
    assert.is(await before[2], 9);
  }
});

test("compile() rejects an overlapping call with the same donated tensors, and the first is right", async () => {
  const f = compile((a: Tensor) => a.add(1), { donate: [0] });
  const [a] = await onDevice([1, 2, 3]);
  const [first, second] = await Promise.allSettled([f(a), f(a)]);
  assert.is(second.status, "rejected");
  assert.match(
    (second as PromiseRejectedResult).reason.message,
    /^compile: the argument 0, Tensor\(f32\[3\]\), was donated/,
  );
  assert.equal(await values((first as PromiseFulfilledResult<Tensor>).value), [2, 3, 4]);
  // A call that only reads goes first, and keeps its values.
  const [b] = await onDevice([1, 2, 3]);
  const reads = compile((t: Tensor) => t.mul(10));
  const [read, wrote] = await Promise.all([reads(b), f(b)]);
  assert.equal([await values(read), await values(wrote)], [[10, 20, 30], [2, 3, 4]]);
  // Aliases in one call.
  const both = compile((s: Tensor, t: Tensor) => [s.add(1), t.mul(2)], { donate: [0, 1] });
  const [c] = await onDevice([1, 2]);
  assert.equal(await Promise.all((await both(c, c)).map(values)), [[2, 3], [2, 4]]);
  // Graphs that nobody has evaluated.
  const lazy = tensor([1, 2]).add(1);
  const user = lazy.mul(2);
  const result = f(lazy);
  assert.match(await message(() => user.data()), /was donated/);
  assert.equal(await values(await result), [3, 4]);
});

test("compile() gives donated tensors back when a call fails before the device has begun", async () => {
  const f = compile((a: Tensor, b: Tensor) => a.reshape({ shape: [3, 2] }).add(b), { donate: [0] });
  const [a] = await onDevice([1, 2, 3, 4]);
  assert.match(await message(() => f(a, ones([2]))), /^reshape: /);
  assert.equal(await values(a), [1, 2, 3, 4]);
  const lazy = a.add(1);
  assert.match(await message(() => f(lazy, ones([2]))), /^reshape: /);
  assert.equal(await values(lazy), [2, 3, 4, 5]);
  const kept = tensor([1, 2]);
  assert.match(await message(() => f(kept, ones([2]))), /^reshape: /);
  assert.equal(await values(kept), [1, 2]);
  const gone = ones([6]);
  gone.dispose();
  const [six] = await onDevice([1, 2, 3, 4, 5, 6]);
  assert.match(await message(() => f(six, gone)), /argument 1, .*was disposed of/);
  assert.equal(await values(await f(six, ones([2]))), [2, 3, 4, 5, 6, 7]);
});

test("compile() refuses positions to donate that no argument has", async () => {
  const f = compile((a: Tensor) => a.add(1), { donate: [0, 2] });
  assert.match(await message(() => f(ones([1]))), /^compile: donate lists the argument 2, the call has 1 arguments$/);
  for (const wrong of [null, {}, "0", (a: unknown) => a, [0, 0], [1.5], [NaN], ["0"]]) {
    assert.match(
      await message(() => compile((a: Tensor) => a, { donate: wrong as never })),
      /^compile: donate lists argument positions/,
    );
  }
});

test("compile() traces compiled functions inside others, and their derivatives, as part of them", async () => {
  const inner: any = compile((x: Tensor, k: Tensor) => x.mul(x).mul(k), { donate: [0] });
  const x = tensor([1, 2, 3]);
  const outer = compile((t: Tensor) => inner(t, 2).sum());
  assert.is(await ((await outer(x)) as Tensor).item(), 28);
  assert.equal(await values(grad((t: Tensor) => inner(t, 2).sum())(x)), [4, 8, 12]);
  assert.equal(await values(await compile(grad((t: Tensor) => inner(t, 0.5).sum()))(x)), [1, 2, 3]);
  assert.equal(await vmap((t: Tensor) => inner(t, 1).sum())(tensor([[1, 2], [3, 4]])).array(), [5, 25]);
  assert.equal(await values(vg.checkpoint((t: Tensor) => inner(t, 3))(x)), [3, 12, 27]);
  const [, tangent] = vg.jvp((t: Tensor) => inner(t, 1), [x], [ones([3])]);
  assert.equal(await values(tangent), [2, 4, 6]);
  assert.equal(await values(x), [1, 2, 3], "nothing was donated");
  const power: any = compile((t: Tensor, n: number) => Array.from({ length: n }, () => t).reduce((a, b) => a.mul(b)), {
    static: [1],
  });
  assert.equal(await values(grad((t: Tensor) => power(t, 3).sum())(x)), [3, 12, 27]);
  // Within every other transform, and twice.
  assert.equal(await vg.jacobian((t: Tensor) => inner(t, 1))(tensor([1, 2])).array(), [[2, 0], [0, 4]]);
  assert.equal(await values(vg.hvp((t: Tensor) => inner(t, 1).mul(t).sum(), [x], [ones([3])])[0]), [6, 12, 18]);
  assert.equal(await values(vg.linearize((t: Tensor) => inner(t, 1), [x])[1](ones([3]))), [2, 4, 6]);
  const [last] = vg.scan((c: Tensor) => [inner(c, 1), null] as [Tensor, null], x, null, { length: 2 });
  assert.equal(await values(last), [1, 16, 81]);
  assert.equal(await values(vg.cond(true, (t: Tensor) => inner(t, 1), (t: Tensor) => t, x)), [1, 4, 9]);
  const outermost: any = compile((t: Tensor) => grad(outer as any)(t));
  assert.equal(await values(await outermost(x)), [4, 8, 12]);
  const checked = await vg.detectAnomaly(() => outer(x) as Promise<Tensor>);
  assert.is(await checked.item(), 28);
});

test("compile() throws on asynchronous functions, whose rejection ends nothing", async () => {
  const unhandled: unknown[] = [];
  const watch = (reason: unknown): number => unhandled.push(reason);
  const host = (globalThis as any).process;
  host.on("unhandledRejection", watch);
  try {
    const bad: any = async (t: Tensor) => t.add(await t.sum().item());
    const failing: any = async () => {
      throw new Error("mine");
    };
    const x = ones([2]);
    for (const f of [bad, failing]) {
      const uses: (() => unknown)[] = [
        () => compile(f)(x),
        () => compile((t: any) => [t, f(t)])(x),
        () => grad(f)(x),
        () => vg.valueAndGrad(f)(x),
        () => vg.valueAndGrad((t: any) => [t.sum(), f(t)], { hasAux: true })(x),
        () => vg.vjp(f, [x]),
        () => vg.jvp(f, [x], [x]),
        () => vg.hvp(f, [x], [x]),
        () => vmap(f)(x),
        () => vmap((t: any) => ({ t, f: f(t) }))(x),
        () => vg.checkpoint(f)(x),
        () => vg.customVjp(f, f, f)(x),
        () => grad((t: Tensor) => (vg.customVjp as any)((u: Tensor) => u, f, f)(t).sum())(x),
        () => vg.countProducts(f, x),
        () => vg.tune(f, x),
      ];
      for (const use of uses) assert.match(await message(use), /asynchronous/, String(use));
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(unhandled, []);
  } finally {
    host.off("unhandledRejection", watch);
  }
});

test("compile() tells once of tensors from outside that each call recomputes", async () => {
  const lines: string[] = [];
  const { log } = platform;
  platform.log = (line) => lines.push(line);
  try {
    const x = ones([2]);
    const table = vg.random.normal(vg.random.key(1), { shape: [2] }).mul(3);
    const f = compile((t: Tensor) => t.add(table));
    for (let k = 0; k < 4; k++) await f(x);
    assert.is(lines.length, 1, lines.join("\n"));
    assert.match(
      lines[0],
      /^compile: each call recomputes Tensor\(f32\[2\]\), made by mul, .*await evaluate\(tensor\)/,
    );
    const known = await evaluate(vg.random.normal(vg.random.key(2), { shape: [2] }));
    const constant = ones([2]);
    const g = compile((t: Tensor) => t.add(known).add(constant).add(tensor([1, 2]).reshape({ shape: [2] })));
    for (let k = 0; k < 3; k++) await g(x);
    assert.is(lines.length, 1, "evaluated ones and constants are no reason");
  } finally {
    platform.log = log;
  }
});

test("evaluate() tells once of a loop whose state is never evaluated", async () => {
  const lines: string[] = [];
  const { log } = platform;
  platform.log = (line) => lines.push(line);
  try {
    const run = async (steps: number, settles: boolean): Promise<void> => {
      let w = tensor([1, 2]).mul(1);
      for (let k = 0; k < steps; k++) {
        const [loss, g] = vg.valueAndGrad((v: Tensor) => v.square().sum())(w);
        w = w.sub(g.mul(0.1));
        if (settles) await evaluate([loss, w]);
        await loss.item();
        await w.sum().item();
      }
    };
    await run(20, true);
    assert.is(lines.length, 0, lines.join("\n"));
    await run(16, false);
    assert.is(lines.length, 1, lines.join("\n"));
    assert.match(
      lines[0],
      /^evaluate: 10 programs in turn, each longer than the last.*evaluate the state of a loop in each step/,
    );
  } finally {
    platform.log = log;
  }
});

test.after(vg.closeDevice);
test.run();
