/** Starts real nodes for tests. Owns: their ends: whatever was started is ended with the test. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../../../../..");
export const PROGRAM = resolve(ROOT, process.env.CONTINUUM ?? "target/debug/continuum");

export interface NodeOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
}

/** What ends with a test, or with a file of them: a test's context, or the module's own `after`. */
export interface Ending {
  after(end: () => Promise<void>): void;
}

export class TestNode {
  readonly #directory: string;
  readonly #options: NodeOptions;
  #process: ChildProcess | undefined;
  #port = 0;
  #output = "";

  private constructor(directory: string, options: NodeOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  static async start(test: Ending, options: NodeOptions = {}): Promise<TestNode> {
    const directory = await mkdtemp(join(tmpdir(), "continuum-client-"));
    const node = new TestNode(directory, options);
    test.after(async () => {
      await node.kill();
      await rm(directory, { recursive: true, force: true });
    });
    await node.start();
    return node;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  get http(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** Starts it, again under the port that it had. */
  async start(): Promise<void> {
    const settings = {
      "limits.messages_per_minute": "100000",
      "limits.requests_per_minute": "100000",
      ...this.#options.settings,
    };
    const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const parameters = ["serve", "--port", String(this.#port), "--data-dir", join(this.#directory, "data"), ...set];
    const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("CONTINUUM"));
    const child = spawn(PROGRAM, parameters, {
      env: { ...Object.fromEntries(environment), NO_COLOR: "1", ...this.#options.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    this.#port = await new Promise((found, failed) => {
      const hear = (chunk: Buffer) => {
        this.#output += chunk.toString();
        const ready = /ready address=127\.0\.0\.1:(\d+)/.exec(this.#output);
        if (ready !== null) found(Number(ready[1]));
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.once("error", (error) =>
        failed(new Error(`${PROGRAM} does not start: ${error.message}; build it or set CONTINUUM`)),
      );
      child.once("exit", (code) => failed(new Error(`the node ended with ${code}: ${this.#output}`)));
    });
    this.#output = "";
  }

  /** Ends it as a crash would. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Tells it to stop. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    await new Promise((ended) => {
      child.once("exit", ended);
      child.kill(signal);
    });
  }
}
