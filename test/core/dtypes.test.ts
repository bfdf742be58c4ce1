/** Element types: how they meet, what conversion does, and arithmetic where it is not that of the reals. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { type DType, full, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import { fromHalf, toHalf } from "../../engine/core/dtype.ts";

const read = async (t: Tensor): Promise<number[]> => [...(await t.data())];
const f32 = (...values: number[]): Tensor => tensor(new Float32Array(values));
const i32 = (...values: number[]): Tensor => tensor(new Int32Array(values));
const u32 = (...values: number[]): Tensor => tensor(new Uint32Array(values));
/** Equal numbers; NaN equals itself and 0 does not equal -0. */
const same = (got: readonly number[], wanted: readonly number[], what: string): void => {
  assert.is(got.length, wanted.length, what);
  got.forEach((v, k) => assert.ok(Object.is(v, wanted[k]), `${what}: [${k}] is ${v}, not ${wanted[k]}`));
};

const all: DType[] = ["bool", "u32", "i32", "f16", "f32"];
/** The dtype of a + b by those of a (rows) and b (columns). */
const sums: Record<string, DType[]> = {
  bool: ["i32", "u32", "i32", "f16", "f32"],
  u32: ["u32", "u32", "i32", "f16", "f32"],
  i32: ["i32", "i32", "i32", "f16", "f32"],
  f16: ["f16", "f16", "f16", "f16", "f32"],
  f32: ["f32", "f32", "f32", "f32", "f32"],
};
/** The dtype of a tensor plus a plain number: 1, -1, 2^31, 2^32, 0.5, NaN. */
const numbers = [1, -1, 2 ** 31, 2 ** 32, 0.5, NaN];
const withNumbers: Record<string, DType[]> = {
  bool: ["i32", "i32", "f32", "f32", "f32", "f32"],
  u32: ["u32", "i32", "u32", "f32", "f32", "f32"],
  i32: ["i32", "i32", "f32", "f32", "f32", "f32"],
  f16: ["f16", "f16", "f16", "f16", "f16", "f16"],
  f32: ["f32", "f32", "f32", "f32", "f32", "f32"],
};
const one = (dtype: DType): Tensor => tensor([1], { dtype });

test("add() and other operators of two tensors promote to the wider of bool < u32 < i32 < f16 < f32", () => {
  all.forEach((a) =>
    all.forEach((b, k) => {
      const kind = sums[a][k];
      const what = `${a} and ${b}`;
      for (const f of [vg.add, vg.sub, vg.mul, vg.maximum, vg.minimum]) assert.is(f(one(a), one(b)).dtype, kind, what);
      const float = kind === "f16" ? "f16" : "f32";
      assert.is(vg.div(one(a), one(b)).dtype, float, `${what}, quotient`);
      assert.is(vg.less(one(a), one(b)).dtype, "bool", `${what}, comparison`);
      // Truth values stay truth values where nothing is computed.
      const wider = a === "bool" && b === "bool" ? "bool" : kind;
      assert.is(vg.where(tensor([true]), one(a), one(b)).dtype, wider, `${what}, where`);
      assert.is(vg.concat([one(a), one(b)]).dtype, wider, `${what}, concat`);
    })
  );
});

test("add() of a tensor and a number keeps the tensor's dtype where that can hold the number", () => {
  for (const a of all) {
    numbers.forEach((x, k) => {
      const wanted = withNumbers[a][k];
      assert.is(one(a).add(x).dtype, wanted, `${a} and ${x}`);
      assert.is(vg.sub(x, one(a)).dtype, wanted, `${x} and ${a}`);
      assert.is(vg.where(tensor([true]), one(a), x).dtype, wanted, `${a} and ${x}, where`);
    });
  }
  assert.is(vg.add(1, 2).dtype, "f32");
  assert.is(vg.where(tensor([true]), 1, 0).dtype, "f32");
});

test("exp(), sqrt() and mean() of integers give f32, neg() and sign() of u32 give i32", () => {
  for (const dtype of ["bool", "u32", "i32"] as const) {
    for (const f of [vg.exp, vg.sqrt, vg.tanh, vg.sigmoid, vg.mean]) assert.is(f(one(dtype)).dtype, "f32");
    assert.is(vg.neg(one(dtype)).dtype, "i32");
    assert.is(vg.sign(one(dtype)).dtype, "i32");
    assert.is(vg.sum(one(dtype)).dtype, dtype === "u32" ? "u32" : "i32");
    assert.is(vg.argmax(one(dtype).cast("i32")).dtype, "i32");
  }
});

