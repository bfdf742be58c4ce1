/**
 * A synthetic organ dataset for experiments without patient data: a body with a large organ, a smaller one beside it
 * and a tumor with a bright rim, smoothly deformed, under a bias field and noise. The body's wall and small blobs as
 * bright as the organs, tubes as bright as the rim, and a dark core defeat thresholding: size, shape and surroundings
 * matter.
 */
import { VoxgradError } from "../../core/errors.ts";
import { platform } from "#platform";
import { writeNifti } from "../nifti/write.ts";
import { smoothField, smoothstep } from "./field.ts";
import { depth, placeGrid, unit, writeDescription } from "./shapes.ts";
import type { Ellipsoid, Point } from "./shapes.ts";
import { Prng } from "../../core/prng.ts";
import { makeVolume } from "../volume/volume.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/** Label names of the phantom, by value. */
export const PHANTOM_LABELS = ["background", "organ", "gland", "tumor"] as const;

export interface PhantomOptions {
  readonly seed: number;
  /** [X, Y, Z]; default [36, 40, 32]. */
  readonly shape?: Triple;
  /** mm along x, y, z; default [1, 1, 1.5]. */
  readonly spacing?: Triple;
}

const SHAPE: Triple = [36, 40, 32];
const SPACING: Triple = [1, 1, 1.5];

// Intensities before gain, bias and noise.
const BODY = 0.35;
const ORGAN = 0.6;
const GLAND = 0.8;
const RIM = 1;
const CORE = 0.42;
const NOISE = 0.05;
const BIAS = 0.42;

interface Scene {
  readonly body: Ellipsoid;
  /** Thickness in mm of the body's wall, as bright as the organ. */
  readonly wall: number;
  readonly organ: Ellipsoid;
  readonly gland: Ellipsoid;
  readonly tumor: Ellipsoid;
  readonly rim: number;
  readonly blobs: readonly (Ellipsoid & { readonly value: number })[];
  /** Bright tubes: a point, a direction of length 1, a radius. */
  readonly tubes: readonly { readonly center: Point; readonly direction: Point; readonly radius: number }[];
}

function makeScene(prng: Prng, half: Point): Scene {
  const size = Math.min(...half);
  const side = prng.integer(2) === 0 ? 1 : -1;
  const near = (amount: number) => prng.uniform(-amount, amount) * size;
  const round = (x: number, y: number, z: number): Point => {
    const scale = prng.uniform(0.92, 1.08) * size;
    return [x * scale, y * scale, z * scale];
  };
  const organ = {
    center: [-0.33 * half[0] * side + near(0.05), near(0.12), near(0.12)] as Point,
    radii: round(0.52, 0.62, 0.64),
  };
  const gland = {
    center: [0.5 * half[0] * side + near(0.05), 0.1 * half[1] + near(0.15), near(0.2)] as Point,
    radii: round(0.32, 0.4, 0.5),
  };
  const towards = unit(prng);
  const tumor = {
    center: organ.center.map((c, axis) => c + 0.5 * towards[axis] * organ.radii[axis]) as unknown as Point,
    radii: round(0.37, 0.37, 0.39),
  };
  const anywhere = (): Point => {
    const at = unit(prng);
    const far = prng.uniform(0.45, 0.85);
    return [at[0] * far * half[0], at[1] * far * half[1], at[2] * far * half[2]];
  };
  const blobs = [ORGAN, GLAND, RIM, ORGAN, GLAND, ORGAN].map((value) => {
    const radius = prng.uniform(0.1, 0.15) * size;
    return { center: anywhere(), radii: [radius, radius, radius] as Point, value };
  });
  const tubes = [0, 1, 2].map(() => ({
    center: anywhere(),
    direction: unit(prng),
    radius: prng.uniform(0.06, 0.1) * size,
  }));
  const body = { center: [0, 0, 0] as Point, radii: [0.96 * half[0], 0.96 * half[1], 1.25 * half[2]] as Point };
  return { body, wall: 0.11 * size, organ, gland, tumor, rim: 0.18 * size, blobs, tubes };
}

/** Intensity and label at a point (mm from the center); `tissue` is the body's texture there. */
function paint(scene: Scene, x: number, y: number, z: number, tissue: number): [number, number] {
  // Edges are blurred over a millimeter to imitate partial volume.
  const blend = (value: number, over: number, inside: number) => value + (over - value) * smoothstep(inside + 0.5);
  const body = depth(scene.body, x, y, z);
  let value = blend(blend(0, ORGAN + tissue, body), BODY + tissue, body - scene.wall);
  for (const tube of scene.tubes) {
    const [dx, dy, dz] = [x - tube.center[0], y - tube.center[1], z - tube.center[2]];
    const along = dx * tube.direction[0] + dy * tube.direction[1] + dz * tube.direction[2];
    const away = Math.sqrt(Math.max(0, dx * dx + dy * dy + dz * dz - along * along));
    if (value > 0.1) value = blend(value, RIM, tube.radius - away);
  }
  for (const blob of scene.blobs) value = blend(value, blob.value + tissue, depth(blob, x, y, z));
  const organ = depth(scene.organ, x, y, z);
  const gland = depth(scene.gland, x, y, z);
  const tumor = depth(scene.tumor, x, y, z);
  value = blend(value, ORGAN + tissue, organ);
  value = blend(value, GLAND + tissue, gland);
  value = blend(value, RIM, tumor);
  value = blend(value, CORE + tissue, tumor - scene.rim);
  return [value, tumor > 0 ? 3 : gland > 0 ? 2 : organ > 0 ? 1 : 0];
}

