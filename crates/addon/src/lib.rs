//! The ring buffer of sluice for JavaScript: converts arguments, delegates to `sluice-ring`, maps
//! errors; and two system calls that Node does not have, `lseek` and `ioctl(SIOCOUTQ)`.
//!
//! # Memory
//!
//! - **Who owns it.** JavaScript owns every byte of a ring, and allocates it: the `block` is a
//!   `Uint8Array` over one `ArrayBuffer`, header and data. The addon allocates for framings alone;
//!   if a block has no room, a call returns the capacity that has it, and the next call gets both blocks.
//! - **How long it is borrowed.** For the length of one call. No pointer is kept: between calls
//!   JavaScript may consume bytes by moving the words of the header, let libuv read into the region
//!   that the header names, detach the block, or drop it.
//! - **What must not happen during a call.** No JavaScript runs while memory is lent: no callback,
//!   getter or finalizer. Nothing waits: a call takes only as long as it needs to copy or search its bytes.
//!   Memory is referred to once: two arguments that overlap are an error, and so is memory that
//!   another thread can write to (a `SharedArrayBuffer`).
//! - **What JavaScript must not do.** Call while a thread of libuv writes to the same memory, as
//!   `fs.read` into a block does until its callback. Sockets are read on the thread of JavaScript.
//!
//! # Errors
//!
//! Wrong arguments are a `TypeError` or a `RangeError` whose message names the function and the
//! numbers and whose `code` is one of `ts/errors.ts`: arrays of another type, detached or too short;
//! impossible headers; positions that are out of order or not integers. Nothing has changed then. A
//! panic, which would be a bug in this code, becomes an `Error` too.
//!
//! # Threads
//!
//! Nothing is global: the framings of a JavaScript thread belong to its own copies of the functions, so any
//! number of worker threads can load the addon.
//!
//! # Files
//!
//! `node/` is Node-API and contains the unsafe code, with a reason for each step; `words.rs` writes a listing
//! to memory that JavaScript reads; `framings.rs` is the table of handles; the functions are here.

mod framings;
mod node;
mod system;
mod thrown;
mod words;

use std::{ffi::CStr, rc::Rc};

use napi::{Env, bindgen_prelude::Object};
use napi_derive::napi;
use sluice_ring::{Error, LengthField, MAX_CAPACITY, Ring};

use crate::{
    framings::Framing,
    node::{Answer, Call, Function, Lent, MemoryArguments, export},
    thrown::Thrown,
    words::Listing,
};

/// What the binary exports. `block` is a whole block, header and data; it is lent for the length of
/// the call. With `from` the ring is moved over from that block first; what was in `block` is
/// lost. If there is no room, nothing changes in the block that holds the ring, and the call returns the
/// capacity of a block that has room; otherwise it returns 0, and the header names the region where the
/// next bytes go.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct Addon {
    /// Prepares a separator of these sequences: at least one, none of them empty. They are copied.
    #[napi(js_name = "Separator", ts_type = "(sequences: readonly Uint8Array[]) => object")]
    pub separator: Separator,
    /// Prepares frames with a length field, whose type is a number of `LENGTH_TYPES` in `ts/`, or without
    /// one.
    #[napi(
        js_name = "Lengths",
        ts_type = "(field: number, offset: number, adjust: number, least: number, maxLengthBytes: number) => object"
    )]
    pub lengths: Lengths,
    /// Appends a copy of `data`, across the wrap point, and lists frames if `words` are passed.
    #[napi(
        ts_type = "(block: Uint8Array, data: Uint8Array, from?: Uint8Array, words?: Uint32Array, framing?: object, limit?: number, max?: number) => number"
    )]
    pub append: Append,
    /// Makes the first `count` bytes of the region unread, and lists frames if `words` are passed.
    /// Throws a `RangeError` when the region is shorter.
    #[napi(
        ts_type = "(block: Uint8Array, count: number, words?: Uint32Array, framing?: object, limit?: number, max?: number) => void"
    )]
    pub commit: Commit,
    /// Lists the complete frames after those that `words` already lists, `max` in all: a summary of
    /// four words (count, resume, partial, refused), then the frame ends.
    #[napi(
        ts_type = "(block: Uint8Array, words: Uint32Array, framing: object, limit: number, max: number) => void"
    )]
    pub list: List,
    /// Makes a region of at least `min` bytes.
    #[napi(ts_type = "(block: Uint8Array, min: number, from?: Uint8Array) => number")]
    pub reserve: Reserve,
    /// Puts a copy of `data` before the unread bytes, across the wrap point.
    #[napi(ts_type = "(block: Uint8Array, data: Uint8Array, from?: Uint8Array) => number")]
    pub unread: Unread,
    /// Sets the position of an open file, where the next read without a position begins: `lseek`, which
    /// Node does not offer. Throws an `Error` with the system's code: `EBADF`, `ESPIPE`; on Windows always
    /// `ENOSYS`.
    #[napi(ts_type = "(fd: number, position: number) => void")]
    pub seek: Seek,
    /// How many bytes written to a socket its peer has not accepted yet: `ioctl(SIOCOUTQ)`. Throws an
    /// `Error` with the system's code: `EBADF`, `ENOTTY`; `ENOSYS` on systems other than Linux.
    #[napi(ts_type = "(fd: number) => number")]
    pub unsent: Unsent,
}

