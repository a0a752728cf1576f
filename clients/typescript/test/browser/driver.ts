// Real browsers for tests: Debian's Chromium through its driver and Firefox by itself, both over WebDriver BiDi, so that one set
// of commands drives either.
//
// Owns: starting and ending a browser with a profile of its own, tabs, input, what a page says of itself. Must not know: what is
// tested in it.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ending } from "../support/node.js";
import { Bidi } from "./bidi.js";

export type BrowserName = "chromium" | "firefox";

export const BROWSERS: readonly BrowserName[] = ["chromium", "firefox"];

export type Look = { width: number; height: number; dark?: boolean };

const CHROMIUM = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-default-apps",
];

// What it would ask others for by itself; a test has no business outside this machine.
const FIREFOX = {
  "app.update.disabledForTesting": true,
  "app.normandy.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "browser.search.update": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  // After a socket that did not come about Firefox itself waits up to a minute before it opens the next one to that address;
  // when the client comes back is what is tested.
  "network.websocket.delay-failed-reconnects": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.reportingpolicy.firstRun": false,
};

/** What a person may have set: no page may keep anything; all pages together may keep little. */
export type Setting = "storage forbidden" | "storage small";

const SETTINGS: Record<Setting, { chromium: object; firefox: object }> = {
  "storage forbidden": {
    chromium: { "profile.default_content_setting_values.cookies": 2 },
    firefox: { "network.cookie.cookieBehavior": 2 },
  },
  // Chromium is told per origin: see `Tab.allow`.
  "storage small": { chromium: {}, firefox: { "dom.quotaManager.temporaryStorage.fixedLimit": 2048 } },
};

/** Starts a browser with an empty profile. */
export async function launch(name: BrowserName, setting?: Setting): Promise<Browser> {
  const settings = setting === undefined ? {} : SETTINGS[setting][name];
  const profile = await mkdtemp(join(tmpdir(), `continuum-${name}-`));
  const started = name === "chromium" ? await chromium(profile, settings) : await firefox(profile, settings);
  // A test that ends in the middle leaves nothing behind: a browser's processes are one group.
  process.once("exit", () => {
    const { exitCode, signalCode, pid } = started.process;
    if (exitCode !== null || signalCode !== null || pid === undefined) return;
    process.kill(-pid, "SIGKILL");
  });
  return new Browser(name, profile, started.bidi, started.process);
}

/** Both, for a file of tests: before the first of them, for files end when there is nothing to run for a while. */
export async function launchBoth(test: Ending): Promise<Browser[]> {
  const browsers: Browser[] = [];
  for (const name of BROWSERS) {
    const browser = await launch(name);
    test.after(() => browser.close());
    browsers.push(browser);
  }
  return browsers;
}

async function chromium(profile: string, prefs: object): Promise<{ bidi: Bidi; process: ChildProcess }> {
  const child = spawn("chromedriver", ["--port=0"], { stdio: ["ignore", "pipe", "ignore"], detached: true });
  const port = await said(child, "stdout", /started successfully on port (\d+)/, "install it with scripts/browsers");
  const response = await fetch(`http://127.0.0.1:${port}/session`, {
    method: "POST",
    body: JSON.stringify({
      capabilities: {
        alwaysMatch: {
          webSocketUrl: true,
          "goog:chromeOptions": {
            binary: "/usr/bin/chromium",
            args: [...CHROMIUM, `--user-data-dir=${profile}`],
            prefs,
          },
        },
      },
    }),
  });
  const { value } = (await response.json()) as { value: { capabilities?: { webSocketUrl: string }; message?: string } };
  if (!value.capabilities) throw new Error(`chromium did not start: ${value.message}`);
  return { bidi: await Bidi.connect(value.capabilities.webSocketUrl), process: child };
}

