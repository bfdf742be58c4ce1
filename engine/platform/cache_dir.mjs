import { accessSync, constants, lstatSync, mkdirSync } from "node:fs";
import { homedir, tmpdir, userInfo } from "node:os";
import { join } from "node:path";

let chosen;

/**
 * The folder for data that voxgrad can recreate: stripped sources, unpacked SwiftShader, tuning results.
 *
 * @returns {string} `$VOXGRAD_CACHE`, else `voxgrad` in the user's cache folder of the operating system, else (no
 *   writable home) a folder of the user in the folder for temporary files
 */
export function cacheDir() {
  return (chosen ??= process.env.VOXGRAD_CACHE || [usual(), temporary()].find(writable) || usual());
}

function usual() {
  if (process.platform === "win32") {
    return join(process.env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"), "voxgrad", "cache");
  }
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "voxgrad");
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "voxgrad");
}

function temporary() {
  return join(tmpdir(), `voxgrad-${process.getuid?.() ?? userInfo().username}`);
}

/** Creates the folder if necessary and checks that nobody else owns it: code in it is executed. */
function writable(folder) {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
    const { uid } = lstatSync(folder);
    return process.getuid === undefined || uid === process.getuid();
  } catch {
    return false;
  }
}
