import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { chromium } from "playwright-core";
import { unpackOnce } from "../../engine/platform/adapters/unpack.ts";

/** Starts headless Chromium out of npm, with WebGPU on SwiftShader and no way to the network. */
export async function launchChromium(): Promise<Browser> {
  const archives = ["chromium.br", "fonts.tar.br", "swiftshader.tar.br", "al2023.tar.br"];
  const folder = await unpackOnce("chromium", archives);
  const executablePath = join(folder, "chromium");
  const fonts = join(folder, "open_sans.conf");
  await writeFile(fonts, `<fontconfig><dir>${join(folder, "fonts")}</dir></fontconfig>`);
  const env: Record<string, string> = { FONTCONFIG_FILE: fonts };
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  // NSS and expat come along in the package, for systems without them.
  if (missesLibraries(executablePath)) {
    env.LD_LIBRARY_PATH = [join(folder, "lib"), env.LD_LIBRARY_PATH].filter(Boolean).join(":");
  }
  return chromium.launch({
    executablePath,
    env,
    headless: true,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--no-zygote",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--use-angle=swiftshader",
      "--enable-unsafe-swiftshader",
      "--ignore-gpu-blocklist",
      "--disable-gpu-watchdog",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-domain-reliability",
      "--disable-sync",
      "--no-pings",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  });
}

function missesLibraries(program: string): boolean {
  try {
    return execFileSync("ldd", [program], { encoding: "utf8", stdio: "pipe" }).includes("not found");
  } catch {
    // ldd fails where a library is there but cannot be loaded.
    return true;
  }
}
