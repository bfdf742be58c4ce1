/**
 * A synthetic dataset in which only context identifies lesions: lesions lie in one organ (a liver, say); a second organ
 * and nodes hold distractors of exactly the lesions' sizes and intensities, in tissue of exactly the organ's intensity
 * and texture. A network that relies on the appearance of lesions also segments the distractors; one that recognizes
 * the organ, the largest, by its position in the body, does not. This is the failure that context labels address
 * (CoLab, Li et al. 2022).
 */
import { VoxgradError } from "../../core/errors.ts";
import { platform } from "#platform";
import { writeNifti } from "../nifti/write.ts";
import type { PhantomOptions } from "./phantom.ts";
import { smoothField, smoothstep } from "./field.ts";
import { depth, placeGrid, writeDescription } from "./shapes.ts";
import type { Ellipsoid, Point } from "./shapes.ts";
import { Prng } from "../../core/prng.ts";
import { makeVolume } from "../volume/volume.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/** Label names of the context phantom, by value. */
export const CONTEXT_PHANTOM_LABELS = ["background", "lesion"] as const;

export interface ContextPhantomCase {
  /** int16, in steps of about 1/1000 of the brightest tissue. */
  readonly image: Volume;
  /** uint8: 1 in the lesions, the region of interest. */
  readonly label: Volume;
  /** uint8: 1 in the lesions' organ, lesions included: the context as a human annotator would label it. */
  readonly organ: Volume;
  /** uint8: 1 in the distractors, which only look like lesions; never inside the organ. */
  readonly distractors: Volume;
}

// Below it the smallest blob could fall between voxels.
const MIN_SIDE = 24;
const SHAPE: Triple = [32, 32, 32];
const SPACING: Triple = [1, 1, 1];

// Intensities before gain, texture and noise; hosts (the organ, its twin, nodes) share one range, lesions and
// distractors another.
const BODY = 0.3;
const HOST: readonly [number, number] = [0.52, 0.58];
const BLOB: readonly [number, number] = [0.39, 0.45];
const TEXTURE = 0.08;
const NOISE = 0.03;

// Lengths are fractions of half the grid's extent, axis by axis, so that all structures scale with the shape.
const BLOB_RADII: readonly [number, number] = [0.1, 0.15];
/** Margin of host tissue around a blob, so that its edge looks the same everywhere. */
const CUFF = 0.06;
const BEND = 0.15;
const BODY_CENTER: Point = [0, 0, 0];
const BODY_RADII: Point = [0.93, 0.91, 0.92];
// The organ ends before x = 0.05, where its twin begins: they never overlap. The twin is nearly as large, so that some
// voxels around a blob look alike in both: only the side of the body and the overall size distinguish them.
const ORGAN_PLACE: Point = [-0.42, 0, 0];
const TWIN_PLACE: Point = [0.44, 0, 0];

interface Tissue extends Ellipsoid {
  readonly value: number;
}

interface Scene {
  readonly organ: Tissue;
  /** The organ's twin and the nodes. */
  readonly others: readonly Tissue[];
  readonly lesions: readonly Tissue[];
  readonly distractors: readonly Tissue[];
}

/** A point drawn uniformly from an ellipsoid. */
function pointWithin(prng: Prng, { center, radii }: Ellipsoid): Point {
  for (;;) {
    const [u, v, w] = [prng.uniform(-1, 1), prng.uniform(-1, 1), prng.uniform(-1, 1)];
    if (u * u + v * v + w * w <= 1) {
      return [center[0] + u * radii[0], center[1] + v * radii[1], center[2] + w * radii[2]];
    }
  }
}

const widened = <T extends Ellipsoid>(e: T, by: number): T => ({
  ...e,
  radii: [e.radii[0] + by, e.radii[1] + by, e.radii[2] + by],
});

// 26 directions: axes, edges and corners of a cube.
const DIRECTIONS = Array.from({ length: 27 }, (_, n) => [
  (n % 3) - 1,
  (Math.floor(n / 3) % 3) - 1,
  Math.floor(n / 9) - 1,
])
  .filter((d) => d.some((v) => v !== 0))
  .map((d) => d.map((v) => v / Math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])));

/**
 * Whether the second ellipsoid lies in the first, tested at points of its surface; the cuff covers the gaps between
 * them.
 */
const holds = (host: Ellipsoid, { center, radii }: Ellipsoid) =>
  DIRECTIONS.every(
    (d) => depth(host, center[0] + d[0] * radii[0], center[1] + d[1] * radii[1], center[2] + d[2] * radii[2]) > 0,
  );

/** Whether two ellipsoids are certainly disjoint: the second is bounded by a ball in units of the first. */
function apart(a: Ellipsoid, b: Ellipsoid): boolean {
  let square = 0;
  let reach = 0;
  for (const axis of [0, 1, 2]) {
    const step = (b.center[axis] - a.center[axis]) / a.radii[axis];
    square += step * step;
    reach = Math.max(reach, b.radii[axis] / a.radii[axis]);
  }
  return Math.sqrt(square) > 1 + reach;
}

