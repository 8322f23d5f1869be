// A plain web server over a folder: no bundler, no transformation, as a static host would serve the package.

import { createReadStream, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".map": "application/json",
  ".wasm": "application/wasm",
};
/** The two headers of an isolated page. */
export const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** A server that ends with `await using`. */
export interface Site extends AsyncDisposable {
  readonly url: string;
  /** Paths asked for that are not there. */
  readonly missing: readonly string[];
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function ended(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Serves `folder`, and `page` at /; with the two headers if `isolated`, with `policy` as content security policy. */
export async function serve(folder: string, page: string, isolated: boolean, policy?: string): Promise<Site> {
  const missing: string[] = [];
  const headers = {
    ...(isolated ? ISOLATION : {}),
    ...(policy === undefined ? {} : { "Content-Security-Policy": policy }),
  };
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
    if (path === "/")
      return response.writeHead(200, { ...headers, "Content-Type": "text/html; charset=utf-8" }).end(page);
    const file = join(folder, path);
    if (!isFile(file)) {
      // A browser asks for its icon unbidden.
      if (path !== "/favicon.ico") missing.push(path);
      return response.writeHead(404, headers).end();
    }
    response.writeHead(200, { ...headers, "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
    return createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, missing, [Symbol.asyncDispose]: () => ended(server) };
}
