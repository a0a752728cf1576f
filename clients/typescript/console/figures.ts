/** The view of latency and throughput. Owns: which figures are drawn. */

import { Chart, type Line } from "./chart.js";
import { copy, named } from "./dom.js";
import { bytes, count, percent, rate, took } from "./format.js";
import type { Readings } from "./metrics.js";

interface Drawn {
  readonly title: string;
  readonly least: number;
  readonly scale?: "two";
  readonly format: (value: number | undefined) => string;
  readonly lines: readonly (Line & { readonly of: (readings: Readings) => number | undefined })[];
}

const APPEND = "continuum_append_seconds";

const CHARTS: readonly Drawn[] = [
  {
    title: "Throughput",
    least: 10,
    format: rate,
    lines: [
      { name: "stored", colour: 1, of: (readings) => readings.rate(`${APPEND}_count`) },
      { name: "delivered", colour: 2, of: (readings) => readings.rate("continuum_delivered_total") },
      { name: "signals", colour: 3, of: (readings) => readings.rate("continuum_signals_total") },
    ],
  },
  {
    title: "Latency of a publish, until the log has it",
    least: 0.005,
    format: took,
    lines: [
      { name: "half of them below", colour: 1, of: (readings) => readings.quantile(APPEND, 0.5) },
      { name: "99 of 100 below", colour: 2, of: (readings) => readings.quantile(APPEND, 0.99) },
    ],
  },
  {
    title: "Connections",
    least: 10,
    format: count,
    lines: [
      { name: "sockets", colour: 1, of: (readings) => readings.gauge("continuum_connections") },
      { name: "streams", colour: 2, of: (readings) => readings.gauge("continuum_streams") },
      { name: "rooms", colour: 3, of: (readings) => readings.gauge("continuum_rooms") },
    ],
  },
  {
    title: "Messages",
    least: 10,
    format: rate,
    lines: [
      { name: "received", colour: 1, of: (readings) => readings.rate("continuum_received_total") },
      { name: "sent", colour: 2, of: (readings) => readings.rate("continuum_sent_total") },
      { name: "refused", colour: 3, of: (readings) => readings.rate("continuum_refused_total") },
    ],
  },
  {
    title: "What waits for slow readers",
    least: 1024,
    scale: "two",
    format: bytes,
    lines: [{ name: "in outboxes", colour: 1, of: (readings) => readings.gauge("continuum_outbox_bytes") }],
  },
  {
    title: "Processor",
    least: 0.1,
    format: percent,
    lines: [{ name: "of one core", colour: 1, of: (readings) => readings.rate("process_cpu_seconds_total") }],
  },
  {
    title: "Memory",
    least: 2 ** 20,
    scale: "two",
    format: bytes,
    lines: [{ name: "resident", colour: 1, of: (readings) => readings.gauge("process_resident_memory_bytes") }],
  },
  {
    title: "Journal",
    least: 10,
    format: count,
    lines: [
      { name: "waiting", colour: 1, of: (readings) => readings.gauge("continuum_journal_entries") },
      { name: "dead letters", colour: 2, of: (readings) => readings.gauge("continuum_journal_dead") },
    ],
  },
];

export class FiguresView {
  readonly root = copy("figures");
  readonly #charts = CHARTS.map((drawn) => ({ drawn, chart: new Chart(drawn) }));

  constructor() {
    named(this.root, "charts").append(...this.#charts.map(({ chart }) => chart.root));
  }

  /** There is another reading. */
  read(readings: Readings): void {
    const at = readings.last?.at;
    if (at === undefined) return;
    for (const { drawn, chart } of this.#charts) {
      chart.add(
        at,
        drawn.lines.map(({ of }) => of(readings)),
      );
    }
  }
}
