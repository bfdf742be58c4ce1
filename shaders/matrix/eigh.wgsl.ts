/** Eigenvalues and eigenvectors of small symmetric matrices by rotations (Jacobi 1846). */
import { librarySource } from "../library.ts";
import type { Lowered, Target } from "../types.ts";
import { matrixKernel } from "./lanes.ts";

/** Rounds over all pairs of axes: one is exact for n = 2, and each squares the error once it is small. */
const roundsOf = (n: number): number => (n <= 2 ? 1 : n === 3 ? 5 : 8);

/**
 * Reads symmetric matrices [batch, n, n]; writes [batch, n, n + 1]: the eigenvectors as columns, in ascending order of
 * eigenvalues, which are the last column. The largest entry of a vector is positive. One invocation per matrix.
 */
export function lowerEigh({ batch, n }: { batch: number; n: number }, target: Target): Lowered {
  const dispatch = matrixKernel({
    name: "eigh",
    batch,
    size: 1,
    width: 1,
    reads: { a: { input: 0 } },
    writes: { result: { output: 0 } },
    flops: batch * roundsOf(n) * ((n * (n - 1)) / 2) * (12 * n + 15),
    library: librarySource(["vg_float"]),
    body: () => ({
      variables: `let start = matrix * ${n * n}u;\n  let to = matrix * ${n * (n + 1)}u;`,
      before: "",
      turn: `
    var m: array<f32, ${n * n}>;
    var v: array<f32, ${n * n}>;
    var scale = 0.0;
    var finite = true;
    for (var k = 0u; k < ${n * n}u; k++) {
      m[k] = a[start + k];
      v[k] = select(0.0, 1.0, k % ${n + 1}u == 0u);
      scale = max(scale, abs(m[k]));
      finite = finite && (bitcast<u32>(m[k]) & 0x7f800000u) != 0x7f800000u;
    }
    // Squares below neither overflow nor vanish.
    scale = select(scale, 1.0, scale == 0.0);
    for (var k = 0u; k < ${n * n}u; k++) { m[k] /= scale; }
    for (var round = 0u; round < ${roundsOf(n)}u; round++) {
      for (var p = 0u; p + 1u < ${n}u; p++) {
        for (var q = p + 1u; q < ${n}u; q++) {
          let off = m[p * ${n}u + q];
          if (abs(off) < 1e-18) { continue; }
          // The rotation by at most 45 degrees that makes this entry 0: t is its tangent.
          let gap = m[q * ${n}u + q] - m[p * ${n}u + p];
          let root = sqrt(gap * gap + 4.0 * off * off);
          let t = select(-2.0, 2.0, gap >= 0.0) * off / (abs(gap) + root);
          let c = 1.0 / sqrt(t * t + 1.0);
          let s = t * c;
          m[p * ${n}u + p] -= t * off;
          m[q * ${n}u + q] += t * off;
          m[p * ${n}u + q] = 0.0;
          m[q * ${n}u + p] = 0.0;
          for (var r = 0u; r < ${n}u; r++) {
            let vp = v[r * ${n}u + p];
            let vq = v[r * ${n}u + q];
            v[r * ${n}u + p] = c * vp - s * vq;
            v[r * ${n}u + q] = s * vp + c * vq;
            if (r == p || r == q) { continue; }
            let mp = m[r * ${n}u + p];
            let mq = m[r * ${n}u + q];
            m[r * ${n}u + p] = c * mp - s * mq;
            m[r * ${n}u + q] = s * mp + c * mq;
            m[p * ${n}u + r] = m[r * ${n}u + p];
            m[q * ${n}u + r] = m[r * ${n}u + q];
          }
        }
      }
    }
    for (var k = 0u; k < ${n}u; k++) {
      let own = m[k * ${n + 1}u];
      var place = 0u;
      var largest = 0.0;
      for (var r = 0u; r < ${n}u; r++) {
        let other = m[r * ${n + 1}u];
        if (other < own || (other == own && r < k)) { place++; }
        let entry = v[r * ${n}u + k];
        if (abs(entry) > abs(largest)) { largest = entry; }
      }
      let flip = select(1.0, -1.0, largest < 0.0);
      for (var r = 0u; r < ${n}u; r++) {
        result[to + r * ${n + 1}u + place] = select(vg_float(0x7fc00000u), flip * v[r * ${n}u + k], finite);
      }
      result[to + place * ${n + 1}u + ${n}u] = select(vg_float(0x7fc00000u), scale * own, finite);
    }`,
      after: "",
    }),
  }, target);
  return { temps: [], dispatches: [dispatch] };
}
