//! Frames of known length: with a length field before the payload, or all of one size.
//!
//! ```text
//! +--------------+---------------+-----------------------------------+
//! | offset bytes | length field  | value + adjust bytes              |
//! +--------------+---------------+-----------------------------------+
//! |<-- header ------------------>|
//! |<-- frame ------------------------------------------------------->|
//! ```
//!
//! `ts/buffer/lengths.ts` does the same in TypeScript: both must agree on every byte.
//!
//! The listing is one loop, compiled for each type of field. It reads fields from contiguous bytes, from three
//! stretches in turn: the bytes before the wrap point, a copy of the few bytes around it, and the bytes after
//! it. The start of a frame depends on the field of the previous one, so the time for a frame is at least
//! that of a load and an addition; the checks are branches that do not delay them.
//!
//! Nanoseconds for a frame of 64 bytes (x64, the least of many rounds on a busy machine): `uint32be` 2.8 and
//! 2.4 in a loop without any checks; `uint8`, `uint16` and `uint64` about 3, `uint24` 3.9, a varint of two bytes
//! 6, a `quic` integer of two bytes 5. To repeat: `cargo bench -p sluice-ring --bench lengths`.

use std::ops::ControlFlow::{self, Break, Continue};

use crate::{Error, Listed, Query, Refused, Segments, list::word};

/// The longest length field: a varint of ten bytes.
const LONGEST_FIELD: usize = 10;

/// The largest integer up to which a JavaScript number represents every integer. Frames whose header gives
/// a greater length are malformed.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The type of a length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LengthField {
    Uint8,
    Uint16Be,
    Uint16Le,
    Uint24Be,
    Uint24Le,
    Uint32Be,
    Uint32Le,
    Uint48Be,
    Uint48Le,
    Uint64Be,
    Uint64Le,
    /// LEB128, as in protobuf and MQTT.
    Varint,
    /// The variable-length integer of RFC 9000.
    Quic,
    /// No field: all frames have one size, which is `adjust`.
    None,
}

impl LengthField {
    /// All types, in the order of their numbers in JavaScript.
    pub const ALL: [Self; 14] = [
        Self::Uint8,
        Self::Uint16Be,
        Self::Uint16Le,
        Self::Uint24Be,
        Self::Uint24Le,
        Self::Uint32Be,
        Self::Uint32Le,
        Self::Uint48Be,
        Self::Uint48Le,
        Self::Uint64Be,
        Self::Uint64Le,
        Self::Varint,
        Self::Quic,
        Self::None,
    ];
}

/// How frames with a length field, or of one size, are measured.
///
/// ```
/// use sluice_ring::{LengthField, Lengths, Query, Segments};
///
/// // A type byte, then a length that counts itself: Postgres.
/// let messages = Lengths::new(LengthField::Uint32Be, 1, -4, 0, 0)?;
/// let bytes = Segments { front: b"Z\0\0", back: b"\0\x05IS\0\0\0\x04Z\0" };
/// let mut ends = [0; 10];
/// let query = Query { start: 0, resume: 0, partial: 0, limit: 100, max: 10 };
/// let listed = bytes.list_by_length(&messages, query, &mut ends)?;
/// assert_eq!(ends[..listed.count], [6, 11]);
/// assert_eq!(listed.resume, 11);
/// # Ok::<(), sluice_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    field: LengthField,
    offset: u64,
    adjust: i64,
    least: u64,
    max_varint_bytes: usize,
}

impl Lengths {
    /// Frames of `offset` bytes, the field, and as many bytes as the value of the field plus `adjust`.
    /// A frame shorter than its header or than `least` is malformed, and so is a varint of more
    /// than `max_varint_bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Lengths`] for numbers beyond JavaScript's safe integers (2^53 - 1 in either direction),
    /// and for varints of more than ten bytes.
    pub fn new(
        field: LengthField,
        offset: u64,
        adjust: i64,
        least: u64,
        max_varint_bytes: usize,
    ) -> Result<Self, Error> {
        let largest = offset.max(adjust.unsigned_abs()).max(least);
        if largest > MAX_SAFE_INTEGER || max_varint_bytes > LONGEST_FIELD {
            return Err(Error::Lengths);
        }
        Ok(Self { field, offset, adjust, least, max_varint_bytes })
    }

