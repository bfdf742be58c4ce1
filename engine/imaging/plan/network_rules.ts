/** Rules by which plans describe networks. Each network registers its own, so the engine does not depend on any. */
import { VoxgradError } from "../../core/errors.ts";

/** Returns what an entry should be if the value is invalid; `stages` is the length of network.features. */
export type NetworkEntryCheck = (value: unknown, stages: number) => string | undefined;

/** How a plan describes a network. */
export interface NetworkRules {
  /** The entries of a plan's `network` in addition to name, features, kernels and strides. */
  readonly entries: Readonly<Record<string, NetworkEntryCheck>>;
  /**
   * Values of these entries in a new plan.
   *
   * @param stages number of resolutions of the network
   * @param convs number of convolutions that the preset uses at each
   */
  plan(stages: number, convs: number): Readonly<Record<string, unknown>>;
  /** How nnU-Net's plans describe it; absent: they do not. */
  readonly nnunet?: {
    /** The class of dynamic-network-architectures. */
    readonly network: string;
    /** The arguments that hold the entries of the plan. */
    readonly entries: Readonly<Record<string, string>>;
  };
}

const registered = new Map<string, NetworkRules>();

/**
 * Lets plans name a network. Networks of models/ call `registerNetwork`, which calls this.
 *
 * @throws VoxgradError if the name is taken
 * @example
 * ```ts
 * import { perStage, registerNetworkRules } from "voxgrad/imaging";
 *
 * registerNetworkRules("wideUNet", {
 *   entries: { convsPerStage: perStage },
 *   plan: (stages, convs) => ({ convsPerStage: Array.from({ length: stages }, () => convs) }),
 * });
 * ```
 */
export function registerNetworkRules(name: string, rules: NetworkRules): void {
  if (registered.has(name)) throw new VoxgradError(`registerNetworkRules: there is a network ${name} already`);
  registered.set(name, rules);
}

/**
 * The networks that a plan may name, in the order in which they were registered.
 *
 * @example
 * ```ts
 * import { plannedNetworks } from "voxgrad/imaging";
 * import { registeredNetworks } from "voxgrad/models";
 *
 * registeredNetworks(); // with it come those of voxgrad, in bundles too
 * plannedNetworks().includes("segResNet"); // true
 * ```
 */
export const plannedNetworks = (): string[] => [...registered.keys()];

/** The rules of a network; undefined if it is not registered. */
export const networkRules = (name: string): NetworkRules | undefined => registered.get(name);

const integers = (value: unknown, count: number): boolean =>
  Array.isArray(value) && value.length === count && value.every((n) => Number.isInteger(n) && n >= 1);

/**
 * A list of integers, one for each stage.
 *
 * @example
 * ```ts
 * import { perStage } from "voxgrad/imaging";
 *
 * perStage([2, 2], 3); // "3 integers >= 1, one for each stage of network.features"
 * perStage([2, 2, 2], 3) === undefined; // true
 * ```
 */
export const perStage: NetworkEntryCheck = (value, stages) =>
  integers(value, stages) ? undefined : `${stages} integers >= 1, one for each stage of network.features`;

/**
 * A list of integers, one for each stage of a decoder: all but the coarsest.
 *
 * @example
 * ```ts
 * import { perDecoderStage } from "voxgrad/imaging";
 *
 * perDecoderStage([2], 3); // "2 integers >= 1, one for each stage of network.features but the coarsest"
 * perDecoderStage([2, 2], 3) === undefined; // true
 * ```
 */
export const perDecoderStage: NetworkEntryCheck = (value, stages) =>
  integers(value, stages - 1)
    ? undefined
    : `${stages - 1} integers >= 1, one for each stage of network.features but the coarsest`;
