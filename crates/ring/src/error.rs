//! What can be wrong with the arguments of a call. Nothing else in this crate fails.

use std::fmt;

/// A block, a position or a size that does not fit. The ring is as it was before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A block too small to hold its header.
    BlockTooShort {
        /// Bytes of the block.
        bytes: usize,
    },
    /// A block whose data is larger than [`MAX_CAPACITY`](crate::MAX_CAPACITY).
    BlockTooLarge {
        /// Bytes of the block.
        bytes: usize,
    },
    /// An impossible header: the head is outside of the data, or more bytes are unread than the data has
    /// room for.
    Cursor {
        /// The word for the position of the oldest unread byte.
        head: u32,
        /// The word for the number of unread bytes.
        length: u32,
        /// Bytes of data after the header.
        capacity: usize,
    },
    /// Positions that are out of order or after the last unread byte.
    Positions {
        /// The first position.
        start: usize,
        /// The second position.
        end: usize,
        /// How many bytes are unread: the highest position there is.
        length: usize,
    },
    /// More bytes than there is room for, in all or in one piece.
    Full {
        /// Bytes that were to be stored.
        needed: usize,
        /// Bytes that are free.
        free: usize,
        /// The capacity to move to: at least twice the present one, so that growing costs a constant
        /// time for each byte. May be above [`MAX_CAPACITY`](crate::MAX_CAPACITY).
        capacity: usize,
    },
    /// A partial that this separator does not have, or that is longer than the bytes searched so far.
    Partial {
        /// The number.
        partial: u32,
    },
    /// A description of length fields with numbers beyond 2^53 - 1, or with varints of more than ten
    /// bytes.
    Lengths,
    /// A separator without sequences.
    NoSequence,
    /// A separator with an empty sequence.
    EmptySequence {
        /// Which one, from 0.
        index: usize,
    },
    /// A separator whose sequences are too large to be searched for together.
    SeparatorTooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BlockTooShort { bytes } => {
                write!(f, "a block of {} is too short for its header of 16", Bytes(bytes))
            }
            Self::BlockTooLarge { bytes } => {
                write!(f, "a block of {bytes} bytes holds more than 2147483648 bytes of data")
            }
            Self::Cursor { head, length, capacity } => write!(
                f,
                "the block is damaged: head {head} and length {length} with a capacity of {capacity}"
            ),
            Self::Positions { start, end, length } => {
                write!(f, "positions must be in order and at most {length}, not {start} and {end}")
            }
            Self::Full { needed, free, .. } => {
                write!(f, "no room for {}: the ring takes {free} more", Bytes(needed))
            }
            Self::Partial { partial } => {
                write!(f, "no earlier search for the separator has ended with partial {partial}")
            }
            Self::Lengths => f.write_str(
                "offset, adjust and least must be at most 9007199254740991, and a varint at most 10 bytes",
            ),
            Self::NoSequence => f.write_str("a separator needs at least one sequence"),
            Self::EmptySequence { index } => {
                write!(f, "sequence {index} of the separator is empty")
            }
            Self::SeparatorTooLarge => f.write_str(
                "the sequences of the separator are too large to be searched for together",
            ),
        }
    }
}

impl std::error::Error for Error {}

/// A number of bytes as a message names it: `1 byte`, `2 bytes`.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_numbers() {
        let full = Error::Full { needed: 1, free: 0, capacity: 256 };
        assert_eq!(full.to_string(), "no room for 1 byte: the ring takes 0 more");
        let short = Error::BlockTooShort { bytes: 3 };
        assert_eq!(short.to_string(), "a block of 3 bytes is too short for its header of 16");
        let positions = Error::Positions { start: 5, end: 2, length: 8 };
        assert_eq!(positions.to_string(), "positions must be in order and at most 8, not 5 and 2");
    }
}
