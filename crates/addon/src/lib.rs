//! The ring buffer of sluice for JavaScript: converts arguments, delegates to `sluice-ring`, maps
//! errors; and one system call that Node does not have, `lseek`.
//!
//! # Memory
//!
//! - **Who owns it.** JavaScript owns every byte of a ring: the `block` is a `Uint8Array` over one
//!   `ArrayBuffer`, header and data. The addon allocates for separators alone.
//! - **How long it is borrowed.** For the length of one call. No pointer is kept: between calls
//!   JavaScript may move the words of the header, let libuv read into the block, detach it, drop it.
//! - **What must not happen during a call.** No JavaScript runs while memory is lent: no callback,
//!   getter or finalizer. Nothing waits: a call takes as long as copying or searching its bytes does.
//!   Memory is referred to once: two arguments that overlap are an error, and so is memory that
//!   another thread can write to (a `SharedArrayBuffer`).
//! - **What JavaScript must not do.** Call while a thread of libuv writes to the same memory, as
//!   `fs.read` into a block does until its callback. Sockets are read on the thread of JavaScript.
//!
//! # Errors
//!
//! Wrong arguments are a `TypeError` or a `RangeError` whose message names the function and the
//! numbers and whose `code` is one of `ts/errors.ts`: arrays of another type, detached or too short;
//! headers that cannot be true; positions that are out of order, or no integers. Nothing was changed
//! then. A panic, which would be a mistake in this code, becomes an `Error` too.
//!
//! # Threads
//!
//! Nothing is global: what a thread of JavaScript holds (the separators) hangs on its own copies of
//! the functions, so that any number of worker threads can load the addon.
//!
//! The unsafe part is `lend.rs`, which says for each of its steps why it holds.

mod lend;
mod separators;
mod thrown;

use std::{ffi::CStr, rc::Rc};

use napi::{Env, bindgen_prelude::Object};
use napi_derive::napi;
use sluice_ring::{Query, Ring};

use crate::{
    lend::{Answer, Call, Function, export, seek},
    thrown::Thrown,
};

/// What the binary exports. `block` is a whole block, header and data; it is lent for the length of
/// the call. Positions count from the oldest unread byte.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct Addon {
    /// Prepares a separator of these sequences: at least one, none of them empty. They are copied.
    #[napi(js_name = "Separator", ts_type = "(sequences: readonly Uint8Array[]) => object")]
    pub separator: Separator,
    /// Appends `data`, across the seam. Throws a `RangeError` when it does not fit.
    #[napi(ts_type = "(block: Uint8Array, data: Uint8Array) => void")]
    pub write: Write,
    /// Puts `data` in front, across the seam. Throws a `RangeError` when it does not fit.
    #[napi(ts_type = "(block: Uint8Array, data: Uint8Array) => void")]
    pub unread: Unread,
    /// Copies the unread bytes from `start` to `end` to `target` at `targetStart`.
    #[napi(
        ts_type = "(block: Uint8Array, start: number, end: number, target: Uint8Array, targetStart: number) => void"
    )]
    pub copy_to: CopyTo,
    /// Copies the unread bytes, in order, to the front of the data of another block, and writes its
    /// header; what was in that block is forgotten.
    #[napi(ts_type = "(block: Uint8Array, target: Uint8Array) => void")]
    pub relocate: Relocate,
    /// Lists the complete frames from `start` on in `out`: a summary of four words (count, resume,
    /// partial, overlong body), then the frame ends. `separator` is what `Separator` made. Returns how
    /// many frames are listed.
    #[napi(
        ts_type = "(block: Uint8Array, separator: object, start: number, resume: number, partial: number, limit: number, max: number, out: Uint32Array) => number"
    )]
    pub index: Index,
    /// Sets where the next read of the open file begins that does not say where: `lseek`, of which
    /// Node has none. Throws an `Error` with the code of the system: `EBADF`, `ESPIPE`; on Windows
    /// always `ENOSYS`.
    #[napi(ts_type = "(fd: number, position: number) => void")]
    pub seek: Seek,
}

