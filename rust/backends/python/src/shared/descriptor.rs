// SPDX-License-Identifier: Apache-2.0
//! The 64 bytes that begin every frame of a ring.

/// Size of a descriptor, and of the cells a ring is made of.
pub(crate) const CELL_SIZE: usize = 64;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// Fills the end of a ring that is too short for the next frame.
    Skip = 0,
    /// To the worker: execute these requests.
    Execute = 1,
    /// To the worker: finish and leave.
    Stop = 2,
    /// To the server: a response, or flags alone.
    Response = 3,
    /// To the server: `execute` has returned, or raised.
    Executed = 4,
    /// To the server: nothing in the worker holds the inputs of the batch any more.
    Released = 5,
    /// To the server: a call to another model.
    Call = 6,
    /// To the server: give a call up.
    CallCancel = 7,
    /// To the server: so many responses of a call were looked at.
    CallRead = 8,
    /// To the server: nothing in the worker holds a response of a call any more.
    CallReleased = 9,
    /// To the server: there is room in the ring of replies again.
    CallRoom = 10,
    /// To the server: load or unload a model, or say whether it is ready.
    Control = 11,
    /// To the worker: a response to a call, or flags alone.
    Reply = 12,
    /// To the server: execute this request once more, when `execute` has returned.
    Rescheduled = 13,
    /// To the server: nothing more is sent to this request in the name of a batch after which it
    /// was to be executed once more.
    LetGo = 14,
}

impl FrameKind {
    const ALL: [Self; 15] = [
        Self::Skip,
        Self::Execute,
        Self::Stop,
        Self::Response,
        Self::Executed,
        Self::Released,
        Self::Call,
        Self::CallCancel,
        Self::CallRead,
        Self::CallReleased,
        Self::CallRoom,
        Self::Control,
        Self::Reply,
        Self::Rescheduled,
        Self::LetGo,
    ];
}

/// The head of a frame; what a field means depends on the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// What the frame says.
    pub(crate) kind: FrameKind,
    /// `TRITONSERVER_ResponseCompleteFlag` of a response.
    pub(crate) flags: u16,
    /// Bytes that follow the descriptor in the ring.
    pub(crate) payload_size: u32,
    /// The batch or call it is about.
    pub(crate) batch: u64,
    /// The request of the batch that a response answers; the number of a call's response.
    pub(crate) index: u32,
    /// Requests of the batch to execute; responses that were looked at.
    pub(crate) count: u32,
    /// Where the body lies that was too large for the ring, and its size: 0 if there is none.
    pub(crate) body_offset: u64,
    /// See `body_offset`.
    pub(crate) body_size: u64,
    /// When `execute` was called, by the monotonic clock.
    pub(crate) compute_start_ns: u64,
    /// When it had returned, or the response was sent.
    pub(crate) compute_end_ns: u64,
    /// The release flag of the body.
    pub(crate) body_slot: u32,
}

impl Descriptor {
    /// Makes a descriptor whose other fields are zero.
    pub(crate) fn new(kind: FrameKind, batch: u64) -> Self {
        Self {
            kind,
            flags: 0,
            payload_size: 0,
            batch,
            index: 0,
            count: 0,
            body_offset: 0,
            body_size: 0,
            compute_start_ns: 0,
            compute_end_ns: 0,
            body_slot: 0,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; CELL_SIZE] {
        let mut bytes = [0; CELL_SIZE];
        bytes[0] = self.kind as u8;
        bytes[2..4].copy_from_slice(&self.flags.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_size.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.batch.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.index.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.count.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.body_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.body_size.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.compute_start_ns.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.compute_end_ns.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.body_slot.to_le_bytes());
        bytes
    }

    /// Reads a descriptor; `None` if its kind is unknown.
    pub(crate) fn from_bytes(bytes: &[u8; CELL_SIZE]) -> Option<Self> {
        let kind = FrameKind::ALL
            .into_iter()
            .find(|kind| *kind as u8 == bytes[0])?;
        Some(Self {
            kind,
            flags: u16::from_le_bytes(part(bytes, 2)),
            payload_size: u32::from_le_bytes(part(bytes, 4)),
            batch: u64::from_le_bytes(part(bytes, 8)),
            index: u32::from_le_bytes(part(bytes, 16)),
            count: u32::from_le_bytes(part(bytes, 20)),
            body_offset: u64::from_le_bytes(part(bytes, 24)),
            body_size: u64::from_le_bytes(part(bytes, 32)),
            compute_start_ns: u64::from_le_bytes(part(bytes, 40)),
            compute_end_ns: u64::from_le_bytes(part(bytes, 48)),
            body_slot: u32::from_le_bytes(part(bytes, 56)),
        })
    }
}

fn part<const N: usize>(bytes: &[u8; CELL_SIZE], offset: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[offset + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_survives() {
        for kind in FrameKind::ALL {
            let descriptor = Descriptor {
                kind,
                flags: 1,
                payload_size: 0x0203_0405,
                batch: 6,
                index: 7,
                count: 8,
                body_offset: 9,
                body_size: u64::MAX,
                compute_start_ns: 10,
                compute_end_ns: 11,
                body_slot: 12,
            };
            assert_eq!(
                Descriptor::from_bytes(&descriptor.to_bytes()),
                Some(descriptor)
            );
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut bytes = Descriptor::new(FrameKind::Stop, 0).to_bytes();
        bytes[0] = 99;
        assert_eq!(Descriptor::from_bytes(&bytes), None);
    }

    #[test]
    fn the_layout_is_as_written_down() {
        let mut descriptor = Descriptor::new(FrameKind::Response, 0x1122);
        descriptor.payload_size = 3;
        let bytes = descriptor.to_bytes();
        assert_eq!(bytes[..10], [3, 0, 0, 0, 3, 0, 0, 0, 0x22, 0x11]);
    }
}
