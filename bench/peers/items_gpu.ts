/** Items for a GPU: sizes that saturate one, or small ones that a CPU runs in minutes. */
import { convolution } from "./items_conv.ts";
import type { Item } from "./item.ts";
import { normsOf } from "./items_norm.ts";
import { plainUNet } from "./items_plain_unet.ts";

export const sizes = ["full", "small"] as const;
export type Size = (typeof sizes)[number];

export function gpuItems(chosen: Size): Item[] {
  const small = chosen === "small";
  const conv = (channels: number, size: number): Item[] =>
    convolution({ name: `conv3d ${channels}>${channels}, ${size} cubed`, channels: [channels, channels], size });
  return [
    ...conv(32, small ? 16 : 96),
    ...conv(64, small ? 12 : 96),
    ...conv(128, small ? 8 : 48),
    ...plainUNet(
      small
        ? { features: [8, 16, 32], patch: 16, batch: 2 }
        : { features: [32, 64, 128, 256, 320], patch: 80, batch: 2 },
    ),
    ...normsOf({ channels: 32, size: small ? 16 : 96, rows: small ? [512, 512] : [16384, 512] }),
  ];
}
