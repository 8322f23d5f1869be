/**
 * Workloads on simulated vCPUs, and what they cost. Runs in browsers too.
 *
 * @module
 */

export { type AccessConfig, type AccessReport, runAccesses } from "./accesses.js";
export { COSTS, type Costs, costsOf } from "./cost.js";
export type { RunJudge } from "./judged.js";
export { type DirtyStrategy, type RunConfig, type RunReport, runWorkload } from "./run.js";
export type { Rounds, Stage } from "./stage.js";
export { type ComparedRun, comparisonStory, runStory, type TableShown } from "./story.js";
export { WORKLOADS, type WorkloadKind } from "./workloads.js";