async function firefox(profile: string, settings: object): Promise<{ bidi: Bidi; process: ChildProcess }> {
  const preferences = Object.entries({ ...FIREFOX, ...settings });
  const lines = preferences.map(([key, value]) => `user_pref(${JSON.stringify(key)}, ${JSON.stringify(value)});\n`);
  await writeFile(join(profile, "user.js"), lines.join(""));
  const child = spawn(
    "firefox-esr",
    ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
    {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
      env: { ...process.env, HOME: profile, MOZ_DISABLE_AUTO_SAFE_MODE: "1" },
    },
  );
  const url = await said(child, "stderr", /WebDriver BiDi listening on (ws:\S+)/, "install it with scripts/browsers");
  const bidi = await Bidi.connect(`${url}/session`);
  await bidi.send("session.new", { capabilities: {} });
  return { bidi, process: child };
}

/** What a program writes when it is up. */
function said(program: ChildProcess, stream: "stdout" | "stderr", pattern: RegExp, mend: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    program[stream]?.on("data", (bytes) => {
      text += bytes;
      const match = pattern.exec(text);
      if (match) resolve(match[1] ?? "");
    });
    program.once("error", (error) => reject(new Error(`${error.message}: ${mend}`)));
    program.once("exit", () => reject(new Error(`${program.spawnfile} ended by itself: ${text}`)));
  });
}

export class Browser {
  readonly name: BrowserName;
  #profile: string;
  #bidi: Bidi;
  #process: ChildProcess;
  #tabs = new Map<string, Tab>();

  constructor(name: BrowserName, profile: string, bidi: Bidi, process: ChildProcess) {
    this.name = name;
    this.#profile = profile;
    this.#bidi = bidi;
    this.#process = process;
    bidi.onEvent((method, params) => {
      const tab = this.#tabs.get(params?.source?.context ?? params?.context);
      if (method === "log.entryAdded") tab?.said.push(`${params.level}: ${params.text}`);
      if (method === "network.beforeRequestSent") tab?.requests.push(params.request.url);
    });
  }

  /** A new tab. `apart`: in storage of its own, as if on another machine. */
  async open(url = "about:blank", { apart = false } = {}): Promise<Tab> {
    const userContext = apart ? (await this.#bidi.send("browser.createUserContext")).userContext : undefined;
    const { context } = await this.#bidi.send("browsingContext.create", {
      type: "tab",
      ...(userContext && { userContext }),
    });
    const tab = new Tab(this, this.#bidi, context);
    this.#tabs.set(context, tab);
    await this.#bidi.send("session.subscribe", {
      events: ["log.entryAdded", "network.beforeRequestSent"],
      contexts: [context],
    });
    if (url !== "about:blank") await tab.go(url);
    return tab;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    if (this.name === "firefox") await this.#bidi.send("browser.close").catch(() => {});
    else await this.#bidi.send("session.end").catch(() => {});
    this.#bidi.close();
    if (this.name === "chromium") this.#process.kill();
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

export class Tab {
  /** What the page wrote to its console, and errors that nobody caught. */
  readonly said: string[] = [];
  /** The addresses that it asked for. */
  readonly requests: string[] = [];
  readonly browser: Browser;
  #bidi: Bidi;
  #context: string;

  constructor(browser: Browser, bidi: Bidi, context: string) {
    this.browser = browser;
    this.#bidi = bidi;
    this.#context = context;
  }

  async go(url: string): Promise<void> {
    await this.#bidi.send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  async reload(): Promise<void> {
    await this.#bidi.send("browsingContext.reload", { context: this.#context, wait: "complete" });
  }

  /** Ends it at once, as a person does who closes it. */
  async close(): Promise<void> {
    await this.#bidi.send("browsingContext.close", { context: this.#context, promptUnload: false });
  }

