/** The pure vectors: inputs, and what comes out. Runs in browsers too. */

import { Backoff, STABLE_MS } from "../../src/backoff.js";
import { isEqual, type Json } from "../../src/json.js";
import { makeWay } from "../../src/state/edits.js";
import { mergePatch } from "../../src/state/patch.js";
import { apply, canonical, isTextOps, type TextOps } from "../../src/text/ops.js";
import { Tracker } from "../../src/tracker.js";
import { type Message, read } from "../../src/wire/message.js";

export type Case = Readonly<Record<string, Json>>;

function demand(case_: Case, what: string, expected: Json | undefined, actual: Json | undefined): void {
  if (isEqual(expected, actual)) return;
  throw new Error(
    `${what} is ${JSON.stringify(actual)} and not ${JSON.stringify(expected)} in ${JSON.stringify(case_)}`,
  );
}

const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as Json;

export const PURE: Readonly<Record<string, (case_: Case) => void>> = {
  text(case_) {
    const text = case_.text as string;
    if (case_.kind === "apply") {
      const { ops } = case_;
      if (!isTextOps(ops)) return demand(case_, "the result", true, case_.fails);
      const result = apply(ops, text);
      if (case_.fails === true) return demand(case_, "the result", "fails", result ?? "fails");
      demand(case_, "the result", case_.result, result);
      demand(case_, "the canonical form", case_.canonical, plain(canonical(ops)));
      return;
    }
    const [remote, pending] = [case_.remote as unknown as TextOps[], case_.pending as unknown as TextOps[]];
    const { waiting, here } = makeWay(remote, pending);
    demand(case_, "pending_after", case_.pending_after, plain(waiting));
    demand(case_, "remote_here", case_.remote_here, plain(here));
    const all = (edits: readonly TextOps[], from: string) =>
      edits.reduce((at, ops) => apply(ops, at) ?? "does not fit", from);
    demand(case_, "the log's text", case_.result, all(waiting, all(remote, text)));
    demand(case_, "the text that is shown", case_.result, all(here, all(pending, text)));
  },
  backoff(case_) {
    const backoff = new Backoff(() => case_.random as number, case_.failures as number);
    if (case_.lived_ms !== undefined) {
      backoff.lived(case_.lived_ms as number);
      return demand(case_, `the failures (stable after ${STABLE_MS} ms)`, case_.after, backoff.failures);
    }
    demand(case_, "the wait", case_.wait_ms, backoff.failed((case_.hint_ms as number | null) ?? undefined));
  },
  merge_patch(case_) {
    demand(case_, "the result", case_.result, mergePatch(case_.base, case_.patch ?? null));
  },
  track(case_) {
    const tracker = new Tracker({ echo: case_.echo === true });
    for (const step of case_.messages as unknown as { message: Message; is: string; cursor: Json }[]) {
      const novelty = tracker.see(read(step.message).meaning);
      demand(case_, `what ${JSON.stringify(step.message)} is`, step.is, typeof novelty === "string" ? novelty : "gap");
      demand(case_, `the cursor behind ${JSON.stringify(step.message)}`, step.cursor, tracker.cursor ?? null);
    }
  },
};
