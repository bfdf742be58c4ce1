/** Spatial augmentation: one sampling grid for all entries of a batch, and mirroring. */
import { check, checkOptions, fail, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { affineGrid } from "../../ops/sampling/affine_grid.ts";
import { broadcastTo } from "../../ops/shape/broadcast_to.ts";
import { concat, stack } from "../../ops/shape/concat.ts";
import { arange, eye, tensor } from "../../ops/elementwise/creation.ts";
import {
  abs,
  add,
  cast,
  cos,
  div,
  less,
  logicalOr,
  maximum,
  mul,
  sin,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { gridSample } from "../../ops/sampling/grid_sample.ts";
import { normal, split } from "../../ops/random/mod.ts";
import { max, sum } from "../../ops/reduce/reduce.ts";
import { expandDims, reshape } from "../../ops/shape/reshape.ts";
import { resize } from "../../ops/sampling/resize.ts";
import { flip, slice } from "../../ops/shape/slice.ts";
import { take } from "../../ops/shape/take.ts";
import { transpose } from "../../ops/shape/transpose.ts";
import { checkBatch, checkChance, draws, over } from "./options.ts";
import type { Batch, EntryOptions, MirrorOptions, SpatialOptions } from "./options.ts";

/** Constant matrices [1, dims, dims] whose sum, weighted by cos, sin and 1, is a rotation in the plane of two axes. */
function planeOf(dims: number, [from, to]: readonly number[]): { cosine: Tensor; sine: Tensor; rest: Tensor } {
  const matrix = (entry: (i: number, j: number) => number): Tensor => {
    const rows = Array.from({ length: dims }, (_, i) => Array.from({ length: dims }, (_, j) => entry(i, j)));
    return tensor([rows], { dtype: "f32" });
  };
  const inPlane = (i: number): boolean => i === from || i === to;
  return {
    cosine: matrix((i, j) => Number(i === j && inPlane(i))),
    sine: matrix((i, j) => Number(i === to && j === from) - Number(i === from && j === to)),
    rest: matrix((i, j) => Number(i === j && !inPlane(i))),
  };
}

/** The coordinate planes: one for an image, three for a volume. */
const planesOf = (dims: number): number[][] => (dims === 2 ? [[0, 1]] : [[1, 2], [0, 2], [0, 1]]);

/** Products of matrices [N, dims, dims]. */
const product = (a: Tensor, b: Tensor): Tensor =>
  sum(mul(expandDims(a, { axis: 3 }), expandDims(b, { axis: 1 })), { axes: [2] });

/**
 * Rotation, shear, scaling, translation and elastic deformation about the center of the sampled patch, cropped to
 * `options.patch`, in one interpolation. Distances are in voxels, not mm, so use `inPlane` to rotate anisotropic
 * volumes. A sample for which no transform is drawn is cropped exactly.
 *
 * @param key from random.key or random.split
 * @param batch at least as large as the patch; see `initialPatch`
 * @param options `rotation`, `shear`, `scaling`, `translation` and `elastic` are off by default
 * @returns the batch with all its entries [N, ..., ...patch]
 * @throws VoxgradError for other shapes and options
 * @see nnU-Net's SpatialTransform (batchgeneratorsv2), with labels of mode "nearest"
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const batch = { image: zeros([2, 1, 48, 48, 48]), label: zeros([2, 48, 48, 48], { dtype: "i32" }) };
 * const rotation = { p: 0.2, degrees: [-30, 30] } as const;
 * const { image, label } = augment.spatial(random.key(1), batch, { patch: [32, 32, 32], rotation });
 * ```
 */
export function spatial<B extends Batch>(key: Tensor, batch: B, options: SpatialOptions): B {
  const name = "augment.spatial";
  checkOptions(name, options, [
    "patch",
    "inPlane",
    "rotation",
    "scaling",
    "translation",
    "shear",
    "elastic",
    "entries",
  ]);
  checkBatch(name, batch);
  const { patch, inPlane = false, rotation, scaling, translation, shear, elastic, entries = {} } = options;
  const space = batch.image.shape.slice(2);
  check(
    Array.isArray(patch) && patch.length === space.length && patch.every((n, k) => n > 0 && n <= space[k]),
    name,
    () => `patch has ${space.length} sizes, at most those of the image ${show(space)}; got ${show(patch)}`,
  );
  if (rotation) {
    checkOptions(`${name}: rotation`, rotation, ["p", "degrees"]);
    checkChance(`${name}: rotation`, rotation, { degrees: rotation.degrees });
  }
  if (scaling) {
    checkOptions(`${name}: scaling`, scaling, ["p", "factor", "synchronized"]);
    checkChance(`${name}: scaling`, scaling, { factor: scaling.factor });
  }
  if (translation) {
    checkOptions(`${name}: translation`, translation, ["p", "voxels"]);
    checkChance(`${name}: translation`, translation, { voxels: translation.voxels });
  }
  if (shear) {
    checkOptions(`${name}: shear`, shear, ["p", "degrees"]);
    checkChance(`${name}: shear`, shear, { degrees: shear.degrees });
    check(
      shear.degrees.every((angle) => Math.abs(angle) < 90),
      `${name}: shear`,
      () => `degrees are between -90 and 90, got ${show(shear.degrees)}`,
    );
  }
  if (elastic) {
    checkOptions(`${name}: elastic`, elastic, ["p", "magnitude", "points"]);
    checkChance(`${name}: elastic`, elastic, { magnitude: elastic.magnitude });
  }
  if (inPlane) check(patch[0] === space[0], name, () => `in plane the first axis keeps its ${space[0]} planes`);
  for (const entry of Object.keys(entries)) {
    check(batch[entry] !== undefined, name, () => `entries: the batch has no ${entry}`);
  }
  const plane = inPlane ? 1 : 0;
  const moved = motion(key, batch.image.shape[0], space.slice(plane), { ...options, patch: patch.slice(plane) });
  const out: Record<string, Tensor> = {};
  for (const [entry, x] of Object.entries(batch)) {
    if (x !== undefined) out[entry] = move(x, moved, patch, { name: `${name}: ${entry}`, plane, ...entries[entry] });
  }
  return out as unknown as B;
}

interface Motion {
  /** Whether a sample is moved at all, bool [N]. */
  readonly active: Tensor;
  /** [N, ...patch, dims]. */
  readonly grid: Tensor;
}

/** Draws, for N samples, the map from the patch to the sampled space; undefined when all transforms are off. */
function motion(key: Tensor, samples: number, space: readonly number[], options: SpatialOptions): Motion | undefined {
  const { patch, rotation, scaling, translation, shear, elastic } = options;
  const dims = patch.length;
  const parts = [rotation, scaling, translation, shear, elastic].filter((part) => part !== undefined && part.p > 0);
  if (parts.length === 0) return undefined;
  const [affineKey, elasticKey] = split(key);
  const [turns, scales, deforms, ...rest] = draws(affineKey, [samples], 3 + 3 * dims);
  const between = (u: Tensor, [low, high]: readonly number[]): Tensor => add(mul(u, high - low), low);
  // Separate keys, so that enabling these does not change the draws of the others.
  const [shiftKey, shearKey] = split(affineKey) as [Tensor, Tensor];
  const [moves, ...lengthsOf] = draws(shiftKey, [samples], 1 + dims) as [Tensor, ...Tensor[]];
  const [slants, ...anglesOf] = draws(shearKey, [samples], 1 + planesOf(dims).length) as [Tensor, ...Tensor[]];
  const chosen = [
    less(turns, rotation?.p ?? 0),
    less(scales, scaling?.p ?? 0),
    less(deforms, elastic?.p ?? 0),
    less(moves, translation?.p ?? 0),
    less(slants, shear?.p ?? 0),
  ] as const;
  let matrix: Tensor | undefined;
  if (rotation && rotation.p > 0) {
    const planes = planesOf(dims);
    const radians = rotation.degrees.map((angle) => (angle / 180) * Math.PI);
    // Cosines and sines of all angles, [2, planes, N, 1, 1].
    const angles = where(chosen[0], between(stack(rest.slice(0, planes.length)), radians), 0);
    const both = reshape(stack([cos(angles), sin(angles)]), { shape: [2 * planes.length, samples, 1, 1] });
    const pick = (k: number): Tensor => slice(both, { start: [k, 0, 0, 0], end: [k + 1, samples, 1, 1] });
    for (const [k, pair] of planes.entries()) {
      const { cosine, sine, rest: fixed } = planeOf(dims, pair);
      const [c, s] = [pick(k), pick(planes.length + k)].map((t) => reshape(t, { shape: [samples, 1, 1] }));
      const turn = add(add(mul(cosine, c), mul(sine, s)), fixed);
      matrix = matrix ? product(turn, matrix) : turn;
    }
  }
  matrix ??= broadcastTo(reshape(eye(dims), { shape: [1, dims, dims] }), { shape: [samples, dims, dims] });
  if (shear && shear.p > 0) {
    const radians = shear.degrees.map((angle) => (angle / 180) * Math.PI);
    for (const [k, [first, second]] of planesOf(dims).entries()) {
      const angle = reshape(where(chosen[4], between(anglesOf[k], radians), 0), { shape: [samples, 1, 1] });
      const rows = Array.from(
        { length: dims },
        (_, i) => Array.from({ length: dims }, (_, j) => +(i === first && j === second)),
      );
      const slant = mul(tensor([rows], { dtype: "f32" }), div(sin(angle), cos(angle)));
      matrix = product(add(slant, reshape(eye(dims), { shape: [1, dims, dims] })), matrix);
    }
  }
  if (scaling && scaling.p > 0) {
    const { factor, synchronized = true } = scaling;
    const drawn = stack(
      rest.slice(dims, 2 * dims).map((u, _, all) => (synchronized ? all[0] : u)),
      { axis: 1 },
    );
    const scale = where(expandDims(chosen[1], { axis: 1 }), between(drawn, factor), 1);
    matrix = mul(matrix, expandDims(scale, { axis: 2 }));
  }
  // Coordinates run from -1 to 1 across patch and space, x first. The crop used for the identity may lie half a voxel
  // off the center.
  const axes = patch.map((_, k) => dims - 1 - k);
  const sizes = tensor([axes.map((k) => axes.map((j) => patch[j] / space[k]))], { dtype: "f32" });
  const shift = axes.map((k) => [(cropStart(space[k], patch[k]) + patch[k] / 2) / (space[k] / 2) - 1]);
  const middle = broadcastTo(tensor([shift], { dtype: "f32" }), { shape: [samples, dims, 1] });
  const voxels = (k: number): Tensor => where(chosen[3], between(lengthsOf[k], translation!.voxels), 0);
  const shifts = translation && translation.p > 0
    ? add(
      middle,
      reshape(stack(axes.map((k) => mul(voxels(k), 2 / space[k])), { axis: 1 }), { shape: [samples, dims, 1] }),
    )
    : middle;
  const theta = concat([mul(flip(matrix, { axes: [1, 2] }), sizes), shifts], { axis: 2 });
  const active = chosen.reduce((a, b) => logicalOr(a, b));
  const size = [samples, 1, ...patch];
  if (!elastic || elastic.p === 0) return { active, grid: affineGrid(theta, { size }) };

  const still = Array.from({ length: dims }, (_, i) => Array.from({ length: dims + 1 }, (_, j) => +(i === j)));
  const places = affineGrid(tensor([still]), { size: [1, 1, ...patch] });
  const lengths = stack(
    axes.map((_, k) => where(chosen[2], between(rest[2 * dims + k], elastic.magnitude), 0)),
    {
      axis: 1,
    },
  );
  const bent = add(places, displacement(elasticKey, lengths, patch, elastic.points));
  // theta times (position, 1), column by column.
  const column = (j: number): Tensor =>
    reshape(slice(theta, { start: [0, 0, j], end: [samples, dims, j + 1] }), {
      shape: [samples, ...patch.map(() => 1), dims],
    });
  const from = (j: number): number[] => [...bent.shape.slice(0, -1).map(() => 0), j];
  const coordinate = (j: number): Tensor => slice(bent, { start: from(j), end: [...bent.shape.slice(0, -1), j + 1] });
  const grid = axes.reduce((total, _, j) => add(total, mul(column(j), coordinate(j))), column(dims));
  return { active, grid };
}

/** Smooth vectors [N, ...patch, dims], whose largest magnitude along each axis is lengths [N, dims]. */
function displacement(key: Tensor, lengths: Tensor, patch: readonly number[], points: number): Tensor {
  check(
    Number.isInteger(points) && points > 1,
    "augment.spatial: elastic",
    () => `points is an integer above 1, got ${show(points)}`,
  );
  const [samples, dims] = lengths.shape as [number, number];
  const lattice = normal(key, { shape: [samples, dims, ...patch.map(() => points)] });
  const field = resize(lattice, { size: patch, mode: "cubic", alignCorners: true });
  const space = patch.map((_, k) => k + 2);
  const largest = maximum(max(abs(field), { axes: space, keepDims: true }), 1e-8);
  const scaled = mul(field, div(over(lengths, field), largest));
  return transpose(scaled, { axes: [0, ...space, 1] });
}

const cropStart = (space: number, patch: number): number => Math.floor(space / 2) - Math.floor(patch / 2);

/** Resamples and crops one entry. */
function move(
  x: Tensor,
  motion: Motion | undefined,
  patch: readonly number[],
  options: Partial<EntryOptions> & { name: string; plane: number },
): Tensor {
  const { name, plane } = options;
  const dims = patch.length;
  const lead = x.shape.slice(0, x.rank - dims);
  const space = x.shape.slice(x.rank - dims);
  const start = [...lead.map(() => 0), ...patch.map((n, k) => cropStart(space[k], n))];
  const cropped = slice(x, {
    start,
    end: start.map((s, k) => s + (k < lead.length ? lead[k] : patch[k - lead.length])),
  });
  if (!motion) return cropped;
  const { mode = x.dtype === "f32" ? "linear" : "nearest", border = 0 } = options;
  check(
    x.dtype === "f32" || (x.dtype === "i32" && mode === "nearest"),
    name,
    () => `mode "${mode}" takes f32${mode === "nearest" ? " or i32" : ""}, got ${x}`,
  );
  // In plane, the depth axis is folded into the channels of a 2-D image.
  const shape = [lead[0], (lead[1] ?? 1) * (plane ? space[0] : 1), ...space.slice(plane)];
  let values = reshape(cast(x, "f32"), { shape });
  const outside = border === "max"
    ? max(values, { axes: values.shape.map((_, k) => k).slice(1), keepDims: true })
    : border;
  if (outside !== 0) values = sub(values, outside);
  let sampled = gridSample(values, motion.grid, { mode });
  if (outside !== 0) sampled = add(sampled, outside);
  const back = cast(reshape(sampled, { shape: [...lead, ...patch] }), x.dtype);
  return where(over(motion.active, back), back, cropped);
}

/**
 * Mirrors whole samples along each of `options.axes` with probability `options.p`, the same way for all entries.
 *
 * @param options spatial axes, 0 the first; nnU-Net mirrors all of them with p 0.5
 * @throws VoxgradError for other axes
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const batch = { image: zeros([2, 1, 8, 8, 8]), label: zeros([2, 8, 8, 8], { dtype: "i32" }) };
 * const { image, label } = augment.mirror(random.key(1), batch, { p: 0.5, axes: [0, 1, 2] });
 * ```
 */
export function mirror<B extends Batch>(key: Tensor, batch: B, options: MirrorOptions): B {
  const name = "augment.mirror";
  checkOptions(name, options, ["p", "axes"]);
  checkBatch(name, batch);
  checkChance(name, options, {});
  const { p, axes } = options;
  const dims = batch.image.rank - 2;
  if (!Array.isArray(axes) || axes.some((k) => !Number.isInteger(k) || k < 0 || k >= dims)) {
    fail(name, `axes are among 0 to ${dims - 1}, got ${show(axes)}`);
  }
  if (p === 0 || axes.length === 0) return batch;
  const samples = batch.image.shape[0];
  const turned = draws(key, [samples, 1], dims).map((u) => less(u, p));
  const out: Record<string, Tensor> = {};
  for (const [entry, x] of Object.entries(batch)) {
    if (x === undefined) continue;
    // Index of every element in memory, and the offset of its mirror image along each axis.
    const lead = x.rank - dims;
    let place = reshape(arange(x.size), { shape: x.shape });
    let stride = 1;
    for (let axis = dims - 1; axis >= 0; axis--) {
      const n = x.shape[lead + axis];
      if (axes.includes(axis)) {
        const along = x.shape.map((_, k) => (k === lead + axis ? n : 1));
        const step = reshape(mul(sub(n - 1, mul(arange(n), 2)), stride), { shape: along });
        place = add(place, where(over(reshape(turned[axis], { shape: [samples] }), x), step, 0));
      }
      stride *= n;
    }
    out[entry] = take(reshape(x, { shape: [x.size] }), place);
  }
  return out as unknown as B;
}
