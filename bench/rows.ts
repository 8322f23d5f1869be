/**
 * The result rows, as `bench --json` prints them.
 *
 * @module
 */

/** One workload on one engine. */
export interface ResultRow {
  readonly id: string;
  readonly peer: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly p99: number;
  readonly samples: number;
  /** Workers at once, where the workload has any. */
  readonly workers?: number;
  /** Throughput against one worker. */
  readonly speedup?: number;
}

/** What `bench --json` prints. */
export interface BenchReport {
  readonly schemaVersion: 1;
  readonly node: string;
  readonly cpu: string;
  readonly results: readonly ResultRow[];
}
