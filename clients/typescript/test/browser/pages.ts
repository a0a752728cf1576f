/**
 * A bare page with the client in it, for tests of the client in a browser.
 *
 * Owns: serving it on this machine. Must not know: what is done in it.
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import type { Ending } from "../support/node.js";
import { ROOT } from "./nodes.js";

const HTML = `<!doctype html><meta charset="utf-8"><title>client</title><link rel="icon" href="data:,">
<script src="/module.js"></script>`;

/** Serves a module of the package (all that it exports is \`continuum\` in the page); the page's address. */
export async function servePage(test: Ending, module = "src/index.ts"): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, "clients/typescript", module)],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "continuum",
    target: "es2022",
  });
  const script = outputFiles[0]?.contents ?? new Uint8Array();
  const server = createServer((request, response) => {
    const isScript = request.url === "/module.js";
    response.setHeader("Content-Type", isScript ? "text/javascript; charset=utf-8" : "text/html; charset=utf-8");
    response.end(isScript ? script : HTML);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
