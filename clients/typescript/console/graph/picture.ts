/**
 * The graph as a picture.
 *
 * Owns: what is drawn where, moving there, the part of the plane that is seen, and the keys that lead through it. Must not know: where
 * nodes and people come from.
 */

import { mark, Rows, say, svg } from "../dom.js";
import type { Place } from "./layout.js";
import { type GraphEdge, type GraphNode, labelOf } from "./model.js";
import type { Person } from "./people.js";

/** The share of the way that something moves in a frame, and from how near on it is there. */
const [PACE, NEAR] = [0.25, 0.4];
/** The room around what is drawn. */
const MARGIN = 90;

/** An edge that somebody suggests. */
export interface Proposal {
  readonly key: string;
  readonly from: string;
  readonly to: string;
}

export interface Scene {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  readonly places: ReadonlyMap<string, Place>;
  readonly people: readonly Person[];
  readonly proposals: readonly Proposal[];
  readonly selected: string | undefined;
}

export interface PictureEvents {
  /** A node was chosen; `undefined`: none is. */
  chosen(id: string | undefined): void;
  /** The pointer is there, in the graph's plane. */
  pointed(place: Place): void;
}

interface View {
  x: number;
  y: number;
  width: number;
  height: number;
}

export class Picture {
  readonly #svg: SVGSVGElement;
  readonly #events: PictureEvents;
  readonly #edges: Rows<GraphEdge, SVGLineElement>;
  readonly #proposals: Rows<Proposal, SVGLineElement>;
  readonly #nodes: Rows<GraphNode, SVGGElement>;
  readonly #rings: Rows<{ key: string; id: string; person: Person; at: number }, SVGGElement>;
  readonly #cursors: Rows<Person, SVGGElement>;
  readonly #isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  /** Where things are drawn just now, on their way to where they belong. */
  readonly #shown = new Map<string, Place>();
  #scene: Scene = { nodes: [], edges: [], places: new Map(), people: [], proposals: [], selected: undefined };
  #view: View = { x: -200, y: -150, width: 400, height: 300 };
  /** Whether the view follows what is drawn, until somebody moves it. */
  #isFitted = true;
  #frame = 0;
  #dragged: { x: number; y: number; view: View; isMoved: boolean } | undefined;

