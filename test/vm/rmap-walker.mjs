// A walker of a VM on a thread of its own: calls exports of the module as it is told (rmap-threads.ts), and stops at the schedule point
// that it is told.

import { parentPort, workerData } from "node:worker_threads";
import { instantiateVm } from "../../dist/bindings/core/vm-core.js";
import { joinEngine } from "../../dist/bindings/index.js";
import { mulberry32 } from "../support/mulberry.mjs";

const [KIND, POINTER, NTH, STATE] = [0, 1, 2, 3];
const STOPPED = 1;

const control = new Int32Array(workerData.control);
const { ticket } = workerData;
const engine = joinEngine(ticket.engine);
const core = instantiateVm(ticket.module, engine.memory, engine.offset, engine.hosts);
engine.check(core.vmAttach(engine.walker), "join");

engine.hosts.point = (kind, pointer) => {
  if (Atomics.load(control, KIND) !== kind) return;
  const wanted = Atomics.load(control, POINTER) >>> 0;
  if ((wanted !== 0 && wanted !== pointer >>> 0) || Atomics.sub(control, NTH, 1) !== 1) return;
  Atomics.store(control, KIND, 0);
  Atomics.store(control, STATE, STOPPED);
  while (Atomics.load(control, STATE) === STOPPED) Atomics.wait(control, STATE, STOPPED);
};

const verbs = {
  leave: () => engine.close(),
  /** `n` random removals: a page or a part of a shadow goes and comes back, or the host changes memory. How many statuses were errors. */
  remove(n, seed, { shadow, ipaPages, gpa, pages, hva, page }) {
    const random = mulberry32(seed);
    const below = (m) => random() % m;
    const statuses = {};
    const note = (name, status) => {
      const key = `${name} ${Math.min(status, 0)}`;
      statuses[key] = (statuses[key] ?? 0) + 1;
    };
    for (let i = 0; i < n; i++) {
      const from = below(pages);
      const size = (1 + below(Math.min(pages - from, 8))) * page;
      const ipa = below(ipaPages - 8) * page;
      const what = below(8);
      if (what < 3) note("map", core.vmMapShadow(ticket.vm, shadow, ipa, gpa + from * page, size, 3));
      else if (what < 6) note("unmap", core.vmDropShadow(ticket.vm, shadow, ipa, size));
      else if (what === 6)
        note("invalidate", core.vmInvalidate(ticket.vm, hva + from * page, hva + from * page + size));
      else note("age", core.vmAge(ticket.vm, hva + from * page, hva + from * page + size, 1));
    }
    return statuses;
  },
  /** Runs accesses of a CPU whose record was set up by the main thread. */
  run: (cpu, n) => core.machineRun(ticket.machine, cpu, n),
};

parentPort.on("message", ({ id, method, args }) => {
  try {
    const value = method in verbs ? verbs[method](...args) : core[method](ticket.vm, ...args);
    parentPort.postMessage({ id, value });
  } catch (error) {
    const { message, stack, code } = error;
    parentPort.postMessage({ id, error: { message, stack, code: code ?? "" } });
  }
});
