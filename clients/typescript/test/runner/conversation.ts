/** Runs a conversation of `clients/vectors` against a stage. Needs only `fetch` and `WebSocket`, so that pages can run it. */

import type { Content, Interest, Json, JsonPatchOp, Settled, Strategy, TextOps } from "../../src/index.js";
import { isEqual } from "../../src/json.js";
import { Actor } from "./actor.js";
import { Names } from "./names.js";

/** What a stage prints. */
export interface Stage {
  readonly vector: string;
  readonly tenant: string;
  readonly clients: Readonly<Record<string, string>>;
  readonly control: string;
}

export interface Conversation {
  readonly shows: string;
  readonly clients: readonly string[];
  readonly steps: readonly Step[];
}

type Step = { readonly do: string; readonly client?: string } & { readonly [field: string]: Json };

async function control(stage: Stage, path: string): Promise<unknown> {
  const response = await fetch(`${stage.control}${path}`, { method: "POST" });
  const said: unknown = await response.json();
  if (!response.ok) throw new Error(`the stage says ${JSON.stringify(said)}`);
  return said;
}

/** Runs it; rejects with the step that was not as it should be, or with the stage's verdict. */
export async function run(conversation: Conversation, stage: Stage): Promise<void> {
  const runner = new Runner(conversation, stage);
  try {
    for (const [at, step] of conversation.steps.entries()) {
      try {
        await control(stage, `/step/${at}`);
        if (step.client !== undefined) await runner.step(step.client, step);
      } catch (error) {
        throw new Error(
          `${stage.vector}, step ${at} ${JSON.stringify(step)}: ${error instanceof Error ? error.message : error}`,
        );
      }
    }
    runner.nothingLeft();
    const verdict = (await control(stage, "/end")) as { ok: boolean; wrong: unknown };
    if (!verdict.ok) throw new Error(`${stage.vector}: the stage says ${JSON.stringify(verdict.wrong)}`);
  } finally {
    await runner.close();
  }
}

class Runner {
  readonly #conversation: Conversation;
  readonly #stage: Stage;
  readonly #actors = new Map<string, Actor>();
  readonly #names = new Names();

  constructor(conversation: Conversation, stage: Stage) {
    this.#conversation = conversation;
    this.#stage = stage;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#actors.values()].map((actor) => actor.client.close()));
  }

  nothingLeft(): void {
    for (const [name, { events, signals }] of this.#actors) {
      if (events.length + signals.length === 0) continue;
      throw new Error(
        `${this.#stage.vector}: '${name}' saw what no step asked for: ${JSON.stringify([...events, ...signals])}`,
      );
    }
  }

  async step(name: string, step: Step): Promise<void> {
    if (step.do === "connect") return this.#connect(name, step);
    const actor = this.#actors.get(name);
    if (actor === undefined) throw new Error(`'${name}' is not connected`);
    const verb = this.#verbs[step.do];
    if (verb === undefined) throw new Error(`there is no verb '${step.do}'`);
    await verb(actor, step, name);
  }

