// The commands of docs/guide: each runs as it stands there, on the files that the guide gives, and prints what the guide says.

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { filesBelow, ROOT, text } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";

/** A fenced block: its language, and what stands in brackets behind it. */
interface Block {
  readonly language: string;
  readonly title: string | undefined;
  readonly content: string;
}

function blocksOf(path: string): Block[] {
  return [...text(path).matchAll(/^```(\w+)(?: \[([^\]]+)\])?\n(.*?)^```$/gms)].map(
    ([, language = "", title, content = ""]) => ({ language, title, content }),
  );
}

interface Tried {
  readonly guide: string;
  readonly command: string;
  readonly stated: string;
  readonly files: readonly Block[];
}

/** Every command that has its output below it, with the files that stand above it. */
const tried: Tried[] = filesBelow("docs/guide", [".md"]).flatMap((guide) => {
  const blocks = blocksOf(guide);
  return blocks.flatMap(({ language, content }, i) => {
    const output = blocks[i + 1];
    if (language !== "sh" || output?.title !== "output") return [];
    const files = blocks.slice(0, i).filter(({ title }) => title !== undefined && title !== "output");
    return [{ guide, command: content.trim(), stated: output.content, files }];
  });
});

describe("commands of the guides", () => {
  const folder = scratchFolder();
  const bin = join(folder, "bin");
  beforeAll(() => {
    mkdirSync(bin);
    const script = `#!/bin/sh\nexec "${process.execPath}" "${ROOT}/dist/bindings/cli/main.js" "$@"\n`;
    writeFileSync(join(bin, "granule"), script, { mode: 0o755 });
  });
  const environment = { ...process.env, NO_COLOR: "1", PATH: `${bin}${delimiter}${process.env.PATH}` };

  it("are there", () => {
    expect(tried.length).toBeGreaterThan(2);
  });

  it.each(tried)("$guide: $command", ({ command, stated, files }) => {
    for (const { title, content } of files) writeFileSync(join(folder, title as string), content);
    const { stdout } = spawnSync("sh", ["-c", command], { cwd: folder, env: environment, encoding: "utf8" });
    // "..." stands for lines that are left out.
    let at = 0;
    for (const part of stated.split(/^\.\.\.\n/m)) {
      expect(stdout.slice(at)).toContain(part);
      at = stdout.indexOf(part, at) + part.length;
    }
  });

  it("read the manifest of the recording guide", () => {
    const recording = blocksOf("docs/guide/recording.md").filter(({ title }) => title !== undefined);
    const traces = blocksOf("docs/guide/traces.md").filter(({ title }) => title === "boot.trace");
    for (const { title, content } of recording) writeFileSync(join(folder, title as string), content);
    writeFileSync(join(folder, "guest.trace"), traces[0]?.content.replaceAll(/^.*tracing_mark_write.*\n/gm, "") ?? "");
    const { status, stdout } = spawnSync("granule", ["replay", "guest.trace"], {
      cwd: folder,
      env: environment,
      encoding: "utf8",
    });
    expect(stdout).toContain("2 of 2 faults led to the kernel's own operation");
    expect(stdout).toContain("(from the manifest)");
    expect(status).toBe(0);
  });
});
