//! Ports that stay a test's own, whether somebody listens on them or not.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A free port on loopback. As long as this lives, nobody gets it by chance, and a server that is told to may listen on it,
/// go, and listen on it again.
///
/// It is a socket that is bound and never listens. Linux lets another socket with `SO_REUSEADDR` bind the same address
/// then (Go's and tokio's listeners have it), but gives the port to nobody who asks for any free one.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _held: Option<Socket>,
}

impl Port {
    pub(super) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.set_reuse_address(true).expect("an option of every TCP socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("there is a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.expect("it was bound to an internet address");
        // Elsewhere a bound socket keeps everybody out: the port is only likely to stay free.
        Self { address, _held: cfg!(target_os = "linux").then_some(socket) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
