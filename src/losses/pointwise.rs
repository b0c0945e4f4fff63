//! Losses of single numbers: a curve of the residual r = prediction − target.
//!
//! | loss | ℓ(r) | ∂ℓ/∂prediction |
//! |---|---|---|
//! | mean squared error | r² | 2 r |
//! | mean absolute error | ∣r∣ | sign(r), 0 at r = 0 |
//!
//! A term is an element, times its weight if there are weights; what is masked is never looked at.

use std::marker::PhantomData;
use std::ops::Range;

use fearless_simd::dispatch;
use fearless_simd::prelude::*;

use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyRows, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::rows::tail;
use crate::simd::{Lanes, level};

/// A curve and its slope.
pub trait Curve: Sync {
    /// ℓ(r)
    fn value<S: Simd, V: SimdFloat<S>>(r: V) -> V;
    /// ℓ'(r)
    fn slope<S: Simd, V: SimdFloat<S>>(simd: S, r: V) -> V;
}

/// r²
pub struct Squared;

impl Curve for Squared {
    #[inline(always)]
    fn value<S: Simd, V: SimdFloat<S>>(r: V) -> V {
        r * r
    }

    #[inline(always)]
    fn slope<S: Simd, V: SimdFloat<S>>(_: S, r: V) -> V {
        r + r
    }
}

/// |r|
pub struct Absolute;

impl Curve for Absolute {
    #[inline(always)]
    fn value<S: Simd, V: SimdFloat<S>>(r: V) -> V {
        r.abs()
    }

    #[inline(always)]
    fn slope<S: Simd, V: SimdFloat<S>>(simd: S, r: V) -> V {
        let zero = V::splat(simd, V::Element::default());
        let one = V::splat(simd, V::Element::from(1u8));
        // Of a NaN, the sign is the NaN itself.
        let sign = r.simd_gt(zero).select(one, r.simd_lt(zero).select(zero - one, zero));
        r.simd_eq(r).select(sign, r)
    }
}

/// Numbers are read in blocks of this many: both inputs, and what is done with them, stay in the first cache.
const BLOCK: usize = 1024;
/// A piece is this many numbers.
const GRAIN: usize = 64 * BLOCK;

/// A pointwise loss with its checked inputs.
pub struct Pointwise<'a, C, E> {
    /// Which curve.
    curve: PhantomData<C>,
    predictions: Sequences<'a, E>,
    targets: Vec<AnyRows<'a>>,
    /// The valid numbers of each sequence: its length times the numbers of a step.
    valid: Vec<usize>,
    factors: Factors<'a>,
}

/// What each number counts for.
pub struct Factors<'a> {
    /// Valid elements, for each sequence.
    pub mask: Option<Vec<PerNumber<MaskRows<'a>>>>,
    /// Weights, for each sequence.
    pub weights: Option<Vec<PerNumber<AnyRows<'a>>>>,
}

/// Rows of a mask: bytes, any but 0 is valid.
pub type MaskRows<'a> = crate::input::Rows<'a, u8>;

/// Something that is given for every number, or for every step of `width` numbers.
#[derive(Clone, Copy)]
pub struct PerNumber<R> {
    /// Where it is read.
    pub rows: R,
    /// How many numbers share one.
    pub width: usize,
}

/// What a thread keeps.
pub struct Scratch<F> {
    buffers: Buffers<F>,
    target: Vec<F>,
    weights: Weights<F>,
    /// The derivative of the result with respect to each term of a block.
    upstream: Vec<f64>,
    narrow: Vec<F>,
}

/// What the numbers of a block count for.
struct Weights<F> {
    weight: Vec<F>,
    keep: Vec<bool>,
}

impl<F: Float> Weights<F> {
    fn new() -> Result<Self, Error> {
        Ok(Self { weight: zeros(BLOCK)?, keep: zeros(BLOCK)? })
    }

    fn resize(&mut self, length: usize) {
        self.weight.resize(length, F::default());
        self.keep.resize(length, false);
    }

    /// Multiplies by the weights; what is masked becomes exactly 0.
    fn apply(&self, values: &mut [F]) {
        for ((value, weight), keep) in values.iter_mut().zip(&self.weight).zip(&self.keep) {
            *value = if *keep { *value * *weight } else { F::default() };
        }
    }
}

