//! A listing in memory that JavaScript reads: a summary of four words, then the frame ends. The words are
//! those of `FrameIndex` in `ts/`, which continues a listing by passing them again.

use std::rc::Rc;

use sluice_ring::{Query, Refused, Segments};

use crate::{framings::Framing, node::Call, thrown::Thrown};

/// Word: how many frames are listed.
const COUNT: usize = 0;
/// Word: where to resume.
const RESUME: usize = 1;
/// Word: how much of a separator the bytes before that end with.
const PARTIAL: usize = 2;
/// Word: 0, or the length of the frame that the search stopped at: of its body, for separators, of all of it,
/// for lengths. The largest word where that does not fit, or the header is malformed.
const REFUSED: usize = 3;
/// The first word of the ends.
const ENDS: usize = 4;

/// What to list: the last three arguments of a function.
pub struct Listing {
    framing: Rc<Framing>,
    limit: usize,
    max: usize,
}

impl Listing {
    /// The arguments from number `at` on.
    pub fn new(call: &Call<'_>, at: usize) -> Result<Self, Thrown> {
        Ok(Self {
            framing: call.framing(at)?,
            limit: call.number(at + 1, "limit")? as usize,
            max: call.number(at + 2, "max")? as usize,
        })
    }

    /// The same if the argument `words` is passed.
    pub fn optional(call: &Call<'_>, words: usize, at: usize) -> Result<Option<Self>, Thrown> {
        if call.is_missing(words) { Ok(None) } else { Self::new(call, at).map(Some) }
    }

    /// Lists the frames after those that `words` lists.
    pub fn list(&self, bytes: Segments<'_>, words: &mut [u32]) -> Result<(), Thrown> {
        let too_short = Thrown::Words { words: words.len(), least: ENDS };
        let (summary, ends) = words.split_at_mut_checked(ENDS).ok_or(too_short)?;
        let count = summary[COUNT] as usize;
        let too_many = Thrown::Words { words: ENDS + ends.len(), least: ENDS + count };
        let (before, after) = ends.split_at_mut_checked(count).ok_or(too_many)?;
        let query = Query {
            start: before.last().map_or(0, |end| *end as usize),
            resume: summary[RESUME] as usize,
            partial: summary[PARTIAL],
            limit: self.limit,
            max: self.max.saturating_sub(count),
        };
        let listed = self.framing.list(bytes, query, after)?;
        summary[COUNT] = word(count + listed.count);
        summary[RESUME] = word(listed.resume);
        summary[PARTIAL] = listed.partial;
        summary[REFUSED] = match listed.refused {
            None => 0,
            Some(Refused::Overlong(length)) => u32::try_from(length).unwrap_or(u32::MAX),
            Some(Refused::Malformed) => u32::MAX,
        };
        Ok(())
    }
}

/// A position in a ring, or its capacity, as a word: it fits.
pub fn word(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
