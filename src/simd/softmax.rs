//! The softmax of a row that is read from memory once.
//!
//! m = maxⱼ xⱼ        s = Σⱼ exp(xⱼ − m)        softmax(x)ⱼ = exp(xⱼ − m) / s
//!
//! A row is taken in blocks that stay in the first cache: the maximum of a block, then its exponentials below the largest
//! maximum so far, then their sum. Only where a block brings a new maximum is the sum so far scaled (Milakov and
//! Gimelshein, 2018, <https://arxiv.org/abs/1805.02867>, by blocks). Rows beyond one [`SEGMENT`] are sums of segments that
//! do not depend on one another and are merged in their order, so that whoever splits a row gets the same bits.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::across::is_short;
use super::rows::{
    Vector, at_once, exp_rest_into_in, exp_some_into_in, exp_sum_into_in, last, maximum_in, store_tail, sum_in, tail,
};
use super::{Lanes, Stored, level, math};

/// How many numbers are read at once.
pub const BLOCK: usize = 1024;
/// How many numbers follow one running maximum.
pub const SEGMENT: usize = 16 * BLOCK;

/// What the softmax of a row, or of a part of one, is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// m; −∞ for no numbers.
    pub maximum: f64,
    /// s; NaN where there is NaN or +∞.
    pub sum: f64,
    /// Σⱼ exp(xⱼ − m) (xⱼ − m), if it was asked for.
    pub moment: f64,
}

impl Softmax {
    /// That of no numbers.
    pub const EMPTY: Self = Self { maximum: f64::NEG_INFINITY, sum: 0.0, moment: 0.0 };

    /// ln Σⱼ exp(xⱼ)
    pub fn log_sum_exp(&self) -> f64 {
        self.maximum + math::ln(self.sum)
    }

    /// −Σⱼ pⱼ ln pⱼ
    pub fn entropy(&self) -> f64 {
        let entropy = math::ln(self.sum) - self.moment / self.sum;
        // Rounding may leave it a little below.
        if entropy < 0.0 { 0.0 } else { entropy }
    }

    /// The softmax of these numbers and of those that follow them.
    #[inline(always)]
    pub(crate) fn merge<S: Simd>(self, simd: S, next: Self) -> Self {
        let (low, high) = if next.maximum > self.maximum { (self, next) } else { (next, self) };
        let below = low.below(simd, high.maximum);
        Self { maximum: high.maximum, sum: high.sum + below.sum, moment: high.moment + below.moment }
    }

    /// The same below a maximum that is at least as large.
    #[inline(always)]
    fn below<S: Simd>(self, simd: S, maximum: f64) -> Self {
        if self.maximum == maximum || self.sum == 0.0 {
            return Self { maximum, ..self };
        }
        // With a sum that is not 0 a distance is infinite only beside +∞, where all is NaN already.
        let distance = self.maximum - maximum;
        let factor = exp(simd, distance);
        Self { maximum, sum: factor * self.sum, moment: factor * (self.moment + distance * self.sum) }
    }
}

/// exp of one number that is at most 0.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: f64) -> f64 {
    math::exp_f64x8(simd, f64x8::splat(simd, x)).to_array()[0]
}

/// exp of one number that is at most 0.
pub fn exp_of(x: f64) -> f64 {
    dispatch!(level(), simd => exp(simd, x))
}

/// Where exponentials go.
pub enum Powers<'a, T> {
    /// They are needed no more: they pass through a block, or through as much as there is in a shorter row.
    Passing(&'a mut [T]),
    /// As many as there are numbers: exp(xⱼ − m′), where m′ is the largest number of a block and of those before it in the
    /// segment; the second receives them, one for each block. See [`finish`].
    Kept(&'a mut [T], &'a mut [f64]),
}

