//! The policy gradient of a coefficient for every step, and what is asked of the logits before there are coefficients.
//!
//! ℓ = Σₜ (cₜ ln pₜ(aₜ) + eₜ Hₜ)        ∂ℓ/∂xⱼ = c ([j = a] − pⱼ) − e pⱼ (ln pⱼ + H)        H = −Σⱼ pⱼ ln pⱼ
//!
//! Any loss that is a function of the log-probabilities of actions, and of entropies, has c = ∂ℓ/∂ln p(a) and e = ∂ℓ/∂H for
//! coefficients: [`TokenLogProbs`] gives what the loss is a function of, [`PolicyGradient`] takes its derivatives back to
//! the logits.

use fearless_simd::dispatch;

use super::cross_entropy::rows_per_piece;
use super::logits::{self, LogitRows, Slopes, Step, Transform};
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{PerStep, Sequences, class};
use crate::loss::{Loss, Piece, Strip, Worker, front};
use crate::parallel::{Ticker, Watch, for_each_in_parts};
use crate::reduction::Measure;
use crate::simd::{level, math, rows, softmax};

/// The actions, and which steps have one.
pub struct Actions {
    /// The action of every step.
    pub ids: PerStep<i64>,
    /// The valid steps.
    pub mask: Option<PerStep<bool>>,
    /// The action of steps that are not valid, if there is one.
    pub ignore_index: Option<i64>,
}

impl Actions {
    /// Checks that the actions of valid steps are classes.
    pub fn check<E: Element>(&self, name: &str, logits: &Sequences<'_, E>) -> Result<(), Error> {
        for (sequence, rows) in logits.rows.iter().enumerate() {
            for (step, &action) in self.ids.of(sequence)[..rows.count()].iter().enumerate() {
                if self.is_valid(sequence, step) {
                    class(name, &logits.structure, (sequence, step), action, logits.width)?;
                }
            }
        }
        Ok(())
    }

    fn is_valid(&self, sequence: usize, step: usize) -> bool {
        Some(self.ids.of(sequence)[step]) != self.ignore_index
            && self.mask.as_ref().is_none_or(|mask| mask.of(sequence)[step])
    }

    /// The next step, if it is valid and below `end`.
    fn next(&self, sequence: usize, step: usize, end: usize) -> Option<usize> {
        (step + 1 < end && self.is_valid(sequence, step + 1)).then_some(step + 1)
    }
}

/// The sum of log-probabilities and entropies with their coefficients.
pub struct PolicyGradient<'a, E> {
    logits: Sequences<'a, E>,
    actions: Actions,
    coefficients: PerStep<f64>,
    /// e; none where it is 0 everywhere.
    entropy: Option<PerStep<f64>>,
    transform: Transform,
}

impl<'a, E: Element> PolicyGradient<'a, E> {
    /// Puts checked inputs together.
    pub fn new(
        logits: Sequences<'a, E>,
        actions: Actions,
        coefficients: PerStep<f64>,
        entropy: Option<PerStep<f64>>,
        transform: Transform,
    ) -> Self {
        Self { logits, actions, coefficients, entropy, transform }
    }
}

/// What a thread keeps.
struct Scratch<F> {
    rows: LogitRows<F>,
    factor: [f64; 1],
}

impl<E: Element> Loss<E> for PolicyGradient<'_, E> {
    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn terms(&self, sequence: usize) -> usize {
        self.logits.rows[sequence].count()
    }

    fn grain(&self) -> usize {
        rows_per_piece(self.logits.width)
    }

    fn stretch(&self, _: usize) -> usize {
        self.logits.width
    }

    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure {
        let count = (0..self.terms(sequence)).filter(|&step| self.actions.is_valid(sequence, step)).count();
        weight.add(count as f64);
        Measure::of(count)
    }

    fn cost(&self, sequence: usize) -> usize {
        1 + self.terms(sequence) * self.logits.width.max(1)
    }

    fn parts(&self) -> usize {
        logits::parts(self.logits.width)
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> PolicyGradient<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        Ok(Scratch { rows: LogitRows::new(self.logits.width, self.transform)?, factor: [0.0] })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        let (sequence, first, end) = (piece.sequence, piece.terms.start, piece.terms.end);
        if self.entropy.is_none() {
            return scratch.rows.classes(piece, ticker, |step| {
                let action = self.actions.ids.of(sequence)[step] as usize;
                self.actions.is_valid(sequence, step).then(|| (action, -self.coefficients.of(sequence)[step]))
            });
        }
        for step in first..end {
            ticker.tick(self.logits.width.max(1))?;
            let mut value = 0.0;
            if self.actions.is_valid(sequence, step) {
                let action = self.actions.ids.of(sequence)[step] as usize;
                let coefficient = self.coefficients.of(sequence)[step];
                let entropy = self.entropy.as_ref().map_or(0.0, |entropy| entropy.of(sequence)[step]);
                let at = Step {
                    index: step,
                    next: self.actions.next(sequence, step, end),
                    factor: piece.factors(step - first..step - first + 1, &mut scratch.factor)[0],
                    class: Some(action),
                    q: None,
                    wants_moment: entropy != 0.0,
                };
                value = scratch.rows.step(piece, at, ticker, |reading| {
                    let mut slopes = Slopes { probability: -coefficient, own: -coefficient, ..Slopes::default() };
                    let mut value = -coefficient * reading.surprise(action);
                    if entropy != 0.0 {
                        // ln pⱼ + H = (xⱼ − m) − (ln s − H)
                        let own = reading.softmax.entropy();
                        value += entropy * own;
                        slopes.probability -= entropy * (own - math::ln(reading.softmax.sum));
                        slopes.distance = -entropy;
                    }
                    (value, slopes)
                })?;
            } else {
                piece.strip.clear(step, first);
            }
            piece.term(step - first, value);
        }
        Ok(())
    }
}

