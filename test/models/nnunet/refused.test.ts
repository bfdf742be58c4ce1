/** openModel() of nnU-Net's files that are hostile, damaged or not there: each is refused by name, and nothing is run. */
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { cp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { strToU8, zipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, VoxgradError } from "../../../engine/mod.ts";
import { openModel, type OpenModelOptions } from "../../../models/mod.ts";

const golden = fileURLToPath(new URL("../../golden/nnunet/Dataset901_Small/", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "voxgrad-nnunet-"));
test.after(() => rm(root, { recursive: true }));
test.after(closeDevice);
const PREFIX = "nnUNetTrainer__nnUNetPlans__";
const evidence = join(root, "evidence");

const refused = async (source: Parameters<typeof openModel>[0], wanted: RegExp, options: OpenModelOptions = {}) => {
  const error = await openModel(source, options).then(() => null, (e: Error) => e);
  assert.ok(error instanceof VoxgradError && wanted.test(error.message), `${error?.message}`);
  assert.not(existsSync(evidence), "nothing was run");
};

/** A copy of the two-dimensional result, to be changed. */
async function copied(name: string, files: Readonly<Record<string, Uint8Array | string>> = {}): Promise<string> {
  const folder = join(root, name, `${PREFIX}2d`);
  await cp(`${golden}${PREFIX}2d`, folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
  return folder;
}

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => typeof part === "number" ? [part] : [...part].map((c) => c.charCodeAt(0))));
const word = (n: number): string => String.fromCharCode(...new Uint8Array(Uint32Array.of(n).buffer));
const text = (value: string): string => `X${word(value.length)}${value}`;
const torchFile = (...parts: (string | number)[]): Uint8Array =>
  zipSync({ "checkpoint/data.pkl": bytes(...parts), "checkpoint/data/0": new Uint8Array(4) }, { level: 0 });