/// The softmax of a row. Short rows, and those of which the moment is wanted, are widened before.
pub fn softmax<E: Stored>(
    row: &[E],
    ahead: &mut Ahead<'_, E>,
    wants_moment: bool,
    powers: Powers<'_, E::Wide>,
) -> Softmax {
    debug_assert!(E::IS_WIDE || !(wants_moment || is_short::<E::Wide>(row.len())), "rows that are to be widened");
    if E::IS_WIDE && is_short::<E::Wide>(row.len()) {
        // Nothing to merge, and nothing to wait for.
        ahead.maximum = None;
        return dispatch!(level(), simd => short_in(simd, row, wants_moment, powers));
    }
    segments(row, ahead, wants_moment, powers)
}

/// The same of a part of a row, whole segments but for the last: however short it is, it has the bits that it has in the
/// row.
pub fn segments<E: Stored>(
    row: &[E],
    ahead: &mut Ahead<'_, E>,
    wants_moment: bool,
    powers: Powers<'_, E::Wide>,
) -> Softmax {
    dispatch!(level(), simd => sweep(simd, row, ahead, wants_moment, powers))
}

/// The softmax of a row of which these are the segments, in their order: that of the whole row, bit for bit.
pub fn merged(segments: &[Softmax]) -> Softmax {
    let Some((&first, others)) = segments.split_first() else { return Softmax::EMPTY };
    dispatch!(level(), simd => others.iter().fold(first, |whole, &next| whole.merge(simd, next)))
}

/// Turns what [`softmax`] kept into rate · exp(xⱼ − m) − less.
pub fn finish<T: Lanes>(out: &mut [T], shifts: &[f64], maximum: f64, rate: f64, less: f64) {
    dispatch!(level(), simd => finish_in(simd, out, shifts, maximum, rate, less));
}

/// The same, written to `out` as what it stores.
pub fn finish_into<E: Stored>(powers: &[E::Wide], shifts: &[f64], out: &mut [E], maximum: f64, rate: f64, less: f64) {
    dispatch!(level(), simd => finish_into_in(simd, powers, shifts, out, maximum, rate, less));
}

/// Turns it into (rate + distance (xⱼ − m)) exp(xⱼ − m).
pub fn finish_with_distance<T: Lanes>(
    row: &[T],
    out: &mut [T],
    shifts: &[f64],
    maximum: f64,
    rate: f64,
    distance: f64,
) {
    dispatch!(level(), simd => finish_with_distance_in(simd, row, out, shifts, maximum, rate, distance));
}

/// How many numbers come before number `index` when they are sorted by falling value, and equal ones by their place.
pub fn rank<T: Lanes>(row: &[T], index: usize) -> usize {
    dispatch!(level(), simd => rank_in(simd, row, index))
}

/// What is read after a row, so that memory need not wait for the exponentials.
pub struct Ahead<'a, E: Stored> {
    /// The maximum of the first block of this row, where it was read ahead.
    pub maximum: Option<E::Wide>,
    /// The row that follows; empty for none. `maximum` becomes that of its first block.
    pub next: &'a [E],
}

impl<E: Stored> Ahead<'_, E> {
    /// Nothing was read, and nothing follows.
    pub const NOTHING: Self = Self { maximum: None, next: &[] };
}

#[inline(always)]
fn short_in<E: Stored, S: Simd>(simd: S, row: &[E], wants_moment: bool, powers: Powers<'_, E::Wide>) -> Softmax {
    let (out, shifts) = match powers {
        Powers::Passing(out) => (out, &mut [][..]),
        Powers::Kept(out, shifts) => (out, shifts),
    };
    let out = &mut out[..row.len()];
    let maximum = maximum_in(simd, row);
    let shift = if maximum == E::Wide::NEGATIVE_INFINITY { E::Wide::default() } else { maximum };
    let sum = exp_sum_into_in(simd, row, shift, out);
    let moment = if wants_moment { moment_in(simd, row, shift, out) } else { 0.0 };
    shifts.fill(maximum.exact());
    Softmax { maximum: maximum.exact(), sum, moment }
}

