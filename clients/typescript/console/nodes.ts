/** The panel of the nodes: a list, and a picture of how they are linked. Owns: how it is drawn, and which changes are news. */

import { inWords, Poll } from "./ask.js";
import { type LogLink, lightOfLink, lightOfNode, linkInWords, type NodeSeen, nodesOf, serverOf } from "./cluster.js";
import { copy, element, labelled, mark, named, Rows, say, svg } from "./dom.js";
import { count, span } from "./format.js";
import { lamp, relight } from "./lights.js";
import type { Room } from "./room.js";

const EVERY_MS = 2_000;
/** The picture's units, and most nodes and servers that are drawn. */
const [WIDTH, TOP, BOTTOM] = [480, 62, 156];
const DRAWN = 12;

export class NodesPanel {
  readonly root = copy("nodes");
  readonly #room: Room;
  readonly #poll: Poll<unknown>;
  readonly #rows: Rows<NodeSeen, HTMLTableRowElement>;
  #nodes: readonly NodeSeen[] = [];

  constructor(room: Room) {
    this.#room = room;
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ name, id, isThis }) => {
        const head = element("th", { scope: "row", className: "name", title: id }, name);
        if (isThis) head.append(" ", element("span", { className: "tag" }, "this one"));
        const cells = ["", "more", "number", "number", "number"].map((className) => element("td", { className }));
        return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
      },
      (row, node) => this.#update(row, node),
    );
    this.#poll = new Poll({
      ask: (signal) => room.ask.json("v1/admin/nodes", signal),
      everyMs: EVERY_MS,
      show: (answer) => this.#take(nodesOf(answer, this.#nodes, Date.now())),
      refused: (error) => {
        this.#note(inWords(error, "the nodes"));
        this.#show();
      },
    });
  }

  start(): void {
    this.#poll.start();
  }

  end(): void {
    this.#poll.stop();
  }

  #note(words: string): void {
    named(this.root, "note").hidden = words === "";
    say(named(this.root, "note"), words);
  }

  #take(nodes: readonly NodeSeen[]): void {
    const before = new Map(this.#nodes.map((node) => [node.id, node]));
    const { notices } = this.#room;
    for (const node of this.#nodes.length === 0 ? [] : nodes) {
      const known = before.get(node.id);
      if (known === undefined) notices.tell(`Node ${node.name} joined.`, "good");
      else if (node.isGone && !known.isGone) notices.tell(`Node ${node.name} fell silent and is gone.`, "bad");
      else if (known.isGone && !node.isGone) notices.tell(`Node ${node.name} is back.`, "good");
    }
    this.#nodes = nodes;
    this.#note("");
    this.#show();
  }

  #show(): void {
    named(this.root, "table").hidden = this.#nodes.length === 0;
    this.#rows.show(this.#nodes, ({ id }) => id);
    this.#draw();
    const alive = this.#nodes.filter(({ isGone }) => !isGone).length;
    say(named(this.root, "count"), alive === 0 ? "" : alive === 1 ? "one node" : `${alive} nodes`);
  }

  #update(row: HTMLTableRowElement, node: NodeSeen): void {
    const now = Date.now();
    const [, light, hears, link, connections, rooms, up] = row.cells;
    const shown = light?.querySelector<HTMLElement>(".lamp");
    if (shown) relight(shown, ...lightOfNode(node, now));
    const others = this.#nodes.filter(({ isGone }) => !isGone).length - 1;
    const words: [HTMLTableCellElement | undefined, string][] = [
      [hears, node.isGone || node.hears === undefined ? "–" : `${node.hears} of ${others}`],
      [link, node.isGone ? "–" : linkInWords(node.link)],
      [connections, node.isGone ? "–" : count(node.connections)],
      [rooms, node.isGone ? "–" : count(node.rooms)],
      [up, node.since === undefined || node.isGone ? "–" : span((now - Date.parse(node.since)) / 1000)],
    ];
    for (const [cell, text] of words) if (cell) say(cell, text);
    row.className = node.isGone ? "gone" : "";
    row.title = [node.version && `version ${node.version}`, node.reason].filter(Boolean).join(" · ");
  }

  /** The nodes in a row, those that hear each other joined above, the log that links them below. */
  #draw(): void {
    const picture = named<SVGSVGElement>(this.root, "picture");
    const nodes = this.#nodes.slice(0, DRAWN);
    picture.toggleAttribute("hidden", nodes.length === 0);
    const now = Date.now();
    const x = (at: number, of: number) => (WIDTH * (at + 0.5)) / of;
    const servers = new Map<string, LogLink>();
    for (const { link, isGone } of nodes) if (link && !isGone) servers.set(serverOf(link), link);
    const names = [...servers.keys()].slice(0, DRAWN);
    const [lines, boxes]: [SVGElement[], SVGElement[]] = [[], []];
    nodes.forEach((node, at) => {
      const [light, words] = lightOfNode(node, now);
      const here = x(at, nodes.length);
      const next = nodes[at + 1];
      if (next !== undefined) {
        const tone = node.isGone || next.isGone ? "red" : lightOfNode(next, now)[0];
        const there = x(at + 1, nodes.length);
        lines.push(
          svg("path", {
            class: `link ${tone}`,
            d: `M${here} ${TOP - 20} Q${(here + there) / 2} ${TOP - 76} ${there} ${TOP - 20}`,
          }),
        );
      }
      const to = node.link && !node.isGone ? names.indexOf(serverOf(node.link)) : -1;
      if (node.link && to >= 0) {
        const end = x(to, names.length);
        lines.push(svg("line", { class: `link ${lightOfLink(node.link)}`, x1: here, y1: TOP, x2: end, y2: BOTTOM }));
      }
      boxes.push(box(`node ${light}`, here, TOP, Math.min(150, WIDTH / nodes.length - 8), node.name, words));
    });
    names.forEach((name, at) => {
      const link = servers.get(name);
      if (link)
        boxes.push(
          box("server", x(at, names.length), BOTTOM, Math.min(190, WIDTH / names.length - 8), name, link.kind),
        );
    });
    picture.replaceChildren(...lines, ...boxes);
    const words = nodes
      .map((node) => `${node.name}: ${lightOfNode(node, now)[1]}, ${linkInWords(node.link)}`)
      .join("; ");
    mark(picture, { "aria-label": `How the nodes are linked. ${words}` });
  }
}

function box(kind: string, x: number, y: number, width: number, name: string, words: string): SVGGElement {
  const most = Math.max(4, Math.floor(width / 8));
  const cut = (text: string) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  return svg(
    "g",
    { class: `box ${kind}`, transform: `translate(${x.toFixed(1)} ${y})` },
    svg("rect", { x: -width / 2, y: -20, width, height: 40, rx: 6 }),
    svg("text", { "text-anchor": "middle", y: -3 }, cut(name)),
    svg("text", { "text-anchor": "middle", y: 12, class: "small" }, cut(words)),
  );
}
