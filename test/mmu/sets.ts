// The recorded sets of translations, packed: four families, each a brotli file of lines (a head, answers, changed words)
// and one of images, end to end.

import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import type { ChangedWord, SetAnswer, SetManifest } from "../../bindings/conform/translations.js";

export const FAMILIES = ["hyp", "s2-4K", "s2-16K", "s2-64K"] as const;

export interface RecordedSet {
  readonly set: string;
  readonly manifest: SetManifest;
  readonly image: Uint8Array;
  readonly answers: readonly SetAnswer[];
  readonly words: readonly ChangedWord[];
}

interface Head {
  readonly set: string;
  readonly manifest: SetManifest;
  readonly bytes: number;
  readonly answers: number;
  readonly words: number;
}

function unpacked(name: string): Buffer {
  return brotliDecompressSync(readFileSync(new URL(`vectors/${name}.br`, import.meta.url)));
}

/** The sets of a family. */
export function* recordedSets(family: (typeof FAMILIES)[number]): Generator<RecordedSet> {
  const lines = unpacked(`${family}.jsonl`).toString("utf8").trimEnd().split("\n");
  const images = unpacked(`${family}.images`);
  let line = 0,
    at = 0;
  const take = <T>(n: number): T[] => {
    line += n;
    return lines.slice(line - n, line).map((text) => JSON.parse(text) as T);
  };
  while (line < lines.length) {
    const [head] = take<Head>(1) as [Head];
    const answers = take<SetAnswer>(head.answers),
      words = take<ChangedWord>(head.words);
    at += head.bytes;
    yield { set: head.set, manifest: head.manifest, image: images.subarray(at - head.bytes, at), answers, words };
  }
}