#[inline(always)]
fn sweep<E: Stored, S: Simd>(
    simd: S,
    row: &[E],
    ahead: &mut Ahead<'_, E>,
    wants_moment: bool,
    mut powers: Powers<'_, E::Wide>,
) -> Softmax {
    let (mut whole, mut segment) = (Softmax::EMPTY, Softmax::EMPTY);
    let mut next = &row[..row.len().min(BLOCK)];
    let mut maximum = ahead.maximum.unwrap_or_else(|| maximum_in(simd, next));
    let mut start = 0;
    while start < row.len() {
        let (block, end) = (next, start + next.len());
        next = if end < row.len() { &row[end..] } else { ahead.next };
        next = &next[..next.len().min(BLOCK)];
        let out = match &mut powers {
            Powers::Passing(out) => &mut out[..block.len()],
            Powers::Kept(out, _) => &mut out[start..end],
        };
        (segment, maximum) = add_block(simd, segment, (block, maximum), next, wants_moment, out);
        if let Powers::Kept(_, shifts) = &mut powers {
            shifts[start / BLOCK] = segment.maximum;
        }
        start = end;
        if start % SEGMENT == 0 || start == row.len() {
            whole = if start <= SEGMENT { segment } else { whole.merge(simd, segment) };
            segment = Softmax::EMPTY;
        }
    }
    ahead.maximum = if ahead.next.is_empty() { None } else { Some(maximum) };
    whole
}

#[inline(always)]
fn finish_in<T: Lanes, S: Simd>(simd: S, out: &mut [T], shifts: &[f64], maximum: f64, rate: f64, less: f64) {
    let less = T::Vector::<S>::splat(simd, T::rounded(-less));
    for (block, &shift) in out.chunks_mut(BLOCK).zip(shifts) {
        let factor = if shift == maximum { rate } else { rate * exp(simd, shift - maximum) };
        let factor = T::Vector::<S>::splat(simd, T::rounded(factor));
        let length = block.len();
        let mut chunks = block.chunks_exact_mut(T::LANES);
        for chunk in &mut chunks {
            T::Vector::<S>::from_slice(simd, chunk).mul_add(factor, less).store_slice(chunk);
        }
        let rest = chunks.into_remainder().len();
        if rest > 0 {
            let end = last(simd, block, length - rest).mul_add(factor, less);
            store_tail(end, block, rest);
        }
    }
}

#[inline(always)]
fn finish_into_in<E: Stored, S: Simd>(
    simd: S,
    powers: &[E::Wide],
    shifts: &[f64],
    out: &mut [E],
    maximum: f64,
    rate: f64,
    less: f64,
) {
    let lanes = E::Wide::LANES;
    let less = Vector::<E, S>::splat(simd, E::Wide::rounded(-less));
    for ((block, out), &shift) in powers.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).zip(shifts) {
        let factor = if shift == maximum { rate } else { rate * exp(simd, shift - maximum) };
        let factor = Vector::<E, S>::splat(simd, E::Wide::rounded(factor));
        let (mut chunks, mut outs) = (block.chunks_exact(lanes), out.chunks_exact_mut(lanes));
        for (chunk, out) in (&mut chunks).zip(&mut outs) {
            E::store(simd, Vector::<E, S>::from_slice(simd, chunk).mul_add(factor, less), out);
        }
        let rest = outs.into_remainder();
        if !rest.is_empty() {
            let end = tail::<E::Wide, S>(simd, chunks.remainder(), E::Wide::default()).mul_add(factor, less);
            let mut few = [E::default(); 16];
            E::store(simd, end, &mut few[..lanes]);
            rest.copy_from_slice(&few[..rest.len()]);
        }
    }
}

