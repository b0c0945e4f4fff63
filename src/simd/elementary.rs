//! exp and ln of any number, in vectors of float64: what curves are made of whose argument has no sign.
//!
//! | function | error |
//! |---|---|
//! | `exp` | 3 ulp (sampled); ∞ beyond the largest number, 0 below the smallest normal one |
//! | `ln` | 1 ulp (sampled); −∞ at 0, NaN below, ∞ at ∞ |
//! | `tanh` | 1e-14 of the value (sampled) |
//!
//! NaN stays NaN.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::scaled::Scaled;
use super::{level, math};

/// exp(x). The square of exp(x / 2), so that nothing overflows on the way to a number that does not.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: f64x8<S>) -> f64x8<S> {
    // The exponential of the largest is ∞ already, and that of a larger one would be no number.
    let most = f64x8::splat(simd, 1418.0);
    let half = x.simd_gt(most).select(most, x) * f64x8::splat(simd, 0.5);
    let root = math::exp_f64x8(simd, half);
    // The square of the root of the smallest normal number is lost where the root is not.
    x.simd_lt(f64x8::splat(simd, -708.396_418_532_264)).select(f64x8::splat(simd, 0.0), root * root)
}

/// exp(x) of each number, in its place.
pub fn exp_each(numbers: &mut [f64]) {
    dispatch!(level(), simd => exp_each_in(simd, numbers));
}

#[inline(always)]
fn exp_each_in<S: Simd>(simd: S, numbers: &mut [f64]) {
    for chunk in numbers.chunks_mut(8) {
        let mut lanes = [0.0; 8];
        lanes[..chunk.len()].copy_from_slice(chunk);
        exp(simd, f64x8::from_slice(simd, &lanes)).store_slice(&mut lanes);
        chunk.copy_from_slice(&lanes[..chunk.len()]);
    }
}

/// ln(x): x = 2ᵏ m with m in [√½, √2), and ln m as in [`math::ln`].
#[inline(always)]
pub fn ln<S: Simd>(simd: S, x: f64x8<S>) -> f64x8<S> {
    ln_with(simd, x, f64x8::splat(simd, 0.0))
}

/// ln(1 + x + rest), where `rest` is what x lost when it was rounded: it is added to the logarithm with what the sum 1 + x
/// loses, both times the slope.
#[inline(always)]
pub fn ln_1p<S: Simd>(simd: S, x: f64x8<S>, rest: f64x8<S>) -> f64x8<S> {
    let (sum, lost) = sum_and_rest(f64x8::splat(simd, 1.0), x);
    ln_with(simd, sum, (lost + rest) / sum)
}

/// a + b, and what it lost when it was rounded (Knuth).
#[inline(always)]
pub fn sum_and_rest<S: Simd>(a: f64x8<S>, b: f64x8<S>) -> (f64x8<S>, f64x8<S>) {
    let sum = a + b;
    let own = sum - a;
    (sum, (a - (sum - own)) + (b - own))
}

/// ln(x) and a small number more.
#[inline(always)]
fn ln_with<S: Simd>(simd: S, x: f64x8<S>, more: f64x8<S>) -> f64x8<S> {
    let constant = |value: f64| f64x8::splat(simd, value);
    let (zero, one) = (constant(0.0), constant(1.0));
    // Subnormal numbers are scaled into the normal range first.
    let is_small = x.simd_lt(constant(f64::MIN_POSITIVE));
    let scaled = is_small.select(x * constant(2f64.powi(54)), x);
    let Scaled { mantissa, exponent } = Scaled { mantissa: scaled, exponent: zero }.normal();
    let exponent = exponent - is_small.select(constant(54.0), zero);
    let is_large = mantissa.simd_gt(constant(std::f64::consts::SQRT_2));
    let m = is_large.select(mantissa * constant(0.5), mantissa);
    let k = exponent + is_large.select(one, zero);
    let f = m - one;
    let s = f / (f + constant(2.0));
    let z = s * s;
    let mut rest = zero;
    for term in 0..12 {
        rest = (rest + constant(2.0 / (25.0 - 2.0 * f64::from(term)))) * z;
    }
    let half_square = constant(0.5) * f * f;
    let low = s * (half_square + rest) + (k * constant(math::LN_2_LOW) + more);
    let ln = k * constant(math::LN_2_HIGH) - ((half_square - low) - f);
    let ln = x.simd_eq(zero).select(constant(f64::NEG_INFINITY), ln);
    let ln = x.simd_eq(constant(f64::INFINITY)).select(x, ln);
    // Neither a negative number nor NaN is at least 0.
    x.simd_ge(zero).select(ln, constant(f64::NAN))
}

