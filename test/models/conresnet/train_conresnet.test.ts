// deno-lint-ignore-file no-explicit-any
// train_conresnet, small: the loss of its steps is what the options say.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, random, type Tensor } from "../../../engine/mod.ts";
import { regionTargets } from "../../../engine/nn/mod.ts";
import { config, openTraining } from "../../../engine/train/mod.ts";
import { conres, conResNet } from "../../../models/mod.ts";
import { conResNetEntries, trainConResNet } from "../../../scripts/train_conresnet.ts";
import { cleanUp, file, losses, place, words as shared } from "../../helpers/train_conresnet_helpers.ts";

test.after(cleanUp);
const words = (name: string, ...own: string[]): string[] => shared(name, "--validation", "0", ...own);

test("train_conresnet computes the loss of its options, boundary loss and its share included", async () => {
  const still = [
    "--patch",
    "8,24,24",
    "--augment",
    "none",
    "--dropout",
    "0",
    "--steps",
    "2",
    "--rate",
    "1e-30",
    "--boundary",
  ];
  const arms = [
    {
      name: "regions",
      own: [
        "--fold",
        "all",
        "--axis",
        "sagittal",
        "--mode",
        "code",
        "--first",
        "label",
        "--lambda",
        "0.25",
        "--recompute",
      ],
    },
    {
      name: "labels",
      own: [
        "--activation",
        "softmax",
        "--axis",
        "coronal",
        "--residualWeights",
        "region",
        "--backgroundWeight",
        "0.75",
        "--learnedGate",
        "--gain",
        "none",
      ],
    },
  ];
  for (const { name, own } of arms) {
    const given = words(name, ...still, ...own);
    const { classes } = await trainConResNet(config(conResNetEntries, given));
    assert.equal(classes.map((each) => each.name), name === "labels" ? ["WT", "TC", "ET"] : [], "regions are measured");
    const options = config(conResNetEntries, [...given, "--overwrite"]);
    const training = await openTraining({ ...options, features: [], run: place(`${name}_again`) });
    const { architecture } = JSON.parse(String(await file(name, "config.json")));
    const model = conResNet(architecture);
    assert.is(architecture.axis, own.includes("sagittal") ? "sagittal" : "coronal");
    const isDefault = name === "regions";
    assert.equal([architecture.gain, architecture.learnedGate], isDefault ? ["fan", false] : ["none", true]);
    const regions = [[1, 2, 3], [1, 3], [3]];
    const sets = name === "regions" ? regions : [[1], [2], [3]];
    const reference = compile((p: any, image: Tensor, label: Tensor) => {
      const outputs = model.apply(p, image);
      const own = conres.loss(
        outputs,
        label,
        name === "regions"
          ? { regions, axis: "sagittal", mode: "code", first: "label", lambda: 0.25 }
          : { axis: "coronal", lambda: 0.5, residualWeights: "region", backgroundWeight: 0.75 },
      );
      // A patch is a whole case of voxels of 3 x 1 x 1 mm.
      const distances = conres.signedDistances(regionTargets(label, sets).cast("f32"), { spacing: [3, 1, 1] });
      return [own, conres.boundaryLoss(outputs[0], distances, { multiClass: name === "labels" })] as const;
    });
    const shares = [1, 0.505];
    for (const [k, got] of (await losses(name)).entries()) {
      const { image, label } = await training.batch(training.folds[0].split, k + 1);
      const [own, boundary] = await Promise.all(
        (await reference(model.init(random.key(1)), image, label)).map((x) => x.item()),
      );
      assert.ok(Math.abs(boundary) > 0.01);
      const wanted = shares[k] * own + (1 - shares[k]) * boundary;
      // Sums of ten thousand f32, fused otherwise.
      assert.ok(Math.abs(got - wanted) < 2e-5 * Math.abs(own), `${name}, step ${k + 1}: ${got}, ${wanted}`);
    }
  }
});

test("trainConResNet() throws on options that do not fit", async () => {
  const options = config(conResNetEntries, words("wrong", "--patch", "8,16,16", "--blocks", "1,2"));
  const message = await trainConResNet(options).then(String, (error: Error) => error.message);
  assert.match(message, /blocks lists integers >= 1, one per scale and one for the dilated stage, 3/);
  const refused = (...own: string[]) =>
    trainConResNet(config(conResNetEntries, words("wrong", ...own))).then(String, (error: Error) => error.message);
  assert.match(await refused("--backgroundWeight", "log"), /--backgroundWeight: got "log", wanted share or a number/);
  assert.match(await refused("--backgroundWeight=-1"), /--backgroundWeight: got "-1"/);
  assert.match(
    await refused("--mode", "code", "--residualWeights", "region"),
    /--residualWeights has no effect: --mode code counts/,
  );
  assert.match(await refused("--arm", "mapping", "--learnedGate"), /--learnedGate has no effect: --arm mapping/);
});

test.run();
