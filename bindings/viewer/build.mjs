// Bundles the page of a report into a module of text: code and style, to be put into a file of their own. Run by `npm run build`.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const { outputFiles } = await build({
  entryPoints: [at("report/page.ts")],
  bundle: true,
  minify: true,
  write: false,
  format: "iife",
  target: "es2022",
  legalComments: "none",
});
const [script] = outputFiles;
if (script === undefined || /<\/script/i.test(script.text)) throw new Error("the page's code cannot lie in a page");

const css = await build({
  stdin: {
    contents: `@import "uplot/dist/uPlot.min.css"; @import "./report/style.css";`,
    loader: "css",
    resolveDir: at("."),
  },
  bundle: true,
  minify: true,
  write: false,
});
const [style] = css.outputFiles;

const LICENSES = ["uplot", "d3-hierarchy"].map((name) => {
  const text = readFileSync(at(`../../node_modules/${name}/LICENSE`), "utf8").trim();
  return `${name}\n\n${text}`;
});

writeFileSync(
  at("../report/page.generated.ts"),
  `// Made by bindings/viewer/build.mjs.\n
/** Code of the page of a report. */
export const SCRIPT: string = ${JSON.stringify(script.text)};
/** Its style. */
export const STYLE: string = ${JSON.stringify(style.text)};
/** The licenses of what is in it. */
export const LICENSES: string = ${JSON.stringify(LICENSES.join("\n\n"))};
`,
);
