// What page.test.ts runs in Chromium.
import { readVolume } from "../../../engine/imaging/mod.ts";

// deno-lint-ignore no-explicit-any
const page = globalThis as any;

page.readAll = async (files: Record<string, string>): Promise<Record<string, number[]>> => {
  const found: Record<string, number[]> = {};
  for (const [name, base64] of Object.entries(files)) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    found[name] = [...(await readVolume(new File([bytes], `${name}.dcm`))).data];
  }
  return found;
};
