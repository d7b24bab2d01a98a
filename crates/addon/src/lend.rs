//! The crossing: what JavaScript passes becomes Rust values for the length of one call. The only
//! file of the addon with unsafe code; what it offers to the others is safe.
//!
//! The functions are registered as plain Node-API callbacks. The wrappers that `#[napi]` generates
//! keep books on borrowed objects, which costs more than most calls here do in all: measured side
//! by side on Node 20, `index` over 64 bytes takes 1000 ns with them and 250 ns without.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_void},
    io,
    marker::PhantomData,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    rc::Rc,
    slice,
};

use napi::{Env, JsValue, bindgen_prelude::Object, sys};
use sluice_ring::Separator;

use crate::{
    separators::Separators,
    thrown::{Class, Thrown},
};

/// The most arguments that a function has.
const MOST_ARGUMENTS: usize = 8;

/// What a function gives back to JavaScript.
pub enum Answer {
    Undefined,
    Number(u32),
    /// A new handle to this separator.
    Separator(Separator),
}

/// A function that JavaScript can call.
pub trait Function {
    /// Its name, as error messages begin.
    const NAME: &'static CStr;
    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown>;
}

/// One call from JavaScript: its arguments, by number.
pub struct Call<'call> {
    env: sys::napi_env,
    arguments: [sys::napi_value; MOST_ARGUMENTS],
    separators: &'call Rc<RefCell<Separators>>,
}

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

/// The memory of a typed array: checked, but not referred to yet.
struct Region<'lent, T> {
    address: NonNull<T>,
    length: usize,
    lent: PhantomData<&'lent mut [T]>,
}

