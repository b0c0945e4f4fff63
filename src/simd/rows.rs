//! What losses ask of a row: its largest number, its sum of exponentials, its softmax.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::Level;
use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::{Lanes, Stored, elementary, level};

/// The largest number of a row; −∞ for an empty one. NaN may be passed over: the exponentials bring it out.
pub fn maximum<T: Lanes>(row: &[T]) -> T {
    dispatch!(level(), simd => maximum_in(simd, row))
}

/// Σⱼ exp(xⱼ − shift), where no xⱼ is above `shift`.
pub fn exp_sum<T: Lanes>(row: &[T], shift: T) -> f64 {
    dispatch!(level(), simd => exp_sum_in(simd, row, shift))
}

/// The same, and every exp(xⱼ − shift) is written to `out`.
pub fn exp_sum_into<T: Lanes>(row: &[T], shift: T, out: &mut [T]) -> f64 {
    dispatch!(level(), simd => exp_sum_into_in(simd, row, shift, out))
}

/// Σ of a row.
#[inline(never)]
pub fn sum<T: Lanes>(row: &[T]) -> f64 {
    dispatch!(level(), simd => sum_in(simd, row))
}

/// Σ of the numbers above −∞, and how many they are.
#[inline(never)]
pub fn finite_total<E: Stored>(row: &[E]) -> (f64, f64) {
    dispatch!(level(), simd => finite_total_in(simd, row))
}

/// Multiplies every number of a row.
pub fn scale<T: Lanes>(row: &mut [T], factor: T) {
    dispatch!(level(), simd => scale_in(simd, row, factor));
}

/// The last, unfilled vector of a row, filled up with `fill`.
#[inline(always)]
pub(crate) fn tail<T: Lanes, S: Simd>(simd: S, rest: &[T], fill: T) -> T::Vector<S> {
    let mut vector = T::Vector::<S>::splat(simd, fill);
    vector.as_mut_slice()[..rest.len()].copy_from_slice(rest);
    vector
}

/// The last, unfilled vector of a row, filled up with −∞: what follows the first `done` numbers.
#[inline(always)]
pub(super) fn last<E: Stored, S: Simd>(simd: S, row: &[E], done: usize) -> Vector<E, S> {
    last_or(simd, row, done, E::NEGATIVE_INFINITY, E::Wide::NEGATIVE_INFINITY)
}

/// The same, filled up with another number, which is `wide` as it is computed with.
///
/// Rows of at least one vector are read from `LANES` numbers before their end, and what was read before is blotted out:
/// copying a few numbers into a vector costs more than all the rest of a short row.
#[inline(always)]
fn last_or<E: Stored, S: Simd>(simd: S, row: &[E], done: usize, fill: E, wide: E::Wide) -> Vector<E, S> {
    let lanes = E::Wide::LANES;
    if row.len() < lanes {
        let mut few = [fill; 16];
        few[..row.len()].copy_from_slice(row);
        return E::load(simd, &few[..lanes]);
    }
    let first = row.len() - lanes;
    let last = E::load(simd, &row[first..]);
    let new = Vector::<E, S>::from_slice(simd, &E::Wide::STEPS[lanes - (done - first)..][..lanes]);
    let is_new = new.simd_gt(Vector::<E, S>::splat(simd, E::Wide::default()));
    is_new.select(last, Vector::<E, S>::splat(simd, wide))
}

/// What stored numbers are as a vector.
pub(super) type Vector<E, S> = <<E as Stored>::Wide as Lanes>::Vector<S>;

