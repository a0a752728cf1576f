//! Runs the log's own workload against two embedded stores: `stores <redb|fjall> <empty directory> [group] [records]`.
//!
//! One writer commits groups of records of 256 bytes, flushed each time; a record is a log row, an order row and a
//! dedupe row that is looked up first. The load runs in a child that is killed with `kill -9` right after its last
//! commit, so that the time to open is the time after a crash. Prints one line of figures.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

mod with_fjall;
mod with_redb;

const ROOMS: u64 = 64;
const BODY: usize = 256;

/// What a store has to do here.
pub trait Store {
    fn open(dir: &Path) -> Self;
    fn commit(&mut self, first: u64, count: u64);
    fn read_room(&self, room: u32) -> u64;
    /// Deletes records `from..to` in one flushed commit.
    fn delete(&mut self, from: u64, to: u64);
}

pub fn room_of(position: u64) -> u32 {
    u32::try_from(position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).unwrap_or(0) % ROOMS as u32
}

pub fn log_key(room: u32, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&room.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The room and 16 bytes that look random, the same on every run.
pub fn dedupe_key(room: u32, position: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&room.to_be_bytes());
    key[4..12].copy_from_slice(&mix(position).to_be_bytes());
    key[12..].copy_from_slice(&mix(!position).to_be_bytes());
    key
}

/// A body that does not compress.
pub fn body(position: u64) -> [u8; BODY] {
    let mut body = [0; BODY];
    for (index, word) in body.chunks_mut(8).enumerate() {
        word.copy_from_slice(&mix(position * 64 + index as u64).to_be_bytes());
    }
    body
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// CPU time of all threads of this process; ticks of 10 ms.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let rest = stat.rsplit(')').next().expect("a name in brackets");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

fn disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(dir)
        .expect("the directory is there")
        .map(|entry| {
            let entry = entry.expect("readable");
            let meta = entry.metadata().expect("readable");
            if meta.is_dir() { disk(&entry.path()) } else { meta.blocks() * 512 }
        })
        .sum()
}

fn load<S: Store>(dir: &Path, group: u64, records: u64) {
    let mut store = S::open(dir);
    let (begin, cpu_before) = (Instant::now(), cpu());
    let mut slowest = Duration::ZERO;
    let mut next = 1;
    while next <= records {
        let commit = Instant::now();
        store.commit(next, group);
        slowest = slowest.max(commit.elapsed());
        next += group;
    }
    let took = begin.elapsed().as_secs_f64();
    let done = (next - 1) as f64;
    println!(
        "commits/s {:.0}, records/s {:.0}, slowest commit {} ms, CPU s per million {:.1}, disk bytes per record {:.0}",
        done / group as f64 / took,
        done / took,
        slowest.as_millis(),
        (cpu() - cpu_before) / done * 1e6,
        disk(dir) as f64 / done,
    );
    std::thread::sleep(Duration::MAX);
}

fn after<S: Store>(dir: &Path, records: u64) {
    let begin = Instant::now();
    let mut store = S::open(dir);
    let opened = begin.elapsed();
    let (idle, cpu_before) = (Duration::from_secs(3), cpu());
    std::thread::sleep(idle);
    let idle_cpu = (cpu() - cpu_before) / idle.as_secs_f64();
    let begin = Instant::now();
    let read: u64 = (0..4).map(|room| store.read_room(room)).sum();
    let reading = begin.elapsed().as_secs_f64();
    let (begin, cpu_before) = (Instant::now(), cpu());
    let mut from = 1;
    while from <= records / 2 {
        store.delete(from, from + 1000);
        from += 1000;
    }
    println!(
        "    open after kill {} ms, idle CPU {idle_cpu:.3}, read of rooms {:.0} records/s, oldest half deleted in {} ms ({:.1} CPU s), disk bytes {}",
        opened.as_millis(),
        read as f64 / reading,
        begin.elapsed().as_millis(),
        cpu() - cpu_before,
        disk(dir),
    );
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let [_, which, dir, group, records, rest @ ..] = &args[..] else {
        panic!("stores <redb|fjall> <dir> <group> <records>")
    };
    let (path, count) = (Path::new(dir), records.parse().expect("records"));
    let group_size: u64 = group.parse().expect("group");
    if rest.first().is_some_and(|word| word == "load") {
        match which.as_str() {
            "redb" => load::<with_redb::Redb>(path, group_size, count),
            _ => load::<with_fjall::Fjall>(path, group_size, count),
        }
        return;
    }
    fs::create_dir_all(path).expect("made");
    let mut child =
        Command::new(&args[0]).args(&args[1..]).arg("load").stdout(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
    child.kill().expect("killed");
    child.wait().expect("waited");
    print!("{which}, groups of {group}, {records} records: {line}");
    match which.as_str() {
        "redb" => after::<with_redb::Redb>(path, count),
        _ => after::<with_fjall::Fjall>(path, count),
    }
}
