//! The frame index: where all frames end that are complete now, found in one call and written to
//! words that the caller reads at leisure.

use std::ops::ControlFlow;

use crate::{Error, Match, Segments, Separator};

/// The words of an index: a summary of [`ENDS`](FrameIndex::ENDS) words, behind it the ends of the
/// frames, ascending positions just behind the separator of each.
pub struct FrameIndex;

impl FrameIndex {
    /// Word: how many frames are listed.
    pub const COUNT: usize = 0;
    /// Word: where to go on searching. See [`Query::resume`].
    pub const RESUME: usize = 1;
    /// Word: the length of the body, without its separator, of the frame behind the last listed one,
    /// where that is complete but longer than the limit; it is not listed. 0 where there is none.
    pub const OVERLONG_BODY: usize = 2;
    /// The first word of the ends.
    pub const ENDS: usize = 3;
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where the first frame begins.
    pub start: usize,
    /// `start`, or the [`RESUME`](FrameIndex::RESUME) word of an earlier search for the same
    /// separator from the same `start` (less what was consumed since). At least `start`. The
    /// separator of the first frame does not begin in front of it, so that bytes there are not
    /// looked at again.
    pub resume: usize,
    /// The most bytes that the body of a frame may have.
    pub limit: usize,
    /// The most frames to list. No more than fit are listed anyway.
    pub max: usize,
}

impl Segments<'_> {
    /// Lists the frames that are complete: the first begins at `query.start`, each next one behind
    /// the one before. A frame ends with the earliest end of a match in it; of matches that end
    /// together the longest is its separator, and what lies in front of that is its body.
    ///
    /// The word RESUME says where to go on. Where the listing stopped at `query.max` frames, at the
    /// end of `words`, or at an overlong frame: behind the last listed frame, or at `query.start`
    /// when none is listed, so that an overlong frame is found again. Where the bytes ran out: at
    /// the first byte that a separator can begin with that is not complete yet, and not before
    /// the end of the last listed frame nor before `query.resume`.
    ///
    /// Returns how many frames are listed, which is also in the word COUNT.
    ///
    /// ```
    /// use sluice_ring::{FrameIndex, Query, Segments, Separator};
    ///
    /// let bytes = Segments { front: b"one\ntw", back: b"o\nthr" };
    /// let mut words = [0; FrameIndex::ENDS + 10];
    /// let query = Query { start: 0, resume: 0, limit: 100, max: 10 };
    /// let count = bytes.index(&Separator::new(&["\n"])?, query, &mut words)?;
    /// assert_eq!(words[FrameIndex::ENDS..][..count], [4, 8]);
    /// assert_eq!(words[FrameIndex::RESUME], 11);
    /// # Ok::<(), sluice_ring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Positions`] for a `start` behind `resume` or a `resume` behind the last byte;
    /// [`Error::IndexTooShort`] for fewer than [`FrameIndex::ENDS`] words. Nothing is written then.
    pub fn index(
        &self,
        separator: &Separator,
        query: Query,
        words: &mut [u32],
    ) -> Result<usize, Error> {
        let Query { start, resume, limit, max } = query;
        let length = self.len();
        if start > resume || resume > length {
            return Err(Error::Positions { start, end: resume, length });
        }
        let too_short = Error::IndexTooShort { words: words.len() };
        let (summary, ends) = words.split_at_mut_checked(FrameIndex::ENDS).ok_or(too_short)?;
        let room = ends.len().min(max);
        let ends = &mut ends[..room];

        let mut overlong = 0;
        let nothing = (0, start);
        let listed = if room == 0 {
            ControlFlow::Break(nothing)
        } else {
            self.try_fold(
                separator,
                resume,
                nothing,
                #[inline(always)]
                |(count, behind), Match { end, length }| {
                    let body = end - length - behind;
                    if body > limit {
                        overlong = body;
                        return ControlFlow::Break((count, behind));
                    }
                    ends[count] = word(end);
                    let listed = (count + 1, end);
                    if count + 1 == room {
                        ControlFlow::Break(listed)
                    } else {
                        ControlFlow::Continue(listed)
                    }
                },
            )
        };

        let (count, resume) = match listed {
            ControlFlow::Break(listed) => listed,
            ControlFlow::Continue((count, behind)) => {
                let searched = length.saturating_sub(separator.longest() - 1);
                (count, searched.max(if count == 0 { resume } else { behind }))
            }
        };
        summary[FrameIndex::COUNT] = word(count);
        summary[FrameIndex::RESUME] = word(resume);
        summary[FrameIndex::OVERLONG_BODY] = word(overlong);
        Ok(count)
    }
}

/// A position as a word: at most [`MAX_CAPACITY`](crate::MAX_CAPACITY) in a ring, which fits.
#[expect(clippy::cast_possible_truncation, reason = "the hot path: a check per frame costs")]
fn word(position: usize) -> u32 {
    position as u32
}
