//! The rules, held to what they promise.

mod clocks;
mod delta;
mod ledger;
mod loss;
mod order;
mod patches;
mod recent;
mod resolve;
mod support;
mod table;
mod texts;
mod whole;
mod world;
