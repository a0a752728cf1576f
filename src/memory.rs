//! Gives memory that was freed back to the system.
//!
//! Why: a crowd that connects at once passes through HTTP parsers with 16 KB each before it is upgraded. The allocator
//! keeps those pages, and they would count as the cost of connections that need a fifth of it (`docs/performance.md`).
//! This is the one place with `unsafe`: a call without arguments that the C library documents as safe from any thread.
#![allow(unsafe_code)]

/// Asks the allocator to return the pages that hold nothing. Takes milliseconds; call it when a crowd has come or gone.
/// Does nothing where the allocator has no such call.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a plain number, is thread-safe (glibc manual, attributes MT-Safe) and touches only
    // pages that no allocation uses.
    unsafe {
        libc::malloc_trim(0);
    }
}
