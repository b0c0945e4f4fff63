//! Connectionist temporal classification (Graves et al., 2006, <https://doi.org/10.1145/1143844.1143891>).
//!
//! ℓ = −ln Σ_π Πₜ p(πₜ, t), over all paths π of one label or blank a frame that give the target when repeats are merged
//! and blanks are dropped.          ∂ℓ/∂x = p − γ,   γ the posterior of each class in each frame
//!
//! The sum over paths and the posteriors are [`trellis`](crate::trellis)'s. Here are its ends: logits are read once for
//! the loss and once more for the gradient, and no probability is kept from one to the other but the sum of each frame.

use std::ops::Range;

use fearless_simd::dispatch;

use super::Scores;
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Labels, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece, Strip};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::{level, rows};
use crate::trellis::{Frames, LANES, Meeting, Trellis, Visitor};

/// CTC with its checked inputs.
pub struct Ctc<'a, E> {
    logits: Sequences<'a, E>,
    targets: Labels,
    blank: usize,
    scores: Scores,
    zero_infinity: bool,
}

impl<'a, E: Element> Ctc<'a, E> {
    /// Puts checked inputs together.
    pub fn new(logits: Sequences<'a, E>, targets: Labels, blank: usize, scores: Scores, zero_infinity: bool) -> Self {
        Self { logits, targets, blank, scores, zero_infinity }
    }
}

/// What a thread keeps: working memory that grows to what its longest sequence needs.
pub struct Scratch<F> {
    buffers: [Buffers<F>; 2],
    classes: Classes,
    trellis: Trellis,
    softmax: Vec<Softmax<F>>,
}

/// What is kept of a frame: its largest logit, and one over its sum of exponentials.
#[derive(Clone, Copy, Default)]
struct Softmax<F> {
    shift: F,
    normal: f64,
}

impl<E: Element> Loss for Ctc<'_, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        let width = self.logits.width;
        Ok(Scratch {
            buffers: [Buffers::new(width)?, Buffers::new(width)?],
            classes: Classes::new(width)?,
            trellis: Trellis::default(),
            softmax: vec![],
        })
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn grain(&self) -> usize {
        1
    }

    fn stretch(&self, sequence: usize) -> usize {
        self.logits.rows[sequence].count() * self.logits.width
    }

    fn measure(&self, sequence: usize) -> Measure {
        let length = self.targets.of(sequence).len().max(1) as f64;
        Measure { length, weight: 1.0, share: 1.0 / length }
    }

    fn cost(&self, sequence: usize) -> usize {
        let states = 2 * self.targets.of(sequence).len() + 1;
        1 + self.logits.rows[sequence].count() * (self.logits.width + states)
    }

    fn parts(&self) -> usize {
        2
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<f64, Error> {
        let labels = self.targets.of(piece.sequence);
        let frames = self.logits.rows[piece.sequence].count();
        let Scratch { buffers, classes, trellis, softmax } = scratch;
        classes.set(labels, self.blank);
        let wants_gradient = piece.wants_gradient();
        let mut factor = [0.0];
        let factor = piece.factors(0..1, &mut factor)[0];
        let mut loss = f64::INFINITY;
        if frames == 0 && labels.is_empty() {
            // Nothing was said, and nothing was to be.
            loss = 0.0;
        } else if trellis.set(&classes.slots, classes.classes.len(), frames, true, wants_gradient)? {
            softmax.resize(frames, Softmax::default());
            let middle = trellis.middle();
            let (before, after) = softmax.split_at_mut(middle);
            let [first, second] = piece.strip.halves(middle);
            let [one, two] = buffers;
            let half = |strip, start, buffers, softmax| Half {
                scores: self.scores,
                classes: &classes.classes,
                strip,
                start,
                buffers,
                softmax,
                is_known: false,
                factor,
            };
            let mut halves = [half(first, 0, one, before), half(second, middle, two, after)];
            loss = -trellis.total(wants_gradient, &mut halves, ticker)?;
            // Rounding may leave a certain path a little above 1.
            loss = if self.scores == Scores::Logits && loss < 0.0 { 0.0 } else { loss + 0.0 };
            if wants_gradient && loss < f64::INFINITY {
                halves.iter_mut().for_each(|half| half.is_known = true);
                trellis.posteriors(&mut halves, ticker)?;
            }
        }
        if wants_gradient && loss.is_nan() {
            let nan = E::Float::from_f64(f64::NAN);
            (0..frames).for_each(|t| piece.strip.read_and_write(t, 0, &mut buffers[0], |_, out| out.fill(nan)));
        } else if wants_gradient && loss == f64::INFINITY {
            (0..frames).for_each(|t| piece.strip.clear(t, 0));
        }
        if self.zero_infinity && loss == f64::INFINITY {
            loss = 0.0;
        }
        if let Some(values) = &mut piece.values {
            values[0] = Float::from_f64(loss);
        }
        Ok(loss)
    }
}

