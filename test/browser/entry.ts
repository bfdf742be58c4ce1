// Runs the module under test, which the bundler puts in the place of "voxgrad:script", and answers with its result.
addEventListener("message", async ({ data }: MessageEvent) => {
  if (data === null || typeof data !== "object" || !("input" in data)) return;
  try {
    const module = (await import("voxgrad:script")) as { default: (input: unknown) => unknown };
    const result = JSON.stringify(await module.default(data.input)) ?? "null";
    postMessage({ result });
  } catch (error) {
    postMessage({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
