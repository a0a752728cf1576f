/** A client in a tab, for tests. Owns: how it is made there, and what the node's log says of what it wrote. */

import type { TestNode } from "../support/node.js";
import type { Tab } from "./driver.js";

/** Makes a client in a tab (it is \`client\` there), and connects it. */
export async function join(tab: Tab, url: string, tenant: string, instance: string): Promise<Tab> {
  await tab.run(
    `const [url, tenant, instance] = args;
     window.client = new continuum.ContinuumClient({ url, tenant, instance, random: () => Math.random() / 20 });`,
    url,
    tenant,
    instance,
  );
  return tab;
}

/** Until it is in the room; how it is connected. */
export async function online(tab: Tab): Promise<string> {
  return tab.until<string>("const { state, transport } = client.status; return state === 'online' && transport");
}

/** Until nothing waits. */
export async function flushed(tab: Tab): Promise<void> {
  await tab.run("await client.outbox.flushed({ signal: AbortSignal.timeout(40000) })");
}

/** What a room's log has of a type, in its order. */
export async function logged(node: TestNode, tenant: string, type: string): Promise<unknown[]> {
  const found: unknown[] = [];
  let after = "earliest";
  for (;;) {
    const query = new URLSearchParams({ after, types: type, limit: "500" });
    const answer = await fetch(`${node.http}/v1/tenants/${tenant}/events?${query}`);
    const page = (await answer.json()) as { events: { data: unknown }[]; cursor: string; more: boolean };
    found.push(...page.events.map(({ data }) => data));
    if (!page.more) return found;
    after = page.cursor;
  }
}
