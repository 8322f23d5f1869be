import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type ByteSource,
  readBlocks,
  readTrace,
  type TraceEvent,
  TraceInputError,
  TraceSyntaxError,
} from "../../bindings/trace/index.js";
import { openFile } from "../../bindings/trace/node.js";
import { HEAD } from "./lines-of-text.js";

const FIXTURE = new URL("fixtures/ipa40-6.12-4k.trace.gz", import.meta.url);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

async function eventsOf(source: ByteSource): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  for await (const batch of readTrace(source)) events.push(...batch);
  return events;
}

async function textOf(source: ByteSource): Promise<string> {
  let text = "";
  for await (const block of readBlocks(source)) text += block;
  return text;
}

function inChunks(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

function streamOf(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller): void {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function* generated(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function inputError(source: ByteSource): Promise<TraceInputError> {
  const error: unknown = await textOf(source).then(
    () => "nothing",
    (cause) => cause,
  );
  expect(error).toBeInstanceOf(TraceInputError);
  return error as TraceInputError;
}

describe("a file", () => {
  it("that is a folder fails with Node's error and its name", async () => {
    const folder = fileURLToPath(new URL("fixtures", import.meta.url));
    await expect(textOf(openFile(folder))).rejects.toMatchObject({ code: "EISDIR", path: folder });
  });
});

/** Node's own gunzip, and what browsers have, which Node has too. */
const UNPACKERS = ["node:zlib", "DecompressionStream"] as const;

function unpackWith(unpacker: (typeof UNPACKERS)[number]): void {
  beforeEach(() => {
    if (unpacker === "node:zlib") return;
    vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined as never);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
}

describe.each(UNPACKERS)("sources, unpacked with %s", (unpacker) => {
  unpackWith(unpacker);
  const lines = Array.from({ length: 5000 }, (_, i) => `${HEAD}kvm_entry: PC: 0x${i.toString(16)}`);
  const text = `${lines.join("\r\n")}\n`;
  const bytes = bytesOf(text);
  const packed = new Uint8Array(gzipSync(bytes));
  const sources: readonly [string, () => ByteSource][] = [
    ["bytes", () => bytes],
    ["gzipped bytes", () => packed],
    ["an array of chunks", () => inChunks(bytes, 1000)],
    ["a stream", () => streamOf(inChunks(bytes, 70_000))],
    ["a gzipped stream", () => streamOf(inChunks(packed, 100))],
    ["single bytes of gzip", () => generated(inChunks(packed, 1))],
    ["an async iterable", () => generated(inChunks(bytes, 3333))],
  ];

  it.each(sources)("%s", async (_name, source) => {
    expect(await textOf(source())).toBe(text);
    const events = await eventsOf(source());
    expect(events).toHaveLength(5000);
    expect(events[4999]).toMatchObject({ line: 5000, pc: 4999n });
  });

  it("an empty one and one of a single byte", async () => {
    expect(await eventsOf([])).toEqual([]);
    expect(await eventsOf(new Uint8Array([10]))).toEqual([]);
  });

  it("blocks are whole lines, and small however large the chunks are", async () => {
    const long = bytesOf(text.repeat(4));
    const blocks: string[] = [];
    for await (const block of readBlocks(long)) blocks.push(block);
    expect(blocks.join("")).toBe(text.repeat(4));
    expect(blocks.length).toBeGreaterThan(4);
    expect(blocks.filter((block) => block.length > 1 << 17 || !block.endsWith("\n"))).toEqual([]);
  });

  it("gzip data is given up when reading stops early", async () => {
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* inChunks(packed, 1000);
      } finally {
        end();
      }
    }
    for await (const batch of readTrace(endless())) {
      expect(batch.length).toBeGreaterThan(0);
      break;
    }
    await ended;
  });

  it("no character is split between blocks", async () => {
    const names = `${"é€𝄞".repeat(40_000)}\n`.repeat(2);
    expect(await textOf(inChunks(bytesOf(names), 4097))).toBe(names);
  });

  it("a file, gzipped", async () => {
    const trace = readTrace(openFile(FIXTURE));
    let count = 0;
    for await (const batch of trace) count += batch.length;
    expect(count).toBe(476);
    expect(trace.stats.events.get("s2_map")).toBe(92);
  });

  it("a stream is given up when reading stops early", async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(bytes),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const batch of readTrace(endless)) {
      expect(batch.length).toBeGreaterThan(0);
      break;
    }
    expect(cancelled).toBe(true);
  });
});

describe.each(UNPACKERS)("damage, unpacked with %s", (unpacker) => {
  unpackWith(unpacker);
  const whole = new Uint8Array(readFileSync(FIXTURE));

  it.each([2, 5, 10, 20, 1000, 5000, 5415, 5422])("gzip data of %i bytes is cut short", async (length) => {
    const error = await inputError(inChunks(whole.subarray(0, length), 512));
    expect(error.code).toBe("truncated-gzip");
    expect(error.message).toContain("ends too early");
  });

  it("gzip data with changed bytes is damaged", async () => {
    const changed = whole.slice();
    changed.fill(0xff, 100, 140);
    expect((await inputError(changed)).code).toBe("bad-gzip");
    const badSum = whole.slice();
    badSum[badSum.length - 8] = (badSum.at(-8) as number) ^ 1;
    expect((await inputError(badSum)).code).toBe("bad-gzip");
  });

  it("a line of more than a mebibyte is refused, with its place", async () => {
    const long = bytesOf(`short\n${"x".repeat((1 << 20) + 1)}\n`);
    const error = await inputError(inChunks(long, 100_000));
    expect(error.code).toBe("long-line");
    expect(error.message).toContain("byte 6");
    expect(await textOf(bytesOf("x".repeat(1 << 20)))).toHaveLength(1 << 20);
  });

  it("an error of the source itself comes through", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield whole.subarray(0, 1000);
      throw new Error("the disk is gone");
    }
    await expect(textOf(failing())).rejects.toThrow("the disk is gone");
    await expect(textOf(openFile("/nowhere/x.trace"))).rejects.toThrow("ENOENT");
  });

  it("a bad line is told with its number in the file", async () => {
    const lines = Array.from({ length: 3000 }, () => `${HEAD}kvm_entry: PC: 0x1`);
    lines[2499] = "junk";
    const error: unknown = await eventsOf(bytesOf(lines.join("\n"))).catch((cause) => cause);
    expect(error).toBeInstanceOf(TraceSyntaxError);
    expect(error).toMatchObject({ line: 2500, text: "junk" });
  });
});
