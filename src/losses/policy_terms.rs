//! Losses of which the value and the coefficient of every step are known before anything is reduced.
//!
//! ℓₜ, and cₜ = ∂ℓ/∂xₜ
//!
//! x are the log-probabilities of actions, or the numbers of a critic. All that a policy is trained with comes to this:
//! what a loss is made of is computed once, in float64 and one sequence at a time, and here its terms are reduced and its
//! coefficients multiplied by the derivative of the result. Where a step has scores of C classes, x is that of the action.

use super::cross_entropy::rows_per_piece;
use super::logits::times;
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{Axes, PerStep, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::{Ticker, Watch, for_each};
use crate::reduction::Measure;

/// What is reduced.
pub enum Terms {
    /// c x of every step.
    Products,
    /// ℓ of every step.
    Steps(PerStep<f64>),
    /// ℓ of every sequence, whose steps have no values of their own.
    Sequences(Vec<f64>),
}

/// A loss with its terms and coefficients. Steps that are not valid have neither, whatever stands in their place.
pub struct PolicyTerms<'a, E> {
    first: Sequences<'a, E>,
    actions: Option<PerStep<i64>>,
    terms: Terms,
    coefficients: PerStep<f64>,
    valid: PerStep<bool>,
}

impl<'a, E: Element> PolicyTerms<'a, E> {
    /// Puts together what fits; `actions`, where there are any, are classes in valid steps.
    pub fn new(
        first: Sequences<'a, E>,
        actions: Option<PerStep<i64>>,
        terms: Terms,
        coefficients: PerStep<f64>,
        valid: PerStep<bool>,
    ) -> Self {
        Self { first, actions, terms, coefficients, valid }
    }

    fn is_of_sequences(&self) -> bool {
        matches!(self.terms, Terms::Sequences(_))
    }

    /// Which of the steps from `first` on have a coefficient, where it lies among the numbers of those steps, and what it
    /// is.
    fn places(&self, sequence: usize, first: usize, end: usize) -> impl Iterator<Item = (usize, usize, f64)> {
        let (valid, coefficients) = (self.valid.of(sequence), self.coefficients.of(sequence));
        let actions = self.actions.as_ref().map(|actions| actions.of(sequence));
        (first..end).filter(|&step| valid[step]).map(move |step| {
            let class = actions.map_or(0, |actions| actions[step] as usize);
            (step - first, (step - first) * self.first.width + class, coefficients[step])
        })
    }
}

/// What fills two numbers of every step of a sequence.
pub type Fill<'a> = dyn Fn(usize, &mut [f64], &mut [f64]) -> Result<(), Error> + Sync + 'a;

/// Fills two numbers of every step, one sequence at a time.
pub fn each_sequence(
    first: &mut PerStep<f64>,
    second: &mut PerStep<f64>,
    work: usize,
    watch: &Watch<'_>,
    fill: &Fill<'_>,
) -> Result<(), Error> {
    let sequences: Vec<_> = first.split_mut().into_iter().zip(second.split_mut()).enumerate().collect();
    for_each(
        sequences.into_iter(),
        work,
        watch,
        || Ok(()),
        |(sequence, (first, second)), (), ticker| {
            ticker.tick(1 + 8 * first.len())?;
            fill(sequence, first, second)
        },
    )
}

/// Steps are taken in blocks of about so many numbers.
const BLOCK: usize = 256;

/// What a thread keeps.
pub struct Scratch<F> {
    buffers: Buffers<F>,
    values: Vec<f64>,
    factors: Vec<f64>,
}

impl<E: Element> Loss for PolicyTerms<'_, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.first
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        let longest = match self.is_of_sequences() {
            true => self.first.structure.steps.iter().copied().max().unwrap_or(0),
            false => 0,
        };
        let room = longest.max(self.first.width).max(BLOCK);
        Ok(Scratch { buffers: Buffers::new(room)?, values: zeros(BLOCK)?, factors: zeros(BLOCK)? })
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
        1 + self.valid.of(sequence).len() * self.first.width
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { buffers, values, factors } = scratch;
        let (sequence, start, end, width) = (piece.sequence, piece.terms.start, piece.terms.end, self.first.width);
        if let Terms::Sequences(values) = &self.terms {
            let steps = self.valid.of(sequence).len();
            ticker.tick(1 + steps)?;
            piece.term(0, values[sequence]);
            let factor = piece.factors(0..1, factors)[0];
            if piece.wants_gradient() {
                piece.strip.read_and_write_block(0..steps, 0, buffers, |_, out| {
                    out.fill(E::Float::default());
                    for (_, place, coefficient) in self.places(sequence, 0, steps) {
                        out[place] = Float::from_f64(coefficient * factor);
                    }
                });
            }
            return Ok(());
        }
        let at_once = (BLOCK / width.max(1)).max(1);
        for first in (start..end).step_by(at_once) {
            let steps = first..end.min(first + at_once);
            let numbers = steps.start * width..steps.end * width;
            ticker.tick(1 + numbers.len())?;
            let values = &mut values[..steps.len()];
            match &self.terms {
                Terms::Steps(all) => values.copy_from_slice(&all.of(sequence)[steps.clone()]),
                _ => piece.strip.read_block(numbers.clone(), start * width, buffers, |x| {
                    values.fill(0.0);
                    for (local, place, coefficient) in self.places(sequence, steps.start, steps.end) {
                        values[local] = times(-coefficient, -x[place].to_f64());
                    }
                }),
            }
            for (step, &value) in steps.clone().zip(&*values) {
                piece.term(step - start, value);
            }
            if piece.wants_gradient() {
                let factors = piece.factors(steps.start - start..steps.end - start, factors);
                piece.strip.read_and_write_block(numbers, start * width, buffers, |_, out| {
                    out.fill(E::Float::default());
                    for (local, place, coefficient) in self.places(sequence, steps.start, steps.end) {
                        out[place] = Float::from_f64(coefficient * factors[local]);
                    }
                });
            }
        }
        Ok(())
    }
}
