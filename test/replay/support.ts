import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findManifest, TruthFolder } from "../../bindings/replay/files.js";
import { type ReplayOptions, replayTrace } from "../../bindings/replay/replay.js";
import type { ReplayReport } from "../../bindings/report/replay.js";
import { openFile } from "../../bindings/trace/node.js";

const FOLDER = fileURLToPath(new URL("fixtures/", import.meta.url));

/** Real captures: each a trace, its manifest, and the raw tables of the kernel at its freeze points. */
export const CAPTURES = [
  "A-6.12-4k-vhe-max/dthp-man3",
  "A-6.12-4k-vhe-max/ipa52",
  "B-6.12-4k-vhe-max-smp2/unmap-2v",
  "C-6.12-16k-vhe-max/ipa16k-48",
  "E-6.1-4k-vhe-a76/age",
  "F-7.2custom-4k-vhe-max/pd-unmap",
  "G-7.2custom-64k-vhe-max/pd64k-ipa48",
  "I-7.2-4k-vhe-max/ipa52",
  "J-boot-6.12-4k/Image612-v1-nothp-256m",
  "J-boot-6.12-4k/Image612-v1-thp-256m",
] as const;

export type Capture = (typeof CAPTURES)[number];

/** Path of a capture's trace. */
export function tracePath(capture: Capture): string {
  const path = join(FOLDER, `${capture}.trace.gz`);
  if (!existsSync(path)) throw new Error(`no capture ${capture}`);
  return path;
}

/** Folder of a capture, with its raw tables in `s2`. */
export function folderOf(capture: Capture): string {
  return join(FOLDER, capture.split("/")[0] as string);
}

/** Replays a capture with its manifest and, unless told otherwise, its raw tables. */
export async function replayCapture(capture: Capture, options: ReplayOptions): Promise<ReplayReport> {
  const path = tracePath(capture);
  const manifest = await findManifest(path, undefined);
  const truth = new TruthFolder(folderOf(capture));
  return replayTrace(openFile(path), { name: capture.split("/")[1], manifest, truth, ...options });
}

/** Replays text. */
export function replayText(text: string, options: ReplayOptions = {}): Promise<ReplayReport> {
  return replayTrace(new TextEncoder().encode(text), { arenaBytes: 64 << 20, ...options });
}

let clock = 1;

/** A line of ftrace text. */
export function line(event: string, text: string, pid = 7): string {
  clock += 0.000001;
  return `kvmt-${pid} [000] d.... ${clock.toFixed(6)}: ${event}: ${text}\n`;
}

const hex = (n: number) => `0x${n.toString(16)}`;

/** Lines of the page-table engine's probes. */
export const op = {
  map: (pgt: number, ipa: number, size: number, phys: number, prot = 6, pid = 7) =>
    line(
      "s2_map",
      `(f+0x0/0x1) pgt=${hex(pgt)} ipa=${hex(ipa)} size=${hex(size)} phys=${hex(phys)} prot=${hex(prot)} flags=0x18`,
      pid,
    ),
  mapped: (ret = 0, pid = 7) => line("s2_map_ret", `(g+0x0/0x1 <- f) ret=${ret}`, pid),
  unmap: (pgt: number, ipa: number, size: number, pid = 7) =>
    line("s2_unmap", `(f+0x0/0x1) pgt=${hex(pgt)} ipa=${hex(ipa)} size=${hex(size)}`, pid),
  destroy: (pgt: number) => line("s2_destroy", `(f+0x0/0x1) pgt=${hex(pgt)}`),
};

/** A stage-2 abort: `esr` as ESR_EL2 has it. */
export function fault(ipa: number, esr: number, pid = 7): string {
  return line("kvm_guest_fault", `ipa ${hex(ipa)}, hsr ${hex(esr)}, hxfar ${hex(ipa)}, pc 0x00000000001000`, pid);
}

/** A marker of the VMM. */
export function marker(text: string): string {
  return line("tracing_mark_write", `vmm: ${text}`);
}

/** A slot call with its result. */
export function setRegion(slot: number, flags: number, gpa: number, size: number, hva: number, rc = 0): string {
  return (
    marker(
      `KVM_SET_USER_MEMORY_REGION slot=${slot} flags=${hex(flags)} gpa=${hex(gpa)} size=${hex(size)} hva=${hex(hva)}`,
    ) + marker(`KVM_SET_USER_MEMORY_REGION slot=${slot} rc=${rc} errno=${rc ? 14 : 0}`)
  );
}

/** ESR_EL2 of data aborts, and of an instruction abort. */
export const esr = {
  read: (fsc: number) => 0x93c48000 + fsc,
  write: (fsc: number) => 0x93c48040 + fsc,
  exec: (fsc: number) => 0x82000000 + fsc,
};
