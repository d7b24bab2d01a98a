//! The system calls that Node does not have: `lseek`, and `ioctl(SIOCOUTQ)`.
//!
//! `libc`, and no safe crate: those want a `BorrowedFd`, and to make one of a bare number is a
//! promise that it is open, which cannot be given for a number from JavaScript. The system calls
//! take any number.
#![allow(unsafe_code)]

use std::io;

/// Sets where the next read of an open file begins that does not say where.
#[cfg(unix)]
pub fn seek(fd: u32, position: i64) -> io::Result<()> {
    // SAFETY: numbers go in and a number comes out, and no memory is concerned; a number that no
    // file is open under is an error of the system.
    match unsafe { libc::lseek(fd.cast_signed(), position, libc::SEEK_SET) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Not available on Windows, where the numbers of files mean nothing outside of the C library that
/// made them, and that of Node is its own.
#[cfg(not(unix))]
pub fn seek(_fd: u32, _position: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many bytes written to a socket its peer has not taken yet: over TCP, has not acknowledged.
#[cfg(target_os = "linux")]
pub fn unsent(fd: u32) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` is where this request writes one int; a number that no socket is open under is
    // an error of the system.
    match unsafe { libc::ioctl(fd.cast_signed(), libc::TIOCOUTQ, &raw mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(bytes.max(0).cast_unsigned()),
    }
}

/// Only Linux counts so for every kind of socket.
#[cfg(not(target_os = "linux"))]
pub fn unsent(_fd: u32) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}
