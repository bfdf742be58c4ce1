/** A script's config block: named entries with defaults, overridden by `--key value` on the command line. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import mri from "mri";
import { isPlain, listed, show } from "../../core/errors.ts";
import { showJson } from "../../core/json.ts";
import { VERSION } from "../../core/version.ts";
import { nearest } from "./nearest.ts";
import { readJson } from "./run_folder.ts";

export type ConfigValue = number | string | boolean | readonly number[];

export interface EntryRules {
  /** Only integers. */
  readonly integer?: boolean;
  /** Smallest and largest number allowed, also for list members. */
  readonly min?: number;
  readonly max?: number;
  /** The only values allowed. */
  readonly oneOf?: readonly string[];
  /** Allowed list lengths. */
  readonly lengths?: readonly number[];
  /** May be given without its key, in the order of the block: `check FOLDER`. */
  readonly positional?: boolean;
  /** The value of runs that were begun before there was the entry, if that is not its default. */
  readonly before?: ConfigValue;
}

/** An entry with a description and constraints. */
export class Entry<T extends ConfigValue> {
  readonly value: T;
  readonly about: string;
  readonly rules: EntryRules;

  constructor(value: T, about: string, rules: EntryRules) {
    this.value = value;
    this.about = about;
    this.rules = rules;
  }
}

// The type of a literal default: 100 is any number, "" any string.
type Widened<T> = T extends number ? number
  : T extends string ? string
  : T extends boolean ? boolean
  : readonly number[];
/** The values of a config block. */
export type Config<D> = {
  -readonly [K in keyof D]: D[K] extends Entry<infer V> ? V : D[K] extends ConfigValue ? Widened<D[K]> : never;
};
/** The entries of options of type T, for entries that others extend: config gives them back as T. */
export type Entries<T extends { readonly [K in keyof T]: ConfigValue }> = { readonly [K in keyof T]: Entry<T[K]> };
export type ConfigDefaults = Readonly<Record<string, ConfigValue | Entry<ConfigValue>>>;

/** An invalid command line; the message lists the valid keys. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/** Thrown for `--help` and `--print-config`: the message is the text to show, and the script exits successfully. */
export class HelpRequest extends Error {
  override name = "HelpRequest";
}

/** Keys given on the command line, for each result of `config`. */
const named = new WeakMap<object, ReadonlySet<string>>();

/**
 * Rejects command-line options that would have no effect.
 *
 * @param options from `config` or `resumableConfig`; others are ignored
 * @param unused for each option the reason why it has no effect, or false if it has one
 * @throws ConfigError listing each of them
 * @example
 * ```ts
 * import { config, refuseUnused } from "voxgrad/train";
 *
 * const options = config({ arm: "panet", window: 4 }, ["--arm", "panet"]);
 * refuseUnused(options, { window: options.arm === "panet" && "--arm panet has no windows" });
 * ```
 */
export function refuseUnused(options: object, unused: Readonly<Record<string, string | false>>): void {
  const keys = Object.keys(unused).filter((key) => unused[key] && named.get(options)?.has(key));
  if (keys.length === 0) return;
  const lines = keys.map((key) => `--${key} has no effect: ${unused[key]}`);
  throw new ConfigError(`${lines.join("\n")}\nLeave ${keys.length > 1 ? "them" : "it"} out`);
}

/**
 * A config entry with help text and constraints.
 *
 * @example
 * ```ts
 * import { config, entry } from "voxgrad/train";
 *
 * const { steps } = config({ steps: entry(100, "optimizer steps", { integer: true, min: 1 }) }, ["--steps", "20"]);
 * steps; // 20
 * ```
 */
export function entry<T extends ConfigValue>(value: T, about: string, rules: EntryRules = {}): Entry<Widened<T>> {
  return new Entry(value as unknown as Widened<T> & ConfigValue, about, rules) as unknown as Entry<Widened<T>>;
}

/**
 * A config entry with a fixed set of values; the first is the default.
 *
 * @example
 * ```ts
 * import { choice, config } from "voxgrad/train";
 *
 * const { optimizer } = config({ optimizer: choice(["adam", "sgd"], "optimizer") }, []);
 * optimizer; // "adam"
 * ```
 */
export function choice<const W extends readonly string[]>(
  words: W,
  about: string,
  rules: Pick<EntryRules, "before" | "positional"> = {},
): Entry<W[number]> {
  return new Entry<W[number]>(words[0], about, { ...rules, oneOf: words });
}

