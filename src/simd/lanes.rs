//! The vectors that kernels are written over: 16 lanes of f32 or 8 of f64, on every instruction set.

use fearless_simd::prelude::*;
use fearless_simd::{f32x8, f32x16, f64x4, f64x8};

use super::{Stored, math};

/// A number with its vector, and the vector of sums beside it.
///
/// The width is fixed, so that the lanes, and with them the roundings, are the same on every instruction set. Sums are
/// kept in float64 lanes: a float32 sum of exponentials loses what is small beside the largest (which is exactly 1), and
/// that is the whole of a loss near 0.
pub trait Lanes: SimdFloatElement + Stored<Wide = Self> {
    /// How many numbers a vector holds.
    const LANES: usize;
    /// As many zeros as there are lanes, then as many ones.
    const STEPS: &'static [Self];
    /// The least number that there is.
    const LEAST: Self;
    /// 1
    const ONE: Self;
    /// A vector of them.
    type Vector<S: Simd>: SimdFloat<S, Element = Self>;
    /// Float64 lanes that vectors are added to.
    type Sum<S: Simd>: Copy;

    /// The nearest number of this width.
    fn rounded(value: f64) -> Self;
    /// Lanes of zeros.
    fn zero<S: Simd>(simd: S) -> Self::Sum<S>;
    /// Adds a vector, lane by lane.
    fn accumulate<S: Simd>(sum: Self::Sum<S>, vector: Self::Vector<S>) -> Self::Sum<S>;
    /// Folds the lanes into one number: halves onto halves, in this one order.
    fn fold<S: Simd>(sum: Self::Sum<S>) -> f64;
    /// The sums of eight columns that lie side by side in rows of eight.
    fn columns<S: Simd>(sum: Self::Sum<S>) -> [f64; 8];
    /// Lays eight rows of eight numbers across; they stand `stride` apart, and `out_stride` in `out`.
    fn transpose<S: Simd>(simd: S, rows: &[Self], stride: usize, out: &mut [Self], out_stride: usize);
    /// Eight numbers, as often as they go into a vector.
    fn repeated<S: Simd>(simd: S, eight: &[Self; 8]) -> Self::Vector<S>;
    /// exp of numbers that are at most 0, of several vectors at once; see [`math`].
    fn exp<S: Simd, const N: usize>(simd: S, x: [Self::Vector<S>; N]) -> [Self::Vector<S>; N];
    /// The lanes as float64; where there are only eight, they come twice.
    fn widened<S: Simd>(vector: Self::Vector<S>) -> (f64x8<S>, f64x8<S>);
    /// The way back, rounded.
    fn narrowed<S: Simd>(halves: (f64x8<S>, f64x8<S>)) -> Self::Vector<S>;
}

impl Lanes for f32 {
    const LANES: usize = 16;
    const STEPS: &'static [Self] = &steps_f32();
    const LEAST: Self = Self::MIN;
    const ONE: Self = 1.0;
    type Vector<S: Simd> = f32x16<S>;
    type Sum<S: Simd> = (f64x8<S>, f64x8<S>);

    #[inline(always)]
    fn rounded(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn zero<S: Simd>(simd: S) -> Self::Sum<S> {
        (f64x8::splat(simd, 0.0), f64x8::splat(simd, 0.0))
    }

    #[inline(always)]
    fn accumulate<S: Simd>(sum: Self::Sum<S>, vector: Self::Vector<S>) -> Self::Sum<S> {
        let (low, high) = vector.widen();
        (sum.0 + low, sum.1 + high)
    }

    #[inline(always)]
    fn fold<S: Simd>(sum: Self::Sum<S>) -> f64 {
        fold((sum.0 + sum.1).to_array())
    }

    #[inline(always)]
    fn columns<S: Simd>(sum: Self::Sum<S>) -> [f64; 8] {
        (sum.0 + sum.1).to_array()
    }

    #[inline(always)]
    fn transpose<S: Simd>(simd: S, rows: &[Self], stride: usize, out: &mut [Self], out_stride: usize) {
        let mut square = [f32x8::splat(simd, 0.0); 8];
        for (row, vector) in square.iter_mut().enumerate() {
            *vector = f32x8::from_slice(simd, &rows[row * stride..][..8]);
        }
        // A perfect shuffle three times: row i and row i + 4 become rows 2 i and 2 i + 1.
        for _ in 0..3 {
            let [a, b, c, d, e, f, g, h] = square;
            let ((a, e), (b, f), (c, g), (d, h)) = (a.interleave(e), b.interleave(f), c.interleave(g), d.interleave(h));
            square = [a, e, b, f, c, g, d, h];
        }
        for (column, vector) in square.into_iter().enumerate() {
            vector.store_slice(&mut out[column * out_stride..][..8]);
        }
    }

    #[inline(always)]
    fn repeated<S: Simd>(simd: S, eight: &[Self; 8]) -> Self::Vector<S> {
        let eight = f32x8::from_slice(simd, eight);
        eight.combine(eight)
    }

    #[inline(always)]
    fn exp<S: Simd, const N: usize>(simd: S, x: [Self::Vector<S>; N]) -> [Self::Vector<S>; N] {
        math::exps_f32x16(simd, x)
    }

    #[inline(always)]
    fn widened<S: Simd>(vector: Self::Vector<S>) -> (f64x8<S>, f64x8<S>) {
        vector.widen()
    }

    #[inline(always)]
    fn narrowed<S: Simd>(halves: (f64x8<S>, f64x8<S>)) -> Self::Vector<S> {
        halves.0.narrow(halves.1)
    }
}

impl Lanes for f64 {
    const LANES: usize = 8;
    const STEPS: &'static [Self] = &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    const LEAST: Self = Self::MIN;
    const ONE: Self = 1.0;
    type Vector<S: Simd> = f64x8<S>;
    type Sum<S: Simd> = f64x8<S>;

