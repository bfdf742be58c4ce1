/**
 * Where prototypes are. In scans that are aligned, such as crops around a structure, what lies far apart is not the
 * same, however alike it looks; a term of place in the similarity says so. It is no part of the paper.
 */
import { arange, check, exp, matmul, reshape, show, softmax, sum, Tensor, tensor, where } from "../../engine/mod.ts";
import { div, max, maximum, sqrt, square } from "../../engine/mod.ts";

export interface PlaceOptions {
  /** lambda: what the cosine of a prototype far away is lowered by. */
  readonly weight: number;
  /** Standard deviation of the Gaussian of the distance, as a share of the longer edge of the query's frame. */
  readonly sigma: number;
  /** f32 [4]: top, left, height and width of the query's frame in pixels of its features; default: the whole map. */
  readonly frame?: Tensor;
}

/** The frames [S, 4] of maps without others. */
export const wholeFrames = (shots: number, [h, w]: readonly [number, number]): Tensor =>
  tensor(Float32Array.from({ length: 4 * shots }, (_, i) => [0, 0, h, w][i % 4]), { shape: [shots, 4] });

/** @throws VoxgradError unless frames are f32 [shots, 4] */
export function checkFrames(name: string, frames: unknown, shots: number): void {
  check(
    frames instanceof Tensor && frames.dtype === "f32" && String(frames.shape) === String([shots, 4]),
    name,
    () => `frames are f32 [${shots}, 4], got ${show(frames)}`,
  );
}

/** The places [S, n, 2] of points [S or 1, n, 2] in pixels, relative to frames [S, 4]. */
export function within(frames: Tensor, points: Tensor): Tensor {
  const part = (from: number): Tensor => frames.slice({ start: [0, from], end: [frames.shape[0], from + 2] });
  const [start, size] = [part(0), part(2)].map((t) => reshape(t, { shape: [frames.shape[0], 1, 2] }));
  return points.sub(start).div(size);
}

/** The middles of pixels, down [h, 1] and across [1, w]. */
export const pixelCenters = ([h, w]: readonly [number, number]): [Tensor, Tensor] => [
  arange(h).cast("f32").add(0.5).reshape({ shape: [h, 1] }),
  arange(w).cast("f32").add(0.5).reshape({ shape: [1, w] }),
];

/** The middles [1, n, 2] of non-overlapping windows, row by row. */
export function windowCenters([height, width]: readonly number[], [h, w]: readonly number[]): Tensor {
  const [rows, columns] = [Math.floor(h / height), Math.floor(w / width)];
  const centers = Array.from({ length: rows * columns }, (_, i) => [
    (Math.floor(i / columns) + 0.5) * height,
    (i % columns + 0.5) * width,
  ]);
  return tensor(Float32Array.from(centers.flat()), { shape: [1, rows * columns, 2] });
}

/**
 * Similarity as in `similarity`, where the cosine with prototype k is
 * cos_k + weight (exp(-d^2 / (2 sigma^2)) - 1), d the distance of the pixel from the prototype's place by the longer
 * edge of the query's frame. A matrix of prototypes and pixels is made, other than in `cosineMatching`.
 *
 * @param query f32 [N, C, H, W]
 * @returns f32 [N, H, W]
 */
export function placedMatching(
  query: Tensor,
  { vectors, used, places }: { readonly vectors: Tensor; readonly used: Tensor; readonly places: Tensor },
  options: PlaceOptions & { readonly temperature: number; readonly least: number },
): Tensor {
  const name = "alpnet.similarity";
  const { weight, sigma, temperature, least } = options;
  check(
    Number.isFinite(weight) && weight >= 0,
    name,
    () => `the weight of place is a number >= 0, got ${show(weight)}`,
  );
  check(Number.isFinite(sigma) && sigma > 0, name, () => `the sigma of place is a number > 0, got ${show(sigma)}`);
  const [n, channels, h, w] = query.shape as [number, number, number, number];
  const { frame = wholeFrames(1, [h, w]).reshape({ shape: [4] }) } = options;
  check(
    frame instanceof Tensor && frame.dtype === "f32" && String(frame.shape) === "4",
    name,
    () => `the frame of place is f32 [4], got ${show(frame)}`,
  );
  const unit = (x: Tensor, axis: number): Tensor =>
    div(x, sqrt(maximum(sum(square(x), { axes: [axis], keepDims: true }), least ** 2)));
  const cosine = matmul(unit(vectors, 1), unit(reshape(query, { shape: [n, channels, h * w] }), 1));
  // Distances [K, h * w] in longer edges of the query's frame, which places are scaled to.
  const [start, size] = [0, 2].map((from) =>
    frame.slice({ start: [from], end: [from + 2] }).reshape({ shape: [1, 2] })
  );
  const points = places.mul(size).add(start);
  const [K] = places.shape;
  const [down, across] = pixelCenters([h, w]);
  const apart = [down, across].map((at, axis) =>
    square(at.sub(points.slice({ start: [0, axis], end: [K, axis + 1] }).reshape({ shape: [K, 1, 1] })))
  );
  const far = reshape(apart[0].add(apart[1]), { shape: [K, h * w] }).div(square(max(size)));
  const near = exp(far.mul(-1 / (2 * sigma * sigma)));
  const scores = cosine.add(near.sub(1).mul(weight)).mul(temperature);
  const share = softmax(where(reshape(used, { shape: [K, 1] }), scores, -1e30), { axis: 1 });
  return reshape(sum(scores.mul(share), { axes: [1] }), { shape: [n, h, w] });
}
