// What happens around a script: a standard output that cannot be written, folders with one owner, signals, names that a
// terminal would obey.
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "../../../engine/platform/node.ts";
import { PlatformError } from "../../../engine/platform/types.ts";

const cli = fileURLToPath(new URL("../../../engine/platform/cli/voxgrad.mjs", import.meta.url));
const engine = new URL("../../../engine/train/mod.ts", import.meta.url).href;
const host = new URL("../../../engine/platform/node.ts", import.meta.url).href;
const folder = await mkdtemp(join(tmpdir(), "voxgrad-process-"));
test.after(() => rm(folder, { recursive: true, force: true }));

/** Writes a script and starts it as a user would. */
async function start(name: string, source: string, stdout: "pipe" | number = "pipe") {
  await writeFile(join(folder, `${name}.mjs`), source);
  const child = spawn(process.execPath, [cli, "run", join(folder, `${name}.mjs`)], {
    cwd: folder,
    stdio: ["ignore", stdout, "pipe"],
  });
  const said = { text: "" };
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (said.text += data));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal }))
  );
  const says = async (wanted: RegExp): Promise<void> => {
    for (let k = 0; k < 600 && !wanted.test(said.text); k++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.match(said.text, wanted);
  };
  return { child, said, ended, says };
}

const talkative = (file: string): string => `
import { writeFileSync } from "node:fs";
import { print } from "${engine}";
for (let k = 0; k < 300; k++) {
  print("a line of some length, so that a pipe is soon full: " + k);
  if (k % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
}
writeFileSync(${JSON.stringify(file)}, "done");
`;

test("voxgrad run survives a standard output on a full disk", async () => {
  const full = openSync("/dev/full", "w");
  const file = join(folder, "full.txt");
  const { ended, said } = await start("full", talkative(file), full);
  const { code } = await ended;
  closeSync(full);
  assert.is(code, 0, said.text);
  assert.is(await readFile(file, "utf8"), "done");
});

test("voxgrad run survives a standard output that its reader has closed", async () => {
  const file = join(folder, "closed.txt");
  const { child, ended, said } = await start("closed", talkative(file));
  child.stdout!.once("data", () => child.stdout!.destroy());
  assert.is((await ended).code, 0, said.text);
  assert.is(await readFile(file, "utf8"), "done");
});

test("print() shows what a terminal would obey", async () => {
  const { ended, said } = await start(
    "escape",
    `
import { print } from "${engine}";
print("\\u001b[31mred\\u0007 \\u202Eleft, of two lines\\nand a\\ttab");
throw Object.assign(new Error("case \\u001b]0;title\\u0007"), { name: "DatasetError" });
`,
  );
  assert.is((await ended).code, 1);
  assert.match(said.text, "\\u001b[31mred\\u0007 \\u202eleft, of two lines\nand a\ttab");
  assert.match(said.text, "DatasetError: case \\u001b]0;title\\u0007");
});

const owner = (path: string): string => `
import { platform } from "${host}";
await platform.lockFolder(${JSON.stringify(path)});
platform.log("locked");
await new Promise((resolve) => setTimeout(resolve, 60_000));
`;

test("lockFolder() gives a folder one owner, until that has ended or was killed", async () => {
  const path = join(folder, "run");
  const first = await start("owner", owner(path));
  await first.says(/locked/);
  const error = await platform.lockFolder(path).then(() => undefined, (caught: unknown) => caught);
  assert.instance(error, PlatformError);
  assert.is((error as PlatformError).code, "locked");
  assert.match((error as Error).message, new RegExp(`run: process \\d+ on ${hostname()} works in it; wait`));
  const second = await start("second", owner(path));
  assert.is((await second.ended).code, 1);
  assert.match(second.said.text, /works in it/);
  first.child.kill("SIGKILL");
  await first.ended;
  const release = await platform.lockFolder(path);
  const third = await start("third", owner(path));
  assert.is((await third.ended).code, 1, third.said.text);
  await release();
  assert.equal(
    await readdir(folder).then((names) => names.includes("run")),
    true,
    "the folder was made by the process that was killed",
  );
  assert.equal(await readdir(path), []);
});

test("lockFolder() takes over locks of processes that are gone, and no others", async () => {
  const path = join(folder, "stale");
  const file = join(path, ".voxgrad.lock");
  await (await platform.lockFolder(path))();
  assert.not.ok(await platform.exists(path), "a folder that was made for nothing goes again");
  const put = async (value: unknown, minutes: number): Promise<void> => {
    await platform.writeFile(file, typeof value === "string" ? value : JSON.stringify(value));
    const then = new Date(Date.now() - 60_000 * minutes);
    await utimes(file, then, then);
  };
  const taken = async (): Promise<boolean> => {
    const release = await platform.lockFolder(path).catch((error: PlatformError) => {
      assert.is(error.code, "locked");
      return undefined;
    });
    await release?.();
    return release !== undefined;
  };
  const elsewhere = { pid: 7, host: "another-host", started: "" };
  for (
    const [value, minutes, wanted] of [
      [elsewhere, 0, false],
      [elsewhere, 2, false],
      [elsewhere, 30, true],
      // A number of a process that lives, but began at another time.
      [{ pid: process.ppid, host: hostname(), started: "another-boot 12" }, 0, true],
      [{ pid: 2 ** 22 + 7, host: hostname(), started: "" }, 0, true],
      ["", 0, false],
      ["", 5, true],
      ["{", 5, true],
    ] as const
  ) {
    await put(value, minutes);
    assert.is(await taken(), wanted, `${JSON.stringify(value)} after ${minutes} minutes`);
  }
});

test("platform.lockFolder() may lock a folder twice in one process, and frees it when both are released", async () => {
  const path = join(folder, "twice");
  const [a, b] = [await platform.lockFolder(path), await platform.lockFolder(path)];
  await a();
  await a();
  const other = await start("other", owner(path));
  assert.is((await other.ended).code, 1);
  await b();
  const release = await platform.lockFolder(path);
  await release();
});

test("realPath() sees through links, and names what does not exist yet", async () => {
  const real = await platform.realPath(folder);
  assert.is(await platform.realPath(join(folder, "new/deeper")), join(real, "new/deeper"));
  assert.is(await platform.realPath(`${folder}/./x/../y`), join(real, "y"));
});

test("onInterrupt() lets a script finish its work: 143 after SIGTERM; asked again, it ends at once", async () => {
  const script = (more: string): string => `
import { platform } from "${host}";
let asked;
platform.onInterrupt((interrupted) => (asked = interrupted));
platform.log("ready");
while (!asked) await new Promise((resolve) => setTimeout(resolve, 10));
platform.log("saved");
${more}
throw asked;
`;
  const polite = await start("polite", script(""));
  await polite.says(/ready/);
  polite.child.kill("SIGTERM");
  assert.equal(await polite.ended, { code: 143, signal: null });
  assert.match(polite.said.text, /saved\n+Interrupted: Stopped by SIGTERM\n/);
  const slow = await start("slow", script("await new Promise((resolve) => setTimeout(resolve, 60_000));"));
  await slow.says(/ready/);
  slow.child.kill("SIGINT");
  await slow.says(/saved/);
  slow.child.kill("SIGINT");
  assert.equal(await slow.ended, { code: 130, signal: null });
});

test.run();