/// Fills the exports when a thread of JavaScript loads the binary.
///
/// # Errors
///
/// What Node-API answers where it cannot make the functions.
#[napi(module_exports)]
pub fn load(exports: Object<'_>, env: Env) -> napi::Result<()> {
    let separators = Rc::default();
    export::<Separator>(&env, &exports, &separators)?;
    export::<Write>(&env, &exports, &separators)?;
    export::<Unread>(&env, &exports, &separators)?;
    export::<CopyTo>(&env, &exports, &separators)?;
    export::<Relocate>(&env, &exports, &separators)?;
    export::<Index>(&env, &exports, &separators)?;
    export::<Seek>(&env, &exports, &separators)
}

/// `Separator(sequences)`
pub struct Separator;

impl Function for Separator {
    const NAME: &'static CStr = c"Separator";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let sequences = call.sequences(0)?;
        Ok(Answer::Separator(sluice_ring::Separator::new(&sequences)?))
    }
}

/// `write(block, data)`
pub struct Write;

impl Function for Write {
    const NAME: &'static CStr = c"write";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let (block, data) = call.lend::<u8, u8>((0, "block"), (1, "data"))?;
        Ring::open(block)?.write(data)?;
        Ok(Answer::Undefined)
    }
}

/// `unread(block, data)`
pub struct Unread;

impl Function for Unread {
    const NAME: &'static CStr = c"unread";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let (block, data) = call.lend::<u8, u8>((0, "block"), (1, "data"))?;
        Ring::open(block)?.unread(data)?;
        Ok(Answer::Undefined)
    }
}

/// `copyTo(block, start, end, target, targetStart)`
pub struct CopyTo;

impl Function for CopyTo {
    const NAME: &'static CStr = c"copyTo";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let start = call.number(1, "start")? as usize;
        let end = call.number(2, "end")? as usize;
        let target_start = call.number(4, "targetStart")? as usize;
        let (block, target) = call.lend::<u8, u8>((0, "block"), (3, "target"))?;
        let bytes = Ring::open(&*block)?.range(start, end)?.len();
        let room = target.len();
        let target = target
            .get_mut(target_start..)
            .and_then(|target| target.get_mut(..bytes))
            .ok_or(Thrown::Target { bytes, target_start, room })?;
        Ring::open(&*block)?.copy_to(start, target)?;
        Ok(Answer::Undefined)
    }
}

/// `relocate(block, target)`
pub struct Relocate;

impl Function for Relocate {
    const NAME: &'static CStr = c"relocate";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let (block, target) = call.lend::<u8, u8>((0, "block"), (1, "target"))?;
        Ring::open(&*block)?.relocate(target)?;
        Ok(Answer::Undefined)
    }
}

/// `index(block, separator, start, resume, partial, limit, max, out)`
pub struct Index;

/// The words at the front of `out`: the number of frames, where to go on, the partial, and the length
/// of the body of an overlong frame, or 0.
const SUMMARY: usize = 4;

impl Function for Index {
    const NAME: &'static CStr = c"index";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let separator = call.separator(1)?;
        let query = Query {
            start: call.number(2, "start")? as usize,
            resume: call.number(3, "resume")? as usize,
            partial: call.number(4, "partial")?,
            limit: call.number(5, "limit")? as usize,
            max: call.number(6, "max")? as usize,
        };
        let (block, out) = call.lend::<u8, u32>((0, "block"), (7, "out"))?;
        let too_short = Thrown::Summary { words: out.len(), least: SUMMARY };
        let (summary, ends) = out.split_at_mut_checked(SUMMARY).ok_or(too_short)?;
        let listed = Ring::open(&*block)?.unread_bytes().list(&separator, query, ends)?;
        let count = word(listed.count);
        let overlong = word(listed.overlong.unwrap_or(0));
        summary.copy_from_slice(&[count, word(listed.resume), listed.partial, overlong]);
        Ok(Answer::Number(count))
    }
}

/// A position in a ring as a word, which it fits.
fn word(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// `seek(fd, position)`
pub struct Seek;

impl Function for Seek {
    const NAME: &'static CStr = c"seek";

    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown> {
        let fd = call.number(0, "fd")?;
        let position = call.position(1, "position")?;
        seek(fd, position).map_err(|error| Thrown::File { fd, error })?;
        Ok(Answer::Undefined)
    }
}
