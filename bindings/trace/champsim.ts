// ChampSim's traces: records of 64 bytes, one for each instruction, little-endian, without a header.
//
//   byte  0 ip u64     8 is_branch u8    9 branch_taken u8   10 destination registers u8[2]   12 source registers u8[4]
//        16 destination memory u64[2]   32 source memory u64[4]        an address of 0 is none

import { AccessBatch, type AccessFormatReader, addressOf, FETCH, READ, WRITE } from "./access-batch.js";
import { TraceInputError } from "./errors.js";
import { readBytes } from "./lines.js";

const RECORD = 64;
const IS_BRANCH = 8;
const BRANCH_TAKEN = 9;
const DESTINATIONS = 16;
const SOURCES = 32;

/** Could these be the first records of a trace? Every instruction has an address, and only a branch is taken. */
export function looksLikeChampsim(bytes: Uint8Array): boolean {
  const records = Math.floor(bytes.length / RECORD);
  for (let at = 0; at < records * RECORD; at += RECORD) {
    const branch = bytes[at + IS_BRANCH] as number;
    const taken = bytes[at + BRANCH_TAKEN] as number;
    if (branch > 1 || taken > branch || bytes.subarray(at, at + 8).every((byte) => byte === 0)) return false;
  }
  return records > 0;
}

/** Adds the accesses of the record at `at`. */
function addRecord(view: DataView, at: number, out: AccessBatch): void {
  const word = (from: number) => addressOf(view.getUint32(from + 4, true), view.getUint32(from, true));
  out.add(word(at), FETCH, 1, 0);
  for (let from = at + SOURCES; from < at + RECORD; from += 8) if (word(from) !== 0) out.add(word(from), READ, 1, 0);
  for (let to = at + DESTINATIONS; to < at + SOURCES; to += 8) if (word(to) !== 0) out.add(word(to), WRITE, 1, 0);
}

export const champsim: AccessFormatReader = async function* (source, stats) {
  const batch = new AccessBatch();
  const held = new Uint8Array(RECORD); // a record that lies in two chunks
  let size = 0;
  stats.threads = 1;
  for await (const bytes of readBytes(source)) {
    batch.length = 0;
    const rest = size === 0 ? 0 : Math.min(RECORD - size, bytes.length);
    held.set(bytes.subarray(0, rest), size);
    size += rest;
    if (size === RECORD) {
      addRecord(new DataView(held.buffer), 0, batch);
      size = 0;
      stats.records++;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = rest;
    for (; at + RECORD <= bytes.length; at += RECORD) {
      addRecord(view, at, batch);
      stats.records++;
    }
    held.set(bytes.subarray(at), size);
    size += bytes.length - at;
    if (batch.length > 0) yield batch;
  }
  if (size > 0) {
    const hint = `the trace ends in the middle of record ${stats.records + 1}, after ${size} bytes of ${RECORD}`;
    throw new TraceInputError("truncated", hint);
  }
};
