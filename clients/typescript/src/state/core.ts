/**
 * One entity as the log has it, and what waits here laid over it.
 *
 * Owns: that it only goes forward in the log's order, that a write of ours is shown until the log's content holds it, and that
 * text edits that wait make way for those of others. Must not know: connections, stores.
 */

import type { EntityState, TextChange, Unsubscribe } from "../api.js";
import type { ContinuumError } from "../errors.js";
import type { Content, Json } from "../json.js";
import { Listeners } from "../observe.js";
import type { Entry } from "../outbox/store.js";
import { apply, compose, type TextOps } from "../text/ops.js";
import { opsBetween, splicesOf } from "../text/utf16.js";
import { makeWay, opsOfBody, pathOf, textAt, withOps } from "./edits.js";
import { lay } from "./overlay.js";
import type { TextEdit } from "./told.js";

/** A write that is shown. */
interface Shown {
  readonly id: string;
  body: Json;
  /** The version whose content holds it; `undefined`: not known yet. */
  landed: number | undefined;
  /** The text that it edits by its parts, if it does: such an edit follows what others do. */
  readonly path: string | undefined;
  /** The version that it is sent on. */
  base: number | undefined;
  /**
   * A text edit that is sent in the form that it has by then. The others of one version are sent one behind the other as they
   * were made, and the node carries them; one that was made later than those before it can only be carried here.
   */
  isCarried: boolean;
}

/** The content of an entity at a version. */
export interface Standing {
  readonly version: number;
  readonly data: Content | null;
}

/** What a record adds to what stands. */
export interface Step extends Standing {
  /** The version that it was made on, and how texts were edited, where the record says so. */
  readonly base: number | undefined;
  readonly edits: readonly TextEdit[] | undefined;
  /** Our writes that it holds. */
  readonly mine: readonly string[];
}

/** Puts the form that a write of ours has now into the outbox, unless it was sent. */
export type Rewrite = (id: string, base: number, body: Json) => void;

export class Core {
  readonly listeners = new Listeners<void>();
  readonly #texts = new Map<string, Listeners<TextChange>>();
  readonly #rewrite: Rewrite;
  #standing: Standing | undefined;
  /** What others may have done since is not known. */
  #isOld = false;
  #error: ContinuumError | undefined;
  #shown: Shown[] = [];
  #state: EntityState | undefined;

  constructor(rewrite: Rewrite) {
    this.#rewrite = rewrite;
  }

  get isWatched(): boolean {
    return this.listeners.size > 0 || this.#texts.size > 0;
  }

  /** Whether what the log has is known, as it is now. */
  get isKnown(): boolean {
    return this.#standing !== undefined && !this.#isOld;
  }

  get hasFailed(): boolean {
    return this.#error !== undefined;
  }

  get hasShown(): boolean {
    return this.#shown.length > 0;
  }

  /** The version that is shown; `undefined`: none is known. */
  get version(): number | undefined {
    return this.#standing?.version;
  }

  get state(): EntityState {
    this.#state ??= this.#compute();
    return this.#state;
  }

  /** The last write that is shown. */
  get last(): { readonly id: string; readonly body: Json; readonly base: number | undefined } | undefined {
    return this.#shown.at(-1);
  }

