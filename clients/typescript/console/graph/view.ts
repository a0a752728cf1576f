/**
 * The view of the graph: nodes and edges as they move, where the others are, and what Gonzai notices.
 *
 * Owns: that the picture follows the room, and what the others see of us. Must not know: how it is drawn.
 */

import { type Content, field, isContent } from "../../src/json.js";
import { uuid } from "../../src/uuid.js";
import { text } from "../../src/wire/message.js";
import { inWords } from "../ask.js";
import { button, copy, element, named, say } from "../dom.js";
import { value } from "../fields.js";
import { count } from "../format.js";
import { told } from "../records.js";
import type { Room } from "../room.js";
import { Gonzai } from "./gonzai.js";
import { type Place, placed } from "./layout.js";
import { EDGES, GraphModel, labelOf, NODES } from "./model.js";
import { People } from "./people.js";
import { Picture, type Proposal } from "./picture.js";

/** Entities a page of the state. */
const PAGE = 400;
/** Our cursor is told so often at most. */
const CURSOR_MS = 60;

export class GraphView {
  readonly root = copy("graph");
  readonly #room: Room;
  readonly #model = new GraphModel();
  readonly #people = new People();
  readonly #gonzai: Gonzai;
  readonly #picture: Picture;
  readonly #stops: (() => void)[];
  readonly #ended = new AbortController();
  #places: ReadonlyMap<string, Place> = new Map();
  #selected: string | undefined;
  #isShown = false;
  #isLoaded = false;
  #isDue = false;
  #toldAt = 0;
  #wasTold = false;

