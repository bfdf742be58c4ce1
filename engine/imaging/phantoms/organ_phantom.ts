/**
 * A synthetic abdomen with five organs, for partially labeled datasets, in which not every case has all organs
 * annotated. Organs and the structures around them have similar intensities, so that position, size and shape matter;
 * each dataset can have its own scanner. Shapes are ellipsoids, or come from real label maps, deformed for each
 * patient.
 */
import { platform } from "#platform";
import { check, VoxgradError } from "../../core/errors.ts";
import { writeNifti } from "../nifti/write.ts";
import type { PhantomOptions } from "./phantom.ts";
import { smoothField } from "./field.ts";
import { depth, placeGrid, writeDescription } from "./shapes.ts";
import type { Ellipsoid, Point } from "./shapes.ts";
import { Prng } from "../../core/prng.ts";
import { reorient } from "../volume/reorient.ts";
import { makeVolume, voxelCount } from "../volume/volume.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/** Label names of the organ phantom, by value. */
export const ORGAN_PHANTOM_LABELS = [
  "background",
  "liver",
  "spleen",
  "pancreas",
  "left kidney",
  "right kidney",
] as const;

/** The label of liver tumors, if enabled; its value follows those of the organs. */
export const ORGAN_PHANTOM_TUMOR = "liver tumor";

/** Organ shapes; `organShapes` derives them from a label map. */
export interface OrganShapes {
  /**
   * @param x, y, z to the patient's left, back and head; each from -1 to 1 within the scan
   * @returns 0 air, 1 to 5 the organs, 6 the body between, 7 and up other structures
   */
  tissueAt(x: number, y: number, z: number): number;
}

/** Appearance of tissue in a scanner. */
interface Scanner {
  readonly gain: number;
  readonly gamma: number;
  readonly noise: number;
  /** Brightness of organs above the body, as from contrast medium. */
  readonly enhancement: number;
}

export interface OrganPhantomOptions extends PhantomOptions {
  /** Number of the scanner, default 0; wraps around after the last. */
  readonly scanner?: number;
  /** Organ shapes from label maps, one drawn at random for each patient; default ellipsoids. */
  readonly shapes?: readonly OrganShapes[];
  /** Whether each liver has one to three tumors, darker than it; default false. */
  readonly tumors?: boolean;
  /** Whether organs differ in intensity and texture, as for few-shot segmentation; default false. */
  readonly distinct?: boolean;
  /** Range of each patient's gamma, within 0 to 2; default the scanner's gamma for all. */
  readonly gammas?: readonly [number, number];
}

const SHAPE: Triple = [32, 32, 32];
const SPACING: Triple = [9, 9, 9];
const MIN_SIDE = 16;
const ORGANS = ORGAN_PHANTOM_LABELS.length - 1;
const BODY = ORGANS + 1;

const SCANNERS: readonly Scanner[] = [
  { gain: 1, gamma: 1, noise: 0.03, enhancement: 1 },
  { gain: 0.8, gamma: 1.35, noise: 0.035, enhancement: 0.85 },
  { gain: 1.2, gamma: 0.75, noise: 0.025, enhancement: 1.1 },
  { gain: 0.9, gamma: 1.15, noise: 0.045, enhancement: 0.8 },
  { gain: 1.1, gamma: 0.85, noise: 0.04, enhancement: 1.2 },
];

// Intensities by tissue, before the scanner's transform; other structures are as bright as organs, and one is bone.
const VALUES = [0, 0.52, 0.54, 0.47, 0.62, 0.62, 0.3];
const OTHERS = [0.82, 0.6, 0.5, 0.46, 0.56, 0.4];
/** The same for distinct organs, and the amplitude of a fine texture in addition to the coarse one. */
const DISTINCT_VALUES = [0, 0.55, 0.7, 0.42, 0.82, 0.82, 0.28];
const DISTINCT_OTHERS = [0.97, 0.9, 0.36, 0.48, 0.62, 0.2];
const FINE = [0, 0.02, 0.12, 0.16, 0.05, 0.05, 0.03, 0, 0, 0.14, 0.2, 0.1, 0.1];
const TUMOR = BODY + OTHERS.length + 1;
const TUMOR_VALUE = 0.4;
/** As a fraction of half the scan. */
const TUMOR_RADIUS: readonly [number, number] = [0.11, 0.2];
const JITTER = 0.04;
const TEXTURE = 0.12;

// Patients differ by shift, size and a smooth bend; lengths are fractions of half the scan.
const SHIFT = 0.08;
const SIZE: readonly [number, number] = [0.88, 1.12];
const BEND = 0.22;

