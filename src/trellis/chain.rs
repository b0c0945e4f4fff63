//! Which state follows which: the chain of blanks and labels, seen from one end.

use std::ops::Range;

use fearless_simd::Simd;

use super::{LANES, NO_ARC, TILE};
use crate::error::Error;
use crate::input::{make_room, resize};
use crate::simd::scaled::{self, Scaled};

/// The chain of one target as the recursion reads it: from the first blank to the last, or from the last to the first.
///
/// Read from its end, with the frames from the last to the first, the chain has the same arcs as from its beginning: β is
/// α of the reversed chain. A *pair* is a blank and the label that is next to it on the way: place p holds blank p and
/// label p on the way forward, blank p and label p − 1 on the way back, so that in both directions
///
/// ```text
/// blank'[p] = (blank[p] + label[p∓1]) q               label'[p] = (label[p] + blank[p] + k[p] label[p∓1]) e[p]
/// ```
///
/// Everything is padded to whole tiles of [`LANES`] pairs.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) backward: bool,
    /// The slot of the label at each place; padding has a slot of its own, whose probability is 0.
    pub(super) slots: Vec<u32>,
    /// Added to the exponent of what comes to a label straight from the label before it: 0 where a path may, else
    /// [`NO_ARC`].
    pub(super) skips: Vec<f64>,
    /// Added to the exponent of what stays at a label: 0, or [`NO_ARC`] where labels do not last.
    pub(super) stay: f64,
    /// Factors on the probabilities of blanks (0) and labels (1), mantissas and exponents; nothing where there are none.
    pub(super) gains: [(Vec<f64>, Vec<f64>); 2],
    /// 1 for blanks at which any class may be emitted, else 0; nothing where there are none.
    pub(super) stars: Vec<f64>,
    one_by_one: bool,
    /// How many labels are reached in 0, 1, … steps from this end.
    reached: Vec<usize>,
    frames: usize,
}

/// What paths may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topology {
    /// Whether a label may last, and equal labels need a blank between them.
    pub(crate) merge_repeated: bool,
    /// Every path is multiplied by exp(−penalty) for each label that it has not entered yet, in each frame.
    pub(crate) delay_penalty: f64,
    /// Blanks at which any class may be emitted.
    pub(crate) stars: Stars,
    /// Whether every frame is taken alone: the definition that runs of frames are held against.
    pub(crate) one_by_one: bool,
}

/// Where any class may stand beside the blank: before, between and after the labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stars {
    /// Before the first label.
    pub before: bool,
    /// Between two labels.
    pub between: bool,
    /// After the last label.
    pub after: bool,
}

/// Places of blanks, and places of labels.
pub(super) struct Places {
    pub(super) blanks: Range<usize>,
    pub(super) labels: Range<usize>,
}

impl Places {
    /// The tiles that hold them.
    pub(super) fn tiles(&self) -> Range<usize> {
        self.blanks.start.min(self.labels.start) / LANES..self.blanks.end.max(self.labels.end).div_ceil(LANES)
    }
}

impl Chain {
    /// Lays out labels, given as slots; `padding` is the slot without probability.
    pub(super) fn set(
        &mut self,
        labels: &[u32],
        padding: u32,
        frames: usize,
        topology: &Topology,
    ) -> Result<(), Error> {
        self.frames = frames;
        self.one_by_one = topology.one_by_one;
        self.stay = if topology.merge_repeated { 0.0 } else { NO_ARC };
        let is_repeat = |pair: &[u32]| topology.merge_repeated && pair[0] == pair[1];
        let width = (labels.len() + 1).next_multiple_of(LANES);
        let first = usize::from(self.backward);
        resize(&mut self.slots, width, padding)?;
        self.slots[first..first + labels.len()].copy_from_slice(labels);
        resize(&mut self.skips, width, NO_ARC)?;
        // The arc between labels i and i + 1 leads to the second, or back to the first; both stand at place i + 1.
        for (skip, pair) in self.skips[1..].iter_mut().zip(labels.windows(2)) {
            *skip = if is_repeat(pair) { NO_ARC } else { 0.0 };
        }
        self.reached.clear();
        make_room(&mut self.reached, 2 * labels.len() + 1)?;
        self.reached.push(0);
        let mut before = None;
        for i in 0..labels.len() {
            let label = labels[if self.backward { labels.len() - 1 - i } else { i }];
            if before.is_some_and(|before| is_repeat(&[before, label])) {
                // The blank between equal labels.
                self.reached.push(i);
            }
            self.reached.push(i + 1);
            before = Some(label);
        }
        self.shape(labels.len(), width, topology)
    }