/**
 * One phantom patient: an image in steps of 1/1000 of the brightest tissue (int16) and its labels (uint8; see
 * PHANTOM_LABELS) on the same grid. The same options give the same voxels on every host.
 *
 * @throws VoxgradError when a side is below 16 voxels, where the tumor would vanish
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 *
 * const { image, label } = phantomCase({ seed: 1 });
 * ```
 */
export function phantomCase(options: PhantomOptions): { image: Volume; label: Volume } {
  const { seed, shape = SHAPE, spacing = SPACING } = options;
  if (!shape.every((n) => Number.isInteger(n) && n >= 16)) {
    throw new VoxgradError(`phantomCase: shape ${shape.join(" x ")}; wanted at least 16 voxels a side`);
  }
  const prng = new Prng(seed).fork("phantom");
  const [X, Y, Z] = shape;
  const half: Point = [(X * spacing[0]) / 2, (Y * spacing[1]) / 2, (Z * spacing[2]) / 2];
  const size = Math.min(...half);
  const scene = makeScene(prng.fork("scene"), half);
  const bend = [0, 1, 2].map((axis) => smoothField(prng.fork(10 + axis), shape, 3));
  const texture = smoothField(prng.fork("texture"), shape, 8);
  const bias = smoothField(prng.fork("bias"), shape, 2);
  const noise = prng.fork("noise");
  const gain = prng.fork("gain").uniform(0.8, 1.25);
  const values = new Int16Array(X * Y * Z);
  const labels = new Uint8Array(X * Y * Z);
  let at = 0;
  for (let k = 0; k < Z; k++) {
    for (let j = 0; j < Y; j++) {
      for (let i = 0; i < X; i++, at++) {
        const x = (i - (X - 1) / 2) * spacing[0] + 0.2 * size * bend[0][at];
        const y = (j - (Y - 1) / 2) * spacing[1] + 0.2 * size * bend[1][at];
        const z = (k - (Z - 1) / 2) * spacing[2] + 0.2 * size * bend[2][at];
        const [value, label] = paint(scene, x, y, z, 0.08 * texture[at]);
        const field = Math.min(1.6, Math.max(0.4, 1 + BIAS * bias[at]));
        values[at] = Math.round(1000 * gain * (value * field + NOISE * noise.normal()));
        labels[at] = label;
      }
    }
  }
  const affine = placeGrid(prng.fork("grid"), spacing);
  const name = `phantom seed ${seed}`;
  return {
    image: makeVolume(values, { shape, affine, name: `${name} image` }),
    label: makeVolume(labels, { shape, affine, name: `${name} label` }),
  };
}

/**
 * Writes a phantom dataset as a folder in the layout of the Medical Segmentation Decathlon: dataset.json, imagesTr and
 * labelsTr with .nii.gz files.
 *
 * @param folder created if missing; files of the same names are replaced
 * @param options cases: how many patients; seed: of the first, from which the others are derived
 * @example
 * ```ts
 * import { writePhantomDataset } from "voxgrad/imaging";
 *
 * await writePhantomDataset("runs/phantom", { cases: 12, seed: 1 });
 * ```
 */
export async function writePhantomDataset(
  folder: string,
  options: { cases: number; seed: number; shape?: Triple; spacing?: Triple },
): Promise<void> {
  const { cases, seed, shape, spacing } = options;
  if (!(Number.isInteger(cases) && cases >= 1)) {
    throw new VoxgradError(`writePhantomDataset: ${cases} cases; wanted 1 or more`);
  }
  const training = [];
  for (let index = 0; index < cases; index++) {
    const file = `phantom_${String(index + 1).padStart(3, "0")}.nii.gz`;
    const { image, label } = phantomCase({ seed: new Prng(seed).fork(index).uint32(), shape, spacing });
    await platform.writeFile(`${folder}/imagesTr/${file}`, writeNifti(image, { gzip: true }));
    await platform.writeFile(`${folder}/labelsTr/${file}`, writeNifti(label, { gzip: true }));
    training.push({ image: `./imagesTr/${file}`, label: `./labelsTr/${file}` });
  }
  await writeDescription(folder, {
    name: "Phantom",
    description: "Synthetic organ, gland and tumor made by voxgrad; no patient data",
    labels: PHANTOM_LABELS,
    training,
    test: [],
  });
}
