import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-cli-"));
const onLinux = process.platform === "linux" && process.arch === "x64";
test.after(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  code: number | string | null;
  signal: string | null;
  out: string;
  err: string;
}

function voxgrad(words: string[], env: Record<string, string> = {}, nodeFlags: string[] = []): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: root, env: { ...process.env, VOXGRAD_ADAPTER: "", ...env }, timeout: 60_000 };
    execFile(process.execPath, [...nodeFlags, cli, ...words], options, (error, out, err) => {
      resolve({ code: error ? (error.code ?? null) : 0, signal: error?.signal ?? null, out, err });
    });
  });
}

const script = async (name: string, source: string): Promise<string> => {
  await writeFile(join(folder, name), source);
  return join(folder, name);
};
const platformImport = `import { platform } from ${JSON.stringify(join(root, "engine/platform/node.ts"))};\n`;

test("voxgrad --help, --version and no argument explain", async () => {
  for (const words of [[], ["--help"], ["help"]]) {
    const { code, out } = await voxgrad(words);
    assert.is(code, 0);
    assert.match(out, "voxgrad doctor");
  }
  assert.match((await voxgrad(["--version"])).out, /^\d+\.\d+\.\d+\n$/);
});

test("voxgrad new of a clone makes a project that uses the clone", async () => {
  const project = join(folder, "my_project");
  const { code, out } = await voxgrad(["new", project]);
  assert.is(code, 0);
  assert.match(out, "npm run build");
  const { dependencies } = JSON.parse(await readFile(join(project, "package.json"), "utf8"));
  const [, path] = /^file:(\..*)$/.exec(dependencies.voxgrad)!;
  assert.is(join(project, path, "package.json"), join(root, "package.json"));
  const again = await voxgrad(["new", project]);
  assert.is(again.code, 1);
  assert.match(again.err, "is not empty");
});

test("voxgrad run names an unknown command, no script and a missing script", async () => {
  const unknown = await voxgrad(["train"]);
  assert.is(unknown.code, 2);
  assert.match(unknown.err, 'Unknown command "train"; there are run, serve, site, new, doctor, ');
  const none = await voxgrad(["run", "--steps", "3"]);
  assert.is(none.code, 2);
  assert.match(none.err, "Name a script");
  const missing = await voxgrad(["serve", "scripts/nothing.ts"]);
  assert.is(missing.code, 2);
  assert.match(missing.err, "Cannot serve scripts/nothing.ts: there is no such file");
  const port = await voxgrad(["serve", await script("empty.ts", ""), "--port", "many"]);
  assert.is(port.code, 2);
  assert.match(port.err, "--port is many");
});

test("voxgrad run passes arguments and runs TypeScript with top-level await", async () => {
  const path = await script(
    "args.ts",
    `${platformImport}
    const words: readonly string[] = await Promise.resolve(platform.readCommandLine());
    platform.log(JSON.stringify(words));`,
  );
  const { code, out } = await voxgrad(["run", path, "--steps", "3", "--name=two words"]);
  assert.is(code, 0);
  assert.equal(JSON.parse(out), ["--steps", "3", "--name=two words"]);
});

test("voxgrad run fails with the line of the .ts source", async () => {
  const path = await script("throws.ts", 'interface A {\n  a: number;\n}\nthrow new RangeError("too much");\n');
  const { code, err } = await voxgrad(["run", path]);
  assert.is(code, 1);
  assert.match(err, "RangeError: too much");
  assert.match(err, "throws.ts:4:");
});

test("voxgrad run names a missing file without a stack", async () => {
  const path = await script("reads.ts", `${platformImport}await platform.readFile("no/such/scan.nii.gz");`);
  const { code, err } = await voxgrad(["run", path]);
  assert.is(code, 1);
  assert.match(err, "Cannot read no/such/scan.nii.gz: there is no such file");
  assert.not.match(err, "    at ");
});

test("platform.progress() off a terminal shows the last line of progress and few before it", async () => {
  const path = await script(
    "progress.ts",
    `${platformImport}
    for (let done = 1; done <= 500; done++) platform.progress({ done, total: 500, text: "step " + done });`,
  );
  const { out } = await voxgrad(["run", path]);
  const lines = out.trim().split("\n");
  assert.ok(lines.length <= 3, `${lines.length} lines`);
  assert.is(lines.at(-1), "step 500");
});

