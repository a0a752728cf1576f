//! How nodes of tests stand on servers of tests.

/// The settings of a node on these servers; `settings` come behind the usual ones.
pub fn on<'a>(urls: &'a str, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // The servers of tests have little room.
    let usual = [("backbone.kind", "nats"), ("nats.urls", urls), ("log.retention_bytes", "0")];
    usual.into_iter().chain(settings.iter().copied()).collect()
}
