/** The views of one room. Owns: which is shown, and the readings that all of them draw from. */

import { Poll } from "./ask.js";
import { ConflictsView } from "./conflicts.js";
import { element, part, say } from "./dom.js";
import { EntitiesView } from "./entities.js";
import { FiguresView } from "./figures.js";
import { GraphView } from "./graph/view.js";
import { JournalView } from "./journal.js";
import { parse } from "./metrics.js";
import { OverviewView } from "./overview.js";
import { hashOf, type Place, VIEWS, type ViewName } from "./place.js";
import type { Room } from "./room.js";
import { StreamView } from "./stream.js";

/** Between two readings of the figures. */
const READ_MS = 2_000;

interface View {
  readonly root: HTMLElement;
  show?(): void;
  hide?(): void;
  search?(): void;
  end?(): void;
}

export class Views {
  readonly root = element("div", { className: "views" });
  readonly #tenant: string;
  readonly #stream: StreamView;
  readonly #entities: EntitiesView;
  readonly #all: Record<ViewName, View>;
  readonly #poll: Poll<string>;
  #shown: ViewName | undefined;

  constructor(room: Room, enter: (tenant: string) => void) {
    this.#tenant = room.tenant;
    const overview = new OverviewView(room, enter);
    const figures = new FiguresView();
    this.#stream = new StreamView(room);
    this.#entities = new EntitiesView(room);
    const conflicts = new ConflictsView(room, (open) => {
      overview.conflicts(open);
      const mark = part(document, '[data-view="conflicts"] .count');
      mark.hidden = open === 0;
      say(mark, String(open));
    });
    const [graph, journal] = [new GraphView(room), new JournalView(room)];
    this.#all = { overview, stream: this.#stream, entities: this.#entities, conflicts, graph, journal, figures };
    for (const name of VIEWS) {
      const { root } = this.#all[name];
      root.hidden = true;
      this.root.append(root);
    }
    this.#poll = new Poll({
      ask: (signal) => room.ask.text("metrics", signal),
      everyMs: READ_MS,
      show: (text) => {
        room.readings.add({ at: Date.now(), sample: parse(text) });
        overview.read(room.readings);
        figures.read(room.readings);
      },
      refused: () => {
        // The charts have a gap then; the light of the node says why.
      },
    });
    this.#poll.start();
  }

  /** `focus`: who came by a key is led to what is new. */
  show({ view, entity }: Place, then?: "focus"): void {
    if (view !== this.#shown) {
      if (this.#shown !== undefined) {
        this.#all[this.#shown].root.hidden = true;
        this.#all[this.#shown].hide?.();
      }
      this.#shown = view;
      this.#all[view].root.hidden = false;
      this.#all[view].show?.();
      window.scrollTo(0, 0);
    }
    if (entity !== undefined) this.#entities.choose(entity);
    for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a[data-view]")) {
      const name = VIEWS.find((known) => known === link.dataset.view) ?? "overview";
      link.href = hashOf({ tenant: this.#tenant, view: name, entity: undefined });
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (then === "focus") part(this.#all[view].root, "h2").focus();
  }

  search(): void {
    const view = this.#shown === undefined ? undefined : this.#all[this.#shown];
    view?.search?.();
  }

  /** Stops the stream, or lets it go on. */
  stop(): void {
    if (this.#shown === "stream") this.#stream.stop();
  }

  end(): void {
    this.#poll.stop();
    for (const name of VIEWS) this.#all[name].end?.();
    this.root.remove();
  }
}
