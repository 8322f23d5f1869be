// Replays a dropped trace beside the page, so that the page stays responsive.

import { replayTrace } from "../../replay/replay.js";
import { TraceStory } from "../../replay/story.js";
import type { Story } from "../../report/story.js";

/** What the worker says: how far it is, the report, or why there is none. */
export type Said = { readonly events: number } | { readonly story: Story } | { readonly error: string };

const say = (said: Said) => postMessage(said);

addEventListener("message", async ({ data }: MessageEvent<{ file: File; from: "faults" | "ops" }>) => {
  const { file, from } = data;
  const story = new TraceStory();
  try {
    const report = await replayTrace(file, {
      from,
      name: file.name,
      lenient: true,
      onlookers: [story],
      onProgress: (events) => say({ events }),
    });
    if (report.events === 0) throw new Error("there is no event in it");
    say({ story: story.story(report) });
  } catch (error) {
    say({ error: (error as Error).message });
  }
});
