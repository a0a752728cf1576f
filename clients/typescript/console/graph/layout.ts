/**
 * Where nodes are drawn: where they say that they lie, and else where there is room near their neighbours.
 *
 * Owns: that a node stays where it was drawn, for as long as it can. Pure.
 */

import { field } from "../../src/json.js";
import type { GraphEdge, GraphNode } from "./model.js";

export interface Place {
  readonly x: number;
  readonly y: number;
}

/** How far apart neighbours want to be. */
const APART = 120;
/** Steps of a layout: enough to untangle what is drawn, and little for a few hundred nodes. */
const STEPS = 60;
const GOLDEN = Math.PI * (3 - Math.sqrt(5));

/** Where a node says that it lies. */
export function ownPlace({ data }: GraphNode): Place | undefined {
  const [x, y] = [field(data, "x"), field(data, "y")];
  return Number.isFinite(x) && Number.isFinite(y) ? { x: x as number, y: y as number } : undefined;
}

/** Places for all nodes; `before` are those of the last time. Those that say nothing of it find their place around the others. */
export function placed(
  nodes: readonly GraphNode[],
  edges: readonly GraphEdge[],
  before: ReadonlyMap<string, Place>,
): Map<string, Place> {
  const places = new Map<string, Place>();
  const free: string[] = [];
  const fresh: string[] = [];
  for (const node of nodes) {
    const own = ownPlace(node);
    const old = before.get(node.id);
    if (own !== undefined) places.set(node.id, own);
    else if (old !== undefined) places.set(node.id, old);
    else fresh.push(node.id);
    if (own === undefined) free.push(node.id);
  }
  const middle = center([...places.values()]);
  fresh.forEach((id, at) => {
    // A spiral: nobody on top of somebody else, and the same each time.
    const [turn, far] = [(places.size + at) * GOLDEN, APART * Math.sqrt(places.size + at + 0.5)];
    places.set(id, { x: middle.x + far * Math.cos(turn), y: middle.y + far * Math.sin(turn) });
  });
  if (fresh.length > 0) settle(places, free, edges);
  return places;
}

function center(places: readonly Place[]): Place {
  if (places.length === 0) return { x: 0, y: 0 };
  const sum = places.reduce((sum, { x, y }) => ({ x: sum.x + x, y: sum.y + y }), { x: 0, y: 0 });
  return { x: sum.x / places.length, y: sum.y / places.length };
}

/** Pulls neighbours together and pushes all apart; those that have a place of their own do not move. */
function settle(places: Map<string, Place>, free: readonly string[], edges: readonly GraphEdge[]): void {
  for (let step = 0; step < STEPS; step += 1) {
    const reach = (APART / 2) * (1 - step / STEPS);
    const moves = new Map(free.map((id) => [id, { x: 0, y: 0 }]));
    for (const id of free) {
      const [here, move] = [places.get(id), moves.get(id)];
      if (here === undefined || move === undefined) continue;
      for (const [other, there] of places) {
        if (other === id) continue;
        const [dx, dy] = [here.x - there.x || 0.1, here.y - there.y || 0.1];
        const push = (APART * APART) / (dx * dx + dy * dy);
        move.x += dx * push;
        move.y += dy * push;
      }
    }
    for (const { from, to } of edges) {
      const [a, b] = [places.get(from), places.get(to)];
      if (a === undefined || b === undefined || from === to) continue;
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const pull = Math.hypot(dx, dy) / APART / 2;
      const [one, two] = [moves.get(from), moves.get(to)];
      if (one) [one.x, one.y] = [one.x + dx * pull, one.y + dy * pull];
      if (two) [two.x, two.y] = [two.x - dx * pull, two.y - dy * pull];
    }
    for (const [id, { x, y }] of moves) {
      const [here, far] = [places.get(id), Math.hypot(x, y)];
      if (here === undefined || far < 0.01) continue;
      const by = Math.min(far, reach) / far;
      places.set(id, { x: here.x + x * by, y: here.y + y * by });
    }
  }
}