/**
 * Places `drawn` within `host`, with `cuff` around it, disjoint from all of `taken`; undefined if no position is found.
 */
function placeWithin<T extends Ellipsoid>(
  prng: Prng,
  drawn: T,
  where: { host: Ellipsoid; cuff: number; taken: readonly Ellipsoid[] },
): T | undefined {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const placed = { ...drawn, center: pointWithin(prng, where.host) };
    const wide = widened(placed, where.cuff);
    if (holds(where.host, wide) && where.taken.every((other) => apart(other, wide) || apart(wide, other))) {
      return placed;
    }
  }
  return undefined;
}

function makeScene(prng: Prng): Scene {
  const near = (place: Point, by: number): Point => [
    place[0] + prng.uniform(-by, by),
    place[1] + prng.uniform(-by, by),
    place[2] + prng.uniform(-by, by),
  ];
  const sizes = (...ranges: readonly (readonly [number, number])[]) =>
    ranges.map((range) => prng.uniform(...range)) as unknown as Point;
  const host = (center: Point, radii: Point): Tissue => ({ center, radii, value: prng.uniform(...HOST) });
  // Lesions and distractors alike: size and value are drawn before the position, which falls back to the host's center.
  const blobs = (tissue: Tissue, count: number): Tissue[] => {
    const placed: Tissue[] = [];
    for (let n = 0; n < count; n++) {
      const radii = sizes(BLOB_RADII, BLOB_RADII, BLOB_RADII);
      const drawn = { center: tissue.center, radii, value: prng.uniform(...BLOB) };
      const found = placeWithin(prng, drawn, { host: tissue, cuff: CUFF, taken: placed });
      if (found || n === 0) placed.push(found ?? drawn);
    }
    return placed;
  };

  const organ = host(near(ORGAN_PLACE, 0.03), sizes([0.38, 0.44], [0.44, 0.52], [0.44, 0.52]));
  const twin = host(near(TWIN_PLACE, 0.03), sizes([0.3, 0.36], [0.4, 0.48], [0.4, 0.48]));
  const others = [twin];
  const lesions = blobs(organ, 1 + prng.integer(3));
  const distractors = blobs(twin, 1 + prng.integer(3));
  // Nodes, small organs, lie anywhere in the body, clear of all others; some are empty.
  const body = { center: BODY_CENTER, radii: BODY_RADII };
  for (let left = 1 + prng.integer(3); left > 0; left--) {
    const drawn = host(BODY_CENTER, sizes([0.23, 0.27], [0.23, 0.27], [0.23, 0.27]));
    const node = placeWithin(prng, drawn, { host: body, cuff: 0, taken: [organ, ...others] });
    if (!node) continue;
    others.push(node);
    distractors.push(...blobs(node, prng.integer(3) === 0 ? 0 : 1));
  }
  return { organ, others, lesions, distractors };
}

/**
 * One patient of the context phantom: a body, the lesions' organ with 1 to 3 lesions in it, a second organ nearly as
 * large with 1 to 3 distractors in it, and up to three nodes, some of which hold a distractor too. The same options
 * give the same voxels on every host.
 *
 * @param options seed; shape [X, Y, Z], default 32 cubed, with which all structures scale axis by axis; spacing in mm,
 *   default 1
 * @returns four volumes on one grid
 * @throws VoxgradError when a side is below 24 voxels, where lesions would vanish
 * @example
 * ```ts
 * import { contextPhantomCase } from "voxgrad/imaging";
 *
 * const { image, label, organ } = contextPhantomCase({ seed: 1 });
 * ```
 */
