/**
 * A synthetic tumor of three nested parts in four channels of a head scan with thick slices: the enhancing tumor lies
 * in the tumor core, which lies in the whole tumor (ET, TC, WT), as in BraTS. No channel shows all parts, contrasts are
 * barely above the noise, and cross-sections shift and grow from slice to slice, so that differences between
 * neighboring slices are informative (ConResNet, Zhang et al. 2021). Vessels and spots are as bright as parts of the
 * tumor.
 */
import { VoxgradError } from "../../core/errors.ts";
import { platform } from "#platform";
import { writeNifti } from "../nifti/write.ts";
import type { PhantomOptions } from "./phantom.ts";
import { smoothField } from "./field.ts";
import { placeGrid, writeDescription } from "./shapes.ts";
import { Prng } from "../../core/prng.ts";
import { makeVolume, voxelCount } from "../volume/volume.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/** Label names of the nested phantom, by value. */
export const NESTED_PHANTOM_LABELS = ["background", "core", "oedema", "enhancing"] as const;

/** The regions as unions of labels, the outermost first, and the value that each paints. */
export const NESTED_PHANTOM_REGIONS = [
  { name: "WT", values: [1, 2, 3], value: 2 },
  { name: "TC", values: [1, 3], value: 1 },
  { name: "ET", values: [3], value: 3 },
] as const;

export interface NestedPhantomOptions extends PhantomOptions {
  /** Contrast of the tumor against the surrounding tissue; default 1, 0 makes it invisible. */
  readonly contrast?: number;
}

const CHANNELS = ["T1", "T1ce", "T2", "FLAIR"] as const;
const SHAPE: Triple = [48, 48, 16];
const SPACING: Triple = [1, 1, 3];
const MIN_SHAPE: Triple = [24, 24, 8];

/** Intensity of a tissue in each channel. */
type Intensities = readonly [number, number, number, number];
const TISSUE: Intensities = [0.5, 0.5, 0.5, 0.5];
/** Edema, core, enhancing: from the outermost part to the innermost, relative to the tissue. */
const PARTS: readonly Intensities[] = [
  [-0.02, 0, 0.08, 0.1],
  [-0.08, -0.02, 0.1, 0.06],
  [-0.04, 0.12, 0.06, 0.06],
];
const VALUES = [0, 2, 1, 3];
/** As bright as enhancing tumor in T1ce, and as edema in T2 and FLAIR. */
const VESSEL: Intensities = [0, 0.12, -0.02, 0];
const SPOT: Intensities = [0, 0, 0.08, 0.1];
const TEXTURE = 0.08;
const NOISE = 0.06;

// Lengths are fractions of half the scan, axis by axis. Parts shift from slice to slice, jointly and individually.
const RADII: readonly (readonly [low: number, high: number])[] = [
  [0.42, 0.54],
  [0.27, 0.36],
  [0.16, 0.21],
];
/** Radii across slices, as a factor. */
const TALL = 1.35;
const PLACE = 0.25;
const SHIFT = 0.4;
const OWN_SHIFT = 0.12;
const BEND = 0.25;
const GROWTH = 0.8;
const LEAST_GROWTH = 0.6;
const MOST_GROWTH = 1.4;
/** Steps within a slice: its intensity is the mean over two of them, its label that of the middle. */
const FINE = 4;

/** A part of the tumor: its center and radii in voxels, at each fine step along z. */
interface Stack {
  readonly x: Float64Array;
  readonly y: Float64Array;
  /** Radius in x and y at each fine step; 0 beyond the ends. */
  readonly radius: Float64Array;
}

interface Round {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly radius: number;
  /** Extent along z in voxels; infinite for a vessel. */
  readonly height: number;
  readonly intensities: Intensities;
}

