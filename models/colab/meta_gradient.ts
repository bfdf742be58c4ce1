/** The meta-gradient: how context labels change the loss on ROI classes after one step. */
import {
  check,
  checkOptions,
  checkpoint,
  grad,
  hvp,
  jvp,
  type Params,
  slice,
  softmax,
  stopGradient,
  sum,
  Tensor,
  tree,
  valueAndGrad,
  vjp,
  where,
} from "../../engine/mod.ts";
import { deepSupervision } from "../../engine/nn/mod.ts";
import {
  pyramidLabels,
  roiLoss,
  type RoiLossOptions,
  segmentationLoss,
  type SegmentationLossOptions,
} from "./losses.ts";

/** How the meta-gradient is taken. */
export type MetaMethod = "exact" | "finite-difference" | "implicit";

export interface MetaGradientOptions<T = Params, O = Params> {
  /**
   * Logits of the batch by the segmentation network; given a sample's number, of that sample alone, [1, K, ...space].
   * Several outputs, finest first, are taught by `weights`; L_ROI looks at the finest.
   */
  readonly segment: (theta: T, sample?: number) => Tensor | readonly Tensor[];
  /** Weights of several outputs; default those of nn.deepSupervision. */
  readonly weights?: readonly number[];
  /** Logits of the batch by the task generator; given a sample's number, of that sample alone, [1, t, ...space]. */
  readonly generate: (omega: O, sample?: number) => Tensor;
  readonly theta: T;
  readonly omega: O;
  readonly roi: Tensor;
  readonly mask: Tensor;
  /** Rate of the inner step. */
  readonly alpha: number | Tensor;
  /**
   * P of an inner step theta - alpha P g, given its gradient g: a symmetric linear map that is held fixed, such as the
   * scales of Adam. Default: none (paper).
   */
  readonly precondition?: (gradient: T) => (direction: T) => T;
  readonly method?: MetaMethod;
  /**
   * "batch", unless given: one inner step on the whole batch (paper). "sample": one on each sample, and the mean of the
   * gradients; the official code, too, looks at samples one by one, but updates the generator after each.
   */
  readonly per?: "batch" | "sample";
  /**
   * Whether what lies within the generator is computed again for its derivative instead of being kept: a forward pass
   * of it for about as much memory as a training step takes. Default true.
   */
  readonly recompute?: boolean;
  readonly segmentation?: SegmentationLossOptions;
  readonly roiOptions?: RoiLossOptions;
  /**
   * Of the implicit method: steps of conjugate gradients (default 10), and what is added to the Hessian (1e-2).
   */
  readonly iterations?: number;
  readonly damping?: number;
}

const META_KEYS = [
  "segment",
  "weights",
  "generate",
  "theta",
  "omega",
  "roi",
  "mask",
  "alpha",
  "precondition",
  "method",
  "per",
  "recompute",
  "segmentation",
  "roiOptions",
  "iterations",
  "damping",
];

const zip = (a: Params, b: Params, f: (x: Tensor, y: Tensor) => Tensor): Params =>
  tree.map(a, b, (x: Tensor, y: Tensor) => f(x, y));
const dot = (a: Params, b: Params): Tensor =>
  (tree.leaves(zip(a, b, (x, y) => sum(x.mul(y)))) as Tensor[]).reduce((x, y) => x.add(y));
/** a + s b */
const along = (a: Params, b: Params, s: Tensor | number): Params => zip(a, b, (x, y) => x.add(y.mul(s)));
const fixed = (a: Params): Params => tree.map(a, (x: Tensor) => stopGradient(x));

