//! A ring buffer of bytes on memory that someone else owns, and the search for frames in it.
//!
//! What is here, and how it fits:
//!
//! - [`Ring`] (`ring.rs`) puts bytes into a block of memory and takes them out: at the end, in
//!   front, across the seam, into another block. Where a position lies in the block is decided in
//!   `cursor.rs`, the only file that knows the layout.
//! - [`Segments`] (`search.rs`) are bytes of a ring where they lie, in one piece or two. A search
//!   over them goes on where an earlier one ended and finds what crosses the seam.
//! - [`Separator`] (`separator.rs`) is what is searched for: the file that chooses the machinery
//!   (bitmask loops, `memmem`, an automaton) for a set of sequences. The bitmask loops over vector
//!   registers are in `candidates.rs`.
//! - [`Segments::index`] (`index.rs`) lists the ends of all frames that are complete, in one go.
//! - [`Error`] (`error.rs`) is what can be wrong with what a caller passes.
//!
//! ```
//! use sluice_ring::{FrameIndex, Query, Ring, Separator};
//!
//! let mut ring = Ring::with_capacity(64)?;
//! ring.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
//!
//! let lines = Separator::new(&["\r\n"])?;
//! let query = Query { start: 0, resume: 0, limit: 64, max: 16 };
//! let mut words = [0; FrameIndex::ENDS + 16];
//! assert_eq!(ring.unread_bytes().index(&lines, query, &mut words)?, 3);
//! assert_eq!(words[FrameIndex::ENDS..][..3], [16, 25, 27]);
//!
//! let mut line = [0; 16];
//! ring.copy_to(0, &mut line)?;
//! ring.consume(line.len())?;
//! assert_eq!(&line, b"GET / HTTP/1.1\r\n");
//! # Ok::<(), sluice_ring::Error>(())
//! ```
//!
//! The crate knows nothing of JavaScript and holds no unsafe code. Its oracles, in `tests/`, are so
//! simple that they are unlikely to be wrong: a `Vec` for the ring, a quadratic scan for the search.
#![forbid(unsafe_code)]

mod candidates;
mod cursor;
mod error;
mod index;
mod ring;
mod search;
mod separator;

pub use cursor::{HEADER_BYTES, MAX_CAPACITY};
pub use error::{Bytes, Error};
pub use index::{FrameIndex, Query};
pub use ring::Ring;
pub use search::Segments;
pub use separator::{Match, Separator};
