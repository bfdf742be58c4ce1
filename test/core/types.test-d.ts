/**
 * The types that a caller sees. Only compiled, by `tsc -p test`: what must not compile stands below @ts-expect-error.
 */
import {
  checkpoint,
  compile,
  cond,
  customVjp,
  evaluate,
  foriLoop,
  grad,
  hessian,
  hvp,
  jacobian,
  jvp,
  linearize,
  loadParameters,
  ones,
  scan,
  type Tensor,
  type Tree,
  tree,
  valueAndGrad,
  vjp,
  vmap,
  whileLoop,
} from "voxgrad";
import { adam, clipGradNorm, convParameters, initialize, normParameters } from "voxgrad/nn";

/** Compiles only if A and B are the same type. */
function same<A, B>(_: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false): void {}
type P = { weight: Tensor; bias?: Tensor; blocks: { scale: Tensor }[] };

const x: Tensor = ones([2]);
const params: P = { weight: x, blocks: [{ scale: x }] };
const lossOf = (p: P, y: Tensor): Tensor => p.weight.mul(y).sum();
const withAux = (p: P, y: Tensor) => [lossOf(p, y), { logits: y, count: 3 }] satisfies [Tensor, object];

export async function derivatives(): Promise<void> {
  const gradient = grad(lossOf)(params, x);
  same<typeof gradient, P>(true);
  // @ts-expect-error no such parameter
  gradient.wait;
  // @ts-expect-error the second argument is missing
  grad(lossOf)(params);
  // @ts-expect-error a loss is a tensor
  grad(() => 1);
  // @ts-expect-error no such option
  grad(lossOf, { argnum: 1 });

  const second = grad(lossOf, { argnums: 1 })(params, x);
  same<typeof second, Tensor>(true);
  const both = grad(lossOf, { argnums: [1, 0] })(params, x);
  same<typeof both, [Tensor, P]>(true);
  const untyped = grad((w) => w.square().sum())(x);
  same<typeof untyped, Tensor>(true);

  const [loss, grads] = valueAndGrad(lossOf)(params, x);
  same<typeof loss, Tensor>(true);
  same<typeof grads, P>(true);
  await loss.item();
  // @ts-expect-error a slip of the pen
  await loss.itme();

  const [[value, aux], slopes] = valueAndGrad(withAux, { hasAux: true, argnums: [0] })(params, x);
  same<typeof value, Tensor>(true);
  same<typeof aux, { logits: Tensor; count: number }>(true);
  same<typeof slopes, [P]>(true);
  const [[, plain]] = valueAndGrad((w) => [w.sum(), { w }], { hasAux: true })(x);
  same<typeof plain, { w: Tensor }>(true);
  // @ts-expect-error hasAux is missing
  valueAndGrad(withAux);
  // @ts-expect-error the function returns no pair
  valueAndGrad(lossOf, { hasAux: true });

  const [out, pullback] = vjp((p: P, y) => ({ y: lossOf(p, y) }), [params, x]);
  same<typeof out, { y: Tensor }>(true);
  const cotangents = pullback(out);
  same<typeof cotangents, [P, Tensor]>(true);
  // @ts-expect-error a cotangent is like the value
  pullback(x);

  const [result, tangent] = jvp((y) => [y], [x], [x]);
  same<typeof result, Tensor[]>(true);
  same<typeof tangent, Tensor[]>(true);
  // @ts-expect-error a tangent for each primal
  jvp(lossOf, [params, x], [params]);
  const products = hvp(lossOf, [params, x], [params, x]);
  same<typeof products, [P, Tensor]>(true);

  const [, pullOne] = vjp(lossOf, [params, x], { argnums: 1 });
  same<ReturnType<typeof pullOne>, [Tensor]>(true);
  const picked = hvp(lossOf, [params, x], [x, params], { argnums: [1, 0] });
  same<typeof picked, [Tensor, P]>(true);
  // @ts-expect-error the tangents are those of argnums
  jvp(lossOf, [params, x], [params], { argnums: 1 });
  const [line, push] = linearize((p: P) => ({ y: lossOf(p, x) }), [params]);
  same<typeof line, { y: Tensor }>(true);
  same<typeof push, (tangent: P) => { y: Tensor }>(true);

  const matrix = jacobian((y) => y.square())(x);
  same<typeof matrix, Tensor>(true);
  const blocks = jacobian((p: P) => ({ y: [p.weight] }))(params);
  same<typeof blocks, { y: P[] }>(true);
  const curvature = hessian(lossOf)(params, x);
  same<typeof curvature.weight, P>(true);
  const corner = hessian(lossOf, { argnums: [1] })(params, x);
  same<(typeof corner)[0], [Tensor]>(true);

  const [state, outs] = scan((c: { h: Tensor }, y: Tensor) => [{ h: c.h.add(y) }, [y, c]], { h: x }, x);
  same<typeof state, { h: Tensor }>(true);
  same<typeof outs, (Tensor | { h: Tensor })[]>(true);
  // @ts-expect-error the carry keeps its type
  scan((c: { h: Tensor }) => [c.h, null], { h: x }, null, { length: 2 });
  const counted = foriLoop(0, 3, (i, c) => ({ h: c.h.add(i) }), { h: x });
  same<typeof counted, { h: Tensor }>(true);
  const ended = whileLoop((c) => c.h.sum().less(3), (c) => ({ h: c.h.add(1) }), { h: x }, { bound: 3 });
  same<typeof ended, { h: Tensor }>(true);
  // @ts-expect-error a loop has a bound
  whileLoop((c: Tensor) => c.less(3), (c: Tensor) => c, x);
  const taken = cond(x.sum().greater(0), (y) => ({ y }), (y) => ({ y: y.neg() }), x);
  same<typeof taken, { y: Tensor }>(true);

  const each = vmap(grad(lossOf), { inAxes: [null, 0] })(params, x);
  same<typeof each, P>(true);
  const kept = checkpoint(lossOf)(params, x);
  same<typeof kept, Tensor>(true);

  const cube = customVjp(
    (p: { x: Tensor }, scale: number) => p.x.pow(3).mul(scale),
    (p, scale) => [p.x.pow(3).mul(scale), [p.x, scale]],
    ([y, scale], g) => [{ x: y.square().mul(3 * scale).mul(g) }, null],
  );
  const cubes = cube({ x }, 2);
  same<typeof cubes, Tensor>(true);
  // @ts-expect-error cotangents are those of the arguments
  customVjp((y: Tensor) => y, (y) => [y, null], (_, g) => [{ g }]);
}

