//! The ring: how bytes are put into borrowed memory.
//!
//! ```text
//! write(data)     at the end, across the wrap point; an empty ring starts over at the front
//! unread(data)    before the oldest byte, across the wrap point
//! reserve(min)    a writable region of at least min bytes in one piece:
//!                     the region is long enough                                  it stays
//!                     at least as many bytes were consumed as are unread, and
//!                     enough is free in all                                      slide to the front
//!                     otherwise                                                  no room
//! no room         the caller allocates a block of the capacity that the error names, at least twice
//!                 the old one, and moves the ring over with relocate
//! ```
//!
//! A slide moves no more bytes than were consumed since the last one, and growing doubles the block, so
//! both cost a constant time for each byte that passes through.

use crate::{
    Error, Segments,
    cursor::{Cursor, HEADER_BYTES, MAX_CAPACITY},
};

/// The least capacity that an error names: small enough for an idle connection that a few bytes
/// arrive on.
const LEAST_CAPACITY: usize = 256;

/// A bounded ring buffer of bytes in a block of memory: a header of [`HEADER_BYTES`] bytes, then the
/// data.
///
/// The block can be borrowed: `Ring<&[u8]>` only reads, `Ring<&mut [u8]>` also writes. All state is in
/// the block, so a ring that is dropped continues when the same block is [opened](Ring::open) again.
/// The owner of the block consumes bytes: it advances the head, the first word, and reduces the length,
/// the second, by the same number.
///
/// Every position counts from the oldest unread byte (0) to [`len`](Ring::len), wherever the bytes
/// are. A call that returns an error has changed nothing.
///
/// ```
/// use sluice_ring::{HEADER_BYTES, Ring};
///
/// let mut block = [0; HEADER_BYTES + 8];
/// let mut ring = Ring::open(&mut block[..])?;
/// ring.write(b"cdef")?;
/// ring.unread(b"ab")?; // goes to the end of the data
/// assert_eq!(ring.unread_bytes().to_vec(), b"abcdef");
/// # Ok::<(), sluice_ring::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring<M> {
    memory: M,
    cursor: Cursor,
}

impl<M: AsRef<[u8]>> Ring<M> {
    /// The ring in `memory`, whose header is checked: no header can make a later call read
    /// or write outside of the block. A block of zeros is an empty ring.
    ///
    /// # Errors
    ///
    /// [`Error::BlockTooShort`], [`Error::BlockTooLarge`], and [`Error::Cursor`] for a header whose
    /// words cannot be true.
    pub fn open(memory: M) -> Result<Self, Error> {
        let cursor = Cursor::load(memory.as_ref())?;
        Ok(Self { memory, cursor })
    }

    /// The block. [Opening](Ring::open) it again gives the same ring.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// How many bytes are unread.
    pub fn len(&self) -> usize {
        self.cursor.length()
    }

    /// Whether no byte is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the data holds, unread or free.
    pub fn capacity(&self) -> usize {
        self.cursor.capacity()
    }

