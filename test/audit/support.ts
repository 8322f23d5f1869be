// What tests of the judge share: streams of an engine's journal, and logs put together by hand.

import { createHash } from "node:crypto";
import { CASEMATE_OPTIONS, createJudge, type JudgeOptions, type Verdict } from "../../bindings/audit/index.js";
import { createEngine, type Engine, type JournalRecord } from "../../bindings/index.js";

/** Words of a record. */
export const WORDS = 12;

/** Journal records as the judge's words. */
export function wordsOf(records: readonly JournalRecord[]): Uint32Array {
  const words = new Uint32Array(records.length * WORDS);
  const wide = new BigUint64Array(words.buffer);
  for (const [i, r] of records.entries()) {
    words.set([r.kind, r.level, r.table, r.walker], i * WORDS);
    wide.set([r.address, r.a, r.b, r.sequence], (i * WORDS) / 2 + 2);
  }
  return words;
}

/** Everything that an engine did in `body`, from its first table on. */
export function streamOf(body: (engine: Engine) => void): JournalRecord[] {
  using engine = createEngine({ arenaBytes: 8 << 20, journalRecords: 1 << 16 });
  engine.journal.start();
  body(engine);
  return engine.journal.read();
}

export function judgeRecords(records: readonly JournalRecord[], options: JudgeOptions = {}): Verdict {
  const judge = createJudge(options);
  judge.feed(wordsOf(records));
  return judge.finish();
}

export function judgeLog(
  text: string | Uint8Array,
  options: JudgeOptions = CASEMATE_OPTIONS,
  source?: Uint8Array,
): Verdict {
  const judge = createJudge(options, source);
  const log = judge.casemate();
  log.push(typeof text === "string" ? new TextEncoder().encode(text) : text);
  log.end();
  return judge.finish();
}

/** A log from records without id and src: `t1 tlbi vmalle1is`, tid 0 where none is named. */
export function logOf(lines: readonly string[]): string {
  return lines
    .map((line, i) => {
      const [, tid = "0", kind = "", rest = ""] = /^(?:t(\d+) )?(\S+)(.*)$/.exec(line) ?? [];
      return `(${kind} (id ${i}) (tid ${tid})${rest} (src "test:${i}"))`;
    })
    .join("\n");
}

/** The first violation of a log: its kind, and what was missing; ok for none. */
export function firstOf(lines: readonly string[], options: JudgeOptions = CASEMATE_OPTIONS): string {
  const [first] = judgeLog(logOf(lines), options).violations;
  return first === undefined ? "ok" : [first.kind, first.missing].filter((part) => part !== undefined).join(" ");
}

export const ROOT = 0x1_0000_0000;
export const LOCK = "(address 0x100064000)";

/** A stage-2 table with tables down to level 3 at ROOT + 0x1000 * level, loaded by `tids` CPUs, its lock held by CPU 0. */
export function prologue(tids = 1, vtcr = 0x10): string[] {
  const each = (line: string) => Array.from({ length: tids }, (_, t) => `t${t} ${line}`);
  return [
    ...each(`sysreg-write (sysreg vtcr_el2) (value 0x${vtcr.toString(16)})`),
    ...each("sysreg-write (sysreg hcr_el2) (value 0x0)"),
    `mem-init ${at(0)} (size 0x1000)`,
    "hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)",
    ...each("sysreg-write (sysreg vttbr_el2) (value 0x1000100000000)"),
    ...each("sysreg-write (sysreg hcr_el2) (value 0x1)"),
    `lock ${LOCK}`,
    ...[1, 2, 3].flatMap((level) => [
      `mem-init ${at(level * 0x1000)} (size 0x1000)`,
      put((level - 1) * 0x1000, ROOT + level * 0x1000 + 3),
    ]),
  ];
}

/** An empty root at an offset, with a lock of its own. */
export function root(offset: number): string[] {
  const lock = `(location 0x${(ROOT + offset).toString(16)}) (value 0x${(0x99_0000_0000 + offset).toString(16)})`;
  return [`mem-init ${at(offset)} (size 0x1000)`, `hint (kind set_root_lock) ${lock}`];
}

