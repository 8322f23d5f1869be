import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type DefaultTheme, defineConfig } from "vitepress";
import { folderLinks, plainSourceLinks, statementAnchors, statementLinks } from "./markdown.js";

const docs = new URL("../", import.meta.url);
const root = new URL("../", docs);
const built = (path: string) => fileURLToPath(new URL(`dist/bindings/${path}`, root));

type Item = DefaultTheme.SidebarItem;

/** The pages of a generated folder, by the titles in them. */
function pagesOf(folder: string): Item[] {
  const at = new URL(folder, docs);
  if (!existsSync(at)) return [];
  const names = readdirSync(at).filter((name) => name.endsWith(".md") && name !== "index.md" && name !== "README.md");
  return names
    .sort()
    .map((name) => ({ text: name.replace(/\.md$/, ""), link: `/${folder}${name.replace(/\.md$/, "")}` }));
}

const ENTRIES = [
  ["granule", "index"],
  ["granule/mmu", "mmu"],
  ["granule/audit", "audit"],
  ["granule/trace", "trace"],
  ["granule/trace/node", "trace/node"],
  ["granule/report", "report"],
  ["granule/slim", "slim"],
  ["granule/debug", "debug"],
] as const;
const KIND_TITLES = {
  functions: "Functions",
  classes: "Classes",
  interfaces: "Interfaces",
  "type-aliases": "Types",
  variables: "Values",
} as const;
const KINDS = Object.keys(KIND_TITLES) as (keyof typeof KIND_TITLES)[];

/** The sidebar of one entry: its own exports, and the way to the other entries. Each page repeats its sidebar, so it has to be short. */
function entryBar(entry: (typeof ENTRIES)[number]): Item[] {
  const [text, folder] = entry;
  const kinds = KINDS.flatMap((kind) => {
    const items = pagesOf(`api/${folder}/${kind}/`);
    return items.length === 0 ? [] : [{ text: KIND_TITLES[kind], items }];
  });
  return [
    { text, link: `/api/${folder}/`, items: kinds },
    { text: "API", link: "/api/", items: entries },
  ];
}

const entries: Item[] = ENTRIES.map(([text, folder]) => ({ text, link: `/api/${folder}/` }));
const entryBars = Object.fromEntries(ENTRIES.map((entry) => [`/api/${entry[1]}/`, entryBar(entry)]));

/** Races that people found, a page for a group. */
const MUSEUM = titled("museum/");

const GUIDES: Item[] = [
  {
    text: "Get started",
    items: [
      { text: "Replay a trace", link: "/guide/traces" },
      { text: "See what happened", link: "/guide/pictures" },
      { text: "A page table by hand", link: "/viewer/index.html", target: "_self" },
      { text: "Write an emulator or a VMM", link: "/guide/emulators" },
      { text: "Compare approaches", link: "/guide/comparing" },
      { text: "What does a kernel change change?", link: "/guide/kernel-change" },
      { text: "Beyond one machine", link: "/scale" },
    ],
  },
  {
    text: "Learn",
    items: [
      { text: "How a page-table entry dies", link: "/entry-dies" },
      { text: "Record a guest", link: "/guide/recording" },
      { text: "Several walkers", link: "/parallel" },
      { text: "Every interleaving", link: "/explore" },
      ...(MUSEUM.length > 0 ? [{ text: "A museum of races", link: "/museum/", items: MUSEUM, collapsed: true }] : []),
      { text: "A VM that runs", link: "/vm" },
      { text: "The hardware's side", link: "/mmu" },
      { text: "The judge", link: "/audit" },
    ],
  },
];

/** The first heading of a document; `otherwise` if it has none. */
function headingOf(path: string, otherwise: string): string {
  return /^# (.*)$/m.exec(readFileSync(new URL(path, docs), "utf8"))?.[1] ?? otherwise;
}

/** Documents that others add, by their first heading. */
function more(): Item[] {
  const known = ["parallel", "explore", "scale", "vm", "mmu", "audit", "architecture", "deviations", "kernel-index"];
  const names = readdirSync(docs).filter((name) => name.endsWith(".md") && !known.includes(name.slice(0, -3)));
  return names.sort().map((name) => ({
    text: headingOf(name, name),
    link: `/${name.slice(0, -3)}`,
  }));
}

/** Pages of a folder, by their first headings. */
function titled(folder: string): Item[] {
  return pagesOf(folder).map(({ text, link }) => ({
    text: headingOf(`.${link}.md`, text ?? ""),
    link: link ?? "",
  }));
}

const FORMATS = titled("formats/");

const REFERENCE: Item[] = [
  { text: "Command", link: "/cli/", items: pagesOf("cli/") },
  { text: "API", link: "/api/", items: entries },
  ...(FORMATS.length > 0 ? [{ text: "Formats", link: "/formats/", items: FORMATS }] : []),
  {
    text: "Project",
    items: [
      ...more(),
      { text: "Architecture", link: "/architecture" },
      { text: "Statements", link: "/spec/" },
      { text: "Which test is about what", link: "/spec/coverage" },
      { text: "Deviations from the kernel", link: "/deviations" },
      { text: "From kernel functions to ours", link: "/kernel-index" },
      { text: "Contributing", link: "/contributing" },
      { text: "Changes", link: "/changelog" },
    ],
  },
];

export default defineConfig({
  title: "granule",
  description: "Arm64 page tables at WebAssembly speed",
  // A site in a folder of a host: `DOCS_BASE=/granule/ npm run docs`.
  base: process.env.DOCS_BASE ?? "/",
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${process.env.DOCS_BASE ?? "/"}favicon.svg` }]],
  outDir: "../build/site",
  cacheDir: "../build/vitepress",
  cleanUrls: false,
  // Pages of the site alone lie in site/pages/, so that docs/ itself is what the package holds.
  rewrites: { ":folder/README.md": ":folder/index.md", "site/pages/:page": ":page" },
  markdown: {
    config: (md) => {
      md.use(plainSourceLinks);
      md.use(folderLinks);
      md.use(statementAnchors);
      md.use(statementLinks);
    },
  },
  vite: {
    resolve: {
      alias: [
        { find: /^granule$/, replacement: built("index.js") },
        { find: /^granule\/(mmu|audit|report)$/, replacement: built("$1/index.js") },
      ],
    },
    // The index of the search is one piece.
    build: { chunkSizeWarningLimit: 4096 },
    server: { fs: { allow: [fileURLToPath(root)] } },
  },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Guide", link: "/guide/traces", activeMatch: "/guide/|/entry-dies" },
      { text: "Command", link: "/cli/", activeMatch: "/cli/" },
      { text: "API", link: "/api/", activeMatch: "/api/" },
      { text: "Statements", link: "/spec/", activeMatch: "/spec/" },
    ],
    sidebar: { ...entryBars, "/": [...GUIDES, ...REFERENCE] },
  },
});
