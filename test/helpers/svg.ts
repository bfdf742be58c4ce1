import * as assert from "uvu/assert";

/** Throws unless tags nest and close, quotes are paired and all numbers are valid. */
export function checkSvg(svg: string): void {
  assert.not.match(svg, /NaN|Infinity|undefined/);
  const open: string[] = [];
  for (const [tag, slash, name, rest] of svg.matchAll(/<(\/?)([a-z]+)([^>]*)>/g)) {
    assert.ok((rest.match(/"/g) ?? []).length % 2 === 0, tag);
    if (slash) assert.is(open.pop(), name);
    else if (!rest.endsWith("/")) open.push(name);
  }
  assert.equal(open, []);
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox=/);
}
