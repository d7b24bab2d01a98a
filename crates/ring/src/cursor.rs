//! Where the bytes of a ring are in its block: arithmetic on two numbers, and how they are stored.
//!
//! ```text
//!             0        4        8        12       16                          16 + capacity
//! block:      | head   | length | region | room   | data ...                  |
//!
//! data, in one piece:   [ free | unread        | free ]
//!                              ^ head
//! data, in two pieces:  [ unread (back) | free | unread (front) ]
//!                                              ^ head           ^ wrap point
//! ```
//!
//! `region` is the offset in the data where the next bytes go, and `room` how many fit there in one
//! piece. They are written for JavaScript and not read here, because they follow from the other two.
//!
//! The words of the header are native-endian, so that JavaScript can reach them with a
//! `Uint32Array`. This file decides which offsets a position has; it touches no byte of data.

use std::{iter::zip, ops::Range};

use crate::Error;

/// Bytes of a block before its data.
pub const HEADER_BYTES: usize = 16;

/// The most bytes of data that a block holds: positions stay clear of the last bit of a word.
pub const MAX_CAPACITY: usize = 1 << 31;

/// Which bytes of the data are unread: `length` of them from `head` on, around the end of the data
/// at most once.
///
/// Always true, whatever was stored in the block: `head < capacity` (or both are 0) and
/// `length <= capacity`. The methods rely on it, so that the offsets they return are in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    head: usize,
    length: usize,
    capacity: usize,
}

impl Cursor {
    /// The cursor of a block of this many bytes without unread ones.
    pub(crate) fn empty(block_bytes: usize) -> Result<Self, Error> {
        let too_short = Error::BlockTooShort { bytes: block_bytes };
        let capacity = block_bytes.checked_sub(HEADER_BYTES).ok_or(too_short)?;
        if capacity > MAX_CAPACITY {
            return Err(Error::BlockTooLarge { bytes: block_bytes });
        }
        Ok(Self { head: 0, length: 0, capacity })
    }

    /// The cursor that the header of `block` holds.
    pub(crate) fn load(block: &[u8]) -> Result<Self, Error> {
        let Self { capacity, .. } = Self::empty(block.len())?;
        let word = |at: usize| {
            u32::from_ne_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let (head_word, length_word) = (word(0), word(4));
        let (head, length) = (head_word as usize, length_word as usize);
        if head > capacity.saturating_sub(1) || length > capacity {
            return Err(Error::Cursor { head: head_word, length: length_word, capacity });
        }
        Ok(Self { head, length, capacity })
    }

    /// Writes the header of `block`.
    pub(crate) fn store(self, block: &mut [u8]) {
        let region = self.writable();
        let words = [self.head, self.length, region.start, region.len()];
        let (header, _) = block[..HEADER_BYTES].as_chunks_mut();
        for (bytes, value) in zip(header, words) {
            *bytes = word(value).to_ne_bytes();
        }
    }

    /// The offsets in the data of the free bytes after the unread ones that are in one piece with
    /// them: up to the end of the data or the oldest unread byte.
    pub(crate) fn writable(self) -> Range<usize> {
        self.span(self.length, self.capacity).0
    }

    /// Whether the unread bytes do not wrap around the end of the data.
    pub(crate) fn in_one_piece(self) -> bool {
        self.head + self.length <= self.capacity
    }

    pub(crate) fn length(self) -> usize {
        self.length
    }

    pub(crate) fn capacity(self) -> usize {
        self.capacity
    }

    pub(crate) fn free(self) -> usize {
        self.capacity - self.length
    }

    pub(crate) fn head(self) -> usize {
        self.head
    }

    /// The offsets in the data of the positions `start..end`, which may be after the unread bytes
    /// but go around the data at most once: `start <= end <= capacity`. Bytes in one piece have the
    /// second range empty.
    pub(crate) fn span(self, start: usize, end: usize) -> (Range<usize>, Range<usize>) {
        debug_assert!(start <= end && end <= self.capacity);
        let (first, last) = (self.head + start, self.head + end);
        if first >= self.capacity {
            (first - self.capacity..last - self.capacity, 0..0)
        } else if last > self.capacity {
            (first..self.capacity, 0..last - self.capacity)
        } else {
            (first..last, 0..0)
        }
    }

    /// With `count` more unread bytes at the end. `count` is at most [`free`](Self::free).
    pub(crate) fn append(self, count: usize) -> Self {
        debug_assert!(count <= self.free());
        Self { length: self.length + count, ..self }
    }

    /// With `count` more unread bytes at the front. `count` is at most [`free`](Self::free).
    pub(crate) fn prepend(self, count: usize) -> Self {
        debug_assert!(count <= self.free());
        let head =
            if count <= self.head { self.head - count } else { self.head + self.capacity - count };
        Self { head, length: self.length + count, ..self }
    }

    /// The same bytes at the front of the data.
    pub(crate) fn at_front(self) -> Self {
        Self { head: 0, ..self }
    }
}

/// A number of the cursor as a word of the header: at most [`MAX_CAPACITY`], which fits.
fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(head: u32, length: u32, capacity: usize) -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES + capacity];
        block[0..4].copy_from_slice(&head.to_ne_bytes());
        block[4..8].copy_from_slice(&length.to_ne_bytes());
        block
    }

    #[test]
    fn a_header_that_cannot_be_true_is_refused() {
        for (head, length, capacity) in
            [(8, 0, 8), (0, 9, 8), (1, 0, 0), (0, 1, 0), (u32::MAX, 0, 8)]
        {
            let refused = Cursor::load(&block(head, length, capacity));
            assert_eq!(refused, Err(Error::Cursor { head, length, capacity }));
        }
    }

    #[test]
    fn a_block_without_room_for_its_header_is_refused() {
        assert_eq!(Cursor::load(&[0; 15]), Err(Error::BlockTooShort { bytes: 15 }));
        assert_eq!(Cursor::load(&[]), Err(Error::BlockTooShort { bytes: 0 }));
        assert_eq!(Cursor::load(&[0; 16]).map(Cursor::capacity), Ok(0));
    }

    #[test]
    fn a_block_beyond_what_words_can_hold_is_refused() {
        let bytes = MAX_CAPACITY + HEADER_BYTES;
        assert_eq!(Cursor::empty(bytes).map(Cursor::capacity), Ok(MAX_CAPACITY));
        assert_eq!(Cursor::empty(bytes + 1), Err(Error::BlockTooLarge { bytes: bytes + 1 }));
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let mut memory = block(5, 7, 8);
        memory[8..16].fill(0xff);
        let cursor = Cursor::load(&memory).unwrap();
        cursor.store(&mut memory);
        assert_eq!(Cursor::load(&memory), Ok(cursor));
        // Offsets 5, 6, 7, 0, 1, 2, 3 are unread, and 4 is free.
        assert_eq!(memory[8..12], 4_u32.to_ne_bytes());
        assert_eq!(memory[12..16], 1_u32.to_ne_bytes());
    }

    /// Every cursor of a small ring, every pair of positions: the offsets are those that counting
    /// around the data one by one gives.
    #[test]
    fn spans_are_what_counting_gives() {
        let capacity = 5;
        for head in 0..capacity {
            for (start, end) in (0..=capacity).flat_map(|s| (s..=capacity).map(move |e| (s, e))) {
                let cursor = Cursor { head, length: capacity, capacity };
                let (front, back) = cursor.span(start, end);
                let counted: Vec<_> = (start..end).map(|at| (head + at) % capacity).collect();
                assert_eq!(front.chain(back).collect::<Vec<_>>(), counted);
            }
        }
    }
}
