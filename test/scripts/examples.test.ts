/** The programs of scripts/examples, which are copied first: each runs, learns, and says how it is run. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { runCommand } from "../helpers/command.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(`${root}/${path}`, "utf8");

/** Options for a run of seconds, and what the numbers that a pattern finds in its output have to be. */
const examples: Record<string, { words: string; pattern: RegExp; holds: (...numbers: number[]) => boolean }> = {
  contrastive: {
    words: "--steps 25 --batch 24",
    pattern: /random features: ([\d.]+)[^]*loss ([\d.]+); accuracy on learned ones: ([\d.]+)/,
    // From log 47 on, and from one of three classes.
    holds: (_, loss, after) => loss < 3.8 && after > 0.4,
  },
  diffusion: {
    words: "--steps 25 --times 8",
    pattern: /mean squared error of the noise: ([\d.]+)/,
    holds: (loss) => loss < 0.9,
  },
  gauss_newton: {
    words: "--steps 10",
    pattern: /step 0: loss (\S+)[^]*\nloss (\S+); parameters are off by ([\d.]+)/,
    // The noise has a variance of 4e-4.
    holds: (before, after, error) => before > 1e-2 && after < 4.5e-4 && error < 0.05,
  },
  lora: {
    words: "--steps 60 --rate 0.01",
    pattern: /on its task: loss [\d.]+, accuracy ([\d.]+)[^]*another task by (\d+) of (\d+) numbers: accuracy ([\d.]+)/,
    holds: (first, few, all, second) => first > 0.8 && few < all / 4 && second > 0.7,
  },
  mean_teacher: {
    words: "--steps 25",
    pattern: /loss ([\d.]+), of it disagreement ([\d.]+)\nDice of the student ([\d.]+), of the teacher ([\d.]+)/,
    holds: (loss, disagreement, student) => loss < 1.2 && disagreement < 0.2 && student > 0.15,
  },
  registration: {
    words: "--steps 15 --size 12",
    pattern: /Dice ([\d.]+) before, ([\d.]+) after\n([\d.]+) %/,
    holds: (before, after, folded) => after > before && folded < 5,
  },
};

test("scripts/examples and scripts/README.md name the programs that are run here", () => {
  const files = readdirSync(`${root}/scripts/examples`).sort();
  assert.equal(files, Object.keys(examples).sort().map((name) => `${name}.ts`));
  for (const file of files) {
    assert.ok(read("scripts/README.md").includes(`examples/${file}`), `${file} is in scripts/README.md`);
    const lines = read(`scripts/examples/${file}`).trimEnd().split("\n");
    assert.ok(lines.length < 100, `${file} has ${lines.length} lines`);
    const head = lines.slice(0, lines.findIndex((line) => !line.startsWith("//"))).join("\n");
    assert.match(head, /\bCopy\b/, `${file} says what to copy`);
    assert.match(head, `npx voxgrad run scripts/examples/${file} --`, `${file} says how it is run`);
  }
});

for (const [name, { words, pattern, holds }] of Object.entries(examples)) {
  test(`scripts/examples/${name}.ts runs and learns`, async () => {
    const { code, output } = await runCommand(root, ["run", `scripts/examples/${name}.ts`, ...words.split(" ")]);
    assert.is(code, 0, output);
    const numbers = pattern.exec(output)?.slice(1).map(Number);
    assert.ok(numbers?.every(Number.isFinite), output);
    assert.ok(holds(...numbers!), `${numbers}`);
    assert.not.match(output, /each call recomputes/);
  });
}

test.run();