#[inline(always)]
fn finish_with_distance_in<T: Lanes, S: Simd>(
    simd: S,
    row: &[T],
    out: &mut [T],
    shifts: &[f64],
    maximum: f64,
    rate: f64,
    distance: f64,
) {
    let splat = |value: f64| T::Vector::<S>::splat(simd, T::rounded(value));
    let (rate, slope, middle) = (splat(rate), splat(distance), splat(maximum));
    let least = T::Vector::<S>::splat(simd, T::LEAST);
    for ((block, out), &shift) in row.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).zip(shifts) {
        let factor = splat(if shift == maximum { 1.0 } else { exp(simd, shift - maximum) });
        // The exponential first: a distance of −∞ times a slope above 1 has no number, and e is 0 there.
        let finished = |x: T::Vector<S>, e: T::Vector<S>| {
            let e = e * factor;
            (e * slope).mul_add((x - middle).max(least), e * rate)
        };
        let length = block.len();
        let rest = length % T::LANES;
        for (x, e) in block.chunks_exact(T::LANES).zip(out.chunks_exact_mut(T::LANES)) {
            finished(T::Vector::<S>::from_slice(simd, x), T::Vector::<S>::from_slice(simd, e)).store_slice(e);
        }
        if rest > 0 {
            let end = finished(last(simd, block, length - rest), last(simd, out, length - rest));
            store_tail(end, out, rest);
        }
    }
}

/// Adds a block of a segment; its exponentials, below the maximum that is returned, are written.
#[inline(always)]
fn add_block<E: Stored, S: Simd>(
    simd: S,
    before: Softmax,
    (block, own): (&[E], E::Wide),
    next: &[E],
    wants_moment: bool,
    out: &mut [E::Wide],
) -> (Softmax, E::Wide) {
    let own = own.exact();
    let maximum = if own > before.maximum { own } else { before.maximum };
    // Nothing but −∞ so far: every exponential is 0, and only NaN must show.
    let shift = if maximum == f64::NEG_INFINITY { 0.0 } else { maximum };
    let shift = E::Wide::rounded(shift);
    let ahead = exponentials(simd, block, shift, out, next);
    let sum = sum_in(simd, out);
    let before = before.below(simd, maximum);
    let moment = if E::IS_WIDE && wants_moment { before.moment + moment_in(simd, block, shift, out) } else { 0.0 };
    (Softmax { maximum, sum: before.sum + sum, moment }, ahead)
}

/// Writes the exponentials of a block, and returns the maximum of the next one, so that memory is read all the time.
#[inline(always)]
fn exponentials<E: Stored, S: Simd>(simd: S, block: &[E], shift: E::Wide, out: &mut [E::Wide], next: &[E]) -> E::Wide {
    let lanes = E::Wide::LANES;
    let shift = Vector::<E, S>::splat(simd, shift);
    let some = at_once::<E::Wide, S>(simd);
    let whole = block.len() / some * some;
    let together = whole.min(next.len() / some * some);
    let mut ahead = Vector::<E, S>::splat(simd, E::Wide::NEGATIVE_INFINITY);
    for (at, (x, out)) in block.chunks_exact(some).zip(out.chunks_exact_mut(some)).enumerate() {
        if at * some < together {
            for next in next[at * some..][..some].chunks_exact(lanes) {
                ahead = ahead.max(E::load(simd, next));
            }
        }
        exp_some_into_in(simd, x, shift, out);
    }
    exp_rest_into_in(simd, block, whole, shift, out);
    let (ahead, rest) = (ahead.reduce_max(), maximum_in(simd, &next[together..]));
    if rest > ahead { rest } else { ahead }
}