/** The built-in organs 1 to 5, then spine, aorta, stomach, bowel. */
const PLACES: readonly (Ellipsoid & { readonly tissue: number })[] = [
  { tissue: 1, center: [-0.45, -0.12, 0.3], radii: [0.38, 0.44, 0.44] },
  { tissue: 2, center: [0.6, 0.26, 0.36], radii: [0.17, 0.26, 0.28] },
  { tissue: 3, center: [0.12, -0.08, -0.06], radii: [0.34, 0.14, 0.13] },
  { tissue: 4, center: [0.42, 0.42, -0.3], radii: [0.17, 0.19, 0.32] },
  { tissue: 5, center: [-0.42, 0.42, -0.4], radii: [0.17, 0.19, 0.32] },
  { tissue: 7, center: [0, 0.58, 0], radii: [0.15, 0.17, 9] },
  { tissue: 8, center: [0.08, 0.26, 0], radii: [0.08, 0.08, 9] },
  { tissue: 9, center: [0.34, -0.34, 0.42], radii: [0.28, 0.3, 0.3] },
  { tissue: 10, center: [0.1, -0.42, -0.56], radii: [0.5, 0.26, 0.26] },
];

/** Whether a point lies in the body: a box with rounded edges, open above and below. */
const inBody = (x: number, y: number): boolean => x * x * x * x + y * y * y * y < 0.9;

/** The built-in organs of one patient, with random position and size. */
function ellipsoids(prng: Prng): OrganShapes {
  const placed = PLACES.map(({ tissue, center, radii }) => ({
    tissue,
    center: center.map((v) => v + prng.uniform(-0.05, 0.05)) as unknown as Point,
    radii: radii.map((v) => v * prng.uniform(0.85, 1.15)) as unknown as Point,
  }));
  return {
    tissueAt: (x, y, z) => placed.find((each) => depth(each, x, y, z) > 0)?.tissue ?? (inBody(x, y) ? BODY : 0),
  };
}

/** The same organs with one to three balls in the liver. */
function withTumors(organs: OrganShapes, prng: Prng): OrganShapes {
  const balls: Ellipsoid[] = [];
  const wanted = 1 + prng.integer(3);
  while (balls.length < wanted) {
    const center = [0, 1, 2].map(() => prng.uniform(-1, 1)) as unknown as Point;
    if (organs.tissueAt(...center) !== 1) continue;
    const radius = prng.uniform(...TUMOR_RADIUS);
    balls.push({ center, radii: [radius, radius, radius] });
  }
  return {
    tissueAt(x, y, z) {
      const tissue = organs.tissueAt(x, y, z);
      return tissue === 1 && balls.some((ball) => depth(ball, x, y, z) > 0) ? TUMOR : tissue;
    },
  };
}

/**
 * Organs of a real label map, for `organPhantomCase`: the bounding box of the five, with a margin, becomes the scan.
 * Other labels of the map become surrounding structures.
 *
 * @param labels with axes in any order
 * @param values the map's values for liver, spleen, pancreas, left and right kidney; default 6, 1, 10, 3, 2, as in AMOS
 *   and BTCV-like maps
 * @throws VoxgradError when the map lacks one of them
 * @example
 * ```ts
 * import { organPhantomCase, organShapes, readVolume } from "voxgrad/imaging";
 *
 * const shapes = [organShapes(await readVolume("amos_0013_label.nii.gz"))];
 * const { image, label } = organPhantomCase({ seed: 1, shapes });
 * ```
 */
export function organShapes(labels: Volume, values: readonly number[] = [6, 1, 10, 3, 2]): OrganShapes {
  check(
    values.length === ORGANS && new Set(values).size === ORGANS && !values.includes(0),
    "organShapes",
    () => `values are ${ORGANS} different label values above 0, got ${values.join(", ")}`,
  );
  const { data, shape } = reorient(labels, "LPS");
  const tissues = new Uint8Array(voxelCount(shape));
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  const counts = new Array<number>(ORGANS).fill(0);
  for (let at = 0; at < tissues.length; at++) {
    const value = Number(data[at]);
    if (value === 0) continue;
    const organ = values.indexOf(value);
    tissues[at] = organ < 0 ? BODY + 1 + (Math.abs(value) % OTHERS.length) : organ + 1;
    if (organ < 0) continue;
    counts[organ]++;
    const place = [at % shape[0], Math.floor(at / shape[0]) % shape[1], Math.floor(at / (shape[0] * shape[1]))];
    place.forEach((v, axis) => {
      low[axis] = Math.min(low[axis], v);
      high[axis] = Math.max(high[axis], v);
    });
  }
  const missing = counts.indexOf(0);
  check(
    missing < 0,
    "organShapes",
    () =>
      `${labels.name} has no voxel of ${values[missing]}, taken for ${
        ORGAN_PHANTOM_LABELS[missing + 1]
      }; give its values`,
  );
  // Beyond the map, its last voxel continues above and below; beside it is body or air.
  const MARGIN = 1.15;
  const voxel = (v: number, axis: 0 | 1 | 2): number =>
    Math.round((low[axis] + high[axis]) / 2 + (v * MARGIN * (high[axis] - low[axis] + 1)) / 2);
  return {
    tissueAt(x, y, z) {
      const [i, j, k] = [voxel(x, 0), voxel(y, 1), voxel(z, 2)];
      const within = i >= 0 && i < shape[0] && j >= 0 && j < shape[1] && k >= 0 && k < shape[2];
      const tissue = within ? tissues[(k * shape[1] + j) * shape[0] + i] : 0;
      return tissue > 0 ? tissue : inBody(x, y) ? BODY : 0;
    },
  };
}

