//! Lines in and lines out. Owns: that a line has a greatest length, that nothing is lost when waiting for one is given up, and
//! that what waits to be written is known by its bytes. Must not know: what a line says.

use std::{collections::VecDeque, future::pending, io};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest line, with its end.
pub(super) const LONGEST: usize = 64 << 20;
/// Read at a time.
const STEP: usize = 16 << 10;

/// What is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line with its end, or without one if it is the last.
    Line(Bytes),
    /// A line is too long; there is no way on.
    TooLong,
    /// There is no more.
    End,
}

/// Lines of a pipe.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    reader: R,
    kept: BytesMut,
    /// So much of it has no end of a line.
    looked: usize,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub fn new(reader: R, longest: usize) -> Self {
        Self { reader, kept: BytesMut::new(), looked: 0, longest }
    }

    /// The next one. Waiting for it may be given up.
    pub async fn next(&mut self) -> Read {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.kept[self.looked..]) {
                let line = self.kept.split_to(self.looked + end + 1).freeze();
                self.looked = 0;
                return if line.len() > self.longest { Read::TooLong } else { Read::Line(line) };
            }
            self.looked = self.kept.len();
            if self.looked > self.longest {
                return Read::TooLong;
            }
            self.kept.reserve(STEP);
            match self.reader.read_buf(&mut self.kept).await {
                Ok(1..) => {}
                Ok(0) if self.kept.is_empty() => return Read::End,
                Ok(0) => {
                    self.looked = 0;
                    return Read::Line(self.kept.split().freeze());
                }
                Err(error) => {
                    tracing::debug!(%error, "a pipe cannot be read");
                    return Read::End;
                }
            }
        }
    }
}

/// What waits to be written to a pipe.
#[derive(Debug)]
pub(super) struct Outgoing<W> {
    /// `None`: closed.
    writer: Option<W>,
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// Written, and perhaps on its way still.
    is_unflushed: bool,
    /// The last line that was taken had its end.
    is_ended: bool,
    /// Nothing more comes.
    is_last: bool,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub fn new(writer: W) -> Self {
        let lines = VecDeque::new();
        Self { writer: Some(writer), lines, bytes: 0, is_unflushed: false, is_ended: true, is_last: false }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.writer.is_none() || (self.lines.is_empty() && !self.is_unflushed && !self.is_last)
    }

    /// Takes a line as it is. Into a closed pipe goes nothing.
    pub fn pass(&mut self, line: Bytes) {
        if self.writer.is_some() && !line.is_empty() {
            self.is_ended = line.ends_with(b"\n");
            self.bytes += line.len();
            self.lines.push_back(line);
        }
    }

    /// Takes a line of our own, which begins on a line of its own.
    pub fn say(&mut self, line: Vec<u8>) {
        if !self.is_ended {
            self.pass(Bytes::from_static(b"\n"));
        }
        self.pass(line.into());
    }

    /// Closes it when what waits is written.
    pub fn close_when_done(&mut self) {
        self.is_last = true;
    }

    /// Closes it.
    pub fn close(&mut self) {
        self.writer = None;
        self.lines.clear();
        self.bytes = 0;
    }

    /// Does the next step. Waiting for it may be given up.
    ///
    /// # Errors
    ///
    /// The pipe takes nothing any more.
    pub async fn go_on(&mut self) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return pending().await };
        if let Some(line) = self.lines.front_mut() {
            let written = writer.write(line).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.is_unflushed = true;
            self.bytes -= written;
            line.advance(written);
            if line.is_empty() {
                self.lines.pop_front();
            }
        } else if self.is_unflushed {
            writer.flush().await?;
            self.is_unflushed = false;
        } else if self.is_last {
            self.writer = None;
        } else {
            return pending().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_with_their_ends_and_the_last_without_one() {
        let mut lines = Incoming::new(&b"a\r\n\nbc"[..], 3);
        for line in ["a\r\n", "\n", "bc"] {
            assert_eq!(lines.next().await, Read::Line(line.into()));
        }
        assert_eq!(lines.next().await, Read::End);
    }

    #[tokio::test]
    async fn a_line_has_a_greatest_length() {
        assert_eq!(Incoming::new(&b"abc\n"[..], 3).next().await, Read::TooLong);
        assert_eq!(Incoming::new(&b"abcd"[..], 3).next().await, Read::TooLong);
        assert_eq!(Incoming::new(&b"ab\n"[..], 3).next().await, Read::Line("ab\n".into()));
    }

    #[tokio::test]
    async fn our_own_lines_begin_on_lines_of_their_own() {
        let mut written = Vec::new();
        let mut out = Outgoing::new(&mut written);
        out.pass("a\n".into());
        out.say(b"b\n".to_vec());
        out.pass("half".into());
        assert_eq!(out.bytes(), 8);
        out.say(b"c\n".to_vec());
        out.close_when_done();
        while !out.is_idle() {
            out.go_on().await.expect("written");
        }
        out.pass("lost".into());
        assert_eq!(out.bytes(), 0);
        drop(out);
        assert_eq!(written, b"a\nb\nhalf\nc\n");
    }
}