/**
 * The gradient of L_ROI after one inner step by the generator's parameters (Eqs. 12 to 15): with
 * theta* = theta - alpha P dL_seg/dtheta(theta, omega), P the identity unless given, and v = P dL_ROI/dtheta(theta*),
 *
 *     exact              -alpha d/domega <dL_seg/dtheta(theta, omega), v>
 *     finite-difference  -alpha (g+ - g-) / 2 eps, g± = dL_seg/domega(theta ± eps v, omega), eps = 0.01 / |v|  (Eq. 18)
 *     implicit           -d/domega <dL_seg/dtheta, x>, (H + damping) x = dL_ROI/dtheta(theta)               (Eqs. 16,
 *     17)
 *
 * The exact one needs no second derivative of the network: theta and omega meet in the labels alone, so the inner
 * product is the derivative of L_seg along v (forward mode), differentiated by the labels (reverse mode), and by omega
 * through them. theta is not changed.
 *
 * @returns a tree as omega
 * @example
 * ```ts
 * import { conv3d, ones, random, type Tensor, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const [a, b, c] = random.split(random.key(0), 3);
 * const x = random.normal(a, { shape: [1, 1, 8, 8, 8] });
 * const gradient = colab.metaGradient({
 *   theta: random.normal(b, { shape: [3, 1, 3, 3, 3] }), // one ROI class and two contexts
 *   omega: random.normal(c, { shape: [2, 1, 3, 3, 3] }),
 *   segment: (theta) => conv3d(x, theta as Tensor, { padding: 1 }),
 *   generate: (omega) => conv3d(x, omega as Tensor, { padding: 1 }),
 *   roi: zeros([1, 8, 8, 8]),
 *   mask: ones([1, 8, 8, 8]),
 *   alpha: 0.01,
 * });
 * ```
 */
export function metaGradient<T, O>(options: MetaGradientOptions<T, O>): O {
  return valueAndMetaGradient(options)[1];
}

/**
 * L_ROI after the inner step (of the implicit method, before it), and its gradient by the generator's parameters as
 * `metaGradient` gives it.
 *
 * @returns [L_ROI, an f32 scalar; a tree as omega]
 * @example
 * ```ts
 * import { conv3d, ones, random, type Tensor, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const [a, b, c] = random.split(random.key(0), 3);
 * const x = random.normal(a, { shape: [1, 1, 8, 8, 8] });
 * const [loss, gradient] = colab.valueAndMetaGradient({
 *   theta: random.normal(b, { shape: [3, 1, 3, 3, 3] }),
 *   omega: random.normal(c, { shape: [2, 1, 3, 3, 3] }),
 *   segment: (theta) => conv3d(x, theta as Tensor, { padding: 1 }),
 *   generate: (omega) => conv3d(x, omega as Tensor, { padding: 1 }),
 *   roi: zeros([1, 8, 8, 8]),
 *   mask: ones([1, 8, 8, 8]),
 *   alpha: 0.01,
 * });
 * console.log(await loss.item(), (gradient as Tensor).shape);
 * ```
 */
export function valueAndMetaGradient<T, O>(options: MetaGradientOptions<T, O>): [value: Tensor, gradient: O] {
  const own = options as unknown as MetaGradientOptions;
  const { per = "batch" } = own;
  checkOptions("metaGradient", own, META_KEYS);
  const implicit = own.method === "implicit";
  for (const key of ["iterations", "damping"] as const) {
    check(
      own[key] === undefined || implicit,
      "metaGradient",
      () => `${key} is of the method "implicit" alone; leave it out`,
    );
  }
  check(
    !own.precondition || !implicit,
    "metaGradient",
    () => `the method "implicit" takes no inner step; leave out precondition`,
  );
  check(
    per === "batch" || per === "sample",
    "metaGradient",
    () => `per is "batch" or "sample", got ${JSON.stringify(per)}`,
  );
  return (per === "sample" ? gradientPerSample(own) : gradientOf(own)) as [Tensor, O];
}

