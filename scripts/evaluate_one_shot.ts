// Measures one-shot segmentation by an encoder of train_alpnet on labeled scans. Either several cases are the support
// in turn and segment all others, which tells how much depends on the choice; or, with --within, one slice of each scan
// is the support and the scan's other slices are measured. --help lists what can be set.
// `npx voxgrad evaluate_one_shot runs/encoder --supports 10 --ranges known`
// `npx voxgrad evaluate_one_shot runs/encoder ct.nii.gz --labels organs.nii.gz --classes liver=1 --within --preparation
// own`
import { config, runScript } from "../engine/train/mod.ts";
import { evaluateOneShot, oneShotEntries } from "../models/mod.ts";

await runScript(import.meta.url, () => config(oneShotEntries), evaluateOneShot);
