//! The targets of `tests/fuzz` under libFuzzer; `CONTINUUM_FUZZ_TARGET` names the one. `scripts/fuzz` builds and runs it.
#![no_main]

use std::{panic, sync::OnceLock, thread};

#[path = "../../tests/fuzz/targets.rs"]
mod targets;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: start(), |data: &[u8]| TARGET.get().expect("it was named at the start")(data));

fn start() {
    let name = std::env::var("CONTINUUM_FUZZ_TARGET").expect("CONTINUUM_FUZZ_TARGET names a target");
    let (_, target) = targets::ALL.iter().find(|(known, _)| *known == name).expect("there is such a target");
    TARGET.get_or_init(|| *target);
    // Every panic is a finding but those of the reader of conditions, which the node expects: it has a thread of its own.
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some("query") {
            abort(info);
        }
    }));
}