/** CPU `tid` loads the root at an offset under a VMID. */
export function vttbr(offset: number, vmid: number, tid = 0): string[] {
  const value = (BigInt(vmid) << 48n) | BigInt(ROOT + offset);
  return [`t${tid} sysreg-write (sysreg vttbr_el2) (value 0x${value.toString(16)})`, `t${tid} barrier isb`];
}

/** CPU `tid` writes a register. */
export function sysreg(name: string, value: number | bigint, tid = 0): string {
  return `t${tid} sysreg-write (sysreg ${name}) (value 0x${value.toString(16)})`;
}

/** A flush of everything, by one CPU: `op` between its barriers. */
export function flush(op: string, tid = 0): string[] {
  return [`t${tid} barrier dsb (kind ish)`, `t${tid} tlbi ${op}`, `t${tid} barrier dsb (kind ish)`];
}

/** EL2's table at ROOT with tables down to level 3, its lock held by CPU 0; `hcr` and `ttbr` as told. */
export function hypPrologue(hcr = 0, ttbr: number | bigint = ROOT, tcr = 0x10): string[] {
  return [
    sysreg("tcr_el2", tcr),
    sysreg("mair_el2", 0xff),
    sysreg("sctlr_el2", 0),
    sysreg("hcr_el2", hcr),
    `mem-init ${at(0)} (size 0x1000)`,
    "hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)",
    sysreg("ttbr0_el2", ttbr),
    sysreg("sctlr_el2", 1),
    `lock ${LOCK}`,
    ...[1, 2, 3].flatMap((level) => [
      `mem-init ${at(level * 0x1000)} (size 0x1000)`,
      put((level - 1) * 0x1000, ROOT + level * 0x1000 + 3),
    ]),
  ];
}

/** `(address ..)` of an offset from the root. */
export function at(offset: number): string {
  return `(address 0x${(ROOT + offset).toString(16)})`;
}

/** A release write of `value` at an offset from the root. */
export function put(offset: number, value: number | bigint, tid = 0): string {
  return `t${tid} mem-write (mem-order release) ${at(offset)} (value 0x${value.toString(16)})`;
}

/** KVM's flush by IPA, with a hint for level 3. */
export function flushPage(page: number, tid = 0): string[] {
  const value = 0x7000_0000_0000n + BigInt(page);
  return [
    `t${tid} barrier dsb (kind ishst)`,
    `t${tid} tlbi ipas2e1is (value 0x${value.toString(16)})`,
    `t${tid} barrier dsb (kind ish)`,
    `t${tid} tlbi vmalle1is`,
    `t${tid} barrier dsb (kind ish)`,
  ];
}

/** A verdict in a few words, and a sum over all that it says. */
export function brief({ violations, count, open }: Verdict): string {
  const all = violations.map(({ message: _, ...rest }) => rest);
  const text = JSON.stringify([all, count, open], (_, v) => (typeof v === "bigint" ? `${v}` : v));
  const sum = createHash("sha256").update(text).digest("hex").slice(0, 6);
  const [first] = violations;
  if (!first) return `ok, ${open} open`;
  const missing = first.missing === undefined ? "" : ` ${first.missing}`;
  return `${first.kind}${missing}${count > 1 ? ` and ${count - 1} more` : ""} (${sum})`;
}

/** Another VM with tables of its own, and a page at `leaf`. */
export function second(leaf: bigint): string[] {
  return [
    ...root(0x8000),
    ...vttbr(0x8000, 2),
    "lock (address 0x9900008000)",
    ...[1, 2, 3].flatMap((level) => [
      `mem-init ${at(0xb000 + level * 0x1000)} (size 0x1000)`,
      put(level === 1 ? 0x8000 : 0xa000 + level * 0x1000, ROOT + 0xb000 + level * 0x1000 + 3),
    ]),
    put(0xe000, leaf),
  ];
}
