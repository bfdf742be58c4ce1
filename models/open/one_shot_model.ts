/** Models of encoders of train_alpnet: they find in a scan what a labeled scan shows. */
import { check, VoxgradError } from "../../engine/mod.ts";
import {
  checkSpacing,
  isVolume,
  type PreparedCase,
  readLabelVolume,
  type Volume,
  wholeLabels,
} from "../../engine/imaging/mod.ts";
import { type LoadedModel, resident } from "../../engine/train/mod.ts";
import { oneShotSegmenter } from "../alpnet/scans.ts";
import { fewShotOptions, type OneShotSettings, settingsWith } from "../alpnet/settings.ts";
import { encoderOf, keepPainted, prepareSupport } from "../alpnet/support.ts";
import { readScan, type SegmentationModel, type Support, writable, type WriteVolume } from "./segmentation_model.ts";

export interface OneShotModelOptions extends OneShotSettings {
  readonly batch?: number;
  readonly anySpacing?: boolean;
}

/** The model of an encoder. */
export async function oneShotModel(
  loaded: LoadedModel,
  options: OneShotModelOptions,
  write: WriteVolume,
): Promise<SegmentationModel> {
  const { batch, anySpacing = false, ...asked } = options;
  const { model, params, plan, settings } = await encoderOf(loaded);
  const build = (own: object) =>
    oneShotSegmenter(model, own, {
      plan,
      ...fewShotOptions(settingsWith(settings, asked)),
      ...(batch !== undefined && { batch }),
    });
  const encoder = resident("model", params, build);
  const channels = plan.channels.map(({ name }) => name);

  async function read({ image: scan, labels }: Support) {
    const image = await readScan(scan, channels);
    return { id: image.name, image, label: isVolume(labels) ? wholeLabels(labels) : await readLabelVolume(labels) };
  }

  return {
    plan,
    channels,
    labels: [{ name: "background", value: 0 }],
    needsSupport: true,
    mirror: "none",

    async segment(scan, { signal, onProgress, probabilities, support } = {}) {
      const given = [support].flat().filter((each) => each !== undefined);
      check(
        given.length > 0,
        "segment",
        () => "this model is an encoder, which finds what a labeled scan shows; give { support: { image, labels } }",
      );
      const stop = (): void => {
        signal?.throwIfAborted();
        encoder.check();
      };
      stop();
      const image = await readScan(scan, channels);
      if (!anySpacing) checkSpacing(image, plan, "anySpacing: true of openModel");
      const examples = await Promise.all(given.map(read));
      let likely: Volume | undefined;
      const labels = await encoder.use(async (segment) => {
        const supports: PreparedCase[] = [];
        for (const each of examples) {
          stop();
          const { support: prepared, lost } = await prepareSupport(each, plan, asked);
          if (lost !== undefined) throw new VoxgradError(lost);
          supports.push(prepared);
        }
        const found = await segment(image, supports, {
          signal: { throwIfAborted: stop },
          onProgress: (done, total) => onProgress?.({ done, total }),
          ...(probabilities && { onLikely: (found: Volume) => void (likely = found) }),
        });
        // Slices of the scan itself that are labeled stay as they are.
        const own = given.findIndex((each) => each.image === scan);
        return own < 0 ? found : keepPainted(found, examples[own].label, plan);
      });
      return { labels: writable(labels, write), ...(likely && { probabilities: writable(likely, write) }) };
    },

    dispose: () => encoder.dispose(),
  };
}
