// The pages of docs/formats: their examples are read by the readers that they are for, and their tables are complete.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../bindings/cli/registry.js";
import { commandHelp, overview } from "../../bindings/cli/run.js";
import { parseHeader } from "../../bindings/conform/format.js";
import { performScript, runVectors } from "../../bindings/conform/run.js";
import { OPERATIONS } from "../../bindings/conform/scenario.js";
import { isChangedWord, isQuery, optionsOf, type SetManifest } from "../../bindings/conform/translations.js";
import { createEngine } from "../../bindings/index.js";
import { createMmu } from "../../bindings/mmu/index.js";
import { isAccessFormat, parseManifest, parseS2Raw, readAccesses } from "../../bindings/trace/index.js";
import { filesBelow, text } from "../house/sources.js";
import { dryPack } from "../package/packed.js";

/** The fenced block of a page whose info string is `info`. */
function block(page: string, info: string): string {
  const [, code] = new RegExp(`\`\`\`${info}\\n(.*?)\`\`\``, "s").exec(text(`docs/formats/${page}`)) ?? [];
  if (code === undefined) throw new Error(`${page} has no block ${info}`);
  return code;
}

/** The words in back quotes of the first column of the tables below a heading. */
function rows(page: string, heading: string): string[] {
  const [, section = ""] = text(`docs/formats/${page}`).split(`## ${heading}\n`);
  const lines = (section.split("\n## ")[0] ?? "").split("\n").filter((line) => line.startsWith("| `"));
  return lines.flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map(([, word = ""]) => word));
}

describe("operations files", () => {
  const script = block("operations.md", "jsonl script");
  const [head = ""] = script.split("\n");
  const recorded = `${head}\n${block("operations.md", "jsonl recorded")}`;
  const compare = (file: string) =>
    runVectors("example", file, { createEngine, createHash: () => createHash("sha256") });

  it("are performed without results", () => {
    const { scenario, ops, refused } = performScript(script, { createEngine });
    expect([ops, refused, scenario.table.countLeaves()]).toEqual([2, 0, 2]);
    scenario[Symbol.dispose]();
  });

  it("are compared where they are recorded: each result, and the whole table", () => {
    expect(compare(recorded)).toMatchObject({ ops: 2, passed: 2, failed: 0, failures: [] });
    const wrong = recorded.replace('"mc_left":7', '"mc_left":6').replace("0040000100000759 -", "0040000100000759 1");
    expect(compare(wrong).failures.map(({ field }) => field)).toEqual(["mc_left", "dump"]);
    const lacking = compare(recorded.replace('"alloc":1,', ""));
    expect(lacking.failures.map(({ field }) => field)).toEqual(["alloc"]);
    for (const field of ["ret", "alloc", "free", "live", "pgd_rc", "mc_left", "warn", "events", "sha256"])
      expect(text("docs/formats/operations.md")).toContain(`\`${field}\``);
  });

  it("have every key of the header and every operation on their page", () => {
    const header = JSON.parse(head) as Record<string, unknown>;
    const keys = rows("operations.md", "The header");
    expect(keys).toEqual(expect.arrayContaining(Object.keys(header)));
    expect(rows("operations.md", "The operations").sort()).toEqual(Object.keys(OPERATIONS).sort());
    for (const key of Object.keys(header)) {
      const { [key]: _, ...rest } = header;
      expect(() => parseHeader(JSON.stringify(rest)), key).toThrow();
    }
  });
});

describe("memory accesses", () => {
  it.each([
    ["lackey", 5, 1],
    ["drmemtrace", 3, 2],
    ["csv", 3, 2],
  ] as const)("of %s are what the page says", async (format, accesses, threads) => {
    const reader = readAccesses(new TextEncoder().encode(block("accesses.md", `text ${format}`)));
    for await (const batch of reader) expect(batch.length).toBe(accesses);
    expect([reader.format, reader.stats.accesses, reader.stats.threads]).toEqual([format, accesses, threads]);
  });

  it("have all formats in the table", () => {
    const table = [...text("docs/formats/accesses.md").matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(table.filter((name) => isAccessFormat(name as string))).toEqual(table);
    expect(table).toHaveLength(4);
  });
});

describe("sets", () => {
  it.each(["stage2", "hyp"])("have a manifest that makes an MMU (%s)", (stage) => {
    const manifest = JSON.parse(block("sets.md", `json ${stage}`)) as SetManifest;
    const image = new Uint8Array(4096);
    using mmu = createMmu(optionsOf(manifest, image));
    expect(manifest.stage).toBe(stage);
    expect(mmu.translate(0).ok).toBe(false); // an empty table
    for (const name of Object.keys(manifest).filter((key) => key !== "fwb")) {
      const { [name as "stage"]: _, ...rest } = manifest;
      expect(() => optionsOf(rest as SetManifest, image), name).toThrow();
    }
  });

  it("have questions and changed words of the form that is read", () => {
    const lines = (info: string) =>
      block("sets.md", info)
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as object);
    expect(lines("jsonl queries").every(isQuery)).toBe(true);
    expect(lines("jsonl changes").every(isChangedWord)).toBe(true);
  });
});