    fn shape(&mut self, labels: usize, width: usize, topology: &Topology) -> Result<(), Error> {
        let Stars { before, between, after } = topology.stars;
        self.stars.clear();
        if before || between || after {
            let is_star = |blank: usize| match blank {
                0 => before || (labels == 0 && after),
                last if last == labels => after,
                _ => between,
            };
            make_room(&mut self.stars, width)?;
            self.stars.extend((0..width).map(|blank| f64::from(blank <= labels && is_star(blank))));
        }
        for (mantissas, exponents) in &mut self.gains {
            mantissas.clear();
            exponents.clear();
        }
        if topology.delay_penalty != 0.0 {
            for (kind, (mantissas, exponents)) in self.gains.iter_mut().enumerate() {
                make_room(mantissas, width)?;
                make_room(exponents, width)?;
                for place in 0..width {
                    // At blank p there are p labels behind, and one more at the label that is next on the way forward.
                    let entered = place + usize::from(kind == 1 && !self.backward);
                    let (mantissa, exponent) =
                        scaled::exp(-topology.delay_penalty * labels.saturating_sub(entered) as f64);
                    mantissas.push(mantissa);
                    exponents.push(exponent);
                }
            }
        }
        Ok(())
    }

    /// Whether frames must be taken one by one.
    pub(super) fn is_one_by_one(&self) -> bool {
        self.one_by_one || self.stay != 0.0 || !self.stars.is_empty() || !self.gains[0].0.is_empty()
    }

    /// The factors of eight blanks or labels.
    #[inline(always)]
    pub(super) fn gain<S: Simd>(&self, simd: S, kind: usize, tile: usize) -> Option<Scaled<S>> {
        let (mantissas, exponents) = &self.gains[kind];
        (!mantissas.is_empty()).then(|| Scaled::load(simd, (mantissas, exponents), tile * LANES))
    }

    /// The least number of frames.
    pub(super) fn needed(&self) -> usize {
        self.reached.len() - 1
    }

    pub(super) fn tiles(&self) -> usize {
        self.slots.len() / LANES
    }

    pub(super) fn labels(&self) -> usize {
        self.reached[self.needed()]
    }

    /// Where this end starts: at the first blank, or at the last.
    pub(super) fn start(&self) -> usize {
        if self.backward { self.labels() } else { 0 }
    }

    /// The states that are reached in `steps` steps from this end, and from which the other end can be reached in the
    /// steps that are left.
    pub(super) fn places(&self, steps: usize) -> Places {
        let reached = |steps: usize| self.reached[steps.min(self.needed())];
        let places = |range: Range<usize>| match self.backward {
            true => self.labels() + 1 - range.end.max(range.start)..self.labels() + 1 - range.start,
            false => range,
        };
        // What is reached in fewer steps than these is too far from the other end by now.
        let late = (self.needed() + steps).saturating_sub(self.frames);
        let labels = late.checked_sub(1).map_or(0, reached)..reached(steps);
        let blanks = reached(late)..steps.checked_sub(1).map_or(0, reached) + 1;
        Places { blanks: places(blanks), labels: places(labels) }
    }

    /// The part of a row of states that matters after so many steps.
    pub(super) fn band(&self, steps: usize) -> Range<usize> {
        let tiles = self.places(steps).tiles();
        tiles.start * TILE..tiles.end * TILE
    }

    /// The tiles that are passed on the way from places to later ones.
    pub(super) fn passed(&self, from: &Places, to: &Places) -> Range<usize> {
        let (from, to) = (from.tiles(), to.tiles());
        if self.backward { to.start..from.end } else { from.start..to.end }
    }
}
