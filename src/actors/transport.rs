//! The bytes of one connection, plain or under TLS.
//!
//! Why it exists: who writes into a connection (`link.rs`, `driver.rs`) wants to know at once what the socket takes now, and
//! asks about readiness apart from that. For a plain socket these are its own operations and nothing stands in between;
//! for TLS they are made of rustls' own state and the socket under it. Owns: what rustls holds back because the
//! socket took no more. Must not know: frames, HTTP, certificates.

use std::{
    cell::RefCell,
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_rt::net::TcpStream;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Under TLS, past the handshake.
    Tls(Box<Tls>),
}

/// A TLS connection and the socket under it.
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    tls: RefCell<ServerConnection>,
}

impl Transport {
    /// A connection whose handshake is done.
    pub fn secured(socket: TcpStream, tls: ServerConnection) -> Self {
        Self::Tls(Box::new(Tls { socket, tls: RefCell::new(tls) }))
    }

    /// The socket itself, for its options and addresses.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Ready when [`Transport::try_read`] is worth a try.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
        }
    }

    /// Ready when the socket takes bytes.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_write_ready(cx)
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the end.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes as much as is taken now; `WouldBlock` when nothing is.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Tls(tls) => tls.write(&[IoSlice::new(bytes)]),
        }
    }

    /// The same, gathered.
    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write_vectored(slices),
            Self::Tls(tls) => tls.write(slices),
        }
    }

    /// Hands the socket what was taken and not yet sent; `WouldBlock` when some of it stays.
    pub(super) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether something that was taken is not yet sent.
    pub(super) fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.tls.borrow().wants_write(),
        }
    }

    /// Says that nothing more comes. What fails here was over already.
    pub(super) fn shut_down_writing(&self) {
        if let Self::Tls(tls) = self {
            tls.tls.borrow_mut().send_close_notify();
            if tls.flush().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return; // asked again when that is sent
            }
        }
        let _ = socket2::SockRef::from(self.socket()).shutdown(Shutdown::Write);
    }
}

impl Tls {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It wants nothing from the socket while something is decrypted, and at the end.
        if self.tls.borrow().wants_read() { self.socket.poll_read_ready(cx) } else { Poll::Ready(Ok(())) }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tls = self.tls.borrow_mut();
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            tls.read_tls(&mut Raw(&self.socket))?;
            let processed = tls.process_new_packets();
            // An alert that says what is wrong, or an answer to new keys: what the socket does not take now goes with what follows.
            let _ = send(&mut tls, &self.socket);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Takes nothing new before the socket has what was taken before, so that at most one buffer of rustls' waits.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut tls = self.tls.borrow_mut();
        send(&mut tls, &self.socket)?;
        let taken = tls.writer().write_vectored(slices)?;
        match send(&mut tls, &self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&self) -> io::Result<()> {
        send(&mut self.tls.borrow_mut(), &self.socket)
    }

    /// Polls what needs the socket to take bytes.
    fn poll_sent<T>(&self, cx: &mut Context<'_>, mut attempt: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.socket.poll_write_ready(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

fn send(tls: &mut ServerConnection, socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut Raw(socket))? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// The socket as rustls reads and writes it: at once or not at all.
struct Raw<'a>(&'a TcpStream);

impl io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tls = match self.get_mut() {
            Self::Plain(socket) => return Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(tls) => tls,
        };
        loop {
            ready!(tls.poll_read_ready(cx))?;
            match tls.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_sent(cx, || tls.write(&[IoSlice::new(bytes)])),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => tls.poll_sent(cx, || tls.flush()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => {
                tls.tls.borrow_mut().send_close_notify();
                ready!(tls.poll_sent(cx, || tls.flush()))?;
                Pin::new(&mut tls.socket).poll_shutdown(cx)
            }
        }
    }
}
