// deno-lint-ignore-file no-explicit-any
/**
 * Bad arguments of what takes functions and trees: grad, vjp, jvp, hvp, vmap, checkpoint, customVjp, compile, evaluate.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { ones, Tensor, tensor } from "../../engine/mod.ts";
import { refuses } from "../helpers/refuse.ts";

const api = vg as unknown as Record<string, (...args: any[]) => any>;
const x = ones([2, 3]);
const total = (t: Tensor): Tensor => t.sum();
const same = <T>(t: T): T => t;
const whole = tensor(new Int32Array(2));
const truth = tensor([true, false]);

/** An error of ours with this message, thrown or rejected with. */
const strangers = [undefined, null, "f", 1, {}, [], x];

for (const name of ["grad", "valueAndGrad", "vjp", "jvp", "hvp", "vmap", "checkpoint", "customVjp", "compile"]) {
  test(`${name}() throws on what is not a function`, async () => {
    for (const stranger of strangers) {
      const message = new RegExp(`^${name}: (f|the( first)? argument) is a function, got `);
      await refuses(() => api[name](stranger, [x], [x]), message);
    }
  });
}

test("grad() and valueAndGrad() throw on bad arguments and results", async () => {
  for (const name of ["grad", "valueAndGrad"]) {
    const of = (f: any, ...rest: any[]): any => api[name](f, ...rest);
    await refuses(() => of(total)(), new RegExp(`^${name}: arguments are trees of tensors, got undefined$`));
    await refuses(
      () => of(total)({ w: [x, "a"] }),
      new RegExp(`^${name}: arguments are trees of tensors, got "a" at w.1$`),
    );
    await refuses(() => of(total)(3), new RegExp(`^${name}: arguments are trees of tensors, got 3$`));
    await refuses(() => of(total)(whole), new RegExp(`^${name}: the argument is i32, which has no gradient`));
    await refuses(() => of(() => x)({ a: truth }), new RegExp(`^${name}: the leaf a is bool, which has no gradient`));
    await refuses(
      () => of(same)(x),
      new RegExp(`^${name}: the function gives one number of dtype f32 or f16, got Tensor`),
    );
    await refuses(() => of(() => 1)(x), new RegExp(`^${name}: the function gives one number .*, got 1; reduce it`));
    await refuses(() => of((t: Tensor) => t.argmax())(x), new RegExp(`^${name}: the function gives one number .*i32`));
    await refuses(() => of(async (t: Tensor) => t.sum())(x), new RegExp(`^${name}: the function is asynchronous`));
  }
  await refuses(
    () => api.valueAndGrad(total, { aux: true }),
    /^valueAndGrad: unknown option "aux"; it takes argnums, hasAux$/,
  );
  await refuses(() => api.valueAndGrad(total, null), /^valueAndGrad: options are an object, got null; it takes /);
  await refuses(() => api.valueAndGrad(total, { hasAux: 1 }), /^valueAndGrad: hasAux is true or false, got 1$/);
  await refuses(() => api.valueAndGrad(total, { hasAux: true })(x), /^valueAndGrad: with hasAux the function gives/);
});

test("vjp() throws on bad primals, results and cotangents", async () => {
  await refuses(() => api.vjp(total, x), /^vjp: primals are an array, one entry per argument, got Tensor/);
  await refuses(() => api.vjp(total), /^vjp: primals are an array, one entry per argument, got undefined$/);
  await refuses(() => api.vjp(total, ["a"]), /^vjp: arguments are trees of tensors, got "a"$/);
  await refuses(() => api.vjp(total, [whole]), /^vjp: the argument is i32, which has no gradient/);
  await refuses(() => api.vjp(() => [x, 1], [x]), /^vjp: the function gives a tree of tensors, got the leaf 1$/);
  await refuses(() => api.vjp(async () => x, [x]), /^vjp: the function is asynchronous/);
  const [, pullback] = vg.vjp(same, [x]);
  for (const wrong of [undefined, null, 1, "a", [x, x], ones([3, 2])]) {
    await refuses(() => pullback(wrong as never), /^vjp: the cotangents: /);
  }
});

test("jvp() and hvp() throw on primals and tangents that do not match", async () => {
  for (const name of ["jvp", "hvp"]) {
    const of = api[name];
    await refuses(
      () => of(total),
      new RegExp(`^${name}: primals and tangents are arrays of one length, got undefined and`),
    );
    await refuses(
      () => of(total, x, x),
      new RegExp(`^${name}: primals and tangents are arrays of one length, got Tensor`),
    );
    await refuses(() => of(total, [x], []), new RegExp(`^${name}: primals and tangents are arrays of one length`));
    await refuses(
      () => of(total, [whole], [whole]),
      new RegExp(`^${name}: the argument is i32, which has no gradient`),
    );
    await refuses(
      () => of(total, [truth], [truth]),
      new RegExp(`^${name}: the argument is bool, which has no gradient`),
    );
    for (const wrong of [1, "a", null, ones([3, 2]), [x, x]]) {
      await refuses(() => of(total, [x], [wrong]), new RegExp(`^${name}: the tangents at 0: `));
    }
  }
  await refuses(() => api.jvp(() => "a", [x], [x]), /^jvp: the function gives a tree of tensors, got the leaf "a"$/);
  await refuses(() => api.hvp(same, [x], [x]), /^hvp: the function gives one number of dtype f32 or f16, got Tensor/);
});