export function contextPhantomCase(options: PhantomOptions): ContextPhantomCase {
  const { seed, shape = SHAPE, spacing = SPACING } = options;
  if (!shape.every((n) => Number.isInteger(n) && n >= MIN_SIDE)) {
    throw new VoxgradError(
      `contextPhantomCase: shape ${
        shape.join(" x ")
      }; wanted at least ${MIN_SIDE} voxels a side, as lesions shrink with it`,
    );
  }
  const prng = new Prng(seed).fork("context phantom");
  const scene = makeScene(prng.fork("scene"));
  const half: Point = [shape[0] / 2, shape[1] / 2, shape[2] / 2];
  const inVoxels = <T extends Ellipsoid>(e: T): T => ({
    ...e,
    center: e.center.map((v, axis) => v * half[axis]),
    radii: e.radii.map((v, axis) => v * half[axis]),
  });
  const body = inVoxels({ center: BODY_CENTER, radii: BODY_RADII, value: BODY } as Tissue);
  const organ = inVoxels(scene.organ);
  const lesions = scene.lesions.map(inVoxels);
  const distractors = scene.distractors.map(inVoxels);
  const layers = [body, organ, ...scene.others.map(inVoxels), ...lesions, ...distractors];

  const bend = [0, 1, 2].map((axis) => smoothField(prng.fork(10 + axis), shape, 3));
  const texture = smoothField(prng.fork("texture"), shape, 8);
  const noise = prng.fork("noise");
  const gain = prng.fork("gain").uniform(0.8, 1.25);
  const count = shape[0] * shape[1] * shape[2];
  const values = new Int16Array(count);
  const masks = { label: new Uint8Array(count), organ: new Uint8Array(count), distractors: new Uint8Array(count) };
  let at = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++, at++) {
        // All structures share one deformation, so containment and separation are preserved.
        const x = i - (shape[0] - 1) / 2 + BEND * half[0] * bend[0][at];
        const y = j - (shape[1] - 1) / 2 + BEND * half[1] * bend[1][at];
        const z = k - (shape[2] - 1) / 2 + BEND * half[2] * bend[2][at];
        let value = 0;
        // Edges are blurred over a voxel to imitate partial volume; all tissues share one texture field.
        for (const layer of layers) {
          value += (layer.value + TEXTURE * texture[at] - value) * smoothstep(depth(layer, x, y, z) + 0.5);
        }
        values[at] = Math.round(1000 * gain * (value + NOISE * noise.normal()));
        const within = (e: Ellipsoid) => depth(e, x, y, z) > 0;
        masks.organ[at] = within(organ) ? 1 : 0;
        masks.label[at] = lesions.some(within) ? 1 : 0;
        masks.distractors[at] = distractors.some(within) ? 1 : 0;
      }
    }
  }
  const affine = placeGrid(prng.fork("grid"), spacing);
  const volume = (data: Int16Array<ArrayBuffer> | Uint8Array<ArrayBuffer>, what: string) =>
    makeVolume(data, { shape, affine, name: `context phantom seed ${seed} ${what}` });
  return {
    image: volume(values, "image"),
    label: volume(masks.label, "label"),
    organ: volume(masks.organ, "organ"),
    distractors: volume(masks.distractors, "distractors"),
  };
}

/**
 * Writes a context phantom dataset as a folder in the layout of the Medical Segmentation Decathlon: dataset.json with
 * the labels background and lesion, imagesTr, labelsTr, and beside them organsTr: the mask of the lesions' organ by the
 * same case names. Test cases go to imagesTs, labelsTs and organsTs.
 *
 * @param folder created if missing; files of the same names are replaced
 * @param options cases and testCases (default 0): how many patients; seed: of the first; the others are derived from
 *   it, and test cases do not depend on the number of training cases; shape, spacing: as for contextPhantomCase
 * @throws VoxgradError if there is no case to write, or as contextPhantomCase
 * @example
 * ```ts
 * import { writeContextPhantomDataset } from "voxgrad/imaging";
 *
 * await writeContextPhantomDataset("runs/context", { cases: 16, testCases: 16, seed: 1 });
 * ```
 */
export async function writeContextPhantomDataset(
  folder: string,
  options: PhantomOptions & { cases: number; testCases?: number },
): Promise<void> {
  const { cases, testCases = 0, seed, shape, spacing } = options;
  if (!(Number.isInteger(cases) && cases >= 1 && Number.isInteger(testCases) && testCases >= 0)) {
    throw new VoxgradError(
      `writeContextPhantomDataset: ${cases} cases, ${testCases} test cases; wanted 1 or more, and 0 or more`,
    );
  }
  const write = async (part: "Tr" | "Ts", prng: Prng, total: number): Promise<string[]> => {
    const files = [];
    for (let index = 0; index < total; index++) {
      const file = `context_${part === "Ts" ? "test_" : ""}${String(index + 1).padStart(3, "0")}.nii.gz`;
      const made = contextPhantomCase({ seed: prng.fork(index).uint32(), shape, spacing });
      for (
        const [kind, volume] of [
          ["images", made.image],
          ["labels", made.label],
          ["organs", made.organ],
        ] as const
      ) {
        await platform.writeFile(`${folder}/${kind}${part}/${file}`, writeNifti(volume, { gzip: true }));
      }
      files.push(file);
    }
    return files;
  };
  const training = await write("Tr", new Prng(seed), cases);
  const test = await write("Ts", new Prng(seed).fork("test"), testCases);
  await writeDescription(folder, {
    name: "ContextPhantom",
    description: "Synthetic lesions that only the organ around them tells from others, by voxgrad; no patient data",
    labels: CONTEXT_PHANTOM_LABELS,
    training: training.map((file) => ({ image: `./imagesTr/${file}`, label: `./labelsTr/${file}` })),
    test: test.map((file) => `./imagesTs/${file}`),
  });
}
