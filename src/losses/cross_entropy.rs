//! Cross-entropy of a distribution over classes against a class, or against another distribution.
//!
//! ℓ = Σ_c q_c (ln Σⱼ exp(xⱼ) − x_c)          ∂ℓ/∂xⱼ = Q softmax(x)ⱼ − qⱼ,   Q = Σ_c q_c
//!
//! where q is what the target puts on each class: with class weights w and label smoothing ε over C classes
//!
//! | target | q_c |
//! |---|---|
//! | a class y | (1 − ε) w_y [c = y] + ε w_c / C |
//! | a distribution y | w_c ((1 − ε) y_c + ε / C) |
//!
//! For log-probabilities the logarithm of the sum is left out, also from the gradient; for probabilities −ln takes its
//! place. Where q_c is 0 the class is left out, so that 0 · ln 0 is 0. The rules are those of
//! `torch.nn.functional.cross_entropy` (PyTorch 2.13), which differs in that last point only.

use fearless_simd::dispatch;
use fearless_simd::prelude::*;

use super::Scores;
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyRows, PerStep, Sequences, class, zeros};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::rows::{exp_sum, exp_sum_into, maximum, scale, tail};
use crate::simd::{Lanes, level, math};

/// What rows are compared with.
pub enum Targets<'a> {
    /// A class for every step.
    Classes(PerStep<i64>),
    /// A distribution over the classes for every step.
    Distributions(Vec<AnyRows<'a>>),
}

/// What steps and classes count for.
pub struct Options {
    /// The valid steps.
    pub mask: Option<PerStep<bool>>,
    /// A factor for every step.
    pub weights: Option<PerStep<f64>>,
    /// A factor for every class.
    pub class_weights: Option<Vec<f64>>,
    /// The target of steps that are not valid.
    pub ignore_index: i64,
    /// ε
    pub label_smoothing: f64,
}

/// Cross-entropy with its checked inputs.
pub struct CrossEntropy<'a, E> {
    logits: Sequences<'a, E>,
    targets: Targets<'a>,
    scores: Scores,
    options: Options,
}

/// What a thread keeps.
pub struct Scratch<F> {
    buffers: Buffers<F>,
    /// q, where it is not one class.
    target: Vec<F>,
    distribution: Vec<F>,
    factor: [f64; 1],
}

/// About how many numbers a piece reads.
const GRAIN: usize = 16_384;

/// Rows of `width` numbers that make a piece.
pub(super) fn rows_per_piece(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}

impl<'a, E: Element> CrossEntropy<'a, E> {
    /// Puts checked inputs together, and checks that the classes of valid steps are classes.
    pub fn new(
        logits: Sequences<'a, E>,
        targets: Targets<'a>,
        scores: Scores,
        options: Options,
    ) -> Result<Self, Error> {
        let classes = logits.width;
        if !(0.0..=1.0).contains(&options.label_smoothing) {
            let message = format!("label_smoothing is {}, which is not in 0..=1", options.label_smoothing);
            return Err(Error::Value(message));
        }
        if let Some(weights) = options.class_weights.as_ref().filter(|weights| weights.len() != classes) {
            return Err(Error::shape("class_weights", &[weights.len()], format!("({classes},)")));
        }
        let loss = Self { logits, targets, scores, options };
        if let Targets::Classes(targets) = &loss.targets {
            for (sequence, rows) in loss.logits.rows.iter().enumerate() {
                for (step, &target) in targets.of(sequence)[..rows.count()].iter().enumerate() {
                    if loss.is_valid(sequence, step) {
                        class("targets", &loss.logits.structure, (sequence, step), target, classes)?;
                    }
                }
            }
        }
        Ok(loss)
    }

    fn is_valid(&self, sequence: usize, step: usize) -> bool {
        let ignored = match &self.targets {
            Targets::Classes(targets) => targets.of(sequence)[step] == self.options.ignore_index,
            Targets::Distributions(_) => false,
        };
        !ignored && self.options.mask.as_ref().is_none_or(|mask| mask.of(sequence)[step])
    }

    fn weight(&self, sequence: usize, step: usize) -> f64 {
        self.options.weights.as_ref().map_or(1.0, |weights| weights.of(sequence)[step])
    }

