//! One connection of the reference server: the upgrade or the page of figures, then frames.

use std::{cell::RefCell, io, rc::Rc};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    frames::{self, CLOSE, PING, PONG, TEXT},
    metrics,
    reference::{Member, Role, Worker},
};

const MOST_HEAD_BYTES: usize = 16 * 1024;
const READY: &str =
    r#"{"event_type":"session_ready","data":{"epoch":"0000000000000000","position":0,"cursor":"0000000000000000.0"}}"#;
const CAUGHT_UP: &str = r#"{"event_type":"caught_up","data":{"position":0,"cursor":"0000000000000000.0"}}"#;

thread_local! {
    /// One a thread, so that a quiet connection holds no memory.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// Serves a connection to its end.
pub async fn welcome(worker: Rc<Worker>, mut stream: TcpStream) {
    // A guest that breaks off is no concern of the server's.
    let Ok(Some(rest)) = open(&mut stream).await else { return };
    let member = worker.add(stream);
    let _ = serve(&worker, &member, rest).await;
    member.role.set(Role::Gone);
}

/// Answers the request; `None` when that was all.
async fn open(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(512);
    let end = loop {
        if let Some(end) = memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MOST_HEAD_BYTES || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let rest = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let Some(key) = key else {
        let body = if head.starts_with("GET /metrics ") { figures() } else { String::new() };
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
        return Ok(None);
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    frames::put_server_frame(&mut answer, TEXT, READY.as_bytes());
    frames::put_server_frame(&mut answer, TEXT, CAUGHT_UP.as_bytes());
    stream.write_all(&answer).await?;
    Ok(Some(rest))
}

fn figures() -> String {
    let seconds = metrics::own_cpu_seconds();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let resident = pages * rustix::param::page_size();
    format!("process_cpu_seconds_total {seconds}\nprocess_resident_memory_bytes {resident}\n")
}

async fn serve(worker: &Worker, member: &Rc<Member>, mut rest: Vec<u8>) -> io::Result<()> {
    while member.role.get() != Role::Gone {
        let interest = if member.is_blocked() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            ready = member.stream.ready(interest) => {
                let ready = ready?;
                if ready.is_writable() {
                    member.flush();
                }
                if !ready.is_readable() {
                    continue;
                }
            }
            () = member.blocked.notified() => continue,
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let read = member.stream.try_read(scratch);
            read.inspect(|n| rest.extend_from_slice(&scratch[..*n]))
        });
        match read {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let batch = take(&mut rest)?;
        if !batch.onward.is_empty() {
            member.role.set(Role::Publishes);
            let onward = Bytes::from(batch.onward);
            for worker in worker.hub.iter() {
                worker.send(onward.clone()).await.map_err(io::Error::other)?;
            }
        }
        if !batch.back.is_empty() {
            member.send(&Bytes::from(batch.back));
        }
        if batch.closes {
            return Ok(());
        }
    }
    Ok(())
}

/// What one read of a connection asks for.
#[derive(Default)]
struct Batch {
    onward: Vec<u8>,
    back: Vec<u8>,
    closes: bool,
}

fn take(rest: &mut Vec<u8>) -> io::Result<Batch> {
    let mut batch = Batch::default();
    let mut used = 0;
    while let Some(frame) = frames::header(&rest[used..]).map_err(io::Error::other)? {
        let payload = used + frame.payload.start..used + frame.payload.end;
        used += frame.payload.end;
        if let Some(mask) = frame.mask.filter(|mask| *mask != [0; 4]) {
            for (at, byte) in rest[payload.clone()].iter_mut().enumerate() {
                *byte ^= mask[at % 4];
            }
        }
        let payload = &rest[payload];
        match frame.opcode {
            TEXT => {
                frames::put_server_frame(&mut batch.onward, TEXT, payload);
                if let Some(id) = frames::text_after(payload, b"\"event_id\":\"") {
                    let ack = format!(r#"{{"event_type":"ack","data":{{"event_id":"{id}","seq":1}}}}"#);
                    frames::put_server_frame(&mut batch.back, TEXT, ack.as_bytes());
                }
            }
            PING => frames::put_server_frame(&mut batch.back, PONG, payload),
            CLOSE => {
                frames::put_server_frame(&mut batch.back, CLOSE, payload);
                batch.closes = true;
            }
            _ => {}
        }
    }
    rest.drain(..used);
    Ok(batch)
}
