//! The system calls that Node lacks: `lseek`, and `ioctl(SIOCOUTQ)`.
//!
//! They use `libc` directly. The safe crates require a `BorrowedFd`, and creating one from a number
//! would promise that the file is open, which this code cannot know about a number from JavaScript.
//! The system calls accept any number.
#![allow(unsafe_code)]

use std::io;

#[cfg(all(unix, not(all(target_os = "linux", target_env = "gnu"))))]
use libc::lseek as lseek64;
// On 32 bits, positions of `lseek` have 32 bits in glibc.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use libc::lseek64;

/// Sets the position at which the next read of an open file begins if the read itself gives none.
#[cfg(unix)]
pub fn seek(fd: u32, position: i64) -> io::Result<()> {
    // SAFETY: the call takes and returns numbers and accesses no memory. If no file is open under
    // the number, it returns a system error.
    match unsafe { lseek64(fd.cast_signed(), position, libc::SEEK_SET) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Not supported on Windows, where a file number only has a meaning in the C library that opened
/// the file, and Node has its own.
#[cfg(not(unix))]
pub fn seek(_fd: u32, _position: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many bytes that were written to a socket are not sent yet; for TCP, not acknowledged by the
/// peer.
#[cfg(target_os = "linux")]
pub fn unsent(fd: u32) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, to `bytes`. If no socket is open under the number, it
    // returns a system error.
    match unsafe { libc::ioctl(fd.cast_signed(), libc::TIOCOUTQ, &raw mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(bytes.max(0).cast_unsigned()),
    }
}

/// Only Linux supports this request for every kind of socket.
#[cfg(not(target_os = "linux"))]
pub fn unsent(_fd: u32) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}