  constructor(picture: SVGSVGElement, events: PictureEvents) {
    this.#svg = picture;
    this.#events = events;
    const layer = (name: string) => picture.appendChild(svg("g", { class: name }));
    this.#edges = new Rows(layer("edges"), () => svg("line", { class: "edge" }));
    this.#proposals = new Rows(layer("proposals"), () => svg("line", { class: "proposal" }));
    this.#rings = new Rows(layer("rings"), ({ id, person, at }) => {
      const name = svg("text", { y: -22 - 14 * at, "text-anchor": "middle" }, person.name);
      const ring = svg("g", { class: `ring p${person.colour}` }, sized(svg("circle", { r: 14 + 4 * at }), name));
      ring.dataset.id = id;
      return ring;
    });
    this.#nodes = new Rows(
      layer("nodes"),
      (node) => this.#node(node),
      (group, node) => this.#dress(group, node),
    );
    this.#cursors = new Rows(layer("cursors"), ({ name, colour }) =>
      svg(
        "g",
        { class: `pointer p${colour}` },
        sized(svg("path", { d: "M0 0 L0 15 L4 11 L7 17 L10 16 L7 10 L12 10 Z" }), svg("text", { x: 14, y: 22 }, name)),
      ),
    );
    this.#listen();
  }

  end(): void {
    cancelAnimationFrame(this.#frame);
  }

  show(scene: Scene): void {
    this.#scene = scene;
    this.#edges.show(scene.edges, ({ id }) => id);
    this.#nodes.show(scene.nodes, ({ id }) => id);
    this.#proposals.show(scene.proposals, ({ key }) => key);
    const counts = new Map<string, number>();
    const rings = scene.people.flatMap((person) =>
      person.selected
        .filter((id) => scene.places.has(id))
        .map((id) => {
          const at = counts.get(id) ?? 0;
          counts.set(id, at + 1);
          return { key: `${id} ${person.instance} ${at}`, id, person, at };
        }),
    );
    this.#rings.show(rings, ({ key }) => key);
    this.#cursors.show(
      scene.people.filter(({ cursor }) => cursor !== undefined),
      ({ instance }) => instance,
    );
    const stops = [...this.#svg.querySelectorAll<SVGGElement>("g.n")];
    if (!stops.some((group) => group.getAttribute("tabindex") === "0")) stops[0]?.setAttribute("tabindex", "0");
    if (this.#isFitted) this.fit();
    this.#go();
  }

  /** Shows all that there is. */
  fit(): void {
    this.#isFitted = true;
    const places = [...this.#scene.places.values()];
    const [xs, ys] = [places.map(({ x }) => x), places.map(({ y }) => y)];
    const box = this.#svg.getBoundingClientRect();
    const shape = box.height > 0 ? box.width / box.height : 4 / 3;
    if (places.length === 0) return;
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const wide = Math.max(right - left + 2 * MARGIN, (bottom - top + 2 * MARGIN) * shape, 400);
    const high = wide / shape;
    this.#look({ x: (left + right - wide) / 2, y: (top + bottom - high) / 2, width: wide, height: high });
  }

  /** Nearer (below 1) or farther, around the middle. */
  zoom(by: number): void {
    this.#isFitted = false;
    const { x, y, width, height } = this.#view;
    const wide = Math.min(Math.max(width * by, 80), 200_000);
    const high = (height * wide) / width;
    this.#look({ x: x + (width - wide) / 2, y: y + (height - high) / 2, width: wide, height: high });
  }

  focus(id: string): void {
    this.#nodes.get(id)?.focus();
  }

  #look(view: View): void {
    this.#view = view;
    const { x, y, width, height } = view;
    mark(this.#svg, { viewBox: `${x.toFixed(1)} ${y.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}` });
    const box = this.#svg.getBoundingClientRect();
    if (box.width > 0) this.#svg.style.setProperty("--scale", String(Math.max(width / box.width, 0.2)));
  }

  #node(node: GraphNode): SVGGElement {
    const group = svg(
      "g",
      { class: "n", tabindex: -1, role: "button" },
      sized(
        svg("circle", { class: "halo", r: 18 }),
        svg("circle", { class: "dot", r: 8 }),
        svg("text", { y: 24, "text-anchor": "middle" }, labelOf(node)),
      ),
    );
    group.dataset.id = node.id;
    group.onfocus = () => {
      for (const other of this.#svg.querySelectorAll('g.n[tabindex="0"]')) mark(other, { tabindex: -1 });
      mark(group, { tabindex: 0 });
    };
    return group;
  }

  #dress(group: SVGGElement, node: GraphNode): void {
    const isSelected = node.id === this.#scene.selected;
    group.classList.toggle("selected", isSelected);
    mark(group, { "aria-pressed": String(isSelected), "aria-label": `node ${labelOf(node)}` });
    const label = group.querySelector("text");
    if (label) say(label, labelOf(node));
    // What was just changed is lit for a moment.
    if (group.dataset.version !== undefined && group.dataset.version !== String(node.version)) {
      group.classList.add("changed");
      group.addEventListener("animationend", () => group.classList.remove("changed"), { once: true });
    }
    group.dataset.version = String(node.version);
  }

  /** Moves everything on its way, until it is there. */
  #go(): void {
    cancelAnimationFrame(this.#frame);
    const isThere = this.#step();
    if (!isThere) this.#frame = requestAnimationFrame(() => this.#go());
  }

  #step(): boolean {
    const { edges, nodes, places, people, proposals } = this.#scene;
    let isThere = true;
    const at = (key: string, goal: Place): Place => {
      const here = this.#shown.get(key);
      const far = here === undefined ? 0 : Math.hypot(goal.x - here.x, goal.y - here.y);
      const isNear = here === undefined || far < NEAR || this.#isCalm.matches;
      const place = isNear ? goal : { x: here.x + (goal.x - here.x) * PACE, y: here.y + (goal.y - here.y) * PACE };
      if (!isNear) isThere = false;
      this.#shown.set(key, place);
      return place;
    };
    const there = new Map<string, Place>();
    for (const { id } of nodes) {
      const goal = places.get(id);
      if (goal === undefined) continue;
      const place = at(`n ${id}`, goal);
      there.set(id, place);
      const group = this.#nodes.get(id);
      if (group) put(group, place);
    }
    const join = (line: SVGLineElement | undefined, from: string, to: string) => {
      const [a, b] = [there.get(from), there.get(to)];
      if (line && a && b) {
        mark(line, { x1: a.x.toFixed(1), y1: a.y.toFixed(1), x2: b.x.toFixed(1), y2: b.y.toFixed(1) });
      }
    };
    for (const { id, from, to } of edges) join(this.#edges.get(id), from, to);
    for (const { key, from, to } of proposals) join(this.#proposals.get(key), from, to);
    for (const ring of this.#svg.querySelectorAll<SVGGElement>("g.ring")) {
      const place = there.get(ring.dataset.id ?? "");
      if (place) put(ring, place);
    }
    for (const { instance, cursor } of people) {
      const group = this.#cursors.get(instance);
      if (group && cursor) put(group, at(`c ${instance}`, cursor));
    }
    if (this.#shown.size > 4 * (nodes.length + people.length + 16)) this.#shown.clear();
    return isThere;
  }

  #place({ clientX, clientY }: MouseEvent): Place {
    const box = this.#svg.getBoundingClientRect();
    const { x, y, width, height } = this.#view;
    return { x: x + ((clientX - box.left) / box.width) * width, y: y + ((clientY - box.top) / box.height) * height };
  }

  #listen(): void {
    this.#svg.onpointermove = (event) => {
      this.#events.pointed(this.#place(event));
      const dragged = this.#dragged;
      if (dragged === undefined) return;
      const box = this.#svg.getBoundingClientRect();
      const [dx, dy] = [event.clientX - dragged.x, event.clientY - dragged.y];
      if (!dragged.isMoved && Math.hypot(dx, dy) < 5) return;
      dragged.isMoved = true;
      this.#isFitted = false;
      const { view } = dragged;
      this.#look({ ...view, x: view.x - (dx / box.width) * view.width, y: view.y - (dy / box.height) * view.height });
    };
    this.#svg.onpointerdown = ({ clientX: x, clientY: y }) => {
      this.#dragged = { x, y, view: this.#view, isMoved: false };
    };
    this.#svg.onpointerup = () => {
      setTimeout(() => {
        this.#dragged = undefined;
      });
    };
    this.#svg.onpointerleave = () => {
      this.#dragged = undefined;
    };
    this.#svg.onclick = ({ target }) => {
      if (this.#dragged?.isMoved) return;
      const group = target instanceof Element ? target.closest<SVGGElement>("g.n") : null;
      this.#events.chosen(group?.dataset.id);
    };
    this.#svg.onkeydown = (event) => this.#key(event);
  }

  #key(event: KeyboardEvent): void {
    const id = event.target instanceof SVGGElement ? event.target.dataset.id : undefined;
    const ways: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const way = ways[event.key];
    if (event.key === "+" || event.key === "=") this.zoom(0.8);
    else if (event.key === "-") this.zoom(1.25);
    else if (event.key === "0") this.fit();
    else if (id !== undefined && (event.key === "Enter" || event.key === " ")) this.#events.chosen(id);
    else if (event.key === "Escape" && this.#scene.selected !== undefined) this.#events.chosen(undefined);
    else if (id !== undefined && way !== undefined) this.#next(id, way);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** To the nearest node that lies that way. */
  #next(id: string, [wayX, wayY]: [number, number]): void {
    const here = this.#scene.places.get(id);
    if (here === undefined) return;
    let best: { id: string; cost: number } | undefined;
    for (const [other, { x, y }] of this.#scene.places) {
      const [dx, dy] = [x - here.x, y - here.y];
      const [ahead, aside] = [dx * wayX + dy * wayY, Math.abs(dx * wayY) + Math.abs(dy * wayX)];
      const cost = ahead + 2 * aside;
      if (other !== id && ahead > 0 && (best === undefined || cost < best.cost)) best = { id: other, cost };
    }
    if (best) this.focus(best.id);
  }
}

/** What keeps its size, however much of the plane is seen. */
function sized(...parts: SVGElement[]): SVGGElement {
  return svg("g", { class: "sized" }, ...parts);
}

function put(group: SVGGElement, { x, y }: Place): void {
  mark(group, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
}
