#![warn(warnings)]
//! Asks Linux, by `NETLINK_SOCK_DIAG`, how full the receive buffer of a UDP
//! socket of this host is. That takes no privilege, and about 2 us.

use std::{
  cell::RefCell,
  io,
  net::{IpAddr, SocketAddrV4},
};

use netlink_packet_core::{
  NetlinkHeader, NetlinkMessage, NetlinkPayload, NLM_F_REQUEST,
};
use netlink_packet_sock_diag::{
  constants::{AF_INET, IPPROTO_UDP},
  inet::{nlas::Nla, ExtensionFlags, InetRequest, SocketId, StateFlags},
  SockDiagMessage,
};
use netlink_sys::{protocols::NETLINK_SOCK_DIAG, Socket, SocketAddr};

use super::receivers::Backlog;

/// More than one answer needs.
const ANSWER_BYTES: usize = 4096;

/// A socket that asks the kernel.
pub(super) struct SockDiag {
  socket: Socket,
  buffer: RefCell<Vec<u8>>,
}

impl SockDiag {
  pub(super) fn new() -> io::Result<Self> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    Ok(Self {
      socket,
      buffer: RefCell::new(Vec::with_capacity(ANSWER_BYTES)),
    })
  }

  /// How full the buffer is that receives at `address`, in the kernel's
  /// accounting. `None` where nobody receives there, or the kernel does not
  /// answer.
  pub(super) fn backlog(&self, address: SocketAddrV4) -> Option<Backlog> {
    let mut buffer = self.buffer.borrow_mut();
    let mut request = NetlinkMessage::new(
      NetlinkHeader::default(),
      SockDiagMessage::InetRequest(request_for(address)).into(),
    );
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    buffer.clear();
    buffer.resize(request.buffer_len(), 0);
    request.serialize(&mut buffer);
    self.socket.send(&buffer, 0).ok()?;
    // The kernel has answered when `send` returns.
    buffer.clear();
    buffer.reserve(ANSWER_BYTES);
    self.socket.recv(&mut *buffer, 0).ok()?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&buffer).ok()?;
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) = answer.payload else {
      return None;
    };
    if found.header.socket_id.source_port != address.port() {
      return None;
    }
    found.nlas.iter().find_map(|nla| match nla {
      Nla::MemInfo(memory) => Some(Backlog {
        waiting: memory.receive_queue as usize,
        capacity: memory.receive_queue_max as usize,
      }),
      _ => None,
    })
  }
}

/// Asks for the one socket that would receive what is sent to `address`.
fn request_for(address: SocketAddrV4) -> InetRequest {
  let (ip, port) = (IpAddr::V4(*address.ip()), address.port());
  InetRequest {
    family: AF_INET,
    protocol: IPPROTO_UDP,
    extensions: ExtensionFlags::SKMEMINFO,
    states: StateFlags::all(),
    // The kernel looks a UDP socket up as a datagram is: its own end is the destination. Kernels have differed in
    // which of the two that is, and a socket that is not connected does not mind the other.
    socket_id: SocketId {
      source_port: port,
      destination_port: port,
      source_address: ip,
      destination_address: ip,
      interface_id: 0,
      cookie: [0xff; 8],
    },
  }
}

#[cfg(test)]
mod tests {
  use std::net::UdpSocket;

  use super::*;

  fn receiver() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, SocketAddrV4::new([127, 0, 0, 1].into(), port))
  }

  #[test]
  fn what_waits_at_a_socket_is_told() {
    let diag = SockDiag::new().unwrap();
    let (socket, address) = receiver();
    let empty = diag.backlog(address).unwrap();
    assert_eq!(empty.waiting, 0);
    let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    sender.send_to(&[0; 50_000], address).unwrap();
    let full = diag.backlog(address).unwrap();
    assert!((50_000..100_000).contains(&full.waiting), "{full:?}");
    assert_eq!(full.capacity, empty.capacity);
    socket.recv(&mut [0; 50_000]).unwrap();
    assert_eq!(diag.backlog(address).unwrap().waiting, 0);
  }

  #[test]
  fn nobody_receives_at_a_port_that_is_free() {
    let diag = SockDiag::new().unwrap();
    let (socket, address) = receiver();
    drop(socket);
    assert!(diag.backlog(address).is_none());
    let (_other, other) = receiver();
    assert!(diag.backlog(other).is_some(), "an error before it does not disturb");
  }
}
