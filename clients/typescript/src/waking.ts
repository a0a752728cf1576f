/** When it makes sense to try again at once: the network is back, or somebody looks at the page again. Browsers only. */

export function onWaking(callback: () => void, signal: AbortSignal): void {
  const target = globalThis as Partial<Pick<EventTarget, "addEventListener">>;
  for (const name of ["online", "focus", "pageshow"]) target.addEventListener?.(name, callback, { signal });
}