    /// The length of a frame, including its header, with this value in a field of `width` bytes; `None` if
    /// no frame can have it.
    #[inline]
    fn frame_length(&self, value: u64, width: u32) -> Option<u64> {
        if value > MAX_SAFE_INTEGER {
            return None;
        }
        // All four are at most 2^53, which leaves the sums far from the ends of the type.
        let header = self.offset.cast_signed() + i64::from(width);
        let length = (header + self.adjust) + value.cast_signed();
        let valid = length >= header
            && length >= self.least.cast_signed()
            && length <= MAX_SAFE_INTEGER.cast_signed();
        valid.then_some(length.cast_unsigned())
    }
}

/// The length field at the front of some bytes.
enum Field {
    /// The bytes end within it.
    Incomplete,
    /// It is longer than allowed.
    TooLong,
    Complete {
        value: u64,
        width: u32,
    },
}

impl Segments<'_> {
    /// Lists the frames that are complete: the first begins at `query.start`, each other one where the
    /// previous one ends. Their ends, ascending positions, are written to `ends`.
    ///
    /// `query.limit` bounds a whole frame, including its header. It is checked as soon as the header is
    /// complete, whether or not the payload has arrived. [`Listed::resume`] is where the first frame
    /// that is not listed begins, and `partial` is 0. A listing that continues another uses only `start`
    /// of its query.
    ///
    /// # Errors
    ///
    /// [`Error::Positions`] for a `start` after `resume` or a `resume` after the last byte;
    /// [`Error::Partial`] for a `partial` other than 0. Nothing is written then.
    pub fn list_by_length(
        &self,
        lengths: &Lengths,
        query: Query,
        ends: &mut [u32],
    ) -> Result<Listed, Error> {
        query.check_positions(self.len())?;
        if query.partial != 0 {
            return Err(Error::Partial { partial: query.partial });
        }
        let list = Listing { bytes: *self, lengths, start: query.start, limit: query.limit as u64 };
        let room = ends.len().min(query.max);
        let ends = &mut ends[..room];
        Ok(match lengths.field {
            LengthField::Uint8 => list.run(ends, fixed(|[a]| u64::from(a))),
            LengthField::Uint16Be => list.run(ends, fixed(|b| u16::from_be_bytes(b).into())),
            LengthField::Uint16Le => list.run(ends, fixed(|b| u16::from_le_bytes(b).into())),
            LengthField::Uint24Be => {
                list.run(ends, fixed(|[a, b, c]| u32::from_be_bytes([0, a, b, c]).into()))
            }
            LengthField::Uint24Le => {
                list.run(ends, fixed(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]).into()))
            }
            LengthField::Uint32Be => list.run(ends, fixed(|b| u32::from_be_bytes(b).into())),
            LengthField::Uint32Le => list.run(ends, fixed(|b| u32::from_le_bytes(b).into())),
            LengthField::Uint48Be => list.run(
                ends,
                fixed(|[a, b, c, d, e, f]| u64::from_be_bytes([0, 0, a, b, c, d, e, f])),
            ),
            LengthField::Uint48Le => list.run(
                ends,
                fixed(|[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0])),
            ),
            LengthField::Uint64Be => list.run(ends, fixed(u64::from_be_bytes)),
            LengthField::Uint64Le => list.run(ends, fixed(u64::from_le_bytes)),
            LengthField::Varint => list.run(ends, varint(lengths.max_varint_bytes)),
            LengthField::Quic => list.run(ends, quic),
            LengthField::None => list.run(ends, |_| Field::Complete { value: 0, width: 0 }),
        })
    }
}

/// Reads a field of `N` bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "no field has more than eight bytes")]
fn fixed<const N: usize>(value: impl Fn([u8; N]) -> u64) -> impl Fn(&[u8]) -> Field {
    move |bytes| match bytes.first_chunk() {
        Some(bytes) => Field::Complete { value: value(*bytes), width: N as u32 },
        None => Field::Incomplete,
    }
}