  /** How some content of the entity looks with what waits. */
  over(data: Content): Content | null {
    return layAll(data, this.#shown);
  }

  onText(path: string, listener: (change: TextChange) => void): Unsubscribe {
    const listeners = this.#texts.get(path) ?? new Listeners<TextChange>();
    this.#texts.set(path, listeners);
    const stop = listeners.add(listener);
    return () => {
      stop();
      if (listeners.size === 0) this.#texts.delete(path);
    };
  }

  /** A text was changed here. */
  tellText(path: string, change: TextChange): void {
    if (change.splices.length > 0) this.#texts.get(path)?.tell(change);
  }

  /** What the log has could not be had. */
  failed(error: ContinuumError | undefined): void {
    this.#error = error;
    this.#changed();
  }

  /** Others may have changed it: it has to be asked for again. In another log, versions of before mean nothing. */
  age(isOtherLog: boolean): void {
    this.#isOld = true;
    if (isOtherLog && this.#standing !== undefined) this.#standing = { ...this.#standing, version: 0 };
  }

  /** What the log was asked for. */
  load(standing: Standing): void {
    this.#error = undefined;
    const wasOld = this.#isOld;
    this.#isOld = false;
    if (this.#standing !== undefined && standing.version < this.#standing.version) return;
    if (this.#standing?.version === standing.version && !wasOld) return;
    this.#stand({ ...standing, base: undefined, edits: undefined, mine: [] }, true);
  }

  /** A record. It holds the whole content: one that comes while the entity is asked for must not be missed. */
  record(step: Step): void {
    if (this.#standing === undefined || step.version > this.#standing.version) this.#stand(step, false);
  }

  /** The content is as it was, the version is not. */
  raise(version: number): void {
    if (this.#standing === undefined || version <= this.#standing.version) return;
    this.#standing = { ...this.#standing, version };
    this.#changed();
  }

  /** Shows a write. */
  add(entry: Entry, isOurs: boolean): void {
    const path = pathOf(entry.body);
    // How the text edit of another tab relates to what is shown here is that tab's to know; it shows once it is in the log.
    if (path !== undefined && !isOurs) return;
    const isCarried =
      path !== undefined && this.#shown.some((one) => one.path === path && (one.isCarried || one.base !== entry.base));
    this.#shown.push({ id: entry.id, body: entry.body, landed: undefined, path, base: entry.base, isCarried });
    this.#changed();
  }

  /** Another content for a write. */
  replace(id: string, body: Json): void {
    const shown = this.#shown.find((one) => one.id === id);
    if (shown === undefined) return;
    shown.body = body;
    this.#changed();
  }

  /** A write's fate is known. One that was done is shown until the content that holds it is here. */
  settled(id: string, version: number, isDone: boolean): void {
    const at = this.#shown.findIndex((one) => one.id === id);
    const shown = this.#shown[at];
    if (shown === undefined) return;
    if (isDone && this.#standing !== undefined && version > this.#standing.version) {
      shown.landed = version;
      return;
    }
    const looked = this.state.data;
    if (shown.path !== undefined && !isDone) this.#takeBack(at, shown.path);
    this.#shown = this.#shown.filter((one) => one !== shown);
    this.#changed();
    for (const path of this.#texts.keys()) this.#tellBetween(path, textAt(looked, path), []);
  }

  /** An edit is undone: those that were made behind it make way for that. */
  #takeBack(at: number, path: string): void {
    const before = textAt(this.#laid(this.#shown.slice(0, at)), path);
    const after = textAt(this.#laid(this.#shown.slice(0, at + 1)), path);
    if (before !== undefined && after !== undefined)
      this.#carry(path, [opsBetween(after, before)], { from: at + 1, isJump: true });
  }

  /** `isJump`: what led there is not known, and perhaps not to the node either any more. */
  #stand(step: Step, isJump: boolean): void {
    const { version, data, mine } = step;
    const before = this.#standing;
    const looked = this.state.data;
    const done = this.#shown.filter(
      (one) => mine.includes(one.id) || (one.landed !== undefined && one.landed <= version),
    );
    const others = new Map<string, readonly TextOps[]>();
    for (const path of this.#paths()) {
      const said = step.edits?.filter((edit) => edit.path === path).map((edit) => edit.ops);
      const isNext = before !== undefined && step.base === before.version && done.length === 0;
      if (isNext && said !== undefined && said.length > 0) {
        others.set(path, said);
        continue;
      }
      // What lies between the two contents beside our own writes is what others did.
      const own = layAll(before?.data ?? null, done);
      others.set(path, [opsBetween(textAt(own, path) ?? "", textAt(data, path) ?? "")]);
    }
    this.#shown = this.#shown.filter((one) => !done.includes(one));
    this.#standing = { version, data };
    this.#isOld = false;
    const here = new Map([...others].map(([path, edits]) => [path, this.#carry(path, edits, { from: 0, isJump })]));
    this.#changed();
    for (const path of this.#texts.keys()) this.#tellBetween(path, textAt(looked, path), here.get(path) ?? []);
  }

  /** Brings edits of a text, from one on, past those of others. Gives the others' as they are on the text that is shown. */
  #carry(path: string, others: readonly TextOps[], { from, isJump }: { from: number; isJump: boolean }): TextOps[] {
    const waiting = this.#shown.slice(from).filter((one) => one.path === path);
    const carried = makeWay(
      others,
      waiting.map((one) => opsOfBody(one.body)),
    );
    waiting.forEach((one, at) => {
      one.body = withOps(one.body, carried.waiting[at] ?? []);
      one.isCarried ||= isJump;
      if (!one.isCarried) return;
      one.base = this.#standing?.version ?? 0;
      this.#rewrite(one.id, one.base, one.body);
    });
    return carried.here;
  }

  /** Tells those who show a text how it came to be as it is. */
  #tellBetween(path: string, before: string | undefined, edits: readonly TextOps[]): void {
    const [from, to] = [before ?? "", textAt(this.state.data, path) ?? ""];
    if (from === to) return;
    const all = edits.reduce<TextOps>((first, second) => compose(first, second), []);
    const ops = apply(all, from) === to ? all : opsBetween(from, to);
    this.tellText(path, { splices: splicesOf(ops, from), by: "others" });
  }

  /** Texts that somebody shows, or that are edited here. */
  #paths(): Set<string> {
    const edited = this.#shown.map((one) => one.path).filter((path) => path !== undefined);
    return new Set([...this.#texts.keys(), ...edited]);
  }

  #laid(shown: readonly Shown[]): Content | null {
    return layAll(this.#standing?.data ?? null, shown);
  }

  #compute(): EntityState {
    const data = this.#laid(this.#shown);
    const pending = this.#shown.filter((one) => one.landed === undefined).length;
    const confirmed = this.#standing?.data ?? null;
    return {
      status: this.#status(data),
      data,
      confirmed,
      version: this.#standing?.version ?? 0,
      pending,
      error: this.#error,
    };
  }

  #status(data: Content | null): EntityState["status"] {
    if (data !== null) return "present";
    if (this.#standing !== undefined) return "absent";
    return this.#error === undefined ? "loading" : "failed";
  }

  #changed(): void {
    this.#state = undefined;
    this.listeners.tell();
  }
}

function layAll(base: Content | null, shown: readonly Shown[]): Content | null {
  return shown.reduce((data, one) => {
    const laid = lay(data, one.body);
    // What cannot be done shows nothing and hides nothing.
    return laid === undefined ? data : laid;
  }, base);
}
