/** Validates the configuration of a U-Net and fills in defaults. */
import { check, checkOptions, show } from "../../engine/segmenting.ts";
import {
  checkNetworkInput,
  countsPerStage,
  resolveTopology,
  strideProducts,
  type Topology,
  TOPOLOGY_KEYS,
  type TopologyConfig,
} from "../topology.ts";

export interface UNetConfig extends TopologyConfig {
  /** PlainConvUNet: convolutions of every encoder stage, one number or one per stage. Default 2. */
  readonly convsPerStage?: number | readonly number[];
  /** ResidualEncoderUNet: residual blocks of every encoder stage, one number or one per stage. */
  readonly blocksPerStage?: number | readonly number[];
  /** Convolutions of every decoder stage, coarsest first. Default 2 for the plain network, 1 for the residual one. */
  readonly decoderConvsPerStage?: number | readonly number[];
  /** Give logits at every decoder stage. Default false. */
  readonly deepSupervision?: boolean;
}

/** The configuration with all defaults filled in, one list per stage. */
export interface ResolvedUNet extends Topology {
  /** Convolutions or blocks of every encoder stage. */
  readonly perStage: readonly number[];
  readonly decoderConvsPerStage: readonly number[];
  readonly deepSupervision: boolean;
}

/** Checks a configuration and fills in its defaults; `stages` is the entry that counts convolutions or blocks. */
export function resolve(name: string, config: UNetConfig, stages: "convsPerStage" | "blocksPerStage"): ResolvedUNet {
  checkOptions(name, config, [...TOPOLOGY_KEYS, "decoderConvsPerStage", "deepSupervision", stages]);
  const topology = resolveTopology(name, config);
  const { deepSupervision = false } = config;
  check(
    typeof deepSupervision === "boolean",
    name,
    () => `deepSupervision is true or false, got ${show(deepSupervision)}`,
  );
  const plain = stages === "convsPerStage";
  check(
    plain || config.blocksPerStage !== undefined,
    name,
    () => "blocksPerStage is missing: residual blocks of every encoder stage, such as 2 or [1, 3, 4, 6]",
  );
  const count = topology.features.length;
  const decoder = config.decoderConvsPerStage ?? (plain ? 2 : 1);
  return {
    ...topology,
    deepSupervision,
    perStage: countsPerStage(name, stages, config[stages] ?? 2, count),
    decoderConvsPerStage: countsPerStage(name, "decoderConvsPerStage", decoder, count - 1),
  };
}

/** Rejects an input whose size is not divisible by the strides, or that leaves one voxel at the coarsest stage. */
export function checkInput(name: string, c: ResolvedUNet, input: unknown): void {
  checkNetworkInput(name, c, input);
  const factors = strideProducts(c);
  check(
    input.shape.slice(2).some((n, k) => n !== factors[k]),
    name,
    () =>
      `of the input ${show(input.shape)} one voxel is left at the coarsest stage, where instance norm would give ` +
      `nothing but its bias; use an input larger than ${show(factors)} or fewer stages`,
  );
}
