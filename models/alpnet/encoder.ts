/** ALPNet's feature extractor: a ResNet followed by a 1 x 1 convolution. */
import { check, conv2d, loadParameters, random, show, type Tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import {
  resNet,
  type ResNetConfig,
  type ResNetParams,
  type ResolvedResNet,
  type StatisticsModel,
} from "../resnet/resnet.ts";

export interface EncoderConfig extends ResNetConfig {
  /** Channels of the features; default 256. */
  readonly features?: number;
}

export interface ResolvedEncoder extends ResolvedResNet {
  readonly features: number;
}

/** Parameters by the names of the published state dict below "encoder.". */
export type EncoderParams = { readonly backbone: ResNetParams; readonly localconv: { readonly weight: Tensor } };

export interface Encoder extends StatisticsModel<ResolvedEncoder, EncoderParams> {
  /**
   * Accepts the state dicts of a ResNet, and that of the published model.
   *
   * @param key for the projection, if the file lacks it
   */
  load(tensors: ReadonlyMap<string, Tensor>, key?: Tensor): EncoderParams;
}

/**
 * A ResNet whose features are projected to fewer channels by a 1 x 1 convolution without bias. Names are those of the
 * published state dict below "encoder.". `load` also accepts only a backbone, of torchvision or DeepLabV3: the
 * projection is then initialized from `key`, as for training.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const model = alpnet.encoder({ block: "basic", layers: [1, 1], width: 8, features: 16, inputChannels: 1 });
 * const x = random.normal(random.key(0), { shape: [1, 1, 64, 64] });
 * const features = model.apply(model.init(random.key(1)), x);
 * ```
 */
export function encoder(config: EncoderConfig): Encoder {
  const { features = 256, ...own } = config;
  check(
    Number.isInteger(features) && features >= 1,
    "alpnet.encoder",
    () => `features is an integer >= 1, got ${show(features)}`,
  );
  const backbone = resNet(own);
  const { outputChannels } = backbone.config;
  // PyTorch's default initialization of convolutions.
  const weight = new nn.Parameter(
    [features, outputChannels, 1, 1],
    (key, shape) => nn.kaimingUniform(key, { shape, a: Math.sqrt(5) }),
  );
  const projection = (key: Tensor): EncoderParams["localconv"] => nn.initialize(key, { weight });
  const project = (params: EncoderParams, x: Tensor): Tensor => conv2d(x, params.localconv.weight);
  return {
    config: { ...backbone.config, features, outputChannels: features },
    init(key) {
      const [first, second] = random.split(key, 2) as [Tensor, Tensor];
      return { backbone: backbone.init(first), localconv: projection(second) };
    },
    apply: (params, input, options) => project(params, backbone.apply(params.backbone, input, options)),
    applyTraining(params, input, options) {
      const { output, statistics } = backbone.applyTraining(params.backbone, input, options);
      const named = Object.entries(statistics).map(([name, t]) => [`backbone.${name}`, t] as const);
      return { output: project(params, output), statistics: Object.fromEntries(named) };
    },
    load(tensors, key = random.key(0)) {
      const found = [...tensors].filter(([name]) => /(^|\.)localconv\.weight$/.test(name));
      const fresh = projection(key);
      return {
        backbone: backbone.load(tensors),
        localconv: found.length === 0 ? fresh : loadParameters(fresh, new Map([["weight", found[0][1]]])),
      };
    },
  };
}