/**
 * The values of a script's config block: the defaults, overridden by `--key value`, `--key=value` or, for booleans,
 * `--key` and `--no-key`. Lists are written 32,32,32. A key may be written --batchSize or --batch-size.
 *
 * @param defaults numbers, strings, booleans and lists of numbers, plain or from `entry` and `choice`
 * @param args command-line arguments, without the script's name; default those of this process, which from then on is
 *   a program of voxgrad: `--profile` and `--tune` hold, progress is shown, and interrupts write a checkpoint
 * @throws ConfigError for an unknown key or an invalid value, listing the keys with their defaults
 * @throws HelpRequest for --help
 * @example
 * ```ts
 * import { config } from "voxgrad/train";
 *
 * const { steps, patch } = config({ steps: 100, patch: [32, 32, 32] }, ["--patch", "16,16,16"]);
 * patch; // [16, 16, 16]
 * ```
 */
export function config<D extends ConfigDefaults>(
  defaults: D,
  args: readonly string[] = platform.readCommandLine(),
): Config<D> {
  const entries = new Map<string, Entry<ConfigValue>>();
  for (const [key, value] of Object.entries(defaults)) {
    entries.set(key, value instanceof Entry ? value : new Entry<ConfigValue>(value, "", {}));
  }
  const complain = (problem: string): never => {
    throw new ConfigError(`${problem}\n\n${describe(entries)}`);
  };

  const places = [...entries].filter(([, { rules }]) => rules.positional).map(([key]) => key);
  const keyOf = (name: string): string =>
    entries.has(name) ? name : name.replace(/-([a-z])/g, (_, c) => c.toUpperCase());

  // mri parses "-1" as a flag; "--key=-1" is a value. It gives every flag the next word; "--overwrite DATA" is two.
  const words: string[] = [];
  for (const word of args) {
    const [, name] = /^--([^=]+)$/.exec(words.at(-1) ?? "") ?? [];
    const isFlag = places.length > 0 && typeof entries.get(keyOf(name ?? ""))?.value === "boolean";
    if (name && /^-[\d.]/.test(word)) words[words.length - 1] = `--${name}=${word}`;
    else if (isFlag && !/^(-|true$|false$)/.test(word)) words.splice(-1, 1, `--${name}=true`, word);
    else words.push(word);
  }
  const names = [...new Set(words.map((word) => /^--?([^=]+)/.exec(word)?.[1]).filter((name) => name !== undefined))];
  // Everything is read as strings; the defaults determine the type.
  const { _: loose, ...given } = mri(words, { string: names }) as { _: string[]; [key: string]: unknown };
  if (given.help !== undefined && !entries.has("help")) throw new HelpRequest(describe(entries));
  for (const [index, word] of loose.entries()) {
    const key = places[index] ?? complain(`Unexpected "${word}": values follow a key, as in --key ${word}`);
    if (given[key] !== undefined) complain(`${key} is given twice: "${word}" and --${key}`);
    given[key] = word;
  }

  const values: Record<string, ConfigValue> = {};
  for (const [key, { value }] of entries) values[key] = value;
  const seen = new Set<string>();
  for (const [name, text] of Object.entries(given)) {
    const key = keyOf(name);
    const known = entries.get(key) ?? complain(`Unknown key --${name}${nearest(key, [...entries.keys()])}`);
    if (Array.isArray(text) || seen.has(key)) complain(`--${key} is given more than once`);
    seen.add(key);
    const missing = text === "" && !words.includes(`--${name}=`);
    try {
      values[key] = parse(known, text as string | boolean, missing);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      complain(`--${key}: ${error.message}`);
    }
  }
  if (platform.flags.printConfig) throw new HelpRequest(JSON.stringify({ options: values, given: [...seen] }));
  named.set(values, seen);
  return values as Config<D>;
}

/**
 * The config block of a script whose runs can be resumed. With `--resume RUN` the values are those of the run
 * (`options` in its config.json); only those in `change` can be overridden.
 *
 * @param defaults as for `config`; includes `resume`, an empty string
 * @throws ConfigError as `config`, and for a value that a resumed run cannot change
 * @example
 * ```ts
 * import { resumableConfig } from "voxgrad/train";
 *
 * const options = await resumableConfig({ resume: "", steps: 800, seed: 1 }, { change: ["steps"] });
 * ```
 */
