//! The errors of a call, and the JavaScript error that each becomes: class, code and message. The
//! codes are those of `ts/errors.ts`.

use std::{ffi::CStr, fmt, io};

use sluice_ring::Error;

/// Why a call throws.
#[derive(Debug)]
pub enum Thrown {
    /// The ring refused the arguments.
    Ring(Error),
    /// An argument of the wrong type.
    Type { name: &'static str, expected: &'static str, actual: &'static str },
    /// A number that is not an integer from `least` to `most`.
    NoInteger { name: &'static str, least: i64, most: i64, value: f64 },
    /// Two arguments that share memory.
    Overlap { names: [&'static str; 2] },
    /// An array of words that is too short for the summary and the list that the summary describes.
    Words { words: usize, least: usize },
    /// An array whose memory was transferred.
    Detached { name: &'static str },
    /// Memory that other threads can write to.
    Shared { name: &'static str },
    /// Words that do not begin at a multiple of 4 bytes.
    Misaligned { name: &'static str },
    /// A system error for a file.
    File { fd: u32, error: io::Error },
    /// A bug in the addon, reported as an error instead of ending the process.
    Panic,
    /// JavaScript code that the call ran has already thrown.
    Already,
}

/// The class of a JavaScript error.
#[derive(Debug, PartialEq, Eq)]
pub enum Class {
    Type,
    Range,
    Error,
}

impl Thrown {
    pub fn class(&self) -> Class {
        match self {
            Self::Type { .. }
            | Self::Overlap { .. }
            | Self::Detached { .. }
            | Self::Shared { .. } => Class::Type,
            Self::Ring(_)
            | Self::NoInteger { .. }
            | Self::Words { .. }
            | Self::Misaligned { .. } => Class::Range,
            Self::File { .. } | Self::Panic | Self::Already => Class::Error,
        }
    }

    pub fn code(&self) -> &'static CStr {
        match self {
            Self::Ring(Error::NoSequence | Error::EmptySequence { .. }) => c"ERR_SEPARATOR_EMPTY",
            Self::Ring(Error::BlockTooLarge { .. } | Error::SeparatorTooLarge) => {
                c"ERR_BUFFER_TOO_LARGE"
            }
            Self::Ring(_)
            | Self::NoInteger { .. }
            | Self::Words { .. }
            | Self::Misaligned { .. } => c"ERR_OUT_OF_RANGE",
            Self::Type { .. }
            | Self::Overlap { .. }
            | Self::Detached { .. }
            | Self::Shared { .. } => c"ERR_INVALID_ARG_TYPE",
            Self::File { error, .. } => system_code(error),
            Self::Panic | Self::Already => c"ERR_INTERNAL",
        }
    }
}

/// The name of a system error, for the errors that these system calls can return.
#[cfg(unix)]
fn system_code(error: &io::Error) -> &'static CStr {
    match error.raw_os_error() {
        Some(libc::EBADF) => c"EBADF",
        Some(libc::ESPIPE) => c"ESPIPE",
        Some(libc::EINVAL) => c"EINVAL",
        Some(libc::EOVERFLOW) => c"EOVERFLOW",
        Some(libc::ENOTTY) => c"ENOTTY",
        None if error.kind() == io::ErrorKind::Unsupported => c"ENOSYS",
        _ => c"UNKNOWN",
    }
}

/// The name of a system error. The only one is that the call is not supported.
#[cfg(not(unix))]
fn system_code(_error: &io::Error) -> &'static CStr {
    c"ENOSYS"
}

impl From<Error> for Thrown {
    fn from(error: Error) -> Self {
        Self::Ring(error)
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => error.fmt(f),
            Self::Type { name, expected, actual } => {
                write!(f, "{name} must be {expected}, not {actual}")
            }
            Self::NoInteger { name, least, most, value } => {
                write!(f, "{name} must be an integer from {least} to {most}, not ")?;
                match value {
                    value if value.is_infinite() && *value > 0.0 => f.write_str("Infinity"),
                    value if value.is_infinite() => f.write_str("-Infinity"),
                    value if value.abs() >= 1e21 => write!(f, "{value:e}"),
                    value => value.fmt(f),
                }
            }
            Self::Overlap { names: [a, b] } => write!(f, "{a} and {b} must not share memory"),
            Self::Words { words, least } => {
                write!(f, "words.length must be {least} or more, not {words}")
            }
            Self::Detached { name } => write!(f, "{name} is detached from its memory"),
            Self::Shared { name } => {
                write!(f, "{name} must be in an ArrayBuffer, not in a SharedArrayBuffer")
            }
            Self::Misaligned { name } => write!(f, "{name} must begin at a multiple of 4 bytes"),
            Self::File { fd, error } => write!(f, "fd {fd}: {error}"),
            Self::Panic => f.write_str("the native engine failed"),
            Self::Already => f.write_str("thrown already"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_numbers_as_javascript_writes_them() {
        let most = i64::from(u32::MAX);
        let message =
            |value| Thrown::NoInteger { name: "start", least: 0, most, value }.to_string();
        let expected = "start must be an integer from 0 to 4294967295, not ";
        for (value, written) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (-1.0, "-1"),
            (1.5, "1.5"),
            (4_294_967_296.0, "4294967296"),
        ] {
            assert_eq!(message(value), format!("{expected}{written}"));
        }
    }

    #[test]
    fn every_kind_of_mistake_has_its_class_and_code() {
        let full = Thrown::from(Error::Full { needed: 2, free: 1, capacity: 256 });
        assert_eq!((full.class(), full.code()), (Class::Range, c"ERR_OUT_OF_RANGE"));
        let empty = Thrown::from(Error::NoSequence);
        assert_eq!((empty.class(), empty.code()), (Class::Range, c"ERR_SEPARATOR_EMPTY"));
        let overlap = Thrown::Overlap { names: ["block", "data"] };
        assert_eq!((overlap.class(), overlap.code()), (Class::Type, c"ERR_INVALID_ARG_TYPE"));
        assert_eq!((Thrown::Panic.class(), Thrown::Panic.code()), (Class::Error, c"ERR_INTERNAL"));
        let none = Thrown::File { fd: 7, error: io::ErrorKind::Unsupported.into() };
        assert_eq!(
            (none.class(), none.to_string()),
            (Class::Error, "fd 7: unsupported".to_owned())
        );
    }
}