  constructor(room: Room) {
    this.#room = room;
    this.#picture = new Picture(named<SVGSVGElement>(this.root, "picture"), {
      chosen: (id) => this.choose(id),
      pointed: (place) => this.#pointed(place),
    });
    this.#gonzai = new Gonzai(named(this.root, "notices"), {
      draw: (proposal) => this.#drawEdge(proposal),
      lead: (node) => this.choose(node),
    });
    const { client } = room;
    this.#stops = [
      client.on("record", (record) => {
        const about = told(record);
        if (about.kind === "entity" && this.#model.take(about.key, about.data, record.seq)) this.#later();
      }),
      client.on("signal", (signal) => {
        if (this.#people.take(signal, Date.now())) this.#later();
      }),
      client.on("message", (message) => this.#heard(message)),
      client.on("resumed", ({ complete }) => {
        if (!complete && this.#isLoaded) void this.#load();
      }),
      client.presence.subscribe(() => {
        const { members } = client.presence.snapshot();
        // While the connection is lost nobody is told: then they stay where they were.
        if (members.length > 0) this.#people.keep(new Set(members.map(({ instance }) => instance)));
        this.#later();
      }),
      client.connection.subscribe(() => {
        if (client.status.state === "online") this.#tellFocus();
      }),
    ];
    const ticking = setInterval(() => this.#later(), 5_000);
    this.#stops.push(() => clearInterval(ticking));
    named<HTMLButtonElement>(this.root, "nearer").onclick = () => this.#picture.zoom(0.8);
    named<HTMLButtonElement>(this.root, "farther").onclick = () => this.#picture.zoom(1.25);
    named<HTMLButtonElement>(this.root, "fit").onclick = () => this.#picture.fit();
    named<HTMLInputElement>(this.root, "share").onchange = () => this.#tellSelection();
  }

  show(): void {
    this.#isShown = true;
    if (!this.#isLoaded) void this.#load();
    this.#draw();
  }

  hide(): void {
    this.#isShown = false;
  }

  end(): void {
    this.#ended.abort();
    for (const stop of this.#stops) stop();
    this.#picture.end();
  }

  choose(id: string | undefined): void {
    this.#selected = id !== undefined && this.#model.nodes.has(id) ? id : undefined;
    this.#tellFocus();
    this.#tellSelection();
    this.#draw();
    if (this.#selected !== undefined) this.#picture.focus(this.#selected);
  }

  /** The state of now; what changes meanwhile comes as records, and the later version counts. */
  async #load(): Promise<void> {
    this.#isLoaded = true;
    const { ask, client } = this.#room;
    const { signal } = this.#ended;
    this.#model.clear();
    try {
      for (const [type, most] of [
        ["node", NODES],
        ["edge", EDGES],
      ] as const) {
        let page: string | undefined = "";
        for (let pages = 0; page !== undefined && pages * PAGE < most; pages += 1) {
          const query = new URLSearchParams({ types: type, limit: String(PAGE), instance_id: client.instance });
          if (page !== "") query.set("page", page);
          const body = await ask.json(this.#room.path(`snapshot?${query}`), signal);
          const found = field(body, "entities");
          for (const item of Array.isArray(found) ? found.filter(isContent) : []) this.#model.takeItem(item);
          page = text(body, "next");
        }
        if (page !== undefined) this.#model.isCut = true;
      }
      named(this.root, "note").hidden = true;
    } catch (error) {
      if (signal.aborted) return;
      this.#isLoaded = false;
      say(named(this.root, "note"), inWords(error, "the graph of this room"));
      named(this.root, "note").hidden = false;
    }
    this.#draw();
  }

  #later(): void {
    if (this.#isDue || !this.#isShown) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#draw();
    });
  }

  #draw(): void {
    if (!this.#isShown) return;
    const [nodes, edges] = [[...this.#model.nodes.values()], this.#model.edges];
    if (this.#selected !== undefined && !this.#model.nodes.has(this.#selected)) this.#selected = undefined;
    this.#places = placed(nodes, edges, this.#places);
    const people = this.#people.seen(Date.now());
    const there = (proposal: Proposal) => this.#places.has(proposal.from) && this.#places.has(proposal.to);
    const proposals = this.#gonzai.proposals.filter(there);
    this.#picture.show({ nodes, edges, places: this.#places, people, proposals, selected: this.#selected });
    named(this.root, "empty").hidden = nodes.length > 0;
    const cut = this.#model.isCut ? " · there are more than can be drawn" : "";
    say(named(this.root, "count"), `${count(nodes.length)} nodes · ${count(edges.length)} edges${cut}`);
    const busy = people.filter(({ cursor, selected }) => cursor !== undefined || selected.length > 0);
    const names = busy.map(({ name, selected }) =>
      selected.length === 0 ? name : `${name} selected ${selected.map((id) => this.#name(id)).join(", ")}`,
    );
    say(named(this.root, "people"), names.length === 0 ? "Nobody else points or selects here." : names.join(" · "));
    this.#details();
  }

  #name(id: string): string {
    const node = this.#model.nodes.get(id);
    return node === undefined ? id : labelOf(node);
  }

  /** The selected node in words. */
  #details(): void {
    const pane = named(this.root, "selected");
    const node = this.#selected === undefined ? undefined : this.#model.nodes.get(this.#selected);
    const shown = node === undefined ? "" : `${node.id} ${node.version}`;
    if (pane.dataset.shown === shown) return;
    pane.dataset.shown = shown;
    if (node === undefined) {
      pane.replaceChildren(
        element("p", { className: "quiet" }, "Choose a node, and Gonzai tells what happens near it."),
      );
      return;
    }
    const list = element("dl", { className: "fields" });
    for (const [name, content] of Object.entries(node.data).slice(0, 30)) {
      list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value(content))));
    }
    const key = `node/${node.id}`;
    pane.replaceChildren(
      element("h3", {}, labelOf(node)),
      element("p", { className: "quiet" }, `version ${node.version}`),
      list,
      button("History", () => this.#room.lead(key)),
    );
  }

  #heard(message: Readonly<Content>): void {
    const notice = this.#gonzai.take(message);
    if (notice === undefined) return;
    named(this.root, "silent").hidden = true;
    // In this view the list itself is read out.
    if (!this.#isShown) this.#room.notices.tell(`Gonzai: ${notice.words}`, "gonzai");
    this.#later();
  }

  /** What we are busy with is how Gonzai's notices are asked for. */
  #tellFocus(): void {
    this.#room.client.signal("gonzai.focus", { nodes: this.#selected === undefined ? [] : [this.#selected] });
  }

  get #isShared(): boolean {
    return named<HTMLInputElement>(this.root, "share").checked;
  }

  #tellSelection(): void {
    const nodes = this.#isShared && this.#selected !== undefined ? [this.#selected] : [];
    // Who never shared anything says nothing; who shares no more takes back what was said.
    if (nodes.length === 0 && !this.#wasTold) return;
    this.#wasTold = nodes.length > 0;
    this.#room.client.signal("selection.change", { nodes });
  }

  #pointed({ x, y }: Place): void {
    const now = Date.now();
    if (!this.#isShared || now - this.#toldAt < CURSOR_MS) return;
    this.#toldAt = now;
    this.#room.client.signal("cursor.move", { x: Math.round(x), y: Math.round(y) });
  }

  #drawEdge({ key, from, to }: Proposal): void {
    const { client, notices } = this.#room;
    const op = client.entity("edge", uuid()).create({ from, to });
    void op.settled.then(({ status, message, code }) => {
      if (status === "confirmed" || status === "resolved") {
        this.#gonzai.drop(key);
        notices.tell(`${this.#name(from)} and ${this.#name(to)} are joined.`, "good");
      } else {
        notices.tell(`The edge was not drawn: ${message ?? code ?? status}.`, "bad");
      }
      this.#draw();
    });
  }
}
