// What the library says in a page that has no WebGPU, or no GPU for it, or one for its compatibility mode alone.
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
  const adapter = { info: { description: "an old GPU", device: "", vendor: "", architecture: "" } };
  const gpu = { requestAdapter: async (asked: GPURequestAdapterOptions) => (asked.featureLevel ? adapter : null) };
  Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "" }, configurable: true });
  said.push((await platform.openAdapter()).driver);
  return said;
}
