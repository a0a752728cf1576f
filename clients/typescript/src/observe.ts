/** Listeners. Owns: that one listener's fault reaches neither the others nor who tells them. */

import type { Observable, Unsubscribe } from "./api.js";

/** Runs a listener; what it throws is told as an uncaught error, as the platform does with its own events. */
function run(task: () => void): void {
  try {
    task();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Who listens to something. */
export class Listeners<T> {
  readonly #all = new Set<{ readonly listener: (value: T) => void }>();

  get size(): number {
    return this.#all.size;
  }

  add(listener: (value: T) => void): Unsubscribe {
    // The same function twice is two listeners.
    const one = { listener };
    this.#all.add(one);
    return () => {
      this.#all.delete(one);
    };
  }

  tell(value: T): void {
    for (const { listener } of [...this.#all]) run(() => listener(value));
  }
}

/** A value that is watched. */
export class Cell<T> implements Observable<T> {
  readonly #listeners = new Listeners<void>();
  #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  snapshot(): T {
    return this.#value;
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.#listeners.add(listener);
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.#listeners.tell();
  }
}

/** Events by name. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Listeners<never>>();

  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): Unsubscribe {
    return this.#of(name).add(listener);
  }

  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    this.#of(name).tell(event);
  }

  #of<K extends keyof Events>(name: K): Listeners<Events[K]> {
    let found = this.#listeners.get(name) as Listeners<Events[K]> | undefined;
    if (found === undefined) {
      found = new Listeners<Events[K]>();
      this.#listeners.set(name, found as unknown as Listeners<never>);
    }
    return found;
  }
}
