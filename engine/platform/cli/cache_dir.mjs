import { homedir } from "node:os";
import { join } from "node:path";

/**
 * The folder for what voxgrad can always make again: stripped sources, unpacked SwiftShader, tuned kernels.
 *
 * @returns {string} `$VOXGRAD_CACHE`, else the user's cache folder of the operating system with `voxgrad` added
 */
export function cacheDir() {
  if (process.env.VOXGRAD_CACHE) return process.env.VOXGRAD_CACHE;
  if (process.platform === "win32") {
    return join(process.env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"), "voxgrad", "cache");
  }
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "voxgrad");
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "voxgrad");
}
