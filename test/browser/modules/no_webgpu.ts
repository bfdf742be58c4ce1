// What the library says in a page that has no WebGPU, or no GPU for it.
import { platform } from "../../../engine/platform/browser.ts";

export default async function (browsers: readonly string[]): Promise<string[]> {
  const says = () => platform.openAdapter().then(() => "", (error: Error) => error.message);
  const said: string[] = [];
  for (const gpu of [undefined, { requestAdapter: async () => null }]) {
    for (const userAgent of browsers) {
      Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent }, configurable: true });
      said.push(await says());
    }
  }
  return said;
}
