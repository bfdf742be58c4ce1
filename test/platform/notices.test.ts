// Third-party notices name all that is downloaded; SECURITY.md is there.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { noticesText } from "../../engine/platform/cli/notices.ts";

const read = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), "utf8");

test("NOTICES.md lists what users install and what package.json names, with version, license and bundled notices", async () => {
  const text = await read("engine/platform/NOTICES.md");
  const { packages } = JSON.parse(await read("package-lock.json")) as {
    packages: Record<
      string,
      { version: string; license?: string; dev?: boolean; devDependencies?: Record<string, string> }
    >;
  };
  const tools = packages[""].devDependencies!;
  for (const [path, { version, license, dev }] of Object.entries(packages)) {
    if (path === "" || (dev && !(path.replace(/^node_modules\//, "") in tools))) continue;
    const line = text.split("\n").find((each) =>
      each.startsWith(`| ${path.replace(/^.*node_modules\//, "")} ${version} |`)
    );
    assert.ok(line?.includes(`| ${license} |`), `${path} ${version} ${license}: run \`npm run notices\``);
    assert.match(line!, /\| [^|]*[A-Za-z]{3}[^|]* \|$/, "somebody has the copyright");
  }
  for (const program of ["Dawn", "SwiftShader", "Vulkan Loader", "ANGLE", "Chromium", "NSS", "Open Sans"]) {
    assert.ok(text.includes(program), program);
  }
  for (
    const word of [
      "Permission is hereby granted, free of charge",
      "Permission to use, copy, modify, and/or distribute",
      "Redistributions in binary form",
    ]
  ) assert.ok(text.includes(word), word);
  assert.is(text, noticesText(), "run `npm run notices`");
});

test("SECURITY.md states what is promised, what is not, and how to report", async () => {
  const text = await read("SECURITY.md");
  for (const heading of ["## What is promised", "## What is not promised", "## Reporting"]) {
    assert.ok(text.includes(heading), heading);
  }
});

test.run();
