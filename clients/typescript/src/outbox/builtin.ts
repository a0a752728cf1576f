/** Node's own modules, where there are any. */

// Bundlers for browsers must not meet an import of them.
export function builtin<T>(name: string): T {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const found = process?.getBuiltinModule?.(name);
  if (found === undefined) throw new Error("a directory can be used under Node 20.16 or later only");
  return found as T;
}
