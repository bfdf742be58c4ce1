/** Segmentation by a few labeled slices in a page: the user chooses encoder and scan, paints, and sees the result. */
import { VoxgradError } from "../../engine/mod.ts";
import {
  determinant,
  imageStem,
  loadCase,
  type LoadedCase,
  readLabelVolume,
  type Volume,
  writeNifti,
} from "../../engine/imaging/mod.ts";
import {
  findImages,
  labelColor,
  labelsFromSlices,
  labelSlices,
  type PagePanel,
  type PanelAct,
  type PanelForm,
  RunFolder,
  scanSlices,
} from "../../engine/train/mod.ts";
import { keepPainted, loadOneShot, prepareSupport, sliceAxis } from "./support.ts";
import type { OneShotSettings } from "./settings.ts";
import type { OneShot } from "./support.ts";

const CLASSES = 8;
const SCANS = ".nii,.gz,.hdr,.img";

/** The form of the panel, for `openPanel`. */
export const oneShotForm: PanelForm = {
  title: "Segment a scan by one painted example",
  about: "Paint what you look for on a slice or a few; the rest of the scan, or another scan, is segmented by its " +
    "similarity to that. It may be anything, also what the encoder has never been told of.",
  files: {
    encoder: {
      label: "1. Encoder",
      about: "model.safetensors in the run folder of train_alpnet",
      accept: ".safetensors",
    },
    scan: {
      label: "2. Scan to segment",
      about: "NIfTI (.nii, .nii.gz); of several channels all files at once",
      accept: SCANS,
      multiple: true,
    },
    support: {
      label: "Another scan to paint on",
      about: "optional; without it you paint on the scan itself",
      accept: SCANS,
      multiple: true,
      optional: true,
    },
    painted: {
      label: "Labels instead of painting",
      about: "optional; NIfTI on the grid of the scan that is painted on",
      accept: SCANS,
      multiple: true,
      optional: true,
    },
  },
  views: {
    support: {
      label: "3. Paint the example",
      about: "Go to a slice that shows it well and paint all of it: what is left out there counts as something else.",
      empty: "The scan to paint on comes here.",
      paint: true,
      button: "4. Segment",
    },
    result: {
      label: "5. Look at the result",
      about: "The scan, and in color what was found.",
      empty: "The scan to segment comes here.",
    },
  },
  colors: Array.from({ length: CLASSES }, (_, k) => labelColor(k + 1)),
};

const size = (numbers: readonly number[]): string => numbers.map((n) => Number(n.toPrecision(3))).join(" x ");

/**
 * Answers user actions in `oneShotForm`. Labels and painted supports are written as NIfTI into the folder `output`.
 *
 * @returns the argument of `openPanel`; it throws with a message for the user if a file does not fit or nothing is
 *   painted
 * @example
 * ```ts
 * import { answerOneShot, oneShotForm } from "voxgrad/models";
 * import { openPanel } from "voxgrad/train";
 *
 * if (openPanel) await openPanel(oneShotForm, answerOneShot({}));
 * ```
 */
