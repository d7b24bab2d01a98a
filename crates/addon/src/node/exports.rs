//! The functions that JavaScript gets, and how Node-API calls them.
//!
//! They are registered as plain Node-API callbacks. The wrappers that `#[napi]` generates keep track
//! of borrowed objects, which costs more than most of these calls: measured side by side on Node 20,
//! a search of 64 bytes takes 1000 ns with them and 250 ns without.

use std::{
    cell::RefCell,
    ffi::{CStr, c_void},
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    rc::Rc,
};

use napi::{Env, JsValue, bindgen_prelude::Object, sys};

use super::{Answer, Call, call::MOST_ARGUMENTS};
use crate::{framings::Framings, thrown::Thrown};

/// A function that JavaScript can call.
pub trait Function {
    /// Its name, with which error messages begin.
    const NAME: &'static CStr;
    fn run(call: &mut Call<'_>) -> Result<Answer, Thrown>;
}

/// Makes `F` a function among `exports`.
pub fn export<F: Function>(
    env: &Env,
    exports: &Object<'_>,
    framings: &Rc<RefCell<Framings>>,
) -> napi::Result<()> {
    let (env, name) = (env.raw(), F::NAME.as_ptr());
    let owned = Rc::into_raw(Rc::clone(framings)).cast_mut().cast::<c_void>();
    let mut function = ptr::null_mut();
    let unused = ptr::null_mut();
    // SAFETY: `env` and `exports` are those of the module that is being loaded. `entry` gets `owned`
    // as its data, and `release` drops it when the function is gone. If a step in between fails, the
    // reference leaks, together with a module that did not load.
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

/// The callback for Node-API: collects the arguments, runs `F`, and returns its result or throws its error.
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
    // SAFETY: the data is the reference that `export` made, which the function owns: it is only read
    // here, and `release` drops it.
    let framings = ManuallyDrop::new(unsafe { Rc::from_raw(data.cast::<RefCell<Framings>>()) });
    let mut call = Call { env, arguments, framings: &framings };
    let result = catch_unwind(AssertUnwindSafe(|| F::run(&mut call)));
    match result.unwrap_or(Err(Thrown::Panic)) {
        Ok(answer) => call.answer(answer),
        Err(thrown) => {
            call.throw(F::NAME, &thrown);
            ptr::null_mut()
        }
    }
}

/// Drops the reference that a function or a handle has to the framings.
///
/// # Safety
///
/// - `framings` comes from `Rc::into_raw`, and is not used after this.
unsafe extern "C" fn release(_env: sys::napi_env, framings: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the precondition.
    drop(unsafe { Rc::from_raw(framings.cast::<RefCell<Framings>>()) });
}

/// Drops the framing of a handle that JavaScript has dropped.
///
/// # Safety
///
/// - `framings` comes from `Rc::into_raw`, and is not used after this.
pub(super) unsafe extern "C" fn forget(
    _env: sys::napi_env,
    key: *mut c_void,
    framings: *mut c_void,
) {
    // SAFETY: the precondition.
    let framings = unsafe { Rc::from_raw(framings.cast::<RefCell<Framings>>()) };
    framings.borrow_mut().remove(key.addr());
}
