//! One call from JavaScript: its arguments become Rust values, its result or its error becomes a
//! JavaScript value.

use std::{
    cell::RefCell,
    ffi::{CStr, CString},
    ptr,
    rc::Rc,
};

use super::{exports::forget, memory::Region};
use crate::{
    framings::{Framing, Framings},
    thrown::{Class, Thrown},
};
use napi::sys;

/// The most arguments that a function has.
pub(super) const MOST_ARGUMENTS: usize = 7;

/// What a function returns to JavaScript.
pub enum Answer {
    Undefined,
    Number(u32),
    /// A new handle to this framing.
    Framing(Framing),
}

/// One call from JavaScript: its arguments, by number.
pub struct Call<'call> {
    pub(super) env: sys::napi_env,
    pub(super) arguments: [sys::napi_value; MOST_ARGUMENTS],
    pub(super) framings: &'call Rc<RefCell<Framings>>,
}

impl Call<'_> {
    /// An argument that is an integer of 32 bits.
    pub fn number(&self, at: usize, name: &'static str) -> Result<u32, Thrown> {
        let value = self.double(at, name)?;
        exact(value).ok_or(Thrown::NoInteger { name, least: 0, most: i64::from(u32::MAX), value })
    }

    /// An argument that is a safe integer of JavaScript, from `least` on.
    pub fn safe_integer(&self, at: usize, name: &'static str, least: i64) -> Result<i64, Thrown> {
        const MOST: i64 = (1 << 53) - 1;
        let value = self.double(at, name)?;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        let integer = value as i64;
        let fits = value.fract() == 0.0 && (least.max(-MOST)..=MOST).contains(&integer);
        fits.then_some(integer).ok_or(Thrown::NoInteger { name, least, most: MOST, value })
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

    /// An argument that is a handle of a framing.
    pub fn framing(&self, at: usize) -> Result<Rc<Framing>, Thrown> {
        let mut key = ptr::null_mut();
        // SAFETY: `env` and the argument are those of the call that is running. The value of an external
        // of another addon is only compared with keys, never dereferenced.
        let status =
            unsafe { sys::napi_get_value_external(self.env, self.arguments[at], &raw mut key) };
        let found = match status {
            sys::Status::napi_ok => self.framings.borrow().get(key.addr()),
            _ => None,
        };
        found.ok_or_else(|| self.wrong_type(at, "framing", "a Separator or Lengths"))
    }

    /// Whether an argument is missing: it is `undefined`.
    pub fn is_missing(&self, at: usize) -> bool {
        let mut kind = -1;
        // SAFETY: `env` and the argument are those of the call that is running.
        unsafe { sys::napi_typeof(self.env, self.arguments[at], &raw mut kind) };
        kind == sys::ValueType::napi_undefined
    }

    /// Copies of the byte sequences in an argument that is an array of them. They are copied because
    /// getting an element of an array can run JavaScript.
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
            let region = Region::<u8>::new(self, at, "each sequence")?;
            // SAFETY: `sequences` borrows the call exclusively: this is the only slice there is.
            sequences.push(unsafe { region.slice() }.to_vec());
        }
        Ok(sequences)
    }

    pub(super) fn answer(&self, answer: Answer) -> sys::napi_value {
        let mut value = ptr::null_mut();
        match answer {
            Answer::Undefined => {}
            Answer::Number(number) => {
                // SAFETY: `env` is that of the call that is running.
                unsafe { sys::napi_create_uint32(self.env, number, &raw mut value) };
            }
            Answer::Framing(framing) => {
                let key = self.framings.borrow_mut().insert(framing);
                let data = ptr::without_provenance_mut(key);
                let owned = Rc::into_raw(Rc::clone(self.framings)).cast_mut().cast();
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

    pub(super) fn throw(&self, action: &CStr, thrown: &Thrown) {
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

    pub(super) fn wrong_type(
        &self,
        at: usize,
        name: &'static str,
        expected: &'static str,
    ) -> Thrown {
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

/// The 32-bit integer that is exactly equal to a number.
fn exact(value: f64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared below")]
    let word = value as u32;
    (value.to_bits() == f64::from(word).to_bits() || value == 0.0).then_some(word)
}