/// Σ e (x − shift), where a number that is −∞ counts 0.
#[inline(always)]
fn moment_in<E: Stored, S: Simd>(simd: S, block: &[E], shift: E::Wide, exponentials: &[E::Wide]) -> f64 {
    let (lanes, least) = (E::Wide::LANES, E::Wide::LEAST);
    let (leasts, shifts) = (Vector::<E, S>::splat(simd, least), Vector::<E, S>::splat(simd, shift));
    let mut sum = E::Wide::zero(simd);
    let mut chunks = block.chunks_exact(lanes);
    let mut others = exponentials.chunks_exact(lanes);
    for (x, e) in (&mut chunks).zip(&mut others) {
        let distance = (E::load(simd, x) - shifts).max(leasts);
        sum = E::Wide::accumulate(sum, Vector::<E, S>::from_slice(simd, e) * distance);
    }
    let mut sum = E::Wide::fold(sum);
    for (&x, &e) in chunks.remainder().iter().zip(others.remainder()) {
        sum += e.exact() * (x.exact() - shift.exact()).max(least.exact());
    }
    sum
}

#[inline(always)]
fn rank_in<T: Lanes, S: Simd>(simd: S, row: &[T], index: usize) -> usize {
    let own = row[index];
    let equal = row[..index].iter().filter(|&&x| x == own).count();
    equal + above(simd, row, own)
}

#[inline(always)]
fn above<T: Lanes, S: Simd>(simd: S, row: &[T], than: T) -> usize {
    let bound = T::Vector::<S>::splat(simd, than);
    let (zero, one) = (T::Vector::<S>::splat(simd, T::default()), T::Vector::<S>::splat(simd, T::ONE));
    let mut count = 0;
    // Counts in float32 lanes are exact up to 2²⁴, and a block has fewer.
    for block in row.chunks(BLOCK * T::LANES) {
        let mut chunks = block.chunks_exact(T::LANES);
        let mut counts = zero;
        for chunk in &mut chunks {
            counts += T::Vector::<S>::from_slice(simd, chunk).simd_gt(bound).select(one, zero);
        }
        count += T::fold(T::accumulate(T::zero(simd), counts)) as usize;
        count += chunks.remainder().iter().filter(|&&x| x > than).count();
    }
    count
}

#[cfg(test)]
mod tests {
    use fearless_simd::dispatch;

    use super::*;
    use crate::simd::level;

