/** Suggests the intended option for a misspelled one. */

/** ": did you mean --steps?" if a key is close to the input. */
export function nearest(name: string, keys: readonly string[]): string {
  const ranked = keys.map((key) => ({ key, apart: distance(name.toLowerCase(), key.toLowerCase()) }));
  ranked.sort((a, b) => a.apart - b.apart);
  return ranked.length > 0 && ranked[0].apart <= 2 ? `: did you mean --${ranked[0].key}?` : "";
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length];
}
