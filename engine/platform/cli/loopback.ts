import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What one address of the server answers with. */
export interface Answer {
  readonly type: "text/html" | "text/javascript" | "text/css" | "application/json";
  readonly body: string | Uint8Array;
}

export interface Loopback {
  /** "http://127.0.0.1:8080/" */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves a fixed set of pages to this machine only. No file is ever looked up by what a request names.
 *
 * @param port 0 takes any free one
 * @param pages path to what makes its answer, anew for each request
 */
export async function serveLoopback(
  port: number,
  pages: Readonly<Record<string, () => Answer | Promise<Answer>>>,
): Promise<Loopback> {
  const server = createServer((request, response) => {
    const { port: own } = server.address() as AddressInfo;
    const path = (request.url ?? "/").split("?")[0]!;
    const make = Object.hasOwn(pages, path) ? pages[path] : undefined;
    // A page of another site that has its name point here (DNS rebinding) shows in the host that it asks for.
    const known = [`127.0.0.1:${own}`, `localhost:${own}`].includes(request.headers.host ?? "");
    if (!known || !make || request.method !== "GET") {
      response.writeHead(known ? 404 : 403).end();
      return;
    }
    Promise.resolve().then(make).then(
      ({ type, body }) => response.writeHead(200, { ...headers, "Content-Type": `${type}; charset=utf-8` }).end(body),
      (error: unknown) => response.writeHead(500, headers).end(String(error)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const headers = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  // The plot sets styles; what the script writes is shown from blobs.
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
};
