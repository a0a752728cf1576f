/** The other side of a conversation of `clients/vectors`: a program that plays the node, or stands before a real one. */

import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Stage } from "../runner/conversation.js";
import { type Ending, PROGRAM, ROOT } from "./node.js";

export const VECTORS = resolve(ROOT, "clients/vectors");

/** Starts it for a vector; it ends with the test. */
export async function startStage(test: Ending, vector: string, mode: string): Promise<Stage> {
  const path = join(VECTORS, "conversations", `${vector}.json`);
  const parameters = [join(VECTORS, "stage"), "--vector", path, "--mode", mode, "--continuum", PROGRAM];
  const child = spawn("python3", parameters, { stdio: ["pipe", "pipe", "inherit"] });
  // The end of its input ends it, and the node that it started.
  test.after(async () => {
    child.stdin.end();
    if (child.exitCode === null) await new Promise((ended) => child.once("exit", ended));
  });
  const lines = createInterface({ input: child.stdout });
  return new Promise((found, failed) => {
    lines.once("line", (line) => found(JSON.parse(line) as Stage));
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`the stage ended with ${code}`)));
  });
}
