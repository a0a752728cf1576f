/** Type patterns: one `*` in a name stands for any run of characters. Pure. */

/** Whether a type is one of these; none means all. */
export function matcher(types: string | readonly string[] | undefined): (type: string) => boolean {
  const all = types === undefined ? [] : typeof types === "string" ? [types] : types;
  if (all.length === 0) return () => true;
  return (type) => all.some((pattern) => isMatch(pattern, type));
}

/** Calls only with what has one of these types. */
export function only<T extends { readonly type: string }>(
  types: string | readonly string[],
  listener: (item: T) => void,
): (item: T) => void {
  const isWanted = matcher(types);
  return (item) => {
    if (isWanted(item.type)) listener(item);
  };
}

function isMatch(pattern: string, type: string): boolean {
  const star = pattern.indexOf("*");
  if (star < 0) return pattern === type;
  const [head, tail] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return type.length >= head.length + tail.length && type.startsWith(head) && type.endsWith(tail);
}
