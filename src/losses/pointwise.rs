//! Losses of single numbers: a curve ℓ of the prediction p and the target t, times a weight w.
//!
//! L = Σ w ℓ(p, t)          ∂L/∂p = w ∂ℓ/∂p
//!
//! The curves are in [`curves`](super::curves). What is masked, or has the weight 0, has no term and is never looked at.
//! Weights are float64, whatever the numbers are: their range is that of the caller's.
//!
//! Numbers are read in blocks that stay in the first cache; the terms of a block are added in float64 lanes, and the sums
//! of blocks exactly.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};
use half::{bf16, f16};

use super::curves::{Curve, Point, Refusal, Smooth};
use crate::error::{Error, subscript};
use crate::exact::Exact;
use crate::float::{Element, Float, Half};
use crate::input::{AnyRows, Rows, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece, Worker};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::{Lanes, level, rows};

/// What a loss asks of a curve, block by block: there is one loss for all of them.
pub trait Kernel<F>: Send + Sync {
    /// [`Curve::HAS_OTHER`]
    fn has_other(&self) -> bool;
    /// [`Curve::REFUSES`]
    fn refuses(&self) -> Option<Refusal>;
    /// Σ ℓ
    fn sum(&self, block: Block<'_, F>) -> f64;
    /// The same of numbers of 16 bits, where they can be widened as they are read, and need not be before.
    fn sum_of_halves(&self, block: HalfBlock<'_>) -> Option<f64> {
        let _ = block;
        None
    }
    /// ℓ of each number
    fn values(&self, block: Block<'_, F>, out: &mut [F]);
    /// ∂ℓ/∂prediction of each number, times its factor
    fn slopes(&self, block: Block<'_, F>, factors: &[F], out: &mut [F]);
}

/// A curve that is computed in the type of the numbers.
#[derive(Debug, Clone, Copy)]
pub struct Direct<C>(pub C);

impl<C: Curve, F: Float> Kernel<F> for Direct<C> {
    fn has_other(&self) -> bool {
        C::HAS_OTHER
    }

    fn refuses(&self) -> Option<Refusal> {
        C::REFUSES
    }

    fn sum(&self, block: Block<'_, F>) -> f64 {
        dispatch!(level(), simd => sum_in(simd, self.0, block))
    }

    fn sum_of_halves(&self, block: HalfBlock<'_>) -> Option<f64> {
        Some(match block {
            HalfBlock::F16(block) => dispatch!(level(), simd => sum_in(simd, self.0, block)),
            HalfBlock::Bf16(block) => dispatch!(level(), simd => sum_in(simd, self.0, block)),
        })
    }

    fn values(&self, block: Block<'_, F>, out: &mut [F]) {
        dispatch!(level(), simd => values_in(simd, self.0, block, out));
    }

    fn slopes(&self, block: Block<'_, F>, factors: &[F], out: &mut [F]) {
        dispatch!(level(), simd => slopes_in(simd, self.0, block, factors, out));
    }
}

/// A curve of numbers of either width.
pub trait AnyCurve: Kernel<f32> + Kernel<f64> {}

impl<K: Kernel<f32> + Kernel<f64>> AnyCurve for K {}

/// A curve that is computed in float64, whatever the numbers are: a part of a block at a time, in the first cache.
#[derive(Debug, Clone, Copy)]
pub struct InDouble<C>(pub C);

/// How many numbers are widened at a time.
const PART: usize = 128;

impl<C: Smooth> InDouble<C> {
    /// Gives every part of a block, with its values or slopes.
    fn each_part<F: Float>(self, block: Block<'_, F>, is_slope: bool, mut take: impl FnMut(Range<usize>, &[f64])) {
        let (mut prediction, mut target, mut other, mut out) = ([0.0; PART], [0.0; PART], [0.0; PART], [0.0; PART]);
        let length = block.prediction.len();
        for first in (0..length).step_by(PART) {
            let part = first..length.min(first + PART);
            widen(&block.prediction[part.clone()], &mut prediction);
            widen(&block.target[part.clone()], &mut target);
            if C::HAS_OTHER {
                widen(&block.other[part.clone()], &mut other);
            }
            // What lies behind the numbers of the last part is computed too, and not looked at.
            let vectors = part.len().div_ceil(8);
            let wide = Block { prediction: &prediction[..8 * vectors], target: &target, other: &other };
            self.part(wide, is_slope, &mut out);
            take(part.clone(), &out[..part.len()]);
        }
    }

    /// Values or slopes of a part. Compiled once for all that is asked of a curve, of numbers of either width.
    #[inline(never)]
    fn part(self, block: Block<'_, f64>, is_slope: bool, out: &mut [f64]) {
        dispatch!(level(), simd => smooth_in(simd, self.0, block, is_slope, out));
    }
}

fn widen<F: Float>(numbers: &[F], wide: &mut [f64]) {
    for (wide, number) in wide.iter_mut().zip(numbers) {
        *wide = number.to_f64();
    }
}

#[inline(always)]
fn smooth_in<C: Smooth, S: Simd>(simd: S, curve: C, block: Block<'_, f64>, is_slope: bool, out: &mut [f64]) {
    let numbers = block.prediction.chunks_exact(8).zip(block.target.chunks_exact(8)).zip(block.other.chunks_exact(8));
    for (((prediction, target), other), out) in numbers.zip(out.chunks_exact_mut(8)) {
        let load = |numbers: &[f64]| f64x8::from_slice(simd, numbers);
        let at = Point { prediction: load(prediction), target: load(target), other: load(other) };
        let result = if is_slope { curve.slope(simd, at) } else { curve.value(simd, at) };
        result.store_slice(out);
    }
}

impl<C: Smooth, F: Float> Kernel<F> for InDouble<C> {
    fn has_other(&self) -> bool {
        C::HAS_OTHER
    }

    fn refuses(&self) -> Option<Refusal> {
        C::REFUSES
    }

    fn sum(&self, block: Block<'_, F>) -> f64 {
        let mut sum = 0.0;
        self.each_part(block, false, |_, values| sum += rows::sum(values));
        sum
    }

    fn values(&self, block: Block<'_, F>, out: &mut [F]) {
        self.each_part(block, false, |part, values| {
            for (out, value) in out[part].iter_mut().zip(values) {
                *out = F::from_f64(*value);
            }
        });
    }

    fn slopes(&self, block: Block<'_, F>, factors: &[F], out: &mut [F]) {
        self.each_part(block, true, |part, slopes| {
            for ((out, slope), factor) in out[part.clone()].iter_mut().zip(slopes).zip(&factors[part]) {
                *out = F::from_f64(*slope * factor.to_f64());
            }
        });
    }
}

/// Numbers are read in blocks of this many: all inputs, and what is done with them, stay in the first cache.
const BLOCK: usize = 1024;
/// A piece is this many numbers.
const GRAIN: usize = 64 * BLOCK;

/// A pointwise loss with its checked inputs.
pub struct Pointwise<'a, E: Element> {
    curve: &'a dyn Kernel<E::Float>,
    predictions: Sequences<'a, E>,
    targets: Vec<PerNumber<AnyRows<'a>>>,
    other: Option<Other<'a>>,
    /// The valid numbers of each sequence: its length times the numbers of a step.
    valid: Vec<usize>,
    factors: Factors<'a>,
    longest: usize,
}

/// The third number of every term.
pub enum Other<'a> {
    /// One for each number.
    Numbers(Vec<AnyRows<'a>>),
    /// One for each column of a step.
    Columns(Vec<f64>),
}

/// What each number counts for.
pub struct Factors<'a> {
    /// Valid elements, for each sequence.
    pub mask: Option<Vec<PerNumber<MaskRows<'a>>>>,
    /// Weights, for each sequence.
    pub weights: Option<Vec<PerNumber<AnyRows<'a>>>>,
    /// Whether terms with a NaN in them are not valid.
    pub omits_nan: bool,
}

/// Rows of a mask: bytes, any but 0 is valid.
pub type MaskRows<'a> = Rows<'a, u8>;

/// Something that is given for every number, or for every step of `width` numbers.
#[derive(Debug, Clone, Copy)]
pub struct PerNumber<R> {
    /// Where it is read.
    pub rows: R,
    /// How many numbers share one.
    pub width: usize,
}

impl PerNumber<AnyRows<'_>> {
    /// What belongs to the numbers of a block.
    fn block<'s, F: Float>(&'s self, block: Range<usize>, narrow: &'s mut [F], spread: &'s mut [F]) -> &'s [F] {
        if self.width == 1 {
            return self.rows.block(block, narrow);
        }
        let values = self.rows.block(self.steps(&block), narrow);
        let spread = &mut spread[..block.len()];
        lay_out(values, block.start % self.width, self.width, spread, |value| value);
        spread
    }
}

