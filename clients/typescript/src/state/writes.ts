/** Writes of entities on their way into the outbox. Owns: what a write leads to here, at once. */

import type { Op } from "../api.js";
import type { Json } from "../json.js";
import type { Queue } from "../outbox/queue.js";
import type { Core } from "./core.js";
import { lay } from "./overlay.js";

export class Writes {
  readonly #queue: Queue;
  readonly #core: (type: string, id: string) => Core;

  constructor(queue: Queue, core: (type: string, id: string) => Core) {
    this.#queue = queue;
    this.#core = core;
  }

  write(entity: { readonly type: string; readonly id: string }, base: number | undefined, body: Json): Op {
    const { type, id } = entity;
    const { data } = this.#core(type, id).state;
    const laid = lay(data, body);
    return this.#queue.add({ kind: "operation", type, entity: id, base, body }, laid === undefined ? data : laid);
  }

  /** Puts another content into a write that was not sent, and gives it; `undefined`: it may have been. */
  rewrite(id: string, base: number | undefined, body: Json): Op | undefined {
    return this.#queue.rewrite(id, base, body) ? (this.#queue.get(id)?.op as Op | undefined) : undefined;
  }
}