export async function trees(): Promise<void> {
  const shapes = tree.map(params, (leaf) => leaf.shape.length);
  same<typeof shapes.blocks, { scale: number }[]>(true);
  const halves: P = tree.map(params, (leaf) => leaf.mul(0.5));
  same<typeof halves, P>(true);
  // @ts-expect-error leaves are tensors
  tree.map(params, (leaf) => leaf.itme());
  const moved = tree.map(params, params, (p, q, path) => p.add(q.mul(path.length)));
  same<typeof moved.blocks, { scale: Tensor }[]>(true);
  // @ts-expect-error the leaves of the second tree are numbers
  tree.map(params, { weight: 1 }, (p, n) => p.add(n.mul(2)));
  const total: P = tree.add(params, tree.scale(params, 0.5));
  // @ts-expect-error another tree
  tree.add(params, { weight: x });
  same<typeof total, P>(true);
  const leaves = tree.leaves(params);
  same<typeof leaves, Tensor[]>(true);
  const mixed = tree.leaves({ a: 1, b: ["c", null] });
  same<typeof mixed, (number | string)[]>(true);
  const loaded: Tree = tree.unflatten(tree.flatten(params));
  const doubled: Tree = tree.map(loaded, (leaf) => leaf.mul(2));
  const unknownLeaves = tree.leaves(doubled as unknown);
  same<typeof unknownLeaves, unknown[]>(true);

  const first = initialize(x, { conv: convParameters(1, 8, [3, 3]), norms: [normParameters(8)] });
  await first.norms[0].weight.item();
  // @ts-expect-error no such layer
  first.pool;
  const again = loadParameters(first, tree.flatten(first));
  same<typeof again, typeof first>(true);
  const known = await evaluate({ first, count: 1 });
  same<typeof known.first, typeof first>(true);
}

export async function steps(): Promise<void> {
  const optimizer = adam();
  const state = optimizer.init(params);
  const [clipped, norm] = clipGradNorm(params, 12);
  same<typeof clipped, P>(true);
  same<typeof norm, Tensor>(true);
  const next = optimizer.update(clipped, state, params, 0.1);
  same<typeof next, [params: P, state: typeof state]>(true);
  // @ts-expect-error gradients are like the parameters
  optimizer.update({ weight: x }, state, params, 0.1);
  // @ts-expect-error the learning rate is missing
  optimizer.update(params, state, params);

  const step = compile((p: P, s: typeof state, y: Tensor, rate: Tensor) => {
    const [loss, grads] = valueAndGrad(lossOf)(p, y);
    const [updated, after] = optimizer.update(grads, s, p, rate);
    return { loss, updated, after };
  }, { donate: [0, 1] });
  const done = await step(params, state, x, 0.1);
  same<typeof done.updated, P>(true);
  await step(done.updated, done.after, x, 0.1);
  await done.loss.item();
  // @ts-expect-error a slip of the pen
  await done.loss.itme();
  // @ts-expect-error the batch is missing
  await step(params, state, 0.1);
  // @ts-expect-error numbers are traced as tensors
  compile((y: Tensor, n: number) => y.mul(n));
  const power = compile((y: Tensor, n: number) => y.pow(n), { static: [1] });
  await (await power(x, 3)).item();
}
