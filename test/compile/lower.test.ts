/** Which values of a graph are equal. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { lower } from "../../engine/compile/graph/lower.ts";
import { Tensor } from "../../engine/mod.ts";
import type { Target } from "../../shaders/types.ts";

const target: Target = {
  software: true,
  maxWorkgroupSize: 256,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupStorage: 16384,
  maxStorageBuffers: 8,
  maxBindingBytes: 2 ** 27,
  features: new Set(),
};
const x = new Tensor([2, 6], "f32", { kind: "placeholder" });

/** The operators that are left of some tensors, in order. */
const operatorsOf = (...outputs: Tensor[]): string =>
  lower(outputs, target, [x]).values.flatMap(({ op }) => op ? [op.name] : []).join(" ");

test("lower() merges values of equal operators, inputs, attributes, shapes and dtypes", () => {
  const made = (k: number): Tensor => vg.sum(vg.roll(x, { shift: [1, k], axes: [0, 1] }).mul(0.25), { axes: [1] });
  assert.is(operatorsOf(made(2), made(2)), operatorsOf(made(2)));
  assert.is(operatorsOf(vg.full([2], NaN), vg.full([2], NaN)), "full");
  assert.is(lower([made(2), made(2)], target, [x]).key, lower([made(2), made(2)], target, [x]).key);
});

test("lower() keeps apart what differs in one of them", () => {
  assert.is(operatorsOf(x.exp(), x.sin()), "exp sin");
  assert.is(operatorsOf(x.exp(), x.exp().exp()), "exp exp");
  assert.is(operatorsOf(x.sum({ axes: [0] }), x.sum({ axes: [1] })), "sum sum");
  assert.is(operatorsOf(x.cast("i32"), x.cast("u32")), "cast cast");
  assert.is(operatorsOf(vg.full([2], 0), vg.full([2], -0)), "full full");
  assert.is(operatorsOf(vg.full([2], 1), vg.full([1, 2], 1)), "full full");
  assert.is(operatorsOf(vg.full([2], 1), vg.full([2], 1, { dtype: "i32" })), "full full");
  const [one, other] = [0, -0].map((value) => lower([vg.full([2], value)], target).key);
  assert.is.not(one, other);
});

test("lower() keeps apart 3000 constants, many of them nearly equal", () => {
  const values = Array.from({ length: 1000 }, (_, k) => [k, 1 + k * 2 ** -52, k * 2 ** -1070]).flat();
  const distinct = new Set(values.map((value) => (Object.is(value, -0) ? "-0" : value))).size;
  const constants = [...values, ...values].map((value) => vg.full([], value));
  assert.is(lower(constants, target).values.length, distinct);
});

test.run();
