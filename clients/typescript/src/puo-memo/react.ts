/** The hook that users of PUO Memo know. Owns: that handlers may be written anew with each rendering. */

import { useCallback, useEffect, useRef, useState } from "react";
import type { Json } from "../json.js";
import { type Handler, PuoMemoWebSocket } from "./index.js";

export { PuoMemoWebSocket };

export interface UseWebSocketOptions {
  token: string;
  url?: string;
  onMemoryCreated?: Handler;
  onMemoryUpdated?: Handler;
  onMemoryDeleted?: Handler;
}

export function usePuoMemoWebSocket(options: UseWebSocketOptions) {
  const ws = useRef<PuoMemoWebSocket | null>(null);
  const newest = useRef(options);
  const [isConnected, setIsConnected] = useState(false);

  useEffect(() => {
    newest.current = options;
  });
  useEffect(() => {
    const made = new PuoMemoWebSocket(options.token, options.url);
    ws.current = made;
    made.on("memory.created", (data) => newest.current.onMemoryCreated?.(data));
    made.on("memory.updated", (data) => newest.current.onMemoryUpdated?.(data));
    made.on("memory.deleted", (data) => newest.current.onMemoryDeleted?.(data));
    made.on("subscribed", () => setIsConnected(true));
    made.on("disconnected", () => setIsConnected(false));
    made.connect();
    return () => {
      ws.current = null;
      made.disconnect();
      setIsConnected(false);
    };
  }, [options.token, options.url]);

  const send = useCallback((type: string, data?: Json) => ws.current?.send(type, data), []);
  return { isConnected, send };
}
