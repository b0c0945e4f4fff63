//! Which state follows which: the chain of blanks and labels, seen from one end.

use std::ops::Range;

use super::{LANES, NO_ARC};

/// The chain of one target as the recursion reads it: from the first label to the last, or from the last to the first.
///
/// Read from its end, with the frames from the last to the first, the chain has the same arcs as from its beginning. So β
/// is α of the reversed chain, and one recursion serves both.
///
/// Pair j is blank j and label j; the last pair has no label. Everything is padded to whole tiles of [`LANES`] pairs.
#[derive(Default)]
pub(crate) struct Chain {
    /// The slot of each label among the classes that occur; padding has a slot of its own, whose probability is 0.
    pub(super) slots: Vec<u32>,
    /// Added to the exponent of what comes to a label straight from the label before it: 0 where a path may, else
    /// [`NO_ARC`].
    pub(super) skips: Vec<f64>,
    labels: usize,
    frames: usize,
}

impl Chain {
    /// Puts the slots of labels in a row; `padding` is the slot without probability.
    pub(super) fn set(&mut self, slots: impl Iterator<Item = u32>, padding: u32, frames: usize, merge_repeated: bool) {
        self.slots.clear();
        self.skips.clear();
        let mut before = None;
        for slot in slots {
            let is_barred = before.is_none() || (merge_repeated && before == Some(slot));
            self.skips.push(if is_barred { NO_ARC } else { 0.0 });
            self.slots.push(slot);
            before = Some(slot);
        }
        self.labels = self.slots.len();
        self.frames = frames;
        let width = (self.labels + 1).next_multiple_of(LANES);
        self.slots.resize(width, padding);
        self.skips.resize(width, NO_ARC);
    }

    pub(super) fn tiles(&self) -> usize {
        self.slots.len() / LANES
    }

    /// The tiles that matter in steps `steps` (counted from this end): they are reached from this end, and the other end
    /// is reached from them, or from where a path was one step before.
    pub(super) fn band(&self, steps: &Range<usize>) -> Range<usize> {
        let first = (self.labels + steps.start).saturating_sub(self.frames + 1);
        first / LANES..self.reached(steps.end)
    }

    /// How many tiles hold states that are reached in `steps` steps.
    pub(super) fn reached(&self, steps: usize) -> usize {
        (self.labels + 1).min(steps.max(1)).div_ceil(LANES)
    }
}
