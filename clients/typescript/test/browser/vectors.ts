/** What a page needs to run the vectors of `clients/vectors`: the same runner that Node runs. */

export { run } from "../runner/conversation.js";
export { PURE } from "../runner/pure.js";