/// Reads a varint of at most `most` bytes.
#[inline]
fn varint(most: usize) -> impl Fn(&[u8]) -> Field {
    move |bytes| {
        let mut value = 0;
        for (width, byte) in (1..).zip(bytes.iter().take(most)) {
            let digit = u64::from(byte & 0x7f);
            // From the ninth byte on, every digit except 0 makes a value that no frame can have. So the
            // tenth may be shifted by less than 63, by which it would lose bits.
            value |= digit << (7 * (width - 1)).min(57);
            if *byte < 0x80 {
                return Field::Complete { value, width };
            }
        }
        if bytes.len() < most { Field::Incomplete } else { Field::TooLong }
    }
}

/// Reads a variable-length integer of QUIC: the first two bits are the binary logarithm of its length.
#[inline]
fn quic(bytes: &[u8]) -> Field {
    match bytes.first().map(|first| first >> 6) {
        None => Field::Incomplete,
        Some(0) => fixed(|[byte]| u64::from(byte & 0x3f))(bytes),
        Some(1) => fixed(|b| u64::from(u16::from_be_bytes(b) & 0x3fff))(bytes),
        Some(2) => fixed(|b| u64::from(u32::from_be_bytes(b) & 0x3fff_ffff))(bytes),
        Some(_) => fixed(|b| u64::from_be_bytes(b) & (u64::MAX >> 2))(bytes),
    }
}

/// One listing: the values that do not change while it runs.
struct Listing<'a> {
    bytes: Segments<'a>,
    lengths: &'a Lengths,
    start: usize,
    limit: u64,
}

impl Listing<'_> {
    #[inline]
    fn run(&self, ends: &mut [u32], read: impl Fn(&[u8]) -> Field) -> Listed {
        let mut listed = Listed { count: 0, resume: self.start, partial: 0, refused: None };
        let Ok(offset) = usize::try_from(self.lengths.offset) else { return listed };
        let Segments { front, back } = self.bytes;
        let wrap = front.len();
        let mut window = [0; 2 * LONGEST_FIELD];
        for stretch in [Stretch::Front, Stretch::Window, Stretch::Back] {
            // The position of the next field, which is the first of `fields`.
            let at = listed.resume.saturating_add(offset);
            let fields = match stretch {
                Stretch::Front if at < wrap => &front[at..],
                Stretch::Window if at < wrap && !back.is_empty() => {
                    let older = &front[at..];
                    let newer = &back[..back.len().min(LONGEST_FIELD - 1)];
                    let window = &mut window[..older.len() + newer.len()];
                    window[..older.len()].copy_from_slice(older);
                    window[older.len()..].copy_from_slice(newer);
                    &*window
                }
                Stretch::Back if at >= wrap && at - wrap <= back.len() => &back[at - wrap..],
                _ => continue,
            };
            match self.pass(fields, listed, ends, &read) {
                Continue(so_far) => listed = so_far,
                Break(all) => return all,
            }
        }
        listed
    }

    /// Lists the frames whose fields are in `fields`, which begin with the next field. Breaks where the
    /// listing ends; continues where `fields` end before a header is complete.
    #[inline]
    fn pass(
        &self,
        fields: &[u8],
        listed: Listed,
        ends: &mut [u32],
        read: impl Fn(&[u8]) -> Field,
    ) -> ControlFlow<Listed, Listed> {
        let total = self.bytes.len();
        let base = listed.resume;
        let Listed { mut count, resume: mut frame, .. } = listed;
        for end in &mut ends[count..] {
            let listed = Listed { count, resume: frame, ..listed };
            if frame >= total {
                return Break(listed);
            }
            let refused = |reason| Break(Listed { refused: Some(reason), ..listed });
            let (value, width) = match fields.get(frame - base..).map_or(Field::Incomplete, &read) {
                Field::Incomplete => return Continue(listed),
                Field::TooLong => return refused(Refused::Malformed),
                Field::Complete { value, width } => (value, width),
            };
            let Some(length) = self.lengths.frame_length(value, width) else {
                return refused(Refused::Malformed);
            };
            if length > self.limit {
                return refused(Refused::Overlong(length));
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            // Empty frames, which only a size of 0 describes, would be listed forever.
            if length == 0 || length > total - frame {
                return Break(listed);
            }
            frame += length;
            *end = word(frame);
            count += 1;
        }
        Break(Listed { count, resume: frame, ..listed })
    }
}

