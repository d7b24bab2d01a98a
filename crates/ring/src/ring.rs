//! The ring: bytes in, bytes out, on memory that it is given.

use crate::{
    Error, Segments,
    cursor::{Cursor, HEADER_BYTES, MAX_CAPACITY},
};

/// A bounded ring buffer of bytes in a block of memory: a header of [`HEADER_BYTES`] bytes, behind
/// it the data.
///
/// The block can be anyone's: `Ring<&[u8]>` only looks, `Ring<&mut [u8]>` works in borrowed memory,
/// `Ring<Vec<u8>>` owns its block and can [grow](Ring::reserve). All state lies in the block, so
/// that dropping a ring and [opening](Ring::open) the same block again goes on where it was.
///
/// Every position counts from the oldest unread byte (0) to [`len`](Ring::len), wherever the bytes
/// lie. A call that returns an error has changed nothing.
///
/// ```
/// use sluice_ring::{HEADER_BYTES, Ring};
///
/// let mut block = [0; HEADER_BYTES + 8];
/// let mut ring = Ring::empty(&mut block[..])?;
/// ring.write(b"abcdef")?;
/// ring.consume(4)?;
/// ring.write(b"ghij")?; // goes on at the front of the data: "efgh" lies behind, "ij" in front
/// assert_eq!(ring.unread_bytes().to_vec(), b"efghij");
/// # Ok::<(), sluice_ring::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring<M> {
    memory: M,
    cursor: Cursor,
}

impl<M: AsRef<[u8]>> Ring<M> {
    /// The ring that lies in `memory`, whose header is checked: no header can make a later call read
    /// or write outside of the block.
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

    /// How many more bytes there is room for.
    pub fn free(&self) -> usize {
        self.cursor.free()
    }

    /// All unread bytes, where they lie.
    pub fn unread_bytes(&self) -> Segments<'_> {
        self.positions(0, self.len())
    }

    /// The unread bytes from `start` to `end`, where they lie.
    ///
    /// # Errors
    ///
    /// [`Error::Positions`].
    pub fn range(&self, start: usize, end: usize) -> Result<Segments<'_>, Error> {
        self.cursor.check(start, end)?;
        Ok(self.positions(start, end))
    }

    /// Copies the unread bytes from `start` on to `target`, as many as it holds, across the seam;
    /// consumes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Positions`] when there are fewer bytes behind `start` than `target` holds.
    pub fn copy_to(&self, start: usize, target: &mut [u8]) -> Result<(), Error> {
        let range = self.range(start, start.saturating_add(target.len()))?;
        let (front, back) = target.split_at_mut(range.front.len());
        front.copy_from_slice(range.front);
        back.copy_from_slice(range.back);
        Ok(())
    }

    /// Copies the unread bytes, in order, to the front of the data of another block, larger or
    /// smaller, and writes its header. What was in that block is forgotten; this ring stays as it
    /// is.
    ///
    /// ```
    /// use sluice_ring::{HEADER_BYTES, Ring};
    ///
    /// let mut small = Ring::with_capacity(4)?;
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
    /// [`Error::BlockTooShort`] and [`Error::BlockTooLarge`] when it is no block.
    pub fn relocate<N: AsRef<[u8]> + AsMut<[u8]>>(&self, memory: N) -> Result<Ring<N>, Error> {
        let free = Cursor::empty(memory.as_ref().len())?.capacity();
        if free < self.len() {
            return Err(Error::Full { needed: self.len(), free });
        }
        let mut ring = Ring::empty(memory)?;
        let bytes = self.unread_bytes();
        ring.write(bytes.front)?;
        ring.write(bytes.back)?;
        Ok(ring)
    }

    /// The bytes at these positions, which the caller has checked.
    fn positions(&self, start: usize, end: usize) -> Segments<'_> {
        let data = &self.memory.as_ref()[HEADER_BYTES..];
        let (front, back) = self.cursor.span(start, end);
        Segments { front: &data[front], back: &data[back] }
    }
}