describe("manifests", () => {
  const example = block("manifest.md", "json manifest");

  it("are read; the example is complete, and needs nearly all that it has", () => {
    const manifest = parseManifest(example);
    expect(manifest).toMatchObject({ granule: 4096, numbering: "6.x", vcpus: 1 });
    expect(manifest.features).toMatchObject({ rangeTlbi: true, fwb: false, vhe: true });
    expect(manifest.slotCalls).toHaveLength(1);
    const fields = JSON.parse(example) as Record<string, unknown>;
    for (const name of Object.keys(fields).filter((key) => key !== "kvm_dmesg")) {
      const { [name]: _, ...rest } = fields;
      expect(() => parseManifest(JSON.stringify(rest)), name).toThrow(new RegExp(name));
    }
  });

  it("may have the backing, the capabilities and the features that the page names", () => {
    const page = text("docs/formats/manifest.md");
    const fields = JSON.parse(example) as Record<string, unknown>;
    const whole = JSON.stringify({
      ...fields,
      backing: ["anon hva=0x1000 size=0x1000 madvise=HUGEPAGE rc=0", "hugetlb shift=21 hva=0x200000 size=0x200000"],
      enable_caps: ["EAGER_SPLIT_CHUNK_SIZE=2097152 rc=0", "MANUAL_DIRTY_LOG_PROTECT2=3 rc=0"],
      kvm_dmesg: [
        "Stage-2 Force Write-Back",
        "52-bit Virtual Addressing for KVM (LPA2)",
        "Hardware dirty bit management",
        "IPA Size Limit: 52 bits",
      ],
    });
    const manifest = parseManifest(whole);
    expect(manifest.features).toMatchObject({ fwb: true, lpa2: true, hardwareDirty: true, ipaLimit: 52 });
    expect([manifest.eagerSplit, manifest.manualDirtyLog, manifest.backing.length]).toEqual([2 << 20, 3, 2]);
    for (const words of ["Stage-2 Force Write-Back", "EAGER_SPLIT_CHUNK_SIZE=2097152 rc=0", "hugetlb shift=21"])
      expect(page).toContain(words);
  });
});

describe("raw tables", () => {
  it("are read as the example says", () => {
    const dump = parseS2Raw(block("raw-tables.md", "s2raw"), "demo.start.cpu01.s2raw");
    expect(dump).toMatchObject({ scenario: "demo", point: "start", cpu: 1 });
    expect([...dump.registers.keys()]).toEqual(["VTTBR_EL2", "VTCR_EL2"]);
    expect([...dump.leaves()].map(({ ipa, level }) => [ipa, level])).toEqual([
      [0x3000, 3],
      [0x20_0000, 2],
    ]);
  });
});

describe("the pages that a command names", () => {
  it("are in the package, and the commands that read such files name them", () => {
    const packed = new Set(dryPack().files.map(({ path }) => path));
    const helps = [overview(), ...COMMANDS.map(commandHelp)];
    const named = helps.flatMap((help) => [...help.matchAll(/docs\/[\w/.-]*\w/g)].map(([path]) => path));
    expect(named.length).toBeGreaterThan(6);
    for (const path of named) {
      expect(
        [...packed].some((file) => file === path || file.startsWith(`${path}/`)),
        path,
      ).toBe(true);
    }
    for (const page of filesBelow("docs/formats", [".md"])) {
      expect(packed.has(page), page).toBe(true);
      if (!page.endsWith("README.md")) expect(named, page).toContain(page);
    }
    expect(helps.join("\n")).not.toMatch(/FORMAT\.md/);
  });
});
