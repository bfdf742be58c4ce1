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

const takers = ["grad", "valueAndGrad", "vjp", "jvp", "hvp", "vmap", "checkpoint", "customVjp", "customJvp", "compile"];
for (const name of [...takers, "jacobian", "hessian", "linearize"]) {
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
  await refuses(() => api.vjp(total, [x], { argnums: 1 }), /^vjp: argnums lists the argument 1, there are 1 primals$/);
  await refuses(() => api.vjp(total, [x], { argnums: [0, 0] }), /^vjp: argnums is the position of an argument from 0/);
  await refuses(() => api.vjp(total, [x], { args: 0 }), /^vjp: unknown option "args"; it takes argnums$/);
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
      new RegExp(`^${name}: primals are an array, one entry per argument, got undefined$`),
    );
    await refuses(
      () => of(total, x, x),
      new RegExp(`^${name}: primals are an array, one entry per argument, got Tensor`),
    );
    for (const tangents of [[], [x, x], x, undefined]) {
      await refuses(
        () => of(total, [x], tangents),
        new RegExp(`^${name}: tangents are an array, one tree for each of`),
      );
    }
    await refuses(
      () => of(total, [x, x], [x, x], { argnums: 1 }),
      new RegExp(`^${name}: tangents are an array, one tree for each of the 1 primals`),
    );
    await refuses(
      () => of(total, [x], [x], { argnums: -1 }),
      new RegExp(`^${name}: argnums is the position of an arg`),
    );
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

test("jacobian() and hessian() throw on bad options, arguments and results", async () => {
  for (const name of ["jacobian", "hessian"]) {
    await refuses(
      () => api[name](same, { argnums: "a" })(x),
      new RegExp(`^${name}: argnums is the position of an arg`),
    );
    await refuses(() => api[name](same, { axis: 0 }), new RegExp(`^${name}: unknown option "axis"; it takes argnums`));
    await refuses(() => api[name](same)(whole), new RegExp(`^${name}: the argument is i32, which has no gradient`));
    await refuses(
      () => api[name]((t: Tensor) => t.argmax())(x),
      new RegExp(`^${name}: the function gives f32 or f16, which have derivatives, got Tensor\\(i32`),
    );
    await refuses(
      () => api[name](() => 1)(x),
      new RegExp(`^${name}: the function gives a tree of tensors, got the leaf 1$`),
    );
    await refuses(() => api[name](async () => x)(x), new RegExp(`^${name}: the function is asynchronous`));
  }
  await refuses(() => api.jacobian(same, { mode: "both" }), /^jacobian: mode is "forward" or "reverse", got "both"$/);
});

test("vmap() throws on bad options, axes and arguments", async () => {
  await refuses(() => api.vmap(same, null), /^vmap: options are an object, got null; it takes /);
  await refuses(() => api.vmap(same, { axis: 0 }), /^vmap: unknown option "axis"; it takes inAxes, outAxes$/);
  for (const inAxes of [0.5, "a", NaN, [0.5], ["a"], [{ w: "a" }], { w: 0 }, null]) {
    await refuses(() => api.vmap(same, { inAxes }), /^vmap: inAxes is an axis, or for each argument an axis, null or /);
  }
  for (const outAxes of [0.5, "a", NaN, { y: [0.5] }]) {
    await refuses(() => api.vmap(same, { outAxes }), /^vmap: outAxes is an axis, null or a tree of them, got /);
  }
  const tree = { w: ones([3, 2]), parts: [ones([3]), ones([2])] };
  const over = (inAxes: unknown, outAxes: unknown = 0) => () => api.vmap(same, { inAxes, outAxes })(tree);
  await refuses(over([{ w: 0 }]), /^vmap: the axes of argument 0 lack parts: an axis, or null for none$/);
  await refuses(
    over([{ w: 0, parts: null, b: 0 }]),
    /^vmap: the axes of argument 0 name b, which \{ w, parts \} lacks$/,
  );
  await refuses(
    over([{ w: 0, parts: [0] }]),
    /^vmap: the axes of argument 0, parts are \[0\], which does not fit \[Ten/,
  );
  await refuses(
    over([{ w: { a: 0 }, parts: 0 }]),
    /^vmap: the axes of argument 0, w are \{ a \}, which does not fit Ten/,
  );
  await refuses(over([{ w: 0, parts: 0 }]), /^vmap: argument 0, parts\.1 is .*: 2 examples along axis 0, other/);
  await refuses(
    over([{ w: 0, parts: [0, 1] }]),
    /^vmap: argument 0, parts\.1 is Tensor\(f32\[2\]\), which has no axis 1$/,
  );
  await refuses(
    over([{ w: 0, parts: [0, null] }], { w: 0, parts: null }),
    /^vmap: outAxes is null for the result, parts\.0, which differs between the examples$/,
  );
  await refuses(() => api.vmap(same, { inAxes: [0, 0] })(x), /^vmap: inAxes has 2 entries for 1 arguments$/);
  await refuses(() => api.vmap(same)(), /^vmap: no argument has a tensor to map over$/);
  await refuses(() => api.vmap(same)(1), /^vmap: no argument has a tensor to map over$/);
  await refuses(() => api.vmap(same)(ones([])), /^vmap: argument 0 is Tensor\(f32\[\]\), which has no axis 0$/);
  await refuses(() => api.vmap(vg.add)(x, ones([3])), /^vmap: argument 1 is .*: 3 examples along axis 0, other/);
  await refuses(() => api.vmap(same, { outAxes: 2 })(x), /^vmap: outAxes 2 is no axis of the result, Tensor/);
  await refuses(() => api.vmap(async () => x)(x), /^vmap: the function is asynchronous/);
});

test("customJvp() throws on bad functions and rules", async () => {
  await refuses(() => api.customJvp(same), /^customJvp: rule is a function, got undefined$/);
  await refuses(() => api.customJvp(same, same, {}), /^customJvp: it takes no options, got \{\}$/);
  const by = (rule: unknown) => () => vg.jvp(api.customJvp(same, rule) as any, [x], [x]);
  await refuses(by(same), /^customJvp: the rule gives \[output, tangent\], got \[Tensor/);
  await refuses(
    by(() => [x, 1]),
    /^customJvp: the tangent that the rule gives: a tensor like .* belongs there, got 1$/,
  );
  await refuses(by(() => [x, ones([2])]), /^customJvp: the tangent that the rule gives: the shape is that of Tensor/);
  await refuses(by(async () => [x, x]), /^customJvp: the function is asynchronous/);
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
