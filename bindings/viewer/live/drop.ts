// What somebody dropped on the page: told by its content, not by its name.

import type { Granule } from "../../model/granule.js";
import { leafTable } from "../../report/leaf-runs.js";
import { parsePtdump } from "../../report/ptdump-parse.js";
import { snapshotOf } from "../../report/snapshot.js";
import type { Section, Story } from "../../report/story.js";
import { isValidLeaf, parseS2Raw } from "../../trace/s2raw.js";
import type { Said } from "./replay-worker.js";

const HEAD = 4096;

async function head(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  return new TextDecoder().decode(bytes);
}

/** A report of whatever the file is. Throws with a sentence for people where it is nothing that the page reads. */
export async function storyOfFile(file: File, progress: (events: number) => void): Promise<Story> {
  const text = await head(file);
  if (/^# raw stage-2 tables/m.test(text)) return rawStory(file.name, await file.text());
  if (/^---\[|^0x[0-9a-f]+-0x[0-9a-f]+ /m.test(text)) return ptdumpStory(file.name, await file.text());
  return traceStory(file, progress);
}

function plain(title: string, summary: string[], sections: Section[]): Story {
  return { schemaVersion: 1, title, summary, facts: [], sections };
}

function rawStory(name: string, text: string): Story {
  const dump = parseS2Raw(text, name);
  const { ds, startLevel, iaBits } = dump.geometry;
  const granule = dump.geometry.granule as Granule;
  const leaves = [...dump.leaves()]
    .filter(isValidLeaf)
    .map(({ ipa, level, descriptor }) => ({ address: BigInt(ipa), level, descriptor }));
  const format = { stage: "2", granule, lpa2: ds, fwb: true, hvhe: false, startLevel, inputBits: iaBits } as const;
  const snapshot = snapshotOf(leafTable(leaves, format), granule, "as it was dumped", dump.tables.length);
  return plain(
    name,
    [`${leaves.length} leaves in ${dump.tables.length} tables.`],
    [{ kind: "tree", title: "The table", note: "Raw tables of a running kernel.", format, snapshots: [snapshot] }],
  );
}

function ptdumpStory(name: string, text: string): Story {
  const { title, runs } = parsePtdump(text);
  return plain(
    name,
    [title],
    [
      {
        kind: "table",
        title: "The mappings",
        note: "A ptdump does not say where a range leads.",
        columns: [
          { name: "from", unit: "address" },
          { name: "to", unit: "address" },
          { name: "level" },
          { name: "attributes" },
        ],
        rows: runs.map(({ start, end, level, columns }) => [Number(start), Number(end), level, columns]),
      },
    ],
  );
}

function traceStory(file: File, progress: (events: number) => void): Promise<Story> {
  const worker = new Worker(new URL("./replay-worker.ts", import.meta.url), { type: "module" });
  return new Promise<Story>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<Said>) => {
      if ("events" in data) progress(data.events);
      else if ("story" in data) resolve(data.story);
      else reject(new Error(data.error));
    });
    worker.addEventListener("error", (event) => reject(new Error(event.message || "the worker could not start")));
    worker.postMessage({ file, from: "faults" });
  }).finally(() => worker.terminate());
}