test("add(), mul() and neg() of integers wrap around", async () => {
  const [most, least] = [2 ** 31 - 1, -(2 ** 31)];
  const i = i32(most, least, -1, 7);
  same(await read(i.add(1)), [least, least + 1, 0, 8], "i32 + 1");
  same(await read(i.mul(2)), [-2, 0, -2, 14], "i32 * 2");
  same(await read(i.neg()), [-most, least, 1, -7], "-i32");
  same(await read(i.abs()), [most, least, 1, 7], "|i32|");
  same(await read(i.square()), [1, 0, 1, 49], "i32^2");
  same(await read(i.sum()), [5], "sum of i32");
  const u = u32(2 ** 32 - 1, 0, 1, 7);
  same(await read(u.add(1)), [0, 1, 2, 8], "u32 + 1");
  same(await read(u.sub(1)), [2 ** 32 - 2, 2 ** 32 - 1, 0, 6], "u32 - 1");
  same(
    await read(u.mul(2654435761)),
    [0, 1, 2, 7].map((k) =>
      k === 0 ? 2 ** 32 - 2654435761 : k === 1 ? 0 : k === 2 ? 2654435761 : Math.imul(7, 2654435761) >>> 0
    ),
    "u32 hash",
  );
  same(await read(u.sum()), [7], "sum of u32");
  same(await read(u.add(i)), [most - 1, least, 0, 14], "u32 + i32 is i32");
  same(await read(u.greater(3e9)), [1, 0, 0, 0], "u32 > 3e9");
  same(await read(u.max()), [2 ** 32 - 1], "max of u32");
  same(await read(u.argmax()), [0], "argmax of u32");
  same(await read(u.less(i)), [1, 0, 0, 0], "u32 < i32 compares as i32");
});

test("div() of integers gives f32 and divides by zero as floats do", async () => {
  same(await read(i32(7, -7, 0).div(2)), [3.5, -3.5, 0], "i32 / 2");
  same(await read(i32(7, -7, 0).div(i32(0, 0, 0))), [Infinity, -Infinity, NaN], "i32 / 0");
  same(await read(u32(7, 0).div(u32(0, 0))), [Infinity, NaN], "u32 / 0");
});

test("div() by a constant zero gives infinity with the right sign, and NaN", async () => {
  const x = f32(1, -2, 0, NaN, Infinity);
  const wanted = [Infinity, -Infinity, NaN, NaN, Infinity];
  const negative = [-Infinity, Infinity, NaN, NaN, -Infinity];
  same(await read(x.div(0)), wanted, "x / 0");
  same(await read(x.div(-0)), negative, "x / -0");
  same(await read(x.div(vg.zeros([5]))), wanted, "x / zeros");
  same(await read(x.div(vg.zeros([5]).mul(3))), wanted, "x / (0 * 3)");
  same(await read(x.div(full([5], 2).sub(2))), wanted, "x / (2 - 2)");
  same(await read(x.div(f32(0, 0, 0, 0, 0))), wanted, "x / stored zeros");
  same(await read(f32(1, 2).div(f32(1, 2).mul(0))), [Infinity, Infinity], "x / (x * 0)");
  same(await read(f32(1, 2).sum().div(0)), [Infinity], "sum / 0");
});

test("mul() of zero with infinity and NaN gives NaN, for constants and stored values", async () => {
  const x = f32(Infinity, NaN, 2);
  same(await read(x.mul(0)), [NaN, NaN, 0], "x * 0");
  same(await read(vg.mul(0, x)), [NaN, NaN, 0], "0 * x");
  same(await read(x.mul(f32(0, 0, 0))), [NaN, NaN, 0], "x * stored 0");
});

test("full() constants overflow, divide by zero and wrap as values from memory do", async () => {
  const big = full([1], 3e38);
  const cases: Record<string, [Tensor, number]> = {
    "3e38 * 10": [big.mul(10), Infinity],
    "-(3e38 * 10)": [big.mul(10).neg(), -Infinity],
    "inf - inf": [big.mul(10).sub(Infinity), NaN],
    "1 / 0": [full([1], 1).div(0), Infinity],
    "0 / 0": [vg.zeros([1]).div(0), NaN],
    "0 * inf": [vg.zeros([1]).mul(Infinity), NaN],
    "log -1": [full([1], -1).log(), NaN],
    "exp 1000": [full([1], 1000).exp(), Infinity],
    "-0": [full([1], -0), -0],
    "1 / -0": [full([1], 1).div(full([1], -0)), -Infinity],
    "1e300": [full([1], 1e300), Infinity],
    "least i32": [full([1], -(2 ** 31), { dtype: "i32" }), -(2 ** 31)],
    "- least i32": [full([1], -(2 ** 31), { dtype: "i32" }).neg(), -(2 ** 31)],
    "largest i32 + 1": [full([1], 2 ** 31 - 1, { dtype: "i32" }).add(1), -(2 ** 31)],
    "0u - 1u": [full([1], 0, { dtype: "u32" }).sub(full([1], 1, { dtype: "u32" })), 2 ** 32 - 1],
    "largest u32": [full([1], 2 ** 32 - 1, { dtype: "u32" }), 2 ** 32 - 1],
    "true and false": [full([1], 1, { dtype: "bool" }).logicalAnd(full([1], 0, { dtype: "bool" })), 0],
  };
  for (const [what, [t, wanted]] of Object.entries(cases)) same(await read(t), [wanted], what);
});

