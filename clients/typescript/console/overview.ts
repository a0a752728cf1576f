/** The first view: the vital signs, nodes, rooms and instances. Owns: which signs there are. */

import { copy, named, say } from "./dom.js";
import { count, rate, took } from "./format.js";
import { InstancesPanel } from "./instances.js";
import type { Readings } from "./metrics.js";
import { NodesPanel } from "./nodes.js";
import type { Room } from "./room.js";
import { RoomsPanel } from "./rooms.js";

export class OverviewView {
  readonly root = copy("overview");
  readonly #panels: [NodesPanel, RoomsPanel, InstancesPanel];

  constructor(room: Room, enter: (tenant: string) => void) {
    this.#panels = [new NodesPanel(room), new RoomsPanel(room, enter), new InstancesPanel(room)];
    named(this.root, "panels").append(...this.#panels.map(({ root }) => root));
    // Whether or not it is looked at: a node that falls silent is news everywhere.
    for (const panel of this.#panels) panel.start();
  }

  end(): void {
    for (const panel of this.#panels) panel.end();
  }

  read(readings: Readings): void {
    const signs: [string, string][] = [
      ["stored", rate(readings.rate("continuum_append_seconds_count"))],
      ["delivered", rate(readings.rate("continuum_delivered_total"))],
      ["latency", took(readings.quantile("continuum_append_seconds", 0.99))],
      ["connections", count(readings.gauge("continuum_connections"))],
      ["waiting", count(readings.gauge("continuum_journal_entries") ?? 0)],
    ];
    for (const [name, words] of signs) say(named(this.root, name), words);
  }

  conflicts(open: number): void {
    const sign = named(this.root, "conflicts");
    say(sign, count(open));
    sign.closest("div")?.classList.toggle("warn", open > 0);
  }
}
