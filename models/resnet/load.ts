/** Extracts a ResNet's weights from the state dict of a larger model. */
import { check, loadParameters, type Tensor, tree } from "../../engine/mod.ts";
/** The network's first norm, which precedes its blocks. */
const FIRST = /^(?!.*\blayer\d)(.*\.)?bn1\.weight$/;
const RUNNING = /(^|\.)running_(mean|var)$/;

/**
 * Parameters of the structure of `template` from the tensors of a ResNet within `tensors`, with any name prefix. The
 * classifier "fc." of a plain ResNet is ignored, as is everything outside the ResNet in a larger model.
 */
export function backboneOf<P extends object>(template: P, tensors: ReadonlyMap<string, Tensor>): P {
  const names = [...tensors.keys()];
  const prefixes = names.flatMap((name) => (FIRST.test(name) ? [name.slice(0, -"bn1.weight".length)] : []));
  check(
    prefixes.length === 1,
    "resNet.load",
    () =>
      (prefixes.length === 0
        ? "no ResNet of torchvision's names is in the file: no tensor is called bn1.weight or PREFIX.bn1.weight"
        : `several networks are in the file, with the prefixes ${prefixes.map((p) => `"${p}"`).join(", ")}; keep one`) +
      `; it has ${names.slice(0, 6).join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}`,
  );
  const prefix = prefixes[0];
  const own = new Map<string, Tensor>();
  for (const [name, t] of tensors) if (name.startsWith(prefix)) own.set(name.slice(prefix.length), t);
  const wanted = tree.flatten(template);
  const [first, kernel] = [wanted.get("conv1.weight")!, own.get("conv1.weight")];
  if (kernel && first.shape[1] === 1 && kernel.rank === 4 && kernel.shape[1] > 1) {
    own.set("conv1.weight", kernel.sum({ axes: [1], keepDims: true }));
  }
  const keeps = wanted.has("bn1.running_mean");
  return loadParameters(template, own, { ignore: keeps ? /^fc\./ : new RegExp(`^fc\\.|${RUNNING.source}`) });
}
