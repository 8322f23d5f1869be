import type { EngineTicket } from "../tables/engine.js";

/** A piece of a job: one call of the core, or as many as its rows take. Pointers lie in the engine's memory. */
export type Step =
  | { kind: "batch"; pointer: number; rows: number; stop: boolean }
  | {
      kind: "map";
      table: number;
      addresses: number;
      values: number;
      statuses: number;
      rows: number;
      prot: number;
      cache: number;
      flags: number;
    }
  | {
      kind: "relax";
      table: number;
      addresses: number;
      statuses: number;
      rows: number;
      prot: number;
      flags: number;
    }
  | { kind: "leaves"; table: number; addresses: number; values: number; statuses: number; rows: number };

/** Where jobs wait for each other before they begin: a zeroed 32-bit word in the engine's memory, and how many come. */
export interface Gate {
  pointer: number;
  parties: number;
}

/** To a worker. */
export type Request =
  | { type: "join"; ticket: EngineTicket; control: number }
  | { type: "job"; id: number; steps: Step[]; progress: boolean; gate: Gate | undefined }
  | { type: "leave" };

/** From a worker. */
export type Reply =
  | { type: "ready" }
  | { type: "progress"; id: number; done: number }
  | { type: "done"; id: number; results: number[]; started: number; ended: number }
  | { type: "aborted"; id: number; done: number }
  | { type: "failed"; id: number; message: string; errno: number | undefined };
