//! The room as agents' tools see it: the Model Context Protocol, over standard input and output.
//!
//! Owns: what is said in MCP. Must not know: the command line; how a replica keeps and sends what it holds
//! ([`crate::replica`]).
//!
//! | file | owns |
//! | --- | --- |
//! | `wrap` | another MCP server, with a pull before and a push after each of its tools |

pub mod wrap;
