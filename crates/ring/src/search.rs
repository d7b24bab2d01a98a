//! Looking for separators in bytes that lie in two pieces, without moving them.
//!
//! Three stretches are searched in turn: the front, a small *window* of the bytes around the seam,
//! and the back. Only the window is a copy: the last `longest - 1` bytes of the front and as many
//! of the back, which is all that a match across the seam can touch. What each stretch leaves to the
//! next follows from the order: a match that ends in the front was found there, so that the first
//! match in the window crosses the seam, and none that starts in front of the seam ends behind the
//! window.

use std::ops::ControlFlow;

use crate::{Match, Separator, separator::with};

/// Windows up to this size lie on the stack: separators of up to 129 bytes.
const STACK_WINDOW: usize = 256;

/// Bytes of a ring where they lie: in two pieces, of which the second is empty when they do not
/// cross the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments<'a> {
    /// The older bytes.
    pub front: &'a [u8],
    /// The bytes that follow.
    pub back: &'a [u8],
}

impl Segments<'_> {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [self.front, self.back].concat()
    }

    /// The first match from `start` on. `searched` (at least `start`) says how far an earlier search
    /// from the same `start` has looked: no match ends there or before. Bytes in front of
    /// `searched - separator.longest() + 1` are not looked at again.
    ///
    /// A search that finds nothing has looked at all bytes; the next one, with more bytes, passes
    /// the length as `searched`:
    ///
    /// ```
    /// use sluice_ring::{Match, Segments, Separator};
    ///
    /// let separator = Separator::new(&["\r\n"])?;
    /// let so_far = Segments { front: b"GET /", back: b" HTTP/1.1\r" };
    /// assert_eq!(so_far.find(&separator, 0, 0), None);
    /// let with_more = Segments { front: b"GET /", back: b" HTTP/1.1\r\nHost:" };
    /// let found = with_more.find(&separator, 0, so_far.len());
    /// assert_eq!(found, Some(Match { end: 16, length: 2 }));
    /// # Ok::<(), sluice_ring::Error>(())
    /// ```
    #[must_use]
    pub fn find(&self, separator: &Separator, start: usize, searched: usize) -> Option<Match> {
        let from = start.max(searched.saturating_sub(separator.longest() - 1));
        let found = self.try_fold(separator, from, None, |_, at| ControlFlow::Break(Some(at)));
        found.break_value().flatten()
    }

    /// Hands each match that begins at `from` or later, positions counted over both pieces, to
    /// `found`, until it breaks; what `found` returns is what the next call gets. Each search begins
    /// fresh behind the match before.
    pub(crate) fn try_fold<T>(
        &self,
        separator: &Separator,
        from: usize,
        state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, T> {
        let Self { front, back } = *self;
        let seam = front.len();
        let reach = separator.longest() - 1;
        let (mut stack, mut heap);
        let (mut state, mut from) = (state, from);
        // One call for all three, so that there is one copy of the loops behind it.
        for stretch in [Stretch::Front, Stretch::Window, Stretch::Back] {
            let (bytes, base) = match stretch {
                Stretch::Front if from < seam => (&front[from..], from),
                Stretch::Window if from < seam && reach > 0 && !back.is_empty() => {
                    let older = &front[from.max(seam.saturating_sub(reach))..];
                    let newer = &back[..reach.min(back.len())];
                    let size = older.len() + newer.len();
                    stack = [0; STACK_WINDOW];
                    let window = if let Some(window) = stack.get_mut(..size) {
                        window
                    } else {
                        heap = vec![0; size];
                        &mut heap[..]
                    };
                    window[..older.len()].copy_from_slice(older);
                    window[older.len()..].copy_from_slice(newer);
                    (&*window, seam - older.len())
                }
                Stretch::Back if from.max(seam) < self.len() => {
                    let start = from.max(seam);
                    (&back[start - seam..], start)
                }
                _ => continue,
            };
            (state, from) = separator
                .try_fold(
                    bytes,
                    (state, from),
                    #[inline(always)]
                    |(state, _), at| {
                        let end = base + at.end;
                        with(found(state, Match { end, ..at }), end)
                    },
                )
                .map_break(|(state, _)| state)?;
        }
        ControlFlow::Continue(state)
    }
}

/// What is searched in turn.
enum Stretch {
    Front,
    Window,
    Back,
}