test("vmap() throws on bad options, axes and arguments", async () => {
  await refuses(() => api.vmap(same, null), /^vmap: options are an object, got null; it takes /);
  await refuses(() => api.vmap(same, { axis: 0 }), /^vmap: unknown option "axis"; it takes inAxes, outAxis$/);
  for (const inAxes of [0.5, "a", NaN, [0.5], ["a"]]) {
    await refuses(() => api.vmap(same, { inAxes }), /^vmap: inAxes is an axis or one axis or null an argument, got /);
  }
  for (const outAxis of [0.5, "a", NaN, [0]]) {
    await refuses(() => api.vmap(same, { outAxis }), /^vmap: outAxis is an axis, got /);
  }
  await refuses(() => api.vmap(same, { inAxes: [0, 0] })(x), /^vmap: inAxes has 2 entries for 1 arguments$/);
  await refuses(() => api.vmap(same)(), /^vmap: no argument has a tensor to map over$/);
  await refuses(() => api.vmap(same)(1), /^vmap: no argument has a tensor to map over$/);
  await refuses(() => api.vmap(same)(ones([])), /^vmap: argument 0 is Tensor\(f32\[\]\), which has no axis 0$/);
  await refuses(() => api.vmap(vg.add)(x, ones([3])), /^vmap: argument 1 is .*: 3 examples along axis 0, other/);
  await refuses(() => api.vmap(same, { outAxis: 2 })(x), /^vmap: outAxis 2 is no axis of a result Tensor/);
  await refuses(() => api.vmap(async () => x)(x), /^vmap: the function is asynchronous/);
});

test("checkpoint() and customVjp() throw on bad functions and rules", async () => {
  await refuses(
    () => api.checkpoint(() => 1)(x),
    /^checkpoint: the function gives a tree of tensors, got the leaf 1$/,
  );
  await refuses(() => api.checkpoint(async () => x)(x), /^checkpoint: the function is asynchronous/);
  await refuses(() => api.customVjp(same), /^customVjp: forward is a function, got undefined$/);
  await refuses(() => api.customVjp(same, same, 1), /^customVjp: backward is a function, got 1$/);
  const by = (forward: unknown, backward: unknown) => () =>
    vg.grad((t: Tensor) => api.customVjp(same, forward, backward)(t).sum())(x);
  await refuses(by(same, same), /^customVjp: forward gives \[output, residuals\], got Tensor/);
  await refuses(
    by(
      (t: Tensor) => [t, null],
      () => x,
    ),
    /^customVjp: backward gives an array with one entry for each of/,
  );
  await refuses(
    by(
      (t: Tensor) => [t, null],
      () => [ones([1])],
    ),
    /^customVjp: backward's cotangents of argument 0: the shape is that of Tensor.*, got Tensor/,
  );
});

test("compile() and evaluate() throw on bad functions, options and arguments", async () => {
  await refuses(() => api.compile(same, null), /^compile: options are an object, got null; it takes /);
  await refuses(
    () => api.compile(same, { donated: [0] }),
    /^compile: unknown option "donated"; it takes donate, static, precision$/,
  );
  for (const donate of [0, "a", [-1], [0.5], [NaN]]) {
    await refuses(() => api.compile(same, { donate }), /^compile: donate lists argument positions, got /);
  }
  await refuses(
    () => vg.compile(same)(new Map() as any),
    /^compile: the argument 0 is a Map; it takes trees of tensors/,
  );
  await refuses(() => vg.compile(() => 1 as any)(), /^compile: the function gives no tensor, got 1$/);
  await refuses(() => vg.compile(async () => x)(), /^compile: the function is asynchronous/);
  for (const wrong of [() => x, Promise.resolve(x), new Map([["w", x]])]) {
    await refuses(() => vg.evaluate({ a: [wrong] }), /^evaluate: values are trees of tensors, got a .* at a.0$/);
  }
  // Other values pass through.
  const given = { loss: x.sum(), step: 3, name: "a", none: null, data: new Float32Array(2) };
  assert.is(await vg.evaluate(given), given);
  assert.is(await given.loss.item(), 6);
});

test.after(vg.closeDevice);
test.run();
