//! Losses of log-probabilities, of which value and coefficient are known wherever they are read.
//!
//! ℓₜ, and cₜ = ∂ℓ/∂xₜ
//!
//! x are the log-probabilities of actions, or the numbers of a critic. All that a policy is trained with comes to this: a
//! kernel makes ℓ and c of some steps of a sequence in float64, where they are in the cache, and here terms are reduced and
//! coefficients multiplied by the derivative of the result. REINFORCE has one coefficient for every step, and where a step
//! has scores of C classes, x is that of the action.

use std::ops::Range;

use super::cross_entropy::rows_per_piece;
use super::logits::times;
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{Axes, PerStep, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece, Worker};
use crate::parallel::Ticker;
use crate::reduction::Measure;

/// Steps are taken in blocks of about so many numbers.
pub const BLOCK: usize = 256;

/// Some numbers of a sequence, and what a kernel makes of them.
pub struct Block<'a> {
    /// Which sequence.
    pub sequence: usize,
    /// Which of its steps.
    pub steps: Range<usize>,
    /// x
    pub numbers: &'a [f64],
    /// Which of the steps are valid.
    pub valid: &'a [bool],
    /// Where ℓ is written: of each step, or one of the sequence.
    pub values: &'a mut [f64],
    /// Where c is written. What stands there for steps that are not valid is not looked at, and neither is their ℓ.
    pub slopes: &'a mut [f64],
}

/// Makes values and slopes of a block.
pub type Kernel<'a> = dyn Fn(Block<'_>) -> Result<(), Error> + Sync + 'a;

/// What is reduced.
pub enum Terms<'a> {
    /// c x of every step, and the actions where steps have scores of classes; they are classes in valid steps.
    Products(PerStep<f64>, Option<PerStep<i64>>),
    /// ℓ of every step, in blocks of at most [`BLOCK`] of them.
    Steps(&'a Kernel<'a>),
    /// ℓ of every sequence as a whole, whose steps have no values of their own.
    Sequences(&'a Kernel<'a>),
}

/// A loss with its terms. Steps that are not valid have none, whatever stands in their place.
pub struct PolicyTerms<'a, E> {
    first: Sequences<'a, E>,
    terms: Terms<'a>,
    valid: PerStep<bool>,
}

impl<'a, E: Element> PolicyTerms<'a, E> {
    /// Puts together what fits.
    pub fn new(first: Sequences<'a, E>, terms: Terms<'a>, valid: PerStep<bool>) -> Self {
        Self { first, terms, valid }
    }

    fn is_of_sequences(&self) -> bool {
        matches!(self.terms, Terms::Sequences(_))
    }

    /// Which of some steps are valid, and where the number of each lies among the numbers of those steps.
    fn places(
        &self,
        sequence: usize,
        steps: Range<usize>,
        actions: Option<&PerStep<i64>>,
    ) -> impl Iterator<Item = (usize, usize)> {
        let (valid, width, first) = (self.valid.of(sequence), self.first.width, steps.start);
        let actions = actions.map(|actions| actions.of(sequence));
        steps.filter(|&step| valid[step]).map(move |step| {
            let class = actions.map_or(0, |actions| actions[step] as usize);
            (step - first, (step - first) * width + class)
        })
    }

    /// The products of a piece.
    fn products(
        &self,
        piece: &mut Piece<'_, E>,
        (coefficients, actions): (&PerStep<f64>, Option<&PerStep<i64>>),
        scratch: &mut Scratch<E::Float>,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let Scratch { buffers, values, factors, .. } = scratch;
        let (sequence, start, width) = (piece.sequence, piece.terms.start, self.first.width);
        let coefficients = coefficients.of(sequence);
        let at_once = (BLOCK / width.max(1)).max(1);
        for first in piece.terms.clone().step_by(at_once) {
            let steps = first..piece.terms.end.min(first + at_once);
            let numbers = steps.start * width..steps.end * width;
            ticker.tick(1 + numbers.len())?;
            let values = &mut values[..steps.len()];
            values.fill(0.0);
            piece.strip.read_block(numbers.clone(), start * width, buffers, |x| {
                for (local, place) in self.places(sequence, steps.clone(), actions) {
                    values[local] = times(-coefficients[first + local], -x[place].to_f64());
                }
            });
            for (local, &value) in values.iter().enumerate() {
                piece.term(first - start + local, value);
            }
            if piece.wants_gradient() {
                let factors = piece.factors(steps.start - start..steps.end - start, factors);
                piece.strip.read_and_write_block(numbers, start * width, buffers, |_, out| {
                    out.fill(E::Float::default());
                    for (local, place) in self.places(sequence, steps.clone(), actions) {
                        out[place] = Float::from_f64(coefficients[first + local] * factors[local]);
                    }
                });
            }
        }
        Ok(())
    }