export function answerOneShot(
  options: OneShotSettings & { output?: string },
): (act: PanelAct, panel: PagePanel) => Promise<void> {
  const output = new RunFolder(options.output || "segmented");
  // Whatever slices are painted are all used, each for the slices around it.
  const { slices = "auto" } = options;
  const painted = slices === "auto" ? "nearest" : slices;
  let oneShot: OneShot | undefined;
  const scans: { scan?: LoadedCase; support?: LoadedCase } = {};

  async function readScan(field: string, paths: readonly string[], { plan }: OneShot): Promise<LoadedCase> {
    const channels = plan.channels.map(({ name }) => name);
    refuseOthers(paths);
    const cases = await findImages(field, channels.length);
    if (cases.length > 1) {
      throw new VoxgradError(
        `These are ${cases.length} scans (${cases.map(({ id }) => id).join(", ")}); choose the files of one`,
      );
    }
    return loadCase({ channels, labels: [] }, cases[0]);
  }

  /** The scan to paint on, along the axis of the encoder's slices. */
  function example({ plan }: OneShot): { id: string; image: Volume; along: "S" | "A" | "R" } {
    const { id, image } = (scans.support ?? scans.scan)!;
    return { id, image, along: sliceAxis(image, plan).patient };
  }

  const choose = {
    async encoder([path]: readonly string[], panel: PagePanel): Promise<void> {
      if (!path.endsWith(".safetensors")) throw new VoxgradError(`${path}: an encoder is a file model.safetensors`);
      const next = await loadOneShot(path, { ...options, slices: painted });
      const asks = ({ plan }: OneShot): string =>
        JSON.stringify([plan.channels.map(({ name }) => name), plan.orientation, plan.transpose]);
      if (oneShot && asks(oneShot) !== asks(next)) {
        scans.scan = scans.support = undefined;
        for (const field of ["scan", "support", "painted"]) panel.note(field, "");
        panel.show(["support", "result"]);
      }
      oneShot = next;
      const { channels, spacing, dataset } = next.plan;
      panel.note(
        "encoder",
        `${channels.map(({ name }) => name).join(", ")} at ${size(spacing)} mm, trained on ${dataset}`,
      );
      panel.say(scans.scan ? "Ready to segment." : "Now choose the scan to segment.");
    },

    async scan(paths: readonly string[], panel: PagePanel): Promise<void> {
      const next = await readScan("scan", paths, oneShot!);
      scans.scan = next;
      panel.note("scan", `${next.id}: ${size(next.image.shape)} voxels of ${size(next.image.spacing)} mm`);
      const views = scans.support ? ["result"] : ["support", "result"];
      if (!scans.support) panel.note("painted", "");
      panel.show(views, { scan: scanSlices(next.image, sliceAxis(next.image, oneShot!.plan).patient) });
      panel.say("Scroll to a slice that shows what you look for, and paint it.");
    },

    async support(paths: readonly string[], panel: PagePanel): Promise<void> {
      const next = paths.length > 0 ? await readScan("support", paths, oneShot!) : undefined;
      scans.support = next;
      panel.note(
        "support",
        next ? `${next.id}: ${size(next.image.shape)} voxels of ${size(next.image.spacing)} mm` : "",
      );
      panel.note("painted", "");
      const { image, along } = example(oneShot!);
      panel.show(["support"], { scan: scanSlices(image, along) });
      panel.say("Scroll to a slice that shows what you look for, and paint it.");
    },

    async painted(paths: readonly string[], panel: PagePanel): Promise<void> {
      const { id, image, along } = example(oneShot!);
      let labels = new Uint8Array(image.shape[0] * image.shape[1] * image.shape[2]);
      if (paths.length > 0) {
        refuseOthers(paths);
        const file = paths.find((path) => imageStem(path) !== undefined) ?? paths[0];
        const label = await readLabelVolume(file);
        // Check now, not at use, that it fits and has labels.
        await prepareSupport({ id, image, label }, oneShot!.plan);
        labels = labelSlices(label, along);
      }
      panel.show(["support"], { labels });
      panel.note("painted", paths.length > 0 ? paths[0].slice(paths[0].indexOf("/") + 1) : "");
      panel.say(paths.length > 0 ? "The labels can be painted over." : "");
    },
  };

  async function segment(marks: Uint8Array<ArrayBuffer> | undefined, panel: PagePanel): Promise<void> {
    const { plan, segment } = oneShot!;
    if (!marks?.some((value) => value > 0)) {
      throw new VoxgradError("Nothing is painted yet: paint what you look for on at least one slice, or choose labels");
    }
    const { id, image, along } = example(oneShot!);
    const scan = scans.scan!;
    panel.say(`Segmenting ${scan.id} ...`);
    const started = performance.now();
    const label = labelsFromSlices(marks, image, along);
    const drawn = await output.write(`${id}_painted.nii.gz`, writeNifti(label, { dtype: "uint8", gzip: true }));
    panel.show(["support"], { file: drawn });
    const { support, lost } = await prepareSupport({ id, image, label }, plan, options);
    if (lost !== undefined) throw new VoxgradError(lost);
    const all = await segment(scan.image, [support]);
    // What was painted on the scan itself stays.
    const found = scans.support ? all : keepPainted(all, label, plan);
    const file = await output.write(`${scan.id}.nii.gz`, writeNifti(found, { dtype: "uint8", gzip: true }));
    panel.show(["result"], { labels: labelSlices(found, sliceAxis(found, plan).patient), file });
    const counts = new Array<number>(256).fill(0);
    for (const value of found.data) counts[value]++;
    const milliliters = Math.abs(determinant(found.affine)) / 1000;
    const parts = counts.flatMap((
      n,
      value,
    ) => (value > 0 && n > 0 ? [`class ${value}: ${Number((n * milliliters).toPrecision(3))} ml`] : []));
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    panel.say(
      `Done in ${seconds} s. ${parts.length > 0 ? `Found ${parts.join(", ")}.` : "Nothing like it was found."}`,
    );
  }

  return async (act, panel) => {
    if (act.type === "press") return segment(act.marks.support, panel);
    panel.say("Reading ...");
    return choose[act.name as keyof typeof choose](act.paths, panel);
  };
}

/** Throws for files without a NIfTI ending. */
function refuseOthers(paths: readonly string[]): void {
  const other = paths.find((path) => imageStem(path) === undefined && !/\.img(\.gz)?$/.test(path));
  if (other !== undefined) {
    throw new VoxgradError(`${other}: it is no NIfTI file (.nii, .nii.gz, or .hdr with its .img)`);
  }
}