impl<'a, C: Curve, E: Element> Pointwise<'a, C, E> {
    /// Puts checked inputs together; `lengths` are in steps.
    pub fn new(
        predictions: Sequences<'a, E>,
        targets: Vec<AnyRows<'a>>,
        lengths: &[usize],
        factors: Factors<'a>,
    ) -> Self {
        let width = predictions.width;
        let valid = lengths.iter().map(|length| length * width).collect();
        Self { curve: PhantomData, predictions, targets, valid, factors }
    }

    fn is_weighed(&self) -> bool {
        self.factors.mask.is_some() || self.factors.weights.is_some()
    }

    /// What numbers `first..` of a sequence count for, as many as there is room for.
    fn weigh(&self, sequence: usize, first: usize, weights: &mut Weights<E::Float>, scratch: &mut [E::Float]) {
        let Weights { weight, keep } = weights;
        match &self.factors.weights {
            None => weight.fill(E::Float::from_f64(1.0)),
            Some(all) => {
                let PerNumber { rows, width } = all[sequence];
                let steps = first / width..(first + weight.len()).div_ceil(width);
                let values = rows.block(steps.clone(), scratch);
                spread(first, weight.len(), width, |step, numbers| weight[numbers].fill(values[step - steps.start]));
            }
        }
        match &self.factors.mask {
            None => keep.fill(true),
            Some(all) => {
                let PerNumber { rows, width } = all[sequence];
                spread(first, keep.len(), width, |step, numbers| {
                    keep[numbers].fill(rows.row(step / rows.width())[step % rows.width()] != 0);
                });
            }
        }
    }
}

/// Calls `each` for every step that numbers `first..first + count` belong to, with those numbers, counted from `first`.
fn spread(first: usize, count: usize, width: usize, mut each: impl FnMut(usize, Range<usize>)) {
    let mut done = 0;
    while done < count {
        let step = (first + done) / width;
        let end = count.min((step + 1) * width - first);
        each(step, done..end);
        done = end;
    }
}

impl<C: Curve, E: Element> Loss for Pointwise<'_, C, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.predictions
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        Ok(Scratch {
            buffers: Buffers::new(BLOCK)?,
            target: zeros(BLOCK)?,
            weights: Weights::new()?,
            upstream: zeros(BLOCK)?,
            narrow: zeros(BLOCK)?,
        })
    }

    fn terms(&self, sequence: usize) -> usize {
        self.valid[sequence]
    }

    fn grain(&self) -> usize {
        GRAIN
    }

    fn stretch(&self, _: usize) -> usize {
        1
    }

    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure {
        let valid = self.valid[sequence];
        if !self.is_weighed() {
            weight.add(valid as f64);
            return Measure::of(valid);
        }
        let mut weights = Weights { weight: vec![E::Float::default(); BLOCK], keep: vec![false; BLOCK] };
        let mut scratch = [E::Float::default(); BLOCK];
        let mut count = 0;
        for first in (0..valid).step_by(BLOCK) {
            weights.resize(BLOCK.min(valid - first));
            self.weigh(sequence, first, &mut weights, &mut scratch);
            count += weights.keep.iter().filter(|keep| **keep).count();
            let kept = weights.weight.iter().zip(&weights.keep).filter(|(_, keep)| **keep);
            weight.add(kept.map(|(weight, _)| weight.to_f64()).sum());
        }
        Measure::of(count)
    }

    fn cost(&self, sequence: usize) -> usize {
        1 + self.valid[sequence]
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { buffers, target, weights, upstream, narrow } = scratch;
        let (sequence, start, end) = (piece.sequence, piece.terms.start, piece.terms.end);
        for first in (start..end).step_by(BLOCK) {
            let block = first..end.min(first + BLOCK);
            let local = first - start..block.end - start;
            ticker.tick(block.len())?;
            let weights = if self.is_weighed() {
                weights.resize(block.len());
                self.weigh(sequence, first, weights, narrow);
                Some(&*weights)
            } else {
                None
            };
            let target = self.targets[sequence].block(block.clone(), target);
            let mut sum = None;
            let values = piece.values.as_mut().map(|values| &mut values[local.clone()]);
            piece.strip.read_block(block.clone(), start, buffers, |prediction| match values {
                Some(values) => terms::<C, _>(prediction, target, weights, values),
                None => sum = Some(sum_of_terms::<C, _>(prediction, target, weights)),
            });
            if let Some(sum) = sum {
                piece.add(sum);
            }
            if piece.wants_gradient() {
                // The block is read again, from the first cache.
                for (narrow, factor) in narrow.iter_mut().zip(piece.factors(local, upstream)) {
                    *narrow = E::Float::from_f64(*factor);
                }
                piece.strip.read_and_write_block(block, start, buffers, |prediction, out| {
                    dispatch!(level(), simd => slopes_in::<C, _, _>(simd, prediction, target, narrow, out));
                    if let Some(weights) = weights {
                        weights.apply(out);
                    }
                });
            }
        }
        Ok(())
    }
}

