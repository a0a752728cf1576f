/** React hooks over the client. React itself comes from the application. */

export {
  type Mutation,
  type UsedConflicts,
  type UsedEntity,
  type UsedPresence,
  useConflicts,
  useConnection,
  useEntity,
  useMutation,
  usePresence,
  useQuery,
  useSyncStatus,
} from "./hooks.js";
export { ContinuumProvider, type ContinuumProviderProps, useClient } from "./provider.js";