impl<R> PerNumber<R> {
    /// The steps that the numbers of a block belong to.
    fn steps(&self, block: &Range<usize>) -> Range<usize> {
        block.start / self.width..block.end.div_ceil(self.width)
    }
}

/// Writes the value of each step for all of its numbers; of the first step, `done` numbers lie before.
#[inline(always)]
fn lay_out<G: Copy, F: Copy>(values: &[G], done: usize, width: usize, out: &mut [F], convert: impl Fn(G) -> F) {
    let (first, rest) = out.split_at_mut((width - done).min(out.len()));
    first.fill(convert(values[0]));
    for (out, value) in rest.chunks_mut(width).zip(&values[1..]) {
        out.fill(convert(*value));
    }
}

/// What a thread keeps.
struct Scratch<F> {
    buffers: Buffers<F>,
    inputs: Inputs<F>,
    weights: Weights,
    /// The terms of a block before they are weighed, and after.
    terms: Vec<F>,
    weighed: Vec<f64>,
    /// The derivative of the result with respect to each term of a block, and the same as it is computed with.
    upstream: Vec<f64>,
    factors: Vec<F>,
}

/// Where numbers go that cannot be read where they lie.
struct Inputs<F> {
    narrow: Vec<F>,
    target: Vec<F>,
    other: Vec<F>,
}

