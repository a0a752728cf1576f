// What a project that checks its types sees of the package.
import { ContinuumClient, type EntityState, type Op } from "continuum-client";

export async function first(url: string): Promise<EntityState> {
  const client = new ContinuumClient({ url, instance: "a" });
  const op: Op = client.entity("task", "t1").update({ title: "milk" });
  await op.settled;
  return client.entity("task", "t1").load({ signal: AbortSignal.timeout(1_000) });
}