impl<M: AsRef<[u8]> + AsMut<[u8]>> Ring<M> {
    /// An empty ring in `memory`, whatever its header says.
    ///
    /// # Errors
    ///
    /// [`Error::BlockTooShort`] and [`Error::BlockTooLarge`].
    pub fn empty(memory: M) -> Result<Self, Error> {
        let cursor = Cursor::empty(memory.as_ref().len())?;
        let mut ring = Self { memory, cursor };
        ring.moved(cursor);
        Ok(ring)
    }

    /// The contiguous memory behind the unread bytes: where bytes can be read into in place. It ends
    /// at the end of the data or at the oldest unread byte, so that it can be shorter than
    /// [`free`](Ring::free). Bytes put there become unread bytes by [`commit`](Ring::commit).
    pub fn writable(&mut self) -> &mut [u8] {
        let (region, _) = self.cursor.span(self.len(), self.capacity());
        &mut self.memory.as_mut()[HEADER_BYTES..][region]
    }

    /// Makes the first `count` bytes of the [`writable`](Ring::writable) region unread bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the region is shorter.
    pub fn commit(&mut self, count: usize) -> Result<(), Error> {
        let free = self.cursor.span(self.len(), self.capacity()).0.len();
        if count > free {
            return Err(Error::Full { needed: count, free });
        }
        self.moved(self.cursor.append(count));
        Ok(())
    }

