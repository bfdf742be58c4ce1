/**
 * Stands in for uvu where the tests of test/ are bundled to run on a GPU: runs each test of a file and prints a line of
 * JSON when it begins and when it ends, so that whoever reads them knows which one hung or took the process with it.
 */

/** Written before each line. */
export const MARK = "@check ";

export interface CheckLine {
  /** Number of the test in its file. */
  readonly at: number;
  readonly name: string;
  /** Set at its end. */
  readonly milliseconds?: number;
  /** Why it failed. */
  readonly error?: string;
  /** Set in the last line: there are no more tests. */
  readonly over?: boolean;
}

/** Which tests to run: every `shards`th, of those from `from` on whose name has one of the words. */
export interface CheckChoice {
  readonly from: number;
  readonly shard: number;
  readonly shards: number;
  readonly words: readonly string[];
}

type Step = () => unknown;
const steps: { readonly name: string; readonly step: Step }[] = [];
const before: Step[] = [];

const say = (line: CheckLine): void => void process.stdout.write(`${MARK}${JSON.stringify(line)}\n`);

const messageOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n").slice(0, 4).join(" ").slice(0, 300);
};

export const test = Object.assign((name: string, step: Step): void => void steps.push({ name, step }), {
  before: (step: Step): void => void before.push(step),
  // The device ends with the process, which may hang in closing it.
  after: (_: Step): void => {},
  run: (): void => void run(),
});

async function run(): Promise<void> {
  const { from, shard, shards, words } = JSON.parse(process.env.VOXGRAD_CHECKS!) as CheckChoice;
  const chosen = steps
    .map((each, at) => ({ ...each, at }))
    .filter(({ name }) => words.some((word) => name.toLowerCase().includes(word)))
    .filter(({ at }, k) => k % shards === shard && at >= from);
  let at = from;
  try {
    if (chosen.length > 0) { for (const step of before) await step(); }
    for (const each of chosen) {
      at = each.at;
      say({ at, name: each.name });
      const start = performance.now();
      let error: string | undefined;
      try {
        await each.step();
      } catch (thrown) {
        error = messageOf(thrown);
      }
      say({ at, name: each.name, milliseconds: performance.now() - start, ...(error === undefined ? {} : { error }) });
    }
  } catch (thrown) {
    say({ at, name: "opening the device", milliseconds: 0, error: messageOf(thrown) });
  }
  say({ at: steps.length, name: "", over: true });
  process.exit(0);
}
