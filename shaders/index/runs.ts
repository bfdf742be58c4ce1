/** Sums of ranges of a list by precomputed sums of aligned runs: n terms cost about log n. */

/** Terms per run. */
export const RUN = 32;
const MOST_LEVELS = 3;

/** How many whole runs of `count` terms there are, of RUN terms, of RUN of those, and so on. */
export function levelsOf(count: number): number[] {
  const levels: number[] = [];
  for (let n = count; n >= 2 * RUN && levels.length < MOST_LEVELS;) levels.push(n = Math.floor(n / RUN));
  return levels;
}

/**
 * WGSL that adds terms low .. high - 1 to `total`: the ends up to the next whole runs, then the middle by the level
 * above. `read(level, at)` is a term, or from level 1 on the sum of a run.
 */
export function addRange(levels: number, read: (level: number, at: string) => string): string {
  const climbs = Array.from(
    { length: levels },
    (_, level) =>
      `while ((low < high) & (low % ${RUN}u != 0u)) { total += ${read(level, "low")}; low++; }
  while ((low < high) & (high % ${RUN}u != 0u)) { high--; total += ${read(level, "high")}; }
  low /= ${RUN}u;
  high /= ${RUN}u;`,
  );
  return [...climbs, `for (; low < high; low++) { total += ${read(levels, "low")}; }`].join("\n  ");
}
