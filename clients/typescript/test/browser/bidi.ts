// One WebDriver BiDi connection: commands and their answers, and the browser's events.
//
// Owns: the numbering of commands and who waits for which answer. Must not know: which browser it is, or what is tested.

// What browsers answer has a form for each command, which nobody gains from writing down again.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Said = any;

type Answer = {
  id?: number;
  type?: string;
  result?: unknown;
  error?: string;
  message?: string;
  method?: string;
  params?: unknown;
};

/** How long a browser may take for one command: the machine may be busy with a build. */
const PATIENCE_MS = 60_000;

export class Bidi {
  #socket: WebSocket;
  #next = 1;
  #waiting = new Map<number, { resolve: (result: Said) => void; reject: (error: Error) => void }>();
  #listeners = new Set<(method: string, params: Said) => void>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(String(data)) as Answer);
    socket.onclose = () => this.#fail(new Error("the browser closed its connection"));
  }

  static connect(url: string): Promise<Bidi> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      socket.onopen = () => resolve(new Bidi(socket));
      socket.onerror = () => reject(new Error(`no connection to ${url}`));
    });
  }

  /** Sends a command; its result, or an error with what the browser says of it. */
  send(method: string, params: object = {}): Promise<Said> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`${method}: no answer in ${PATIENCE_MS} ms`));
      }, PATIENCE_MS);
      this.#waiting.set(id, {
        resolve: (result) => {
          clearTimeout(late);
          resolve(result);
        },
        reject: (error) => {
          clearTimeout(late);
          reject(new Error(`${method}: ${error.message}`));
        },
      });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  onEvent(listener: (method: string, params: Said) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    this.#socket.close();
  }

  #take(answer: Answer): void {
    if (answer.id == null) {
      if (answer.method) for (const listener of this.#listeners) listener(answer.method, answer.params);
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error) waiting?.reject(new Error(`${answer.error}: ${answer.message}`));
    else waiting?.resolve(answer.result);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
