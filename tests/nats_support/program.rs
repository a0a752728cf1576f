//! Where the server's program is.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The variable that names a program to use, whatever its version.
const VARIABLE: &str = "CONTINUUM_NATS_SERVER";
/// Where `scripts/setup` puts it.
const OURS: &str = ".tools/venv/bin/nats-server";
/// The oldest version that a node works with; `scripts/common.sh` has the same.
const FLOOR: [u64; 3] = [2, 12, 7];

/// The program to start: what `CONTINUUM_NATS_SERVER` names, else a recent one on the `PATH`, else the one that
/// `scripts/setup` gets.
///
/// # Panics
///
/// When there is none: a test that needs a server and has none has failed.
pub fn program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
            let named = PathBuf::from(named);
            assert!(version(&named).is_some(), "{VARIABLE} names {}, which does not run", named.display());
            return named;
        }
        let on_path = PathBuf::from("nats-server");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(OURS);
        let recent = |program: &PathBuf| version(program).is_some_and(|version| version >= FLOOR);
        let [a, b, c] = FLOOR;
        [on_path, ours].into_iter().find(recent).unwrap_or_else(|| {
            panic!("no nats-server {a}.{b}.{c} or later on PATH, in {OURS} or named by {VARIABLE}: run scripts/setup")
        })
    })
}

/// What a program says of itself: `nats-server: v2.15.1`. `None` if it does not run or says something else.
fn version(program: &Path) -> Option<[u64; 3]> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers = text.trim().strip_prefix("nats-server: v")?;
    // A pre-release counts as what it becomes.
    let mut parts = numbers.split('-').next()?.split('.').map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?])
}