/// The classes that occur in a target, the blank first, and the place among them (the slot) of each label.
struct Classes {
    classes: Vec<usize>,
    slots: Vec<u32>,
    /// The slot of each class; 0 for none.
    slot_of: Vec<u32>,
}

impl Classes {
    fn new(width: usize) -> Result<Self, Error> {
        Ok(Self { classes: vec![], slots: vec![], slot_of: zeros(width)? })
    }

    fn set(&mut self, labels: &[usize], blank: usize) {
        self.classes.clear();
        self.classes.push(blank);
        self.slots.clear();
        for &label in labels {
            if self.slot_of[label] == 0 {
                self.slot_of[label] = self.classes.len() as u32;
                self.classes.push(label);
            }
            self.slots.push(self.slot_of[label]);
        }
        self.classes[1..].iter().for_each(|&class| self.slot_of[class] = 0);
    }
}

/// One half of the frames of a sequence.
struct Half<'a, E: Element> {
    scores: Scores,
    classes: &'a [usize],
    strip: Strip<'a, E>,
    /// The first frame of the half.
    start: usize,
    buffers: &'a mut Buffers<E::Float>,
    softmax: &'a mut [Softmax<E::Float>],
    /// Whether `softmax` is filled.
    is_known: bool,
    factor: f64,
}

impl<E: Element> Visitor for Half<'_, E> {
    fn read(&mut self, range: Range<usize>, frames: &mut Frames) -> Result<(), Error> {
        for (column, t) in range.enumerate() {
            let softmax = &mut self.softmax[t - self.start];
            self.strip.read(t, self.start, self.buffers, |x| {
                if !self.is_known {
                    *softmax = match self.scores {
                        Scores::Logits => dispatch!(level(), simd => {
                            let shift = rows::maximum_in(simd, x);
                            Softmax { shift, normal: 1.0 / rows::exp_sum_in(simd, x, shift) }
                        }),
                        _ => Softmax { shift: E::Float::default(), normal: 1.0 },
                    };
                }
                frames.normals[column] = softmax.normal;
                let shift = softmax.shift.to_f64();
                let rows = frames.logarithms.chunks_exact_mut(LANES);
                for (row, &class) in rows.zip(self.classes) {
                    row[column] = x[class].to_f64() - shift;
                }
            });
        }
        Ok(())
    }

    fn write(&mut self, range: Range<usize>, frames: &Frames, posteriors: &Meeting) -> Result<(), Error> {
        for (column, t) in range.enumerate() {
            let Softmax { shift, normal } = self.softmax[t - self.start];
            let factor = E::Float::from_f64(self.factor * normal);
            let is_softmax = self.scores == Scores::Logits;
            self.strip.read_and_write(t, self.start, self.buffers, |x, out| {
                match is_softmax {
                    true => dispatch!(level(), simd => rows::exp_scaled_in(simd, x, shift, factor, out)),
                    false => out.fill(E::Float::default()),
                }
                // The classes that occur are the small difference of two numbers: it is taken in float64.
                for (slot, &class) in self.classes.iter().enumerate() {
                    let probability = if is_softmax { frames.row(slot)[column] } else { 0.0 };
                    out[class] = E::Float::from_f64(self.factor * (probability - posteriors.row(slot)[column]));
                }
            });
        }
        Ok(())
    }
}