/** The three parts, the outermost first. */
function tumor(prng: Prng, shape: Triple): Stack[] {
  const [X, Y, Z] = shape;
  const half = Math.min(X, Y) / 2;
  const steps = FINE * Z;
  // One independent value for every other slice along z.
  const along = (name: string): Float64Array =>
    smoothField(prng.fork(name), [1, 1, steps], Math.max(2, Math.round(Z / 2)));
  const own = prng.fork("place");
  const [x, y, z] = [X, Y, Z].map((n) => n / 2 + (own.uniform(-PLACE, PLACE) * n) / 2) as [number, number, number];
  const [shiftX, shiftY] = [along("x"), along("y")];
  return RADII.map((range, k) => {
    const [wide, tall] = [own.uniform(...range) * half, own.uniform(...range) * TALL * (Z / 2)];
    const [ownX, ownY, growth] = [along(`x ${k}`), along(`y ${k}`), along(`growth ${k}`)];
    const at = (place: number, shared: Float64Array, other: Float64Array) =>
      Float64Array.from(shared, (v, n) => place + half * (SHIFT * v + OWN_SHIFT * other[n]));
    const radius = Float64Array.from(growth, (v, n) => {
      const up = (n / FINE - z) / tall;
      const grown = Math.min(MOST_GROWTH, Math.max(LEAST_GROWTH, 1 + GROWTH * v));
      return Math.abs(up) >= 1 ? 0 : wide * grown * Math.sqrt(1 - up * up);
    });
    return { x: at(x, shiftX, ownX), y: at(y, shiftY, ownY), radius };
  });
}

/** Vessels across all slices, and spots, anywhere. */
function distractors(prng: Prng, [X, Y, Z]: Triple): Round[] {
  const half = Math.min(X, Y) / 2;
  const round = (intensities: Intensities, range: readonly [number, number], height: number): Round => ({
    x: prng.uniform(0.1, 0.9) * X,
    y: prng.uniform(0.1, 0.9) * Y,
    z: prng.uniform(0.1, 0.9) * Z,
    radius: prng.uniform(...range) * half,
    height,
    intensities,
  });
  const vessels = Array.from({ length: 2 + prng.integer(3) }, () => round(VESSEL, [0.08, 0.14], Infinity));
  const spots = Array.from({ length: 2 + prng.integer(3) }, () => round(SPOT, [0.12, 0.2], 0.2 * Z));
  return [...vessels, ...spots];
}

/** How many of the parts a point lies in, the outermost counted first; x and y in voxels. */
function partAt(parts: readonly Stack[], x: number, y: number, step: number): number {
  for (const [k, part] of parts.entries()) {
    const [dx, dy, radius] = [x - part.x[step], y - part.y[step], part.radius[step]];
    if (dx * dx + dy * dy >= radius * radius) return k;
  }
  return parts.length;
}

/**
 * One patient of the nested phantom. The same options give the same voxels on every host.
 *
 * @param options seed; shape [X, Y, Z], default 48 x 48 x 16, with which the tumor scales; spacing in mm, default 1 x 1
 *   x 3; contrast
 * @returns image, int16 with the channels T1, T1ce, T2, FLAIR in steps of 1/1000; label, uint8 (NESTED_PHANTOM_LABELS)
 * @throws VoxgradError when a side is below 24 (z: 8) voxels, where the innermost part would vanish
 * @example
 * ```ts
 * import { nestedPhantomCase } from "voxgrad/imaging";
 *
 * const { image, label } = nestedPhantomCase({ seed: 1 }); // image.channels: 4
 * ```
 */
