/** The networks: each registers under a name used by plans, model files and command lines. */
import type { Params, Tensor } from "../engine/mod.ts";
import type { NetworkRules, Plan } from "../engine/imaging/mod.ts";
import {
  check,
  ConfigError,
  countProducts,
  inputChannels,
  outputChannels,
  random,
  registerNetworkRules,
  show,
  tree,
  zeros,
} from "../engine/segmenting.ts";
import type { ConfigValue, Entry, ModelDescription } from "../engine/train/mod.ts";

/** A model: `init` creates parameters, `apply` computes outputs. */
export interface Model<Output = Tensor | Tensor[], Config = unknown, P = Params> {
  /** Initial parameters; lazy, so nothing is computed yet. */
  init(key: Tensor): P;
  /**
   * @param input [N, inputChannels, ...space]
   * @returns logits [N, classes, ...space]; under deep supervision one tensor per decoder stage, finest first
   */
  apply(params: P, input: Tensor, options?: { train?: boolean; key?: Tensor }): Output;
  /** The configuration with all defaults filled in. */
  readonly config: Config;
}

/** The options of `voxgrad summary` common to all networks. */
export interface NetworkShape {
  readonly inputChannels: number;
  readonly classes: number;
  readonly dimensions: 2 | 3;
  /** Channels at each scale, finest first; absent: the network's default. */
  readonly features?: readonly number[];
}

/** A registered network. */
export interface Network {
  /**
   * Builds the network.
   *
   * @param architecture the argument of its constructor, as stored in model files
   * @param file the file with the architecture, for messages
   */
  build(architecture: object, file: string): Model;
  /** How plans describe it; absent: not available in plans. */
  readonly plan?: NetworkRules & { /** Can give outputs at every decoder stage. */ readonly deepSupervision: boolean };
  /** Options for `voxgrad summary`; absent: only from a model file. */
  readonly summary?: {
    /** Command-line options in addition to those of NetworkShape. */
    readonly options: Readonly<Record<string, Entry<ConfigValue>>>;
    /** The argument of its constructor. */
    architecture(
      shape: NetworkShape,
      options: Readonly<Record<string, ConfigValue>>,
    ): Readonly<Record<string, unknown>>;
  };
}

const networks = new Map<string, Network>();

/**
 * Registers a network for plans, training, prediction and summaries. The calling module must be imported by
 * models/open/other_networks.ts, or by the script that uses the network.
 *
 * @param name as in plan.json and model files
 * @throws VoxgradError if the name is taken
 * @example
 * ```ts
 * import { plainConvUNet, registerNetwork, type UNetConfig } from "voxgrad/models";
 *
 * registerNetwork("flatUNet", {
 *   build: (architecture: UNetConfig) => plainConvUNet({ ...architecture, kernels: [[1, 3, 3], [1, 3, 3]] }),
 * });
 * ```
 */
export function registerNetwork(name: string, network: Network): void {
  check(!networks.has(name), "registerNetwork", () => `there is a network ${name} already`);
  networks.set(name, network);
  if (network.plan) registerNetworkRules(name, network.plan);
}

/**
 * Registered networks by name.
 *
 * @example
 * ```ts
 * import { registeredNetworks } from "voxgrad/models";
 *
 * registeredNetworks().has("segResNet"); // true
 * ```
 */
export const registeredNetworks = (): ReadonlyMap<string, Network> => networks;

/**
 * The network of a model file, without its weights.
 *
 * @param file for the message
 * @throws ConfigError for a network that is not registered
 * @example
 * ```ts
 * import { loadParameters, random } from "voxgrad";
 * import { networkOf } from "voxgrad/models";
 * import { loadModel } from "voxgrad/train";
 *
 * const { description, tensors } = await loadModel("runs/liver/fold_0");
 * const model = networkOf(description, "runs/liver/fold_0");
 * const params = loadParameters(model.init(random.key(0)), tensors);
 * ```
 */
export function networkOf(
  { network, architecture }: Pick<ModelDescription, "network" | "architecture">,
  file: string,
): Model {
  const known = networks.get(network);
  if (known) return known.build(architecture, file);
  throw new ConfigError(
    `${file}: there is no network ${show(network)} here; there are ${[...networks.keys()].join(", ")}`,
  );
}

type PlanOfNetwork = Pick<Plan, "channels" | "labels" | "regions" | "network" | "previousStage">;

