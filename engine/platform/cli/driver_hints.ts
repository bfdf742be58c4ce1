import { existsSync, readFileSync } from "node:fs";
import { installCommand } from "../optional_packages.mjs";

/** How the user can make an adapter available. */
export function howToFix(): string {
  if (process.platform !== "linux") return "update the graphics driver (Dawn needs nothing else on Windows and macOS)";
  const npm = process.arch === "x64"
    ? `run \`${installCommand("@sparticuz/chromium")}\` (it brings SwiftShader, a driver for the CPU), or install `
    : "install ";
  return `${npm}a Vulkan driver: ${installMesa()}`;
}

/** A faster alternative to the current CPU implementation, or undefined. */
export function mesaHint(driver: string): string | undefined {
  const gpu = gpuDevice();
  if (gpu) return gpu;
  if (process.platform !== "linux" || !/swiftshader/i.test(driver)) return undefined;
  return `lavapipe of Mesa 23.1 or later computes 2 to 10 times faster than SwiftShader: ${installMesa()}`;
}

function gpuDevice(): string | undefined {
  if (existsSync("/dev/nvidiactl")) {
    return (
      "there is an NVIDIA GPU without a Vulkan driver: install the driver's Vulkan part (libnvidia-gl); " +
      "in a container start it with NVIDIA_DRIVER_CAPABILITIES=all"
    );
  }
  if (existsSync("/dev/dxg")) return "this is WSL: run voxgrad in Windows itself to reach the GPU";
  if (existsSync("/dev/dri/renderD128")) return `there is a GPU without a Vulkan driver: ${installMesa()}`;
  return undefined;
}

/** The command that installs Mesa's Vulkan drivers (AMD, Intel, and lavapipe for the CPU) on this Linux. */
function installMesa(): string {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const field = (name: string): string => release.match(new RegExp(`^${name}="?([^"\n]*)`, "m"))?.[1] ?? "";
  const family = `${field("ID")} ${field("ID_LIKE")}`;
  if (field("ID") === "debian" && Number(field("VERSION_ID")) === 12) {
    return (
      "Debian 12's own Mesa is too old, so take it from backports:\n" +
      "  awk 'BEGIN{RS=\"\"} /Suites: bookworm bookworm-updates/' /etc/apt/sources.list.d/debian.sources |\n" +
      "    sed 's/^Suites:.*/Suites: bookworm-backports/' | sudo tee /etc/apt/sources.list.d/backports.sources\n" +
      "  sudo apt update && sudo apt install -t bookworm-backports mesa-vulkan-drivers libvulkan1"
    );
  }
  if (/fedora|rhel/.test(family)) return "sudo dnf install mesa-vulkan-drivers vulkan-loader";
  if (/arch/.test(family)) return "sudo pacman -S vulkan-swrast vulkan-icd-loader (and vulkan-radeon or vulkan-intel)";
  if (/suse/.test(family)) return "sudo zypper install Mesa-libVulkan-devel libvulkan1";
  return "sudo apt install mesa-vulkan-drivers libvulkan1";
}
