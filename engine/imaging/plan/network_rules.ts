/** What plans say of networks: the rules that each network registers, so that the engine names none. */
import { VoxgradError } from "../../core/errors.ts";

/** What an entry should be, where a value is something else; `stages` is that of network.features. */
export type NetworkEntryCheck = (value: unknown, stages: number) => string | undefined;

/** How a plan describes a network. */
export interface NetworkRules {
  /** The entries of a plan's `network` beside name, features, kernels and strides. */
  readonly entries: Readonly<Record<string, NetworkEntryCheck>>;
  /**
   * Values of these entries in a new plan.
   *
   * @param stages resolutions of the network
   * @param convs convolutions that the preset foresees at each
   */
  plan(stages: number, convs: number): Readonly<Record<string, unknown>>;
}

const registered = new Map<string, NetworkRules>();

/**
 * Lets plans name a network. Networks of models/ call `registerNetwork`, which calls this.
 *
 * @throws VoxgradError where the name is taken
 */
export function registerNetworkRules(name: string, rules: NetworkRules): void {
  if (registered.has(name)) throw new VoxgradError(`registerNetworkRules: there is a network ${name} already`);
  registered.set(name, rules);
}

/** The networks that a plan may name, in the order in which they were registered. */
export const plannedNetworks = (): string[] => [...registered.keys()];

/** The rules of a network; undefined where none of that name is registered. */
export const networkRules = (name: string): NetworkRules | undefined => registered.get(name);

const integers = (value: unknown, count: number): boolean =>
  Array.isArray(value) && value.length === count && value.every((n) => Number.isInteger(n) && n >= 1);

/** A list of integers, one for each stage. */
export const perStage: NetworkEntryCheck = (value, stages) =>
  integers(value, stages) ? undefined : `${stages} integers >= 1, one for each stage of network.features`;

/** A list of integers, one for each stage of a decoder: all but the coarsest. */
export const perDecoderStage: NetworkEntryCheck = (value, stages) =>
  integers(value, stages - 1)
    ? undefined
    : `${stages - 1} integers >= 1, one for each stage of network.features but the coarsest`;