/// The stretches that fields are read from in turn.
enum Stretch {
    Front,
    Window,
    Back,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(field: LengthField, offset: u64, adjust: i64) -> Lengths {
        Lengths::new(field, offset, adjust, 0, LONGEST_FIELD).unwrap()
    }

    fn list(lengths: &Lengths, front: &[u8], back: &[u8], limit: usize) -> (Vec<u32>, Listed) {
        let mut ends = [0; 20];
        let query = Query { start: 0, resume: 0, partial: 0, limit, max: 20 };
        let listed = Segments { front, back }.list_by_length(lengths, query, &mut ends).unwrap();
        (ends[..listed.count].to_vec(), listed)
    }

    /// The value of the one field that `bytes` are, as the length of a frame without limit.
    fn measured(field: LengthField, bytes: &[u8]) -> Option<Refused> {
        list(&lengths(field, 0, 0), bytes, b"", 0).1.refused
    }

    #[test]
    fn each_type_of_field_is_read() {
        use LengthField as Type;
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        for (field, width, value) in [
            (Type::Uint8, 1, 0x01),
            (Type::Uint16Be, 2, 0x0102),
            (Type::Uint16Le, 2, 0x0201),
            (Type::Uint24Be, 3, 0x01_0203),
            (Type::Uint24Le, 3, 0x03_0201),
            (Type::Uint32Be, 4, 0x0102_0304),
            (Type::Uint32Le, 4, 0x0403_0201),
            (Type::Uint48Be, 6, 0x0102_0304_0506),
            (Type::Uint48Le, 6, 0x0605_0403_0201),
        ] {
            assert_eq!(measured(field, &bytes[..width - 1]), None, "{field:?}");
            let expected = Some(Refused::Overlong(value + width as u64));
            assert_eq!(measured(field, &bytes), expected, "{field:?}");
        }
        for (field, bytes) in
            [(Type::Uint64Be, [0, 0, 0, 0, 0, 1, 2, 3]), (Type::Uint64Le, [3, 2, 1, 0, 0, 0, 0, 0])]
        {
            assert_eq!(measured(field, &bytes[..7]), None);
            assert_eq!(measured(field, &bytes), Some(Refused::Overlong(0x01_0203 + 8)));
            assert_eq!(measured(field, &[0x7f; 8]), Some(Refused::Malformed));
        }
    }

    #[test]
    fn a_varint_has_as_many_bytes_as_are_allowed() {
        let varint = |most| Lengths::new(LengthField::Varint, 0, 0, 0, most).unwrap();
        let refused = |most, bytes: &[u8]| list(&varint(most), bytes, b"", 0).1.refused;
        let overlong = |length| Some(Refused::Overlong(length));
        assert_eq!(refused(4, &[0xac, 0x02]), overlong(300 + 2));
        assert_eq!(refused(4, &[0x80, 0x80, 0x80]), None);
        assert_eq!(refused(4, &[0x81, 0x80, 0x80, 0x00]), overlong(1 + 4), "longer than needed");
        assert_eq!(refused(4, &[0xff; 4]), Some(Refused::Malformed), "before a fifth byte comes");
        assert_eq!(refused(10, &[0xff; 9]), None);
        assert_eq!(refused(10, &[0xff; 10]), Some(Refused::Malformed));
        let ten = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
        assert_eq!(refused(10, &[&ten[..], &[0]].concat()), overlong(10));
        assert_eq!(refused(10, &[&ten[..], &[0x7f]].concat()), Some(Refused::Malformed));
        assert_eq!(refused(1, &[0x05]), overlong(6));
        assert_eq!(refused(1, &[0x80]), Some(Refused::Malformed));
    }

