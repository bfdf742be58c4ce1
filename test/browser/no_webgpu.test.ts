import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, runInBrowser } from "./harness.ts";

test.after(closeBrowser);

const BROWSERS = [
  "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
];

test("openAdapter() without WebGPU or a GPU gives the advice of the browser at hand", async () => {
  const said = await runInBrowser<string[]>(new URL("./modules/no_webgpu.ts", import.meta.url), { input: BROWSERS });
  assert.is(said.pop(), "an old GPU", "one that serves in compatibility mode alone");
  const wanted = [/dom\.webgpu\.enabled/, /from 26 on/, /from 113 on/, /about:support/, /restart it/, /chrome:\/\/gpu/];
  assert.is(said.length, wanted.length);
  said.forEach((text, k) => {
    assert.match(text, k < 3 ? /^This browser has no WebGPU: / : /^This browser has WebGPU, but no GPU for it: /);
    assert.match(text, wanted[k]);
    assert.is(/chrome:\/\//.test(text), k % 3 === 2, text);
  });
});

test.run();