impl Call<'_> {
    /// An argument that is an integer of 32 bits.
    pub fn number(&self, at: usize, name: &'static str) -> Result<u32, Thrown> {
        let value = self.double(at, name)?;
        exact(value).ok_or(Thrown::NoInteger { name, most: u64::from(u32::MAX), value })
    }

    /// An argument that is a place in a file: any integer that a number of JavaScript tells from its
    /// neighbours.
    pub fn position(&self, at: usize, name: &'static str) -> Result<i64, Thrown> {
        const MOST: f64 = 9_007_199_254_740_991.0;
        let value = self.double(at, name)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is no integer in range is refused"
        )]
        let position = value as i64;
        let fits = (0.0..=MOST).contains(&value) && value.fract() == 0.0;
        fits.then_some(position).ok_or(Thrown::NoInteger { name, most: (1 << 53) - 1, value })
    }

    fn double(&self, at: usize, name: &'static str) -> Result<f64, Thrown> {
        let mut value = 0.0;
        // SAFETY: `env` and the argument are those of the call that is running.
        let status =
            unsafe { sys::napi_get_value_double(self.env, self.arguments[at], &raw mut value) };
        match status {
            sys::Status::napi_ok => Ok(value),
            _ => Err(self.wrong_type(at, name, "a number")),
        }
    }

    /// An argument that is a handle of a separator.
    pub fn separator(&self, at: usize) -> Result<Rc<Separator>, Thrown> {
        let mut key = ptr::null_mut();
        // SAFETY: `env` and the argument are those of the call that is running. What an external of
        // another addon holds is compared with keys, never followed.
        let status =
            unsafe { sys::napi_get_value_external(self.env, self.arguments[at], &raw mut key) };
        let found = match status {
            sys::Status::napi_ok => self.separators.borrow().get(key.addr()),
            _ => None,
        };
        found.ok_or_else(|| self.wrong_type(at, "separator", "a Separator"))
    }

    /// Copies of the byte sequences in an argument that is an array of them. Copies, because asking
    /// an array for an element can run JavaScript.
    pub fn sequences(&mut self, at: usize) -> Result<Vec<Vec<u8>>, Thrown> {
        const EXPECTED: &str = "an array of Uint8Arrays";
        let array = self.arguments[at];
        let mut length = 0;
        // SAFETY: `env` and the argument are those of the call that is running.
        if unsafe { sys::napi_get_array_length(self.env, array, &raw mut length) }
            != sys::Status::napi_ok
        {
            return Err(self.wrong_type(at, "sequences", EXPECTED));
        }
        let mut sequences = Vec::new();
        for index in 0..length {
            let mut element = ptr::null_mut();
            // SAFETY: as above; no memory is lent while this runs.
            if unsafe { sys::napi_get_element(self.env, array, index, &raw mut element) }
                != sys::Status::napi_ok
            {
                return Err(Thrown::Already);
            }
            self.arguments[at] = element;
            let region = self.region::<u8>(at, "each sequence")?;
            // SAFETY: `sequences` borrows the call exclusively: this is the only slice there is.
            sequences.push(unsafe { region.slice() }.to_vec());
        }
        Ok(sequences)
    }

    /// The memory of two arguments that are typed arrays, lent until the call goes on.
    ///
    /// That the call is borrowed exclusively keeps memory from being lent twice, and JavaScript from
    /// running meanwhile: all that could run it needs the call.
    pub fn lend<A: Element, B: Element>(
        &mut self,
        (a_at, a_name): (usize, &'static str),
        (b_at, b_name): (usize, &'static str),
    ) -> Result<(&mut [A], &mut [B]), Thrown> {
        let a = self.region::<A>(a_at, a_name)?;
        let b = self.region::<B>(b_at, b_name)?;
        if a.overlaps(&b) {
            return Err(Thrown::Overlap { names: [a_name, b_name] });
        }
        // SAFETY: the two do not overlap, and the exclusive borrow of the call lasts as long as both.
        unsafe { Ok((a.slice(), b.slice())) }
    }

    fn region<'lent, T: Element>(
        &self,
        at: usize,
        name: &'static str,
    ) -> Result<Region<'lent, T>, Thrown> {
        let mut kind = -1;
        let mut length = 0;
        let mut data = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        // SAFETY: `env` and the argument are those of the call that is running; a value of any other
        // type is refused with a status. A detached array has length 0.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.arguments[at],
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                &raw mut buffer,
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != T::TYPE {
            return Err(self.wrong_type(at, name, T::ARRAY));
        }
        // Other threads may write to a SharedArrayBuffer, which is no ArrayBuffer to Node-API.
        let mut unshared = false;
        // SAFETY: as above.
        let status = unsafe { sys::napi_is_arraybuffer(self.env, buffer, &raw mut unshared) };
        if status != sys::Status::napi_ok || !unshared {
            return Err(Thrown::Shared { name });
        }
        let address = match NonNull::new(data.cast::<T>()) {
            Some(address) if length > 0 => address,
            _ => {
                let mut detached = false;
                // SAFETY: as above.
                unsafe { sys::napi_is_detached_arraybuffer(self.env, buffer, &raw mut detached) };
                if detached {
                    return Err(Thrown::Detached { name });
                }
                return Ok(Region { address: NonNull::dangling(), length: 0, lent: PhantomData });
            }
        };
        if !address.is_aligned() {
            return Err(Thrown::Misaligned { name });
        }
        Ok(Region { address, length, lent: PhantomData })
    }

    fn answer(&self, answer: Answer) -> sys::napi_value {
        let mut value = ptr::null_mut();
        match answer {
            Answer::Undefined => {}
            Answer::Number(number) => {
                // SAFETY: `env` is that of the call that is running.
                unsafe { sys::napi_create_uint32(self.env, number, &raw mut value) };
            }
            Answer::Separator(separator) => {
                let key = self.separators.borrow_mut().insert(separator);
                let data = ptr::without_provenance_mut(key);
                let owned = Rc::into_raw(Rc::clone(self.separators)).cast_mut().cast();
                // SAFETY: `env` is that of the call that is running; `forget` gets the key and the
                // reference that is made here.
                unsafe {
                    let made = sys::napi_create_external(
                        self.env,
                        data,
                        Some(forget),
                        owned,
                        &raw mut value,
                    );
                    if made != sys::Status::napi_ok {
                        forget(self.env, data, owned);
                    }
                }
            }
        }
        value
    }

    fn throw(&self, action: &CStr, thrown: &Thrown) {
        if matches!(thrown, Thrown::Already) {
            return;
        }
        let message = format!("{}: {thrown}", action.to_string_lossy());
        let message = CString::new(message).unwrap_or_default();
        let throw = match thrown.class() {
            Class::Type => sys::napi_throw_type_error,
            Class::Range => sys::napi_throw_range_error,
            Class::Error => sys::napi_throw_error,
        };
        // SAFETY: `env` is that of the call that is running; both strings end with a zero byte.
        unsafe { throw(self.env, thrown.code().as_ptr(), message.as_ptr()) };
    }

    fn wrong_type(&self, at: usize, name: &'static str, expected: &'static str) -> Thrown {
        let mut kind = -1;
        // SAFETY: `env` and the argument are those of the call that is running.
        unsafe { sys::napi_typeof(self.env, self.arguments[at], &raw mut kind) };
        let actual = match kind {
            sys::ValueType::napi_undefined => "undefined",
            sys::ValueType::napi_null => "null",
            sys::ValueType::napi_boolean => "a boolean",
            sys::ValueType::napi_number => "a number",
            sys::ValueType::napi_string => "a string",
            sys::ValueType::napi_symbol => "a symbol",
            sys::ValueType::napi_function => "a function",
            sys::ValueType::napi_bigint => "a bigint",
            _ => "another object",
        };
        Thrown::Type { name, expected, actual }
    }
}

