/**
 * Hands a client to the components below.
 *
 * Owns: that a client made here is connected while it is shown, survives the double mounting of StrictMode, and is closed
 * when it goes; another one is made when it comes again. Must not know: what is done with it.
 */

import {
  createContext,
  createElement,
  type FunctionComponent,
  type ReactNode,
  useContext,
  useEffect,
  useRef,
  useState,
} from "react";
import { type Client, type ClientOptions, ContinuumClient, type TokenSource } from "../index.js";

const ClientContext = createContext<Client | undefined>(undefined);

export type ContinuumProviderProps = { children?: ReactNode } & (
  | { /** A client that is made, connected and closed elsewhere. */ client: Client; options?: undefined }
  /** What to make one with. Another `url`, `tenant`, `instance` or `user` makes another one. */
  | { options: ClientOptions; client?: undefined }
);

export const ContinuumProvider: FunctionComponent<ContinuumProviderProps> = ({ client, options, children }) => {
  if (client) return createElement(ClientContext.Provider, { value: client }, children);
  const key = JSON.stringify([options.url, options.tenant, options.instance, options.user]);
  return createElement(Made, { key, options }, children);
};

/** The client that the nearest {@link ContinuumProvider} hands down. */
export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("no <ContinuumProvider> around this component");
  return client;
}

function Made({ options, children }: { options: ClientOptions; children?: ReactNode }): ReactNode {
  // The token may be written anew with each rendering: the newest is asked.
  const token = useRef<TokenSource | undefined>(options.token);
  useEffect(() => {
    token.current = options.token;
  });
  // Rendering may be thrown away or happen on a server: nothing is connected in it. A ref and not a state: what makes a state
  // first is called twice under StrictMode, and of two clients one would be nobody's.
  const made = useRef<ContinuumClient | undefined>(undefined);
  made.current ??= new ContinuumClient({
    ...options,
    ...(options.token && { token: newest(token) }),
    autoConnect: false,
  });
  const client = made.current;

  const [, makeAnother] = useState(0);
  const closing = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    // StrictMode takes a component away and puts it back at once: then the closing is called off.
    clearTimeout(closing.current);
    // Hidden for a while and shown again (<Activity>): the client of before is closed.
    if (made.current !== client) {
      makeAnother((count) => count + 1);
      return undefined;
    }
    if (options.autoConnect !== false) client.connect();
    return () => {
      closing.current = setTimeout(() => {
        made.current = undefined;
        void client.close();
      }, 0);
    };
  }, [client, options.autoConnect]);
  return createElement(ClientContext.Provider, { value: client }, children);
}

function newest(token: { current: TokenSource | undefined }): TokenSource {
  return (context) => (typeof token.current === "function" ? token.current(context) : (token.current ?? ""));
}
