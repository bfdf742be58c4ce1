/**
 * Augmentation on the device, as nnU-Net orders and weighs it. Every transform is a pure function of a key, a batch and
 * options, of static shapes: what happens to a sample is decided by random numbers on the device, so `compile` makes
 * one program of the whole chain that is called with another key for every step. The same key gives the same batch.
 *
 * Isensee et al. 2021, "nnU-Net", Nature Methods 18, 203-211, supplementary note 4; figures of nnU-Net v2.
 */
import type { Tensor } from "../../core/tensor.ts";
import { split } from "../../ops/elementwise/random.ts";
import { blur, lowResolution } from "./filters.ts";
import { brightness, contrast, gamma, noise } from "./intensity.ts";
import { defaults } from "./options.ts";
import type { AugmentChanges, AugmentOptions, Batch } from "./options.ts";
import { mirror, spatial } from "./spatial.ts";

export { blur, brightness, contrast, gamma, lowResolution, mirror, noise, spatial };
export { defaults, initialPatch } from "./options.ts";

/**
 * nnU-Net's whole chain: rotation, scaling (and elastic deformation where asked for), noise, blur, brightness,
 * contrast, low resolution, gamma of the negative image, gamma, mirrors. Leaving one out does not change what the
 * others draw.
 *
 * @param key from random.key or random.split; another one for each batch
 * @param batch entries of `initialPatch(patch, options)`, or of any size from `patch` on
 * @param options patch, and what is to differ from `defaults`
 * @returns entries of options.patch
 * @throws VoxgradError for other shapes and options
 * @example
 * ```ts
 * import { compile, random, type Tensor, zeros } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const patch = [16, 16, 16];
 * const apply = compile((key: Tensor, image: Tensor) => augment.nnunet(key, { image }, { patch }).image);
 * const image = await apply(random.key(1), zeros([2, 1, ...augment.initialPatch(patch)])); // [2, 1, 16, 16, 16]
 * ```
 */
export function nnunet<B extends Batch>(key: Tensor, batch: B, options: AugmentChanges | AugmentOptions): B {
  const o = defaults(options as AugmentChanges);
  const keys = split(key, 9);
  const { patch, inPlane, entries } = o;
  const rotation = o.rotation || undefined;
  const scaling = o.scaling || undefined;
  const elastic = o.elastic || undefined;
  let out = spatial(keys[0], batch, { patch, inPlane, rotation, scaling, elastic, entries });
  if (o.noise) out = noise(keys[1], out, o.noise);
  if (o.blur) out = blur(keys[2], out, o.blur);
  if (o.brightness) out = brightness(keys[3], out, o.brightness);
  if (o.contrast) out = contrast(keys[4], out, o.contrast);
  if (o.lowResolution) out = lowResolution(keys[5], out, { ...o.lowResolution, inPlane });
  if (o.invertedGamma) out = gamma(keys[6], out, { ...o.invertedGamma, invert: true });
  if (o.gamma) out = gamma(keys[7], out, { ...o.gamma, invert: false });
  if (o.mirror) out = mirror(keys[8], out, o.mirror);
  return out;
}
