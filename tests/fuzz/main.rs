//! Every parser of what others send meets its corpus, and for a moment what comes of mangling it.
//!
//! Why by hand: what runs under `cargo test` on stable Rust elsewhere draws bytes at random, of which none is ever JSON. This
//! here mangles good inputs, but does not see where they lead; for that there is libFuzzer, with the same targets and the same
//! corpus: `scripts/fuzz`. `CONTINUUM_FUZZ_SECONDS` says how long each target is mangled for.

mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fastrand::Rng;

/// The longest input that is made.
const LONGEST: usize = 8 * 1024;

/// What breaks readers, wherever it stands.
const NASTY: &[&[u8]] = &[
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"0",
    b"1e400",
    b"-0.0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9007199254740993",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\"",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"/",
    b"~1",
    b"~",
    b"-",
    b".",
    b"*",
    b">",
    b"=",
    b"%",
    b"&",
    b"+",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\0",
    b"\n",
    b" ",
    "\u{feff}".as_bytes(),
    "é🌗\u{301}".as_bytes(),
    b"\x81\x80\x01\x02\x03\x04",
    b"\x89\x85\x01\x02\x03\x04",
    b"\x88\x82\x01\x02\x03\x04",
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder(target))
        .expect("the target has a corpus")
        .map(|file| file.expect("readable").path())
        .collect();
    files.sort();
    let inputs: Vec<_> = files.iter().map(|file| fs::read(file).expect("readable")).collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

/// The words of the inputs, each as often as it stands there.
fn words(inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-\"".contains(byte);
    let words = inputs.iter().flat_map(|input| input.split(move |byte| !in_word(byte)));
    words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A place in the input and a stretch from there.
fn stretch(random: &mut Rng, input: &[u8]) -> std::ops::Range<usize> {
    let start = random.usize(..=input.len());
    let most = if random.bool() { 8 } else { input.len() };
    start..(start + random.usize(..=most)).min(input.len())
}

fn mangle(random: &mut Rng, input: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[Vec<u8>]) {
    let range = stretch(random, input);
    match random.u8(..8) {
        0 => drop(input.drain(range)),
        1 => {
            let twice = input[range.clone()].to_vec();
            input.splice(range.start..range.start, twice);
        }
        2 if !words.is_empty() => drop(input.splice(range, words[random.usize(..words.len())].iter().copied())),
        3 => drop(input.splice(range, NASTY[random.usize(..NASTY.len())].iter().copied())),
        4 => drop(input.splice(range.start..range.start, NASTY[random.usize(..NASTY.len())].iter().copied())),
        5 => {
            let other = &inputs[random.usize(..inputs.len())];
            let part = stretch(random, other);
            input.splice(range, other[part].iter().copied());
        }
        6 if !range.is_empty() => input[range.start] ^= 1 << random.u8(..8),
        _ if !range.is_empty() => input[range.start] = random.u8(..),
        _ => input.push(random.u8(..)),
    }
    input.truncate(LONGEST);
}

fn run(target: &str) {
    let (_, check) = targets::ALL.iter().find(|(name, _)| *name == target).expect("a target");
    let holds = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-found"));
            fs::write(&path, input).expect("the target directory can be written");
            let folder = folder(target);
            panic!(
                "{target} fails with {path:?}: {:?}; mend it and keep that in {folder:?}",
                input.escape_ascii().to_string()
            );
        }
    };
    let inputs = corpus(target);
    inputs.iter().for_each(|input| holds(input));
    let seconds = std::env::var("CONTINUUM_FUZZ_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    // Always the same way, so that what passes today does tomorrow; as far as time allows.
    let (words, mut random) = (words(&inputs), Rng::with_seed(seconds.unwrap_or(1)));
    let (begun, time) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(1)));
    let mut tried = 0_u64;
    while begun.elapsed() < time {
        let mut input = inputs[random.usize(..inputs.len())].clone();
        for _ in 0..random.usize(1..=6) {
            mangle(&mut random, &mut input, &inputs, &words);
        }
        holds(&input);
        tried += 1;
    }
    println!("{target}: {tried} inputs");
}

macro_rules! tests {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            run(stringify!($target));
        })*

        #[test]
        fn every_target_is_run() {
            assert_eq!(targets::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [$(stringify!($target)),*]);
        }
    };
}

tests! {
    frames sync_envelopes typed_envelopes publishes operations cursors subjects deflated queries peers stored tokens
}
