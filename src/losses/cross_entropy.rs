//! Cross-entropy of a distribution over classes against a class, or against another distribution.
//!
//! ℓ = F(ln p_y) w + Σ_c q_c (−ln p_c) + ζ (ln Σⱼ exp(xⱼ))²        p = softmax(x), x as in `logits`
//!
//! | target | w | q_c |
//! |---|---|---|
//! | a class y | (1 − ε) w_y | w_c times its share of ε |
//! | a distribution y | 0 | w_c ((1 − ε) y_c + its share of ε) |
//!
//! with class weights w_c and label smoothing ε, which is shared by ([`Smoothed`])
//!
//! | classes | share | rule of |
//! |---|---|---|
//! | all | ε / C | `torch.nn.functional.cross_entropy` (PyTorch 2.13) |
//! | the others than y | ε / (C − 1) | `label_smoothed_nll_loss` (fairseq 0.12) |
//! | those with a finite logit | ε over their number | for masked vocabularies |
//!
//! F(ln p) = −(1 − p)^γ ln p + ε₁ (1 − p)^(γ + 1): focal loss (Lin et al., 2017, <https://arxiv.org/abs/1708.02002>) and
//! the first term of `PolyLoss` (Leng et al., 2022, <https://arxiv.org/abs/2204.12511>); −ln p for γ = ε₁ = 0. ζ is z-loss
//! (Chowdhery et al., 2022, <https://arxiv.org/abs/2204.02311>).
//!
//! ∂ℓ/∂xⱼ = (Q − w F′ + 2 ζ ln Σ exp) pⱼ − qⱼ + w F′ [j = y],   Q = Σ_c q_c
//!
//! For log-probabilities the logarithm of the sum is left out, also from the gradient; for probabilities −ln takes its
//! place. Where q_c is 0 the class is left out, so that 0 · ln 0 is 0; in that last point only the rules differ from
//! `torch.nn.functional.cross_entropy`.

use fearless_simd::dispatch;
use fearless_simd::prelude::*;

use super::Scores;
use super::logits::{self, LogitRows, Reading, Slopes, Step, Transform, times};
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyRows, PerStep, Sequences, class, zeros};
use crate::loss::{Loss, Piece, Worker};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::rows::tail;
use crate::simd::softmax::exp_of;
use crate::simd::{Lanes, Stored, level, math};

/// What rows are compared with.
pub enum Targets<'a> {
    /// A class for every step.
    Classes(PerStep<i64>),
    /// A distribution over the classes for every step.
    Distributions(Vec<AnyRows<'a>>),
}

/// Which classes share what label smoothing takes from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smoothed {
    /// All of them, the target too.
    All,
    /// All but the target.
    Others,
    /// Those whose probability is not 0.
    Finite,
}

impl Smoothed {
    /// The words for them.
    pub const WORDS: &'static [&'static str] = &["all", "others", "finite"];

    /// Reads the word.
    pub fn new(word: &str) -> Result<Self, Error> {
        match word {
            "all" => Ok(Self::All),
            "others" => Ok(Self::Others),
            "finite" => Ok(Self::Finite),
            _ => {
                let (argument, value) = ("label_smoothing_over", word.to_owned());
                Err(Error::Choice { argument, value, choices: Self::WORDS })
            }
        }
    }
}

/// What steps and classes count for, and what the curve is.
pub struct Options {
    /// The valid steps.
    pub mask: Option<PerStep<bool>>,
    /// A factor for every step; those of factor 0 are not valid.
    pub weights: Option<PerStep<f64>>,
    /// A factor for every class.
    pub class_weights: Option<Vec<f64>>,
    /// The target of steps that are not valid.
    pub ignore_index: i64,
    /// ε
    pub label_smoothing: f64,
    /// Who shares it.
    pub smoothed: Smoothed,
    /// ζ
    pub z_loss: f64,
    /// What is done to the logits first.
    pub transform: Transform,
    /// γ
    pub focal_gamma: f64,
    /// ε₁
    pub poly_epsilon: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mask: None,
            weights: None,
            class_weights: None,
            ignore_index: -100,
            label_smoothing: 0.0,
            smoothed: Smoothed::All,
            z_loss: 0.0,
            transform: Transform::NONE,
            focal_gamma: 0.0,
            poly_epsilon: 0.0,
        }
    }
}

