/** The bench's engines are processes that may hang, crash, lose the device or compute wrong numbers, here on purpose. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Command } from "../../bench/peers/asked.ts";
import { Bench, type BenchOptions } from "../../bench/peers/bench.ts";
import type { Item } from "../../bench/peers/item.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-engines-"));
test.after(() => rm(folder, { recursive: true }));

/** Answers as an engine does; the name of the item, and of a work to tune, says what goes wrong. */
const fake = join(folder, "fake.mjs");
await writeFile(
  fake,
  `import { appendFileSync, writeFileSync } from "node:fs";
  import { createInterface } from "node:readline";
  const [, , who] = process.argv;
  const wrong = (name) => {
    if (name.includes("hang in " + who)) return new Promise(() => {});
    if (name.includes("crash in " + who)) process.kill(process.pid, "SIGKILL");
    if (name.includes("lost in " + who)) throw new Error("the GPU device was lost with it under way");
    if (name.includes("refused in " + who)) throw new Error("out of memory");
  };
  const answers = {
    open: () => ({ version: "1", device: "none" }),
    prepare: async ({ id, item, folder }) => {
      await wrong(item);
      const off = item.includes("off in " + who) ? 0.5 : 0;
      writeFileSync(folder + "/" + id + "0.bin", Float32Array.of(1, 2, 4 + off));
      return { first: 9, outputs: 1 };
    },
    run: ({ budget }) => ({ times: budget === 0 ? [5] : [1, 3, 2], counted: { dispatches: 7 } }),
    facts: () => ({ peakBytes: 100 }),
    slowest: ({ most }) => ({
      works: ["good", "hang in " + who, "refused in " + who, "crash in " + who, "also good"]
        .slice(0, most).map((work) => ({ work, dispatches: 2, milliseconds: 8 })),
    }),
    tune: async ({ work }) => (await wrong(work)) ?? { work, variant: "b", default: "a", milliseconds: { a: 2, b: 1 } },
    drop: () => ({}),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    appendFileSync(${JSON.stringify(join(folder, "log.txt"))}, who + " " + request.op + " ");
    let reply;
    try { reply = await answers[request.op](request); } catch (error) { reply = { error: error.message }; }
    process.stdout.write("@bench " + JSON.stringify(reply) + "\\n");
  }
  process.exit(0);`,
);

const command = (who: string): Command => [process.execPath, fake, who];
const item = (name: string, more: Partial<Item> = {}): Item => ({
  name,
  inputs: [{ shape: [2] }],
  ours: () => (x) => x,
  jax: { cannot: "not written" },
  tfjs: { cannot: "not written" },
  torch: "f",
  ...more,
});

/** A bench of voxgrad in both precisions and PyTorch. */
async function opened(options: Partial<BenchOptions> = {}): Promise<Bench> {
  const bench = new Bench({
    folder,
    rounds: 2,
    adapter: "",
    profile: false,
    commands: { ours: command("ours"), mixed: command("mixed"), torch: command("torch") },
    ...options,
  });
  await bench.open();
  return bench;
}

test("measure() loses an engine's row where it hangs, crashes or is refused, and goes on with all engines", async () => {
  // A busy machine may start processes slowly.
  let hangs = false;
  const bench = await opened({ patience: () => (hangs ? 4000 : 60_000) });
  try {
    const rows = [];
    for (
      const name of [
        "plain",
        "hang in mixed",
        "lost in ours",
        "crash in torch",
        "refused in ours",
        "off in torch",
        "again",
      ]
    ) {
      hangs = name.startsWith("hang");
      rows.push(await bench.measure(item(name)));
    }
    const cannot = rows.map(({ results }) =>
      ["ours", "mixed", "torch"].map((id) => results[id as "ours"]!.cannot ?? "")
    );
    assert.equal(cannot[0], ["", "", ""]);
    assert.equal(cannot[1], ["", "no answer in 4 s", ""]);
    assert.equal(cannot[2], ["the GPU device was lost with it under way", "", ""]);
    assert.match(cannot[3].join(), /^,,its process ended \(SIGKILL\)/);
    assert.equal(cannot[4], ["out of memory", "", ""]);
    assert.equal(cannot.slice(5), [["", "", ""], ["", "", ""]]);
    for (const [k, row] of rows.entries()) {
      for (const [j, id] of (["ours", "mixed", "torch"] as const).entries()) {
        if (cannot[k][j]) continue;
        assert.equal(row.results[id]!.times, [1, 3, 2, 1, 3, 2]);
        assert.equal(row.facts[id], { first: 9, dispatches: 7, peakBytes: 100 });
      }
    }
    assert.is(rows[5].results.torch!.distance, 0.5 / 4.5);
    // What was refused needs no new process; the others are problems to look at.
    const problems = bench.problems.map((text) => text.replace(/:.*/s, ""));
    assert.equal(problems, [
      'voxgrad mixed at "hang in mixed"',
      'voxgrad at "lost in ours"',
      'PyTorch at "crash in torch"',
      'PyTorch at "off in torch"',
    ]);
  } finally {
    await bench.close();
  }
});

test("measure() of an item that stands alone lets an engine go before the next prepares", async () => {
  const bench = await opened();
  try {
    await writeFile(join(folder, "log.txt"), "");
    await bench.measure(item("large", { alone: true }));
    const { readFile } = await import("node:fs/promises");
    const log = (await readFile(join(folder, "log.txt"), "utf8")).trim();
    const each = (who: string): string =>
      ["prepare", "run", "run", "run", "facts", "drop"].map((op) => `${who} ${op}`).join(" ");
    assert.is(log, ["ours", "mixed", "torch"].map(each).join(" "));
  } finally {
    await bench.close();
  }
});

test("sustain() calls until there are enough, or the time is over, but at least some times", async () => {
  const bench = await opened();
  try {
    assert.equal((await bench.sustain(item("long"), "ours", 60_000, 8)).times, [1, 3, 2, 1, 3, 2, 1, 3]);
    const short = await bench.sustain(item("short"), "ours", 0, 100);
    assert.is(short.times.length, 3);
    assert.equal(short.facts, { first: 9, peakBytes: 100 });
    assert.is((await bench.sustain(item("refused in ours"), "ours", 1000, 9)).cannot, "out of memory");
  } finally {
    await bench.close();
  }
});

test("tune() tells each work as it is done, and goes on behind one that hangs or crashes", async () => {
  const told: string[] = [];
  // The second work hangs.
  const bench = await opened({ patience: () => (told.length === 1 ? 4000 : 60_000) });
  try {
    const end = await bench.tune(item("step"), "mixed", 5, () => 1000, async ({ work, dispatches, kernel, cannot }) => {
      assert.is(dispatches, 2);
      told.push(kernel ? `${work}: ${kernel.variant} ${kernel.milliseconds.b}` : `${work}: ${cannot}`);
    });
    assert.is(told.length, 5);
    assert.is(told[0], "good: b 1");
    assert.is(told[1], "hang in mixed: no answer in 4 s");
    assert.is(told[2], "refused in mixed: out of memory");
    assert.match(told[3], /^crash in mixed: its process ended \(SIGKILL\)/);
    assert.is(told[4], "also good: b 1");
    assert.equal(end, { before: 2, after: 2 });
    const none: string[] = [];
    await bench.tune(item("step"), "ours", 2, () => 0, async ({ cannot }) => void none.push(cannot!));
    assert.equal(none, ["the time was over", "the time was over"]);
    assert.equal(await bench.tune(item("refused in ours"), "ours", 2, () => 1, async () => {}), {
      cannot: "out of memory",
    });
  } finally {
    await bench.close();
  }
});

test.run();
