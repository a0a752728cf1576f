// The ten lines of the README, in an empty project: two clients and a message.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ContinuumClient, PROTOCOL } from "continuum-client";

const directory = mkdtempSync(join(tmpdir(), "continuum-package-"));
const node = spawn(process.argv[2], ["serve", "--port", "0", "--data-dir", directory], {
  stdio: ["ignore", "pipe", "pipe"],
});
const url = await new Promise((found) => {
  const hear = (chunk) => {
    const ready = /ready address=(\S+)/.exec(chunk.toString());
    if (ready !== null) found(`ws://${ready[1]}`);
  };
  node.stdout.on("data", hear);
  node.stderr.on("data", hear);
});
const [a, b] = ["a", "b"].map((instance) => new ContinuumClient({ url, instance }));
await Promise.all([a.online(), b.online()]);
const heard = new Promise((hear) => b.subscribe("memory_added", (record) => hear(record.data.text)));
await a.publish("memory_added", { text: "hello" });
const text = await heard;
await Promise.all([a.close(), b.close()]);
node.kill();
await new Promise((ended) => node.once("exit", ended));
rmSync(directory, { recursive: true });
if (text !== "hello" || PROTOCOL !== 1) process.exit(1);