/// Cross-entropy with its checked inputs.
pub struct CrossEntropy<'a, E> {
    logits: Sequences<'a, E>,
    targets: Targets<'a>,
    scores: Scores,
    options: Options,
}

/// What a thread keeps.
struct Scratch<F> {
    rows: LogitRows<F>,
    /// q, where it differs from class to class.
    q: Vec<F>,
    distribution: Vec<F>,
    factor: [f64; 1],
}

/// About how many numbers a piece reads.
const GRAIN: usize = 8192;

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
        options.check(scores, matches!(targets, Targets::Distributions(_)))?;
        if let Some(weights) = options.class_weights.as_ref().filter(|weights| weights.len() != classes) {
            return Err(Error::shape("class_weights", &[weights.len()], format!("({classes},)")));
        }
        let loss = Self { logits, targets, scores, options };
        if let Targets::Classes(targets) = &loss.targets {
            for (sequence, rows) in loss.logits.rows.iter().enumerate() {
                let targets = &targets.of(sequence)[..rows.count()];
                // A negative one is larger than all classes, and the largest of many is found at once.
                if targets.iter().fold(0, |largest, &target| largest.max(target as u64)) < classes as u64 {
                    continue;
                }
                for (step, &target) in targets.iter().enumerate() {
                    if loss.is_valid(sequence, step) {
                        class("targets", &loss.logits.structure, (sequence, step), target, classes)?;
                    }
                }
            }
        }
        Ok(loss)
    }

    #[inline]
    fn is_valid(&self, sequence: usize, step: usize) -> bool {
        let ignored = match &self.targets {
            Targets::Classes(targets) => targets.of(sequence)[step] == self.options.ignore_index,
            Targets::Distributions(_) => false,
        };
        !ignored
            && self.options.mask.as_ref().is_none_or(|mask| mask.of(sequence)[step])
            && self.weight(sequence, step) != 0.0
    }

    #[inline]
    fn weight(&self, sequence: usize, step: usize) -> f64 {
        self.options.weights.as_ref().map_or(1.0, |weights| weights.of(sequence)[step])
    }

    #[inline]
    fn class_weight(&self, class: usize) -> f64 {
        self.options.class_weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// The class of a step, if its target is one.
    #[inline]
    fn target(&self, sequence: usize, step: usize) -> Option<usize> {
        match &self.targets {
            Targets::Classes(targets) => Some(targets.of(sequence)[step] as usize),
            Targets::Distributions(_) => None,
        }
    }

    /// Whether q is given class by class: not where it is nothing, or the same for all classes of a softmax.
    fn has_row_of_q(&self) -> bool {
        let is_smooth = self.options.label_smoothing != 0.0;
        let is_uneven = self.options.class_weights.is_some()
            || self.options.smoothed == Smoothed::Finite
            || self.scores != Scores::Logits;
        matches!(self.targets, Targets::Distributions(_)) || (is_smooth && is_uneven)
    }

    /// Writes q of a step, class by class; `row` is what the target is compared with.
    fn write_q(
        &self,
        (sequence, step): (usize, usize),
        row: &[E::Float],
        q: &mut [E::Float],
        distribution: &mut [E::Float],
    ) {
        let Options { label_smoothing: smoothing, smoothed, .. } = self.options;
        let target = self.target(sequence, step);
        let zero = if self.scores == Scores::Probs { E::Float::default() } else { E::Float::NEGATIVE_INFINITY };
        // NaN is not missing: it must show.
        let is_missing = |x: E::Float| x <= zero;
        let sharing = match smoothed {
            Smoothed::All => row.len(),
            Smoothed::Others => row.len() - 1,
            Smoothed::Finite => row.iter().filter(|&&x| !is_missing(x)).count(),
        };
        let share = if sharing == 0 { 0.0 } else { smoothing / sharing as f64 };
        let share_of = |class: usize| match smoothed {
            Smoothed::Others if target == Some(class) => 0.0,
            Smoothed::Finite if is_missing(row[class]) => 0.0,
            _ => share,
        };
        match &self.targets {
            Targets::Classes(_) => {
                for (class, q) in q.iter_mut().enumerate() {
                    *q = Float::from_f64(self.class_weight(class) * share_of(class));
                }
            }
            Targets::Distributions(rows) => {
                let distribution = rows[sequence].row(step, distribution);
                for (class, (q, y)) in q.iter_mut().zip(distribution).enumerate() {
                    let smooth = (1.0 - smoothing) * y.to_f64() + share_of(class);
                    *q = Float::from_f64(self.class_weight(class) * smooth);
                }
            }
        }
    }
}