/// Where it is put together what the numbers of a block count for.
struct Weights {
    narrow: Vec<f64>,
    spread: Vec<f64>,
    bytes: Vec<u8>,
    weight: Vec<f64>,
}

/// The numbers of a block, of each argument as many.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a, F> {
    /// The first argument.
    pub prediction: &'a [F],
    /// The second.
    pub target: &'a [F],
    /// The third; empty where there is none.
    pub other: &'a [F],
}

/// The same where they are narrower than what is computed with: all of one kind.
#[derive(Debug, Clone, Copy)]
pub enum HalfBlock<'a> {
    /// float16
    F16(Block<'a, f16>),
    /// bfloat16
    Bf16(Block<'a, bf16>),
}

impl Weights {
    fn new(room: usize) -> Result<Self, Error> {
        Ok(Self { narrow: zeros(room)?, spread: zeros(room)?, bytes: zeros(room)?, weight: zeros(room)? })
    }
}

impl<'a, E: Element> Pointwise<'a, E> {
    /// Puts checked inputs together; `lengths` are in steps. Where NaN is omitted, `predictions` must not be read in place:
    /// they are read once more, to see what is valid.
    pub fn new(
        curve: &'a dyn Kernel<E::Float>,
        predictions: Sequences<'a, E>,
        targets: Vec<PerNumber<AnyRows<'a>>>,
        other: Option<Other<'a>>,
        lengths: &[usize],
        factors: Factors<'a>,
    ) -> Self {
        assert!(!(factors.omits_nan && predictions.in_place), "what is written over cannot be read twice");
        assert_eq!(curve.has_other(), other.is_some(), "a third number for every curve that has one");
        let width = predictions.width;
        let valid: Vec<usize> = lengths.iter().map(|length| length * width).collect();
        let longest = valid.iter().copied().max().unwrap_or(0);
        let other = other.map(|other| match other {
            // Repeated, so that a block may begin at any column.
            Other::Columns(columns) => {
                Other::Columns(columns.iter().copied().cycle().take(columns.len() + BLOCK).collect())
            }
            numbers @ Other::Numbers(_) => numbers,
        });
        Self { curve, predictions, targets, other, valid, factors, longest }
    }

    fn is_weighed(&self) -> bool {
        self.factors.mask.is_some() || self.factors.weights.is_some() || self.factors.omits_nan
    }

    /// How many numbers a block has at most.
    fn room(&self) -> usize {
        self.longest.min(BLOCK)
    }

    fn inputs(&self) -> Result<Inputs<E::Float>, Error> {
        let room = self.room();
        let other = if self.other.is_some() { room } else { 0 };
        Ok(Inputs { narrow: zeros(room)?, target: zeros(room)?, other: zeros(other)? })
    }

    /// The numbers of a block where those of both arguments have 16 bits and lie one after another, and where the sum is
    /// all that is asked of them.
    fn halves(&self, sequence: usize, block: &Range<usize>) -> Option<HalfBlock<'_>> {
        let PerNumber { rows: targets, width } = &self.targets[sequence];
        if self.is_weighed() || self.other.is_some() || self.curve.refuses().is_some() || *width > 1 {
            return None;
        }
        // Numbers that are read in place may be written over, and belong to the strip of their piece.
        let predictions = (!self.predictions.in_place).then_some(&self.predictions.rows[sequence])?;
        match (E::half(predictions.contiguous(block.clone())?)?, targets) {
            (Half::F16(prediction), AnyRows::F16(targets)) => {
                Some(HalfBlock::F16(Block { prediction, target: targets.contiguous(block.clone())?, other: &[] }))
            }
            (Half::Bf16(prediction), AnyRows::Bf16(targets)) => {
                Some(HalfBlock::Bf16(Block { prediction, target: targets.contiguous(block.clone())?, other: &[] }))
            }
            _ => None,
        }
    }

    /// Target and third number of a block.
    fn others<'s>(
        &'s self,
        sequence: usize,
        block: &Range<usize>,
        inputs: &'s mut Inputs<E::Float>,
    ) -> (&'s [E::Float], &'s [E::Float]) {
        let Inputs { narrow, target, other } = inputs;
        let target = self.targets[sequence].block(block.clone(), narrow, target);
        let other = match &self.other {
            None => &[][..],
            Some(Other::Numbers(rows)) => rows[sequence].block(block.clone(), other),
            Some(Other::Columns(columns)) => {
                let first = block.start % self.predictions.width;
                let other = &mut other[..block.len()];
                for (other, column) in other.iter_mut().zip(&columns[first..]) {
                    *other = E::Float::from_f64(*column);
                }
                other
            }
        };
        (target, other)
    }

    /// What the numbers of a block count for; 0 where they are not valid.
    fn weigh<'s>(
        &'s self,
        sequence: usize,
        range: &Range<usize>,
        block: Block<'_, E::Float>,
        weights: &'s mut Weights,
    ) -> &'s [f64] {
        let Weights { narrow, spread, bytes, weight } = weights;
        let given = self.factors.weights.as_ref().map(|all| all[sequence].block(range.clone(), narrow, spread));
        if let (Some(given), None, false) = (given, &self.factors.mask, self.factors.omits_nan) {
            return given;
        }
        let weight = &mut weight[..range.len()];
        match &self.factors.mask {
            None => weight.fill(1.0),
            Some(all) => {
                let mask = &all[sequence];
                let bytes = bytes_of(&mask.rows, mask.steps(range), bytes);
                dispatch!(level(), simd => keep_in(simd, bytes, range.start % mask.width, mask.width, weight));
            }
        }
        if self.factors.omits_nan {
            for numbers in [block.prediction, block.target, block.other] {
                dispatch!(level(), simd => omit_nan_in(simd, numbers, weight));
            }
        }
        if let Some(given) = given {
            dispatch!(level(), simd => weigh_in(simd, given, weight));
        }
        weight
    }

    /// A valid number that the curve refuses.
    #[cold]
    fn refusal(&self, refusal: Refusal, sequence: usize, number: usize, value: f64) -> Error {
        let structure = &self.predictions.structure;
        let width = self.predictions.width;
        let mut index = structure.index(sequence, Some(number / width));
        if !self.predictions.inner().is_empty() {
            index.push(number % width);
        }
        let argument = match structure.ragged {
            true => subscript(refusal.argument, &index[..1]) + &subscript("", &index[1..]),
            false => subscript(refusal.argument, &index),
        };
        Error::Value(format!("{argument} is {value}, expected at least 0"))
    }

    fn check(
        &self,
        refusal: Refusal,
        sequence: usize,
        first: usize,
        block: Block<'_, E::Float>,
        weights: Option<&[f64]>,
    ) -> Result<(), Error> {
        let numbers = if refusal.is_other { block.other } else { block.prediction };
        let zero = E::Float::default();
        let refused = |&index: &usize| numbers[index] < zero && weights.is_none_or(|weights| weights[index] != 0.0);
        match (0..numbers.len()).find(refused) {
            None => Ok(()),
            Some(index) => Err(self.refusal(refusal, sequence, first + index, numbers[index].to_f64())),
        }
    }
}

