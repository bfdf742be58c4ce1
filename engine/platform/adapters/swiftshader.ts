import { join } from "node:path";
import { unpackOnce } from "./unpack.ts";

/** SwiftShader, a Vulkan driver that computes on the CPU, and a Vulkan loader: both come with a package of npm. */
export interface SwiftShader {
  /** The Khronos Vulkan loader. */
  readonly loader: string;
  /** The file that tells a loader where the driver is. */
  readonly driverFile: string;
}

/** SwiftShader's files, or undefined where the package has none for this system (it has them for Linux on x64). */
export async function swiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = await unpackOnce("swiftshader", ["swiftshader.tar.br"]);
  return { loader: join(folder, "libvulkan.so.1"), driverFile: join(folder, "vk_swiftshader_icd.json") };
}