test("full() and arithmetic throw on numbers that a dtype does not hold", () => {
  const i = i32(1, 2);
  const wrong: [() => unknown, RegExp][] = [
    [() => full([1], 3e9, { dtype: "i32" }), /^full: the value 3000000000 does not fit dtype i32/],
    [() => full([1], -1, { dtype: "u32" }), /^full: the value -1 does not fit dtype u32/],
    [() => full([1], 0.5, { dtype: "i32" }), /^full: the value 0.5 does not fit dtype i32/],
    [() => full([1], NaN, { dtype: "u32" }), /^full: the value NaN does not fit dtype u32/],
    [() => vg.pad(i, { before: 1, value: 2 ** 31 }), /^pad: value 2147483648 does not fit dtype i32/],
    [() => vg.arange(-3, 3, { dtype: "u32" }), /^arange: the value -3 does not fit dtype u32/],
    [() => vg.arange(2 ** 31 - 1, 2 ** 31 + 1), /^arange: the value 2147483648 does not fit dtype i32/],
  ];
  for (const [f, message] of wrong) {
    assert.throws(f, (e: Error) => e instanceof VoxgradError && message.test(e.message));
  }
});

const hard = [NaN, Infinity, -Infinity, -0, 0, 1.9, -1.9, 2 ** 31, -(2 ** 31), 2 ** 32, 3e38, -3e38, 1e-40, 2147483520];
/** What `cast` documents, by number. */
const converted = (v: number, least: number, most: number): number =>
  Number.isNaN(v) ? 0 : Math.trunc(Math.min(most, Math.max(least, v))) + 0;
const expected: Record<string, number[]> = {
  i32: hard.map((v) => converted(v, -(2 ** 31), 2 ** 31 - 1)),
  u32: hard.map((v) => converted(v, 0, 2 ** 32 - 1)),
  bool: hard.map((v) => Number(v !== 0)),
};

for (const dtype of ["i32", "u32", "bool"] as const) {
  test(`cast() to ${dtype} truncates, saturates, takes NaN to ${dtype === "bool" ? "true" : "0"}`, async () => {
    const plain = (list: number[]): number[] => list.map((v) => v + 0);
    same(plain(await read(f32(...hard).cast(dtype))), expected[dtype], "on the device");
    same(plain(await read(tensor(new Float32Array(hard), { dtype }))), expected[dtype], "of a typed array");
    same(plain(await read(tensor(hard, { dtype }))), expected[dtype], "of numbers");
  });
}

test("arange() counts down too and ends within the dtype", async () => {
  same(await read(vg.arange(5, 0, { step: -2, dtype: "u32" })), [5, 3, 1], "u32");
  same(await read(vg.arange(2 ** 31 - 3, 2 ** 31)), [2 ** 31 - 3, 2 ** 31 - 2, 2 ** 31 - 1], "i32");
  same(await read(vg.arange(-(2 ** 31), 2 - 2 ** 31)), [-(2 ** 31), 1 - 2 ** 31], "least i32");
});

test("cast() between integers keeps the bits, cast() to bool gives 0 and 1", async () => {
  same(await read(i32(-1, 5).cast("u32")), [2 ** 32 - 1, 5], "i32 to u32");
  same(await read(u32(2 ** 32 - 1, 5).cast("i32")), [-1, 5], "u32 to i32");
  same(await read(tensor(new Int32Array([-1, 5]), { dtype: "u32" })), [2 ** 32 - 1, 5], "on the host");
  same(await read(i32(-3, 0, 9).cast("bool").cast("f32")), [1, 0, 1], "i32 to bool to f32");
  same(await read(u32(2 ** 32 - 1).cast("f32")), [2 ** 32], "u32 to f32");
});

