import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** The response of one path of the server. */
export interface Answer {
  readonly type: "text/html" | "text/javascript" | "text/css" | "application/json" | "application/octet-stream";
  readonly body: string | Uint8Array;
}

export interface Loopback {
  /** "http://127.0.0.1:8080/" */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Maximum concurrent connections, more than any page opens; and the timeout for a request or an idle connection, in
 * ms.
 */
const MOST_CONNECTIONS = 64;
const ASKING = 10_000;
const IDLE = 60_000;

/** What is served: a function for each path, or one for all that gives nothing for paths that there are not. */
export type Pages =
  | Readonly<Record<string, () => Answer | Promise<Answer>>>
  | ((path: string) => Promise<Answer | undefined>);

/**
 * Serves a fixed set of pages to this machine only. Requests never name files to be looked up.
 *
 * @param port 0 chooses a free one
 * @param pages create the response for each request
 * @param options folder: path prefix, such as "/secret/", default: "/"; policy: of contents, default POLICY
 */
export async function serveLoopback(
  port: number,
  pages: Pages,
  { folder = "/", policy = POLICY }: { folder?: string; policy?: string } = {},
): Promise<Loopback> {
  const headers = { ...HEADERS, "Content-Security-Policy": policy };
  const answer = typeof pages === "function"
    ? pages
    : async (path: string) => Object.hasOwn(pages, path) ? pages[path]() : undefined;
  const server = createServer(
    { headersTimeout: ASKING, requestTimeout: ASKING, connectionsCheckingInterval: 2_000 },
    (request, response) => {
      const { port: actualPort } = server.address() as AddressInfo;
      const whole = (request.url ?? "/").split("?")[0];
      const path = whole.startsWith(folder) ? whole.slice(folder.length - 1) : "";
      if (!isOwn(request.headers, actualPort, path === "/")) return void response.writeHead(403, headers).end();
      if (request.method !== "GET") return void response.writeHead(404, headers).end();
      answer(path).then(
        (found) => {
          if (!found) return response.writeHead(404, headers).end();
          const type = found.type === "application/octet-stream" ? found.type : `${found.type}; charset=utf-8`;
          return response.writeHead(200, { ...headers, "Content-Type": type }).end(found.body);
        },
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
  const { port: actualPort } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${actualPort}${folder}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * Whether a request comes from this server's own page, from the address bar, or from no browser. DNS rebinding
 * (another site's name pointing here) is detected by the Host header; requests for this server's scripts or images
 * from another site, by the Sec-Fetch headers. A link from elsewhere may open the page itself: the visitor sees it,
 * and the other site learns nothing.
 */
function isOwn(requestHeaders: IncomingHttpHeaders, port: number, isPage: boolean): boolean {
  // Browsers omit the default port.
  const hosts = ["127.0.0.1", "localhost"].flatMap((name) => [`${name}:${port}`, ...(port === 80 ? [name] : [])]);
  const { host = "", origin, "sec-fetch-site": site, "sec-fetch-dest": destination, "sec-fetch-mode": mode } =
    requestHeaders;
  if (!hosts.includes(host) || (origin !== undefined && origin !== `http://${host}`)) return false;
  return site === undefined || site === "same-origin" || site === "none" ||
    (isPage && mode === "navigate" && destination === "document");
}

const HEADERS = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
};

/** Plots set inline styles; the script's files are shown from blobs. */
export const POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; " +
  "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** The same for the page that opens models from anywhere, and decoders of compressed series, which are WebAssembly. */
export const APP_POLICY = `${POLICY}; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' https: blob: data:`;