impl Options {
    fn check(&self, scores: Scores, are_distributions: bool) -> Result<(), Error> {
        let at_least_0 = |name: &str, value: f64| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::Value(format!("{name} is {value}, expected a number that is at least 0"))),
        };
        at_least_0("z_loss", self.z_loss)?;
        at_least_0("focal_gamma", self.focal_gamma)?;
        if !self.poly_epsilon.is_finite() {
            return Err(Error::Value(format!("poly_epsilon is {}, expected a number", self.poly_epsilon)));
        }
        if scores != Scores::Logits && (self.z_loss != 0.0 || !self.transform.is_none()) {
            let name = if self.z_loss == 0.0 { self.transform.name() } else { "z_loss" };
            return Err(Error::Value(format!("{name} goes with scores=\"logits\"")));
        }
        if are_distributions && self.ignore_index >= 0 {
            let message = format!("ignore_index is {}, which goes with targets that are classes", self.ignore_index);
            return Err(Error::Value(message));
        }
        if are_distributions && (!self.is_plain() || self.smoothed == Smoothed::Others) {
            let name = match (self.focal_gamma != 0.0, self.is_plain()) {
                (true, _) => "focal_gamma",
                (_, false) => "poly_epsilon",
                _ => "label_smoothing_over=\"others\"",
            };
            return Err(Error::Value(format!("{name} goes with targets that are classes, not distributions")));
        }
        Ok(())
    }

    /// Whether F(ln p) is −ln p.
    fn is_plain(&self) -> bool {
        self.focal_gamma == 0.0 && self.poly_epsilon == 0.0
    }

    /// F and −F′ at ln p = −`surprise`, where 1 − p is `rest`.
    fn curve(&self, surprise: f64, rest: f64) -> (f64, f64) {
        if surprise.is_nan() {
            return (surprise, surprise);
        }
        let (gamma, epsilon) = (self.focal_gamma, self.poly_epsilon);
        let (p, focal) = (1.0 - rest, power(rest, gamma));
        // γ (1 − p)^(γ − 1) p ln p goes to 0 with 1 − p for every γ > 0, also below 1.
        let bend = if gamma == 0.0 || rest == 0.0 { 0.0 } else { gamma * (focal / rest) * p * surprise };
        // A class without any probability: p ln p is 0.
        let bend = if p == 0.0 { 0.0 } else { bend };
        let value = if focal == 0.0 { 0.0 } else { focal * surprise } + epsilon * focal * rest;
        (value, focal + bend + epsilon * (gamma + 1.0) * focal * p)
    }
}

/// xʸ for x in [0, 1] and y ≥ 0.
fn power(x: f64, y: f64) -> f64 {
    match y {
        0.0 => 1.0,
        1.0 => x,
        2.0 => x * x,
        _ if x == 0.0 => 0.0,
        _ => exp_of((y * math::ln(x)).min(0.0)),
    }
}

