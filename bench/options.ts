/** The command line of `npm run bench`. */
import mri from "mri";
import { items } from "./peers/items.ts";
import type { Item } from "./peers/item.ts";

/** What `npm run bench` measures, and against whom. */
export interface BenchOptions {
  readonly rounds: number;
  /** The rows whose names hold one of the words of --items. */
  readonly chosen: readonly Item[];
  readonly peers: readonly string[];
  readonly adapter: string;
  /** File for every time; "" for none. */
  readonly json: string;
  readonly profile: boolean;
}

const PEERS = ["jax", "tfjs", "torch"];

/**
 * Reads a command line.
 *
 * @throws Error that says what there is, for an unknown option or item
 */
export function readOptions(words: readonly string[]): BenchOptions {
  const defaults = {
    rounds: 7,
    items: "",
    peers: PEERS.join(","),
    adapter: process.env.VOXGRAD_ADAPTER ?? "",
    json: "",
  };
  const unknown: string[] = [];
  const given = mri([...words], {
    default: { ...defaults, profile: false },
    boolean: ["profile"],
    string: ["items", "peers", "adapter", "json"],
    unknown: (name) => void unknown.push(name),
  });
  const names = [...Object.keys(defaults), "profile"].map((name) => `--${name}`).join(", ");
  if (unknown.length > 0) throw new Error(`${unknown[0]} is not an option; there are ${names}`);
  if (given._.length > 0) throw new Error(`unexpected "${given._[0]}"; there are ${names}`);
  const { items: text, adapter, json, profile } = given as unknown as typeof defaults & { profile: boolean };
  const rounds = Number(given.rounds);
  const peers = (given.peers as string).split(",").filter((name) => name !== "");
  if (!(rounds >= 1) || peers.some((name) => !PEERS.includes(name))) {
    throw new Error(`--rounds is a number from 1 up, --peers some of ${PEERS}; got ${given.rounds}, ${given.peers}`);
  }
  const wanted = text.toLowerCase().split(",");
  // A word that no name holds is a mistake, also beside others.
  const lost = wanted.find((word) => !items.some(({ name }) => name.toLowerCase().includes(word)));
  if (lost !== undefined) {
    throw new Error(`no item's name holds "${lost}"; there are\n  ${items.map(({ name }) => name).join("\n  ")}`);
  }
  const chosen = items.filter(({ name }) => wanted.some((word) => name.toLowerCase().includes(word)));
  return { rounds, chosen, peers, adapter, json, profile };
}