export function nestedPhantomCase(options: NestedPhantomOptions): { image: Volume; label: Volume } {
  const { seed, shape = SHAPE, spacing = SPACING, contrast = 1 } = options;
  if (!shape.every((n, axis) => Number.isInteger(n) && n >= MIN_SHAPE[axis])) {
    throw new VoxgradError(
      `nestedPhantomCase: shape ${shape.join(" x ")}; wanted at least ${MIN_SHAPE.join(" x ")} voxels`,
    );
  }
  const prng = new Prng(seed).fork("nested phantom");
  // The spelling of a key decides the voxels, so these keep theirs.
  const parts = tumor(prng.fork("tumour"), shape);
  const bend = [0, 1].map((axis) => smoothField(prng.fork(10 + axis), shape, 5));
  const rounds = distractors(prng.fork("distractors"), shape);
  const textures = CHANNELS.map((_, c) => smoothField(prng.fork(20 + c), shape, 6));
  const noise = prng.fork("noise");
  const own = prng.fork("patient");
  const gains = CHANNELS.map(() => own.uniform(0.8, 1.25));
  // Contrast varies between patients.
  const shown = PARTS.map((part) => part.map((v) => contrast * v * own.uniform(0.8, 1.2)));
  const [X, Y, Z] = shape;
  const half = Math.min(X, Y) / 2;
  const count = voxelCount(shape);
  const image = new Int16Array(CHANNELS.length * count);
  const label = new Uint8Array(count);
  let at = 0;
  for (let k = 0; k < Z; k++) {
    for (let j = 0; j < Y; j++) {
      for (let i = 0; i < X; i++, at++) {
        const [x, y, z] = [i + 0.5, j + 0.5, k + 0.5];
        const values: number[] = [...TISSUE];
        for (const { intensities, ...round } of rounds) {
          const [dx, dy, dz] = [
            (x - round.x) / round.radius,
            (y - round.y) / round.radius,
            (z - round.z) / round.height,
          ];
          if (dx * dx + dy * dy + dz * dz < 1) intensities.forEach((v, c) => (values[c] = TISSUE[c] + contrast * v));
        }
        const [u, v] = [x + BEND * half * bend[0][at], y + BEND * half * bend[1][at]];
        // Partial volume at edges: the mean over eight points of the voxel.
        const sums = CHANNELS.map(() => 0);
        for (let n = 0; n < 8; n++) {
          const part = partAt(
            parts,
            u + (n % 2 ? 0.25 : -0.25),
            v + (n & 2 ? 0.25 : -0.25),
            FINE * k + (n & 4 ? 3 : 1),
          );
          // Tumor covers everything else.
          for (let c = 0; c < sums.length; c++) sums[c] += part === 0 ? values[c] : TISSUE[c] + shown[part - 1][c];
        }
        for (let c = 0; c < sums.length; c++) {
          const value = sums[c] / 8 + TEXTURE * textures[c][at] + NOISE * noise.normal();
          image[c * count + at] = Math.round(1000 * gains[c] * value);
        }
        label[at] = VALUES[partAt(parts, u, v, FINE * k + FINE / 2)];
      }
    }
  }
  const affine = placeGrid(prng.fork("grid"), spacing);
  const name = `nested phantom seed ${seed}`;
  return {
    image: makeVolume(image, { shape, affine, channels: CHANNELS.length, name: `${name} image` }),
    label: makeVolume(label, { shape, affine, name: `${name} label` }),
  };
}

/**
 * Writes a nested phantom dataset as a folder in the layout of the Medical Segmentation Decathlon, with regions WT, TC
 * and ET in dataset.json.
 *
 * @param folder created if missing; files of the same names are replaced
 * @param options cases: how many patients; seed: of the first, from which the others are derived; regions: false for
 *   mutually exclusive labels (NESTED_PHANTOM_LABELS) instead; others as for nestedPhantomCase
 * @throws VoxgradError if there is no case to write, or as nestedPhantomCase
 * @example
 * ```ts
 * import { writeNestedPhantomDataset } from "voxgrad/imaging";
 *
 * await writeNestedPhantomDataset("runs/nested", { cases: 16, seed: 1 });
 * ```
 */
export async function writeNestedPhantomDataset(
  folder: string,
  options: NestedPhantomOptions & { cases: number; regions?: boolean },
): Promise<void> {
  const { cases, seed, regions = true, ...own } = options;
  if (!(Number.isInteger(cases) && cases >= 1)) {
    throw new VoxgradError(`writeNestedPhantomDataset: ${cases} cases; wanted 1 or more`);
  }
  const training = [];
  for (let index = 0; index < cases; index++) {
    const made = nestedPhantomCase({ ...own, seed: new Prng(seed).fork(index).uint32() });
    const file = `nested_${String(index + 1).padStart(3, "0")}.nii.gz`;
    await platform.writeFile(`${folder}/imagesTr/${file}`, writeNifti(made.image, { gzip: true }));
    await platform.writeFile(`${folder}/labelsTr/${file}`, writeNifti(made.label, { gzip: true }));
    training.push({ image: `./imagesTr/${file}`, label: `./labelsTr/${file}` });
  }
  await writeDescription(folder, {
    name: "NestedPhantom",
    description: "Synthetic tumors of three nested parts in four channels, by voxgrad; no patient data",
    labels: NESTED_PHANTOM_LABELS,
    channels: CHANNELS,
    ...(regions && { regions: NESTED_PHANTOM_REGIONS }),
    training,
    test: [],
  });
}
