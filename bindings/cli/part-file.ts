import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { unreadable } from "./input.js";

/** A file that takes its place only when it is complete: until then its bytes are in NAME.part. InputError for what the system refuses. */
export class PartFile {
  readonly path: string;
  readonly #part: string;
  #file: number | undefined;
  /** Is there a part that has not taken its place? */
  #begun = false;

  constructor(path: string) {
    this.path = path;
    this.#part = `${path}.part`;
  }

  write(bytes: Uint8Array): void {
    try {
      if (this.#file === undefined) this.#open();
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#file as number, bytes, at);
    } catch (error) {
      throw unreadable(this.path, error);
    }
  }

  #open(): void {
    mkdirSync(dirname(this.path), { recursive: true });
    this.#file = openSync(this.#part, "w");
    this.#begun = true;
  }

  #close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** Puts the complete file in its place, an empty one too. */
  finish(): void {
    try {
      if (this.#file === undefined) this.#open();
      this.#close();
      renameSync(this.#part, this.path);
      this.#begun = false;
    } catch (error) {
      throw unreadable(this.path, error);
    }
  }

  /** Leaves nothing behind of a file that was not finished. */
  abandon(): void {
    this.#close();
    if (this.#begun) rmSync(this.#part, { force: true });
    this.#begun = false;
  }
}