/**
 * The argument of the constructor of a plan's network: one input per channel of the plan, one output per region or else
 * per label.
 *
 * @param options.deepSupervision output logits at every decoder stage, if the network supports it; default false
 * @example
 * ```ts
 * import { readPlan } from "voxgrad/imaging";
 * import { architectureOf } from "voxgrad/models";
 *
 * const plan = await readPlan("plan.json");
 * const description = { network: plan.network.name, architecture: architectureOf(plan), plan };
 * ```
 */
export function architectureOf(
  plan: PlanOfNetwork,
  options: { deepSupervision?: boolean } = {},
): ModelDescription["architecture"] {
  const { name, ...entries } = plan.network;
  const supervised = networks.get(name)?.plan?.deepSupervision && { deepSupervision: options.deepSupervision ?? false };
  return { ...entries, inputChannels: inputChannels(plan), classes: outputChannels(plan), ...supervised };
}

/**
 * The network that a plan describes.
 *
 * @param options.deepSupervision output logits at every decoder stage, if the network supports it; default false
 * @throws ConfigError for a network that is not registered, VoxgradError for inconsistent entries
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { readPlan } from "voxgrad/imaging";
 * import { networkFromPlan } from "voxgrad/models";
 *
 * const model = networkFromPlan(await readPlan("plan.json"), { deepSupervision: true });
 * const params = model.init(random.key(1));
 * ```
 */
export const networkFromPlan = (plan: PlanOfNetwork, options: { deepSupervision?: boolean } = {}): Model =>
  networkOf({ network: plan.network.name, architecture: architectureOf(plan, options) }, "the plan");

export interface PartSummary {
  /** Common prefix of its parameter names; "" for products without parameters. */
  readonly name: string;
  readonly parameters: number;
  readonly multiplyAdds: number;
}

export interface NetworkSummary {
  readonly parts: readonly PartSummary[];
  readonly parameters: number;
  /** Multiply-adds of convolutions, transposed convolutions and matrix products; FLOPs are twice as many. */
  readonly multiplyAdds: number;
  /** Shapes of the outputs. */
  readonly outputs: readonly (readonly number[])[];
}

/**
 * Counts parameters and multiply-adds without computing or allocating anything, at any size.
 *
 * @param options.input shape, [N, C, D, H, W]
 * @param options.depth number of name components, separated by dots, that form a part; default up to the first number
 * @throws VoxgradError for an input that the network rejects
 * @example
 * ```ts
 * import { conResNet, summarizeNetwork } from "voxgrad/models";
 *
 * const model = conResNet({ inputChannels: 4, classes: 3 });
 * const { parameters, multiplyAdds } = summarizeNetwork(model, { input: [1, 4, 80, 160, 160] });
 * ```
 */
export function summarizeNetwork(
  model: Pick<Model<Tensor | Tensor[]>, "init" | "apply">,
  options: { input: readonly number[]; depth?: number },
): NetworkSummary {
  const { input, depth } = options;
  const params = model.init(random.key(0));
  let outputs: number[][] = [];
  const forward = (p: Params, x: Tensor): Tensor | Tensor[] => {
    const result = model.apply(p, x);
    outputs = [result].flat().map((y) => [...y.shape]);
    return result;
  };
  const partOf = (path: string): string => {
    const names = path.split(".");
    const number = names.findIndex((name) => /^\d+$/.test(name));
    return names.slice(0, depth ?? (number < 0 ? names.length - 1 : Math.max(1, number))).join(".");
  };
  const parts = new Map<string, { parameters: number; multiplyAdds: number }>();
  const add = (part: string, parameters: number, multiplyAdds: number): void => {
    const before = parts.get(part) ?? { parameters: 0, multiplyAdds: 0 };
    parts.set(part, {
      parameters: before.parameters + parameters,
      multiplyAdds: before.multiplyAdds + multiplyAdds,
    });
  };
  for (const [path, p] of tree.flatten(params)) add(partOf(path), p.size, 0);
  for (const { multiplyAdds, from } of countProducts(forward, params, zeros(input))) {
    // Arguments are parameters (0) and image (1).
    const own = from.find((path) => path.startsWith("0."));
    add(own === undefined ? "" : partOf(own.slice(2)), 0, multiplyAdds);
  }
  const rows = [...parts].map(([name, counts]): PartSummary => ({ name, ...counts }));
  const total = (pick: (row: PartSummary) => number): number => rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    parts: rows,
    parameters: total((row) => row.parameters),
    multiplyAdds: total((row) => row.multiplyAdds),
    outputs,
  };
}
