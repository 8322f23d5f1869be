import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** The text of a gzipped file, named relative to the module that asks. */
export function gunzipText(path: string, from: string): string {
  return gunzipSync(readFileSync(new URL(path, from))).toString("utf8");
}