export async function resumableConfig<D extends ConfigDefaults & { resume: Entry<string> | string }>(
  defaults: D,
  rules: { change: readonly (keyof D & string)[] },
  args: readonly string[] = platform.readCommandLine(),
): Promise<Config<D>> {
  const asked = config(defaults, args);
  if (asked.resume === "") return asked;
  const file = `${trimSlashes(String(asked.resume))}/config.json`;
  if (!(await platform.exists(file))) throw new ConfigError(`--resume ${asked.resume}: there is no ${file}`);
  const json = await readJson(file);
  const stored = isPlain(json) && isPlain(json.options) ? (json.options as Record<string, ConfigValue>) : undefined;
  if (!isPlain(json) || !stored) {
    throw new ConfigError(`${file}: it lists no options; another version or script wrote it`);
  }
  const unknown = Object.keys(stored).filter((key) => !Object.hasOwn(defaults, key));
  if (unknown.length > 0) {
    const names = listed(unknown.map((key) => `--${key}`));
    if (json.voxgrad !== VERSION) {
      platform.log(`${file}: another version wrote it; ${names} are options no more, and are left out`);
    } else throw new ConfigError(`${file}: this script has no ${names}, so another one wrote it; resume with that`);
  }
  const before: Record<string, ConfigValue | Entry<ConfigValue>> = {};
  const absent: string[] = [];
  for (const [key, value] of Object.entries(defaults)) {
    const known = value instanceof Entry ? value : new Entry<ConfigValue>(value as ConfigValue, "", {});
    const isKept = key !== "resume" && Object.hasOwn(stored, key);
    if (!isKept && key !== "resume") absent.push(key);
    const kept = isKept
      ? checkStored(known, stored[key], `${file}: options.${key}`)
      : known.rules.before ?? known.value;
    before[key] = new Entry(kept, known.about, known.rules);
  }
  if (absent.length > 0) {
    platform.log(`${file}: it does not say ${listed(absent.map((key) => `--${key}`))}, which are as ever`);
  }
  const values = config(before, args) as Config<D>;
  for (const key of Object.keys(defaults)) {
    if (key === "resume" || !Object.hasOwn(stored, key) || rules.change.includes(key)) continue;
    if (written(values[key] as ConfigValue) === written(stored[key])) continue;
    throw new ConfigError(
      `--${key}: a resumed run keeps what it was started with (${written(stored[key])}); it can change ` +
        `${rules.change.map((name) => `--${name}`).join(", ")}`,
    );
  }
  return values;
}

/**
 * Config values for a call from code: the defaults, overridden by `options`.
 *
 * @throws ConfigError for an unknown key or an invalid value
 * @example
 * ```ts
 * import { entry, withDefaults } from "voxgrad/train";
 *
 * const entries = { steps: entry(100, "optimizer steps"), rate: entry(1e-2, "learning rate") };
 * const options = withDefaults(entries, { steps: 10 }); // { steps: 10, rate: 0.01 }
 * ```
 */
export function withDefaults<D extends ConfigDefaults>(defaults: D, options: Partial<Config<D>>): Config<D> {
  const values: Record<string, ConfigValue> = {};
  for (const [key, value] of Object.entries(defaults)) values[key] = value instanceof Entry ? value.value : value;
  for (const [key, value] of Object.entries(options) as [string, ConfigValue][]) {
    const known = Object.hasOwn(defaults, key) ? defaults[key] : undefined;
    if (known === undefined) throw new ConfigError(`There is no option ${key}${nearest(key, Object.keys(defaults))}`);
    const rules = known instanceof Entry ? known : new Entry<ConfigValue>(known, "", {});
    values[key] = checkValue(rules, value, (problem) => `${key}: ${problem}`);
  }
  return values as Config<D>;
}

/**
 * Options of a training started or resumed from code, such as an arm of an experiment.
 *
 * @param folder of the run; if it has a config.json the run is resumed, which requires the same options
 * @param options overrides of the defaults. They may have no effect in some arms, so `refuseUnused` ignores them
 * @throws ConfigError as withDefaults and resumableConfig
 * @example
 * ```ts
 * import { entry, runConfig } from "voxgrad/train";
 *
 * const entries = { run: entry("", "folder"), resume: entry("", "folder"), seed: entry(1, "seed") };
 * const options = await runConfig("runs/a/seed_2", entries, { seed: 2 });
 * ```
 */
export async function runConfig<D extends ConfigDefaults & { resume: Entry<string> | string }>(
  folder: string,
  defaults: D,
  options: Partial<Config<D>>,
): Promise<Config<D>> {
  const asked = withDefaults(defaults, { ...options, run: folder } as Partial<Config<D>>);
  if (!(await platform.exists(`${folder}/config.json`))) return asked;
  const begun = await resumableConfig(defaults, { change: [] }, ["--resume", folder]);
  for (const [key, value] of Object.entries(asked) as [keyof D & string, ConfigValue][]) {
    const before = begun[key] as ConfigValue;
    if (key === "resume" || key === "run" || written(before) === written(value)) continue;
    throw new ConfigError(
      `${folder}: it was begun with --${key} ${written(before)}, and ${
        written(value)
      } is wanted now; name another folder`,
    );
  }
  return { ...begun };
}