const command = `touch ${evidence}`;
/** A float tensor of this shape over one stored number. */
const tensor = (shape: readonly number[], strides: readonly number[]): string => {
  const tuple = (numbers: readonly number[]): string => `(${numbers.map((n) => `J${word(n)}`).join("")}t`;
  const storage = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}K\x01tQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${storage}K\x00${tuple(shape)}${tuple(strides)}\x89}tR`;
};
/** A checkpoint with these entries. */
const checkpointOf = (entries: Readonly<Record<string, string>>): Uint8Array =>
  torchFile("}", ...Object.entries(entries).map(([key, value]) => `${text(key)}${value}s`), ".");
const WEIGHTS = `}${text("w")}${tensor([1], [1])}s`;

test("openModel() runs nothing that a checkpoint names", async () => {
  const checkpoint = (file: Uint8Array) => ({ "fold_0/checkpoint_final.pth": file });
  const hostile: [Uint8Array, RegExp][] = [
    [torchFile("cos\nsystem\n(", text(command), "tR."), /names "os\.system", which is not read/],
    [torchFile("cposix\nsystem\n(", text(command), "tR."), /names "posix\.system"/],
    [torchFile("csubprocess\nPopen\n(", text(command), "tR."), /names "subprocess\.Popen"/],
    [checkpointOf({ network_weights: WEIGHTS, logging: `cbuiltins\neval\n(${text("1")}tR` }), /names "builtins\.eval"/],
    [
      checkpointOf({ network_weights: WEIGHTS, init_args: "cnnunetv2.mine\nThing\n)R" }),
      /names "nnunetv2\.mine\.Thing"/,
    ],
    [torchFile("cnumpy.core.multiarray\n_reconstruct\n)R."), /names "numpy\.core\.multiarray\._reconstruct"/],
  ];
  for (const [k, [file, wanted]] of hostile.entries()) {
    await refused(await copied(`run${k}`, checkpoint(file)), wanted);
  }
});

test("openModel() refuses checkpoints without end, and shapes beyond their numbers", async () => {
  // A list that holds itself, and one of 2^40 parts by 40 references to lists of two.
  const doubled = (depth: number): string => {
    let list = `]q\x00${text("x")}a`;
    for (let k = 0; k < depth; k++) list = `${list}r${word(k + 1)}0](j${word(k + 1)}j${word(k + 1)}e`;
    return list;
  };
  const init = (value: string) => checkpointOf({ network_weights: WEIGHTS, init_args: value });
  await refused(init(`]q\x05h\x05a`), /holds a value of more than 1000000 parts or 64 levels/);
  await refused(init(doubled(40)), /holds a value of more than 1000000 parts or 64 levels/);
  await refused(init("]".repeat(1e5) + "a".repeat(1e5 - 1)), /more than 1000000 parts or 64 levels/);
  const huge = `}${text("w")}${tensor([2_147_483_647, 5], [0, 0])}s`;
  await refused(checkpointOf({ network_weights: huge }), /reaches beyond its 1 numbers/);
  await refused(init("}"), /its init_args name no configuration/);
});

test("openModel() runs no function of a postprocessing.pkl, and knows one by name", async () => {
  const file = "crossval_results_folds_0/postprocessing.pkl";
  const known = "cnnunetv2.postprocessing.remove_connected_components\n" +
    "remove_all_but_largest_component_from_segmentation\n";
  const rule = (kwargs: string): Uint8Array => bytes(`(](${known}e](${kwargs}et.`);
  const cases: [Uint8Array, RegExp][] = [
    [bytes("cos\nsystem\n(", text(command), "tR."), /postprocessing\.pkl: the pickle names "os\.system"/],
    [bytes(known, "(", text(command), "tR."), /the pickle calls "nnunetv2\.postprocessing.*", which is not run here/],
    [bytes("cnnunetv2.mine\nkeep_round\n."), /names "nnunetv2\.mine\.keep_round"/],
    [rule(`}${text("labels_or_regions")}K\x01s${text("smooth")}K\x01s`), /its arguments hold smooth, unknown here/],
    [rule(`}${text("labels_or_regions")}${text("all")}s`), /labels_or_regions is "all"; wanted labels/],
    [bytes("K\x01."), /it is no list of functions/],
  ];
  for (const [k, [pickle, wanted]] of cases.entries()) {
    await refused(await copied(`rule${k}`, { [file]: pickle }), wanted);
  }
});

test("openModel() names what a result lacks", async () => {
  const without = async (name: string, ...files: string[]): Promise<string> => {
    const folder = await copied(name);
    for (const file of files) await rm(join(folder, file), { recursive: true });
    return folder;
  };
  await refused(
    await without("a", "fold_0/checkpoint_final.pth"),
    /of its folds \(fold_0\) none holds checkpoint_final/,
  );
  await refused(await without("b", "fold_0"), /of its folds \(none\) none holds/);
  await refused(join(await without("c", "plans.json"), "fold_0"), /holds neither model\.safetensors nor/);
  await refused(await copied("d", { "plans.json": "{" }), /plans\.json/);
  await refused(await copied("e", { "dataset.json": "[]" }), /dataset\.json: it is no object/);
  const cascade = `${golden}${PREFIX}3d_cascade_fullres`;
  const alone = join(root, "f", `${PREFIX}3d_cascade_fullres`);
  await cp(cascade, alone, { recursive: true });
  await refused(alone, /second stage of a cascade and takes labels of 3d_lowres; put that training beside it/);
  await refused(golden.slice(0, -1), /has no configuration 3d_huge; there are nnUNetTrainer__/, {
    configuration: "3d_huge",
  });
  const mixed = await copied("g");
  await mkdir(join(mixed, "fold_1"));
  await cp(`${golden}${PREFIX}3d_fullres/fold_1/checkpoint_final.pth`, join(mixed, "fold_1/checkpoint_final.pth"));
  await refused(mixed, /fold_1\/checkpoint_final\.pth: its configuration is "3d_fullres", another than that of/);
  const other = await copied("h");
  await cp(`${golden}${PREFIX}3d_fullres/plans.json`, join(other, "plans.json"));
  await rename(join(other, "fold_0"), join(other, "fold_all"));
  const model = await openModel(other);
  model.dispose();
});

test("openModel() refuses weights of another network by their names, and options that are not for it", async () => {
  const plans = JSON.parse(readFileSync(`${golden}${PREFIX}2d/plans.json`, "utf8"));
  plans.configurations["2d"].architecture.arch_kwargs.features_per_stage = [2, 3, 5];
  await refused(
    await copied("k", { "plans.json": JSON.stringify(plans) }),
    /encoder\.stages\.2\.0\.convs\.0\.conv\.weight/,
  );
  const folder = `${golden}${PREFIX}2d`;
  await refused(folder, /plan is for models of ONNX and TensorFlow\.js; what nnU-Net trained/, { plan: "plan.json" });
  await refused([folder, `${golden}${PREFIX}3d_fullres`], /mirrored along xz and xyz; give mirror for all/);
});

test("openModel() refuses zips that are damaged, hold nothing of nnU-Net, or claim too much", async () => {
  const zip = (files: Record<string, Uint8Array>) => zipSync(files, { level: 6 });
  await refused(zip({ "a/readme.txt": strToU8("x") }), /it holds no folder of nnU-Net with plans\.json/);
  const inside = Object.fromEntries(
    ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"].map((name) => [
      `D/${PREFIX}2d/${name}`,
      new Uint8Array(readFileSync(`${golden}${PREFIX}2d/${name}`)),
    ]),
  );
  const whole = zip(inside);
  (await openModel(whole)).dispose();
  await refused(whole.subarray(0, whole.length - 40), /an archive without its directory/);
  const at = whole.length / 2 | 0;
  const broken = whole.slice();
  broken.fill(7, at, at + 400);
  await refused(broken, /checkpoint_final\.pth, (damaged|whose checksum differs)/);
  // The size of the first file in the directory: four gigabytes.
  const claims = whole.slice();
  const view = new DataView(claims.buffer);
  view.setUint32(view.getUint32(claims.length - 6, true) + 24, 0xfffffff0, true);
  await refused(claims, /plans\.json said to hold 4294967280 bytes/);
});

test.run();
