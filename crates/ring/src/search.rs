//! The search for separators in bytes that are in two pieces, without moving them.
//!
//! For a long separator the two pieces are searched one after the other. If the first one ends within a
//! separator, the search of the second one continues there. For a short separator three stretches are
//! searched in turn: the front, a small *window* of the bytes around the wrap point, and the back. Only the
//! window is a copy: the last `longest - 1` bytes of the front and as many of the back, which is all that a
//! match across the wrap point can cover. The order of the stretches ensures that no match is found twice or
//! missed: a match that ends in the front was found there, so the first match in the window crosses the
//! wrap point, and no match that begins before the wrap point ends after the window.

use std::ops::ControlFlow;

use crate::{
    Match, Separator,
    separator::{SHORT, with},
};

/// Bytes of a ring in place: two pieces, of which the second is empty when the bytes do not cross the
/// wrap point.
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

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [self.front, self.back].concat()
    }

    /// Passes each match that begins at `from` or later to `found` until it breaks. Positions count over
    /// both pieces. The state that `found` returns is passed to its next call. After a match the search
    /// starts afresh, so matches do not overlap.
    ///
    /// If `partial` is not 0, the first match may have begun before `from`: see
    /// [`Carried`](crate::carried::Carried). Returns the partial that the bytes end with; 0 if the
    /// separator has no partials.
    pub(crate) fn try_fold<T>(
        &self,
        separator: &Separator,
        (from, mut partial): (usize, u32),
        mut state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, (T, u32)> {
        let Some(carried) = separator.carried() else {
            return self
                .try_fold_short(separator, from, state, found)
                .map_continue(|state| (state, 0));
        };
        let Self { front, back } = *self;
        let wrap = front.len();
        let pieces = [
            (&front[from.min(wrap)..], from),
            (&back[from.saturating_sub(wrap)..], from.max(wrap)),
        ];
        for (bytes, base) in pieces {
            (state, partial) = carried.try_fold(bytes, partial, state, |state, at| {
                found(state, Match { end: base + at.end, ..at })
            })?;
        }
        ControlFlow::Continue((state, partial))
    }

    /// [`try_fold`](Self::try_fold) for a separator without partials.
    fn try_fold_short<T>(
        &self,
        separator: &Separator,
        from: usize,
        state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, T> {
        let Self { front, back } = *self;
        let wrap = front.len();
        let reach = separator.longest() - 1;
        let mut window = [0; 2 * SHORT];
        let (mut state, mut from) = (state, from);
        // One call for all three, so that the loops are compiled once.
        for stretch in [Stretch::Front, Stretch::Window, Stretch::Back] {
            let (bytes, base) = match stretch {
                Stretch::Front if from < wrap => (&front[from..], from),
                Stretch::Window if from < wrap && reach > 0 && !back.is_empty() => {
                    let older = &front[from.max(wrap.saturating_sub(reach))..];
                    let newer = &back[..reach.min(back.len())];
                    let window = &mut window[..older.len() + newer.len()];
                    window[..older.len()].copy_from_slice(older);
                    window[older.len()..].copy_from_slice(newer);
                    (&*window, wrap - older.len())
                }
                Stretch::Back if from.max(wrap) < self.len() => {
                    let start = from.max(wrap);
                    (&back[start - wrap..], start)
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

/// The stretches that are searched in turn.
enum Stretch {
    Front,
    Window,
    Back,
}
