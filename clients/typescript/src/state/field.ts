/**
 * A text of an entity that several people edit at once.
 * Owns: turning what happens in an input into edits, and joining edits that were not sent. Must not know: how edits make way.
 */

import type { Op, Splice, TextChange, TextField, Unsubscribe } from "../api.js";
import { ContinuumError } from "../errors.js";
import type { Content, Json } from "../json.js";
import { apply, compose, isTextOps, type TextOps } from "../text/ops.js";
import { follow, opsBetween, opsOf, splicesOf, wellFormed } from "../text/utf16.js";
import type { Core } from "./core.js";
import { opsOfBody, pathOf, textAt, withOps } from "./edits.js";
import { parsePointer } from "./pointer.js";

/** An edit of more parts is not joined with the next. */
const MOST_PARTS = 1_000;

/** Takes writes. */
export interface Writer {
  write(entity: { readonly type: string; readonly id: string }, base: number | undefined, body: Json): Op;
  /** Puts another content into a write that was not sent, and gives it; `undefined`: it may have been. */
  rewrite(id: string, base: number | undefined, body: Json): Op | undefined;
}

export class Field implements TextField {
  readonly #entity: { readonly type: string; readonly id: string; subscribe(listener: () => void): Unsubscribe };
  readonly #path: string;
  readonly #core: () => Core;
  readonly #writer: Writer;

  constructor(
    entity: { readonly type: string; readonly id: string; subscribe(listener: () => void): Unsubscribe },
    path: string,
    core: () => Core,
    writer: Writer,
  ) {
    if (parsePointer(path) === undefined || path === "") {
      throw new ContinuumError("invalid_operation", `'${path}' is no JSON pointer to a text: write '/body'`);
    }
    this.#entity = entity;
    this.#path = path;
    this.#core = core;
    this.#writer = writer;
  }

  snapshot(): string {
    return textAt(this.#core().state.data, this.#path) ?? "";
  }

  subscribe(listener: () => void): Unsubscribe {
    let last = this.snapshot();
    return this.#entity.subscribe(() => {
      const text = this.snapshot();
      if (text === last) return;
      last = text;
      listener();
    });
  }

  set(text: string, caret?: number): Op | undefined {
    const wanted = wellFormed(text);
    const now = textAt(this.#core().state.data, this.#path);
    return now === undefined ? this.#make(wanted) : this.edit(opsBetween(now, wanted, caret));
  }

  splice(splice: Splice): Op | undefined {
    const now = textAt(this.#core().state.data, this.#path);
    return now === undefined ? this.#make(wellFormed(splice.inserted)) : this.edit(opsOf(splice, now));
  }

  edit(ops: TextOps): Op | undefined {
    const core = this.#core();
    const before = textAt(core.state.data, this.#path);
    if (before === undefined || !isTextOps(ops) || apply(ops, before) === undefined) {
      throw new ContinuumError("text_failed", "the edit does not fit the text");
    }
    if (ops.length === 0) return undefined;
    const op = this.#join(core, ops) ?? this.#write(core, ops);
    core.tellText(this.#path, { splices: splicesOf(ops, before), by: "here" });
    return op;
  }

  onChange(listener: (change: TextChange) => void): Unsubscribe {
    const stops = [this.#core().onText(this.#path, listener), this.#entity.subscribe(() => {})];
    return () => {
      for (const stop of stops) stop();
    };
  }

  follow(place: number, change: TextChange): number {
    return follow(place, change);
  }

  /** One edit with the one before, if that was not sent: who types fast does not send every letter by itself. */
  #join(core: Core, ops: TextOps): Op | undefined {
    const { last } = core;
    // Made on another version, the two are not of one text.
    if (last === undefined || pathOf(last.body) !== this.#path || last.base !== core.version) return undefined;
    const both = compose(opsOfBody(last.body), ops);
    if (both.length > MOST_PARTS) return undefined;
    const body = withOps(last.body, both);
    const op = this.#writer.rewrite(last.id, core.version, body);
    if (op === undefined) return undefined;
    core.replace(last.id, body);
    return { ...op, optimistic: core.state.data };
  }

  #write(core: Core, ops: TextOps): Op {
    return this.#writer.write(this.#entity, core.version, {
      action: "update",
      text: { path: this.#path, ops: [...ops] },
    });
  }

  /** There is no text yet: it is made as a field. */
  #make(text: string): Op {
    const core = this.#core();
    const names = parsePointer(this.#path) ?? [];
    const patch = names.reduceRight<Json>((inner, name) => ({ [name]: inner }), text) as Content;
    const op = this.#writer.write(this.#entity, core.version, { action: "put", patch });
    core.tellText(this.#path, { splices: [{ at: 0, deleted: 0, inserted: text }], by: "here" });
    return op;
  }
}
