//! The listing of frames: the ends of all frames that are complete now, found in one pass.
//!
//! ```text
//! frame = start                                   where the current frame begins
//! for each match from resume on, in order:
//!     body = match.end - match.length - frame
//!     if body > limit:         stop: refused, resume at frame
//!     list match.end; frame = match.end
//!     if all room is used:     stop: resume at frame
//! the bytes have run out:      resume at the first byte that an incomplete separator can begin with;
//!                              or at the end, in the middle of a separator
//! ```
//!
//! Frames with a length field are listed in `lengths.rs`, with the same query and the same result.

use std::ops::ControlFlow;

use crate::{Error, Match, Segments, Separator};

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where the first frame begins.
    pub start: usize,
    /// `start`, or [`Listed::resume`] of an earlier listing for the same separator from the same
    /// `start`, minus what was consumed since. At least `start`. Bytes before it are not searched.
    pub resume: usize,
    /// 0, or [`Listed::partial`] of the listing that `resume` is from.
    pub partial: u32,
    /// The most bytes that the body of a frame may have; with a length field, the whole frame.
    pub limit: usize,
    /// The most frames to list. A listing never has more than fit.
    pub max: usize,
}

/// What a listing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// How many frames are listed.
    pub count: usize,
    /// Where to resume. If the listing stopped early, this is after the last listed frame, or at the start
    /// if no frame is listed: so a refused frame is found again.
    pub resume: usize,
    /// How much of a separator the bytes before `resume` end with, as a number that only the same
    /// separator understands; 0 for a short one, for which the last bytes are searched again.
    pub partial: u32,
    /// Why the frame after the last listed one is not listed, although enough of it has arrived.
    pub refused: Option<Refused>,
}

/// Why a listing stops at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is over the limit. The length is that of its body, without the separator; with a length field,
    /// of the whole frame.
    Overlong(u64),
    /// No frame can have this header.
    Malformed,
}

impl Query {
    /// Checks the positions against the number of bytes.
    pub(crate) fn check_positions(self, length: usize) -> Result<(), Error> {
        let Self { start, resume, .. } = self;
        if start > resume || resume > length {
            return Err(Error::Positions { start, end: resume, length });
        }
        Ok(())
    }
}

impl Segments<'_> {
    /// Lists the frames that are complete. The first begins at `query.start`, each other one where the
    /// previous one ends. A frame ends at the earliest end of a match in it. Of the matches that end there
    /// the longest is its separator, and the bytes before the separator are its body. The ends, ascending
    /// positions just after the separators, are written to `ends`.
    ///
    /// ```
    /// use sluice_ring::{Query, Segments, Separator};
    ///
    /// let bytes = Segments { front: b"one\ntw", back: b"o\nthr" };
    /// let mut ends = [0; 10];
    /// let query = Query { start: 0, resume: 0, partial: 0, limit: 100, max: 10 };
    /// let listed = bytes.list(&Separator::new(&["\n"])?, query, &mut ends)?;
    /// assert_eq!(ends[..listed.count], [4, 8]);
    /// assert_eq!(listed.resume, 11);
    /// # Ok::<(), sluice_ring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Positions`] for a `start` after `resume` or a `resume` after the last byte;
    /// [`Error::Partial`] for a `partial` that this separator does not have, or that would have begun
    /// before `start`. Nothing is written then.
    pub fn list(
        &self,
        separator: &Separator,
        query: Query,
        ends: &mut [u32],
    ) -> Result<Listed, Error> {
        let Query { start, resume, partial, limit, max } = query;
        let length = self.len();
        query.check_positions(length)?;
        if separator.partial_length(partial).is_none_or(|begun| begun > resume - start) {
            return Err(Error::Partial { partial });
        }
        let room = ends.len().min(max);
        let ends = &mut ends[..room];

        let mut refused = None;
        let nothing = (0, start);
        let listed = if room == 0 {
            ControlFlow::Break(nothing)
        } else {
            self.try_fold(
                separator,
                (resume, partial),
                nothing,
                #[inline(always)]
                |(count, frame), Match { end, length }| {
                    let body = end - length - frame;
                    if body > limit {
                        refused = Some(Refused::Overlong(body as u64));
                        return ControlFlow::Break((count, frame));
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

        Ok(match listed {
            ControlFlow::Break((count, frame)) => {
                Listed { count, resume: frame, partial: 0, refused }
            }
            ControlFlow::Continue(((count, frame), partial)) => {
                let searched = match separator.lookback() {
                    Some(lookback) => length.saturating_sub(lookback),
                    None => length,
                };
                let resume = searched.max(if count == 0 { resume } else { frame });
                Listed { count, resume, partial, refused }
            }
        })
    }
}

/// A position as a word: at most [`MAX_CAPACITY`](crate::MAX_CAPACITY) in a ring, which fits.
#[expect(clippy::cast_possible_truncation, reason = "the hot path: a check per frame costs")]
pub(crate) fn word(position: usize) -> u32 {
    position as u32
}
