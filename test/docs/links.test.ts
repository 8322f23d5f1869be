// The check of links that `npm run docs` makes of the built site.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { deadLinks } from "../../docs/site/links.mjs";
import { Scratch } from "../support/scratch.js";

/** Dead links of a site that has two pages, the second in a folder. */
function check(first: string, second = "", base = "/"): string[] {
  using scratch = new Scratch();
  mkdirSync(join(scratch.path, "more"));
  writeFileSync(join(scratch.path, "index.html"), `<h1 id="top">One</h1>${first}`);
  writeFileSync(join(scratch.path, "more/two.html"), `<h2 id="a b">Two</h2>${second}`);
  return deadLinks(scratch.path, base).dead;
}

describe("the check of links", () => {
  it.each([
    '<a href="/more/two.html">',
    '<a class="x" href="more/two">',
    '<a href="./more/two.html#a%20b">',
    '<a href="#top">',
    '<a href="/">',
    '<a href="https://example.org/nowhere">',
    '<a href="mailto:someone">',
  ])("lets %s pass", (link) => {
    expect(check(link)).toEqual([]);
  });

  it.each([
    ['<a href="/more/three.html">', "/more/three.html"],
    ['<a href="two.html">', "two.html"],
    ['<a href="more/two.html#c">', "more/two.html#c"],
    ['<a href="#bottom">', "#bottom"],
    ['<img alt="" src="/lost.png">', "/lost.png"],
    ['<script type="module" src="/lost.js"></script>', "/lost.js"],
    ['<link rel="stylesheet" href="/lost.css">', "/lost.css"],
  ])("finds %s", (link, dead) => {
    expect(check(link)).toEqual([`index.html: ${dead}`]);
  });

  it("resolves links from the page's folder, and paths from the site's base", () => {
    expect(check("", '<a href="../index.html#top"><a href="/docs/index.html">', "/docs/")).toEqual([]);
    expect(check("", '<a href="index.html">', "/docs/")).toEqual(["more/two.html: index.html"]);
    expect(check('<a href="/more/two.html">', "", "/docs/")).toEqual(["index.html: /more/two.html"]);
  });
});
