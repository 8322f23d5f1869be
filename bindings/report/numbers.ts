// Numbers as people read them. Of no platform: pages and commands use it.

/** A whole number with a comma every three digits: `39,992`. */
export function count(n: number | bigint): string {
  return n.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes in the unit that leaves one to four digits before the point: `1.5 MiB`, `4 KiB`. */
export function bytes(n: number): string {
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = Number.isInteger(value) ? value.toString() : value.toFixed(value < 10 ? 2 : 1);
  return `${digits} ${UNITS[unit]}`;
}

/** Seconds with as many digits as mean something: `0.42 s`, `12.3 s`, `3 min 05 s`. */
export function seconds(s: number): string {
  if (s >= 120) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  return `${s.toFixed(s < 10 ? 2 : 1)} s`;
}

/** `1 file`, `2 files`: the number and its noun. */
export function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}
