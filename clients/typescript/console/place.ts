/** Where one is, in the address behind `#`, so that it can be kept, sent and gone back to. Pure. */

export const VIEWS = ["overview", "stream", "entities", "conflicts", "graph", "journal", "figures"] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Place {
  readonly tenant: string;
  readonly view: ViewName;
  /** `type/id`, in the view of entities. */
  readonly entity: string | undefined;
}

/** Reads `#/tenant/view/type/id`. */
export function parsePlace(hash: string): Place {
  const parts = hash.replace(/^#\/?/, "").split("/").map(decoded);
  const [tenant, name, type, id] = parts;
  const view = VIEWS.find((known) => known === name) ?? "overview";
  const entity = view === "entities" && type && id ? `${type}/${id}` : undefined;
  return { tenant: tenant || "default", view, entity };
}

export function hashOf({ tenant, view, entity }: Place): string {
  const at = entity?.indexOf("/") ?? -1;
  const parts = [tenant, view, ...(entity === undefined ? [] : [entity.slice(0, at), entity.slice(at + 1)])];
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