    fn class_weight(&self, class: usize) -> f64 {
        self.options.class_weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// The class of a step, if all of q is there.
    fn only_class(&self, sequence: usize, step: usize) -> Option<usize> {
        match &self.targets {
            Targets::Classes(targets) if self.options.label_smoothing == 0.0 => {
                Some(targets.of(sequence)[step] as usize)
            }
            _ => None,
        }
    }

    /// q of a step, class by class.
    fn spread<'s>(
        &self,
        sequence: usize,
        step: usize,
        target: &'s mut [E::Float],
        distribution: &mut [E::Float],
    ) -> &'s [E::Float] {
        let smoothing = self.options.label_smoothing;
        let floor = smoothing / self.logits.width as f64;
        match &self.targets {
            Targets::Classes(targets) => {
                let only = targets.of(sequence)[step] as usize;
                for (class, q) in target.iter_mut().enumerate() {
                    *q = Float::from_f64(self.class_weight(class) * floor);
                }
                target[only] = Float::from_f64(self.class_weight(only) * (1.0 - smoothing + floor));
            }
            Targets::Distributions(rows) => {
                let distribution = rows[sequence].row(step, distribution);
                for (class, (q, y)) in target.iter_mut().zip(distribution).enumerate() {
                    let smoothed = (1.0 - smoothing) * y.to_f64() + floor;
                    *q = Float::from_f64(self.class_weight(class) * smoothed);
                }
            }
        }
        target
    }
}

impl<E: Element> Loss for CrossEntropy<'_, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        let width = self.logits.width;
        let dense = if self.only_classes() { 0 } else { width };
        Ok(Scratch { buffers: Buffers::new(width)?, target: zeros(dense)?, distribution: zeros(dense)?, factor: [0.0] })
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
        let valid = (0..self.terms(sequence)).filter(|&step| self.is_valid(sequence, step));
        if self.options.weights.is_none() && self.options.class_weights.is_none() {
            let count = valid.count();
            weight.add(count as f64);
            return Measure::of(count);
        }
        Measure::of(valid.fold(0, |count, step| {
            let of_class = match &self.targets {
                Targets::Classes(targets) => self.class_weight(targets.of(sequence)[step] as usize),
                Targets::Distributions(_) => 1.0,
            };
            weight.add(self.weight(sequence, step) * of_class);
            count + 1
        }))
    }

    fn cost(&self, sequence: usize) -> usize {
        let rows = &self.logits.rows[sequence];
        1 + rows.count() * rows.width().max(1)
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { buffers, target, distribution, factor } = scratch;
        let (sequence, first) = (piece.sequence, piece.terms.start);
        for step in piece.terms.clone() {
            let local = step - first;
            ticker.tick(self.logits.width.max(1))?;
            let mut value = 0.0;
            if self.is_valid(sequence, step) {
                let weight = self.weight(sequence, step);
                let factor = weight * piece.factors(local..local + 1, factor)[0];
                if let Some(class) = self.only_class(sequence, step) {
                    let q = self.class_weight(class);
                    value = weight * step_of_class(self.scores, piece, step, class, q, factor, buffers);
                } else {
                    let q = self.spread(sequence, step, target, distribution);
                    value = weight * step_of_distribution(self.scores, piece, step, q, factor, buffers);
                }
            } else {
                piece.strip.clear(step, first);
            }
            piece.term(local, value);
        }
        Ok(())
    }
}

impl<E: Element> CrossEntropy<'_, E> {
    fn only_classes(&self) -> bool {
        matches!(self.targets, Targets::Classes(_)) && self.options.label_smoothing == 0.0
    }
}

