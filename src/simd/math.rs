//! exp and ln of our own: the platform's differ between systems, and do not come in vectors.
//!
//! | function | argument | error |
//! |---|---|---|
//! | `exps_f32x16` | x ≤ 0 | 0.89 ulp (of every float32 of its range; the tests try one in 61, and all with `SEQLOSS_EXHAUSTIVE=1`); 1.2 without fused multiply-add (one in 61) |
//! | `exp_f64x8`, `exps_f64x8` | x ≤ 0 | 0.96 ulp (sampled) |
//! | `ln` | x > 0 | 1 ulp (sampled) |
//!
//! Results below the smallest normal number are 0, or subnormal within a factor of √½; exp(−∞) is exactly 0, exp(0) exactly 1, and NaN stays NaN.

use fearless_simd::prelude::*;
use fearless_simd::{f32x16, f64x8, i32x16, i64x8};

// x = n ln 2 + r, |r| ≤ ln 2 / 2, then exp(x) = 2ⁿ exp(r). Adding and subtracting 1.5·2²³ (1.5·2⁵²) rounds to the nearest
// integer, and leaves n in the low bits of the sum, from where a shift moves it into the exponent; in float32 the bias of
// the exponent, 127, is added along. ln 2 is split in two so that n ln 2 loses nothing: the first part has few enough bits
// for n times it to be exact.
const ROUND_F32: f32 = 12_582_912.0 + 127.0;
const LN_2_HIGH_F32: f32 = 0.693_145_75;
const LN_2_LOW_F32: f32 = 1.428_606_8e-6;
const LEAST_F32: f32 = -88.0; // 2⁻¹²⁷ of it, which as a power is 0

const ROUND_F64: f64 = 6_755_399_441_055_744.0;
pub(super) const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
pub(super) const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
const LEAST_F64: f64 = -709.09; // 2⁻¹⁰²³ of it, likewise

/// exp(x) for x ≤ 0, of several vectors at once. Degree 6 in r, fitted to the least relative error (3e-9) with the first two
/// coefficients held at 1; degree 5 gives 2 ulp, and 1 + (r + r² q), which is one operation more, 1.01. A clamp before
/// costs less than a selection after, and a maximum in its place would lose NaN on the baseline.
///
/// Every vector is a chain of sixteen operations, each of which waits for the one before; a processor sees some sixty
/// operations ahead, and in a row they are two or three chains. Reducing several vectors before the polynomial of the
/// first halves the chains: of four vectors a number takes 0.26 ns, of one 0.35 (Zen 3, AVX2, 3.2 GHz). With eight what
/// waits in between outgrows the registers by so much that it is 0.37.
#[inline(always)]
pub fn exps_f32x16<S: Simd, const N: usize>(simd: S, mut x: [f32x16<S>; N]) -> [f32x16<S>; N] {
    let constant = |value: f32| f32x16::splat(simd, value);
    let mut powers = [constant(0.0); N];
    for (x, power) in x.iter_mut().zip(&mut powers) {
        let clamped = x.simd_lt(constant(LEAST_F32)).select(constant(LEAST_F32), *x);
        let shifted = clamped.mul_add(constant(std::f32::consts::LOG2_E), constant(ROUND_F32));
        let n = shifted - constant(ROUND_F32);
        *x = n.mul_add(constant(-LN_2_LOW_F32), n.mul_add(constant(-LN_2_HIGH_F32), clamped));
        *power = (shifted.bitcast::<i32x16<S>>() << 23).bitcast();
    }
    for (r, &power) in x.iter_mut().zip(&powers) {
        let mut p = constant(1.381_453_9e-3);
        p = p.mul_add(*r, constant(8.368_745e-3));
        p = p.mul_add(*r, constant(4.166_839e-2));
        p = p.mul_add(*r, constant(1.666_652_1e-1));
        p = p.mul_add(*r, constant(0.499_999_94));
        p = p.mul_add(*r, constant(1.0));
        p = p.mul_add(*r, constant(1.0));
        *r = p * power;
    }
    x
}

/// q of exp(r) = 1 + r + r² q(r) for |r| ≤ ln 2 / 2, the highest power first, fitted to the least relative error of exp:
/// 4e-18. The series of Taylor takes two terms more for as much, and they are an eighth of all that exp costs.
const FIT: [f64; 10] = [
    2.500_007_151_288_889_7e-8,
    2.763_023_404_002_919e-7,
    2.755_758_626_954_522_7e-6,
    2.480_149_313_588_193_4e-5,
    1.984_126_950_677_549_8e-4,
    1.388_888_894_359_795_7e-3,
    8.333_333_333_494_335e-3,
    4.166_666_666_653_026_7e-2,
    1.666_666_666_666_641_3e-1,
    5.000_000_000_000_011e-1,
];

