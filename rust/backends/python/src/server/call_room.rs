// SPDX-License-Identifier: Apache-2.0
use parking_lot::Mutex;
use tritongw_engine::Resume;

/// Responses to one call that its caller has not looked at before the called model is held up.
const UNREAD_LIMIT: u32 = 4096;
/// As a number of responses looked at: whatever comes, nobody looks at it.
pub(crate) const IGNORED: u32 = u32::MAX;

/// What a caller has yet to look at, and who waits until it has.
#[derive(Default)]
pub(crate) struct CallRoom(Mutex<State>);

#[derive(Default)]
struct State {
    unread: u32,
    is_ignored: bool,
    resumes: Vec<Resume>,
}

impl State {
    fn has_room(&self) -> bool {
        self.is_ignored || self.unread < UNREAD_LIMIT
    }
}

impl CallRoom {
    /// Notes a response on its way.
    pub(crate) fn note_sent(&self) {
        self.0.lock().unread += 1;
    }

    /// Notes that so many responses were looked at.
    pub(crate) fn note_read(&self, count: u32) {
        let resumes = {
            let mut state = self.0.lock();
            state.unread = state.unread.saturating_sub(count);
            state.is_ignored |= count == IGNORED;
            if !state.has_room() {
                return;
            }
            std::mem::take(&mut state.resumes)
        };
        resumes.into_iter().for_each(|resume| resume());
    }

    pub(crate) fn has_room(&self) -> bool {
        self.0.lock().has_room()
    }

    pub(crate) fn when_room(&self, resume: Resume) {
        let mut state = self.0.lock();
        if state.has_room() {
            drop(state);
            return resume();
        }
        state.resumes.push(resume);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_full_room_is_waited_for_until_it_is_read_or_ignored() {
        for read in [1, IGNORED] {
            let room = CallRoom::default();
            (0..UNREAD_LIMIT).for_each(|_| room.note_sent());
            assert!(!room.has_room());
            let resumed = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&resumed);
            room.when_room(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }));
            assert_eq!(resumed.load(Ordering::Relaxed), 0);
            room.note_read(read);
            assert_eq!(resumed.load(Ordering::Relaxed), 1);
            assert!(room.has_room());
            (0..UNREAD_LIMIT).for_each(|_| room.note_sent());
            assert_eq!(room.has_room(), read == IGNORED);
        }
    }
}
