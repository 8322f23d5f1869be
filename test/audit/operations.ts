// What single walkers do before the judge.

import type { Engine } from "../../bindings/index.js";

const MB2 = 2 << 20;
const KB4 = 4096;

/** Operations by name, each on what it maps before. */
export const OPERATIONS: Readonly<Record<string, (engine: Engine) => void>> = {
  "map over a block": (e) => {
    const t = e.createStage2();
    t.map(0, MB2, 0, "rw");
    t.map(0, MB2, MB2, "rw");
  },
  "map a page into a block": (e) => {
    const t = e.createStage2();
    t.map(0, MB2, 0, "rw");
    t.map(KB4, KB4, MB2, "rw");
  },
  "map a block over a table": (e) => {
    const t = e.createStage2();
    t.map(0, 3 * KB4, 0, "rw");
    t.map(0, MB2, MB2, "rw");
  },
  "the same without range TLBI": (e) => {
    const t = e.createStage2({ tlbiRange: false });
    t.map(0, 3 * KB4, 0, "rw");
    t.map(0, MB2, MB2, "rw");
  },
  "unmap pages, deferred": (e) => {
    const t = e.createStage2();
    t.map(0, 3 * KB4, 0, "rw");
    t.unmap(0, 3 * KB4);
  },
  "unmap pages, at once": (e) => {
    const t = e.createStage2({ fwb: false });
    t.map(0, 3 * KB4, 0, "rw");
    t.unmap(KB4, KB4);
  },
  "unmap and map again": (e) => {
    const t = e.createStage2({ forcePte: "all" });
    t.map(0, 2 * KB4, 0, "rw");
    t.unmap(0, KB4);
    t.map(0, KB4, MB2, "rw");
  },
  "split a block": (e) => {
    const t = e.createStage2();
    t.map(0, MB2, 0, "rw");
    t.split(0, MB2);
  },
  "write-protect, then flush": (e) => {
    const t = e.createStage2();
    t.map(0, 2 * KB4, 0, "rw");
    t.wrprotect(0, 2 * KB4);
    t.flushTlbRange(0, 2 * KB4);
  },
  "set an owner": (e) => {
    const t = e.createStage2();
    t.map(0, KB4, 0, "rw");
    t.setOwner(0, KB4, 1);
  },
  "relax permissions": (e) => {
    const t = e.createStage2();
    t.map(0, KB4, 0, "r");
    t.relaxPerms(0, "w");
  },
  "annotate, and unmap": (e) => {
    const t = e.createStage2();
    t.map(0, 2 * KB4, 0, "rw");
    t.setOwner(0, 2 * KB4, 1);
    t.map(0, KB4, MB2, "rw");
  },
  "hyp map": (e) => {
    const t = e.createHyp({ vaBits: 48 });
    t.map(KB4, KB4, 0, "rw");
  },
  destroy: (e) => {
    const t = e.createStage2();
    t.map(0, 2 * KB4, 0, "rw");
    t.unmap(0, KB4);
    t.close();
  },
  "hyp unmap, and map again": (e) => {
    const t = e.createHyp({ vaBits: 48 });
    t.map(KB4, KB4, 0, "rw");
    t.unmap(KB4, KB4);
    t.map(0, MB2, 0, "rw");
  },
  "hyp unmap": (e) => {
    const t = e.createHyp({ vaBits: 48 });
    t.map(KB4, 2 * KB4, 0, "rw");
    t.unmap(KB4, KB4);
  },
  "hyp unmap a block": (e) => {
    const t = e.createHyp({ vaBits: 48 });
    t.map(MB2, 2 * MB2, 0, "rw");
    t.unmap(MB2, MB2);
  },
  "64K, a page into a block": (e) => {
    const t = e.createStage2({ granule: 65536 });
    t.map(0, 512 << 20, 0, "rw");
    t.map(0, 65536, 512 << 20, "rw");
  },
  "shared, a table retired": (e) => {
    const t = e.createStage2();
    t.map(KB4, KB4, MB2, "rw", { shared: true });
    t.map(0, MB2, 0, "rw", { shared: true });
  },
  "shared walks": (e) => {
    const t = e.createStage2();
    t.map(0, MB2, 0, "rw", { shared: true });
    t.map(KB4, KB4, MB2, "rw", { shared: true });
  },
};
