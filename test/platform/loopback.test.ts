// The server of `voxgrad serve`: whom it answers, with which headers, and how much it does for many who ask at once.
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bundle, Bundler } from "../../engine/platform/cli/bundle.ts";
import { type Answer, serveLoopback } from "../../engine/platform/cli/loopback.ts";
import { startServer } from "../../engine/platform/cli/serve.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
test.after(() => rm(folder, { recursive: true, force: true }));

type Headers = Record<string, string>;
const ask = (url: string, headers: Headers = {}, path = "") =>
  new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    request(new URL(path, url), { headers }, (response) => {
      let body = "";
      response.on("data", (part) => (body += part)).on(
        "end",
        () => resolve({ status: response.statusCode!, headers: response.headers, body }),
      );
    }).on("error", reject).end();
  });
const pages: Record<string, () => Answer> = {
  "/": () => ({ type: "text/html", body: "page" }),
  "/worker.js": () => ({ type: "text/javascript", body: "code" }),
};

test("serveLoopback() answers its own page, the address bar, programs, and links to the page", async () => {
  const server = await serveLoopback(0, pages);
  const { port } = new URL(server.url);
  const status = async (path: string, headers: Headers) => (await ask(server.url, headers, path)).status;
  const navigation = (site: string): Headers => ({
    "sec-fetch-site": site,
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
  });
  try {
    for (const site of ["same-origin", "none"]) {
      assert.is(await status("worker.js", { "sec-fetch-site": site }), 200, site);
    }
    assert.is(await status("worker.js", {}), 200, "curl");
    for (const site of ["cross-site", "same-site"]) {
      assert.is(
        await status("worker.js", { "sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script" }),
        403,
        site,
      );
      assert.is(await status("worker.js", navigation(site)), 403, `${site}, a link to a script`);
      assert.is(await status("/", { ...navigation(site), "sec-fetch-dest": "iframe" }), 403, `${site}, a frame`);
      assert.is(await status("/", navigation(site)), 200, `${site}, a link to the page`);
    }
    assert.is(await status("/", { origin: "http://evil.example" }), 403);
    assert.is(await status("/", { origin: "null" }), 403);
    assert.is(await status("/", { origin: `http://127.0.0.1:${port}` }), 200);
    assert.is(await status("/", { host: `localhost:${port}`, origin: `http://localhost:${port}` }), 200);
    for (const host of ["127.0.0.1", "localhost", "evil.example", `evil.example:${port}`, `127.0.0.1:${port}0`]) {
      assert.is(await status("/", { host }), 403, host);
    }
  } finally {
    await server.close();
  }
});

test("serveLoopback() at port 80 is found under the names that browsers then send", async () => {
  const server = await serveLoopback(80, pages).catch((error: NodeJS.ErrnoException) => {
    // Where the port is not to be had there is nothing to try.
    if (error.code === "EACCES" || error.code === "EADDRINUSE") return undefined;
    throw error;
  });
  if (!server) return;
  try {
    for (const host of ["127.0.0.1", "localhost", "127.0.0.1:80"]) {
      assert.is((await ask("http://127.0.0.1:80/", { host, origin: `http://${host}` })).status, 200, host);
    }
    assert.is((await ask("http://127.0.0.1:80/", { host: "evil.example" })).status, 403);
  } finally {
    await server.close();
  }
});

test("serveLoopback() sends the headers that keep it from other sites with every answer", async () => {
  const server = await serveLoopback(0, { ...pages, "/broken": () => Promise.reject(new Error("no")) });
  try {
    for (
      const [path, headers, status] of [["/", {}, 200], ["/nothing", {}, 404], ["/", { host: "evil.example" }, 403], [
        "/broken",
        {},
        500,
      ]] as const
    ) {
      const answer = await ask(server.url, headers, path);
      assert.is(answer.status, status);
      assert.is(answer.headers["cross-origin-resource-policy"], "same-origin", path);
      assert.is(answer.headers["x-content-type-options"], "nosniff");
      assert.is(answer.headers["access-control-allow-origin"], undefined);
      assert.match(
        String(answer.headers["content-security-policy"]),
        /default-src 'self';.*base-uri 'none'; form-action 'none'; frame-ancestors 'none'/,
      );
    }
  } finally {
    await server.close();
  }
});

test("serveLoopback() keeps no more connections than a page opens, and closes those that never ask", async () => {
  const server = await serveLoopback(0, pages);
  const { port } = new URL(server.url);
  const sockets: Socket[] = [];
  let [open, closed] = [0, 0];
  try {
    await Promise.all(Array.from({ length: 90 }, () =>
      new Promise<void>((resolve) => {
        const socket = connect(Number(port), "127.0.0.1", () => {
          socket.write("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
          // A refused connection is closed at once; one that is kept waits for the rest of the question.
          setTimeout(resolve, 300);
        });
        socket.on("error", () => undefined).on("close", () => closed++);
        sockets.push(socket);
      })));
    open = sockets.length - closed;
    assert.ok(open <= 64 && closed >= 26, `${open} open, ${closed} closed`);
  } finally {
    for (const socket of sockets) socket.destroy();
    await server.close();
  }
});

test("startServer() bundles once for many requests, again after a change, and reports a mistake", async () => {
  const [script, part] = [join(folder, "script.ts"), join(folder, "part.ts")];
  const yesterday = new Date(Date.now() - 1e8);
  const write = async (file: string, text: string, when = yesterday) => {
    await writeFile(file, text);
    await utimes(file, when, when);
  };
  await write(part, "export const word: string = 'first';");
  await write(script, "import { word } from './part.ts'; console.log(word);");
  const bundler = new Bundler(() => bundle(script));
  const all = await Promise.all(Array.from({ length: 20 }, () => bundler.get()));
  assert.ok(all.every(({ code }) => code.includes("first")));
  assert.is(bundler.builds, 1);
  await bundler.get();
  assert.is(bundler.builds, 1);
  await write(part, "export const word: string = 'other';", new Date(Date.now() - 5e7));
  assert.match((await bundler.get()).code, /other/);
  assert.is(bundler.builds, 2);
  await write(part, "export const word: string = ;");
  const failure = () => bundler.get().then(() => "", (error: Error) => error.message);
  assert.match((await Promise.all([failure(), failure()])).join(), /Cannot bundle .*part\.ts:1/s);
  assert.is(bundler.builds, 3);
  await write(part, "export const word: string = 'mended';", new Date(Date.now() - 4e7));
  assert.match((await bundler.get()).code, /mended/);
});

test("startServer() below a folder answers nothing beside it", async () => {
  const script = join(folder, "script.ts");
  const server = await startServer(script, ["--data", "secret path"], 0, { folder: "/0123abcd/" });
  try {
    assert.match(server.url, /\/0123abcd\/$/);
    assert.match((await ask(server.url, {}, "run.json")).body, /secret path/);
    assert.is((await ask(server.url)).status, 200);
    for (const path of ["/", "/run.json", "/worker.js", "/0123abc/run.json", "/x/0123abcd/run.json"]) {
      assert.is((await ask(server.url, {}, path)).status, 404, path);
    }
  } finally {
    await server.close();
  }
});

test.run();
