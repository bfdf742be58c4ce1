/** How sources become what npm publishes. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "@jridgewell/sourcemap-codec";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { javaScriptOf } from "../../engine/platform/build/javascript.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-build-"));
test.after(() => rm(folder, { recursive: true }));

/** A source as it is published, and the line of the source, from 1 on, that each line of it is mapped to. */
async function published(name: string, source: string): Promise<{ code: string; lines: (number | undefined)[] }> {
  await mkdir(join(folder, name, ".."), { recursive: true });
  await writeFile(join(folder, name), source);
  const [{ code, map }] = (await javaScriptOf(folder, [name], "dist")).values();
  const { mappings } = JSON.parse(map) as { mappings: string };
  return { code, lines: decode(mappings).map(([segment]) => segment && segment[2]! + 1) };
}

test("javaScriptOf() ends lines with statements and maps each to its line", async () => {
  const source = `/** Comment. */
export function f(x: number): string {
  // Another.
  if (x < 0) throw new Error("negative");
  const y = \`a
    b \${x}\`;
  g("call", { x });

  return y;
}

const g = (...all: unknown[]): void => console.log("last", all);
`;
  const { code, lines } = await published("one.ts", source);
  const wanted = source.split("\n");
  const texts = code.split("\n");
  for (const mark of ["negative", "call", "last"]) {
    const k = texts.findIndex((text) => text.includes(mark));
    assert.ok(wanted[lines[k]! - 1].includes(mark), `${mark}: line ${lines[k]}`);
  }
  assert.ok(code.includes("a\n    b ${"), "a template is as it was");
  assert.not.match(code, /Comment|Another|number/);
  assert.ok(texts.every((text) => text.length < 80));
});

test("javaScriptOf() shortens the lines of kernels and maps to those of the source", async () => {
  const source = `const main = (n: number): string => \`
  // A comment.
  fn main() {
    let x = \${n};
  }
\`;

export function last(): string {
  return main(3) + "end";
}
`;
  const { code, lines } = await published("shaders/k.ts", source);
  assert.ok(code.includes("\nfn main() {\nlet x = ${"), code);
  const end = code.split("\n").findIndex((text) => text.includes("end"));
  assert.is(lines[end], 9);
});

test.run();
