/**
 * Augmentation on the device, with nnU-Net's transforms, order and probabilities. Every transform is a pure function of
 * a key, a batch and options, with static shapes. Random numbers on the device decide what happens to each sample, so
 * `compile` turns the whole chain into one program, called with a new key at every step. The same key gives the same
 * batch.
 *
 * Isensee et al. 2021, "nnU-Net", Nature Methods 18, 203-211, supplementary note 4; figures of nnU-Net v2.
 */
import type { Tensor } from "../../core/tensor.ts";
import { split } from "../../ops/random/mod.ts";
import { blur, lowResolution } from "./filters.ts";
import { brightness, contrast, gamma, noise } from "./intensity.ts";
import { defaults } from "./options.ts";
import type { AugmentChanges, AugmentOptions, Batch } from "./options.ts";
import { mirror, spatial } from "./spatial.ts";

export { blur, brightness, contrast, gamma, lowResolution, mirror, noise, spatial };
export { defaults, initialPatch } from "./options.ts";

/**
 * The full nnU-Net chain: rotation, scaling (and elastic deformation if enabled), noise, blur, brightness, contrast,
 * low resolution, gamma of the negative image, gamma, mirroring. Disabling a transform does not change the random draws
 * of the others.
 *
 * @param key from random.key or random.split; use a new one for each batch
 * @param batch entries of `initialPatch(patch, options)`, or any size not below `patch`
 * @param options patch, and overrides of `defaults`
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
