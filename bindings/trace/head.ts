/** What every event carries. */
export interface EventHead {
  /** Line number in the file, from 1. */
  readonly line: number;
  /** Timestamp: seconds, or ticks where the trace's clock only counts (`counter`, `x86-tsc`). */
  readonly time: number;
  /** Host CPU that recorded it; -1 where the recorder does not say. */
  readonly cpu: number;
  /** Name of the host task, which may hold blanks and dashes. */
  readonly task: string;
  /** Host thread id. */
  readonly pid: number;
  /** Name of the event without its group, such as `kvm_guest_fault` or `s2_map`. */
  readonly event: string;
}