const modImport = `import { compile, measureRoofs, random } from ${JSON.stringify(join(root, "engine/mod.ts"))};\n`;
const computing = `${platformImport}${modImport}
  const x = random.normal(random.key(1), { shape: [64, 64] });
  const f = compile((x) => x.square().add(1).log().sum());
  const values = [];
  for (let k = 0; k < 4; k++) values.push(await (await f(x)).item());
  platform.log("values " + values + " arguments " + platform.readCommandLine());`;

test("voxgrad run --profile prints kernels, shares and rooflines, writes a trace and changes no bit", async () => {
  const path = await script("computes.ts", computing);
  const file = join(folder, "trace.json");
  const env = { VOXGRAD_ADAPTER: process.env.VOXGRAD_ADAPTER ?? "" };
  const [plain, profiled] = await Promise.all([
    voxgrad(["run", path, "--steps", "3"], env),
    voxgrad(["run", path, "--profile", file, "--steps", "3"], env),
  ]);
  assert.is(profiled.code, 0, profiled.err);
  assert.match(plain.out, /^values \S+ arguments --steps,3\n$/);
  assert.ok(profiled.out.startsWith(plain.out), profiled.out);
  const report = profiled.out.slice(plain.out.length);
  const count = Number(report.match(/: (\d+) dispatches\n/)?.[1]);
  assert.ok(count >= 5, report);
  assert.match(report, /^random\.normal +/m);
  assert.match(report, /^sum\+.*log/m);
  const rows = [...report.matchAll(/^\S.*? +[\d.]+ +([\d.]+)% +(\d+) +[\d.]+ +/gm)];
  assert.is(rows.reduce((sum, row) => sum + Number(row[2]), 0), count);
  const shares = rows.reduce((sum, row) => sum + Number(row[1]), 0);
  // Each is rounded to a tenth.
  assert.ok(shares > 99 && shares < 100 + 0.05 * rows.length + 1e-6, `shares add up to ${shares}`);
  const [, inside, beside] = report.match(/In kernels ([\d.]+) s .*beside them ([\d.]+) s/)!.map(Number);
  const wall = Number(report.match(/Profile of ([\d.]+) s/)![1]);
  assert.ok(inside > 0 && beside > 0 && Math.abs(inside + beside - wall) < 0.003, report);
  const [, bytes, flops] = report.match(/Roofs, measured: ([\d.]+) GB\/s .*, ([\d.]+) GFLOP\/s/)!.map(Number);
  assert.ok(bytes > 0 && flops > 0, report);
  const { traceEvents } = JSON.parse(await readFile(file, "utf8"));
  assert.is(traceEvents.filter((event: { ph: string }) => event.ph === "X").length, count);
});

test("voxgrad run --profile reports a failing script, and an adapter without a clock", async () => {
  const env = { VOXGRAD_ADAPTER: process.env.VOXGRAD_ADAPTER ?? "" };
  const failing = await voxgrad([
    "run",
    await script("fails.ts", `${computing}\nthrow new Error("too late");`),
    "--profile",
  ], env);
  assert.is(failing.code, 1);
  assert.match(failing.out, "Roofs, measured");
  assert.match(failing.err, "too late");
  const clockless = `${platformImport}
    const own = platform.openAdapter;
    platform.openAdapter = async (options) => {
      const choice = await own(options);
      const features = new Set([...choice.adapter.features].filter((name) => name !== "timestamp-query"));
      const requestDevice = (wanted) => choice.adapter.requestDevice(wanted);
      return { ...choice, adapter: { info: choice.adapter.info, limits: choice.adapter.limits, features, requestDevice } };
    };`;
  const source = `${clockless}${computing.replace(platformImport, "")}`;
  const { code, err } = await voxgrad(["run", await script("clockless.ts", source), "--profile"], env);
  assert.is(code, 1);
  assert.match(err, /--profile: .* cannot tell how long kernels take: it lacks the WebGPU feature timestamp-query/);
  const roofs = `${source}\nplatform.log(JSON.stringify(await measureRoofs()));`;
  const { out } = await voxgrad(["run", await script("roofs.ts", roofs)], env);
  const measured = JSON.parse(out.trim().split("\n").at(-1)!);
  assert.ok(measured.gigabytesPerSecond > 0 && measured.gigaflopsPerSecond > 0, out);
});

