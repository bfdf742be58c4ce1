/** Few-shot segmentation in float64 with loops and lists, as in the paper and the official code. */
export interface Maps {
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly data: Float64Array;
}
export interface Pooling {
  readonly mode: string;
  readonly window: readonly [number, number];
  readonly threshold: number;
  readonly inclusive?: boolean;
  readonly probe?: number | readonly [number, number];
}

const at = (m: Maps, n: number, c: number, y: number, x: number): number => m.data[((n * m.c + c) * m.h + y) * m.w + x];
const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k);
const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** The prototypes of a class. */
export function prototypes(support: Maps, mask: Float64Array, p: Pooling): number[][] {
  const { h, w } = support;
  const area = h * w;
  const shots = range(support.n).filter((s) => total([...mask.subarray(s * area, (s + 1) * area)]) > 0);
  const central = (s: number): number[] => {
    const mass = total([...mask.subarray(s * area, (s + 1) * area)]) + 1e-5;
    return range(support.c).map(
      (c) => total(range(area).map((i) => support.data[(s * support.c + c) * area + i] * mask[s * area + i])) / mass,
    );
  };
  const center = range(support.c).map((c) => total(shots.map((s) => central(s)[c])) / Math.max(1, shots.length));
  if (p.mode === "mask") return [center];
  /** Means of a function of a pixel over all windows of an image. */
  const pooled = ([wh, ww]: readonly [number, number], value: (y: number, x: number) => number): number[] =>
    range(Math.floor(h / wh)).flatMap((i) =>
      range(Math.floor(w / ww)).map(
        (j) => total(range(wh * ww).map((k) => value(i * wh + Math.floor(k / ww), j * ww + (k % ww)))) / (wh * ww),
      )
    );
  const share = (s: number, window: readonly [number, number]): number[] =>
    pooled(window, (y, x) => mask[(s * h + y) * w + x]);
  const local = range(support.n).flatMap((s) => {
    const inside = share(s, p.window).map((v) => (p.inclusive ? v >= p.threshold : v > p.threshold));
    const means = range(support.c).map((c) => pooled(p.window, (y, x) => at(support, s, c, y, x)));
    return inside.flatMap((yes, k) => (yes ? [means.map((m) => m[k])] : []));
  });
  if (p.mode === "gridconv") return local.length > 0 ? local : [center];
  const [high, wide] = typeof p.probe === "object" ? p.probe : [p.probe ?? 0, p.probe ?? 0];
  const sides = [Math.min(high, h), Math.min(wide, w)] as const;
  const poor = p.probe !== undefined && Math.max(...range(support.n).flatMap((s) => share(s, sides))) < p.threshold;
  return poor || shots.length === 0 ? [center] : [...local, ...shots.map(central)];
}

/** Fused similarity [N * H * W] of a query with a class. */
export function similarity(query: Maps, vectors: readonly number[][], temperature: number): Float64Array {
  const length = (v: readonly number[]): number => Math.max(1e-4, Math.sqrt(total(v.map((x) => x * x))));
  const area = query.h * query.w;
  return Float64Array.from({ length: query.n * area }, (_, i) => {
    const [n, pixel] = [Math.floor(i / area), i % area];
    const q = range(query.c).map((c) => query.data[(n * query.c + c) * area + pixel]);
    const s = vectors.map((v) => (temperature * total(v.map((x, c) => x * q[c]))) / (length(v) * length(q)));
    const top = Math.max(...s);
    const e = s.map((x) => Math.exp(x - top));
    return total(s.map((x, k) => x * e[k])) / total(e);
  });
}

