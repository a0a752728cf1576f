/** What all views share of one signed-in room. Owns: the client, questions over HTTP, and the readings of the node's figures. */

import { ContinuumClient } from "../src/index.js";
import { Ask } from "./ask.js";
import { Readings } from "./metrics.js";
import type { Notices } from "./notices.js";

export interface Access {
  readonly tenant: string;
  readonly token: string;
  /** As whom the console joins the room. */
  readonly instance: string;
}

export class Room {
  readonly tenant: string;
  readonly client: ContinuumClient;
  readonly ask: Ask;
  readonly readings = new Readings();
  readonly notices: Notices;
  /** Leads to an entity, from wherever it is named. */
  readonly lead: (key: string) => void;

  constructor(access: Access, notices: Notices, lead: (key: string) => void) {
    const base = new URL(".", location.href).href;
    this.tenant = access.tenant;
    this.notices = notices;
    this.lead = lead;
    this.ask = new Ask(base, access.token);
    this.client = new ContinuumClient({
      url: base,
      tenant: access.tenant,
      instance: access.instance,
      capabilities: ["console"],
      ...(access.token !== "" && { token: access.token }),
      // What an operator chooses is chosen now or not at all: nothing is to be sent tomorrow from a forgotten tab.
      store: "memory",
      autoConnect: false,
    });
  }

  /** A path below the tenant. */
  path(rest: string): string {
    return `v1/tenants/${encodeURIComponent(this.tenant)}/${rest}`;
  }

  /** The path of an entity. */
  entityPath(type: string, id: string, rest = ""): string {
    return this.path(`entities/${encodeURIComponent(type)}/${encodeURIComponent(id)}${rest}`);
  }
}