/// q (ln Σⱼ exp(xⱼ) − x_class) of one step; its gradient times `factor` is written if one is asked for. This is also the
/// term of REINFORCE, whose q is the advantage.
pub(super) fn step_of_class<E: Element>(
    scores: Scores,
    piece: &mut Piece<'_, E>,
    step: usize,
    class: usize,
    q: f64,
    factor: f64,
    buffers: &mut Buffers<E::Float>,
) -> f64 {
    let first = piece.terms.start;
    if !piece.wants_gradient() {
        return piece.strip.read(step, first, buffers, |x| match scores {
            Scores::Logits => {
                let shift = maximum(x);
                q * (shift.to_f64() - x[class].to_f64() + math::ln(exp_sum(x, shift)))
            }
            Scores::LogProbs => -q * x[class].to_f64(),
            Scores::Probs => -q * math::ln(x[class].to_f64()),
        });
    }
    let mut value = 0.0;
    piece.strip.read_and_write(step, first, buffers, |x, out| match scores {
        Scores::Logits => {
            let shift = maximum(x);
            let sum = exp_sum_into(x, shift, out);
            value = q * (shift.to_f64() - x[class].to_f64() + math::ln(sum));
            // The slope of the class itself, p − 1, is the small difference of two numbers near 1: it is taken before
            // anything is rounded.
            let own = out[class].to_f64() - sum;
            scale(out, Float::from_f64(factor * q / sum));
            out[class] = Float::from_f64(factor * q * (own / sum));
        }
        Scores::LogProbs | Scores::Probs => {
            out.fill(E::Float::default());
            let x = x[class].to_f64();
            let (term, slope) = if scores == Scores::Probs { (math::ln(x), 1.0 / x) } else { (x, 1.0) };
            value = -q * term;
            out[class] = Float::from_f64(-factor * q * slope);
        }
    });
    value
}

/// Σ_c q_c (ln Σⱼ exp(xⱼ) − x_c) of one step, and its gradient times `factor`.
fn step_of_distribution<E: Element>(
    scores: Scores,
    piece: &mut Piece<'_, E>,
    step: usize,
    q: &[E::Float],
    factor: f64,
    buffers: &mut Buffers<E::Float>,
) -> f64 {
    let first = piece.terms.start;
    if !piece.wants_gradient() {
        return piece.strip.read(step, first, buffers, |x| match scores {
            Scores::Logits => {
                let shift = maximum(x);
                let (total, distance) = dispatch!(level(), simd => distances_in(simd, x, q, shift));
                distance + total * math::ln(exp_sum(x, shift))
            }
            _ => -expected(scores, x, q),
        });
    }
    let mut value = 0.0;
    piece.strip.read_and_write(step, first, buffers, |x, out| match scores {
        Scores::Logits => {
            let shift = maximum(x);
            let (total, distance) = dispatch!(level(), simd => distances_in(simd, x, q, shift));
            let sum = exp_sum_into(x, shift, out);
            value = distance + total * math::ln(sum);
            let (rate, factor) = (E::Float::from_f64(factor * total / sum), E::Float::from_f64(factor));
            for (slope, &q) in out.iter_mut().zip(q) {
                *slope = *slope * rate - factor * q;
            }
        }
        Scores::LogProbs | Scores::Probs => {
            value = -expected(scores, x, q);
            for ((slope, &x), &q) in out.iter_mut().zip(x).zip(q) {
                let of_score = if scores == Scores::Probs { 1.0 / x.to_f64() } else { 1.0 };
                let used = q != E::Float::default();
                *slope = Float::from_f64(if used { -factor * q.to_f64() * of_score } else { 0.0 });
            }
        }
    });
    value
}

/// Σ_c q_c ln p_c, over the classes whose q is not 0.
fn expected<F: Float>(scores: Scores, x: &[F], q: &[F]) -> f64 {
    let used = x.iter().zip(q).filter(|(_, q)| **q != F::default());
    let terms = used.map(|(x, q)| {
        let x = x.to_f64();
        q.to_f64() * if scores == Scores::Probs { math::ln(x) } else { x }
    });
    crate::reduction::total(terms)
}

/// Q and Σ_c q_c (shift − x_c), over the classes whose q is not 0.
#[inline(always)]
fn distances_in<T: Lanes, S: Simd>(simd: S, x: &[T], q: &[T], shift: T) -> (f64, f64) {
    let zero = T::Vector::<S>::splat(simd, T::default());
    let shift = T::Vector::<S>::splat(simd, shift);
    let (mut total, mut distance) = (T::zero(simd), T::zero(simd));
    for (x, q) in x.chunks(T::LANES).zip(q.chunks(T::LANES)) {
        let (x, q) = (tail::<T, S>(simd, x, T::default()), tail::<T, S>(simd, q, T::default()));
        total = T::accumulate(total, q);
        distance = T::accumulate(distance, q.simd_eq(zero).select(zero, q * (shift - x)));
    }
    (T::fold(total), T::fold(distance))
}
