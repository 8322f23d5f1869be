import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngine, type Granule } from "../../bindings/index.js";
import { htmlReport, type Snapshot, type Story, tableSnapshot, treeFormat } from "../../bindings/report/index.js";
import { type Branch, Branches } from "../../bindings/viewer/report/branches.js";

const EMPTY: Story = { schemaVersion: 1, title: "t", summary: [], facts: [], sections: [] };

function storyIn(html: string): Story {
  const [, packed = ""] = /<script type="text\/plain" id="story">([^<]*)</.exec(html) ?? [];
  return JSON.parse(gunzipSync(Buffer.from(packed, "base64")).toString()) as Story;
}

describe("a report in one file", () => {
  it("holds the story, and shows its words as they are", async () => {
    const story: Story = { ...EMPTY, title: `<b>"&`, summary: ["a < b & c"], facts: [["</dl>", "<script>"]] };
    const html = await htmlReport(story);
    expect(storyIn(html)).toEqual(story);
    expect(html).toContain("<h1>&lt;b&gt;&quot;&amp;</h1>");
    expect(html).toContain("<dt>&lt;/dl&gt;</dt><dd>&lt;script&gt;</dd>");
  });

  it("names the hash of its own code and style in its policy, and forbids everything else", async () => {
    const html = await htmlReport(EMPTY);
    const [, policy = ""] = /Content-Security-Policy" content="([^"]*)"/.exec(html) ?? [];
    const hash = (text = "") => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`style-src ${hash(/<style>(.*?)<\/style>/s.exec(html)?.[1])};`);
    expect(policy).toContain(`script-src ${hash(/<script>(.*?)<\/script>/s.exec(html)?.[1])};`);
    expect(html).not.toMatch(/<(?:link|img|iframe|object)\b|\ssrc=/);
  });

  it("leaves the oldest moments of a table out when a file gets too long, and never the last", async () => {
    const random = (n: number) => Array.from({ length: n }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 0) % 1e6);
    const snapshots = [1, 2, 3].map(
      (i): Snapshot => ({ label: `${i}`, attributes: [], runs: random(150_000 * i), pages: i }),
    );
    const format = {
      stage: "2",
      granule: 4096,
      lpa2: false,
      fwb: true,
      hvhe: false,
      startLevel: 1,
      inputBits: 40,
    } as const;
    const html = await htmlReport({ ...EMPTY, sections: [{ kind: "tree", title: "t", format, snapshots }] });
    const [section] = storyIn(html).sections;
    expect(section?.kind === "tree" ? section.snapshots.map(({ label }) => label) : []).toEqual(["3"]);
  });
});

interface Shown {
  readonly address: bigint;
  readonly level: number;
  readonly descriptor: bigint;
}

/** Every leaf that the boxes stand for. */
function leavesOf(branches: Branches, branch: Branch): Shown[] {
  const { run } = branch;
  if (run !== undefined) {
    const size = branches.size(run.level);
    return Array.from({ length: (run.end - run.start) / size }, (_, i) => ({
      address: BigInt(run.start + i * size),
      level: run.level,
      descriptor: branches.descriptor(run, i),
    }));
  }
  return (branch.children ?? []).flatMap((child) => leavesOf(branches, child));
}

describe("the picture of a table", () => {
  const configs = [
    { granule: 4096, lpa2: false },
    { granule: 4096, lpa2: true },
    { granule: 16384, lpa2: false },
    { granule: 16384, lpa2: true },
    { granule: 65536, lpa2: false },
  ] as const satisfies readonly { granule: Granule; lpa2: boolean }[];
  const operation = fc.record({
    unmaps: fc.boolean(),
    at: fc.nat(2000),
    pages: fc.integer({ min: 1, max: 1500 }),
    pa: fc.nat(4000),
    prot: fc.constantFrom("r", "rw", "rwx"),
  });

  it.each(configs)("has the leaves of the table, bit by bit: %o", ({ granule, lpa2 }) => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 8 }), (operations) => {
        using engine = createEngine();
        const table = engine.createStage2({ granule, lpa2, ipaBits: 40 });
        const high = lpa2 ? 2 ** 49 : 0;
        for (const { unmaps, at, pages, pa, prot } of operations) {
          if (unmaps) table.unmap(at * granule, pages * granule);
          else table.map(at * granule, pages * granule, high + pa * granule, prot);
        }
        const branches = new Branches(treeFormat(table), tableSnapshot(table, ""));
        const root = branches.grow(branches.root(), 6, 0);
        const shown = leavesOf(branches, root);
        const expected = [...table.leaves()].map(({ address, level, descriptor }) => ({ address, level, descriptor }));
        expect(shown).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  it("draws boxes that are too narrow as one, and fills the width", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    for (let i = 0; i < 512; i += 2) table.map(i * 4096, 4096, 0, "rw");
    const branches = new Branches(treeFormat(table), tableSnapshot(table, ""));
    const root = branches.grow(branches.root(), 3, 1 / 50);
    const widths = (branch: Branch): number => (branch.children ?? []).reduce((sum, child) => sum + child.share, 0);
    expect(widths(root)).toBeCloseTo(1);
    const pages = root.children?.[0]?.children?.[0];
    expect(pages && widths(pages)).toBeCloseTo(pages?.share ?? 0);
    expect(pages?.children?.every(({ kind }) => kind === "many")).toBe(true);
    expect(pages?.children?.length).toBeLessThan(50);
  });
});
