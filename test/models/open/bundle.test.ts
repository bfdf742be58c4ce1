/**
 * openModel as bundlers make it: the chunk that a page always loads is without what only training, other networks and
 * writing need, and segments by itself.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Metafile } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random } from "../../../engine/mod.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { architectureOf, networkFromPlan, openModel } from "../../../models/mod.ts";
import { relativeError } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
// Within the package, so that its imports are found from there.
const folder = join(root, `.cache/bundle-${process.pid}`);
await mkdir(folder, { recursive: true });
test.after(() => rm(folder, { recursive: true }));

const { metafile } = await build({
  absWorkingDir: root,
  stdin: {
    // Not models/mod.ts: esbuild takes what such a file imports for needed at once, used or not.
    contents: `export { openModel } from "./models/open/open_model.ts";
      export { closeDevice } from "./engine/gpu/device.ts";`,
    resolveDir: root,
  },
  outdir: folder,
  entryNames: "page",
  bundle: true,
  splitting: true,
  metafile: true,
  format: "esm",
  platform: "node",
  target: "es2022",
  packages: "external",
  external: ["#platform", "#gl-matrix/*"],
  logLevel: "error",
});

/** The sources in an output and in those that it imports at once. */
function sourcesAtOnce({ outputs }: Metafile, name: string): string[] {
  const atOnce = new Set([name]);
  for (const each of atOnce) {
    for (const { path, kind, external } of outputs[each].imports) {
      if (kind === "import-statement" && !external) atOnce.add(path);
    }
  }
  return [...atOnce].flatMap((each) =>
    Object.entries(outputs[each].inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : []))
  );
}

const page = Object.keys(metafile.outputs).find((name) => name.endsWith("/page.js"))!;

test("openModel() loads at once no operator for the methods of Tensor, no training, no other networks, no writing", () => {
  const loaded = sourcesAtOnce(metafile, page);
  assert.ok(loaded.includes("models/unet/unet.ts"));
  const late = [
    /^engine\/(autodiff\/(reverse|forward|vmap)|compile\/(tune|anomaly|run_tune)|gpu\/(profile|run_profile|roofs))\.ts$/,
    /^engine\/nn\/(losses|optimizers|schedules)/,
    /^engine\/ops\/(methods\.ts|index\/|mask\/|linear\/(conv_weight_grad|cosine_matching|einsum|matmul))/,
    /^shaders\/(conv\/weight_(gemm|tile)|index\/|mask\/|matmul|cosine_matching|sampling\/grid_sample)/,
    /^engine\/imaging\/(augment|phantoms|planner|metrics\/(?!compare|metrics)|nifti\/(write|gzip)\.ts)/,
    /^engine\/train\/(experiment|loop|plot|report)/,
    /^models\/(alpnet\/(?!network_name)|colab|conresnet|partial|resnet|segresnet)/,
  ];
  assert.equal(loaded.filter((path) => late.some((pattern) => pattern.test(path))), []);
});

test("openModel() of the bundle segments by U-Nets as that of the sources", async () => {
  const bundle = await import(pathToFileURL(join(root, page)).href) as {
    openModel: typeof openModel;
    closeDevice: typeof closeDevice;
  };
  const residual = { name: "residualEncoderUNet", blocksPerStage: [1, 2] };
  const plain = planFor({ labels: ["background", "a", "b"] });
  const { convsPerStage: _, ...shared } = plain.network;
  const image = makeVolume(Float32Array.from(noise(11 * 13 * 9)), {
    shape: [11, 13, 9],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1],
  });
  try {
    for (const network of [plain.network, { ...shared, ...residual }]) {
      const plan = { ...plain, network };
      const params = networkFromPlan(plan).init(random.key(5));
      const file = await saveModel(params, { network: network.name, architecture: architectureOf(plan), plan });
      const results = [];
      for (const open of [bundle.openModel, openModel]) {
        const model = await open([file, file], { mirror: "xy" });
        results.push(await model.segment(image, { probabilities: true }));
        model.dispose();
      }
      const [got, wanted] = results;
      assert.equal(got.labels.data, wanted.labels.data);
      assert.ok(relativeError(got.probabilities!.data, wanted.probabilities!.data) < 1e-6);
    }
  } finally {
    await bundle.closeDevice();
    await closeDevice();
  }
});

test.run();