    /// All unread bytes, in place.
    pub fn unread_bytes(&self) -> Segments<'_> {
        let data = &self.memory.as_ref()[HEADER_BYTES..];
        let (front, back) = self.cursor.span(0, self.len());
        Segments { front: &data[front], back: &data[back] }
    }

    /// Copies the unread bytes, in order, to the front of the data of another block, larger or
    /// smaller, and writes its header. What was in that block is lost; this ring stays as it
    /// is.
    ///
    /// ```
    /// use sluice_ring::{HEADER_BYTES, Ring};
    ///
    /// let mut small = Ring::open(vec![0; HEADER_BYTES + 4])?;
    /// small.write(b"abc")?;
    /// let mut large = small.relocate(vec![0; HEADER_BYTES + 64])?;
    /// large.write(b"defgh")?;
    /// assert_eq!(large.unread_bytes().to_vec(), b"abcdefgh");
    /// # Ok::<(), sluice_ring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the other block is too small for the unread bytes,
    /// [`Error::BlockTooShort`] and [`Error::BlockTooLarge`] when it is not a block.
    pub fn relocate<N: AsRef<[u8]> + AsMut<[u8]>>(&self, memory: N) -> Result<Ring<N>, Error> {
        let cursor = Cursor::empty(memory.as_ref().len())?;
        let mut ring = Ring { memory, cursor };
        ring.check_room(self.len())?;
        let bytes = self.unread_bytes();
        ring.write(bytes.front)?;
        ring.write(bytes.back)?;
        Ok(ring)
    }

    /// Checks that `needed` more bytes fit.
    fn check_room(&self, needed: usize) -> Result<(), Error> {
        if needed > self.cursor.free() { Err(self.full(needed)) } else { Ok(()) }
    }

    /// The error for `needed` more bytes that do not fit, with the capacity that has room for them.
    fn full(&self, needed: usize) -> Error {
        let length = self.len().saturating_add(needed);
        let capacity = self.capacity().saturating_mul(2).clamp(LEAST_CAPACITY, MAX_CAPACITY);
        Error::Full { needed, free: self.cursor.free(), capacity: capacity.max(length) }
    }
}

