/**
 * Parameters of a ConResNet: their tree, whose paths are the names of the published PyTorch state dict, and how they
 * start. The numbers in names are the channels of the published width; they stay whatever the width, and go on in the
 * same way at greater depth.
 */
import { random, type Tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import type { ResolvedConResNet } from "./config.ts";

export type BlockOf<T> = { readonly [layer in "gn1" | "conv1" | "gn2" | "conv2"]: nn.Affine<T> };
/** Places of the published names: the norm at 0, the convolution behind activation and dropout. */
export type DownOf<T> = { readonly 0: nn.Affine<T>; readonly 2: nn.Affine<T> };
export type FusionOf<T> = { readonly 0: nn.Affine<T>; readonly 3: nn.Affine<T> };
export type ModuleOf<T> =
  & { readonly gn_seg: nn.Affine<T>; readonly conv_seg: nn.Affine<T> }
  & {
    readonly [layer in `${"gn" | "conv"}_${"res" | "res1" | "res2" | "mp"}` | "conv_mp_first"]?: nn.Affine<T>;
  }
  /** With learnedGate: one number. */
  & { readonly gate?: T };
type ConResNetOf<T> = {
  readonly conv_4_32: readonly [nn.Affine<T>];
  readonly fusionConv: FusionOf<T>;
  readonly seg_cls: readonly [nn.Affine<T>];
  readonly [head: `res${string}cls`]: readonly [nn.Affine<T>];
  readonly [stage: `layer${number}`]: readonly BlockOf<T>[];
  readonly [module: `seg_x${number}`]: readonly [ModuleOf<T>];
  readonly [down: `conv_${number}_${number}`]: readonly [nn.Affine<T>] | DownOf<T>;
};

/** Parameters by the names of the published state dict. */
export type ConResNetParams = ConResNetOf<Tensor>;

const KERNEL = [3, 3, 3];
const POINT = [1, 1, 1];

// Initial values are PyTorch's defaults, which the official code leaves: kernels and biases uniform within
// 1 / sqrt(fan in). Standardizing takes the scale of a kernel away, but a step of Adam is the larger against it the
// smaller it starts.
const plainParameters = (
  inputs: number,
  outputs: number,
  kernel = KERNEL,
  a = Math.sqrt(5),
): nn.Affine<nn.Parameter> => ({
  weight: new nn.Parameter([outputs, inputs, ...kernel], (key, shape) => nn.kaimingUniform(key, { shape, a })),
});
// A small head asks for large features, and those of a residual head are the gate's logits as well: in 300 steps 44 %
// of the attention was saturated behind PyTorch's heads, and 11 % behind He's, which are sqrt(6) times as large.
const headParameters = (inputs: number, outputs: number, gain: ResolvedConResNet["gain"]) => {
  const bound = 1 / Math.sqrt(inputs);
  const bias = new nn.Parameter([outputs], (key, shape) => random.uniform(key, { shape, min: -bound, max: bound }));
  return [{ ...plainParameters(inputs, outputs, POINT, gain === "fan" ? 0 : Math.sqrt(5)), bias }];
};

/** Widths that the published names are made of, at any width and depth. */
const nominal = (scale: number): number => 32 * 2 ** scale;
export const entering = (scale: number): `conv_${number}_${number}` => `conv_${nominal(scale - 1)}_${nominal(scale)}`;

/** One scale of the decoders, coarsest first in lists of them. */
export interface Scale {
  /** Power of two: how much coarser than the input. */
  readonly factor: number;
  readonly inputs: number;
  readonly outputs: number;
  /** The coarsest: its residuals come from the image. */
  readonly first: boolean;
  /** Whether the residuals of the scale before have to be mapped to this one's channels. */
  readonly maps: boolean;
}

export function scalesOf({ features }: ResolvedConResNet): Scale[] {
  const scale = (s: number): Scale => {
    const [inputs, outputs] = [features[s], features[Math.max(0, s - 1)]];
    const first = s === features.length - 2;
    return { factor: 2 ** s, inputs, outputs, first, maps: !first && inputs !== outputs };
  };
  return features
    .slice(0, -1)
    .map((_, s) => scale(s))
    .reverse();
}

export const moduleOf = ({ factor }: Scale): `seg_x${number}` => `seg_x${factor}`;
export const residualHead = (factor: number): `res${string}cls` => (factor === 1 ? "res_cls" : `resx${factor}_cls`);

const blockParameters = (channels: number): BlockOf<nn.Parameter> => ({
  gn1: nn.normParameters(channels),
  conv1: plainParameters(channels, channels),
  gn2: nn.normParameters(channels),
  conv2: plainParameters(channels, channels),
});

/** Parameters of a module, in the published order, and which of them the published code never uses. */
function moduleParameters(
  c: ResolvedConResNet,
  scale: Scale,
): { all: Required<Omit<ModuleOf<nn.Parameter>, "gate">>; unused: string[] } {
  const { inputs, outputs, first, maps } = scale;
  const all = {
    gn_seg: nn.normParameters(inputs),
    conv_seg: plainParameters(inputs, outputs),
    gn_res: nn.normParameters(outputs),
    conv_res: plainParameters(outputs, outputs, POINT),
    gn_res1: nn.normParameters(outputs),
    conv_res1: plainParameters(outputs, outputs),
    gn_res2: nn.normParameters(outputs),
    conv_res2: plainParameters(outputs, outputs),
    gn_mp: nn.normParameters(inputs),
    conv_mp_first: plainParameters(c.inputChannels, outputs),
    conv_mp: plainParameters(inputs, outputs),
  };
  const unused = [
    "gn_res",
    "gn_res2",
    "conv_res2",
    ...(maps ? [] : ["gn_mp", "conv_mp"]),
    ...(first ? [] : ["conv_mp_first"]),
  ];
  return { all, unused };
}

/** The parameters of a module that the configuration wants. */
function wantedOf(c: ResolvedConResNet, scale: Scale): ModuleOf<nn.Parameter> {
  const { all, unused } = moduleParameters(c, scale);
  const wanted = (name: string): boolean =>
    c.mapping ? c.unusedLayers || !unused.includes(name) : name.endsWith("_seg");
  const layers = Object.fromEntries(Object.entries(all).filter(([name]) => wanted(name)));
  return { ...layers, ...(c.learnedGate && { gate: nn.zerosParameter([1]) }) } as ModuleOf<nn.Parameter>;
}

export function parametersOf(c: ResolvedConResNet, scales: readonly Scale[]): ConResNetOf<nn.Parameter> {
  const { features, blocks } = c;
  const deepest = features.length - 1;
  const stage = (name: number, channels: number) => [
    `layer${name}`,
    Array.from({ length: blocks[name] }, () => blockParameters(channels)),
  ];
  const downs = features.slice(1).map((outputs, k) => [
    entering(k + 1),
    // In the published names the activation takes the place 1.
    { 0: nn.normParameters(features[k]), 2: plainParameters(features[k], outputs) },
  ]);
  const residuals = c.multiClass ? c.classes - 1 : c.classes;
  const heads = scales.map(({ factor, outputs }) => [
    residualHead(factor),
    headParameters(outputs, residuals, c.gain),
  ]);
  return Object.fromEntries([
    ["conv_4_32", [plainParameters(c.inputChannels, features[0])]],
    ...downs,
    ...features.map((channels, k) => stage(k, channels)),
    stage(deepest + 1, features[deepest]),
    // Activation and dropout take the places 1 and 2.
    [
      "fusionConv",
      { 0: nn.normParameters(features[deepest]), 3: plainParameters(features[deepest], features[deepest - 1]) },
    ],
    ...scales.map((scale) => [moduleOf(scale), [wantedOf(c, scale)]]),
    ["seg_cls", headParameters(features[0], c.classes, c.gain)],
    ...(c.mapping ? heads.reverse() : []),
  ]) as ConResNetOf<nn.Parameter>;
}

export function unusedNames(c: ResolvedConResNet, scales: readonly Scale[]): RegExp {
  const modules = scales.map(
    (scale) => `${moduleOf(scale)}\\.0\\.(?:${moduleParameters(c, scale).unused.join("|")})\\.(?:weight|bias)`,
  );
  return new RegExp(`^(?:${modules.join("|")})$`);
}
