//! A disk that is soon full: a small file system of its own, in a user namespace, for one test in a process of its own.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitStatus},
};

const DIR: &str = "CONTINUUM_TEST_SMALL_DISK";

/// Where the child's temporary directories lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporary {
    /// Where they always do.
    #[allow(dead_code, reason = "not every binary fills its disk in both ways")]
    Elsewhere,
    /// On the small disk.
    #[allow(dead_code, reason = "the same")]
    OnTheDisk,
}

/// Runs another test of this binary with a disk of so many MiB.
pub fn run(child: &str, mebibytes: usize, temporary: Temporary) {
    let dir = tempfile::tempdir().expect("a directory");
    let me = env::current_exe().expect("this program");
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m none \"${DIR}\" || exit 77
        exec \"$0\" --exact {child} --nocapture"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).arg(me).env(DIR, dir.path());
    if temporary == Temporary::OnTheDisk {
        command.env("TMPDIR", dir.path());
    }
    let status = command.status();
    match status.as_ref().map(ExitStatus::code) {
        Ok(Some(0)) => {}
        // No user namespaces here, or no such program: there is nothing to fill.
        Err(_) | Ok(Some(1 | 77 | 127)) if !may_mount() => {
            let why = "no small file system can be mounted here (unprivileged user namespaces, `unshare` and `mount`)";
            // A person may go on without; where the project is judged, this is part of it.
            assert!(env::var_os("CI").is_none(), "{why}");
            eprintln!("not run: {why}");
        }
        other => panic!("{other:?}"),
    }
}

/// The small disk, in the child; `None` in a run of all tests.
pub fn given() -> Option<PathBuf> {
    env::var_os(DIR).map(PathBuf::from)
}

fn may_mount() -> bool {
    let probe = "mount -t tmpfs none /mnt";
    Command::new("unshare").args(["-rm", "sh", "-c", probe]).status().is_ok_and(|status| status.success())
}
