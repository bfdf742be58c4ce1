import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, runInBrowser } from "./harness.ts";

interface Result {
  problem?: string;
  driver: string;
  kind: string;
  limits: { binding: number };
}
const module = new URL("./modules/raw_dispatch.ts", import.meta.url);

test.after(closeBrowser);

for (const where of ["worker", "page"] as const) {
  test(`runInBrowser() runs a compute shader in a ${where} of Chromium`, async () => {
    const result = await runInBrowser<Result>(module, { where, input: {} });
    assert.is(result.problem, undefined);
    assert.is(result.kind, "software");
    assert.match(result.driver, /swiftshader/i);
    assert.ok(result.limits.binding >= 2 ** 27);
  });

  test(`runInBrowser() rejects with what a module throws in a ${where}`, async () => {
    try {
      await runInBrowser(module, { where, input: { fail: true } });
    } catch (error) {
      return assert.match((error as Error).message, "failed as asked");
    }
    assert.unreachable();
  });
}

test.run();
