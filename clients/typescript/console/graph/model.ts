/**
 * The room's graph as it stands: nodes, and the edges between them.
 *
 * Owns: the bounds, and that the later version counts, whichever way it came. Pure.
 */

import { type Content, field, isContent } from "../../src/json.js";
import { splitKey } from "../../src/state/told.js";
import { count, text } from "../../src/wire/message.js";

/** Most that are held. */
export const NODES = 400;
export const EDGES = 800;

export interface GraphNode {
  readonly id: string;
  readonly version: number;
  readonly data: Content;
}

export interface GraphEdge extends GraphNode {
  readonly from: string;
  readonly to: string;
}

export class GraphModel {
  readonly nodes = new Map<string, GraphNode>();
  readonly #edges = new Map<string, GraphEdge>();
  /** What is gone, and since which version: what comes later from an older page stays gone. */
  readonly #gone = new Map<string, number>();
  /** Whether there was more than is held. */
  isCut = false;

  /** The edges both of whose ends are there. */
  get edges(): GraphEdge[] {
    return [...this.#edges.values()].filter(({ from, to }) => this.nodes.has(from) && this.nodes.has(to));
  }

  clear(): void {
    this.nodes.clear();
    this.#edges.clear();
    this.#gone.clear();
    this.isCut = false;
  }

  /** An item of a snapshot. */
  takeItem(item: Content): void {
    const [type, id, data] = [text(item, "entity_type"), text(item, "entity_id"), field(item, "data")];
    if (id !== undefined && isContent(data)) this.take(`${type}/${id}`, data, count(item, "version") ?? 0);
  }

  /** How an entity stands from a version on; `null`: it is gone. `false`: it is no part of a graph, or no news. */
  take(key: string, data: Content | null, version: number): boolean {
    const [type, id] = splitKey(key);
    if (type !== "node" && type !== "edge") return false;
    const held = type === "node" ? this.nodes : this.#edges;
    if (Math.max(held.get(id)?.version ?? 0, this.#gone.get(key) ?? 0) > version) return false;
    if (data === null) {
      held.delete(id);
      this.#gone.set(key, version);
      const oldest = this.#gone.keys().next().value;
      if (this.#gone.size > NODES + EDGES && oldest !== undefined) this.#gone.delete(oldest);
      return true;
    }
    if (!held.has(id) && held.size >= (type === "node" ? NODES : EDGES)) {
      this.isCut = true;
      return false;
    }
    if (type === "node") {
      this.nodes.set(id, { id, version, data });
      return true;
    }
    const [from, to] = [text(data, "from") ?? text(data, "source"), text(data, "to") ?? text(data, "target")];
    if (from === undefined || to === undefined) return false;
    this.#edges.set(id, { id, version, data, from, to });
    return true;
  }
}

/** What a node is called where it is drawn. */
export function labelOf({ id, data }: GraphNode): string {
  for (const name of ["label", "title", "name", "text"]) {
    const found = text(data, name);
    if (found !== undefined && found !== "") return found.length > 28 ? `${found.slice(0, 27)}…` : found;
  }
  return id.length > 28 ? `${id.slice(0, 27)}…` : id;
}
