//! The benches that need NATS, in small form.