/// Bytes `range` of all rows put one after another.
fn bytes_of<'s>(rows: &MaskRows<'s>, range: Range<usize>, scratch: &'s mut [u8]) -> &'s [u8] {
    if let Some(bytes) = rows.contiguous(range.clone()) {
        return bytes;
    }
    let scratch = &mut scratch[..range.len()];
    let mut at = range.start;
    while at < range.end {
        let column = at % rows.width();
        let count = (rows.width() - column).min(range.end - at);
        let into = at - range.start;
        scratch[into..into + count].copy_from_slice(&rows.row(at / rows.width())[column..column + count]);
        at += count;
    }
    scratch
}

#[inline(always)]
fn keep_in<S: Simd>(_: S, bytes: &[u8], done: usize, width: usize, keep: &mut [f64]) {
    let convert = |byte: u8| if byte == 0 { 0.0 } else { 1.0 };
    if width == 1 {
        for (keep, &byte) in keep.iter_mut().zip(bytes) {
            *keep = convert(byte);
        }
    } else {
        lay_out(bytes, done, width, keep, convert);
    }
}

/// How many bytes are not 0.
#[inline(always)]
fn count_in<S: Simd>(_: S, bytes: &[u8]) -> usize {
    bytes.iter().map(|&byte| u32::from(byte != 0)).sum::<u32>() as usize
}

