import { type Engine, joinEngine } from "../tables/engine.js";
import type { Request } from "./protocol.js";
import { Runner } from "./runner.js";
import type { Thread, ThreadEvents } from "./thread.js";

/** Lets everything else have a turn. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** Where there are no threads: a walker on this one, which works a chunk at a time and lets others on in between. */
export function startCooperative(events: ThreadEvents): Thread {
  let engine: Engine | undefined;
  let runner: Runner | undefined;
  let gone = false;
  const work = async (request: Extract<Request, { type: "job" }>): Promise<void> => {
    await turn();
    const job = (runner as Runner).job(request.id, request.steps); // no gate: nobody else could come
    for (let next = job.next(); !gone; next = job.next()) {
      if (next.done) return events.onReply(next.value);
      if (request.progress) events.onReply({ type: "progress", id: request.id, done: next.value });
      await turn();
    }
  };
  return {
    post(request) {
      if (request.type === "job") void work(request);
      else if (request.type === "leave") engine?.close();
      else {
        engine = joinEngine(request.ticket);
        runner = new Runner(engine, request.control);
      }
      if (request.type !== "job") queueMicrotask(() => events.onReply({ type: "ready" }));
    },
    terminate() {
      gone = true; // as a thread that ends: whoever buries it gives back what its walker holds
      events.onDeath(new Error("stopped"));
    },
    idle() {},
  };
}