/** Bilinear interpolation of planes [count, h, w], with aligned extents. */
export function scale(planes: Float64Array, from: readonly number[], to: readonly number[]): Float64Array {
  const [h, w] = from as [number, number];
  const [height, width] = to as [number, number];
  const count = planes.length / (h * w);
  const place = (k: number, n: number, m: number): [number, number, number] => {
    const x = Math.max(0, ((k + 0.5) * n) / m - 0.5);
    const low = Math.min(n - 1, Math.floor(x));
    return [low, Math.min(n - 1, low + 1), x - low];
  };
  return Float64Array.from({ length: count * height * width }, (_, i) => {
    const plane = Math.floor(i / (height * width)) * h * w;
    const [y0, y1, fy] = place(Math.floor(i / width) % height, h, height);
    const [x0, x1, fx] = place(i % width, w, width);
    const value = (y: number, x: number): number => planes[plane + y * w + x];
    return (
      (1 - fy) * ((1 - fx) * value(y0, x0) + fx * value(y0, x1)) + fy * ((1 - fx) * value(y1, x0) + fx * value(y1, x1))
    );
  });
}

export interface Labels {
  readonly h: number;
  readonly w: number;
  /** [N * h * w] */
  readonly data: Int32Array;
}
export interface Head {
  readonly ways: number;
  readonly foreground: string;
  readonly background: string;
  readonly rule: string;
  readonly window: readonly [number, number];
  readonly threshold: number;
  readonly temperature: number;
  /** Of the rule "code"; the window without it. */
  readonly probe?: number;
}

/** Prototypes of all classes, the background's first. */
export const classes = (support: Maps, labels: Labels, o: Head): number[][][] =>
  range(o.ways + 1).map((k) => {
    const full = Float64Array.from(labels.data, (v) => Number(v === k));
    const mask = scale(full, [labels.h, labels.w], [support.h, support.w]);
    const paper = o.rule === "paper";
    const { window, threshold } = o;
    if (k === 0) {
      return prototypes(support, mask, { mode: o.background, window, threshold: paper ? 1 - threshold : threshold });
    }
    const own = paper ? { inclusive: true } : { probe: o.probe ?? window };
    return prototypes(support, mask, { mode: o.foreground, window, threshold, ...own });
  });

/** Scores of each class, [K][N * H * W]. */
export const scores = (query: Maps, list: readonly number[][][], temperature: number): Float64Array[] =>
  list.map((vectors) => similarity(query, vectors, temperature));

/** Mean of -log softmax weighted by class, over pixels whose label is one of the classes, at the pixels of `labels`. */
function crossEntropy(logits: readonly Float64Array[], labels: ArrayLike<number>, weights: readonly number[]): number {
  let [sum, mass] = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    const k = labels[i];
    if (!(k >= 0 && k < logits.length)) continue;
    const own = logits.map((plane) => plane[i]);
    const top = Math.max(...own);
    sum += weights[k] * (top + Math.log(total(own.map((v) => Math.exp(v - top)))) - own[k]);
    mass += weights[k];
  }
  return sum / mass;
}

/** The losses of an episode: segmentation, alignment. */
export function losses(
  query: Maps,
  queryLabels: Labels,
  support: Maps,
  supportLabels: Labels,
  o: Head,
  weights: readonly number[],
): [number, number] {
  const own = scores(query, classes(support, supportLabels, o), o.temperature);
  const full = own.map((s) => scale(s, [query.h, query.w], [queryLabels.h, queryLabels.w]));
  const segmentation = crossEntropy(full, queryLabels.data, weights);
  const predicted = Int32Array.from(
    own[0],
    (_, i) => own.reduce((best, s, k) => (s[i] > own[best][i] ? k : best), 0),
  );
  const turned = classes(query, { h: query.h, w: query.w, data: predicted }, o);
  const back = scores(support, turned, o.temperature).map((s) =>
    scale(s, [support.h, support.w], [supportLabels.h, supportLabels.w])
  );
  const area = supportLabels.h * supportLabels.w;
  const terms: number[] = [];
  for (let way = 1; way <= o.ways; way++) {
    for (let shot = 0; shot < support.n; shot++) {
      const labels = supportLabels.data.subarray(shot * area, (shot + 1) * area);
      if (!labels.includes(way)) continue;
      const two = [back[0], back[way]].map((s) => s.subarray(shot * area, (shot + 1) * area));
      const binary = Int32Array.from(labels, (v) => (v === way ? 1 : v === 0 ? 0 : 255));
      terms.push(crossEntropy(two, binary, [1, 1]));
    }
  }
  return [segmentation, terms.length > 0 ? total(terms) / terms.length : 0];
}
