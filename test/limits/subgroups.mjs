// Prints how many invocations a subgroup of the adapter has, or why there is no adapter.
const { platform } = await import("../../engine/platform/node.ts");
try {
  const { adapter } = await platform.openAdapter();
  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  console.log(subgroupMinSize === subgroupMaxSize ? subgroupMinSize : `${subgroupMinSize} to ${subgroupMaxSize}`);
} catch (error) {
  console.log(error.message);
}
platform.closeGpu();
