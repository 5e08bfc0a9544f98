// SPDX-License-Identifier: Apache-2.0
//! The control socket between server and worker: start, log lines, seldom questions.
//!
//! One JSON message a packet, with file descriptors beside it. A message too long for a packet
//! travels in a memfd. The socket's end of file tells each side that the other is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::limits::WorkerLimits;
use super::memory::SharedMemory;
use super::metric_message::{MetricAnswer, MetricRequest};
use crate::host::{ModelSource, ModelTraits};

/// Changes with every change of frames or messages: a worker may come from another installation.
pub(crate) const PROTOCOL_VERSION: u32 = 10;

/// Longest message that travels in the packet itself; the kernel takes some 200 KiB.
const PACKET_LIMIT: usize = 64 * 1024;
/// Longest message at all: what a worker says must not take up the server's memory.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
const MAX_FDS: usize = 7;

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// The first message: serve this model. Beside it the descriptors of the channel.
    Serve(StartOrder),
    /// The first message: say what configuration the model wants, and leave.
    CompleteConfig(StartOrder),
    /// Answers [`ToServer::IsCancelled`].
    Cancelled { token: u64, is_cancelled: bool },
    /// Answers [`ToServer::WaitForRoom`]; comes late if the client is slow.
    Room { token: u64 },
    /// Answers [`ToServer::Metric`].
    Metric { token: u64, answer: MetricAnswer },
    /// Asks whether the model is ready; the last question has been answered.
    CheckReady,
}

/// What a worker has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartOrder {
    pub(crate) protocol_version: u32,
    pub(crate) source: ModelSource,
    /// Most verbose level that the server logs, as a number of [`log::LevelFilter`].
    pub(crate) log_level: usize,
    pub(crate) limits: WorkerLimits,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToServer {
    /// The model is loaded and initialised.
    Started { traits: ModelTraits },
    /// It is not, for this reason.
    Failed { message: String },
    /// Answers [`ToWorker::CompleteConfig`]; `None` if the model completes nothing.
    Completed { config: Option<String> },
    /// A line for the server's log.
    Log(LogLine),
    /// Asks whether a request was given up.
    IsCancelled { token: u64, batch: u64, index: u32 },
    /// Asks to hear when the client of a request has read enough to be sent more.
    WaitForRoom { token: u64, batch: u64, index: u32 },
    /// Makes or changes a metric; the token is 0 where no answer is due.
    Metric { token: u64, request: MetricRequest },
    /// Answers [`ToWorker::CheckReady`]: why the model is not ready, if it is not.
    Ready { reason: Option<String> },
}

/// A line for the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogLine {
    /// Number of the [`log::Level`].
    pub(crate) level: usize,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) message: String,
    /// The requests it is about, if that is known; else empty.
    pub(crate) request_id: String,
    /// Whether the message has lines of its own.
    pub(crate) is_traceback: bool,
}

/// What a packet holds.
#[derive(Serialize, Deserialize)]
enum Packet {
    /// The message lies in the last descriptor beside the packet, in this many bytes.
    Attached { byte_size: usize },
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct ControlSocket(OwnedFd);

impl ControlSocket {
    /// Makes both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends a message, or fails if that would have to wait: how the server answers, which must
    /// not be held up by a worker that does not listen.
    pub(crate) fn try_send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Sends a message with descriptors.
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, fds, SendFlags::NOSIGNAL)
    }

    fn send_with(
        &self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() <= PACKET_LIMIT {
            return self.send_packet(&text, fds, flags);
        }
        let memory = SharedMemory::create("tritongw-message", text.len())?;
        let is_inside = memory.write(0, &text);
        debug_assert!(is_inside, "made for this text");
        let packet = serde_json::to_vec(&Packet::Attached {
            byte_size: text.len(),
        })?;
        let mut fds = fds.to_vec();
        fds.push(memory.fd());
        self.send_packet(&packet, &fds, flags)
    }

    fn send_packet(&self, data: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        loop {
            let sent = rustix::net::sendmsg(&self.0, &[IoSlice::new(data)], &mut ancillary, flags);
            match sent {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a message; `None` if the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut data = vec![0; PACKET_LIMIT + 1];
        let mut fds = Vec::new();
        let size = self.receive_packet(&mut data, &mut fds)?;
        if size == 0 {
            return Ok(None);
        }
        data.truncate(size);
        if let Ok(Packet::Attached { byte_size }) = serde_json::from_slice(&data) {
            data = read_attached(byte_size, fds.pop())?;
        }
        Ok(Some((serde_json::from_slice(&data)?, fds)))
    }

    fn receive_packet(&self, data: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.0,
                &mut [IoSliceMut::new(data)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    fds.extend(received);
                }
            }
            match received {
                Ok(packet) if packet.flags.contains(ReturnFlags::TRUNC) => {
                    return Err(io::Error::other("a control message is too long"));
                }
                Ok(packet) => return Ok(packet.bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn read_attached(byte_size: usize, fd: Option<OwnedFd>) -> io::Result<Vec<u8>> {
    let fd = fd.ok_or_else(|| io::Error::other("a control message lacks its descriptor"))?;
    if byte_size > MESSAGE_LIMIT {
        return Err(io::Error::other("a control message is too long"));
    }
    let memory = SharedMemory::open(fd)?;
    let mut data = vec![0; byte_size];
    if !memory.read(0, &mut data) {
        return Err(io::Error::other("a control message is cut short"));
    }
    Ok(data)
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str) -> ToServer {
        ToServer::Failed {
            message: message.to_owned(),
        }
    }

    #[test]
    fn messages_of_any_length_and_descriptors_arrive() {
        let (ours, theirs) = ControlSocket::pair().expect("sockets");
        for size in [0, 10, PACKET_LIMIT, 3 * 1024 * 1024] {
            let text = "x".repeat(size);
            theirs.send(&failure(&text), &[ours.as_fd()]).expect("sent");
            let (message, fds) = ours
                .receive::<ToServer>()
                .expect("read")
                .expect("a message");
            assert!(matches!(message, ToServer::Failed { message } if message == text));
            assert_eq!(fds.len(), 1, "of {size} bytes");
        }
    }

    #[test]
    fn nobody_waits_for_a_side_that_does_not_listen() {
        let (ours, _theirs) = ControlSocket::pair().expect("sockets");
        let sent = (0..100_000).map(|token| ours.try_send(&ToWorker::Room { token }));
        let error = sent.filter_map(Result::err).next().expect("full at last");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_end_of_the_other_side_is_seen() {
        let (ours, theirs) = ControlSocket::pair().expect("sockets");
        drop(theirs);
        assert!(ours.receive::<ToServer>().expect("read").is_none());
    }

    #[test]
    fn nonsense_is_an_error() {
        let (ours, theirs) = ControlSocket::pair().expect("sockets");
        let send = |data: &[u8], fds: &[BorrowedFd<'_>]| {
            let sent = theirs.send_packet(data, fds, SendFlags::NOSIGNAL);
            sent.expect("sent");
        };
        send(b"{\"Nonsense\":1}", &[]);
        assert!(ours.receive::<ToServer>().is_err());
        send(b"{\"Attached\":{\"byte_size\":10}}", &[]);
        assert!(ours.receive::<ToServer>().is_err(), "no descriptor");
        let small = SharedMemory::create("small", 4).expect("memory");
        send(b"{\"Attached\":{\"byte_size\":10}}", &[small.fd()]);
        assert!(ours.receive::<ToServer>().is_err(), "cut short");
    }
}
