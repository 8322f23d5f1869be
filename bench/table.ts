/**
 * Result rows as plain text.
 *
 * @module
 */
import type { ResultRow } from "./rows.js";

/** Peers in the order of their columns; others come after them. */
const ORDER = ["wasm", "kernel-c", "typescript", "naive"];

function number(value: number): string {
  if (value >= 1000) return value.toFixed(0);
  return value.toFixed(value >= 100 ? 1 : value >= 1 ? 2 : 3);
}

/** Lines with the columns aligned: the first `left` ones to the left, the others to the right. */
function align(lines: readonly (readonly string[])[], left: number): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column < left ? cell.padEnd(width) : cell.padStart(width);
  };
  return lines.map((cells) => cells.map(pad).join("  ").trimEnd()).join("\n");
}

function peersOf(rows: readonly ResultRow[]): string[] {
  const placed = (peer: string): number => (ORDER.includes(peer) ? ORDER.indexOf(peer) : ORDER.length);
  return [...new Set(rows.map((row) => row.peer))].sort((a, b) => placed(a) - placed(b));
}

/** A workload has one line for each number of workers. */
function labelOf({ id, workers }: ResultRow): string {
  return workers === undefined ? id : `${id} x${workers}`;
}

/**
 * One line per workload: the median of every peer, then the ratio of each other peer's median to ours. Ours is the first
 * peer's, wasm if it was measured. A ratio above 1 means that ours is faster, or smaller.
 */
export function formatTable(rows: readonly ResultRow[]): string {
  const peers = peersOf(rows);
  const [ours, ...others] = peers;
  if (ours === undefined) return "no results";
  const ids = [...new Set(rows.map(labelOf))];
  const header = ["id", "unit", ...peers, ...others.map((peer) => `${peer}/${ours}`)];
  const lines = ids.map((id) => {
    const of = (peer: string): ResultRow | undefined => rows.find((row) => labelOf(row) === id && row.peer === peer);
    const reference = of(ours)?.median;
    const ratio = (peer: string): string => {
      const median = of(peer)?.median;
      return median === undefined || !reference ? "-" : `${number(median / reference)}x`;
    };
    const medians = peers.map((peer) => number(of(peer)?.median ?? Number.NaN).replace("NaN", "-"));
    return [id, rows.find((row) => labelOf(row) === id)?.unit ?? "", ...medians, ...others.map(ratio)];
  });
  return align([header, ...lines], 2);
}

/** One line per row, with the spread. */
export function formatSpread(rows: readonly ResultRow[]): string {
  const header = ["id", "peer", "unit", "median", "min", "p99", "samples", "workers", "speedup"];
  const lines = rows.map((row) => [
    row.id,
    row.peer,
    row.unit,
    number(row.median),
    number(row.min),
    number(row.p99),
    String(row.samples),
    row.workers === undefined ? "-" : String(row.workers),
    row.speedup === undefined ? "-" : number(row.speedup),
  ]);
  return align([header, ...lines], 3);
}