#[inline(always)]
fn omit_nan_in<F: Float, S: Simd>(_: S, numbers: &[F], keep: &mut [f64]) {
    for (keep, number) in keep.iter_mut().zip(numbers) {
        *keep = if number.exact().is_nan() { 0.0 } else { *keep };
    }
}

/// Puts the given weights where numbers are valid.
#[inline(always)]
fn weigh_in<S: Simd>(_: S, given: &[f64], keep: &mut [f64]) {
    for (keep, given) in keep.iter_mut().zip(given) {
        *keep = if *keep == 0.0 { 0.0 } else { *given };
    }
}

impl<E: Element> Loss<E> for Pointwise<'_, E> {
    fn sequences(&self) -> &Sequences<'_, E> {
        &self.predictions
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
        let memory = "a block of memory";
        if let (Some(mask), None, false) = (&self.factors.mask, &self.factors.weights, self.factors.omits_nan) {
            let PerNumber { rows, width } = mask[sequence];
            let mut scratch: Vec<u8> = zeros(self.room()).expect(memory);
            let steps = valid.checked_div(width).unwrap_or(0);
            let counts = (0..steps).step_by(BLOCK).map(|first| {
                let bytes = bytes_of(&rows, first..steps.min(first + BLOCK), &mut scratch);
                dispatch!(level(), simd => count_in(simd, bytes))
            });
            let count = width * counts.sum::<usize>();
            weight.add(count as f64);
            return Measure::of(count);
        }
        let mut inputs = self.inputs().expect(memory);
        let mut weights = Weights::new(self.room()).expect(memory);
        let mut own: Vec<E::Float> = zeros(self.room()).expect(memory);
        let mut count = 0;
        for first in (0..valid).step_by(BLOCK) {
            let range = first..valid.min(first + BLOCK);
            let nothing = Block { prediction: &[], target: &[], other: &[] };
            let block = if self.factors.omits_nan {
                let (target, other) = self.others(sequence, &range, &mut inputs);
                Block { prediction: self.predictions.rows[sequence].block(range.clone(), &mut own), target, other }
            } else {
                nothing
            };
            let weights = self.weigh(sequence, &range, block, &mut weights);
            count += weights.iter().filter(|&&weight| weight != 0.0).count();
            weight.add(dispatch!(level(), simd => rows::sum_in(simd, weights)));
        }
        Measure::of(count)
    }

    fn cost(&self, sequence: usize) -> usize {
        1 + self.valid[sequence]
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> Pointwise<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        let room = self.room();
        Ok(Scratch {
            buffers: Buffers::new(room)?,
            inputs: self.inputs()?,
            weights: Weights::new(if self.is_weighed() { room } else { 0 })?,
            terms: zeros(if self.is_weighed() { room } else { 0 })?,
            weighed: zeros(if self.is_weighed() { room } else { 0 })?,
            upstream: zeros(room)?,
            factors: zeros(room)?,
        })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { buffers, inputs, weights, terms: unweighed, weighed: products, upstream, factors } = scratch;
        let (sequence, start, end) = (piece.sequence, piece.terms.start, piece.terms.end);
        // The factors on terms with weights are float64 as the weights are, and come when the slopes are there.
        let factor = if self.is_weighed() { Some(1.0) } else { piece.factor() };
        if let Some(factor) = factor {
            factors.fill(E::Float::from_f64(factor));
        }
        for first in (start..end).step_by(BLOCK) {
            let range = first..end.min(first + BLOCK);
            let local = first - start..range.end - start;
            ticker.tick(range.len())?;
            let halves = if piece.values.is_none() { self.halves(sequence, &range) } else { None };
            let sum_of_halves = halves.and_then(|block| self.curve.sum_of_halves(block));
            if let Some(sum) = sum_of_halves {
                piece.add(sum);
                if !piece.wants_gradient() {
                    continue;
                }
            }
            let (target, other) = self.others(sequence, &range, inputs);
            let weighed = if sum_of_halves.is_some() {
                None
            } else {
                let mut sum = None;
                let values = piece.values.as_mut().map(|values| &mut values[local.clone()]);
                let weighed = piece.strip.read_block(range.clone(), start, buffers, |prediction| {
                    let block = Block { prediction, target, other };
                    let weighed = self.is_weighed().then(|| self.weigh(sequence, &range, block, weights));
                    if let Some(refusal) = self.curve.refuses() {
                        self.check(refusal, sequence, first, block, weighed)?;
                    }
                    match values {
                        Some(values) => terms(self.curve, block, weighed, values),
                        None => sum = Some(sum_of_terms(self.curve, block, weighed, unweighed, products)),
                    }
                    Ok(weighed)
                })?;
                if let Some(sum) = sum {
                    piece.add(sum);
                }
                weighed
            };
            if piece.wants_gradient() {
                // The block is read again, from the first cache.
                let upstream = match weighed.is_some() || factor.is_none() {
                    true => piece.factors(local, upstream),
                    false => &[],
                };
                if factor.is_none() {
                    for (narrow, factor) in factors.iter_mut().zip(upstream) {
                        *narrow = E::Float::from_f64(*factor);
                    }
                }
                piece.strip.read_and_write_block(range, start, buffers, |prediction, out| {
                    let block = Block { prediction, target, other };
                    self.curve.slopes(block, factors, out);
                    if let Some(weights) = weighed {
                        dispatch!(level(), simd => scale_in(simd, weights, upstream, out));
                    }
                });
            }
        }
        Ok(())
    }
}

