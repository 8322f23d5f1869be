// Checks the built site: every link within it leads to a file that is there, and every anchor to an element that is there.
//   node docs/site/links.mjs FOLDER [BASE]

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";

function* filesBelow(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

const unescaped = (text) =>
  text
    .replaceAll("&amp;", "&")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Ids and links of a page. */
function read(path) {
  const html = readFileSync(path, "utf8");
  const ids = new Set([...html.matchAll(/\s(?:id|name)="([^"]*)"/g)].map(([, id]) => unescaped(id)));
  const links = [...html.matchAll(/<(?:a|img|script|link)\b[^>]*?\s(?:href|src)="([^"]*)"/g)].map(([, to]) =>
    unescaped(to),
  );
  return { ids, links: new Set(links) };
}

/** The file of a path: itself, with .html, or the index of a folder. */
function fileOf(root, path) {
  const at = join(root, ...path.split("/"));
  const candidates = [at, `${at}.html`, join(at, "index.html")];
  return candidates.find((one) => existsSync(one) && statSync(one).isFile());
}

/**
 * Dead links of a built site, as `page: link`. Links to other hosts are not followed. `base` is the path that the site is
 * served under.
 */
export function deadLinks(root, base = "/") {
  const pages = new Map(
    [...filesBelow(root)].filter((path) => path.endsWith(".html")).map((path) => [path, read(path)]),
  );
  const dead = [];
  for (const [path, { links }] of pages) {
    const here = relative(root, path).split(sep).join("/");
    for (const link of links) {
      if (/^(?:[a-z][a-z0-9+.-]*:|\/\/)/i.test(link)) continue;
      const [before, anchor] = link.split("#");
      const [to] = before.split("?");
      const inside = !to.startsWith("/") || to.startsWith(base);
      const target = to.startsWith("/") ? to.slice(base.length) : posix.join(posix.dirname(here), decoded(to));
      const file = to === "" ? path : inside ? fileOf(root, decoded(target)) : undefined;
      const ids = file === undefined ? undefined : pages.get(file)?.ids;
      if (file === undefined) dead.push(`${here}: ${link}`);
      else if (anchor && ids !== undefined && !ids.has(decoded(anchor))) dead.push(`${here}: ${link}`);
    }
  }
  return { pages: pages.size, dead };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [folder = "build/site", base = process.env.DOCS_BASE ?? "/"] = process.argv.slice(2);
  const { pages, dead } = deadLinks(folder, base);
  for (const line of dead) console.error(`dead link in ${line}`);
  console.log(`${pages} pages, ${dead.length} dead links`);
  process.exitCode = dead.length === 0 ? 0 : 1;
}
