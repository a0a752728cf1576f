/** The protocol that this client speaks. The package's major version is the same number. */
export const PROTOCOL = 1;