/// See the function without `_in`, which this is for callers that have dispatched already.
#[inline(always)]
pub(crate) fn maximum_in<E: Stored, S: Simd>(simd: S, row: &[E]) -> E::Wide {
    // Four chains, because a maximum takes four cycles and one can start in each half.
    let mut chains = [Vector::<E, S>::splat(simd, E::Wide::NEGATIVE_INFINITY); 4];
    let mut groups = row.chunks_exact(4 * E::Wide::LANES);
    for group in &mut groups {
        for (chain, chunk) in chains.iter_mut().zip(group.chunks_exact(E::Wide::LANES)) {
            *chain = chain.max(E::load(simd, chunk));
        }
    }
    let mut chunks = groups.remainder().chunks_exact(E::Wide::LANES);
    for chunk in &mut chunks {
        chains[0] = chains[0].max(E::load(simd, chunk));
    }
    if !chunks.remainder().is_empty() {
        chains[1] = chains[1].max(last(simd, row, row.len() - chunks.remainder().len()));
    }
    chains[0].max(chains[1]).max(chains[2].max(chains[3])).reduce_max()
}

/// How many vectors of exponentials are taken at once, where it pays; see [`super::math::exps_f32x16`].
const GROUP: usize = 4;

/// Whether it pays: elsewhere a vector is four of the processor's, and they are as many chains.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline(always)]
fn is_grouped<S: Simd>(simd: S) -> bool {
    matches!(simd.level(), Level::Avx2(_) | Level::Avx512(_))
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
#[inline(always)]
fn is_grouped<S: Simd>(_: S) -> bool {
    false
}

/// How many numbers of a row are taken at once.
#[inline(always)]
pub(super) fn at_once<T: Lanes, S: Simd>(simd: S) -> usize {
    if is_grouped(simd) { GROUP * T::LANES } else { T::LANES }
}

/// exp(xⱼ − shift) of a group.
#[inline(always)]
fn exp_group_in<E: Stored, S: Simd>(simd: S, group: &[E], shift: Vector<E, S>) -> [Vector<E, S>; GROUP] {
    let mut vectors = [shift; GROUP];
    for (vector, x) in vectors.iter_mut().zip(group.chunks_exact(E::Wide::LANES)) {
        *vector = E::load(simd, x) - shift;
    }
    E::Wide::exp(simd, vectors)
}

/// exp(xⱼ − shift) of one vector.
#[inline(always)]
fn exp_one_in<E: Stored, S: Simd>(simd: S, x: &[E], shift: Vector<E, S>) -> Vector<E, S> {
    let [e] = E::Wide::exp(simd, [E::load(simd, x) - shift]);
    e
}

/// Writes exp(xⱼ − shift) of as many numbers as are taken at once.
#[inline(always)]
pub(super) fn exp_some_into_in<E: Stored, S: Simd>(simd: S, some: &[E], shift: Vector<E, S>, out: &mut [E::Wide]) {
    if !is_grouped(simd) {
        return exp_one_in(simd, some, shift).store_slice(out);
    }
    for (e, out) in exp_group_in(simd, some, shift).iter().zip(out.chunks_exact_mut(E::Wide::LANES)) {
        e.store_slice(out);
    }
}

/// Writes exp(xⱼ − shift), where no xⱼ is above `shift`.
#[inline(always)]
pub(super) fn exp_into_in<E: Stored, S: Simd>(simd: S, row: &[E], shift: Vector<E, S>, out: &mut [E::Wide]) {
    let some = at_once::<E::Wide, S>(simd);
    for (x, out) in row.chunks_exact(some).zip(out.chunks_exact_mut(some)) {
        exp_some_into_in(simd, x, shift, out);
    }
    exp_rest_into_in(simd, row, row.len() / some * some, shift, out);
}

/// The same of the few that follow the first `done` numbers.
#[inline(always)]
pub(super) fn exp_rest_into_in<E: Stored, S: Simd>(
    simd: S,
    row: &[E],
    done: usize,
    shift: Vector<E, S>,
    out: &mut [E::Wide],
) {
    let lanes = E::Wide::LANES;
    for at in (done..row.len()).step_by(lanes) {
        let rest = row.len() - at;
        let x = if rest < lanes { last(simd, row, at) } else { E::load(simd, &row[at..at + lanes]) };
        let [e] = E::Wide::exp(simd, [x - shift]);
        match rest < lanes {
            true => store_tail(e, out, rest),
            false => e.store_slice(&mut out[at..at + lanes]),
        }
    }
}

/// Replaces whole vectors by exp(xⱼ − shift).
#[inline(always)]
pub(super) fn exp_in_place_in<T: Lanes, S: Simd>(simd: S, row: &mut [T], shift: T::Vector<S>) {
    let grouped = if is_grouped(simd) { row.len() / at_once::<T, S>(simd) * at_once::<T, S>(simd) } else { 0 };
    let (groups, rest) = row.split_at_mut(grouped);
    for group in groups.chunks_exact_mut(GROUP * T::LANES) {
        for (e, x) in exp_group_in(simd, group, shift).iter().zip(group.chunks_exact_mut(T::LANES)) {
            e.store_slice(x);
        }
    }
    for x in rest.chunks_exact_mut(T::LANES) {
        exp_one_in(simd, x, shift).store_slice(x);
    }
}

/// Σ exp(xⱼ − shift), lane by lane.
#[inline(always)]
pub(super) fn exp_lanes_in<T: Lanes, S: Simd>(simd: S, row: &[T], shift: T::Vector<S>) -> T::Sum<S> {
    let (lanes, some) = (T::LANES, at_once::<T, S>(simd));
    let mut sum = T::zero(simd);
    for some in row.chunks_exact(some) {
        if is_grouped(simd) {
            for &e in &exp_group_in(simd, some, shift) {
                sum = T::accumulate(sum, e);
            }
        } else {
            sum = T::accumulate(sum, exp_one_in(simd, some, shift));
        }
    }
    for at in (row.len() / some * some..row.len()).step_by(lanes) {
        let is_last = row.len() - at < lanes;
        let x = if is_last { last(simd, row, at) } else { T::Vector::<S>::from_slice(simd, &row[at..at + lanes]) };
        let [e] = T::exp(simd, [x - shift]);
        sum = T::accumulate(sum, e);
    }
    sum
}

/// Σ of a row, lane by lane.
#[inline(always)]
pub(super) fn lanes_in<T: Lanes, S: Simd>(simd: S, row: &[T]) -> T::Sum<S> {
    let mut sum = T::zero(simd);
    let mut chunks = row.chunks_exact(T::LANES);
    for x in &mut chunks {
        sum = T::accumulate(sum, T::Vector::<S>::from_slice(simd, x));
    }
    match chunks.remainder().len() {
        0 => sum,
        rest => T::accumulate(sum, last_or(simd, row, row.len() - rest, T::default(), T::default())),
    }
}

/// See the function without `_in`, which this is for callers that have dispatched already.
#[inline(always)]
pub(crate) fn exp_sum_in<T: Lanes, S: Simd>(simd: S, row: &[T], shift: T) -> f64 {
    T::fold(exp_lanes_in(simd, row, T::Vector::<S>::splat(simd, shift)))
}

/// See the function without `_in`, which this is for callers that have dispatched already.
///
/// Exponentials are written and then read again for their sum, because with the sums beside the constants of exp there are
/// too few registers: in one loop a number takes 0.39 ns, in two 0.34 (Zen 3, AVX2, 3.2 GHz), of which exp has 0.26.
#[inline(always)]
pub(crate) fn exp_sum_into_in<E: Stored, S: Simd>(simd: S, row: &[E], shift: E::Wide, out: &mut [E::Wide]) -> f64 {
    exp_into_in(simd, row, Vector::<E, S>::splat(simd, shift), out);
    E::Wide::fold(lanes_in(simd, out))
}

/// Writes factor · exp(xⱼ − shift), where no xⱼ is above `shift`.
#[inline(always)]
pub(crate) fn exp_scaled_in<T: Lanes, S: Simd>(simd: S, row: &[T], shift: T, factor: T, out: &mut [T]) {
    exp_into_in(simd, row, T::Vector::<S>::splat(simd, shift), out);
    scale_in(simd, out, factor);
}

/// Writes the `rest` numbers of the last vector that [`last`] read anew.
#[inline(always)]
pub(super) fn store_tail<T: Lanes, S: Simd>(vector: impl SimdFloat<S, Element = T>, out: &mut [T], rest: usize) {
    let length = out.len();
    let lanes = vector.as_slice();
    match length < T::LANES {
        true => out.copy_from_slice(&lanes[..length]),
        false => out[length - rest..].copy_from_slice(&lanes[T::LANES - rest..]),
    }
}

/// See the function without `_in`, which this is for callers that have dispatched already.
#[inline(always)]
pub(crate) fn scale_in<T: Lanes, S: Simd>(_: S, row: &mut [T], factor: T) {
    for value in row {
        *value *= factor;
    }
}

/// Σ of a row, in two chains.
#[inline(always)]
pub(crate) fn sum_in<T: Lanes, S: Simd>(simd: S, block: &[T]) -> f64 {
    let mut sums = [T::zero(simd); 2];
    let mut pairs = block.chunks_exact(2 * T::LANES);
    for pair in &mut pairs {
        sums[0] = T::accumulate(sums[0], T::Vector::<S>::from_slice(simd, &pair[..T::LANES]));
        sums[1] = T::accumulate(sums[1], T::Vector::<S>::from_slice(simd, &pair[T::LANES..]));
    }
    let mut chunks = pairs.remainder().chunks_exact(T::LANES);
    for chunk in &mut chunks {
        sums[0] = T::accumulate(sums[0], T::Vector::<S>::from_slice(simd, chunk));
    }
    let mut sum = T::fold(sums[0]) + T::fold(sums[1]);
    for &value in chunks.remainder() {
        sum += T::exact(value);
    }
    sum
}

/// The first place of a number, which is somewhere in the row unless it is NaN.
#[inline(always)]
pub(crate) fn position_in<T: Lanes, S: Simd>(simd: S, row: &[T], value: T) -> Option<usize> {
    let wanted = T::Vector::<S>::splat(simd, value);
    for (i, chunk) in row.chunks_exact(T::LANES).enumerate() {
        let found = T::Vector::<S>::from_slice(simd, chunk).simd_eq(wanted).to_bitmask();
        if found != 0 {
            return Some(i * T::LANES + found.trailing_zeros() as usize);
        }
    }
    let rest = row.len() / T::LANES * T::LANES;
    row[rest..].iter().position(|&x| x == value).map(|place| rest + place)
}

/// Divides every number of a row.
#[inline(always)]
pub(crate) fn divide_in<T: Lanes, S: Simd>(simd: S, row: &mut [T], divisor: T) {
    let by = T::Vector::<S>::splat(simd, divisor);
    let mut chunks = row.chunks_exact_mut(T::LANES);
    for chunk in &mut chunks {
        (T::Vector::<S>::from_slice(simd, chunk) / by).store_slice(chunk);
    }
    for x in chunks.into_remainder() {
        *x = T::rounded(x.exact() / divisor.exact());
    }
}

/// Subtracts factor · qⱼ.
#[inline(always)]
pub(crate) fn subtract_scaled_in<T: Lanes, S: Simd>(simd: S, row: &mut [T], q: &[T], factor: T) {
    let factors = T::Vector::<S>::splat(simd, factor);
    let mut chunks = row.chunks_exact_mut(T::LANES);
    let mut others = q.chunks_exact(T::LANES);
    for (chunk, q) in (&mut chunks).zip(&mut others) {
        let product = T::Vector::<S>::from_slice(simd, q) * factors;
        (T::Vector::<S>::from_slice(simd, chunk) - product).store_slice(chunk);
    }
    for (x, &q) in chunks.into_remainder().iter_mut().zip(others.remainder()) {
        *x = T::rounded(x.exact() - T::rounded(q.exact() * factor.exact()).exact());
    }
}

#[inline(always)]
fn finite_total_in<E: Stored, S: Simd>(simd: S, row: &[E]) -> (f64, f64) {
    let splat = |value| Vector::<E, S>::splat(simd, value);
    let nothing = splat(E::Wide::NEGATIVE_INFINITY);
    let (zero, one) = (splat(E::Wide::default()), splat(E::Wide::ONE));
    let (mut sum, mut missing) = (E::Wide::zero(simd), E::Wide::zero(simd));
    let mut chunks = row.chunks_exact(E::Wide::LANES);
    for chunk in &mut chunks {
        let x = E::load(simd, chunk);
        let is_missing = x.simd_eq(nothing);
        sum = E::Wide::accumulate(sum, is_missing.select(zero, x));
        missing = E::Wide::accumulate(missing, is_missing.select(one, zero));
    }
    let (mut sum, mut missing) = (E::Wide::fold(sum), E::Wide::fold(missing));
    for x in chunks.remainder().iter().map(|x| x.exact()) {
        match x == f64::NEG_INFINITY {
            true => missing += 1.0,
            false => sum += x,
        }
    }
    (sum, row.len() as f64 - missing)
}

/// Replaces xⱼ by cap · tanh(xⱼ / cap).
#[inline(always)]
pub(crate) fn soft_cap_in<T: Lanes, S: Simd>(simd: S, row: &mut [T], cap: f64) {
    let caps = f64x8::splat(simd, cap);
    let capped = |half: f64x8<S>| elementary::tanh(simd, half / caps) * caps;
    let all = row.len();
    let mut chunks = row.chunks_exact_mut(T::LANES);
    for chunk in &mut chunks {
        let (low, high) = T::widened(T::Vector::<S>::from_slice(simd, chunk));
        T::narrowed((capped(low), capped(high))).store_slice(chunk);
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        let (low, high) = T::widened(tail::<T, S>(simd, rest, T::default()));
        let vector = T::narrowed((capped(low), capped(high)));
        rest.copy_from_slice(&vector.as_slice()[..all % T::LANES]);
    }
}

/// Multiplies by 1 − (xⱼ / cap)².
#[inline(always)]
pub(crate) fn soft_cap_slopes_in<T: Lanes, S: Simd>(_: S, capped: &[T], cap: f64, slopes: &mut [T]) {
    for (slope, x) in slopes.iter_mut().zip(capped) {
        let ratio = x.exact() / cap;
        *slope = T::rounded(slope.exact() * ((1.0 - ratio) * (1.0 + ratio)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length() {
        for length in 0..150 {
            let row: Vec<f32> = (0..length).map(|i| ((i * 37) % 101) as f32 / 7.0 - 6.0).collect();
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&row), max);
            let truth: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
            let mut out = vec![0.0f32; length];
            assert!((exp_sum(&row, max) - truth).abs() <= 1e-7 * truth);
            assert_eq!(exp_sum_into(&row, max, &mut out), exp_sum(&row, max));
            for (e, x) in out.iter().zip(&row) {
                assert!((f64::from(*e) - f64::from(x - max).exp()).abs() < 1e-7);
            }
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let max = f64::from(max);
            let truth: f64 = row.iter().map(|&x| (x - max).exp()).sum();
            assert!((exp_sum(&row, max) - truth).abs() <= 1e-14 * truth);
        }
    }

    #[test]
    fn nan_and_infinities() {
        let mut row = vec![0.0f32; 40];
        row[17] = f32::NAN;
        assert!(exp_sum(&row, maximum(&row)).is_nan());
        row[17] = f32::INFINITY;
        assert!(exp_sum(&row, maximum(&row)).is_nan());
        row[17] = f32::NEG_INFINITY;
        assert_eq!(exp_sum(&row, maximum(&row)), 39.0);
        assert!(exp_sum(&[f32::NEG_INFINITY; 3], f32::NEG_INFINITY).is_nan());
    }
}
