//! A ring buffer of bytes on memory that someone else owns, and the search for frames in it.
//!
//! What is here, and how it fits:
//!
//! - [`Ring`] (`ring.rs`) puts bytes into a block of memory: at the end, before the oldest one, across
//!   the wrap point, into another block. Where a position lies in the block is decided in
//!   `cursor.rs`, the only file that knows the layout.
//! - [`Segments`] (`search.rs`) are bytes of a ring where they lie, in one piece or two. A search
//!   over them goes on where an earlier one ended and finds what crosses the seam.
//! - [`Separator`] (`separator.rs`) is what is searched for: the file that chooses the machinery
//!   for a set of sequences: bitmask loops over vector registers (`candidates.rs`) for short ones;
//!   `memmem` and automata, which carry on in the middle of a separator (`carried.rs`), for all others.
//! - [`Segments::list`] (`list.rs`) lists the ends of all frames that are complete, in one go.
//! - [`Error`] (`error.rs`) is what can be wrong with what a caller passes.
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
//! The crate knows nothing of JavaScript and holds no unsafe code. Its oracles, in `tests/`, are so
//! simple that they are unlikely to be wrong: a `Vec` for the ring, a quadratic scan for the search.
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
