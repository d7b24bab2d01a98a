//! A ring buffer of bytes in borrowed memory, and the search for frames in it.
//!
//! The parts:
//!
//! - [`Ring`] (`ring.rs`) puts bytes into a block of memory: at the end, before the oldest one, across
//!   the wrap point, into another block. `cursor.rs`, the only file that knows the layout, computes
//!   where a position is in the block.
//! - [`Segments`] (`search.rs`) are bytes of a ring in place, in one piece or two. A search over them
//!   resumes where an earlier one ended, and also finds what crosses the wrap point.
//! - [`Separator`] (`separator.rs`) is what a search looks for. That file chooses the machinery for a set
//!   of sequences: bitmask loops over vector registers (`candidates.rs`) for short ones; `memmem` and
//!   automata, which can continue in the middle of a separator (`carried.rs`), for all others.
//! - [`Segments::list`] (`list.rs`) lists the ends of all frames that are complete, in one pass.
//! - [`Segments::list_by_length`] (`lengths.rs`) does the same for frames with a length field, which
//!   [`Lengths`] describes.
//! - [`Error`] (`error.rs`) is what can be wrong with the arguments of a call.
//!
//! ```
//! use sluice_ring::{HEADER_BYTES, Query, Ring, Separator};
//!
//! let mut ring = Ring::open(vec![0; HEADER_BYTES + 64])?;
//! ring.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
//!
//! let lines = Separator::new(&["\r\n"])?;
//! let query = Query { start: 0, resume: 0, partial: 0, limit: 64, max: 16 };
//! let mut ends = [0; 16];
//! let listed = ring.unread_bytes().list(&lines, query, &mut ends)?;
//! assert_eq!(ends[..listed.count], [16, 25, 27]);
//! # Ok::<(), sluice_ring::Error>(())
//! ```
//!
//! The crate knows nothing of JavaScript and has no unsafe code. Its oracles, in `tests/`, are so simple
//! that they are unlikely to be wrong: a `Vec` for the ring, a quadratic scan for the search, wide
//! integers for lengths.
#![forbid(unsafe_code)]

mod candidates;
mod carried;
mod cursor;
mod error;
mod lengths;
mod list;
mod ring;
mod search;
mod separator;

pub use cursor::{HEADER_BYTES, MAX_CAPACITY};
pub use error::Error;
pub use lengths::{LengthField, Lengths};
pub use list::{Listed, Query, Refused};
pub use ring::Ring;
pub use search::Segments;
pub use separator::{Match, Separator};