impl<'lent, T> Region<'lent, T> {
    fn overlaps<U>(&self, other: &Region<'_, U>) -> bool {
        let (start, end) = self.addresses();
        let (other_start, other_end) = other.addresses();
        start.max(other_start) < end.min(other_end)
    }

    fn addresses(&self) -> (usize, usize) {
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
    unsafe fn slice(self) -> &'lent mut [T] {
        // SAFETY: Node-API gave address and length, of memory that JavaScript keeps initialised; the
        // address is aligned, and dangling only where the length is 0. The rest is the caller's part.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }
}

/// The integer of 32 bits that a number is exactly.
fn exact(value: f64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared below")]
    let word = value as u32;
    (value.to_bits() == f64::from(word).to_bits() || value == 0.0).then_some(word)
}

/// Sets where the next read of an open file begins that does not say where.
///
/// `libc`, and no safe crate: those want a `BorrowedFd`, and to make one of a bare number is a
/// promise that it is open, which nobody can give for a number from JavaScript. The system call
/// takes any number.
#[cfg(unix)]
pub fn seek(fd: u32, position: i64) -> io::Result<()> {
    // SAFETY: numbers go in and a number comes out, and no memory is concerned; a number that no
    // file is open under is an error of the system.
    match unsafe { libc::lseek(fd.cast_signed(), position, libc::SEEK_SET) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Not to be had on Windows, where the numbers of files mean nothing outside of the C library that
/// made them, and that of Node is its own.
#[cfg(not(unix))]
pub fn seek(_fd: u32, _position: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes `F` a function among `exports`.
pub fn export<F: Function>(
    env: &Env,
    exports: &Object<'_>,
    separators: &Rc<RefCell<Separators>>,
) -> napi::Result<()> {
    let (env, name) = (env.raw(), F::NAME.as_ptr());
    let owned = Rc::into_raw(Rc::clone(separators)).cast_mut().cast::<c_void>();
    let mut function = ptr::null_mut();
    let unused = ptr::null_mut();
    // SAFETY: `env` and `exports` are those of the module that is being loaded. `entry` gets `owned`
    // as its data, and `release` takes it back when the function is gone, but for a failure in
    // between: then the reference leaks with a module that did not load.
    unsafe {
        let length = F::NAME.count_bytes().cast_signed();
        let call = Some(entry::<F> as unsafe extern "C" fn(_, _) -> _);
        check(sys::napi_create_function(env, name, length, call, owned, &raw mut function))?;
        check(sys::napi_add_finalizer(env, function, owned, Some(release), unused, unused.cast()))?;
        check(sys::napi_set_named_property(env, exports.raw(), name, function))
    }
}

fn check(status: sys::napi_status) -> napi::Result<()> {
    match status {
        sys::Status::napi_ok => Ok(()),
        failed => Err(napi::Error::from_status(failed.into())),
    }
}

/// What Node-API calls: collects the arguments, runs `F`, hands its answer or its error over.
///
/// # Safety
///
/// - Called by Node-API, with the data that [`export`] passed.
unsafe extern "C" fn entry<F: Function>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    let mut arguments = [ptr::null_mut(); MOST_ARGUMENTS];
    let mut count = MOST_ARGUMENTS;
    let mut data = ptr::null_mut();
    // SAFETY: `info` belongs to this call. Arguments that are missing become `undefined`.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &raw mut count,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
            &raw mut data,
        )
    };
    if status != sys::Status::napi_ok || data.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the data is the reference that `export` made, which the function owns: it is looked at
    // here, and dropped by `release` alone.
    let separators = ManuallyDrop::new(unsafe { Rc::from_raw(data.cast::<RefCell<Separators>>()) });
    let mut call = Call { env, arguments, separators: &separators };
    let result = catch_unwind(AssertUnwindSafe(|| F::run(&mut call)));
    match result.unwrap_or(Err(Thrown::Panic)) {
        Ok(answer) => call.answer(answer),
        Err(thrown) => {
            call.throw(F::NAME, &thrown);
            ptr::null_mut()
        }
    }
}

/// Gives the reference back that a function or a handle has on the separators.
///
/// # Safety
///
/// - `separators` comes from `Rc::into_raw`, and is not used after this.
unsafe extern "C" fn release(_env: sys::napi_env, separators: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the precondition.
    drop(unsafe { Rc::from_raw(separators.cast::<RefCell<Separators>>()) });
}

/// Drops the separator of a handle that JavaScript has dropped.
///
/// # Safety
///
/// - `separators` comes from `Rc::into_raw`, and is not used after this.
unsafe extern "C" fn forget(_env: sys::napi_env, key: *mut c_void, separators: *mut c_void) {
    // SAFETY: the precondition.
    let separators = unsafe { Rc::from_raw(separators.cast::<RefCell<Separators>>()) };
    separators.borrow_mut().remove(key.addr());
}