    /// What a kernel makes of a piece: of blocks of its steps, or of the whole sequence.
    fn kernel(
        &self,
        piece: &mut Piece<'_, E>,
        kernel: &Kernel<'_>,
        scratch: &mut Scratch<E::Float>,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let Scratch { buffers, numbers, values, slopes, factors } = scratch;
        let (sequence, is_whole) = (piece.sequence, self.is_of_sequences());
        let valid = self.valid.of(sequence);
        let all = if is_whole { 0..valid.len() } else { piece.terms.clone() };
        let at_once = if is_whole { all.len().max(1) } else { BLOCK };
        // A sequence without steps has a value as well.
        let firsts = (all.start..all.end.max(all.start + usize::from(is_whole))).step_by(at_once);
        for first in firsts {
            let steps = first..all.end.min(first + at_once);
            ticker.tick(1 + 8 * steps.len())?;
            let valid = &valid[steps.clone()];
            let (numbers, slopes) = (&mut numbers[..steps.len()], &mut slopes[..steps.len()]);
            let values = &mut values[..if is_whole { 1 } else { steps.len() }];
            piece.strip.read_block(steps.clone(), all.start, buffers, |x| {
                numbers.iter_mut().zip(x).for_each(|(number, x)| *number = x.to_f64());
            });
            kernel(Block { sequence, steps: steps.clone(), numbers, valid, values, slopes })?;
            let local = first - all.start;
            if !is_whole {
                for (value, &is_valid) in values.iter_mut().zip(valid) {
                    *value = if is_valid { *value } else { 0.0 };
                }
            }
            match piece.values.is_some() || is_whole {
                true => values.iter().enumerate().for_each(|(place, &value)| piece.term(local + place, value)),
                false => piece.add(total(values)),
            }
            if piece.wants_gradient() {
                let range = if is_whole { 0..1 } else { local..local + steps.len() };
                let factors = piece.factors(range, factors);
                match factors {
                    [one] => slopes.iter_mut().for_each(|slope| *slope *= one),
                    all => slopes.iter_mut().zip(all).for_each(|(slope, factor)| *slope *= factor),
                }
                piece.strip.read_and_write_block(steps, all.start, buffers, |_, out| {
                    for ((out, &slope), &is_valid) in out.iter_mut().zip(&*slopes).zip(valid) {
                        *out = Float::from_f64(if is_valid { slope } else { 0.0 });
                    }
                });
            }
        }
        Ok(())
    }
}

/// The sum of a block, in eight parts.
fn total(values: &[f64]) -> f64 {
    let mut parts = [0.0; 8];
    for chunk in values.chunks(8) {
        parts.iter_mut().zip(chunk).for_each(|(part, value)| *part += value);
    }
    parts.iter().sum()
}

/// What a thread keeps.
struct Scratch<F> {
    buffers: Buffers<F>,
    numbers: Vec<f64>,
    values: Vec<f64>,
    slopes: Vec<f64>,
    factors: Vec<f64>,
}

impl<E: Element> Loss<E> for PolicyTerms<'_, E> {
    fn sequences(&self) -> &Sequences<'_, E> {
        &self.first
    }

    fn terms(&self, sequence: usize) -> usize {
        match (&self.terms, self.first.axes) {
            (Terms::Sequences(_), _) => 1,
            (_, Axes::Steps) => self.valid.of(sequence).len(),
            _ => self.first.rows[sequence].count(),
        }
    }

    fn grain(&self) -> usize {
        rows_per_piece(self.first.width)
    }

    fn stretch(&self, sequence: usize) -> usize {
        if self.is_of_sequences() { self.first.structure.steps[sequence] } else { self.first.width }
    }

    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure {
        let count = match self.is_of_sequences() {
            true => 1,
            false => self.valid.of(sequence).iter().filter(|&&is_valid| is_valid).count(),
        };
        weight.add(count as f64);
        Measure::of(count)
    }

    fn cost(&self, sequence: usize) -> usize {
        // What a kernel makes of a number is some times the reading of it.
        let each = if matches!(self.terms, Terms::Products(..)) { self.first.width } else { 16 };
        1 + self.valid.of(sequence).len() * each
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> PolicyTerms<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        let longest = match self.is_of_sequences() {
            true => self.first.structure.steps.iter().copied().max().unwrap_or(0),
            false => 0,
        };
        let room = longest.max(BLOCK);
        Ok(Scratch {
            buffers: Buffers::new(room.max(self.first.width))?,
            numbers: zeros(room)?,
            values: zeros(BLOCK)?,
            slopes: zeros(room)?,
            factors: zeros(BLOCK)?,
        })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        match &self.terms {
            Terms::Products(coefficients, actions) => {
                self.products(piece, (coefficients, actions.as_ref()), scratch, ticker)
            }
            Terms::Steps(kernel) | Terms::Sequences(kernel) => self.kernel(piece, *kernel, scratch, ticker),
        }
    }
}
