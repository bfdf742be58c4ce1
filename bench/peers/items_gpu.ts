/** Items for a GPU: sizes that saturate one, or small ones that a CPU runs in minutes. */
import { convolution, transposed } from "./items_conv.ts";
import type { Item } from "./item.ts";
import { normsOf, softmaxOf } from "./items_norm.ts";
import { attentionOf } from "./items_product.ts";
import { plainUNet, type PlainUNetItems } from "./items_plain_unet.ts";

export const sizes = ["full", "small"] as const;
export type Size = (typeof sizes)[number];

/** Operators by themselves. */
export function operatorItems(chosen: Size): Item[] {
  const small = chosen === "small";
  const conv = (channels: number, size: readonly [number, number, number], title: string): Item[] =>
    convolution({ name: `conv3d ${channels}>${channels}, ${title}`, channels: [channels, channels], size });
  const [channels, up, norm] = small ? [16, 6, 16] : [64, 48, 96];
  const items = [
    ...(small ? conv(32, [8, 10, 12], "8x10x12") : conv(32, [128, 160, 192], "128x160x192")),
    ...(small ? conv(64, [8, 8, 8], "8 cubed") : conv(64, [96, 96, 96], "96 cubed")),
    ...(small ? conv(128, [4, 4, 4], "4 cubed") : conv(128, [48, 48, 48], "48 cubed")),
    ...transposed({
      name: `convTranspose3d 2x2x2 ${channels}>${channels / 2}, ${up} to ${2 * up} cubed`,
      channels: [channels, channels / 2],
      size: up,
    }),
    ...normsOf({ channels: 32, size: norm, rows: small ? [512, 512] : [16384, 512] }),
    softmaxOf(32, norm),
    ...attentionOf(small ? [4, 256, 32] : [24, 4096, 64]),
  ];
  return items.map((item) => ({ ...item, alone: valuesOf(item) > MANY }));
}

/** Values of inputs above which engines take turns in holding them: six of them hold several gigabytes. */
const MANY = 2 ** 25;
const valuesOf = ({ inputs }: Item): number =>
  inputs.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);

/** The U-Net of CoLab, and nnU-Net's default network of its configuration 3d_fullres. */
export function networks(chosen: Size): { readonly colab: PlainUNetItems; readonly nnunet: PlainUNetItems } {
  const small = chosen === "small";
  return {
    colab: plainUNet({
      title: "CoLab's U-Net",
      ...(small
        ? { features: [4, 8], patch: 8, batch: 2 }
        : { features: [32, 64, 128, 256, 320], patch: 80, batch: 2 }),
    }),
    nnunet: plainUNet({
      title: "nnU-Net 3d_fullres",
      nnunet: true,
      ...(small
        ? { features: [4, 8, 8], patch: 8, batch: 2 }
        : { features: [32, 64, 128, 256, 320, 320], patch: 128, batch: 2 }),
    }),
  };
}

/** All of both. */
export const gpuItems = (chosen: Size): Item[] => [
  ...operatorItems(chosen),
  ...Object.values(networks(chosen)).flatMap(({ step, hvp, validation }) => [step, hvp, validation]),
];