/// Σ weight ℓ(prediction − target) over a block.
fn sum_of_terms<C: Curve, F: Float>(prediction: &[F], target: &[F], weights: Option<&Weights<F>>) -> f64 {
    if weights.is_none() {
        return dispatch!(level(), simd => sum_in::<C, _, _>(simd, prediction, target));
    }
    let mut values = [F::default(); BLOCK];
    let values = &mut values[..prediction.len()];
    terms::<C, _>(prediction, target, weights, values);
    dispatch!(level(), simd => plain_sum_in(simd, values))
}

/// weight ℓ(prediction − target), and exactly 0 where it is masked.
fn terms<C: Curve, F: Float>(prediction: &[F], target: &[F], weights: Option<&Weights<F>>, values: &mut [F]) {
    dispatch!(level(), simd => values_in::<C, _, _>(simd, prediction, target, values));
    if let Some(weights) = weights {
        weights.apply(values);
    }
}

#[inline(always)]
fn sum_in<C: Curve, T: Lanes, S: Simd>(simd: S, prediction: &[T], target: &[T]) -> f64 {
    // Two chains of sums hide the latency of the additions.
    let mut sums = [T::zero(simd); 2];
    let mut odd = 0;
    let mut predictions = prediction.chunks_exact(T::LANES);
    let mut targets = target.chunks_exact(T::LANES);
    for (p, t) in (&mut predictions).zip(&mut targets) {
        let r = T::Vector::<S>::from_slice(simd, p) - T::Vector::<S>::from_slice(simd, t);
        sums[odd] = T::accumulate(sums[odd], C::value(r));
        odd ^= 1;
    }
    if !predictions.remainder().is_empty() {
        // The rest of the vector is 0 − 0, and every curve is 0 there.
        let zero = T::default();
        let r = tail::<T, S>(simd, predictions.remainder(), zero) - tail::<T, S>(simd, targets.remainder(), zero);
        sums[odd] = T::accumulate(sums[odd], C::value(r));
    }
    T::fold(sums[0]) + T::fold(sums[1])
}

#[inline(always)]
fn plain_sum_in<T: Lanes, S: Simd>(simd: S, values: &[T]) -> f64 {
    let mut sum = T::zero(simd);
    let mut chunks = values.chunks_exact(T::LANES);
    for chunk in &mut chunks {
        sum = T::accumulate(sum, T::Vector::<S>::from_slice(simd, chunk));
    }
    if !chunks.remainder().is_empty() {
        sum = T::accumulate(sum, tail::<T, S>(simd, chunks.remainder(), T::default()));
    }
    T::fold(sum)
}

#[inline(always)]
fn values_in<C: Curve, T: Lanes, S: Simd>(simd: S, prediction: &[T], target: &[T], out: &mut [T]) {
    for ((p, t), out) in prediction.chunks(T::LANES).zip(target.chunks(T::LANES)).zip(out.chunks_mut(T::LANES)) {
        let r = tail::<T, S>(simd, p, T::default()) - tail::<T, S>(simd, t, T::default());
        out.copy_from_slice(&C::value(r).as_slice()[..out.len()]);
    }
}

#[inline(always)]
fn slopes_in<C: Curve, T: Lanes, S: Simd>(simd: S, prediction: &[T], target: &[T], factor: &[T], out: &mut [T]) {
    let inputs = prediction.chunks(T::LANES).zip(target.chunks(T::LANES)).zip(factor.chunks(T::LANES));
    for (((p, t), f), out) in inputs.zip(out.chunks_mut(T::LANES)) {
        let zero = T::default();
        let r = tail::<T, S>(simd, p, zero) - tail::<T, S>(simd, t, zero);
        let slope = C::slope(simd, r) * tail::<T, S>(simd, &f[..p.len()], zero);
        out.copy_from_slice(&slope.as_slice()[..out.len()]);
    }
}