/// Σ weight ℓ over a block.
fn sum_of_terms<F: Float>(
    curve: &dyn Kernel<F>,
    block: Block<'_, F>,
    weights: Option<&[f64]>,
    unweighed: &mut [F],
    products: &mut [f64],
) -> f64 {
    let Some(weights) = weights else { return curve.sum(block) };
    let count = block.prediction.len();
    let (values, products) = (&mut unweighed[..count], &mut products[..count]);
    curve.values(block, values);
    dispatch!(level(), simd => weighed_sum_in(simd, weights, values, products))
}

/// weight ℓ, and exactly 0 where the weight is 0.
fn terms<F: Float>(curve: &dyn Kernel<F>, block: Block<'_, F>, weights: Option<&[f64]>, values: &mut [F]) {
    curve.values(block, values);
    if let Some(weights) = weights {
        dispatch!(level(), simd => apply_in(simd, weights, values));
    }
}

/// A value times its weight, or what belongs to no valid number: exactly 0, whatever the value is.
#[inline(always)]
fn weighed<F: Float>(weight: f64, value: F) -> f64 {
    if weight == 0.0 { 0.0 } else { value.exact() * weight }
}

#[inline(always)]
fn apply_in<F: Float, S: Simd>(_: S, weights: &[f64], values: &mut [F]) {
    for (value, weight) in values.iter_mut().zip(weights) {
        *value = F::rounded(weighed(*weight, *value));
    }
}

