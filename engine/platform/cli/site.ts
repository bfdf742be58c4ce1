import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { packageRoot } from "../package_root.ts";
import { PlatformError } from "../types.ts";
import { bundleApp } from "./bundle.ts";
import { APP_POLICY } from "./loopback.ts";

/** By which the page of an earlier site is known. */
const MARK = '<meta name="generator" content="voxgrad">';
const NOTICES = new URL("engine/platform/NOTICES.md", packageRoot);

/**
 * Writes the page of all ways to work as static files, for any web host and any folder of it.
 *
 * @param folder new, empty, or that of an earlier site, which is replaced
 * @throws PlatformError for a folder that holds something else, and as bundleApp
 */
export async function writeSite(folder: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const there = await readdir(folder).catch(() => []);
  if (there.length > 0) {
    const page = await readFile(join(folder, "index.html"), "utf8").catch(() => "");
    if (!page.includes(MARK)) {
      const fix = "name a new folder, an empty one, or that of an earlier site";
      throw new PlatformError("invalid-argument", `${folder}: it holds something else than a site; ${fix}`, folder);
    }
    for (const name of there.filter((name) => /\.(js|css)$/.test(name))) await rm(join(folder, name));
  }
  const files = new Map((await bundleApp()).files);
  // What servers say in headers; browsers ignore frame-ancestors here.
  const policy = APP_POLICY.replace(/; frame-ancestors[^;]*/, "");
  const head = `<head>\n    ${MARK}\n    <meta http-equiv="Content-Security-Policy" content="${policy}">`;
  const page = new TextDecoder().decode(files.get("index.html")).replace("<head>", head);
  files.set("index.html", new TextEncoder().encode(page));
  files.set("NOTICES.md", await readFile(NOTICES));
  for (const [name, bytes] of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  return files;
}

/**
 * `voxgrad site OUT`.
 *
 * @returns the exit code
 */
export async function site(folder: string): Promise<number> {
  try {
    const files = await writeSite(folder);
    const size = [...files.values()].reduce((sum, { length }) => sum + length, 0);
    console.log(
      `${folder}: ${files.size} files, ${Math.round(size / 1000)} kB. Put them onto any web host; browsers compute ` +
        "over https and on localhost only.",
    );
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}
