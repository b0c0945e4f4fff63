//! From the scores of frames to labels: what CTC says besides its loss.
//!
//! | function | what it finds |
//! |---|---|
//! | [`greedy()`], [`greedy_alignment`] | the best class of every frame |
//! | [`align`] | the best path of a target (Viterbi) |
//! | [`feasible`] | whether a target has any path at all |
//! | [`beam()`] | the labels of the largest probability, summed over paths (prefix beam search) |
//!
//! The scores of a frame become probabilities as p = exp(x − shift) / sum: the shift is the largest of the row and the sum
//! goes over all classes where they are logits; log-probabilities are taken as they are (0 and 1).

mod beam;
mod greedy;
mod viterbi;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

pub use beam::{Answer, Hypothesis, Options, TokenScores, beam, beam_work, check_token_scores};
pub use greedy::{greedy, greedy_alignment};
pub use viterbi::{align, feasible, frames_needed};

use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Labels, Rows, Sequences, reserve};
use crate::losses::Scores;
use crate::reduction::total;
use crate::simd::scaled::{LANES, Scaled};
use crate::simd::{level, math, rows};

/// A run of frames that say the same label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The class.
    pub label: usize,
    /// Its first frame.
    pub start: usize,
    /// The frame behind its last one.
    pub end: usize,
    /// The mean probability of the label over these frames.
    pub score: f64,
}

/// One path through the frames of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// The class of every frame, the blank among them.
    pub labels: Vec<usize>,
    /// The runs of labels.
    pub spans: Vec<Span>,
    /// The log-probability of the path.
    pub score: f64,
}

impl Alignment {
    /// No path, and the score that says why.
    fn none(score: f64) -> Self {
        Self { labels: vec![], spans: vec![], score }
    }

    /// The path that is in `labels`. `frames` is left with probabilities.
    fn new(labels: Vec<usize>, blank: usize, scores: Scores, frames: &mut Frames) -> Result<Self, Error> {
        let score = frames.log_probability(scores);
        frames.exponentiate();
        let starts =
            labels.iter().enumerate().filter(|&(t, &label)| label != blank && (t == 0 || labels[t - 1] != label));
        let mut spans: Vec<Span> = reserve(starts.count())?;
        for (t, (&label, &probability)) in labels.iter().zip(&frames.scores).enumerate() {
            match spans.last_mut() {
                _ if label == blank => {}
                Some(span) if span.end == t && span.label == label => {
                    span.end += 1;
                    span.score += probability;
                }
                _ => spans.push(Span { label, start: t, end: t + 1, score: probability }),
            }
        }
        for span in &mut spans {
            span.score /= (span.end - span.start) as f64;
        }
        Ok(Self { labels, spans, score })
    }
}

/// About how many numbers are read to compare the frames of all sequences with their labels.
pub fn work<E>(sequences: &Sequences<'_, E>, targets: &Labels) -> usize {
    let frames = sequences.rows.iter().enumerate();
    frames.map(|(sequence, rows)| 1 + rows.count() * (rows.width() + targets.of(sequence).len())).sum()
}

/// The sequences with the places of their results, the longest one first: the last of them to be taken is soon done.
fn longest_first<'s, 'a, E, T>(
    sequences: &'s Sequences<'a, E>,
    found: &'s mut [T],
) -> Result<impl ExactSizeIterator<Item = (usize, &'s Rows<'a, E>, &'s mut T)>, Error> {
    let mut items = reserve(sequences.rows.len())?;
    items.extend(sequences.rows.iter().zip(found).enumerate().map(|(n, (rows, to))| (n, rows, to)));
    // A stable sort would allocate, and cannot say when it fails.
    items.sort_unstable_by_key(|(n, rows, _)| (std::cmp::Reverse(rows.count()), *n));
    Ok(items.into_iter())
}

/// As many of `value`.
fn repeated<T: Clone>(value: T, count: usize) -> Result<Vec<T>, Error> {
    let mut values = reserve(count)?;
    values.resize(count, value);
    Ok(values)
}

/// Appends to a list whose length is not known before.
#[inline(always)]
fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Error> {
    if list.len() == list.capacity() {
        // Its room doubles.
        list.try_reserve(1).map_err(|_| Error::Memory((2 * list.len().max(1)).saturating_mul(size_of::<T>())))?;
    }
    list.push(item);
    Ok(())
}

/// What makes probabilities of the scores of a frame.
#[derive(Debug, Clone, Copy)]
struct Normal {
    shift: f64,
    sum: f64,
}