/// The same for slopes, with one factor more for each.
#[inline(always)]
fn scale_in<F: Float, S: Simd>(_: S, weights: &[f64], factors: &[f64], slopes: &mut [F]) {
    for ((slope, weight), factor) in slopes.iter_mut().zip(weights).zip(factors) {
        *slope = F::rounded(if *weight == 0.0 { 0.0 } else { slope.exact() * (*factor * *weight) });
    }
}

#[inline(always)]
fn weighed_sum_in<F: Float, S: Simd>(simd: S, weights: &[f64], values: &[F], products: &mut [f64]) -> f64 {
    for ((product, value), weight) in products.iter_mut().zip(values).zip(weights) {
        *product = weighed(*weight, *value);
    }
    rows::sum_in(simd, products)
}

impl<E: Element> Block<'_, E> {
    /// A vector of terms from number `first` on.
    #[inline(always)]
    fn at<C: Curve, S: Simd>(&self, simd: S, _: C, first: usize) -> Point<<E::Float as Lanes>::Vector<S>> {
        // No closure: one that is not inlined is compiled for the baseline set, with a call for each operation.
        let lanes = first..first + E::Float::LANES;
        let prediction = E::load(simd, &self.prediction[lanes.clone()]);
        let target = E::load(simd, &self.target[lanes.clone()]);
        let other = if C::HAS_OTHER { E::load(simd, &self.other[lanes]) } else { prediction };
        Point { prediction, target, other }
    }

    /// The terms of a block that is shorter than a vector; what fills it up is 0.
    #[inline(always)]
    fn short<C: Curve, S: Simd>(&self, simd: S, _: C) -> Point<<E::Float as Lanes>::Vector<S>> {
        let (prediction, target) = (short(simd, self.prediction), short(simd, self.target));
        let other = if C::HAS_OTHER { short(simd, self.other) } else { prediction };
        Point { prediction, target, other }
    }
}

/// A vector of fewer numbers than it has lanes, filled up with 0.
#[inline(always)]
fn short<E: Element, S: Simd>(simd: S, numbers: &[E]) -> <E::Float as Lanes>::Vector<S> {
    let mut lanes = [E::default(); 16];
    for (lane, number) in lanes.iter_mut().zip(numbers) {
        *lane = *number;
    }
    E::load(simd, &lanes[..E::Float::LANES])
}

#[inline(always)]
fn sum_in<C: Curve, T: Float, E: Element<Float = T>, S: Simd>(simd: S, curve: C, block: Block<'_, E>) -> f64 {
    let length = block.prediction.len();
    let zero = T::Vector::<S>::splat(simd, T::default());
    // Two chains of sums hide the latency of the additions.
    let (mut even, mut odd) = (T::zero(simd), T::zero(simd));
    let mut first = 0;
    while first + 2 * T::LANES <= length {
        even = T::accumulate(even, curve.value::<T, S>(simd, block.at(simd, curve, first)));
        odd = T::accumulate(odd, curve.value::<T, S>(simd, block.at(simd, curve, first + T::LANES)));
        first += 2 * T::LANES;
    }
    if first + T::LANES <= length {
        even = T::accumulate(even, curve.value::<T, S>(simd, block.at(simd, curve, first)));
        first += T::LANES;
    }
    let rest = length - first;
    if rest > 0 {
        // What fills the last vector up counts nothing: lanes that were read before, or zeros.
        let (point, steps, is_short) = match length < T::LANES {
            true => (block.short(simd, curve), &T::STEPS[T::LANES - rest..][..T::LANES], true),
            false => (block.at(simd, curve, length - T::LANES), &T::STEPS[rest..][..T::LANES], false),
        };
        let value = curve.value::<T, S>(simd, point);
        let is_late = T::Vector::<S>::from_slice(simd, steps).simd_gt(zero);
        let value = if is_short { is_late.select(zero, value) } else { is_late.select(value, zero) };
        odd = T::accumulate(odd, value);
    }
    T::fold(even) + T::fold(odd)
}

