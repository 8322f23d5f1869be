import { createReadStream, existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  integerOption,
  UsageError,
} from "../command.js";
import { exists, fileOf, IMAGE, MANIFEST } from "../image-folder.js";
import { unreadable } from "../input.js";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Nothing may be loaded from elsewhere, and nothing sent there. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; worker-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";

/** The built page: beside the built command, or in dist/ of a checkout whose sources run. */
function pageFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = ["../../../viewer", "../../../dist/viewer"]
    .map((path) => join(here, path))
    .find((path) => existsSync(join(path, "index.html")));
  if (found === undefined) throw new InputError("the page is not built: npm run build");
  return found;
}

function refuse(response: ServerResponse, code: number): void {
  response.writeHead(code, { "content-type": "text/plain" });
  response.end();
}

async function send(response: ServerResponse, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return refuse(response, 404);
  response.writeHead(200, {
    "content-type": TYPES[extname(path)] ?? "application/octet-stream",
    "content-length": found.size,
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  });
  createReadStream(path)
    .on("error", () => response.destroy())
    .pipe(response);
}

/** The file of `folder` that a request asks for; undefined for what cannot be one, or lies outside. */
function pathIn(folder: string, pathname: string): string | undefined {
  let name: string;
  try {
    name = normalize(decodeURIComponent(pathname)).replace(/^[/\\]+/, "") || "index.html";
  } catch {
    return undefined;
  }
  return name.startsWith("..") || name.includes("\0") ? undefined : join(folder, name);
}

/** Serves the page, and what it shall show below /file/. Only this machine reaches it. */
function serve(folder: string, files: readonly string[]): Server {
  return createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (request.method !== "GET") return refuse(response, 405);
    const file = files.find((path) => pathname === `/file/${encodeURIComponent(basename(path))}`);
    if (file !== undefined) return void send(response, file);
    const path = pathIn(folder, pathname);
    if (path === undefined) return refuse(response, 404);
    void send(response, path);
  });
}

function listening(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new InputError(`port ${port} cannot be used: ${error.message}`)));
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** A file, or of the folder of an image its manifest and its memory. */
async function filesAt(path: string): Promise<string[]> {
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (found.isFile()) return [path];
  const manifest = join(path, MANIFEST),
    image = await fileOf(path, IMAGE);
  if (image === undefined || !(await exists(manifest)))
    throw new InputError(
      `${path}: this is a folder without an image: a file is needed, or ${MANIFEST} and ${IMAGE} in it`,
    );
  return [manifest, image];
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const [file, second] = args.operands;
  if (second !== undefined) throw new UsageError(`only one FILE is allowed: ${second} is one too many`);
  const port = integerOption(args, "port", 0, 65535) ?? 0;
  const files = file === undefined ? [] : await filesAt(file);
  const server = serve(pageFolder(), files);
  const at = await listening(server, port);
  const query = files.map((path) => `file=file/${encodeURIComponent(basename(path))}`).join("&");
  await io.out(`http://127.0.0.1:${at}/${query === "" ? "" : `?${query}`}\n`);
  io.note("granule: open this in a browser; Ctrl-C ends it");
  await new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve();
    io.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  server.closeAllConnections();
  server.close();
  return Exit.OK;
}

/** `granule view`. */
export const view: Command = {
  name: "view",
  usage: "[FILE] [--port N]",
  summary: "a page with a table that you make by hand, step by step, with a vCPU beside it",
  help: `Serves a page to this machine alone, and prints its address. The real engine runs in it: map, unmap, split, write-protect, and go
through an operation write by write, with the journal, the TLB, and a vCPU that reads stale or fresh. Two walkers of a scenario of granule
explore can be stepped side by side, in any order. A state or a schedule is shared as a link.
FILE is a trace, a raw table (.s2raw), ptdump text, an operations file, or the folder of an image: the page shows its report, and
translates addresses in a table. Files can be dropped on the page, too.
Nothing leaves the page. The same page is in dist/viewer, as static files for any web host.`,
  options: { port: { type: "string", value: "N", help: "port of this machine (default: a free one)" } },
  exits: [{ code: Exit.OK, meaning: "ended by Ctrl-C" }],
  examples: [{ line: "granule view guest.trace.gz", shows: "a trace's report beside a table to try things on" }],
  run,
};
