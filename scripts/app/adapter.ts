/** Says which GPU computes; without WebGPU, what to do. */
import { group, make } from "./elements.ts";

const chip = document.getElementById("adapter")!;

function tell(text: string, look: "good" | "bad"): void {
  chip.replaceChildren(make("span", { className: "dot" }), text);
  chip.className = `chip ${look}`;
}

/** What to do, by browser and system; the first that fits. */
const advice: readonly (readonly [when: (browser: string) => boolean, steps: readonly string[]])[] = [
  [() => !isSecureContext, [
    "This page was opened over plain http, where browsers offer no WebGPU.",
    "Open it over https, or from localhost.",
  ]],
  [(browser) => /firefox/i.test(browser) && /windows|mac/i.test(browser), [
    "Update Firefox: it has WebGPU from 141 on in Windows, and from 145 on in macOS on Apple silicon.",
    "Or open this page in Chrome or Edge.",
  ]],
  [(browser) => /firefox/i.test(browser), [
    "In about:config set dom.webgpu.enabled to true and restart Firefox; in Linux gfx.webgpu.ignore-blocklist too.",
    "Or open this page in Chrome or Chromium.",
  ]],
  [(browser) => /iphone|ipad|mac os/i.test(browser) && !/chrom|edg/i.test(browser), [
    "Update the system: Safari has WebGPU from version 26 on.",
    "Or open this page in Chrome or Edge.",
  ]],
  [(browser) => /linux/i.test(browser) && !/android/i.test(browser), [
    "Open chrome://flags, enable “Unsafe WebGPU Support” and “Vulkan”, and restart the browser.",
    "chrome://gpu says under “WebGPU” what is missing, such as a Vulkan driver.",
  ]],
  [() => true, [
    "Update the browser: Chrome and Edge have WebGPU from version 113 on, in Android from 121 on.",
    "In its settings under “System”, switch on “Use graphics acceleration when available”.",
    "chrome://gpu says under “WebGPU” what is missing.",
  ]],
];

function explain(what: string): void {
  tell("no WebGPU", "bad");
  const steps = advice.find(([when]) => when(navigator.userAgent))![1];
  const list = make("ol", {}, ...steps.map((step) => make("li", {}, step)));
  const page = group("This browser cannot compute here yet", make("p", {}, what), list);
  page.classList.add("without");
  // What the link for keys leads to.
  Object.assign(page, { id: "panel", tabIndex: -1 });
  const hint = make("p", { className: "note" }, "Without a GPU, Chrome computes on the CPU, only slower.");
  page.append(hint);
  document.querySelector("main")!.replaceWith(make("main", { className: "alone" }, page));
}

/** Looks for a GPU and says so in the head of the page. */
export async function describeAdapter(): Promise<void> {
  const { gpu } = navigator as { gpu?: GPU };
  if (!gpu) return explain("It offers no WebGPU, by which voxgrad computes.");
  const request = (more: GPURequestAdapterOptions) =>
    gpu.requestAdapter({ powerPreference: "high-performance", ...more }).catch(() => null);
  const adapter = await request({}) ?? await request({ featureLevel: "compatibility" });
  if (!adapter) return explain("It has WebGPU, but found no GPU for it.");
  const { vendor, architecture, device, description } = adapter.info;
  const name = description || device || [vendor, architecture].filter(Boolean).join(" ") || "GPU";
  const slow = adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(vendor + name);
  tell(slow ? `${name} (on the CPU: slow)` : name, "good");
}
