/** Changes that still count as a slip: a third of the letters, one at least and three at most. */
function slips(name: string): number {
  return Math.min(3, Math.max(1, Math.floor(name.length / 3)));
}

/** Letters put in, left out, changed, or swapped with a neighbour, from one word to the other. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const at = (line: readonly number[], k: number) => line[k] as number;
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) least = Math.min(least, at(before, j - 2) + 1);
      row.push(least);
    }
    before = last;
    last = row;
  }
  return last[b.length] as number;
}

/** Case, hyphens and underscores are how other languages spell the same name. */
function plain(name: string): string {
  return name.slice(0, 40).replaceAll(/[-_]/g, "").toLowerCase();
}

/** The name that was meant, if one, and only one, is near enough to what was written. */
export function nearest(written: string, names: readonly string[]): string | undefined {
  const all = names.map((name) => ({ name, far: distance(plain(written), plain(name)) }));
  const [best, next] = all.sort((a, b) => a.far - b.far);
  if (best === undefined || best.far > slips(plain(written)) || next?.far === best.far) return undefined;
  return best.name;
}
