/** The node's figures over time. Owns: reading Prometheus' text, a bounded window of samples, rates and quantiles between them. Pure. */

/** Samples that are kept: ten minutes, one every two seconds. */
export const KEPT = 300;

/** One reading: each series by its name, with those labels that it has as they are written. */
export type Sample = ReadonlyMap<string, number>;

export interface Reading {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly sample: Sample;
}

/** Reads Prometheus' text format; what is no line of it is left out. */
export function parse(text: string): Sample {
  const sample = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/.exec(line);
    const value = Number(match?.[2]);
    if (match?.[1] !== undefined && !Number.isNaN(value)) sample.set(match[1], value);
  }
  return sample;
}

/** The sum over all label sets of a name; `undefined`: there is no such series. */
export function sum(sample: Sample, name: string): number | undefined {
  let [total, isThere] = [0, false];
  for (const [series, value] of sample) {
    if (series !== name && !series.startsWith(`${name}{`)) continue;
    total += value;
    isThere = true;
  }
  return isThere ? total : undefined;
}

export class Readings {
  #all: Reading[] = [];

  add(reading: Reading): void {
    this.#all.push(reading);
    if (this.#all.length > KEPT) this.#all.shift();
  }

  get count(): number {
    return this.#all.length;
  }

  get last(): Reading | undefined {
    return this.#all.at(-1);
  }

  /** What a gauge says now. */
  gauge(name: string): number | undefined {
    return this.last && sum(this.last.sample, name);
  }

  /** How fast a counter rose since the reading before. */
  rate(name: string): number | undefined {
    const [before, now] = this.#lastTwo();
    if (before === undefined || now === undefined) return undefined;
    const [from, to] = [sum(before.sample, name), sum(now.sample, name)];
    // A counter that fell belongs to a node that was started anew.
    if (from === undefined || to === undefined || to < from || now.at <= before.at) return undefined;
    return ((to - from) * 1000) / (now.at - before.at);
  }

  /** Below which value a share of what was measured since the reading before lies; `undefined`: nothing was. */
  quantile(name: string, share: number): number | undefined {
    const [before, now] = this.#lastTwo();
    if (before === undefined || now === undefined) return undefined;
    const old = new Map(buckets(before.sample, name));
    const counts = buckets(now.sample, name).map(([bound, count]): [number, number] => [
      bound,
      count - (old.get(bound) ?? 0),
    ]);
    const all = counts.at(-1)?.[1] ?? 0;
    if (all <= 0) return undefined;
    let [lower, below] = [0, 0];
    for (const [bound, count] of counts) {
      if (count >= all * share) {
        if (bound === Number.POSITIVE_INFINITY) return lower;
        return lower + ((bound - lower) * (all * share - below)) / Math.max(count - below, 1);
      }
      [lower, below] = [bound, count];
    }
    return lower;
  }

  #lastTwo(): [Reading | undefined, Reading | undefined] {
    return [this.#all.at(-2), this.#all.at(-1)];
  }
}

/** A histogram's buckets over all its label sets, by rising bound. */
function buckets(sample: Sample, name: string): [number, number][] {
  const found = new Map<number, number>();
  for (const [series, value] of sample) {
    if (!series.startsWith(`${name}_bucket{`)) continue;
    const written = /[{,]le="([^"]+)"/.exec(series)?.[1];
    if (written === undefined) continue;
    const bound = written === "+Inf" ? Number.POSITIVE_INFINITY : Number(written);
    found.set(bound, (found.get(bound) ?? 0) + value);
  }
  return [...found].sort(([a], [b]) => a - b);
}
