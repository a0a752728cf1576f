//! Other processes of this machine, by what the system tells of them: who listens on a port, and what it has cost.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// In `/proc/net/tcp`: a socket that listens.
const LISTENS: &str = "0A";

/// Processor seconds of a process so far, user and system; `None` where the system does not tell.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks(&text)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The 14th and 15th word; the second one stands in brackets and may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let mut words = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut word = || words.next()?.parse::<u64>().ok();
    Some(word()? + word()?)
}

/// The process of this machine that listens on an address; `None` if it is on another machine or another user's.
pub fn listening_on(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    // A server that listens on all addresses of both families stands in the table of the newer one.
    let inode =
        [table, "/proc/net/tcp6"].iter().find_map(|table| inode_in(&fs::read_to_string(table).ok()?, address))?;
    let socket = format!("socket:[{inode}]");
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    processes.into_iter().find(|pid| has_open(*pid, &socket))
}

/// The inode of the socket that listens there, by a table's text.
fn inode_in(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (host, port) = words.get(1)?.split_once(':')?;
        let is_port = u16::from_str_radix(port, 16) == Ok(address.port());
        let is_here = host.bytes().all(|digit| digit == b'0') || host == in_hexadecimal(address.ip());
        (is_port && is_here && words.get(3) == Some(&LISTENS)).then(|| words.get(9)?.parse().ok())?
    })
}

/// As the table has it: words of four bytes, each in the machine's own order.
fn in_hexadecimal(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    words.map(|word| format!("{word:08X}")).collect()
}

fn has_open(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.filter_map(Result::ok).any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_a_name_with_blanks_and_brackets() {
        let stat = "42 (nats (1) x) S 1 42 42 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 7 0 1";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("42"), None);
    }

    #[test]
    fn this_process_is_found_by_its_port_and_has_cost_something() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        assert_eq!(listening_on(address), Some(std::process::id()));
        assert!(cpu_seconds(std::process::id()).is_some());
        drop(listener);
        assert_eq!(listening_on(address), None);
        assert_eq!(listening_on("192.0.2.1:4222".parse().expect("an address")), None);
    }
}