/// What is known of the action of one step.
pub struct TokenLogProbs<'a, F> {
    /// ln p(a)
    pub log_probs: &'a mut [F],
    /// H
    pub entropy: &'a mut [F],
    /// The class with the largest p, the first of equals.
    pub argmax: &'a mut [i64],
    /// Its ln p.
    pub max_log_probs: &'a mut [F],
    /// How many classes come before the action, when they are sorted by falling p and equal ones by their number.
    pub rank: &'a mut [i64],
}

impl<F> TokenLogProbs<'_, F> {
    /// Takes the first `count` steps off.
    fn front(&mut self, count: usize) -> Self {
        Self {
            log_probs: front(&mut self.log_probs, count),
            entropy: front(&mut self.entropy, count),
            argmax: front(&mut self.argmax, count),
            max_log_probs: front(&mut self.max_log_probs, count),
            rank: front(&mut self.rank, count),
        }
    }
}

/// Fills what is known of every step, for each sequence; for steps that are not valid 0, 0, −1, 0 and −1.
pub fn token_log_probs<E: Element>(
    logits: &Sequences<'_, E>,
    actions: &Actions,
    transform: Transform,
    results: Vec<TokenLogProbs<'_, E::Float>>,
    work: usize,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let grain = rows_per_piece(logits.width);
    let mut pieces = vec![];
    for (sequence, mut result) in results.into_iter().enumerate() {
        let steps = logits.rows[sequence].count();
        for first in (0..steps).step_by(grain) {
            let count = grain.min(steps - first);
            pieces.push((sequence, first, result.front(count)));
        }
        pieces.push((sequence, steps, result));
    }
    let scratch = || LogitRows::new(logits.width, transform);
    let parts = logits::parts(logits.width);
    for_each_in_parts(pieces.into_iter(), parts, work, watch, scratch, |(sequence, first, result), reader, ticker| {
        let end = logits.rows[sequence].count().min(first + result.rank.len());
        for local in 0..result.rank.len() {
            let step = first + local;
            ticker.tick(logits.width.max(1))?;
            if step >= end || !actions.is_valid(sequence, step) {
                (result.log_probs[local], result.entropy[local]) = (Float::from_f64(0.0), Float::from_f64(0.0));
                (result.argmax[local], result.max_log_probs[local]) = (-1, Float::from_f64(0.0));
                result.rank[local] = -1;
                continue;
            }
            let action = actions.ids.of(sequence)[step] as usize;
            let strip = Strip::reading(logits.rows[sequence]);
            let next = actions.next(sequence, step, end);
            let at = Step { index: step, next, factor: 1.0, class: Some(action), q: None, wants_moment: true };
            reader.read(&strip, at, first, ticker, |reading| {
                let row = reading.row.wide();
                let maximum: E::Float = Float::from_f64(reading.softmax.maximum);
                result.log_probs[local] = Float::from_f64(-reading.surprise(action));
                result.entropy[local] = Float::from_f64(reading.softmax.entropy());
                // A row without any probability has no largest one.
                let is_nothing = reading.softmax.maximum == f64::NEG_INFINITY;
                let largest = if is_nothing { f64::NAN } else { -math::ln(reading.softmax.sum) };
                result.max_log_probs[local] = Float::from_f64(largest);
                result.argmax[local] =
                    dispatch!(level(), simd => rows::position_in(simd, row, maximum)).map_or(-1, |place| place as i64);
                // Among NaN nothing has a place: the target is in no top k.
                let rank = match reading.softmax.sum.is_nan() {
                    true => row.len(),
                    false => softmax::rank(row, action),
                };
                result.rank[local] = rank as i64;
            })?;
        }
        Ok(())
    })
}
