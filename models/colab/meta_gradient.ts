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
  where,
} from "../../engine/mod.ts";
import {
  constrainedLabels,
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
   */
  readonly segment: (theta: T, sample?: number) => Tensor;
  /** Logits of the batch by the task generator; given a sample's number, of that sample alone, [1, t, ...space]. */
  readonly generate: (omega: O, sample?: number) => Tensor;
  readonly theta: T;
  readonly omega: O;
  readonly roi: Tensor;
  readonly mask: Tensor;
  /** Rate of the inner step. */
  readonly alpha: number | Tensor;
  readonly method?: MetaMethod;
  /**
   * "batch", unless given: one inner step on the whole batch (paper). "sample": one on each sample, and the mean of the
   * gradients; the official code, too, looks at samples one by one, but updates the generator after each.
   */
  readonly per?: "batch" | "sample";
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
  "generate",
  "theta",
  "omega",
  "roi",
  "mask",
  "alpha",
  "method",
  "per",
  "segmentation",
  "roiOptions",
  "iterations",
  "damping",
];

const zip = (a: Params, b: Params, f: (x: Tensor, y: Tensor) => Tensor): Params => {
  // By name: one tree may list its names in another order.
  const others = tree.flatten(b);
  return tree.map(a, (x: Tensor, path: string) => f(x, others.get(path)!));
};
const dot = (a: Params, b: Params): Tensor =>
  (tree.leaves(zip(a, b, (x, y) => sum(x.mul(y)))) as Tensor[]).reduce((x, y) => x.add(y));
/** a + s b */
const along = (a: Params, b: Params, s: Tensor | number): Params => zip(a, b, (x, y) => x.add(y.mul(s)));
const fixed = (a: Params): Params => tree.map(a, (x: Tensor) => stopGradient(x));

/**
 * The gradient of L_ROI after one inner step by the generator's parameters (Eqs. 12 to 15): with
 * theta* = theta - alpha dL_seg/dtheta(theta, omega) and v = dL_ROI/dtheta(theta*),
 *
 *     exact              -alpha d/domega <dL_seg/dtheta(theta, omega), v>
 *     finite-difference  -alpha (g+ - g-) / 2 eps, g± = dL_seg/domega(theta ± eps v, omega), eps = 0.01 / |v|  (Eq. 18)
 *     implicit           -d/domega <dL_seg/dtheta, x>, (H + damping) x = dL_ROI/dtheta(theta)               (Eqs. 16,
 *     17)
 *
 * The exact one needs no second derivative of the network: theta and omega meet in the labels alone, so the inner
 * product is the derivative of L_seg along v (forward mode), differentiated by omega (reverse mode). theta is not
 * changed.
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
  return metaGradientOf(options as unknown as MetaGradientOptions) as O;
}

function metaGradientOf(options: MetaGradientOptions): Params {
  const { per = "batch" } = options;
  checkOptions("metaGradient", options, META_KEYS);
  for (const key of ["iterations", "damping"] as const) {
    check(
      options[key] === undefined || options.method === "implicit",
      "metaGradient",
      () => `${key} is of the method "implicit" alone; leave it out`,
    );
  }
  check(
    per === "batch" || per === "sample",
    "metaGradient",
    () => `per is "batch" or "sample", got ${JSON.stringify(per)}`,
  );
  if (per === "sample") return gradientPerSample(options);
  const { segment, generate, theta, omega, roi, mask, alpha, method = "exact", iterations = 10, damping = 1e-2 } =
    options;
  // The labels are needed at the start and their derivative at the end: what lies within the generator is computed
  // again there instead of being kept, which costs a forward pass of it and saves as much memory as a training step
  // takes.
  const again = checkpoint(generate);
  const labelsOf = (o: Params): Tensor => constrainedLabels(roi, softmax(again(o).cast("f32"), { axis: 1 }), mask);
  const segLoss = (p: Params, labels: Tensor): Tensor => segmentationLoss(segment(p), labels, options.segmentation);
  const regionLoss = (p: Params): Tensor => roiLoss(segment(p), roi, options.roiOptions);
  /** d/domega <dL_seg/dtheta, v>. */
  const mixed = (v: Params): Params =>
    grad((o: Params) => jvp((p: Params) => segLoss(p, labelsOf(o)), [theta], [v])[1])(omega);
  if (method === "implicit") {
    const labels = stopGradient(labelsOf(omega));
    const v = fixed(grad(regionLoss)(theta));
    const product = (x: Params): Params => along(hvp((p: Params) => segLoss(p, labels), [theta], [x])[0], x, damping);
    const x = fixed(conjugateGradients(product, v, iterations));
    return tree.map(mixed(x), (g: Tensor) => g.mul(-1));
  }
  check(
    method === "exact" || method === "finite-difference",
    "metaGradient",
    () => `method is "exact", "finite-difference" or "implicit", got ${JSON.stringify(method)}`,
  );
  const negative = typeof alpha === "number" ? -alpha : alpha.mul(-1);
  const labels = stopGradient(labelsOf(omega));
  const inner = along(theta, grad((p: Params) => segLoss(p, labels))(theta), negative);
  const v = fixed(grad(regionLoss)(fixed(inner)));
  if (method === "exact") return tree.map(mixed(v), (g: Tensor) => g.mul(negative));
  const eps = dot(v, v).sqrt().pow(-1).mul(0.01);
  const at = (sign: number): Params => grad((o: Params) => segLoss(along(theta, v, eps.mul(sign)), labelsOf(o)))(omega);
  return zip(at(1), at(-1), (a, b) => a.sub(b).mul(negative).div(eps.mul(2)));
}

/** The mean of the samples' gradients. */
function gradientPerSample(options: MetaGradientOptions): Params {
  const { segment, generate, roi, mask } = options;
  const samples = Array.from({ length: Math.max(roi.shape[0], mask.shape[0]) }, (_, n) => n);
  const part = (x: Tensor, n: number): Tensor => (x.shape[0] === 1 ? x : slice(x, { start: [n], end: [n + 1] }));
  const only = (name: string, f: (p: Params, sample: number) => Tensor, n: number) => (p: Params): Tensor => {
    const logits = f(p, n);
    check(
      logits.shape[0] === 1,
      "metaGradient",
      () => `per "sample" asks ${name}(parameters, ${n}) for the logits of sample ${n} alone, got ${logits}`,
    );
    return logits;
  };
  const gradients = samples.map((n) =>
    metaGradientOf({
      ...options,
      per: "batch",
      roi: part(roi, n),
      mask: part(mask, n),
      segment: only("segment", segment, n),
      generate: only("generate", generate, n),
    })
  );
  const total = gradients.reduce((a, b) => zip(a, b, (x, y) => x.add(y)));
  return tree.map(total, (g: Tensor) => g.div(samples.length));
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