    /// Appends a copy of `data`, across the seam.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when it does not fit; nothing is written then.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.check_room(data.len())?;
        let grown = self.cursor.append(data.len());
        self.put(grown, self.len(), data);
        Ok(())
    }

    /// Puts a copy of `data` in front of the unread bytes, across the seam.
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

    /// Drops the oldest `count` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Positions`] when fewer are unread.
    pub fn consume(&mut self, count: usize) -> Result<(), Error> {
        self.cursor.check(count, self.len())?;
        self.moved(self.cursor.consume(count));
        Ok(())
    }

    /// Moves the bytes within the block so that the oldest lies at the front of the data: then all
    /// unread bytes are in one piece, and so are all free ones.
    pub fn straighten(&mut self) {
        let head = self.cursor.head();
        self.memory.as_mut()[HEADER_BYTES..].rotate_left(head);
        self.moved(self.cursor.turned());
    }

    fn check_room(&self, needed: usize) -> Result<(), Error> {
        if needed > self.free() {
            return Err(Error::Full { needed, free: self.free() });
        }
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

impl Ring<Vec<u8>> {
    /// An empty ring that owns its memory.
    ///
    /// # Errors
    ///
    /// [`Error::BlockTooLarge`] for a capacity above [`MAX_CAPACITY`].
    pub fn with_capacity(capacity: usize) -> Result<Self, Error> {
        let bytes = capacity.saturating_add(HEADER_BYTES);
        Cursor::empty(bytes)?;
        Self::empty(vec![0; bytes])
    }

    /// The [`writable`](Ring::writable) region, made at least `min` bytes long: the ring moves its
    /// bytes, or grows, at least to twice its capacity so that filling it byte by byte stays linear,
    /// at most to `max_capacity`.
    ///
    /// ```
    /// use sluice_ring::{Error, Ring};
    ///
    /// let mut ring = Ring::with_capacity(0)?;
    /// ring.reserve(3, 100)?[..3].copy_from_slice(b"abc");
    /// ring.commit(3)?;
    /// assert_eq!(ring.reserve(98, 100), Err(Error::Full { needed: 98, free: 97 }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when `min` bytes more than the unread ones are above `max_capacity`.
    pub fn reserve(&mut self, min: usize, max_capacity: usize) -> Result<&mut [u8], Error> {
        let max = max_capacity.min(MAX_CAPACITY);
        if self.writable().len() >= min {
            return Ok(self.writable());
        }
        if self.free() >= min {
            self.straighten();
            return Ok(self.writable());
        }
        let needed = self.len().saturating_add(min);
        if needed > max {
            return Err(Error::Full { needed: min, free: max.saturating_sub(self.len()) });
        }
        let capacity = self.capacity().saturating_mul(2).clamp(needed, max);
        *self = self.relocate(vec![0; HEADER_BYTES + capacity])?;
        Ok(self.writable())
    }

    /// Gives memory back that the unread bytes do not need, as far as to a capacity of `keep`.
    pub fn shrink(&mut self, keep: usize) {
        let capacity = self.len().max(keep);
        if capacity < self.capacity()
            && let Ok(smaller) = self.relocate(vec![0; HEADER_BYTES + capacity])
        {
            *self = smaller;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_lies_in_the_block() {
        let mut block = [0xff; HEADER_BYTES + 4];
        Ring::empty(&mut block[..]).unwrap().write(b"abc").unwrap();
        Ring::open(&mut block[..]).unwrap().consume(2).unwrap();
        Ring::open(&mut block[..]).unwrap().write(b"de").unwrap();
        let ring = Ring::open(&block[..]).unwrap();
        assert_eq!(ring.unread_bytes().front, b"cd");
        assert_eq!(ring.unread_bytes().back, b"e");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut ring = Ring::with_capacity(4).unwrap();
        ring.write(b"abc").unwrap();
        assert_eq!(ring.write(b"xy"), Err(Error::Full { needed: 2, free: 1 }));
        assert_eq!(ring.unread(b"xy"), Err(Error::Full { needed: 2, free: 1 }));
        assert_eq!(ring.commit(2), Err(Error::Full { needed: 2, free: 1 }));
        assert_eq!(ring.consume(4), Err(Error::Positions { start: 4, end: 3, length: 3 }));
        assert_eq!(
            ring.copy_to(2, &mut [0; 2]),
            Err(Error::Positions { start: 2, end: 4, length: 3 })
        );
        let small = Error::Full { needed: 3, free: 2 };
        assert_eq!(ring.relocate(vec![7; HEADER_BYTES + 2]).err(), Some(small));
        assert_eq!(ring.unread_bytes().to_vec(), b"abc");
    }

    #[test]
    fn the_writable_region_ends_at_the_seam() {
        let mut ring = Ring::with_capacity(4).unwrap();
        ring.write(b"abc").unwrap();
        ring.consume(2).unwrap();
        assert_eq!(ring.writable().len(), 1);
        ring.commit(1).unwrap();
        assert_eq!(ring.writable().len(), 2);
        ring.straighten();
        assert_eq!(ring.writable().len(), 2);
        assert_eq!(ring.unread_bytes().front, b"c\0");
    }

    #[test]
    fn an_emptied_ring_starts_over_at_the_front() {
        let mut ring = Ring::with_capacity(4).unwrap();
        ring.write(b"abc").unwrap();
        ring.consume(3).unwrap();
        assert_eq!(ring.writable().len(), 4);
    }

    #[test]
    fn a_ring_without_capacity_is_empty_and_full() {
        let mut ring = Ring::with_capacity(0).unwrap();
        assert!(ring.is_empty());
        assert_eq!(ring.write(b""), Ok(()));
        assert_eq!(ring.unread(b""), Ok(()));
        assert_eq!(ring.consume(0), Ok(()));
        assert_eq!(ring.writable(), b"");
        assert_eq!(ring.write(b"a"), Err(Error::Full { needed: 1, free: 0 }));
    }

    #[test]
    fn growing_and_shrinking_keep_the_bytes() {
        let mut ring = Ring::with_capacity(4).unwrap();
        ring.write(b"abcd").unwrap();
        ring.consume(2).unwrap();
        ring.write(b"ef").unwrap();
        ring.reserve(1, 100).unwrap();
        assert_eq!(ring.capacity(), 8);
        assert_eq!(ring.unread_bytes().front, b"cdef");
        ring.consume(3).unwrap();
        ring.shrink(2);
        assert_eq!(ring.capacity(), 2);
        ring.consume(1).unwrap();
        ring.shrink(0);
        assert_eq!(ring.capacity(), 0);
        assert_eq!(
            Ring::with_capacity(MAX_CAPACITY + 1).err(),
            Some(Error::BlockTooLarge { bytes: MAX_CAPACITY + 1 + HEADER_BYTES })
        );
    }
}
