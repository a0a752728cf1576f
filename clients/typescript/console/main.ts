/** The page at `/console`: signing in, and going from room to room and from view to view. */

import { ContinuumError } from "../src/errors.js";
import type { ConnectionStatus } from "../src/index.js";
import { uuid } from "../src/uuid.js";
import { Ask, inWords } from "./ask.js";
import { named, part, say } from "./dom.js";
import { listen } from "./keys.js";
import { type Light, relight } from "./lights.js";
import { Notices } from "./notices.js";
import { hashOf, type Place, parsePlace, VIEWS } from "./place.js";
import { type Access, Room } from "./room.js";
import { begin } from "./theme.js";
import { Views } from "./views.js";

const door = part<HTMLFormElement>(document, "#door");
const main = part(document, "main");
const help = part<HTMLDialogElement>(document, "#help");
const notices = new Notices(part(document, "#notices"));
const turnTheme = begin(named(document, "theme"));
let place = parsePlace(location.hash);
let access: Access | undefined;
let open: { room: Room; views: Views; stop: () => void } | undefined;

/** A name for this page, kept until it is left. */
const OWN_NAME = `console-${uuid().slice(0, 4)}`;

door.onsubmit = (event) => {
  event.preventDefault();
  const fields = new FormData(door);
  const [tenant, token] = [String(fields.get("tenant")), String(fields.get("token")).trim()];
  const instance = String(fields.get("instance")).trim() || OWN_NAME;
  void enter({ tenant, token, instance });
};
part(document, "#leave").onclick = () => leave("");
part(document, "#keys").onclick = () => help.showModal();
part(document, "#theme").onclick = turnTheme;
named(help, "close").onclick = () => help.close();
window.onhashchange = () => {
  const next = parsePlace(location.hash);
  if (access !== undefined && next.tenant !== place.tenant) void enter({ ...access, tenant: next.tenant }, next);
  else go(next);
};
listen({
  view: (number) => {
    const view = VIEWS[number - 1];
    if (open === undefined || view === undefined) return;
    location.hash = hashOf({ ...place, view, entity: undefined });
    open.views.show({ ...place, view, entity: undefined }, "focus");
  },
  search: () => open?.views.search(),
  stop: () => open?.views.stop(),
  theme: turnTheme,
  help: () => help.showModal(),
});
void knock();

/** Where no token is asked for nobody is made to fill in a form. */
async function knock(): Promise<void> {
  shut("");
  try {
    await new Ask(new URL(".", location.href).href, "").json("v1/stats");
  } catch (error) {
    const isAsked = error instanceof ContinuumError && ["unauthenticated", "forbidden"].includes(error.code);
    shut(isAsked ? "This node asks for a token." : inWords(error, "this node"));
    part<HTMLInputElement>(door, "[name=token]").focus();
    return;
  }
  await enter({ tenant: place.tenant, token: "", instance: OWN_NAME });
}

/** Opens a room. A token that opens nothing is told at the door. */
async function enter(wanted: Access, at: Place = { ...place, tenant: wanted.tenant }): Promise<void> {
  close();
  access = wanted;
  place = at;
  if (parsePlace(location.hash).tenant !== at.tenant) history.replaceState(null, "", hashOf(at));
  const lead = (entity: string) => {
    location.hash = hashOf({ ...place, view: "entities", entity });
  };
  const room = new Room(wanted, notices, lead);
  const views = new Views(room, (tenant) => {
    location.hash = hashOf({ tenant, view: "overview", entity: undefined });
  });
  const stop = room.client.connection.subscribe(() => stands(room));
  open = { room, views, stop };
  door.hidden = true;
  for (const shown of document.querySelectorAll<HTMLElement>("[data-inside]")) shown.hidden = false;
  main.append(views.root);
  say(named(document, "room"), wanted.tenant);
  go(at);
  stands(room);
  room.client.connect();
}

function go(at: Place): void {
  place = at;
  open?.views.show(at);
  document.title = `${at.tenant} · ${at.view} · Continuum console`;
}

function close(): void {
  if (open === undefined) return;
  open.stop();
  open.views.end();
  void open.room.client.close();
  open = undefined;
  notices.clear();
}

/** Back to the door. */
function leave(words: string): void {
  close();
  access = undefined;
  shut(words);
}

function shut(words: string): void {
  door.hidden = false;
  for (const shown of document.querySelectorAll<HTMLElement>("[data-inside]")) shown.hidden = true;
  part<HTMLInputElement>(door, "[name=tenant]").value = place.tenant;
  part<HTMLInputElement>(door, "[name=instance]").placeholder = OWN_NAME;
  say(named(door, "told"), words);
}

/** What the connection's light says. */
function stands(room: Room): void {
  const status = room.client.status;
  if (status.state === "blocked" && ["unauthenticated", "token_expired", "token_revoked"].includes(status.code)) {
    leave(`The node does not take this token: ${status.message}`);
    return;
  }
  const [light, words] = inLight(status);
  relight(named(document, "line"), light, words);
  const banner = part(document, "#banner");
  banner.hidden = status.state !== "blocked";
  if (status.state === "blocked") {
    say(
      banner,
      `The room does not let the console in: ${status.message} (${status.code}). What needs no socket goes on.`,
    );
  }
}

function inLight(status: ConnectionStatus): [Light, string] {
  switch (status.state) {
    case "online":
      return ["green", status.transport === "websocket" ? "live" : `live over ${status.transport}`];
    case "connecting":
      return ["yellow", "connecting"];
    case "waiting":
      return ["red", "connection lost, tried again"];
    case "blocked":
      return ["red", "not let in"];
    default:
      return ["grey", "not connected"];
  }
}
