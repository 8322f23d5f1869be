// granule/explore: every interleaving of a small scenario, on the core that ships or on a protocol of yours. See docs/explore.md.

export type { AccessKind, ExploreBuild, Site } from "./build.js";
export { Breach, EngineWorld, type Operation, type TableConfig } from "./engine-world.js";
export { type ExploreOptions, type ExploreResult, type ExploreViolation, explore, type LeftSearch } from "./explore.js";
export { litmus } from "./litmus.js";
export * from "./operations.js";
export type { Order, WeakModel } from "./orders.js";
export {
  type Access,
  type AccessOptions,
  type Protocol,
  type ProtocolWalker,
  protocol,
  type Request,
  type Shared,
} from "./protocol.js";
export { type Replayed, replay } from "./replay.js";
export { type EngineScenario, engineScenario, type Scenario } from "./scenario.js";
export { SCENARIOS, scenario } from "./scenarios/index.js";
export { type Back, formatReplay, parseReplay, type Replay, type Schedule } from "./schedule.js";
export { formatTrace, type TraceLine } from "./trace.js";
export { changeHost, hostAge, readLog, run } from "./vm-operations.js";
export { type VmScenario, vmScenario } from "./vm-scenario.js";
export { type CpuWork, hostAddress, RAM, type VmConfig, VmWorld } from "./vm-world.js";
export type { World } from "./world.js";