    #[test]
    fn an_integer_of_quic_says_its_width() {
        for (bytes, length) in [
            (&[0x25][..], 37 + 1),
            (&[0x7b, 0xbd], 15_293 + 2),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333 + 4),
            (&[0xc0, 0, 0, 0, 0, 0, 1, 0], 256 + 8),
        ] {
            let whole = measured(LengthField::Quic, bytes);
            assert_eq!(whole, Some(Refused::Overlong(length)));
            assert_eq!(measured(LengthField::Quic, &bytes[..bytes.len() - 1]), None);
        }
        let largest = measured(LengthField::Quic, &[0xff; 8]);
        assert_eq!(largest, Some(Refused::Malformed));
    }

    #[test]
    fn the_limit_bounds_the_whole_frame_before_its_payload_comes() {
        let lengths = lengths(LengthField::Uint16Be, 1, 2);
        let header = [9, 0, 5];
        assert_eq!(list(&lengths, &header, b"", 9).1.refused, Some(Refused::Overlong(10)));
        assert_eq!(list(&lengths, &header, b"", 10).1.refused, None);
        assert_eq!(list(&lengths, &header, b"1234567", 10).0, [10]);
    }

    #[test]
    fn a_length_below_the_header_or_below_the_least_is_malformed() {
        let counting_itself = lengths(LengthField::Uint32Be, 0, -4);
        assert_eq!(
            list(&counting_itself, &[0, 0, 0, 3], b"", 9).1.refused,
            Some(Refused::Malformed)
        );
        assert_eq!(list(&counting_itself, &[0, 0, 0, 4], b"", 9).0, [4]);
        let at_least_six = Lengths::new(LengthField::Uint8, 0, 0, 6, 0).unwrap();
        assert_eq!(list(&at_least_six, &[4], b"", 9).1.refused, Some(Refused::Malformed));
        assert_eq!(list(&at_least_six, &[5], b"", 9).1.refused, None);
    }

    #[test]
    fn good_frames_before_a_refused_one_are_listed() {
        let bytes = [1, 7, 0, 9, 1, 2];
        let (ends, listed) = list(&lengths(LengthField::Uint8, 0, 0), &bytes, b"", 9);
        assert_eq!(ends, [2, 3]);
        assert_eq!((listed.resume, listed.refused), (3, Some(Refused::Overlong(10))));
    }

    #[test]
    fn frames_of_one_size_have_no_field() {
        let size = |size| lengths(LengthField::None, 0, size);
        assert_eq!(list(&size(3), b"abcde", b"fgh", 3).0, [3, 6]);
        assert_eq!(list(&size(3), b"", b"", 2).1.refused, None, "without a byte there is no frame");
        assert_eq!(list(&size(3), b"a", b"", 2).1.refused, Some(Refused::Overlong(3)));
        assert_eq!(list(&size(0), b"abc", b"", 9).0, []);
        assert_eq!(list(&size(-1), b"abc", b"", 9).1.refused, Some(Refused::Malformed));
    }

    #[test]
    fn numbers_that_would_overflow_are_refused() {
        let largest = MAX_SAFE_INTEGER;
        let adjust = largest.cast_signed();
        let new = |offset, adjust, least, most| {
            Lengths::new(LengthField::Uint64Be, offset, adjust, least, most).err()
        };
        assert_eq!(new(largest, adjust, largest, LONGEST_FIELD), None);
        assert_eq!(new(largest, -adjust, largest, LONGEST_FIELD), None);
        for (offset, adjust, least, most) in [
            (largest + 1, 0, 0, 0),
            (0, adjust + 1, 0, 0),
            (0, i64::MIN, 0, 0),
            (0, 0, u64::MAX, 0),
            (0, 0, 0, LONGEST_FIELD + 1),
        ] {
            assert_eq!(new(offset, adjust, least, most), Some(Error::Lengths));
        }
        let lengths = lengths(LengthField::Uint64Be, 0, adjust);
        let bytes = (largest - 7).to_be_bytes();
        assert_eq!(list(&lengths, &bytes, b"", 9).1.refused, Some(Refused::Malformed));
    }

    #[test]
    fn a_header_is_read_across_the_wrap_point() {
        let bytes = [0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 2, b'b', b'c'];
        let lengths = lengths(LengthField::Uint32Be, 0, 0);
        for wrap in 0..=bytes.len() {
            let (front, back) = bytes.split_at(wrap);
            assert_eq!(list(&lengths, front, back, 9).0, [5, 9, 15], "{wrap}");
        }
    }
}
