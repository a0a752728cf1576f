/** Writes of entities on their way into the outbox. Owns: what a write leads to here, at once, and on what one is made again. */

import type { Op } from "../api.js";
import type { Json } from "../json.js";
import type { Made, Queue } from "../outbox/queue.js";
import type { Refusal } from "../outbox/store.js";
import type { Core } from "./core.js";
import { pathOf } from "./edits.js";
import { lay } from "./overlay.js";

/** Refusals for the version that a write was made on. */
const OUTDATED: ReadonlySet<string> = new Set(["edited", "deleted", "base_gone", "version_ahead"]);

export class Writes {
  readonly #queue: Queue;
  readonly #core: (type: string, id: string) => Core;

  constructor(queue: Queue, core: (type: string, id: string) => Core) {
    this.#queue = queue;
    this.#core = core;
  }

  write(entity: { readonly type: string; readonly id: string }, base: number | undefined, body: Json): Op {
    return this.#add({ kind: "operation", type: entity.type, entity: entity.id, base, body });
  }

  /** Puts another content into a write that was not sent, and gives it; `undefined`: it may have been. */
  rewrite(id: string, base: number | undefined, body: Json): Op | undefined {
    return this.#queue.rewrite(id, base, body) ? (this.#queue.get(id)?.op as Op | undefined) : undefined;
  }

  /**
   * Makes what was refused once more. Its author has seen what they had seen then, so what others wrote since is not written over
   * unsaid; only where the refusal says that this stands no more it goes on what stands now. An edit of a text is one of that text alone.
   */
  again({ entry, code }: Refusal): Op {
    const { kind, type, entity, base, log, body } = entry;
    if (kind === "event" || entity === undefined) return this.#queue.add({ kind, type, entity, base, body }, null);
    const isOutdated = pathOf(body) === undefined && (base === undefined || OUTDATED.has(code));
    if (isOutdated) return this.write({ type, id: entity }, this.#core(type, entity).version, body);
    return this.#add({ kind, type, entity, base, log, body });
  }

  #add(made: Made & { readonly entity: string }): Op {
    const { data } = this.#core(made.type, made.entity).state;
    const laid = lay(data, made.body);
    return this.#queue.add(made, laid === undefined ? data : laid);
  }
}
