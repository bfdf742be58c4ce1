import { selfTest } from "../../../engine/platform/cli/self_test.ts";
import { platform } from "../../../engine/platform/browser.ts";

export default async function (input: { fail?: boolean }) {
  if (input.fail) throw new Error("failed as asked");
  const { adapter, driver, kind } = await platform.openAdapter();
  const limits = {
    binding: adapter.limits.maxStorageBufferBindingSize,
    groups: adapter.limits.maxComputeWorkgroupsPerDimension,
  };
  return { problem: await selfTest(adapter), driver, kind, limits, features: [...adapter.features] };
}