impl Normal {
    /// The sum is NaN where the softmax of the row is.
    #[inline(always)]
    fn of<F: Float, S: Simd>(simd: S, scores: Scores, row: &[F]) -> Self {
        if scores != Scores::Logits {
            return Self { shift: 0.0, sum: 1.0 };
        }
        let shift = rows::maximum_in(simd, row);
        Self { shift: shift.to_f64(), sum: rows::exp_sum_in(simd, row, shift) }
    }
}

/// What one class of every frame scores: x − shift, and the sums beside it.
#[derive(Debug, Clone, Default)]
struct Frames {
    scores: Vec<f64>,
    sums: Vec<f64>,
}

impl Frames {
    fn with_room(frames: usize) -> Result<Self, Error> {
        // Whole vectors are made of them later.
        Ok(Self { scores: reserve(frames.next_multiple_of(LANES))?, sums: reserve(frames)? })
    }

    fn push(&mut self, x: f64, normal: Normal) {
        self.scores.push(x - normal.shift);
        self.sums.push(normal.sum);
    }

    /// Σ ln p.
    fn log_probability(&self, scores: Scores) -> f64 {
        // A sum lies between 1 and the number of classes: the product of 16 is far from the end of the floats, and takes
        // one logarithm.
        let logarithms = self.sums.chunks(16).map(|sums| -math::ln(sums.iter().product()));
        let sum = total(self.scores.iter().copied().chain(logarithms));
        // Rounding may leave a certain path a little above 1.
        if scores == Scores::Logits && sum > 0.0 { 0.0 } else { sum + 0.0 }
    }

    /// Replaces scores by probabilities.
    fn exponentiate(&mut self) {
        let frames = self.scores.len();
        self.scores.resize(frames.next_multiple_of(LANES), 0.0);
        dispatch!(level(), simd => exp_in(simd, &mut self.scores));
        self.scores.truncate(frames);
        for (score, sum) in self.scores.iter_mut().zip(&self.sums) {
            *score /= sum;
        }
    }
}

/// exp of whole vectors of numbers of any sign; unnormalised log-probabilities may be above 0.
#[inline(always)]
fn exp_in<S: Simd>(simd: S, numbers: &mut [f64]) {
    for chunk in numbers.chunks_exact_mut(LANES) {
        let x = f64x8::from_slice(simd, chunk);
        // NaN stays: the minimum of NaN and a number may be either.
        let x = x.simd_gt(f64x8::splat(simd, 709.0)).select(f64x8::splat(simd, 709.0), x);
        let is_nan = x.simd_eq(x);
        let exp = Scaled::exp(simd, x).normal().to_f64();
        is_nan.select(exp, x).store_slice(chunk);
    }
}

/// One number of a row.
fn one<E: Element>(rows: &Rows<'_, E>, row: usize, class: usize) -> f64 {
    let mut scratch = [0.0];
    E::view(&rows.row(row)[class..=class], &mut scratch)[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Argument, Axes, View};

    /// Runs `body` with one float64 sequence.
    pub(super) fn with_sequence<R>(scores: &[f64], classes: usize, body: impl FnOnce(&Sequences<'_, f64>) -> R) -> R {
        let view = View::contiguous(scores, vec![scores.len() / classes, classes]).unwrap();
        body(&Sequences::new("logits", &Argument::Array(view), Axes::StepsOfRows, false).unwrap())
    }

    #[test]
    fn runs_become_spans_with_their_mean_probability() {
        let mut frames = Frames::with_room(5).unwrap();
        for probability in [0.5f64, 0.25, 1.0, 0.125, 0.5] {
            frames.push(probability.ln(), Normal { shift: 0.0, sum: 1.0 });
        }
        let found = Alignment::new(vec![1, 1, 0, 1, 2], 0, Scores::LogProbs, &mut frames).unwrap();
        let spans: Vec<_> = found.spans.iter().map(|span| (span.label, span.start, span.end)).collect();
        assert_eq!(spans, [(1, 0, 2), (1, 3, 4), (2, 4, 5)]);
        assert!((found.spans[0].score - 0.375).abs() < 1e-15);
        assert!((found.score - (0.5f64 * 0.25 * 0.125 * 0.5).ln()).abs() < 1e-14);
    }

    #[test]
    fn exponentials_of_anything() {
        let mut numbers = [0.0, -1.5, f64::NEG_INFINITY, f64::NAN, 2.0, 1e9, -1e5, -709.0];
        dispatch!(level(), simd => exp_in(simd, &mut numbers));
        assert_eq!(numbers[0], 1.0);
        assert!((numbers[1] - (-1.5f64).exp()).abs() < 1e-15);
        assert_eq!(numbers[2], 0.0);
        assert!(numbers[3].is_nan());
        assert!((numbers[4] - 2f64.exp()).abs() < 1e-14);
        assert!(numbers[5].is_finite() && numbers[5] > 1e300);
        assert_eq!(numbers[6], 0.0);
    }
}
