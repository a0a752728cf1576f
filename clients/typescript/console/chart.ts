/**
 * A chart of values over time, drawn by hand as SVG.
 *
 * Owns: scales, lines, and the cursor by which values can be read with the pointer and with the keyboard. Must not know: what is drawn.
 */

import { element, mark, say, svg } from "./dom.js";
import { clock, span } from "./format.js";
import { KEPT } from "./metrics.js";

/** Points that the picture has room for at first; it grows with them, up to what is kept. */
const FIRST = 60;
/** The picture's own units; the page stretches it. */
const [WIDTH, HEIGHT, TOP] = [600, 120, 8];

export interface Line {
  readonly name: string;
  /** Which of the colours. */
  readonly colour: 1 | 2 | 3;
}

export interface ChartOptions {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly format: (value: number | undefined) => string;
  /** Whether the scale has round numbers of ten or, as bytes have, of two. */
  readonly scale?: "two";
  /** The least that the scale shows, so that noise does not look like mountains. */
  readonly least: number;
}

interface Point {
  readonly at: number;
  readonly values: readonly (number | undefined)[];
}

export class Chart {
  readonly root: HTMLElement;
  readonly #options: ChartOptions;
  readonly #points: Point[] = [];
  readonly #paths: SVGPathElement[];
  readonly #values: HTMLElement[];
  readonly #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  readonly #top = element("span", { className: "top" });
  readonly #when = element("span", { className: "when" });
  readonly #picture: SVGSVGElement;
  /** Which point is read, counted from the newest; `undefined`: the newest, as it comes. */
  #read: number | undefined;

  constructor(options: ChartOptions) {
    this.#options = options;
    this.#paths = options.lines.map(({ colour }) => svg("path", { class: `line c${colour}`, d: "" }));
    this.#values = options.lines.map(() => element("dd", {}, "–"));
    this.#picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: 0 },
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: TOP, y2: TOP }),
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: (HEIGHT + TOP) / 2, y2: (HEIGHT + TOP) / 2 }),
      ...this.#paths,
      this.#cursor,
    );
    const legend = element("dl", { className: "legend" });
    options.lines.forEach(({ name, colour }, at) => {
      const value = this.#values[at];
      if (value) legend.append(element("div", { className: `c${colour}` }, element("dt", {}, name), value));
    });
    const head = element("header", {}, element("h3", {}, options.title), this.#when);
    const frame = element("div", { className: "frame" }, this.#top);
    frame.append(this.#picture);
    this.root = element("section", { className: "card chart" }, head, frame, legend);
    this.#listen();
    this.#draw();
  }

  add(at: number, values: readonly (number | undefined)[]): void {
    this.#points.push({ at, values });
    if (this.#points.length > KEPT) this.#points.shift();
    this.#draw();
  }

  #listen(): void {
    this.#picture.onpointermove = ({ clientX }) => {
      const { left, width } = this.#picture.getBoundingClientRect();
      this.#point(Math.round((1 - (clientX - left) / width) * (this.#wide - 1)));
    };
    this.#picture.onpointerleave = () => this.#point(undefined);
    this.#picture.onblur = () => this.#point(undefined);
    this.#picture.onkeydown = (event) => {
      const steps: Record<string, number> = { ArrowLeft: 1, ArrowRight: -1, PageUp: 30, PageDown: -30 };
      const step = steps[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.#point(Math.max(0, (this.#read ?? 0) + step));
    };
  }

  #point(read: number | undefined): void {
    const most = this.#points.length - 1;
    this.#read = read === undefined || most < 0 ? undefined : Math.min(Math.max(read, 0), most);
    this.#tell();
  }

  /** How many points the picture has room for. */
  get #wide(): number {
    return Math.max(FIRST, this.#points.length);
  }

  #x(back: number): number {
    return WIDTH - (back * WIDTH) / (this.#wide - 1);
  }

  #draw(): void {
    const { least, format, lines } = this.#options;
    const peak = Math.max(least, ...this.#points.flatMap(({ values }) => values.map((value) => value ?? 0)));
    const top = this.#options.scale === "two" ? 2 ** Math.ceil(Math.log2(peak)) : rounded(peak);
    say(this.#top, format(top));
    const height = (value: number) => HEIGHT - (value / top) * (HEIGHT - TOP);
    lines.forEach((_, line) => {
      let path = "";
      let isDrawing = false;
      this.#points.forEach(({ values }, at) => {
        const value = values[line];
        // Where nothing was measured the line has a gap; a single value is a dot.
        if (value === undefined) {
          isDrawing = false;
          return;
        }
        const [x, y] = [this.#x(this.#points.length - 1 - at).toFixed(1), height(value).toFixed(1)];
        path += isDrawing ? `L${x} ${y}` : `M${x} ${y}h0.01`;
        isDrawing = true;
      });
      const drawn = this.#paths[line];
      if (drawn) mark(drawn, { d: path });
    });
    this.#tell();
  }

  #tell(): void {
    const { title, lines, format } = this.#options;
    const point = this.#points.at(-1 - (this.#read ?? 0));
    const x = this.#read === undefined ? -9 : this.#x(this.#read);
    mark(this.#cursor, { x1: x, x2: x });
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    const all = first === undefined || last === undefined ? "" : `the last ${span((last.at - first.at) / 1000)}`;
    say(this.#when, this.#read === undefined || point === undefined ? all : clock(point.at).slice(0, 8));
    const words = lines.map(({ name }, line) => {
      const value = format(point?.values[line]);
      const shown = this.#values[line];
      if (shown) say(shown, value);
      return `${name} ${value}`;
    });
    mark(this.#picture, { "aria-label": `${title}: ${words.join(", ")}` });
  }
}

/** The next larger of 1, 2, 5 times a power of ten. */
function rounded(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10) * power;
}
