// Scripts import each other's functions: only the one that the user runs may run.
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bundle } from "../../engine/platform/cli/bundle.ts";
import { runCommand } from "../helpers/command.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-main-"));
test.after(() => rm(folder, { recursive: true, force: true }));
const train = fileURLToPath(new URL("../../engine/train/mod.ts", import.meta.url));
const script = (name: string): string =>
  `import { print, runScript } from ${JSON.stringify(pathToFileURL(train).href)};
export const ${name} = 1;
await runScript(import.meta.url, () => ({}), async () => print("${name} runs"));
`;
await writeFile(join(folder, "inner.ts"), script("inner"));
await writeFile(join(folder, "outer.ts"), `import "./inner.ts";\n${script("outer")}`);
await symlink(join(folder, "outer.ts"), join(folder, "link.ts"));

test("runScript() runs the script that is named, not one that it imports", async () => {
  for (const name of ["outer.ts", "link.ts"]) {
    const { code, output } = await runCommand(folder, ["run", name]);
    assert.is(code, 0, output);
    assert.match(output, /Device: .*\nouter runs/);
    assert.not.match(output, /inner runs/);
  }
  assert.match((await runCommand(folder, ["run", "inner.ts"])).output, /inner runs/);
});

test("bundle() marks the URL of the script alone, and keeps that of its other modules", async () => {
  const worker = join(folder, "worker.ts");
  await writeFile(join(folder, "b.ts"), "export const b = import.meta.url;\n");
  await writeFile(join(folder, "a.ts"), 'export { b } from "./b.ts";\nexport const a = import.meta.url;\n');
  await writeFile(worker, 'import { a, b } from "voxgrad:script";\nconsole.log(a, b);\n');
  const { code } = await bundle(worker, join(folder, "a.ts"));
  const program = code.replace(/^\/\/# sourceMappingURL.*$/m, "");
  const printed: string[] = [];
  const log = (...values: string[]) => printed.push(...values);
  new Function("console", program.replaceAll("import.meta.url", '"file:///page"'))({ log });
  assert.equal(printed, ["file:///page#voxgrad-script", "file:///page"]);
});

test.run();
