import { createServer, type IncomingHttpHeaders } from "node:http";
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

/** Connections at once, more than any page opens; and how long one may take to ask, or do nothing, in ms. */
const MOST_CONNECTIONS = 64;
const ASKING = 10_000;
const IDLE = 60_000;

/**
 * Serves a fixed set of pages to this machine only. No file is ever looked up by what a request names.
 *
 * @param port 0 takes any free one
 * @param pages path to what makes its answer, again for each request
 * @param options folder: what the paths begin with, such as "/secret/"; default "/"
 */
export async function serveLoopback(
  port: number,
  pages: Readonly<Record<string, () => Answer | Promise<Answer>>>,
  { folder = "/" }: { folder?: string } = {},
): Promise<Loopback> {
  const server = createServer(
    { headersTimeout: ASKING, requestTimeout: ASKING, connectionsCheckingInterval: 2_000 },
    (request, response) => {
      const { port: own } = server.address() as AddressInfo;
      const whole = (request.url ?? "/").split("?")[0];
      const path = whole.startsWith(folder) ? whole.slice(folder.length - 1) : "";
      const make = Object.hasOwn(pages, path) ? pages[path] : undefined;
      const welcome = isOwn(request.headers, own, path === "/");
      if (!welcome || !make || request.method !== "GET") {
        response.writeHead(welcome ? 404 : 403, headers).end();
        return;
      }
      Promise.resolve().then(make).then(
        ({ type, body }) => response.writeHead(200, { ...headers, "Content-Type": `${type}; charset=utf-8` }).end(body),
        (error: unknown) => response.writeHead(500, headers).end(String(error)),
      );
    },
  );
  server.maxConnections = MOST_CONNECTIONS;
  server.setTimeout(IDLE);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}${folder}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * Whether a request comes from this server's own page, from the address bar, or from no browser. A page of another site
 * that has its name point here (DNS rebinding) shows in the host that it asks for; one that asks for a script or
 * picture of this server shows in what browsers say of the asking site. A link from elsewhere may lead to the page
 * itself: the visitor sees it, and the other site learns nothing.
 */
function isOwn(asked: IncomingHttpHeaders, port: number, isPage: boolean): boolean {
  // Browsers leave out the usual port.
  const hosts = ["127.0.0.1", "localhost"].flatMap((name) => [`${name}:${port}`, ...(port === 80 ? [name] : [])]);
  const { host = "", origin, "sec-fetch-site": site, "sec-fetch-dest": destination, "sec-fetch-mode": mode } = asked;
  if (!hosts.includes(host) || (origin !== undefined && origin !== `http://${host}`)) return false;
  return site === undefined || site === "same-origin" || site === "none" ||
    (isPage && mode === "navigate" && destination === "document");
}

const headers = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  // The plot sets styles; what the script writes is shown from blobs.
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};
