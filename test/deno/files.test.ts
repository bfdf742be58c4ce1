// Whole test files in Deno, unchanged: every operator, every kernel, the engine, files and errors of the platform.
// `npm run test:hosts` runs them; `npm test` leaves them out.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Ended, root, runDeno } from "./harness.ts";

const names = (await readdir(join(root, "test"), { recursive: true })).sort();
const files = names.filter((name) =>
  /(\b(golden_ops|dtypes|engine|higher_order|math|operators|platform)|_kernels?)\.test\.ts$/.test(name)
);

test("runDeno() has test files to run", () => assert.ok(files.length >= 8, files.join(", ")));

// Two at a time; the operators, which take longest, first.
const longest = (name: string): number => Number(name.includes("operators")) - Number(name.includes("platform"));
const queue = [...files].sort((a, b) => longest(b) - longest(a));
const results = new Map<string, Promise<Ended>>();
const ended = new Map<string, (result: Promise<Ended>) => void>();
for (const name of files) results.set(name, new Promise((resolve) => ended.set(name, resolve)));
async function work(): Promise<void> {
  for (let name = queue.shift(); name; name = queue.shift()) {
    const result = runDeno([join(root, "test", name)]);
    ended.get(name)!(result);
    await result.catch(() => undefined);
  }
}
void Promise.all([work(), work()]);

for (const name of files) {
  test(`${name} passes in Deno`, async () => {
    const { code, stdout, stderr } = await results.get(name)!;
    const [total, passed] = ["Total", "Passed"].map((label) => Number(stdout.match(`${label}: +(\\d+)`)?.[1]));
    assert.ok(code === 0 && total > 0 && passed === total, `${stdout}${stderr}`);
  });
}

test.run();
