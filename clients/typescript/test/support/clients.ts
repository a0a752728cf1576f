/** Clients for tests: closed with the test, quick to come back, and what to wait for. */

import type { TestContext } from "node:test";
import { type ClientOptions, ContinuumClient, type Observable } from "../../src/index.js";
import { when } from "../../src/waiting.js";

/** Longest time to wait for anything. */
export const PATIENCE_MS = 20_000;

export function connect(test: TestContext, options: ClientOptions): ContinuumClient {
  // A twentieth of the usual delays: tests have no crowd to spread.
  const client = new ContinuumClient({ random: () => Math.random() / 20, ...options });
  test.after(() => client.close());
  return client;
}

/** Waits until what is shown is so; fails with what is shown instead. */
export async function until<T>(watched: Observable<T>, is: (value: T) => boolean): Promise<T> {
  try {
    return await when(watched, is, AbortSignal.timeout(PATIENCE_MS));
  } catch (error) {
    throw new Error(`not within ${PATIENCE_MS} ms; it is ${JSON.stringify(watched.snapshot())}`, { cause: error });
  }
}

/** Waits until something that nothing tells of is so. */
export async function eventually(is: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${is}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}