impl<M: AsRef<[u8]> + AsMut<[u8]>> Ring<M> {
    /// Appends a copy of `data`, across the wrap point.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when it does not fit; nothing is written then.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_room(data.len())?;
        if self.is_empty() {
            self.cursor = self.cursor.at_front();
        }
        let grown = self.cursor.append(data.len());
        self.put(grown, self.len(), data);
        Ok(())
    }

    /// Puts a copy of `data` before the unread bytes, across the wrap point.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when it does not fit; nothing is written then.
    pub fn unread(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_room(data.len())?;
        let grown = self.cursor.prepend(data.len());
        self.put(grown, 0, data);
        Ok(())
    }

    /// The free memory that directly follows the unread bytes, in one piece: bytes can be read into it in
    /// place. It ends at the end of the data or at the oldest unread byte.
    /// [`commit`](Ring::commit) makes bytes in it unread bytes.
    pub fn writable(&mut self) -> &mut [u8] {
        let region = self.cursor.writable();
        &mut self.memory.as_mut()[HEADER_BYTES..][region]
    }

    /// Makes the [`writable`](Ring::writable) region at least `min` bytes long, sliding the unread
    /// bytes to the front of the data if that costs little.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if a larger block is necessary.
    pub fn reserve(&mut self, min: usize) -> Result<(), Error> {
        if self.is_empty() {
            self.cursor = self.cursor.at_front();
        }
        if self.cursor.writable().len() < min {
            let (head, length) = (self.cursor.head(), self.len());
            if !self.cursor.in_one_piece() || head < length || self.cursor.free() < min {
                return Err(self.full(min));
            }
            self.memory.as_mut()[HEADER_BYTES..].copy_within(head..head + length, 0);
            self.cursor = self.cursor.at_front();
        }
        self.moved(self.cursor);
        Ok(())
    }

    /// Makes the first `count` bytes of the [`writable`](Ring::writable) region unread bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the region is shorter.
    pub fn commit(&mut self, count: usize) -> Result<(), Error> {
        if count > self.cursor.writable().len() {
            return Err(self.full(count));
        }
        self.moved(self.cursor.append(count));
        Ok(())
    }

    /// Moves the cursor to `grown`, which has room for `data` at position `at`, and puts it there.
    fn put(&mut self, grown: Cursor, at: usize, data: &[u8]) {
        let (front, back) = grown.span(at, at + data.len());
        let (front_data, back_data) = data.split_at(front.len());
        let memory = &mut self.memory.as_mut()[HEADER_BYTES..];
        memory[front].copy_from_slice(front_data);
        memory[back].copy_from_slice(back_data);
        self.moved(grown);
    }

    fn moved(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        cursor.store(self.memory.as_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(capacity: usize, head: u32, bytes: &[u8]) -> Ring<Vec<u8>> {
        let mut block = vec![0; HEADER_BYTES + capacity];
        block[0..4].copy_from_slice(&head.to_ne_bytes());
        let mut ring = Ring { cursor: Cursor::load(&block).unwrap(), memory: block };
        let grown = ring.cursor.append(bytes.len());
        ring.put(grown, 0, bytes);
        ring
    }

    #[test]
    fn all_state_is_in_the_block() {
        let mut block = [0; HEADER_BYTES + 4];
        block[0..4].copy_from_slice(&2_u32.to_ne_bytes());
        Ring::open(&mut block[..]).unwrap().unread(b"c").unwrap();
        Ring::open(&mut block[..]).unwrap().write(b"def").unwrap();
        let ring = Ring::open(&block[..]).unwrap();
        assert_eq!(ring.unread_bytes().front, b"cde");
        assert_eq!(ring.unread_bytes().back, b"f");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut ring = ring(4, 0, b"abc");
        let full = |needed| Error::Full { needed, free: 1, capacity: 256 };
        assert_eq!(ring.write(b"xy"), Err(full(2)));
        assert_eq!(ring.unread(b"xy"), Err(full(2)));
        assert_eq!(ring.commit(2), Err(full(2)));
        assert_eq!(ring.reserve(2), Err(full(2)));
        let small = Error::Full { needed: 3, free: 2, capacity: 256 };
        assert_eq!(ring.relocate(vec![7; HEADER_BYTES + 2]).err(), Some(small));
        assert_eq!(ring.unread_bytes().to_vec(), b"abc");
    }

    #[test]
    fn the_error_names_twice_the_capacity_or_what_is_needed() {
        let named = |capacity, needed| match ring(capacity, 0, b"").write(&vec![0; needed]) {
            Err(Error::Full { capacity, .. }) => capacity,
            other => panic!("{other:?}"),
        };
        assert_eq!(named(0, 1), 256);
        assert_eq!(named(200, 201), 400);
        assert_eq!(named(1000, 5000), 5000);
    }

    #[test]
    fn the_writable_region_ends_at_the_wrap_point_or_at_the_oldest_byte() {
        let mut ring = ring(4, 2, b"c");
        assert_eq!(ring.writable().len(), 1);
        ring.commit(1).unwrap();
        assert_eq!(ring.writable().len(), 2);
        assert_eq!(ring.unread_bytes().front, b"c\0");
    }

    #[test]
    fn bytes_slide_only_where_as_many_were_consumed() {
        let mut sliding = ring(8, 4, b"abc");
        sliding.reserve(5).unwrap();
        assert_eq!(sliding.unread_bytes().front, b"abc");
        assert_eq!(sliding.writable().len(), 5);
        assert!(ring(8, 2, b"abc").reserve(4).is_err());
        assert!(ring(8, 6, b"abc").reserve(4).is_ok(), "wrapped, but with a region of 5");
        assert!(ring(8, 4, b"abc").reserve(6).is_err());
    }

    #[test]
    fn an_empty_ring_starts_over_at_the_front() {
        let mut written = ring(4, 3, b"");
        written.write(b"abc").unwrap();
        assert_eq!(written.unread_bytes().front, b"abc");
        let mut reserved = ring(4, 3, b"");
        reserved.reserve(4).unwrap();
        assert_eq!(reserved.writable().len(), 4);
    }

    #[test]
    fn a_ring_without_capacity_is_empty_and_full() {
        let mut ring = ring(0, 0, b"");
        assert!(ring.is_empty());
        assert_eq!(ring.write(b""), Ok(()));
        assert_eq!(ring.unread(b""), Ok(()));
        assert_eq!(ring.reserve(0), Ok(()));
        assert_eq!(ring.writable(), b"");
        assert_eq!(ring.write(b"a"), Err(Error::Full { needed: 1, free: 0, capacity: 256 }));
    }
}