function gradientOf(options: MetaGradientOptions): [Tensor, Params] {
  const { segment, weights, generate, theta, omega, roi, mask, alpha, recompute = true } = options;
  const { method = "exact", iterations = 10, damping = 1e-2, precondition } = options;
  const within = recompute ? checkpoint(generate) : generate;
  // The labels are needed at the start, their derivative by omega at the end: once, whatever the method.
  const [made, pullBack] = vjp((o: Params) => softmax(within(o).cast("f32"), { axis: 1 }), [omega]);
  const taught = stopGradient(made);
  const byOmega = (cotangent: Tensor): Params => pullBack(cotangent)[0];
  const outputsOf = (p: Params): readonly Tensor[] => [segment(p)].flat();
  const segLoss = (p: Params, q: Tensor): Tensor => {
    const outputs = outputsOf(p);
    const loss = (output: Tensor, labels: Tensor): Tensor => segmentationLoss(output, labels, options.segmentation);
    const labels = pyramidLabels(outputs, { roi, q, mask });
    return outputs.length === 1
      ? loss(outputs[0], labels[0])
      : deepSupervision(loss, outputs, labels, weights && { weights });
  };
  const regionLoss = (p: Params): Tensor => roiLoss(outputsOf(p)[0], roi, options.roiOptions);
  /** d/dq <dL_seg/dtheta, v>. */
  const mixed = (v: Params): Tensor => grad((q: Tensor) => jvp((p: Params) => segLoss(p, q), [theta], [v])[1])(taught);
  if (method === "implicit") {
    const [value, slope] = valueAndGrad(regionLoss)(theta);
    const product = (x: Params): Params => along(hvp((p: Params) => segLoss(p, taught), [theta], [x])[0], x, damping);
    const x = fixed(conjugateGradients(product, fixed(slope), iterations));
    return [value, byOmega(mixed(x).mul(-1))];
  }
  check(
    method === "exact" || method === "finite-difference",
    "metaGradient",
    () => `method is "exact", "finite-difference" or "implicit", got ${JSON.stringify(method)}`,
  );
  const negative = typeof alpha === "number" ? -alpha : alpha.mul(-1);
  const slope = fixed(grad((p: Params) => segLoss(p, taught))(theta));
  const scaled = precondition?.(slope) ?? ((direction: Params): Params => direction);
  const [value, regionSlope] = valueAndGrad(regionLoss)(fixed(along(theta, scaled(slope), negative)));
  const v = fixed(scaled(regionSlope));
  if (method === "exact") return [value, byOmega(mixed(v).mul(negative))];
  const eps = dot(v, v).sqrt().pow(-1).mul(0.01);
  const at = (sign: number): Tensor => grad((q: Tensor) => segLoss(along(theta, v, eps.mul(sign)), q))(taught);
  return [value, byOmega(at(1).sub(at(-1)).mul(negative).div(eps.mul(2)))];
}

/** The means of the samples' values and gradients. */
function gradientPerSample(options: MetaGradientOptions): [Tensor, Params] {
  const { segment, generate, roi, mask } = options;
  const samples = Array.from({ length: Math.max(roi.shape[0], mask.shape[0]) }, (_, n) => n);
  const part = (x: Tensor, n: number): Tensor => (x.shape[0] === 1 ? x : slice(x, { start: [n], end: [n + 1] }));
  const only =
    <R extends Tensor | readonly Tensor[]>(name: string, f: (p: Params, sample: number) => R, n: number) =>
    (p: Params): R => {
      const logits = f(p, n);
      for (const each of [logits].flat() as Tensor[]) {
        check(
          each.shape[0] === 1,
          "metaGradient",
          () => `per "sample" asks ${name}(parameters, ${n}) for the logits of sample ${n} alone, got ${each}`,
        );
      }
      return logits;
    };
  const each = samples.map((n) =>
    gradientOf({
      ...options,
      roi: part(roi, n),
      mask: part(mask, n),
      segment: only("segment", segment, n),
      generate: only("generate", generate, n),
    })
  );
  const value = each.map(([own]) => own).reduce((a, b) => a.add(b));
  const gradient = each.map(([, own]) => own).reduce((a, b) => zip(a, b, (x, y) => x.add(y)));
  return [value.div(samples.length), tree.map(gradient, (g: Tensor) => g.div(samples.length))];
}

/**
 * x with A x = b for a symmetric A. Where A is not positive along a direction, or nothing is left to solve, the step is
 * 0.
 */
function conjugateGradients(product: (x: Params) => Params, b: Params, iterations: number): Params {
  check(
    Number.isInteger(iterations) && iterations >= 1,
    "metaGradient",
    () => `iterations is 1 or more, got ${iterations}`,
  );
  let x = tree.map(b, (t: Tensor) => t.mul(0));
  let residual = b;
  let direction = b;
  let left = dot(b, b);
  for (let k = 0; k < iterations; k++) {
    const image = product(direction);
    const curvature = dot(direction, image);
    const step = safeRatio(left, curvature);
    x = along(x, direction, step);
    residual = along(residual, image, step.mul(-1));
    const next = dot(residual, residual);
    direction = along(residual, direction, safeRatio(next, left));
    left = next;
  }
  return x;
}

/** a / b, 0 where b is not above 0. */
function safeRatio(a: Tensor, b: Tensor): Tensor {
  const positive = b.greater(0);
  return where(positive, a.div(where(positive, b, 1)), 0);
}
