/** Waiting that can be ended. */

import type { Observable } from "./api.js";

/** The promise, unless the signal aborts first. What it is of goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Aborts when one of them does. */
export function either(signal: AbortSignal | undefined, other: AbortSignal): AbortSignal {
  return signal === undefined ? other : AbortSignal.any([signal, other]);
}

/** Waits until something that is watched is so. What `until` throws ends the waiting. */
export function when<T>(watched: Observable<T>, until: (value: T) => boolean, signal?: AbortSignal): Promise<T> {
  return abortable(
    new Promise<T>((resolve, reject) => {
      let stop: (() => void) | undefined;
      const look = () => {
        try {
          const value = watched.snapshot();
          if (!until(value)) return;
          resolve(value);
        } catch (error) {
          reject(error);
        }
        stop?.();
        signal?.removeEventListener("abort", end);
      };
      const end = () => stop?.();
      stop = watched.subscribe(look);
      signal?.addEventListener("abort", end, { once: true });
      look();
    }),
    signal,
  );
}

/** A promise with its ends. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