    fn row(length: usize, scale: f32) -> Vec<f32> {
        let mut state = length as u64 + 1;
        let mut number = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..length).map(|_| scale * number()).collect()
    }

    fn softmax(row: &[f32]) -> (Softmax, Vec<f32>) {
        let (mut out, mut shifts) = (vec![0.0; row.len()], vec![0.0; row.len().div_ceil(BLOCK)]);
        let mut buffer = vec![0.0; BLOCK.min(row.len())];
        let read = super::softmax(row, &mut { Ahead::NOTHING }, true, Powers::Passing(&mut buffer));
        let written = super::softmax(row, &mut { Ahead::NOTHING }, true, Powers::Kept(&mut out, &mut shifts));
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        let (maximum, rate) = (read.maximum, 1.0 / read.sum);
        dispatch!(level(), simd => finish_in(simd, &mut out, &shifts, maximum, rate, 0.25));
        (read, out)
    }

    #[test]
    fn rows_of_every_length() {
        let lengths = (1..100).chain([1000, 1023, 1024, 1025, 1040, 5000, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 77]);
        for (length, scale) in lengths.flat_map(|length| [(length, 3.0), (length, 60.0), (length, 400.0)]) {
            let row = row(length, scale);
            let (found, p) = softmax(&row);
            let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(found.maximum, f64::from(maximum));
            let terms = row.iter().map(|&x| f64::from(x) - f64::from(maximum));
            let sum: f64 = terms.clone().map(f64::exp).sum();
            let moment: f64 = terms.clone().map(|x| x.exp() * x).sum();
            assert!((found.sum - sum).abs() < 2e-7 * sum, "{length} {scale}: {} {sum}", found.sum);
            assert!((found.moment - moment).abs() < 5e-7 * (1.0 + moment.abs()), "{} {moment}", found.moment);
            for (p, x) in p.iter().zip(terms) {
                assert!((f64::from(*p) + 0.25 - x.exp() / sum).abs() < 3e-7 * (x.exp() / sum + 0.25));
            }
        }
    }

    #[test]
    fn segments_make_the_whole_row() {
        let mut row = row(5 * SEGMENT + 77, 30.0);
        row[..2 * SEGMENT].fill(f32::NEG_INFINITY);
        let buffer = &mut vec![0.0; BLOCK];
        for end in [1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, row.len()] {
            let read = |row: &[f32]| segments(row, &mut { Ahead::NOTHING }, true, Powers::Passing(buffer));
            let parts: Vec<Softmax> = row[..end].chunks(SEGMENT).map(read).collect();
            let whole = super::softmax(&row[..end], &mut { Ahead::NOTHING }, true, Powers::Passing(buffer));
            assert_eq!(merged(&parts), whole);
        }
    }

    #[test]
    fn numbers_of_16_bits_have_the_softmax_of_what_they_are() {
        fn check<E: Stored<Wide = f32> + PartialEq + std::fmt::Debug>(narrow: impl Fn(f32) -> E) {
            for length in [129, 144, 1000, 1023, 1024, 1025, 5000, SEGMENT + 1] {
                let row: Vec<E> = row(length, 60.0).into_iter().map(&narrow).collect();
                let next: Vec<E> = row.iter().rev().copied().collect();
                let wide = |row: &[E]| -> Vec<f32> { row.iter().map(|x| x.exact() as f32).collect() };
                let (wide, wide_next) = (wide(&row), wide(&next));
                let (mut out, mut truth) = (vec![0.0; length], vec![0.0; length]);
                let shifts = &mut vec![0.0; length.div_ceil(BLOCK)];
                let true_shifts = &mut shifts.clone();
                let mut ahead = Ahead { maximum: None, next: &next[..] };
                let mut ahead_of_wide = Ahead { maximum: None, next: &wide_next[..] };
                let found = super::softmax(&row, &mut ahead, false, Powers::Kept(&mut out, shifts));
                let powers = Powers::Kept(&mut truth, true_shifts);
                assert_eq!(found, super::softmax(&wide, &mut ahead_of_wide, false, powers), "{length}");
                assert_eq!((out, shifts, ahead.maximum), (truth, true_shifts, ahead_of_wide.maximum), "{length}");
            }
        }
        check(half::f16::from_f32);
        check(half::bf16::from_f32);
    }

    #[test]
    fn infinities_and_nan() {
        for length in [3, 40, 3000, 40_000] {
            let mut row = row(length, 4.0);
            let without = softmax(&row).0;
            row.splice(0..0, vec![f32::NEG_INFINITY; 2048]);
            row.extend([f32::NEG_INFINITY; 1500]);
            let (with, p) = softmax(&row);
            assert!((with.sum - without.sum).abs() < 1e-6 * without.sum);
            assert!((with.entropy() - without.entropy()).abs() < 1e-6);
            assert_eq!(p[0], -0.25);
            for value in [f32::NAN, f32::INFINITY] {
                for at in [0, 2050, row.len() - 1] {
                    let mut row = row.clone();
                    row[at] = value;
                    assert!(softmax(&row).0.sum.is_nan());
                }
            }
        }
        let (nothing, p) = softmax(&[f32::NEG_INFINITY; 1500]);
        assert!(nothing.log_sum_exp() == f64::NEG_INFINITY && p[0].is_nan());
    }

    #[test]
    fn ranks() {
        let row: Vec<f32> = row(5000, 200.0).into_iter().map(|x| x.round() + 0.0).collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        for (rank, index) in order.into_iter().enumerate() {
            if rank % 17 == 0 {
                assert_eq!(dispatch!(level(), simd => rank_in(simd, &row, index)), rank);
            }
        }
    }
}
