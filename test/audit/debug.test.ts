// The judge's debug build, which checks the preconditions of its functions: no log and no record breaks one.

import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { takeAnyRecord } from "./records.js";
import { judgeLog } from "./support.js";

const DEBUG: Uint8Array = readFileSync(new URL("../../build/audit.debug.wasm", import.meta.url));

it.each(["traces", "traces-2"])("the labelled logs of %s get the verdicts of the release build", (folder) => {
  const place = new URL(`${folder}/`, import.meta.url);
  const logs = readdirSync(place).filter((name) => name.endsWith(".log.gz"));
  expect(logs.length).toBeGreaterThan(50);
  for (const name of logs) {
    const bytes = gunzipSync(readFileSync(new URL(name, place)));
    expect(judgeLog(bytes, undefined, DEBUG), name).toEqual(judgeLog(bytes));
  }
});

it("takes any record", () => takeAnyRecord(DEBUG));