#[inline(always)]
fn values_in<C: Curve, T: Float, S: Simd>(simd: S, curve: C, block: Block<'_, T>, out: &mut [T]) {
    if out.len() < T::LANES {
        let value = curve.value::<T, S>(simd, block.short(simd, curve));
        out.copy_from_slice(&value.as_slice()[..out.len()]);
        return;
    }
    for first in starts::<T>(out.len()) {
        let value = curve.value::<T, S>(simd, block.at(simd, curve, first));
        value.store_slice(&mut out[first..first + T::LANES]);
    }
}

#[inline(always)]
fn slopes_in<C: Curve, T: Float, S: Simd>(simd: S, curve: C, block: Block<'_, T>, factors: &[T], out: &mut [T]) {
    if out.len() < T::LANES {
        let slope = curve.slope::<T, S>(simd, block.short(simd, curve)) * short(simd, &factors[..out.len()]);
        out.copy_from_slice(&slope.as_slice()[..out.len()]);
        return;
    }
    for first in starts::<T>(out.len()) {
        let factor = T::Vector::<S>::from_slice(simd, &factors[first..first + T::LANES]);
        let slope = curve.slope::<T, S>(simd, block.at(simd, curve, first)) * factor;
        slope.store_slice(&mut out[first..first + T::LANES]);
    }
}

/// Where vectors begin; the last one ends with the block, and what it shares with the one before is written twice.
#[inline(always)]
fn starts<T: Lanes>(length: usize) -> impl Iterator<Item = usize> {
    let whole = length / T::LANES;
    (0..whole).map(|vector| vector * T::LANES).chain((!length.is_multiple_of(T::LANES)).then(|| length - T::LANES))
}

#[cfg(test)]
mod tests {
    use super::super::curves::{Absolute, Huber, Squared};
    use super::*;

    /// That numbers which are widened as they are read give the bits of those that were widened before.
    fn check<'a, E: Element<Float = f32>>(numbers: &'a [E], half: impl Fn(Block<'a, E>) -> HalfBlock<'a>) {
        let mut wide = vec![0.0f32; numbers.len()];
        E::view(numbers, &mut wide);
        let kernels: [&dyn Kernel<f32>; 3] = [&Direct(Squared), &Direct(Absolute), &Direct(Huber { delta: 1.0 })];
        for length in (1..70).chain([BLOCK - 1, BLOCK]) {
            let block = Block { prediction: &wide[..length], target: &wide[BLOCK..][..length], other: &[] };
            let narrow = Block { prediction: &numbers[..length], target: &numbers[BLOCK..][..length], other: &[] };
            for kernel in kernels {
                let sum = kernel.sum_of_halves(half(narrow)).unwrap();
                assert_eq!(sum.to_bits(), kernel.sum(block).to_bits(), "{length} numbers");
            }
        }
    }

    #[test]
    fn sums_of_16_bits_are_those_of_32() {
        // Of many sizes and both signs, without order.
        let numbers = (0..2 * BLOCK).map(|i| (i as f32 * 0.7).sin() * 2f32.powi((i * 7 % 31) as i32 - 20));
        let numbers: Vec<f32> = numbers.collect();
        let narrow: Vec<f16> = numbers.iter().copied().map(f16::from_f32).collect();
        check(&narrow, HalfBlock::F16);
        let narrow: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
        check(&narrow, HalfBlock::Bf16);
    }
}