test("voxgrad run --tune measures what a script compiles once, and later runs use it", async () => {
  const path = await script(
    "convolves.ts",
    `${platformImport}
    import { compile, conv3d, grad, random } from ${JSON.stringify(join(root, "engine/mod.ts"))};
    const x = random.normal(random.key(1), { shape: [1, 2, 6, 6, 6] });
    const w = random.normal(random.key(2), { shape: [3, 2, 3, 3, 3] });
    const f = compile((w) => grad((w) => conv3d(x, w, { padding: 1 }).square().sum())(w).square().sum());
    platform.log("value " + (await (await f(w)).item()));`,
  );
  const env = { VOXGRAD_ADAPTER: process.env.VOXGRAD_ADAPTER ?? "", VOXGRAD_CACHE: join(folder, "tuned") };
  const plain = await voxgrad(["run", path], env);
  assert.not((await readdir(join(folder, "tuned"))).includes("tuned.json"), "tuning is off by default");
  const tuned = await voxgrad(["run", path, "--tune"], env);
  assert.match(tuned.out, /^tuned 2\/2 {2}convolution .*: \w+, [\d.]+ ms \(.*\)$/m);
  assert.is(
    Object.keys(Object.values(JSON.parse(await readFile(join(folder, "tuned", "tuned.json"), "utf8")).adapters)[0]!)
      .length,
    2,
  );
  const again = await voxgrad(["run", path, "--tune"], env);
  assert.match(again.out, /^value \S+\n$/, "nothing is left to tune");
  const value = ({ out }: Outcome): number => Number(out.match(/value (\S+)/)![1]);
  assert.ok(Math.abs(value(tuned) / value(plain) - 1) < 1e-5);
  assert.is(value(again), value(tuned));
});

if (onLinux) {
  test("voxgrad doctor finds SwiftShader without a system driver, and names what is better", async () => {
    const { code, out } = await voxgrad(["doctor"], { VK_DRIVER_FILES: "/nonexistent" });
    assert.is(code, 0, out);
    assert.match(out, "system        no: the system has no Vulkan driver");
    assert.match(out, /adapter +swiftshader/);
    assert.match(out, "computes      rightly");
    assert.match(out, "All is well");
  });

  test("voxgrad doctor fails without an adapter, with the fix", async () => {
    // A cache folder that cannot be made leaves SwiftShader packed.
    const env = { VK_DRIVER_FILES: "/nonexistent", VOXGRAD_CACHE: await script("no_folder", "") };
    const { code, out } = await voxgrad(["doctor"], env);
    assert.is(code, 1, out);
    assert.match(out, "No WebGPU adapter found");
    assert.match(out, "Fix: ");
    assert.match(out, "voxgrad cannot compute here");
  });

  test("voxgrad doctor names the requested adapter that is missing", async () => {
    const { code, out } = await voxgrad(["doctor"], { VOXGRAD_ADAPTER: "Voodoo 2" });
    assert.is(code, 1, out);
    assert.match(out, "asked for     VOXGRAD_ADAPTER=Voodoo 2");
    assert.match(out, 'No WebGPU adapter found for "voodoo 2"');
  });

  test("swiftShader() unpacks whole files in two processes at once", async () => {
    const env = { VK_DRIVER_FILES: "/nonexistent", VOXGRAD_CACHE: join(folder, "cache") };
    const both = await Promise.all([voxgrad(["doctor"], env), voxgrad(["doctor"], env)]);
    for (const { code, out } of both) assert.is(code, 0, out);
    const left = (await readdir(join(folder, "cache"))).filter((name) => name.startsWith("swiftshader"));
    assert.is(left.length, 1, left.join());
  });

  test("openDevice() lets a process end by itself, after garbage collections too", async () => {
    const path = await script(
      "device.ts",
      `${platformImport}
      const { adapter } = await platform.openAdapter();
      const device = await adapter.requestDevice();
      for (let i = 0; i < 20; i++) {
        device.createBuffer({ size: 1024, usage: 0x80 });
        (globalThis as unknown as { gc(): void }).gc();
        await new Promise((done) => setTimeout(done, 5));
      }
      await device.queue.onSubmittedWorkDone();
      platform.log("end");`,
    );
    for (const adapter of ["swiftshader", ""]) {
      const { code, signal, out } = await voxgrad(["run", path], { VOXGRAD_ADAPTER: adapter }, ["--expose-gc"]);
      assert.is(signal, null);
      assert.is(code, 0);
      assert.is(out, "end\n");
    }
  });
}

test.run();
