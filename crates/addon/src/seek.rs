//! `lseek`, which Node does not have.
#![allow(unsafe_code)]

use std::io;

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