/**
 * One patient of the organ phantom. The same options give the same voxels on every host, and another scanner images the
 * same patient.
 *
 * @param options seed; shape [X, Y, Z], default 32 cubed, which the abdomen is stretched over; spacing in mm, default
 *   9; scanner; shapes; tumors; distinct; gammas
 * @returns int16 image and uint8 labels on one grid
 * @throws VoxgradError when a side is below 16 voxels, or gammas are not within 0 to 2
 * @example
 * ```ts
 * import { organPhantomCase } from "voxgrad/imaging";
 *
 * const { image, label } = organPhantomCase({ seed: 1, scanner: 2 });
 * ```
 */
export function organPhantomCase(options: OrganPhantomOptions): { image: Volume; label: Volume } {
  const {
    seed,
    shape = SHAPE,
    spacing = SPACING,
    scanner = 0,
    shapes = [],
    tumors = false,
    distinct = false,
    gammas,
  } = options;
  if (!shape.every((n) => Number.isInteger(n) && n >= MIN_SIDE)) {
    throw new VoxgradError(`organPhantomCase: shape ${shape.join(" x ")}; wanted at least ${MIN_SIDE} voxels a side`);
  }
  if (gammas && !(0 <= gammas[0] && gammas[0] <= gammas[1] && gammas[1] <= 2)) {
    throw new VoxgradError(`organPhantomCase: gammas ${gammas.join(" to ")}; wanted a range within 0 to 2`);
  }
  const { gain, noise, enhancement, ...common } = SCANNERS[scanner % SCANNERS.length];
  const prng = new Prng(seed).fork("organ phantom");
  const gamma = gammas ? prng.fork("gamma").uniform(...gammas) : common.gamma;
  const pick = prng.fork("shapes");
  const healthy = shapes.length > 0 ? shapes[pick.integer(shapes.length)] : ellipsoids(pick);
  // The spelling of a key decides the voxels, so it stays.
  const organs = tumors ? withTumors(healthy, prng.fork("tumours")) : healthy;
  const own = prng.fork("patient");
  const shift = [0, 1, 2].map(() => own.uniform(-SHIFT, SHIFT));
  const size = [0, 1, 2].map(() => own.uniform(...SIZE));
  const values = distinct ? [...DISTINCT_VALUES, ...DISTINCT_OTHERS] : [...VALUES, ...OTHERS];
  const bright = [...values, ...(tumors ? [TUMOR_VALUE] : [])].map((
    value,
    tissue,
  ) => (tissue === 0 ? 0 : value + own.uniform(-JITTER, JITTER)));
  // Both kidneys are one tissue.
  bright[5] = bright[4];
  const imaged = bright.map((value, tissue) =>
    tissue === 0 || tissue === BODY ? value : bright[BODY] + enhancement * (value - bright[BODY])
  );
  const bend = [0, 1, 2].map((axis) => smoothField(prng.fork(10 + axis), shape, 3));
  const texture = smoothField(prng.fork("texture"), shape, 8);
  const fine = distinct ? smoothField(prng.fork("fine"), shape, 24) : undefined;
  const grain = prng.fork("noise");

  const count = voxelCount(shape);
  const image = new Int16Array(count);
  const label = new Uint8Array(count);
  let at = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++, at++) {
        const tissueAt = (...by: Point): number => {
          const [x, y, z] = [i + by[0], j + by[1], k + by[2]].map(
            (v, axis) => ((2 * v + 1) / shape[axis] - 1 + shift[axis] + BEND * bend[axis][at]) / size[axis],
          ) as [number, number, number];
          return organs.tissueAt(x, y, z);
        };
        const middle = tissueAt(0, 0, 0);
        // Partial volume at edges: the mean over eight points of the voxel.
        let value = 0;
        for (let n = 0; n < 8; n++) {
          value += imaged[tissueAt(n % 2 ? 0.25 : -0.25, n & 2 ? 0.25 : -0.25, n & 4 ? 0.25 : -0.25)] / 8;
        }
        if (middle > 0) value += TEXTURE * texture[at] + (fine ? (FINE[middle] ?? 0) * fine[at] : 0);
        // Gamma by exp and log would differ from host to host; a parabola with the same end points is close enough.
        const bounded = Math.min(1, Math.max(0, value));
        const curved = bounded + (gamma - 1) * bounded * (bounded - 1);
        image[at] = Math.round(1000 * (gain * curved + noise * grain.normal()));
        label[at] = middle <= ORGANS ? middle : middle === TUMOR ? ORGANS + 1 : 0;
      }
    }
  }
  const affine = placeGrid(prng.fork("grid"), spacing);
  const volume = (data: Int16Array<ArrayBuffer> | Uint8Array<ArrayBuffer>, what: string): Volume =>
    makeVolume(data, { shape, affine, name: `organ phantom seed ${seed} ${what}` });
  return { image: volume(image, "image"), label: volume(label, "label") };
}