  /** Runs a function body in the page and waits for its promise; arguments and result pass as JSON. */
  async run<T = unknown>(body: string, ...values: unknown[]): Promise<T> {
    const answer = await this.#bidi.send("script.callFunction", {
      functionDeclaration: `async (text) => { const args = JSON.parse(text); return JSON.stringify(await (async () => { ${body} })()); }`,
      arguments: [{ type: "string", value: JSON.stringify(values) }],
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    });
    if (answer.type === "exception") throw new Error(`in the page: ${answer.exceptionDetails.text}`);
    return answer.result.type === "string" ? (JSON.parse(answer.result.value) as T) : (undefined as T);
  }

  /** Waits until a body gives something true, and gives that. The page looks again at each change of the document and every 50 ms. */
  async until<T = unknown>(body: string, ...values: unknown[]): Promise<T> {
    try {
      return await this.run<T>(
        `const look = async () => { ${body} };
         const end = Date.now() + 30000;
         for (;;) {
           const found = await look();
           if (found) return found;
           if (Date.now() > end) throw new Error("it did not come to be");
           await new Promise((resolve) => setTimeout(resolve, 50));
         }`,
        ...values,
      );
    } catch (error) {
      const text = await this.run<string>("return document.body?.innerText ?? ''").catch(() => "");
      throw new Error(
        `${(error as Error).message}: ${body.trim()} ${JSON.stringify(values)}\n${text}\n${this.said.join("\n")}`,
      );
    }
  }

  /** Clicks as a person does: where it is shown, and only if it can be. */
  async click(selector: string): Promise<void> {
    const { x, y } = await this.until<{ x: number; y: number }>(
      `const element = document.querySelector(args[0]);
       if (!element || element.disabled) return null;
       element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
       const box = element.getBoundingClientRect();
       const at = { x: Math.round(box.x + box.width / 2), y: Math.round(box.y + box.height / 2) };
       return element.contains(document.elementFromPoint(at.x, at.y)) ? at : null;`,
      selector,
    );
    await this.#act({
      type: "pointer",
      id: "mouse",
      actions: [
        { type: "pointerMove", x, y },
        { type: "pointerDown", button: 0 },
        { type: "pointerUp", button: 0 },
      ],
    });
  }

  /** Types on the keyboard, into whatever has the focus. */
  async type(text: string): Promise<void> {
    const actions = [...text].flatMap((value) => [
      { type: "keyDown", value },
      { type: "keyUp", value },
    ]);
    await this.#act({ type: "key", id: "keyboard", actions });
  }

  /** Presses a key of WebDriver's (`KEYS`), with others held. */
  async press(key: string, ...held: string[]): Promise<void> {
    const actions = [
      ...held.map((value) => ({ type: "keyDown", value })),
      { type: "keyDown", value: key },
      { type: "keyUp", value: key },
      ...held.map((value) => ({ type: "keyUp", value })).reverse(),
    ];
    await this.#act({ type: "key", id: "keyboard", actions });
  }

  /** Replaces what stands in a field, with the keyboard. */
  async fill(selector: string, text: string): Promise<void> {
    await this.click(selector);
    await this.press("a", KEYS.control);
    await this.press(KEYS.delete);
    await this.type(text);
  }

  async look({ width, height, dark = false }: Look): Promise<void> {
    await this.#bidi.send("browsingContext.setViewport", { context: this.#context, viewport: { width, height } });
    if (this.browser.name === "chromium") {
      const { session } = await this.#bidi.send("goog:cdp.getSession", { context: this.#context });
      const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
      await this.#bidi.send("goog:cdp.sendCommand", {
        method: "Emulation.setEmulatedMedia",
        params: { features },
        session,
      });
    }
  }

  /** All that this origin may keep, in bytes. Firefox knows no such limit of an origin: see "storage small". */
  async allow(bytes: number): Promise<void> {
    if (this.browser.name !== "chromium") return;
    const { session } = await this.#bidi.send("goog:cdp.getSession", { context: this.#context });
    const origin = await this.run("return location.origin");
    const params = { origin, quotaSize: bytes };
    await this.#bidi.send("goog:cdp.sendCommand", { method: "Storage.overrideQuotaForOrigin", params, session });
  }

  async screenshot(path: string): Promise<void> {
    const { data } = await this.#bidi.send("browsingContext.captureScreenshot", {
      context: this.#context,
      origin: "document",
    });
    await writeFile(path, Buffer.from(data, "base64"));
  }

  async #act(source: object): Promise<void> {
    await this.#bidi.send("input.performActions", { context: this.#context, actions: [source] });
  }
}

/** Keys without a character, as WebDriver writes them. */
export const KEYS = {
  tab: "\uE004",
  enter: "\uE007",
  shift: "\uE008",
  control: "\uE009",
  escape: "\uE00C",
  space: " ",
  left: "\uE012",
  down: "\uE015",
  right: "\uE014",
  delete: "\uE017",
  end: "\uE010",
  home: "\uE011",
} as const;
