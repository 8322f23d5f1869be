import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findManifest } from "../../bindings/replay/files.js";
import { type ReplayOptions, replayTrace } from "../../bindings/replay/replay.js";
import { TraceStory } from "../../bindings/replay/story.js";
import type { ReplayReport } from "../../bindings/report/replay.js";
import type { Section, Story } from "../../bindings/report/story.js";
import { openFile } from "../../bindings/trace/node.js";
import { ROOT } from "../house/sources.js";

const FOLDER = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k");

async function told(name: string, options: ReplayOptions = {}): Promise<{ story: Story; report: ReplayReport }> {
  const path = join(FOLDER, `${name}.trace.gz`);
  const onlooker = new TraceStory();
  const manifest = await findManifest(path, undefined);
  const report = await replayTrace(openFile(path), {
    manifest,
    onlookers: [onlooker],
    ...options,
  });
  return { story: onlooker.story(report), report };
}

function sectionOf<K extends Section["kind"]>(story: Story, kind: K, title: string): Extract<Section, { kind: K }> {
  const found = story.sections.find((section) => section.kind === kind && section.title === title);
  if (found === undefined) throw new Error(`no section ${title}: ${story.sections.map((s) => s.title).join(", ")}`);
  return found as Extract<Section, { kind: K }>;
}

const sum = (numbers: readonly (number | null)[]): number => numbers.reduce((a: number, b) => a + (b ?? 0), 0);

describe.each(["faults", "ops"] as const)("the report of a boot, replayed from its %s", (from) => {
  it("has the counts of the replay, and the table that it made", async () => {
    const { story, report } = await told("Image612-v1-nothp-256m", { from });
    const { report: alone } = await told("Image612-v1-nothp-256m", { from, onlookers: [] });
    // Looking on changes nothing.
    expect(report.table).toEqual(alone.table);
    expect(report.operations).toEqual(alone.operations);

    const faults = sectionOf(story, "chart", "Faults over time");
    expect(faults.series.reduce((n, { values }) => n + sum(values), 0)).toBe(report.faults.total);
    const heat = sectionOf(story, "heatmap", "Where the guest stopped, and when");
    const drawn = heat.layers.filter(({ name }) => name !== "unmapped by the host");
    expect(drawn.reduce((n, { cells }) => n + sum(cells.filter((_, i) => i % 3 === 2)), 0)).toBe(report.faults.total);
    const pages = sectionOf(story, "chart", "Table pages over time").series[0]?.values ?? [];
    expect(Math.max(...pages.map((n) => n ?? 0))).toBe(report.table.peakPages);

    const tree = sectionOf(story, "tree", "The table");
    const last = tree.snapshots.at(-1);
    const leaves: Record<string, number> = {};
    for (let i = 0; i < (last?.runs.length ?? 0); i += 5)
      leaves[last?.runs[i + 2] ?? 0] = (leaves[last?.runs[i + 2] ?? 0] ?? 0) + (last?.runs[i + 1] ?? 0);
    expect(leaves).toEqual(report.table.leaves);
    expect(last?.pages).toBe(report.table.pages);
    expect(tree.snapshots.length).toBeGreaterThan(2);
  });
});