/** Organs annotated by typical public datasets; both kidneys go together. */
const TOGETHER: readonly (readonly string[])[] = [["liver", ORGAN_PHANTOM_TUMOR], ["spleen"], ["pancreas"], [
  "left kidney",
  "right kidney",
]];

/**
 * Writes organ phantoms as a folder in the layout of the Medical Segmentation Decathlon.
 *
 * @param folder created if missing; files of the same names are replaced
 * @param options cases: how many patients; seed: of the first, from which the others are derived; organs: names of the
 *   annotated organs, which get the values from 1 on in this order, default all ("liver tumor" counts if tumors are
 *   enabled; without it they are liver); partial: one case in four has all organs annotated, the others one or both
 *   kidneys, listed in labels_present; others as for organPhantomCase
 * @throws VoxgradError if there is no case to write, or for unknown organs
 * @example
 * ```ts
 * import { writeOrganPhantomDataset } from "voxgrad/imaging";
 *
 * await writeOrganPhantomDataset("runs/livers", { cases: 8, seed: 1, scanner: 1, organs: ["liver"] });
 * ```
 */
export async function writeOrganPhantomDataset(
  folder: string,
  options: OrganPhantomOptions & { cases: number; organs?: readonly string[]; partial?: boolean },
): Promise<void> {
  const known = [...ORGAN_PHANTOM_LABELS, ...(options.tumors ? [ORGAN_PHANTOM_TUMOR] : [])];
  const { cases, seed, organs = known.slice(1), partial = false, ...own } = options;
  if (!(Number.isInteger(cases) && cases >= 1)) {
    throw new VoxgradError(`writeOrganPhantomDataset: ${cases} cases; wanted 1 or more`);
  }
  const values = organs.map((name) => known.indexOf(name));
  check(
    values.length > 0 && values.every((value) => value > 0) && new Set(values).size === values.length,
    "writeOrganPhantomDataset",
    () => `organs are ${organs.join(", ")}; wanted of ${known.slice(1).join(", ")}, each once`,
  );
  const prng = new Prng(seed);
  const training = [];
  for (let index = 0; index < cases; index++) {
    const made = organPhantomCase({ ...own, seed: prng.fork(index).uint32() });
    const present = partial && index % 4 > 0
      ? TOGETHER[(index - 1 - Math.floor(index / 4)) % TOGETHER.length].filter((name) => organs.includes(name))
      : undefined;
    const data = made.label.data.map((value) => {
      const named = known[value] === ORGAN_PHANTOM_TUMOR && !organs.includes(ORGAN_PHANTOM_TUMOR)
        ? "liver"
        : known[value];
      return present?.includes(named) ?? true ? organs.indexOf(named) + 1 : 0;
    });
    const file = `organs_${String(index + 1).padStart(3, "0")}.nii.gz`;
    await platform.writeFile(`${folder}/imagesTr/${file}`, writeNifti(made.image, { gzip: true }));
    await platform.writeFile(
      `${folder}/labelsTr/${file}`,
      writeNifti({ ...made.label, data: data as Uint8Array<ArrayBuffer> }, { gzip: true }),
    );
    training.push({
      image: `./imagesTr/${file}`,
      label: `./labelsTr/${file}`,
      ...(present && { labels_present: present }),
    });
  }
  await writeDescription(folder, {
    name: "OrganPhantom",
    description: "Synthetic abdomens by voxgrad; no patient data",
    labels: ["background", ...organs],
    training,
    test: [],
  });
}
