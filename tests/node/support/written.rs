//! What nodes write and answer during a run of the tests, in files under `target/tmp/written`: `scripts/check-secrets` looks
//! for secrets in them when all tests are through. What tests plant to be found there has `planted` in it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::http::Response;

/// The most that one file takes, in bytes; its last line says so.
const MOST: usize = 16 << 20;

/// A file.
#[derive(Debug)]
pub(super) struct Written {
    file: File,
    left: usize,
}

impl Written {
    /// Begins a file, with the test's name as its first line.
    pub(super) fn new(what: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written");
        fs::create_dir_all(&folder).expect("a folder under target");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = File::create(folder.join(format!("{what}-{}-{number}.log", process::id()))).expect("a file");
        let mut written = Self { file, left: MOST };
        written.add(format!("# {}", thread::current().name().unwrap_or("a test")).as_bytes());
        written
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &[u8]) {
        let fits = self.left > line.len();
        let line = if fits { line } else { b"# cut off here" };
        if self.left > 0 {
            // A full disk fails the tests by itself.
            let _ = self.file.write_all(&[line, b"\n"].concat());
        }
        self.left = if fits { self.left - line.len() } else { 0 };
    }
}

static ANSWERS: LazyLock<Mutex<(Written, HashSet<String>)>> =
    LazyLock::new(|| Mutex::new((Written::new("answers"), HashSet::new())));

/// Adds the body of a refusal, and what is new in a text of figures: their names and labels.
pub(super) fn note(answer: &Response) {
    let of_figures = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"));
    if !of_figures && answer.status < 400 {
        return;
    }
    let mut kept = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let (written, seen) = &mut *kept;
    for line in String::from_utf8_lossy(&answer.body).lines() {
        let line = if of_figures { line.rsplit_once(' ').map_or(line, |(name, _)| name) } else { line };
        if !of_figures || seen.insert(line.to_owned()) {
            written.add(line.as_bytes());
        }
    }
}