/** Checks a value from config.json by the same rules as the command line. */
const checkStored = (known: Entry<ConfigValue>, value: unknown, place: string): ConfigValue =>
  checkValue(
    known,
    value,
    (problem) => `${place}: ${problem}; put back what the run was started with, or start another run`,
  );

/** Checks a value by the same rules as the command line; `complaint` makes the message. */
function checkValue(known: Entry<ConfigValue>, value: unknown, complaint: (problem: string) => string): ConfigValue {
  const fits = typeof value === typeof known.value && Array.isArray(value) === Array.isArray(known.value);
  try {
    if (!fits || value === null) throw new Unfit(`got ${showJson(value)}, wanted such as ${example(known)}`);
    // Command-line values are strings.
    const isList = !Array.isArray(value) || value.every((each) => typeof each === "number");
    if (!isList) throw new Unfit(`got ${showJson(value)}, wanted numbers`);
    return parse(
      known,
      typeof value === "boolean" ? value : Array.isArray(value) ? value.join(",") : String(value),
      false,
    );
  } catch (error) {
    throw error instanceof Unfit ? new ConfigError(complaint(error.message)) : error;
  }
}

/** A value that an entry rejects. */
class Unfit extends Error {}

function parse(known: Entry<ConfigValue>, text: string | boolean, missing: boolean): ConfigValue {
  const { value, rules } = known;
  if (typeof value === "boolean") {
    if (typeof text === "boolean") return text;
    if (missing || text === "true") return true;
    if (text === "false") return false;
    throw new Unfit(`got ${show(text)}, wanted true or false`);
  }
  if (typeof text === "boolean") throw new Unfit(`it has a value; leave out "no-" and write ${example(known)}`);
  if (missing) throw new Unfit(`a value is missing, such as ${example(known)}`);
  if (typeof value === "string") {
    if (!rules.oneOf || rules.oneOf.includes(text)) return text;
    throw new Unfit(`got ${show(text)}, wanted ${rules.oneOf.join(" or ")}`);
  }
  if (typeof value === "number") return parseNumber(text, rules);
  const list = text === "" ? [] : text.split(",").map((part) => parseNumber(part, rules));
  if (rules.lengths && !rules.lengths.includes(list.length)) {
    throw new Unfit(`got ${list.length} numbers (${text}), wanted ${rules.lengths.filter((n) => n > 0).join(" or ")}`);
  }
  return list;
}

function parseNumber(text: string, rules: EntryRules): number {
  const number = text.trim() === "" ? NaN : Number(text);
  const { integer = false, min = -Infinity, max = Infinity } = rules;
  const rightKind = integer ? Number.isSafeInteger(number) : Number.isFinite(number);
  if (rightKind && number >= min && number <= max) return number;
  const kind = integer ? "an integer" : "a number";
  const low = min === -Infinity ? "" : ` from ${min}`;
  const high = max === Infinity ? "" : ` up to ${max}`;
  throw new Unfit(`got ${show(text)}, wanted ${kind}${low}${high}`);
}

const example = ({ value, rules }: Entry<ConfigValue>): string => {
  if (rules.oneOf) return rules.oneOf.join(" or ");
  if (typeof value === "object") return value.length > 0 ? value.join(",") : "32,32,32";
  return value === "" ? "a string" : String(value);
};

const written = (value: ConfigValue): string =>
  typeof value === "object" ? value.join(",") || "(none)" : value === "" ? "(none)" : String(value);

const everyScript =
  "Beside them, in every script: --profile [TRACE.json] tells at the end where the time went; --tune " +
  "measures which kernels are fastest here; --print-config prints the options as JSON";

/** The keys with their defaults and descriptions, one per line. */
function describe(entries: ReadonlyMap<string, Entry<ConfigValue>>): string {
  const rows = [...entries].map(([key, { value, about, rules }]) => ({
    key: `--${key}`,
    value: written(value),
    about: rules.oneOf ? `${about} (${rules.oneOf.join(", ")})` : about,
  }));
  const width = (texts: string[]): number => Math.min(24, Math.max(0, ...texts.map((text) => text.length)));
  const [first, second] = [width(rows.map((r) => r.key)), width(rows.map((r) => r.value))];
  const lines = rows.map((r) => `  ${r.key.padEnd(first)}  ${r.value.padEnd(second)}  ${r.about}`.trimEnd());
  return ["Keys and defaults:", ...lines, "", everyScript].join("\n");
}
