/** Contrastive losses of embeddings. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange, eye } from "../../ops/elementwise/creation.ts";
import { add, cast, div, mul, where } from "../../ops/elementwise/elementwise.ts";
import { cosineSimilarity } from "../../ops/linear/cosine_similarity.ts";
import { crossEntropy } from "../../ops/reduce/cross_entropy.ts";
import { concat } from "../../ops/shape/concat.ts";
import { expandDims } from "../../ops/shape/reshape.ts";
import { transpose } from "../../ops/shape/transpose.ts";

/** Cosine similarities of all rows of a with all rows of b, over the temperature. */
function similarities(name: string, a: Tensor, b: Tensor, temperature: number | Tensor): Tensor {
  check(
    a instanceof Tensor && isFloat(a.dtype) && a.rank === 2 && a.size > 0,
    name,
    () => `embeddings are f32 or f16 [N, D], got ${show(a)}`,
  );
  check(
    b instanceof Tensor && isFloat(b.dtype) && sameShape(b.shape, a.shape),
    name,
    () => `both embeddings have one shape, got ${a} and ${show(b)}`,
  );
  check(
    temperature instanceof Tensor ? temperature.rank === 0 : Number.isFinite(temperature) && temperature > 0,
    name,
    () => `the temperature is a number > 0 or a scalar tensor, got ${show(temperature)}`,
  );
  const [x, y] = [a, b].map((t) => cast(t, "f32"));
  return div(cosineSimilarity(expandDims(x, { axis: 1 }), expandDims(y, { axis: 0 }), { axis: 2 }), temperature);
}

/**
 * NT-Xent, the loss of SimCLR (Chen et al. 2020, Eq. 1): each of the 2 N embeddings is to recognize the other view of
 * its image among all others, by cosine similarity.
 *
 * @param a of one view of N images, [N, D]; row i belongs to row i of b
 * @param options.temperature default: 0.5
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { ntXent } from "voxgrad/nn";
 *
 * const [a, b] = random.split(random.key(1)).map((key) => random.normal(key, { shape: [8, 16] }));
 * const loss = ntXent(a, b, { temperature: 0.1 });
 * ```
 */
export function ntXent(a: Tensor, b: Tensor, options: { temperature?: number | Tensor } = {}): Tensor {
  checkOptions("ntXent", options, ["temperature"]);
  similarities("ntXent", a, b, options.temperature ?? 0.5); // checks
  const all = concat([a, b], { axis: 0 });
  const scores = similarities("ntXent", all, all, options.temperature ?? 0.5);
  const n = a.shape[0];
  const others = where(eye(2 * n, { dtype: "bool" }), -Infinity, scores);
  return crossEntropy(others, concat([add(arange(n), n), arange(n)], { axis: 0 }));
}

/**
 * InfoNCE over pairs (van den Oord et al. 2018), both ways as CLIP (Radford et al. 2021): row i of a is to recognize
 * row i of b among all rows of b, and the reverse, by cosine similarity.
 *
 * @param a [N, D]
 * @param b [N, D]
 * @param options.temperature a number, or a scalar tensor that is learned; default: 0.07
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { infoNce } from "voxgrad/nn";
 *
 * const [image, report] = random.split(random.key(1)).map((key) => random.normal(key, { shape: [8, 16] }));
 * const loss = infoNce(image, report);
 * ```
 */
export function infoNce(a: Tensor, b: Tensor, options: { temperature?: number | Tensor } = {}): Tensor {
  checkOptions("infoNce", options, ["temperature"]);
  const scores = similarities("infoNce", a, b, options.temperature ?? 0.07);
  const same = arange(a.shape[0]);
  return mul(add(crossEntropy(scores, same), crossEntropy(transpose(scores), same)), 0.5);
}