/// The same within 1.2e-12, for what is rounded to float32 in the end.
const ROUGH_FIT: [f64; 7] = [
    2.470_840_795_116_907e-5,
    1.990_894_044_752_145e-4,
    1.388_919_683_245_922e-3,
    8.333_281_805_193_564e-3,
    4.166_666_440_743_932e-2,
    1.666_666_678_445_569_1e-1,
    5.000_000_000_426_214e-1,
];

/// exp(r) for |r| ≤ ln 2 / 2.
#[inline(always)]
pub(super) fn exp_near_0<S: Simd, const IS_ROUGH: bool>(simd: S, r: f64x8<S>) -> f64x8<S> {
    let constant = |value: f64| f64x8::splat(simd, value);
    let fit: &[f64] = if IS_ROUGH { &ROUGH_FIT } else { &FIT };
    let mut p = constant(fit[0]);
    for &coefficient in &fit[1..] {
        p = p.mul_add(r, constant(coefficient));
    }
    p.mul_add(r * r, r) + constant(1.0)
}

/// exp(x) for x ≤ 0.
#[inline(always)]
pub fn exp_f64x8<S: Simd>(simd: S, x: f64x8<S>) -> f64x8<S> {
    let [e] = exps_f64x8_of::<S, 1, false>(simd, [x]);
    e
}

/// The same of several vectors at once, as [`exps_f32x16`].
#[inline(always)]
pub fn exps_f64x8<S: Simd, const N: usize>(simd: S, x: [f64x8<S>; N]) -> [f64x8<S>; N] {
    exps_f64x8_of::<S, N, false>(simd, x)
}

/// The same of one, within 1e-11 only.
#[inline(always)]
pub fn exp_rough_f64x8<S: Simd>(simd: S, x: f64x8<S>) -> f64x8<S> {
    let [e] = exps_f64x8_of::<S, 1, true>(simd, [x]);
    e
}

#[inline(always)]
fn exps_f64x8_of<S: Simd, const N: usize, const IS_ROUGH: bool>(simd: S, mut x: [f64x8<S>; N]) -> [f64x8<S>; N] {
    let constant = |value: f64| f64x8::splat(simd, value);
    let mut powers = [constant(0.0); N];
    for (x, power) in x.iter_mut().zip(&mut powers) {
        let clamped = x.simd_lt(constant(LEAST_F64)).select(constant(LEAST_F64), *x);
        let shifted = clamped.mul_add(constant(std::f64::consts::LOG2_E), constant(ROUND_F64));
        let n = shifted - constant(ROUND_F64);
        *x = n.mul_add(constant(-LN_2_LOW), n.mul_add(constant(-LN_2_HIGH), clamped));
        *power = ((shifted.bitcast::<i64x8<S>>() << 52) + i64x8::splat(simd, 1023 << 52)).bitcast();
    }
    for (r, &power) in x.iter_mut().zip(&powers) {
        *r = exp_near_0::<S, IS_ROUGH>(simd, *r) * power;
    }
    x
}

/// Natural logarithm; −∞ at 0, NaN below, +∞ at +∞.
///
/// x = 2ᵏ m with m in [√½, √2), and ln m = 2 artanh(s), s = (m − 1)/(m + 1), as a series in s² ≤ 0.0295.
pub fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == f64::INFINITY {
        return x;
    }
    // Subnormal numbers are scaled into the normal range first.
    let (x, offset) = if x < f64::MIN_POSITIVE { (x * 2f64.powi(54), -54) } else { (x, 0) };
    let bits = x.to_bits();
    let split = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let k = (bits as i64 - split as i64) >> 52;
    let m = f64::from_bits((bits as i64 - (k << 52)) as u64);
    series(m - 1.0, (k + offset) as f64)
}

/// k ln 2 + ln(1 + f). With s = f/(2 + f): ln(1 + f) = f − (f²/2 − s (f²/2 + R)), where R is the rest of the series; this
/// form keeps f, which is exact, apart from all that is rounded.
fn series(f: f64, k: f64) -> f64 {
    const TERMS: [f64; 12] = {
        let mut terms = [0.0; 12];
        let mut i = 0;
        while i < 12 {
            terms[i] = 2.0 / (25.0 - 2.0 * i as f64);
            i += 1;
        }
        terms
    };
    let s = f / (2.0 + f);
    let z = s * s;
    let mut rest = 0.0;
    for term in TERMS {
        rest = (rest + term) * z;
    }
    let half_square = 0.5 * f * f;
    k * LN_2_HIGH - ((half_square - (s * (half_square + rest) + k * LN_2_LOW)) - f)
}

