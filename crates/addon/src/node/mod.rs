//! Node-API: the only module of the addon with unsafe code, apart from the system calls in `system.rs`.
//! Its interface to the other modules is safe.
#![allow(unsafe_code)]

mod call;
mod exports;
mod memory;

pub use call::{Answer, Call};
pub use exports::{Function, export};
pub use memory::{Lent, MemoryArguments};