test("add(), sub(), mul() and comparisons of booleans are those of 0 and 1", async () => {
  const [a, b] = [tensor([true, false, true, false]), tensor([true, true, false, false])];
  same(await read(a.add(b)), [2, 1, 1, 0], "a + b");
  same(await read(a.sub(b)), [0, -1, 1, 0], "a - b");
  same(await read(a.mul(0.5)), [0.5, 0, 0.5, 0], "a * 0.5");
  same(await read(a.less(b)), [0, 1, 0, 0], "a < b");
  same(await read(a.equal(b)), [1, 0, 0, 1], "a == b");
  same(await read(a.logicalOr(b)), [1, 1, 1, 0], "a or b");
  same(await read(a.maximum(b)), [1, 1, 1, 0], "max");
  same(await read(a.sum()), [2], "sum");
  same(await read(a.mean()), [0.5], "mean");
});

test("maximum(), minimum(), clamp() and relu() propagate NaN as PyTorch does", async () => {
  const [a, b] = [f32(NaN, 1, NaN, 2), f32(1, NaN, NaN, 3)];
  same(await read(a.maximum(b)), [NaN, NaN, NaN, 3], "maximum");
  same(await read(a.minimum(b)), [NaN, NaN, NaN, 2], "minimum");
  same(await read(a.clamp({ min: 0, max: 1.5 })), [NaN, 1, NaN, 1.5], "clamp");
  same(await read(a.relu()), [NaN, 1, NaN, 2], "relu");
  same(await read(a.leakyRelu()), [NaN, 1, NaN, 2], "leakyRelu");
  for (const f of [vg.max, vg.min, vg.sum, vg.mean, vg.logSumExp, vg.variance] as const) {
    same(await read(f(a)), [NaN], f.name);
  }
  same(await read(a.argmax()), [0], "argmax is the first NaN");
  same(await read(f32(5, NaN, 7, NaN).argmax()), [1], "argmax is the first NaN");
  same(await read(vg.softmax(a)), [NaN, NaN, NaN, NaN], "softmax");
  same(
    await read(vg.maxPool2d(f32(1, NaN, 2, 3).reshape({ shape: [1, 1, 1, 4] }), { kernel: [1, 2] })),
    [NaN, 3],
    "maxPool",
  );
});

test("equal(), less() and greater() are false with NaN, notEqual() is true", async () => {
  const [a, b] = [f32(NaN, 1, NaN, 2), f32(1, NaN, NaN, 3)];
  same(await read(a.equal(b)), [0, 0, 0, 0], "equal");
  same(await read(a.notEqual(b)), [1, 1, 1, 1], "notEqual");
  for (const f of [vg.less, vg.lessEqual]) same(await read(f(a, b)), [0, 0, 0, 1], f.name);
  for (const f of [vg.greater, vg.greaterEqual]) same(await read(f(a, b)), [0, 0, 0, 0], f.name);
  same(await read(a.notEqual(a)), [1, 0, 1, 0], "x != x");
  same(await read(a.logicalNot()), [0, 0, 0, 0], "NaN is true");
});

test("clamp(), logSumExp() and others treat infinity as PyTorch does", async () => {
  const inf = Infinity;
  same(await read(f32(inf, -inf).clamp({ min: -1 })), [inf, -1], "clamp below");
  same(await read(f32(inf, -inf).clamp({ max: 1 })), [1, -inf], "clamp above");
  same(await read(vg.logSumExp(f32(inf, 1))), [inf], "logSumExp of inf");
  same(await read(vg.logSumExp(f32(-inf, -inf))), [-inf], "logSumExp of -inf");
  same(await read(vg.softmax(f32(-inf, 0, -inf))), [0, 1, 0], "softmax of -inf");
  same(await read(vg.softmax(f32(-inf, -inf))), [NaN, NaN], "softmax of -inf alone");
  same(await read(f32(inf, -inf).tanh()), [1, -1], "tanh");
  same(await read(f32(inf, -inf, 5).erf()), [1, -1, 1], "erf");
  same(await read(f32(inf, -1e38).gelu()), [inf, -0], "gelu");
  same(await read(f32(inf, -inf, 1000).softplus()), [inf, 0, 1000], "softplus");
  same(await read(f32(inf, -inf).sigmoid()), [1, 0], "sigmoid");
  same(await read(f32(inf, 0, -1).log()), [inf, -inf, NaN], "log");
  same(await read(f32(-inf, inf, 0).exp()), [0, inf, 1], "exp");
  const bases = f32(0, 0, -1, -1, 2, NaN, 1, -2, -2, inf, -0);
  const exponents = f32(0, -1, 0.5, 2, NaN, 0, NaN, 3, inf, -1, -3);
  same(await read(bases.pow(exponents)), [1, inf, NaN, 1, NaN, 1, 1, -8, inf, 0, -inf], "pow");
});