    #[inline(always)]
    fn rounded(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn zero<S: Simd>(simd: S) -> Self::Sum<S> {
        f64x8::splat(simd, 0.0)
    }

    #[inline(always)]
    fn accumulate<S: Simd>(sum: Self::Sum<S>, vector: Self::Vector<S>) -> Self::Sum<S> {
        sum + vector
    }

    #[inline(always)]
    fn fold<S: Simd>(sum: Self::Sum<S>) -> f64 {
        fold(sum.to_array())
    }

    #[inline(always)]
    fn columns<S: Simd>(sum: Self::Sum<S>) -> [f64; 8] {
        sum.to_array()
    }

    #[inline(always)]
    fn transpose<S: Simd>(simd: S, rows: &[Self], stride: usize, out: &mut [Self], out_stride: usize) {
        let mut square = [f64x8::splat(simd, 0.0); 8];
        for (row, vector) in square.iter_mut().enumerate() {
            *vector = f64x8::from_slice(simd, &rows[row * stride..][..8]);
        }
        for (column, vector) in transposed(square).into_iter().enumerate() {
            vector.store_slice(&mut out[column * out_stride..][..8]);
        }
    }

    #[inline(always)]
    fn repeated<S: Simd>(simd: S, eight: &[Self; 8]) -> Self::Vector<S> {
        f64x8::from_slice(simd, eight)
    }

    #[inline(always)]
    fn exp<S: Simd, const N: usize>(simd: S, x: [Self::Vector<S>; N]) -> [Self::Vector<S>; N] {
        math::exps_f64x8(simd, x)
    }

    #[inline(always)]
    fn widened<S: Simd>(vector: Self::Vector<S>) -> (f64x8<S>, f64x8<S>) {
        (vector, vector)
    }

    #[inline(always)]
    fn narrowed<S: Simd>(halves: (f64x8<S>, f64x8<S>)) -> Self::Vector<S> {
        halves.0
    }
}

/// Eight rows of eight to columns.
#[inline(always)]
pub fn transposed<S: Simd>(rows: [f64x8<S>; 8]) -> [f64x8<S>; 8] {
    #[inline(always)]
    fn quarter<S: Simd>(a: f64x4<S>, b: f64x4<S>, c: f64x4<S>, d: f64x4<S>) -> [f64x4<S>; 4] {
        let (ac_low, ac_high) = a.interleave(c);
        let (bd_low, bd_high) = b.interleave(d);
        let (first, second) = ac_low.interleave(bd_low);
        let (third, fourth) = ac_high.interleave(bd_high);
        [first, second, third, fourth]
    }
    let [a, b, c, d, e, f, g, h] = rows;
    let ((a, a2), (b, b2), (c, c2), (d, d2)) = (a.split(), b.split(), c.split(), d.split());
    let ((e, e2), (f, f2), (g, g2), (h, h2)) = (e.split(), f.split(), g.split(), h.split());
    let (left, right) = (quarter(a, b, c, d), quarter(e, f, g, h));
    let (left2, right2) = (quarter(a2, b2, c2, d2), quarter(e2, f2, g2, h2));
    [
        left[0].combine(right[0]),
        left[1].combine(right[1]),
        left[2].combine(right[2]),
        left[3].combine(right[3]),
        left2[0].combine(right2[0]),
        left2[1].combine(right2[1]),
        left2[2].combine(right2[2]),
        left2[3].combine(right2[3]),
    ]
}

const fn steps_f32() -> [f32; 32] {
    let mut steps = [0.0; 32];
    let mut lane = 16;
    while lane < 32 {
        steps[lane] = 1.0;
        lane += 1;
    }
    steps
}

fn fold(lanes: [f64; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