/// tanh(x) = sign(x) (1 − e)/(1 + e), e = exp(−2 |x|); near 0, where that loses digits, x − x³/3 + 2 x⁵/15 − …
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: f64x8<S>) -> f64x8<S> {
    let constant = |value: f64| f64x8::splat(simd, value);
    let (zero, one) = (constant(0.0), constant(1.0));
    let e = math::exp_f64x8(simd, x.abs() * constant(-2.0));
    let far = (one - e) / (one + e);
    let z = x * x;
    let mut rest = constant(-1382.0 / 155_925.0);
    for term in [62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
        rest = rest.mul_add(z, constant(term));
    }
    let near = (rest * z).mul_add(x, x);
    let signed = x.simd_lt(zero).select(zero - far, far);
    x.abs().simd_lt(constant(0.06)).select(near, signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_of(x: f64) -> f64 {
        dispatch!(level(), simd => exp(simd, f64x8::splat(simd, x))[0])
    }

    fn ln_of(x: f64) -> f64 {
        dispatch!(level(), simd => ln(simd, f64x8::splat(simd, x))[0])
    }

    #[test]
    fn exp_is_within_its_bound() {
        for i in -70_800..70_970 {
            let x = f64::from(i) / 100.0 + 1e-5;
            let truth = x.exp();
            assert!(((exp_of(x) - truth) / truth).abs() < 3.0 * f64::EPSILON, "{x}: {} {truth}", exp_of(x));
        }
        assert_eq!((exp_of(0.0), exp_of(f64::NEG_INFINITY), exp_of(-709.0)), (1.0, 0.0, 0.0));
        assert_eq!(
            (exp_of(710.0), exp_of(1e300), exp_of(f64::INFINITY)),
            (f64::INFINITY, f64::INFINITY, f64::INFINITY)
        );
        assert!(exp_of(f64::NAN).is_nan());
    }

    #[test]
    fn tanh_is_within_its_bound() {
        let tanh_of = |x: f64| dispatch!(level(), simd => tanh(simd, f64x8::splat(simd, x))[0]);
        for i in -3000..3000 {
            for x in [f64::from(i) / 100.0 + 1e-5, f64::from(i) / 30_000.0 + 1e-9, f64::from(i) * 1e-12] {
                assert!((tanh_of(x) - x.tanh()).abs() <= 1e-14 * x.tanh().abs(), "{x}: {} {}", tanh_of(x), x.tanh());
            }
        }
        assert_eq!((tanh_of(f64::INFINITY), tanh_of(f64::NEG_INFINITY), tanh_of(0.0)), (1.0, -1.0, 0.0));
        assert!(tanh_of(f64::NAN).is_nan());
    }

    #[test]
    fn ln_is_that_of_single_numbers() {
        for i in 0..200_000 {
            let x = (f64::from(i) / 200.0 - 500.0).exp2() * 1.000_123;
            let truth = x.ln();
            assert!(
                (ln_of(x) - truth).abs() <= 1.1 * f64::EPSILON * truth.abs().max(1e-3),
                "{x}: {} {truth}",
                ln_of(x)
            );
        }
        assert_eq!((ln_of(0.0), ln_of(1.0), ln_of(f64::INFINITY)), (f64::NEG_INFINITY, 0.0, f64::INFINITY));
        assert!((ln_of(f64::from_bits(1)) - f64::from_bits(1).ln()).abs() < 1e-12);
        assert!(ln_of(-1.0).is_nan() && ln_of(f64::NAN).is_nan() && ln_of(f64::NEG_INFINITY).is_nan());
    }
}
