// What the core and the facade share is written once, in assembly/; the facade gets it from the generator.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { AnswerView, JournalRecordView } from "../../bindings/core/record-views.generated.js";
import { BREACHES, RULES } from "../../bindings/core/rules.generated.js";
import { ScanRecordView, SubmissionView } from "../../bindings/core/table-views.generated.js";
import { Words } from "../../bindings/core/view.js";
import { createEngine } from "../../bindings/index.js";
import { filesBelow, nodes, ROOT, tree } from "./sources.js";

/** The memory as words, under whatever name. */
const WORDS = /^#?(?:u32|i32|u64|words|halves)$/;

function nameOf(node: ts.Expression): string {
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  return ts.isIdentifier(node) ? node.text : "";
}

/** Does an index add a number to where a record lies? That is an offset, typed by hand. */
function addsNumber(index: ts.Expression): boolean {
  if (ts.isParenthesizedExpression(index)) return addsNumber(index.expression);
  if (!ts.isBinaryExpression(index)) return false;
  const { left, right, operatorToken } = index;
  if (operatorToken.kind !== ts.SyntaxKind.PlusToken) return false;
  const [number, other] = ts.isNumericLiteral(right) ? [right, left] : [left, right];
  if (!ts.isNumericLiteral(number)) return addsNumber(left) || addsNumber(right);
  // `2 * i + 1` is the half of an entry, no field of a record.
  return !(ts.isBinaryExpression(other) && other.operatorToken.kind === ts.SyntaxKind.AsteriskToken);
}

function offsetsIn(path: string): string[] {
  return [...nodes(path)].flatMap((node) => {
    if (!ts.isElementAccessExpression(node) || !WORDS.test(nameOf(node.expression))) return [];
    if (!addsNumber(node.argumentExpression)) return [];
    const { line } = tree(path).getLineAndCharacterOfPosition(node.getStart());
    return [`${path}:${line + 1} ${node.getText()}`];
  });
}

describe("the facade", () => {
  it("reads no record by an offset that is typed by hand", () => {
    expect(filesBelow("bindings").flatMap(offsetsIn)).toEqual([]);
  });

  it("casts no module's exports to an interface of its own", () => {
    const casts = filesBelow("bindings").filter((path) => /\.exports as unknown/.test(tree(path).text));
    expect(casts).toEqual(["bindings/core/core.ts"]);
  });
});

describe("generated views", () => {
  it("lie where the core writes: a submission, its answer, a scan and a journal", () => {
    const engine = createEngine({ arenaBytes: 1 << 20, journalRecords: 64 });
    engine.journal.start();
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0x3000, 4096, 0x8000_5000, "rw");
    const submission = new SubmissionView(engine.words, engine.takeBlock(4096));
    submission.op = K.OP_GET_LEAF;
    submission.table = table.handle;
    submission.cache = K.CACHE_ARENA;
    submission.address = 0x3000n;
    submission.level = -7;
    expect([submission.addressLow, submission.addressHigh, submission.level]).toEqual([0x3000, 0, -7]);
    expect(engine.core.submit(submission.at, 1, 1)).toBe(1);
    const { descriptor } = table.leaf(0x3000);
    expect([submission.status, submission.foundLevel, submission.value]).toEqual([0, 3, descriptor]);
    expect(submission.valueHigh * 2 ** 32 + submission.valueLow).toBe(Number(descriptor));
    const [record] = [...table.scan()].map(({ address, level, entries }) => ({ address, level, entries }));
    expect(record).toEqual({ address: 0x3000n, level: 3, entries: 1 });
    expect(engine.journal.read().some((r) => r.kind === K.J_WRITE && r.b === descriptor)).toBe(true);
  });

  it("are as long as the records of the core", () => {
    expect([SubmissionView.BYTES, JournalRecordView.BYTES, ScanRecordView.BYTES]).toEqual([
      K.SUBMIT_BYTES,
      K.JOURNAL_BYTES,
      32,
    ]);
    const view = new AnswerView(new Words(new ArrayBuffer(64)), 24);
    view.value = 1n << 63n;
    view.level = -128;
    expect([view.at, view.value, view.level]).toEqual([24, 1n << 63n, -128]);
  });
});

describe("generated constants", () => {
  it("of 64 bits are bigints, of fewer numbers with their sign", () => {
    expect([K.VTCR_HA, K.INFO_OK]).toEqual([1n << 21n, 1n << 62n]);
    expect([K.EINVAL, K.OP_MAP, K.MAGIC]).toEqual([-22, 1, 0x6e617267]);
  });

  it("have a sentence for each rule that a debug build checks", () => {
    for (const [name, value] of Object.entries(K)) {
      if (name.startsWith("RULE_")) expect(RULES.get(value as number)?.[0]).toBe(name);
      if (name.startsWith("BREACH_")) expect(BREACHES.get(value as number)?.[0]).toBe(name);
    }
    for (const [, words] of [...RULES.values(), ...BREACHES.values()]) expect(words.length).toBeGreaterThan(10);
    expect(RULES.size).toBeGreaterThan(0);
  });
});

describe("the generator", () => {
  it("writes the same files again", () => {
    const folder = join(ROOT, "bindings/core");
    const written = () =>
      readdirSync(folder)
        .filter((name) => name.endsWith(".generated.ts"))
        .map((name) => [name, readFileSync(join(folder, name), "utf8")]);
    const before = written();
    execFileSync(process.execPath, [join(folder, "generate.mjs")], { cwd: ROOT });
    expect(written()).toEqual(before);
  });
});