/// Fills the exports when a thread of JavaScript loads the binary.
///
/// # Errors
///
/// The error of Node-API if it cannot create the functions.
#[napi(module_exports)]
pub fn load(exports: Object<'_>, env: Env) -> napi::Result<()> {
    let framings = Rc::default();
    export::<Separator>(&env, &exports, &framings)?;
    export::<Lengths>(&env, &exports, &framings)?;
    export::<Append>(&env, &exports, &framings)?;
    export::<Commit>(&env, &exports, &framings)?;
    export::<List>(&env, &exports, &framings)?;
    export::<Reserve>(&env, &exports, &framings)?;
    export::<Unread>(&env, &exports, &framings)?;
    export::<Seek>(&env, &exports, &framings)?;
    export::<Unsent>(&env, &exports, &framings)
}

/// The ring in the block that was passed, after moving it from the block `from` if that is passed.
fn open<'lent>(
    block: &'lent mut [u8],
    from: Option<&mut [u8]>,
) -> Result<Ring<&'lent mut [u8]>, Error> {
    match from {
        Some(from) => Ring::open(&*from)?.relocate(block),
        None => Ring::open(block),
    }
}

/// 0, or the capacity that has room.
fn capacity_needed(result: Result<(), Error>) -> Result<u32, Thrown> {
    match result {
        Ok(()) => Ok(0),
        Err(Error::Full { capacity, .. }) if capacity <= MAX_CAPACITY => Ok(words::word(capacity)),
        Err(error) => Err(error.into()),
    }
}

/// `Separator(sequences)`
pub struct Separator;

impl Function for Separator {
    const NAME: &'static CStr = c"Separator";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let sequences = call.sequences(0)?;
        let separator = sluice_ring::Separator::new(&sequences)?;
        Ok(Answer::Framing(Framing::Separator(separator)))
    }
}

/// `Lengths(field, offset, adjust, least, maxLengthBytes)`
pub struct Lengths;

impl Function for Lengths {
    const NAME: &'static CStr = c"Lengths";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let number = call.number(0, "field")?;
        let field = LengthField::ALL.get(number as usize).ok_or(Thrown::NoInteger {
            name: "field",
            least: 0,
            most: LengthField::None as i64,
            value: number.into(),
        })?;
        let lengths = sluice_ring::Lengths::new(
            *field,
            call.safe_integer(1, "offset", 0)?.cast_unsigned(),
            call.safe_integer(2, "adjust", i64::MIN)?,
            call.safe_integer(3, "least", 0)?.cast_unsigned(),
            call.number(4, "maxLengthBytes")? as usize,
        )?;
        Ok(Answer::Framing(Framing::Lengths(lengths)))
    }
}

/// `append(block, data, from, words, framing, limit, max)`
pub struct Append;

impl Function for Append {
    const NAME: &'static CStr = c"append";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let listing = Listing::optional(call, 3, 4)?;
        let arguments = MemoryArguments { block: 0, data: Some(1), from: Some(2), words: Some(3) };
        let Lent { block, data, from, words } = call.lend(arguments)?;
        let mut ring = open(block, from)?;
        let needed = capacity_needed(ring.write(data))?;
        if let (0, Some(listing), Some(words)) = (needed, listing, words) {
            listing.list(ring.unread_bytes(), words)?;
        }
        Ok(Answer::Number(needed))
    }
}

/// `commit(block, count, words, framing, limit, max)`
pub struct Commit;

impl Function for Commit {
    const NAME: &'static CStr = c"commit";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let count = call.number(1, "count")? as usize;
        let listing = Listing::optional(call, 2, 3)?;
        let arguments = MemoryArguments { block: 0, words: Some(2), ..MemoryArguments::default() };
        let Lent { block, words, .. } = call.lend(arguments)?;
        let mut ring = Ring::open(block)?;
        ring.commit(count)?;
        if let (Some(listing), Some(words)) = (listing, words) {
            listing.list(ring.unread_bytes(), words)?;
        }
        Ok(Answer::Undefined)
    }
}

/// `list(block, words, framing, limit, max)`
pub struct List;

impl Function for List {
    const NAME: &'static CStr = c"list";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let listing = Listing::new(call, 2)?;
        let arguments = MemoryArguments { block: 0, words: Some(1), ..MemoryArguments::default() };
        let Lent { block, words, .. } = call.lend(arguments)?;
        listing.list(Ring::open(&*block)?.unread_bytes(), words.unwrap_or_default())?;
        Ok(Answer::Undefined)
    }
}

/// `reserve(block, min, from)`
pub struct Reserve;

impl Function for Reserve {
    const NAME: &'static CStr = c"reserve";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let min = call.number(1, "min")? as usize;
        let arguments = MemoryArguments { block: 0, from: Some(2), ..MemoryArguments::default() };
        let Lent { block, from, .. } = call.lend(arguments)?;
        let result = open(block, from)?.reserve(min);
        Ok(Answer::Number(capacity_needed(result)?))
    }
}

/// `unread(block, data, from)`
pub struct Unread;

impl Function for Unread {
    const NAME: &'static CStr = c"unread";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let arguments = MemoryArguments { block: 0, data: Some(1), from: Some(2), words: None };
        let Lent { block, data, from, .. } = call.lend(arguments)?;
        let result = open(block, from)?.unread(data);
        Ok(Answer::Number(capacity_needed(result)?))
    }
}

/// `seek(fd, position)`
pub struct Seek;

impl Function for Seek {
    const NAME: &'static CStr = c"seek";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let fd = call.number(0, "fd")?;
        let position = call.safe_integer(1, "position", 0)?;
        system::seek(fd, position).map_err(|error| Thrown::File { fd, error })?;
        Ok(Answer::Undefined)
    }
}

/// `unsent(fd)`
pub struct Unsent;

impl Function for Unsent {
    const NAME: &'static CStr = c"unsent";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let fd = call.number(0, "fd")?;
        system::unsent(fd).map(Answer::Number).map_err(|error| Thrown::File { fd, error })
    }
}
