// IPA:SIZE:PA:PROT, the mappings of `granule make`.

import { hex } from "../model/address.js";
import { Prot, protFromNames, protNames, toProt } from "../model/protection.js";
import { printableShort } from "../report/printable.js";
import { type CommandIo, InputError, UsageError } from "./command.js";
import { inputName, readLines } from "./input.js";
import { parseSize } from "./numbers.js";

/** One mapping that is asked for. */
export interface Spec {
  /** As it was written. */
  readonly text: string;
  readonly address: bigint;
  readonly size: bigint;
  readonly pa: bigint;
  readonly prot: number;
}

/** How a table limits its mappings. */
export interface SpecLimits {
  readonly granule: number;
  /** Bits of an input address, and how these are called. */
  readonly inputBits: number;
  readonly inputName: string;
  readonly outputBits: number;
}

const NAMES = protNames(Object.values(Prot).reduce((all, bit) => all | bit, 0));
const PARTS = ["the address", "the size", "the output address"];

/** Letters (rw), or names of the library joined by + (R+W+SW0); undefined for anything else. */
function parseProt(text: string): number | undefined {
  let prot = 0;
  for (const part of text.split("+")) {
    const name = NAMES.find((one) => one === part.toUpperCase());
    // A single letter is the same either way.
    if (name !== undefined) prot |= protFromNames([name]);
    else if (/^[rwxdn-]+$/.test(part)) prot |= toProt(part);
    else return undefined;
  }
  return prot;
}

/** Reads one SPEC; what is wrong with it is told as `problem`. */
function parseSpec(text: string, wrong: (problem: string) => Error): Spec {
  const parts = text.split(":");
  const problem = (what: string) => wrong(`${printableShort(text)}: ${what}`);
  if (parts.length !== 4) throw problem("a mapping is IPA:SIZE:PA:PROT, such as 0x40000000:4M:0x80000000:rw");
  const [address, size, pa] = parts.slice(0, 3).map((part, i) => {
    const value = parseSize(part);
    if (value === undefined)
      throw problem(`${PARTS[i]} is ${printableShort(part)}: write hex with 0x, or decimal, and K, M, G or T behind`);
    return value;
  }) as [bigint, bigint, bigint];
  const prot = parseProt(parts[3] as string);
  if (prot === undefined)
    throw problem(
      `the protection is ${printableShort(parts[3] as string)}: give letters (r w x, d device, n non-cacheable), or names joined by + (${NAMES.join(" ")})`,
    );
  return { text, address, size, pa, prot };
}

/** The mappings of the command line; `-` stands for those of standard input, one a line, # begins a comment. */
export async function readSpecs(operands: readonly string[], io: CommandIo): Promise<Spec[]> {
  const specs: Spec[] = [];
  for (const text of operands) {
    if (text !== "-") {
      specs.push(parseSpec(text, (problem) => new UsageError(problem)));
      continue;
    }
    let n = 0;
    for await (const lines of readLines("-", io)) {
      for (const line of lines) {
        n++;
        const plain = line.replace(/#.*/, "").trim();
        if (plain !== "")
          specs.push(parseSpec(plain, (problem) => new InputError(`${inputName("-")}:${n}: ${problem}`)));
      }
    }
  }
  return specs;
}

/** UsageError for a mapping that the table cannot have, with the value and the limit. */
export function checkSpec(spec: Spec, limits: SpecLimits): void {
  const { text, address, size, pa } = spec;
  const { granule, inputBits, inputName, outputBits } = limits;
  const fail = (problem: string) => {
    throw new UsageError(`${printableShort(text)}: ${problem}`);
  };
  if (size === 0n) fail("the size is 0");
  [address, size, pa].forEach((value, i) => {
    if (value % BigInt(granule) !== 0n)
      fail(`${PARTS[i]} ${hex(value)} is not a multiple of the page size, ${granule / 1024}K`);
  });
  const inputEnd = 1n << BigInt(inputBits),
    outputEnd = 1n << BigInt(outputBits);
  if (address + size > inputEnd)
    fail(`it ends at ${hex(address + size)}, but ${inputBits}-bit ${inputName}s end at ${hex(inputEnd)} (--ipa-bits)`);
  if (pa + size > outputEnd)
    fail(`its output ends at ${hex(pa + size)}, but ${outputBits}-bit addresses end at ${hex(outputEnd)} (--pa-bits)`);
}

/** UsageError for two mappings that overlap: a table has one answer for an address. */
export function checkApart(specs: readonly Spec[]): void {
  const sorted = [...specs].sort((a, b) => (a.address < b.address ? -1 : 1));
  for (const [i, spec] of sorted.entries()) {
    const next = sorted[i + 1];
    const end = spec.address + spec.size;
    if (next && next.address < end)
      throw new UsageError(
        `${printableShort(spec.text)} ends at ${hex(end)} and overlaps ${printableShort(next.text)}`,
      );
  }
}
