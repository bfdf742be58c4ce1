/** A panel in the page that a script runs in: converts scans to slices for the screen, and painted labels back. */
import { platform } from "#platform";
import { axisCodes, makeVolume, reorient, volumeLike, voxelCount } from "../../imaging/mod.ts";
import type { Volume } from "../../imaging/mod.ts";
import type { PanelScan, Platform } from "../../platform/types.ts";
import { grayWindow, HANGING } from "./overlay.ts";

export type { PagePanel, PanelAct, PanelContent, PanelForm, PanelScan } from "../../platform/types.ts";

/** The axis of the patient along which slices are stacked: S (axial), A (coronal), R (sagittal). */
export type PatientAxis = keyof typeof HANGING;

/**
 * Adds a panel to the page that the script runs in, and answers user actions until the page is closed; undefined
 * without a page, as in Node. Errors of `answer` are shown to the user, who may continue.
 *
 * @example
 * ```ts
 * import { openPanel } from "voxgrad/train";
 *
 * const form = { title: "Scan", about: "Choose a scan.", files: {}, views: {}, colors: ["#ff0000"] };
 * if (openPanel) await openPanel(form, async (act, panel) => panel.say(`${act.name}: ${act.type}`));
 * ```
 */
export const openPanel: Platform["openPanel"] = platform.openPanel;

/** The volume with x to the right of the screen, y downwards, and slices along z. */
const hung = (volume: Volume, along: PatientAxis): Volume => reorient(volume, [...HANGING[along], along].join(""));

/**
 * The first channel of a scan as slices for a panel, in radiological convention: the patient's right on the left, front
 * or head on top. Black and white are the 0.5th and 99.5th percentile.
 *
 * @param along default "S"
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { scanSlices } from "voxgrad/train";
 *
 * const scan = scanSlices(phantomCase({ seed: 1 }).image); // for panel.show(["scan"], { scan })
 * ```
 */
export function scanSlices(image: Volume, along: PatientAxis = "S"): PanelScan {
  const { data, shape: [X, Y, Z], spacing, channels, name } = hung(image, along);
  return {
    name: name.slice(name.lastIndexOf("/") + 1),
    // A subarray would be sent to the page with its whole buffer.
    data: channels === 1 ? data : data.slice(0, voxelCount([X, Y, Z])),
    shape: [Z, Y, X],
    pixel: [spacing[1], spacing[0]],
    window: grayWindow(image),
  };
}

/**
 * Labels on the grid of a scan, converted to that of its `scanSlices`.
 *
 * @returns a copy, [slices, rows, columns]
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { labelSlices } from "voxgrad/train";
 *
 * const labels = labelSlices(phantomCase({ seed: 1 }).label); // for panel.show(["scan"], { labels })
 * ```
 */
export const labelSlices = (labels: Volume, along: PatientAxis = "S"): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(hung(labels, along).data);

/**
 * Converts labels painted on `scanSlices` to the grid of the scan: the inverse of `labelSlices`.
 *
 * @param labels [slices, rows, columns]
 * @throws VoxgradError for another number of labels than the scan has voxels
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { labelsFromSlices, labelSlices } from "voxgrad/train";
 *
 * const { image, label } = phantomCase({ seed: 1 });
 * const back = labelsFromSlices(labelSlices(label), image); // equal to label
 * ```
 */
export function labelsFromSlices(labels: Uint8Array<ArrayBuffer>, image: Volume, along: PatientAxis = "S"): Volume {
  const { shape, affine } = hung({ ...image, data: new Uint8Array(voxelCount(image.shape)), channels: 1 }, along);
  const volume = makeVolume(labels, { shape, affine, name: `labels of ${image.name}` });
  return volumeLike(image, reorient(volume, axisCodes(image.affine)).data, { name: volume.name });
}
