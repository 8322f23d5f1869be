// What a run found, as text or JSON.

const NOTICED = new Set(["killed", "timeout"]);

/** Does this result count towards the score? */
export function tallied({ outcome }) {
  return NOTICED.has(outcome) || outcome === "survived";
}

/** Per cent of the mutants that a test noticed; 100 when none was tested. */
export function scoreOf(results) {
  const tested = results.filter(tallied);
  if (tested.length === 0) return 100;
  return (100 * tested.filter(({ outcome }) => NOTICED.has(outcome)).length) / tested.length;
}

function tableOf(rooms) {
  const columns = [
    "tested",
    "killed",
    "timeout",
    "survived",
    "score",
    "invalid",
    "invisible",
    "equivalent",
    "undecided",
  ];
  const lines = [["room", ...columns]];
  for (const [room, results] of rooms) {
    const count = (outcome) => results.filter((r) => r.outcome === outcome).length;
    const cells = {
      tested: results.filter(tallied).length,
      score: `${scoreOf(results).toFixed(1)}%`,
      ...Object.fromEntries(
        ["killed", "timeout", "survived", "invalid", "invisible", "equivalent", "undecided"].map((o) => [o, count(o)]),
      ),
    };
    lines.push([room, ...columns.map((column) => String(cells[column]))]);
  }
  return lines.map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(8) : cell.padStart(11))).join("")).join("\n");
}

/** A mutant's line in a report. */
export function reportedAs({ file, line, operator, mutation }) {
  return `${file}:${line}  ${operator}: ${mutation}`;
}

function survivor(mutant) {
  return `${reportedAs(mutant)}\n    ${mutant.source}\n`;
}

/** The report of a run: survivors first, then one line a room, then entries of equivalent.json that fit nothing. */
export function report(results, { seed, stale, json }) {
  const survivors = results.filter(({ outcome }) => outcome === "survived");
  const rooms = byRoom(results);
  if (json) {
    const scores = Object.fromEntries([...rooms].map(([room, list]) => [room, scoreOf(list)]));
    return `${JSON.stringify({ schemaVersion: 1, seed, scores, results, stale }, null, 1)}\n`;
  }
  let text = survivors.map(survivor).join("");
  if (survivors.length > 0) text += "\n";
  text += `${tableOf(rooms)}\nseed ${seed}\n`;
  for (const { file, source, mutation } of stale) {
    text += `equivalent.json: no such mutant any more: ${file}: ${mutation}\n    ${source}\n`;
  }
  return text;
}

function byRoom(results) {
  const rooms = new Map();
  for (const result of results) rooms.set(result.room, [...(rooms.get(result.room) ?? []), result]);
  return rooms;
}