impl<E: Element> Loss<E> for CrossEntropy<'_, E> {
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
        let valid = (0..self.terms(sequence)).filter(|&step| self.is_valid(sequence, step));
        if self.options.weights.is_none() && self.options.class_weights.is_none() {
            let count = match (&self.targets, &self.options.mask) {
                (Targets::Classes(targets), None) => {
                    let targets = &targets.of(sequence)[..self.terms(sequence)];
                    targets.iter().filter(|&&target| target != self.options.ignore_index).count()
                }
                _ => valid.count(),
            };
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

    fn parts(&self) -> usize {
        logits::parts(self.logits.width)
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> CrossEntropy<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        let width = self.logits.width;
        let of_q = if self.has_row_of_q() { width } else { 0 };
        Ok(Scratch {
            rows: LogitRows::new(width, self.options.transform)?,
            q: zeros(of_q)?,
            distribution: zeros(of_q)?,
            factor: [0.0],
        })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        let (sequence, first, end) = (piece.sequence, piece.terms.start, piece.terms.end);
        if let Targets::Classes(targets) = &self.targets
            && self.is_of_one_class()
        {
            let Options { mask, weights, ignore_index, .. } = &self.options;
            let targets = targets.of(sequence);
            let mask = mask.as_ref().map(|mask| mask.of(sequence));
            let weights = weights.as_ref().map(|weights| weights.of(sequence));
            return scratch.rows.classes(piece, ticker, |step| {
                let weight = weights.map_or(1.0, |weights| weights[step]);
                if targets[step] == *ignore_index || mask.is_some_and(|mask| !mask[step]) || weight == 0.0 {
                    return None;
                }
                let class = targets[step] as usize;
                Some((class, weight * self.class_weight(class)))
            });
        }
        for step in first..end {
            ticker.tick(self.logits.width.max(1))?;
            let mut value = 0.0;
            if self.is_valid(sequence, step) {
                let weight = self.weight(sequence, step);
                let factor = weight * piece.factors(step - first..step - first + 1, &mut scratch.factor)[0];
                let loss = match self.scores {
                    Scores::Logits => {
                        let next = (step + 1 < end && self.is_valid(sequence, step + 1)).then_some(step + 1);
                        self.step_of_logits(piece, (step, next), factor, scratch, ticker)?
                    }
                    _ => self.step_of_probabilities(piece, step, factor, scratch),
                };
                value = times(weight, loss);
            } else {
                piece.strip.clear(step, first);
            }
            piece.term(step - first, value);
        }
        Ok(())
    }

    /// Whether a step with a class for a target is −q ln p of that class and nothing else.
    fn is_of_one_class(&self) -> bool {
        let Options { label_smoothing, z_loss, .. } = self.options;
        let is_plain = label_smoothing == 0.0 && z_loss == 0.0 && self.options.is_plain();
        is_plain && self.scores == Scores::Logits
    }

    fn step_of_logits(
        &self,
        piece: &mut Piece<'_, E>,
        (step, next): (usize, Option<usize>),
        factor: f64,
        scratch: &mut Scratch<E::Float>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let (sequence, options) = (piece.sequence, &self.options);
        let class = self.target(sequence, step);
        let Scratch { rows, q, distribution, .. } = scratch;
        let has_q = self.has_row_of_q();
        if has_q {
            rows.look(piece, step, |row| self.write_q((sequence, step), row, q, distribution));
        }
        let q = has_q.then_some(&q[..]);
        let step = Step { index: step, next, factor, class, q, wants_moment: false };
        rows.step(piece, step, ticker, |reading| {
            let mut slopes = Slopes::default();
            let mut value = 0.0;
            if let Some(class) = class {
                let weight = (1.0 - options.label_smoothing) * self.class_weight(class);
                let surprise = reading.surprise(class);
                let (curve, slope) = match options.is_plain() {
                    true => (surprise, 1.0),
                    false => options.curve(surprise, reading.rest(class)),
                };
                value = times(weight, curve);
                slopes.probability = weight * slope;
                slopes.own = weight * slope;
            }
            if let Some(q) = q {
                let maximum = Float::from_f64(reading.softmax.maximum);
                let (total, distance) = dispatch!(level(), simd => distances_in(simd, reading.row.wide(), q, maximum));
                value += distance + total * math::ln(reading.softmax.sum);
                slopes.probability += total;
            } else if options.label_smoothing != 0.0 {
                value += self.smooth(reading, class, &mut slopes);
            }
            if options.z_loss != 0.0 {
                let log_sum = reading.softmax.log_sum_exp();
                value += options.z_loss * log_sum * log_sum;
                slopes.probability += 2.0 * options.z_loss * log_sum;
            }
            (value, slopes)
        })
    }

    /// ε shared evenly, by all classes or by all but the target: its value, and what it adds to the slopes.
    fn smooth(&self, reading: &Reading<'_, E>, class: Option<usize>, slopes: &mut Slopes) -> f64 {
        let (mut total, finite) = reading.total();
        let mut missing = reading.row.len() as f64 - finite;
        let mut sharing = reading.row.len() as f64;
        let others_only = self.options.smoothed == Smoothed::Others;
        if let Some(class) = class.filter(|_| others_only) {
            let own = reading.row.at(class);
            sharing -= 1.0;
            match own == f64::NEG_INFINITY {
                true => missing -= 1.0,
                false => total -= own,
            }
        }
        let share = if sharing == 0.0 { 0.0 } else { self.options.label_smoothing / sharing };
        slopes.spread = share;
        slopes.probability += share * sharing;
        slopes.own -= if others_only { share } else { 0.0 };
        // Classes without any probability are infinitely surprising, as in torch.
        share * if missing > 0.0 { f64::INFINITY } else { sharing * reading.softmax.log_sum_exp() - total }
    }

    fn step_of_probabilities(
        &self,
        piece: &mut Piece<'_, E>,
        step: usize,
        factor: f64,
        scratch: &mut Scratch<E::Float>,
    ) -> f64 {
        let (sequence, first, is_probs) = (piece.sequence, piece.terms.start, self.scores == Scores::Probs);
        let class = self.target(sequence, step);
        let has_q = self.has_row_of_q();
        let Scratch { rows, q, distribution, .. } = scratch;
        let value_of = |row: &[E::Float], q: &[E::Float]| {
            let mut slope = 0.0;
            let mut value = if has_q { -expected(self.scores, row, q) } else { 0.0 };
            if let Some(class) = class {
                let weight = (1.0 - self.options.label_smoothing) * self.class_weight(class);
                let x = row[class].to_f64();
                let (ln_p, of_score) = if is_probs { (math::ln(x), 1.0 / x) } else { (x, 1.0) };
                let (curve, curve_slope) = if self.options.is_plain() {
                    (-ln_p, 1.0)
                } else {
                    // Log-probabilities that are not normalised may lie above 0.
                    let p = if is_probs || x > 0.0 { x.min(1.0) } else { exp_of(x) };
                    self.options.curve(-ln_p, 1.0 - p)
                };
                value += times(weight, curve);
                slope = if weight == 0.0 { 0.0 } else { -weight * curve_slope * of_score };
            }
            (value, slope)
        };
        if !piece.wants_gradient() {
            return piece.strip.read(step, first, rows.buffers(), |row| {
                if has_q {
                    self.write_q((sequence, step), row, q, distribution);
                }
                value_of(row, q).0
            });
        }
        let mut value = 0.0;
        piece.strip.read_and_write(step, first, rows.buffers(), |row, out| {
            if has_q {
                self.write_q((sequence, step), row, q, distribution);
            }
            let slope;
            (value, slope) = value_of(row, q);
            out.fill(E::Float::default());
            for ((out, &x), &q) in out.iter_mut().zip(row).zip(&*q) {
                let of_score = if is_probs { 1.0 / x.to_f64() } else { 1.0 };
                let used = q != E::Float::default();
                *out = Float::from_f64(if used { -factor * q.to_f64() * of_score } else { 0.0 });
            }
            if let Some(class) = class {
                out[class] = Float::from_f64(out[class].to_f64() + factor * slope);
            }
        });
        value
    }
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
