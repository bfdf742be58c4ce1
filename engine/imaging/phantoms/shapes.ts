/** Shapes, directions and the grid that the phantoms share. */
import { platform } from "#platform";
import type { Affine } from "../volume/affine.ts";
import type { Prng } from "../../core/prng.ts";
import type { Triple } from "../volume/volume.ts";

export type Point = readonly [number, number, number];

export interface Ellipsoid {
  readonly center: Point;
  readonly radii: Point;
}

/**
 * Signed distance to an ellipsoid's surface, in its unit, positive inside; exact on the surface, approximate elsewhere.
 */
export function depth(shape: Ellipsoid, x: number, y: number, z: number): number {
  const [rx, ry, rz] = shape.radii;
  const [u, v, w] = [(x - shape.center[0]) / rx, (y - shape.center[1]) / ry, (z - shape.center[2]) / rz];
  const norm = Math.sqrt(u * u + v * v + w * w);
  const slope = Math.sqrt((u / rx) * (u / rx) + (v / ry) * (v / ry) + (w / rz) * (w / rz));
  return slope === 0 ? Math.min(rx, ry, rz) : (norm * (1 - norm)) / slope;
}

/** A random direction. */
export function unit(prng: Prng): Point {
  const [x, y, z] = [prng.normal(), prng.normal(), prng.normal()];
  const length = Math.sqrt(x * x + y * y + z * z) || 1;
  return [x / length, y / length, z / length];
}

/** A grid stored left to right, posterior first, slightly oblique, at a random origin: exact in float64. */
export function placeGrid(prng: Prng, spacing: Triple): Affine {
  // Rotation by a rational quaternion: without trigonometry, so identical on every host.
  const [a, b, c, d] = [24, prng.integer(5) - 2, prng.integer(5) - 2, prng.integer(5) - 2];
  const n = a * a + b * b + c * c + d * d;
  const rotation = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const flip = [-1, -1, 1];
  const rows = rotation.map((row) => [
    ...row.map((v, axis) => (v / n) * flip[axis] * spacing[axis]),
    prng.integer(160) - 80,
  ]);
  return [...rows.flat(), 0, 0, 0, 1];
}

/** Writes the dataset.json of a phantom folder. It is written last, so that a folder with one is complete. */
export async function writeDescription(
  folder: string,
  content: {
    name: string;
    description: string;
    labels: readonly string[];
    /** Names of the channels; default one. */
    channels?: readonly string[];
    /** Unions of labels to learn instead of labels, the outermost first, and the value that each paints. */
    regions?: readonly { name: string; values: readonly number[]; value: number }[];
    training: readonly { image: string; label: string; labels_present?: readonly string[] }[];
    test: readonly string[];
  },
): Promise<void> {
  const { name, description, labels, channels = ["synthetic"], regions, training, test } = content;
  const json = {
    name,
    description,
    reference: "voxgrad",
    license: "CC0",
    tensorImageSize: "3D",
    modality: Object.fromEntries(channels.map((channel, index) => [String(index), channel])),
    // Regions are nnU-Net's: names with lists of values.
    ...(regions
      ? {
        labels: { background: 0, ...Object.fromEntries(regions.map((region) => [region.name, region.values])) },
        regions_class_order: regions.map((region) => region.value),
      }
      : { labels: Object.fromEntries(labels.map((label, value) => [String(value), label])) }),
    numTraining: training.length,
    numTest: test.length,
    training,
    test,
  };
  await platform.writeFile(`${folder}/dataset.json`, `${JSON.stringify(json, null, 1)}\n`);
}
