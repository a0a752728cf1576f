/** What a program holds of one entity. Owns: writes in the protocol's words, and when the entity is asked for. */

import type {
  Entity,
  EntityState,
  JsonPatchOp,
  Op,
  TextField,
  Unsubscribe,
  VersionPage,
  Waiting,
  WriteOptions,
} from "../api.js";
import { type Content, copied, field, isContent, type Json } from "../json.js";
import type { Http } from "../transport/http.js";
import { either, when } from "../waiting.js";
import { count } from "../wire/message.js";
import type { Core } from "./core.js";
import type { Entities } from "./entities.js";
import { Field, type Writer } from "./field.js";

export class EntityHandle implements Entity {
  readonly type: string;
  readonly id: string;
  readonly #entities: Entities;
  readonly #http: Http;
  readonly #writer: Writer;

  constructor(type: string, id: string, entities: Entities, http: Http, writer: Writer) {
    this.type = type;
    this.id = id;
    this.#entities = entities;
    this.#http = http;
    this.#writer = writer;
  }

  get #core(): Core {
    return this.#entities.get(this.type, this.id);
  }

  snapshot(): EntityState {
    return this.#core.state;
  }

  subscribe(listener: () => void): Unsubscribe {
    const stop = this.#core.listeners.add(listener);
    this.#entities.want(this.type, this.id);
    return stop;
  }

  async load({ signal }: Waiting = {}): Promise<EntityState> {
    const core = this.#core;
    return when(
      this,
      (state) => {
        const isFinal = state.error !== undefined && state.status === "failed";
        if (isFinal && state.error !== undefined && state.error.status !== undefined) throw state.error;
        return core.isKnown;
      },
      either(signal, this.#entities.closed),
    );
  }

  create(data: Content, options?: WriteOptions): Op {
    return this.#write({ action: "create", data: copied(data) }, options);
  }

  put(data: Content, options?: WriteOptions): Op {
    return this.#write({ action: "put", data: copied(data) }, options);
  }

  update(patch: Content, options?: WriteOptions): Op {
    return this.#write({ action: "update", patch: copied(patch) }, options);
  }

  upsert(patch: Content, options?: WriteOptions): Op {
    return this.#write({ action: "put", patch: copied(patch) }, options);
  }

  patch(ops: readonly JsonPatchOp[], options?: WriteOptions): Op {
    return this.#write({ action: "update", ops: copied(ops) as unknown as Json[] }, options);
  }

  delete(options?: WriteOptions): Op {
    return this.#write({ action: "delete" }, options);
  }

  restore(options?: WriteOptions): Op {
    return this.#write({ action: "restore" }, options);
  }

  text(path: string): TextField {
    return new Field(this, path, () => this.#core, this.#writer);
  }

  async versions({ signal, limit, before }: Waiting & { limit?: number; before?: number } = {}): Promise<VersionPage> {
    const path = `entities/${encodeURIComponent(this.type)}/${encodeURIComponent(this.id)}/versions`;
    const body = await this.#http.ask(path, { query: { limit, before }, signal });
    const versions = field(body, "versions");
    return {
      versions: Array.isArray(versions) ? versions.filter(isContent) : [],
      more: field(body, "more") === true,
      before: count(body, "before"),
      trimmed: field(body, "trimmed") === true,
    };
  }

  #write(body: Content, { strategy, baseVersion }: WriteOptions = {}): Op {
    const base = baseVersion ?? this.#core.version;
    return this.#writer.write(this, base, strategy === undefined ? body : { ...body, strategy });
  }
}