#[cfg(test)]
mod tests {
    use fearless_simd::dispatch;

    use super::*;
    use crate::simd::{Lanes, level};

    fn exp_all<T: Lanes>(values: &mut [T]) {
        #[inline(always)]
        fn run<T: Lanes, S: Simd>(simd: S, values: &mut [T]) {
            for chunk in values.chunks_exact_mut(T::LANES) {
                let [e] = T::exp(simd, [T::Vector::<S>::from_slice(simd, chunk)]);
                e.store_slice(chunk);
            }
        }
        dispatch!(level(), simd => run(simd, values));
    }

    #[test]
    fn exp_of_float32_is_within_its_bound() {
        let least = (-87.336_54f32).to_bits();
        let mut worst = 0.0f64;
        let mut bits = (-0.0f32).to_bits();
        // All 1.1e9 of them take a quarter of a minute; a stride that shares no factor with 2 visits a fair part.
        let stride = if std::env::var_os("SEQLOSS_EXHAUSTIVE").is_some() { 1 } else { 61 };
        let mut values = vec![0.0f32; 1 << 16];
        while bits <= least {
            let first = bits;
            for value in &mut values {
                *value = f32::from_bits(bits.min(least));
                bits += stride;
            }
            exp_all(&mut values);
            for (i, &value) in values.iter().enumerate() {
                let x = f32::from_bits((first + i as u32 * stride).min(least));
                let truth = f64::from(x).exp();
                let ulp = f64::from(f32::from_bits((truth as f32).to_bits() + 1)) - f64::from(truth as f32);
                worst = worst.max((f64::from(value) - truth).abs() / ulp);
            }
        }
        let bound = if crate::simd::name() == "baseline" { 1.2 } else { 0.89 };
        assert!(worst < bound, "{worst} ulp");
    }

    #[test]
    fn exp_of_float64_is_within_one_ulp_of_the_platform() {
        let mut values: Vec<f64> = (0..80_000).map(|i| -708.0 * f64::from(i) / 79_999.0).collect();
        let truth: Vec<f64> = values.iter().map(|x| x.exp()).collect();
        exp_all(&mut values);
        for (value, truth) in values.iter().zip(&truth) {
            // The platform's own error comes on top, half an ulp at most.
            assert!((value - truth).abs() <= 1.5 * truth * f64::EPSILON, "{value} {truth}");
        }
    }

    #[test]
    fn rough_exp_is_within_its_bound() {
        for i in 0..60_000 {
            let x = -708.0 * f64::from(i) / 59_999.0;
            let value = dispatch!(level(), simd => exp_rough_f64x8(simd, f64x8::splat(simd, x)).to_array()[0]);
            assert!((value / x.exp() - 1.0).abs() < 1e-11, "{x}: {value}");
        }
    }

    #[test]
    fn exp_at_the_edges() {
        let mut values = [f32::NEG_INFINITY; 16];
        values[1] = 0.0;
        values[2] = f32::NAN;
        values[3] = -1e30;
        values[4] = -87.5;
        values[5] = -87.7;
        exp_all(&mut values);
        assert_eq!(values[..2], [0.0, 1.0]);
        assert!(values[2].is_nan());
        assert_eq!(values[3], 0.0);
        assert!((f64::from(values[4]) - (-87.5f64).exp()).abs() < 1e-44);
        assert_eq!(values[5], 0.0);
        let mut values = [f64::NEG_INFINITY, 0.0, f64::NAN, -1e300, -0.0, -1.0, -2.0, -3.0];
        exp_all(&mut values);
        assert_eq!(values[..2], [0.0, 1.0]);
        assert!(values[2].is_nan());
        assert_eq!(values[3], 0.0);
    }

    #[test]
    fn ln_agrees_with_the_platform() {
        for i in 0..200_000u64 {
            let x = f64::from_bits(0x1234_5678_9abc_u64.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1));
            if x.is_finite() && x > 0.0 {
                let truth = x.ln();
                assert!((ln(x) - truth).abs() <= 1.5 * truth.abs() * f64::EPSILON, "{x:e} {} {truth}", ln(x));
            }
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert!(ln(-1.0).is_nan() && ln(f64::NAN).is_nan());
        assert!((ln(5e-324) - 5e-324f64.ln()).abs() < 1e-12);
    }
}