test("neg(), abs(), sqrt() and others keep the sign of zero as PyTorch does", async () => {
  const z = f32(-0, 0);
  same(await read(z.neg()), [0, -0], "neg");
  same(await read(z.abs()), [0, 0], "abs");
  same(await read(z.sqrt()), [-0, 0], "sqrt");
  same(await read(z.tanh()), [-0, 0], "tanh");
  same(await read(z.floor()), [-0, 0], "floor");
  same(await read(z.clamp({ min: 0 })), [-0, 0], "clamp");
  same(await read(vg.div(1, z)), [-Infinity, Infinity], "1 / z");
  same(await read(z.rsqrt()), [-Infinity, Infinity], "rsqrt");
  same(await read(z.equal(0)), [1, 1], "equal");
});

test("toHalf() and fromHalf() agree on all 65536 values and round ties to even", () => {
  const bits = new DataView(new ArrayBuffer(2));
  for (let h = 0; h < 65536; h++) {
    const value = fromHalf(h);
    // By the definition, with powers of two written out.
    const [exponent, mantissa] = [(h >> 10) & 31, h & 1023];
    const magnitude = exponent === 0 ? mantissa / 2 ** 24 : ((1024 + mantissa) / 1024) * 2 ** (exponent - 15);
    const wanted = exponent === 31 ? (mantissa ? NaN : Infinity) : magnitude;
    assert.ok(Object.is(Math.abs(value), wanted), `${h}: ${value}`);
    if (Number.isNaN(value)) continue;
    assert.is(toHalf(value), h);
    if (exponent === 31 || h >= 0x8000) continue;
    const next = h === 0x7bff ? 65536 : fromHalf(h + 1);
    const middle = (value + next) / 2;
    assert.is(toHalf(middle), h % 2 === 0 ? h : h + 1, `the middle above ${value}`);
    assert.is(toHalf(middle * (1 - 2 ** -40)), h, `below the middle above ${value}`);
    assert.is(toHalf(middle * (1 + 2 ** -40)), h + 1, `beyond the middle above ${value}`);
    assert.is(toHalf(-middle), (h % 2 === 0 ? h : h + 1) | 0x8000);
  }
  assert.is(toHalf(NaN) & 0x7c00, 0x7c00);
  assert.is(bits.byteLength, 2);
});

test("tensor() of f16 rounds after each operator and reduces in f32, or is refused without shader-f16", async () => {
  const data = [1, 2.0005, 65504, 1e-7, -0.1];
  const h = tensor(data, { dtype: "f16" });
  if (!(await vg.deviceInfo()).features.includes("shader-f16")) {
    for (
      const f of [
        () => h.mul(2).data(),
        () => full([2], 1).cast("f16").data(),
        () => vg.compile((x: Tensor) => x.add(1))(h),
      ]
    ) {
      const message = await (f() as Promise<unknown>).then(
        () => "",
        (e: Error) => e.message,
      );
      assert.match(message, /: dtype f16 needs the WebGPU feature shader-f16, which this adapter lacks; use f32$/);
    }
    return;
  }
  const round = (v: number): number => fromHalf(toHalf(v));
  const rounded = data.map(round);
  same(await read(h), rounded, "upload");
  same(await read(h.add(0)), rounded, "through a kernel");
  same(
    await read(h.mul(3)),
    rounded.map((v) => round(v * 3)),
    "product",
  );
  same(
    await read(h.mul(3).sub(h.mul(3).floor())),
    rounded.map((v) => round(round(v * 3) - Math.floor(round(v * 3)))).map((v) => (Number.isNaN(v) ? NaN : v)),
    "chain",
  );
  const many = tensor(new Float32Array(3000).fill(1), { dtype: "f16" });
  same(await read(many.sum()), [3000], "sum");
  same(await read(many.mul(30).sum()), [Infinity], "a sum beyond 65504");
  same(await read(many.mul(30).mean()), [30], "a mean of a sum beyond 65504");
  same(
    await read(vg.arange(0, 2, { step: 0.1, dtype: "f16" }).slice({ end: [3] })),
    [0, round(0.1), round(0.2)],
    "arange",
  );
  same(await read(full([1], 0.1, { dtype: "f16" })), [round(0.1)], "full");
  same(await read(f32(1e-8, 70000, -70000, NaN).cast("f16")), [0, Infinity, -Infinity, NaN], "cast");
});

test.after(vg.closeDevice);
test.run();
