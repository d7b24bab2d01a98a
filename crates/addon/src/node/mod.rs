//! Node-API: the only module of the addon with unsafe code, but for the one system call of `seek.rs`.
//! What it offers to the others is safe.
#![allow(unsafe_code)]

mod call;
mod exports;
mod memory;

pub use call::{Answer, Call};
pub use exports::{Function, export};
pub use memory::{Lent, Places};
