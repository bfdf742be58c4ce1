/** Gives engines that expect a browser the adapter that voxgrad would use. */
import { openAdapter } from "../../engine/platform/adapters/node_gpu.ts";
import { counters } from "../peers/counters.ts";

/** Uncaptured WebGPU errors of a peer; its numbers are then invalid. */
export const faults: string[] = [];

/** Sets `navigator.gpu` up; call it before a peer is imported. Returns the adapter's name. */
export async function offerAdapter(adapter: string): Promise<string> {
  // An adapter gives only one device, so each request opens it again.
  const find = () => openAdapter(adapter ? { adapter } : {});
  const { driver } = await find();
  const requestAdapter = async () => {
    const found = (await find()).adapter;
    const requestDevice = found.requestDevice.bind(found);
    found.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      device.addEventListener("uncapturederror", ({ error }) => faults.push(error.message.trim().split("\n")[0]));
      return device;
    };
    return found;
  };
  const navigator = { gpu: { requestAdapter }, userAgent: "node" };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });
  await counters.watch();
  return driver;
}
