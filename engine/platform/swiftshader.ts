import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";
import { cacheDir } from "./cli/cache_dir.mjs";

/** SwiftShader, a Vulkan driver that computes on the CPU, with a Vulkan loader: both come with a package of npm. */
export interface SwiftShader {
  /** The Khronos Vulkan loader. */
  readonly loader: string;
  /** The file that tells a loader where the driver is. */
  readonly driverFile: string;
}

/**
 * Unpacks an archive of the npm package `@sparticuz/chromium` into the cache folder, once.
 *
 * @param archive file name in the package's `bin` folder, `NAME.tar.br`
 * @returns the folder with its files
 */
export async function unpackOnce(archive: string): Promise<string> {
  const main = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  const source = join(dirname(main), "..", "..", "bin", archive);
  const { version } = createRequire(import.meta.url)(join(dirname(main), "..", "..", "package.json")) as {
    version: string;
  };
  const name = archive.replace(/\.tar\.br$/, "");
  const folder = join(cacheDir(), `${name}-${version}-${createHash("sha256").update(source).digest("hex").slice(0, 8)}`);
  const done = join(folder, ".complete");
  if (existsSync(done)) return folder;

  // Several processes may do this at once: each unpacks into a folder of its own and one of them gets to rename it.
  const temporary = `${folder}.${process.pid}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    await pipeline(createReadStream(source), createBrotliDecompress(), extract(temporary));
    await writeFile(join(temporary, ".complete"), "");
    await rename(temporary, folder).catch((error: unknown) => {
      if (!existsSync(done)) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return folder;
}

/** SwiftShader's files, or undefined where the package has none for this system (it has them for Linux on x64). */
export async function swiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = await unpackOnce("swiftshader.tar.br");
  return { loader: join(folder, "libvulkan.so.1"), driverFile: join(folder, "vk_swiftshader_icd.json") };
}