  async #connect(name: string, { since, types, capabilities }: Step): Promise<void> {
    const actor = new Actor({
      url: this.#stage.clients[name] ?? "",
      tenant: this.#stage.tenant,
      instance: name,
      since: since as string | undefined,
      types: types as string[] | undefined,
      capabilities: capabilities as string[] | undefined,
    });
    this.#actors.set(name, actor);
    await actor.until(
      () => actor.client.sync.snapshot().status === "synced",
      () => actor.client.status,
    );
    const keys = this.#conversation.steps.filter((step) => step.client === name).map((step) => step.entity);
    for (const key of new Set(keys)) {
      if (typeof key !== "string") continue;
      const entity = entityOf(actor, key);
      actor.watch(entity);
      await entity.load();
    }
  }

  readonly #verbs: Readonly<Record<string, (actor: Actor, step: Step, name: string) => void | Promise<void>>> = {
    close: async (actor, _, name) => {
      await actor.client.outbox.flushed();
      await actor.client.close();
      this.#actors.delete(name);
    },
    publish: (actor, { type, data, as }) => {
      actor.ops.set(as as string, actor.client.send(type as string, data));
    },
    change: (actor, step) => this.#change(actor, step),
    settled: (actor, step) => this.#settled(actor, step),
    event: async (actor, { type, data, from }) => {
      await actor.until(
        () => actor.events.length > 0,
        () => "no event",
      );
      const event = actor.events.shift();
      this.#demand([type, data, from], [event?.type, event?.data, event?.instance]);
    },
    heard: async (actor, { type, data, from }) => {
      const find = () => actor.signals.findIndex((signal) => signal.type === type);
      await actor.until(
        () => find() >= 0,
        () => actor.signals,
      );
      const [signal] = actor.signals.splice(find(), 1);
      this.#demand([data, from], [signal?.data, signal?.instance]);
    },
    history: async (actor, { limit, types, go_on, events, more }) => {
      const after = go_on === true ? actor.page : undefined;
      const page = await actor.client.historyPage({
        after,
        pageSize: limit as number,
        types: types as string[] | undefined,
      });
      actor.page = page.cursor;
      const records = page.records.map(({ type, data, instance }) => ({ type, data, from: instance }));
      this.#demand([events, more], [records, page.more]);
    },
    entity: async (actor, { entity, data, pending = 0, version = "$_" }) => {
      const handle = entityOf(actor, entity as string);
      const shown = () => [handle.snapshot().data, handle.snapshot().pending];
      const is = () =>
        this.#names.matches([data ?? null, pending], shown() as Json) &&
        (version === "$_" || this.#names.matches(version, handle.snapshot().version));
      await actor.until(is, () => handle.snapshot());
    },
    conflicts: async (actor, { open }) => {
      await actor.until(
        () => this.#areOpen(actor, open as Content[]),
        () => actor.conflicts(),
      );
    },
    resolve: (actor, { entity, conflict, choice, data, as }) => {
      const [type = "", id = ""] = split(entity as string);
      const conflictId = String(this.#names.get(conflict as string) ?? conflict);
      const { conflicts } = actor.client;
      const op =
        choice === "merged"
          ? conflicts.resolve({ type, id, conflictId }, choice, data as Content)
          : conflicts.resolve({ type, id, conflictId }, choice as "current" | "proposed");
      actor.ops.set(as as string, op);
    },
    presence: async (actor, { others }) => {
      const is = () => {
        const { members } = actor.client.presence.snapshot();
        return (
          members.length === Object.keys(others as Content).length &&
          members.every((member) => {
            const wanted = (others as Record<string, Content>)[member.instance];
            const { capabilities } = wanted ?? {};
            return (
              wanted !== undefined && (capabilities === undefined || isEqual(capabilities, [...member.capabilities]))
            );
          })
        );
      };
      await actor.until(is, () => actor.client.presence.snapshot());
    },
    signal: (actor, { type, data }) => {
      if (!actor.client.signal(type as string, data)) throw new Error("there is no socket to signal on");
    },
    subscribe: (actor, { as, region, ids, query }) => {
      const interest = region !== undefined ? { region } : ids !== undefined ? { ids } : { query };
      const result = actor.client.follow(interest as Interest);
      actor.watch(result);
      actor.results.set(as as string, result);
    },
    result: async (actor, { of, entities }) => {
      const result = actor.results.get(of as string);
      const shown = () =>
        Object.fromEntries((result?.snapshot().items ?? []).map((item) => [`${item.type}/${item.id}`, item.data]));
      await actor.until(
        () => result?.snapshot().status === "live" && this.#names.matches(entities ?? null, shown()),
        () => result?.snapshot(),
      );
    },
    status: async (actor, wanted) => {
      const shown = () => {
        const { state } = actor.client.status;
        const { status: sync, pending, conflicted, refused } = actor.client.sync.snapshot();
        const code = actor.client.status.state === "blocked" ? actor.client.status.code : null;
        const resumed = actor.resumed === undefined ? null : actor.resumed.complete ? "complete" : "reset";
        return { connection: state, code, sync, pending, conflicted, refused, resumed } as Record<string, Json>;
      };
      const fields = ["connection", "code", "sync", "pending", "conflicted", "refused", "resumed"];
      const is = () => fields.every((field) => wanted[field] === undefined || wanted[field] === shown()[field]);
      await actor.until(is, shown);
    },
  };

  #change(actor: Actor, { entity, action, strategy, patch, data, text, ops, as, shows }: Step): void {
    const handle = entityOf(actor, entity as string);
    const options = { strategy: strategy as Strategy | undefined };
    const edit = text as { path: string; ops: TextOps } | undefined;
    const make = () => {
      if (edit !== undefined) return handle.text(edit.path).edit(edit.ops);
      if (ops !== undefined) return handle.patch(ops as unknown as JsonPatchOp[], options);
      if (patch !== undefined && action === "put") return handle.upsert(patch as Content, options);
      if (patch !== undefined) return handle.update(patch as Content, options);
      if (action === "create") return handle.create(data as Content, options);
      if (action === "put") return handle.put(data as Content, options);
      return action === "delete" ? handle.delete(options) : handle.restore(options);
    };
    const op = make();
    if (op === undefined) throw new Error("the change changes nothing");
    actor.ops.set(as as string, op);
    if (shows !== undefined) this.#demand([shows, shows], [handle.snapshot().data, op.optimistic]);
  }

  async #settled(actor: Actor, { of, status, code, resolution, overwritten, duplicate }: Step): Promise<void> {
    const op = actor.ops.get(of as string);
    if (op === undefined) throw new Error(`nothing is called ${of}`);
    let fate: Settled | undefined;
    void op.settled.then((settled) => {
      fate = settled;
    });
    await actor.until(
      () => fate !== undefined,
      () => "it is open",
    );
    const settled = fate as Settled | undefined;
    if (settled === undefined) return;
    const isStored = status === "stored" && settled.status === "confirmed";
    this.#demand(status ?? null, isStored ? "stored" : settled.status);
    if (code !== undefined) this.#demand(code, settled.code);
    if (resolution !== undefined) this.#demand(resolution, settled.resolution);
    if (duplicate !== undefined) this.#demand(duplicate, settled.duplicate);
    if (overwritten === undefined) return;
    const shown = settled.overwritten.map(({ path, value }) => ({ path, value }));
    this.#demand(overwritten, shown);
  }

  #areOpen(actor: Actor, wanted: readonly Content[]): boolean {
    const open = actor.conflicts();
    if (open.length !== wanted.length) return false;
    return wanted.every((one) =>
      open.some((conflict) => {
        const { type, id, conflictId, kind, proposed, current, paths } = conflict;
        const shown: Record<string, Json | undefined> = { kind, proposed, current, paths: [...paths] };
        const fields = ["kind", "proposed", "current", "paths"].filter((field) => one[field] !== undefined);
        return (
          one.entity === `${type}/${id}` &&
          fields.every((field) => this.#names.matches(one[field] ?? null, shown[field])) &&
          this.#names.matches(one.id ?? null, conflictId)
        );
      }),
    );
  }

  #demand(expected: unknown, actual: unknown): void {
    if (this.#names.matches(expected as Json, actual as Json)) return;
    throw new Error(`expected ${JSON.stringify(expected)}, there was ${JSON.stringify(actual)}`);
  }
}

function split(key: string): [type: string, id: string] {
  const at = key.indexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}

function entityOf(actor: Actor, key: string) {
  return actor.client.entity(...split(key));
}
