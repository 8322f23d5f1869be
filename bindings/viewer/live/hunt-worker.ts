// Looks for a schedule that breaks a rule, beside the page.

import type { ExploreBuild } from "../../explore/build.js";
import { explore } from "../../explore/explore.js";
import { CATCHES } from "../../explore/scenarios/catches.js";
import { scenario } from "../../explore/scenarios/index.js";

/** What is looked for. */
export interface Hunt {
  readonly scenario: string;
  readonly flaw: string | undefined;
  readonly build: ExploreBuild | undefined;
}

/** How far it is, a schedule that breaks a rule, or how many states were seen without one. */
export type Caught =
  | { readonly states: number }
  | { readonly replay: string }
  | { readonly complete: boolean; readonly seen: number }
  | { readonly error: string };

const say = (caught: Caught) => postMessage(caught);

/** States at most: some seconds, and some 100 MB. */
const LIMIT = 200_000;

addEventListener("message", async ({ data }: MessageEvent<Hunt>) => {
  const known = data.flaw === undefined ? undefined : CATCHES[data.flaw];
  try {
    const { violations, complete, states } = await explore(scenario(data.scenario), {
      build: data.build,
      flaw: data.flaw,
      first: true,
      limit: LIMIT,
      deaths: known?.deaths ? "atomics" : undefined,
      progress: (n) => say({ states: n }),
    });
    const [first] = violations;
    say(first === undefined ? { complete, seen: states } : { replay: first.replay });
  } catch (error) {
    say({ error: (error as Error).message });
  }
});
