//! Memory of JavaScript, lent for the length of one call.

use std::{marker::PhantomData, ptr, ptr::NonNull, slice};

use napi::sys;

use super::Call;
use crate::thrown::Thrown;

/// What the elements of a typed array are.
pub trait Element {
    const ARRAY: &'static str;
    const TYPE: sys::napi_typedarray_type;
}

impl Element for u8 {
    const ARRAY: &'static str = "a Uint8Array";
    const TYPE: sys::napi_typedarray_type = sys::TypedarrayType::uint8_array;
}

impl Element for u32 {
    const ARRAY: &'static str = "a Uint32Array";
    const TYPE: sys::napi_typedarray_type = sys::TypedarrayType::uint32_array;
}

/// The memory of a typed array: checked, but without a reference to it yet.
pub(super) struct Region<'lent, T> {
    address: NonNull<T>,
    length: usize,
    lent: PhantomData<&'lent mut [T]>,
}

/// The lent memory of a call: what a function works on besides numbers.
pub struct Lent<'lent> {
    /// The block of the ring.
    pub block: &'lent mut [u8],
    /// Bytes to store. Empty for a function that stores none.
    pub data: &'lent mut [u8],
    /// The block that holds the ring so far, if that is another one.
    pub from: Option<&'lent mut [u8]>,
    /// The words of a listing, if frames are to be listed.
    pub words: Option<&'lent mut [u32]>,
}

/// The numbers of the arguments that are memory.
#[derive(Clone, Copy, Default)]
pub struct MemoryArguments {
    pub block: usize,
    pub data: Option<usize>,
    pub from: Option<usize>,
    pub words: Option<usize>,
}

impl Call<'_> {
    /// The memory of the arguments that are typed arrays, lent while the result is used. `from` and
    /// `words` may be missing.
    ///
    /// The call is borrowed exclusively. So no memory is lent twice, and no JavaScript runs meanwhile,
    /// because everything that could run it needs the call.
    pub fn lend(&mut self, arguments: MemoryArguments) -> Result<Lent<'_>, Thrown> {
        let block = Region::<u8>::new(self, arguments.block, "block")?;
        let data = match arguments.data {
            Some(at) => Region::<u8>::new(self, at, "data")?,
            None => Region::empty(),
        };
        let from = self.optional::<u8>(arguments.from, "from")?;
        let words = self.optional::<u32>(arguments.words, "words")?;
        let spans = [
            ("block", block.span()),
            ("data", data.span()),
            ("from", from.as_ref().map_or((0, 0), Region::span)),
            ("words", words.as_ref().map_or((0, 0), Region::span)),
        ];
        for (at, (name, (start, end))) in spans.iter().enumerate() {
            for (other, (other_start, other_end)) in &spans[at + 1..] {
                if start.max(other_start) < end.min(other_end) {
                    return Err(Thrown::Overlap { names: [name, other] });
                }
            }
        }
        // SAFETY:
        // - All regions were made just now, in this call, and no JavaScript has run since.
        // - No two of them overlap, and the exclusive borrow of the call lasts as long as the slices.
        unsafe {
            Ok(Lent {
                block: block.slice(),
                data: data.slice(),
                from: from.map(|region| region.slice()),
                words: words.map(|region| region.slice()),
            })
        }
    }

    fn optional<'lent, T: Element>(
        &self,
        at: Option<usize>,
        name: &'static str,
    ) -> Result<Option<Region<'lent, T>>, Thrown> {
        match at {
            Some(at) if !self.is_missing(at) => Ok(Some(Region::new(self, at, name)?)),
            _ => Ok(None),
        }
    }
}

impl<'lent, T: Element> Region<'lent, T> {
    /// The memory of an argument that is a typed array.
    pub(super) fn new(call: &Call<'_>, at: usize, name: &'static str) -> Result<Self, Thrown> {
        let mut kind = -1;
        let mut length = 0;
        let mut data = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        // SAFETY: `env` and the argument are those of the call that is running; a value of any other
        // type is refused with a status. A detached array has length 0.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                call.env,
                call.arguments[at],
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                &raw mut buffer,
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != T::TYPE {
            return Err(call.wrong_type(at, name, T::ARRAY));
        }
        // Other threads may write to a SharedArrayBuffer, which Node-API does not count as an ArrayBuffer.
        let mut unshared = false;
        // SAFETY: as above.
        let status = unsafe { sys::napi_is_arraybuffer(call.env, buffer, &raw mut unshared) };
        if status != sys::Status::napi_ok || !unshared {
            return Err(Thrown::Shared { name });
        }
        let address = match NonNull::new(data.cast::<T>()) {
            Some(address) if length > 0 => address,
            _ => {
                let mut detached = false;
                // SAFETY: as above.
                unsafe { sys::napi_is_detached_arraybuffer(call.env, buffer, &raw mut detached) };
                if detached {
                    return Err(Thrown::Detached { name });
                }
                return Ok(Self::empty());
            }
        };
        if !address.is_aligned() {
            return Err(Thrown::Misaligned { name });
        }
        Ok(Self { address, length, lent: PhantomData })
    }

    fn empty() -> Self {
        Self { address: NonNull::dangling(), length: 0, lent: PhantomData }
    }

    /// Where the memory begins and ends.
    fn span(&self) -> (usize, usize) {
        let start = self.address.as_ptr().addr();
        (start, start + self.length * size_of::<T>())
    }

    /// The memory as a slice.
    ///
    /// # Safety
    ///
    /// - The region was made in the call that is running, and no JavaScript has run since: it could
    ///   detach the memory.
    /// - Until the slice is gone no JavaScript runs, and nothing else refers to the memory. Other
    ///   threads do not: memory that they can reach is refused where a region is made.
    pub(super) unsafe fn slice(self) -> &'lent mut [T] {
        // SAFETY: Node-API gave address and length, of memory that JavaScript keeps initialised; the
        // address is aligned, and dangling only where the length is 0. The rest is the caller's part.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }
}
