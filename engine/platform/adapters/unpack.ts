import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { cacheDir } from "../cache_dir.mjs";
import { missing } from "../optional_packages.mjs";
import { PlatformError } from "../types.ts";

/**
 * Unpacks archives of the npm package `@sparticuz/chromium` into a folder of the cache, once.
 *
 * @param name folder name; the package's version is appended
 * @param archives names in the package's `bin` folder: `X.tar.br` contains files, `X.br` is the program X
 * @returns the folder
 */
export async function unpackOnce(name: string, archives: readonly string[]): Promise<string> {
  const require = createRequire(import.meta.url);
  let home: string;
  try {
    home = join(dirname(require.resolve("@sparticuz/chromium")), "..", "..");
  } catch (cause) {
    const message = missing("SwiftShader, a driver for the CPU, is in", "@sparticuz/chromium");
    throw new PlatformError("no-package", message, undefined, cause);
  }
  const ofChromium = createRequire(join(home, "package.json"));
  const { version } = ofChromium("./package.json") as { version: string };
  const place = createHash("sha256").update(home).digest("hex").slice(0, 8);
  const folder = join(cacheDir(), `${name}-${version}-${place}`);
  const done = join(folder, ".complete");
  if (existsSync(done)) return folder;

  // Several processes may do this concurrently: each unpacks into its own folder, and the first to rename it wins.
  const temporary = `${folder}.${process.pid}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    // A dependency of that package.
    const { extract } = ofChromium("tar-fs") as typeof import("tar-fs");
    for (const archive of archives) {
      const target = archive.endsWith(".tar.br")
        ? extract(temporary)
        : createWriteStream(join(temporary, basename(archive, ".br")), { mode: 0o755 });
      await pipeline(createReadStream(join(home, "bin", archive)), createBrotliDecompress(), target);
    }
    await writeFile(join(temporary, ".complete"), "");
    await rename(temporary, folder).catch((error: unknown) => {
      if (!existsSync(done)) throw error;
    });
  } catch (cause) {
    const fix = "set VOXGRAD_CACHE to a folder that can be written";
    throw new Error(`${name} cannot be unpacked into ${folder} (${(cause as Error).message}); ${fix}`, { cause });
  } finally {
    // Cleanup only; the original error matters.
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
  }
  return folder;
}
