// train_conresnet, small: its loss falls, a killed training ends as one left alone, its file serves prediction.
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadParameters, random } from "../../../engine/mod.ts";
import { readVolume } from "../../../engine/imaging/mod.ts";
import { config, loadModel, resumableConfig, segmenter, trainingChanges } from "../../../engine/train/mod.ts";
import { networkOf } from "../../../models/mod.ts";
import { conResNetEntries, trainConResNet } from "../../../scripts/train_conresnet.ts";
import { runCommand } from "../../helpers/command.ts";
import { cleanUp, file, folder, losses, place, words as shared } from "../../helpers/train_conresnet_helpers.ts";

test.after(cleanUp);
const words = (name: string, ...own: string[]): string[] =>
  shared(name, ...(own.includes("all") ? [] : ["--validation", "1"]), ...own);

test("train_conresnet resumes a killed run with boundary loss and dropout to the same weights", async () => {
  const own = ["--patch", "8,16,16", "--steps", "8", "--rate", "0.01", "--boundary", "--fold", "all"];
  await trainConResNet(config(conResNetEntries, words("whole", ...own)));
  await runCommand(folder, ["train_conresnet", ...words("killed", ...own), "--checkpoint", "0"], { kill: /step 3\// });
  const resumed = ["--resume", place("killed"), "--checkpoint", "0"];
  await trainConResNet(await resumableConfig(conResNetEntries, { change: trainingChanges }, resumed));
  assert.ok((await losses("killed")).length === 8);
  assert.ok((await file("whole", "model.safetensors")).equals(await file("killed", "model.safetensors")));
  const all = await losses("whole");
  assert.ok(all.at(-1)! + all.at(-2)! < all[0] + all[1] - 0.4, `${all}`);
  const report = String(await file("whole", "report.html"));
  assert.match(report, /conResNet 4-8, \d+ parameters/);
});

test("train_conresnet --arm baseline has no residual parameters, and its file segments alike", async () => {
  const given = words("baseline", "--patch", "8,16,16", "--arm", "baseline", "--steps", "2", "--augment", "scale");
  const { cases } = await trainConResNet(config(conResNetEntries, given));
  const path = join(folder, "baseline", "model.safetensors");
  const { description, tensors } = await loadModel(path);
  assert.ok([...tensors.keys()].every((name) => !/res/.test(name)), `${[...tensors.keys()]}`);
  const model = networkOf(description, path);
  const params = loadParameters(model.init(random.key(0)), tensors);
  const [{ id, prediction }] = cases as [(typeof cases)[0]];
  const again = await segmenter(model, params, { plan: description.plan })(
    await readVolume(place(`data/imagesTr/${id}.nii.gz`)),
  );
  assert.equal(again.data, (await readVolume(prediction)).data);
});

test.run();
