//! Numbers as mantissa and exponent: what probabilities of long sequences need, because their exponents leave any float.
//!
//! A [`Scaled`] vector holds eight numbers m · 2ᵉ with m in [1, 2), or m = 0. The exponent is a whole number kept as a
//! float64, so that maxima, differences and sums of exponents are ordinary vector operations. Adding needs powers of two,
//! which are made from bits; there is neither an exponential nor a logarithm in it.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8, u64x8};

use super::{level, math};

/// How many numbers a vector holds.
pub const LANES: usize = 8;
/// The exponent of 0: below that of any other number.
pub const BOTTOM: f64 = -1e300;
/// Adding this to a whole number leaves it, plus 1023, in the lowest bits: a shift makes the exponent field of it.
const EXPONENT_FIELD: f64 = 4_503_599_627_370_496.0 + 1023.0;

/// Eight numbers m · 2ᵉ.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<S: Simd> {
    /// m
    pub mantissa: f64x8<S>,
    /// e, whole numbers
    pub exponent: f64x8<S>,
}

impl<S: Simd> Scaled<S> {
    /// The same number eight times.
    #[inline(always)]
    pub fn splat(simd: S, (mantissa, exponent): (f64, f64)) -> Self {
        Self { mantissa: f64x8::splat(simd, mantissa), exponent: f64x8::splat(simd, exponent) }
    }

    /// Eight numbers from `at` on.
    #[inline(always)]
    pub fn load(simd: S, (mantissas, exponents): (&[f64], &[f64]), at: usize) -> Self {
        Self {
            mantissa: f64x8::from_slice(simd, &mantissas[at..at + LANES]),
            exponent: f64x8::from_slice(simd, &exponents[at..at + LANES]),
        }
    }

    /// Writes them from `at` on.
    #[inline(always)]
    pub fn store(self, (mantissas, exponents): (&mut [f64], &mut [f64]), at: usize) {
        self.mantissa.store_slice(&mut mantissas[at..at + LANES]);
        self.exponent.store_slice(&mut exponents[at..at + LANES]);
    }

    /// exp of numbers that are neither NaN nor +∞. Mantissas are within [0.7, 1.42], which is normal enough to multiply by;
    /// that of exp(−∞) is 0.
    #[inline(always)]
    pub fn exp(simd: S, x: f64x8<S>) -> Self {
        let zero = f64x8::splat(simd, 0.0);
        let exponent = (x * std::f64::consts::LOG2_E).round_ties_even();
        let r = exponent
            .mul_add(f64x8::splat(simd, -math::LN_2_LOW), exponent.mul_add(f64x8::splat(simd, -math::LN_2_HIGH), x));
        // Numbers beyond 1e10 leave a remainder that is all rounding error: it is kept within its range.
        let r = r.min(f64x8::splat(simd, 0.35)).max(f64x8::splat(simd, -0.35));
        // What lies near the exponent of 0 is 0.
        let is_zero = x.simd_lt(f64x8::splat(simd, BOTTOM / 10.0));
        Self {
            mantissa: is_zero.select(zero, math::exp_near_0::<S, false>(simd, r)),
            exponent: is_zero.select(zero, exponent),
        }
    }

    /// The sum of two, its mantissa not yet normal.
    #[must_use]
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        let exponent = self.exponent.max(other.exponent);
        let own = self.mantissa * power(self.exponent - exponent);
        Self { mantissa: other.mantissa.mul_add(power(other.exponent - exponent), own), exponent }
    }

    /// The sum of three, its mantissa not yet normal.
    #[must_use]
    #[inline(always)]
    pub fn plus_two(self, second: Self, third: Self) -> Self {
        let exponent = self.exponent.max(second.exponent.max(third.exponent));
        let own = self.mantissa * power(self.exponent - exponent);
        let two = second.mantissa.mul_add(power(second.exponent - exponent), own);
        Self { mantissa: third.mantissa.mul_add(power(third.exponent - exponent), two), exponent }
    }

    /// The product, its mantissa not yet normal.
    #[must_use]
    #[inline(always)]
    pub fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// The same numbers with mantissas in [1, 2), or 0. Mantissas must not be subnormal.
    #[must_use]
    #[inline(always)]
    pub fn normal(self) -> Self {
        let simd = self.mantissa.token();
        let bits: u64x8<S> = self.mantissa.bitcast();
        let is_zero = self.mantissa.simd_eq(f64x8::splat(simd, 0.0));
        let field: f64x8<S> = ((bits >> 52) | u64x8::splat(simd, 0x4330_0000_0000_0000)).bitcast();
        let mantissa: f64x8<S> =
            ((bits & u64x8::splat(simd, 0x000f_ffff_ffff_ffff)) | u64x8::splat(simd, 0x3ff0_0000_0000_0000)).bitcast();
        let exponent = self.exponent + (field - f64x8::splat(simd, EXPONENT_FIELD));
        Self {
            mantissa: is_zero.select(f64x8::splat(simd, 0.0), mantissa),
            exponent: is_zero.select(f64x8::splat(simd, BOTTOM), exponent),
        }
    }

    /// The numbers as float64, where they are below 2¹⁰²³; what is too small is 0.
    #[inline(always)]
    pub fn to_f64(self) -> f64x8<S> {
        self.mantissa * power(self.exponent)
    }
}

/// 2ⁿ for whole n up to 1023; 0 where it would not be normal.
#[inline(always)]
pub fn power<S: Simd>(n: f64x8<S>) -> f64x8<S> {
    let simd = n.token();
    // −1023 has an exponent field of 0, which is the number 0.
    let shifted = n.max(f64x8::splat(simd, -1023.0)) + f64x8::splat(simd, EXPONENT_FIELD);
    (shifted.bitcast::<u64x8<S>>() << 52).bitcast()
}

/// exp of one number, as mantissa and exponent.
pub fn exp(x: f64) -> (f64, f64) {
    dispatch!(level(), simd => {
        let exp = Scaled::exp(simd, f64x8::splat(simd, x)).normal();
        (exp.mantissa[0], exp.exponent[0])
    })
}

/// The sum of two single numbers, as mantissa and exponent.
pub fn sum(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let exponent = a.1.max(b.1);
    // Powers of whole numbers are exact.
    let scaled = |(mantissa, e): (f64, f64)| mantissa * (e - exponent).max(-1023.0).exp2();
    (scaled(a) + scaled(b), exponent)
}

/// One number with a mantissa in [1, 2), or 0.
pub fn normal((mantissa, exponent): (f64, f64)) -> (f64, f64) {
    if mantissa == 0.0 {
        return (0.0, BOTTOM);
    }
    let bits = mantissa.to_bits();
    let own = (bits >> 52) as i32 - 1023;
    (f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000), exponent + f64::from(own))
}

/// ln of one number; −∞ for 0.
pub fn ln((mantissa, exponent): (f64, f64)) -> f64 {
    if mantissa == 0.0 {
        return f64::NEG_INFINITY;
    }
    // The first product is exact for exponents below 2²⁰.
    exponent * math::LN_2_HIGH + (exponent * math::LN_2_LOW + math::ln(mantissa))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln of what `compute` makes of exp(x), exp(y), exp(z), of the first lane.
    macro_rules! ln_of {
        ($x:expr, $y:expr, $z:expr, $compute:expr) => {
            dispatch!(level(), simd => {
                let exp = |x| Scaled::exp(simd, f64x8::splat(simd, x)).normal();
                let result = $compute(exp($x), exp($y), exp($z)).normal();
                assert!(result.mantissa[0] == 0.0 || (1.0..2.0).contains(&result.mantissa[0]));
                ln((result.mantissa[0], result.exponent[0]))
            })
        };
    }

    #[test]
    fn arithmetic_agrees_with_float64() {
        for i in -150..150 {
            for j in -150..150 {
                let (x, y) = (f64::from(i) * 1.7, f64::from(j) * 0.9);
                let close = |found: f64, truth: f64| {
                    assert!((found - truth).abs() < 1e-13 * truth.abs().max(1.0), "{x} {y}: {found} {truth}");
                };
                close(ln_of!(x, y, y, |a: Scaled<_>, b, c| a.plus_two(b, c)), (x.exp() + 2.0 * y.exp()).ln());
                close(ln_of!(x, y, y, |a: Scaled<_>, b, _| a.plus(b)), (x.exp() + y.exp()).ln());
                close(ln_of!(x, y, y, |a: Scaled<_>, b, _| a.times(b)), x + y);
                close(ln(sum((x.exp(), 0.0), (y.exp(), 0.0))), (x.exp() + y.exp()).ln());
            }
        }
    }

    #[test]
    fn zero_and_what_no_float_holds() {
        let zero = f64::NEG_INFINITY;
        assert!((ln_of!(-1e5, -2e5, zero, |a: Scaled<_>, b, c| a.times(b).normal().plus(c)) + 3e5).abs() < 1e-9);
        assert_eq!(ln_of!(zero, -2e5, zero, |a: Scaled<_>, b, _| a.times(b)), zero);
        assert_eq!(ln_of!(zero, zero, zero, |a: Scaled<_>, b, c| a.plus_two(b, c)), zero);
        assert_eq!(ln_of!(-1.0, zero, zero, |a: Scaled<_>, b, c| a.plus_two(b, c)), -1.0);
        assert!((ln_of!(-1e30, zero, zero, |a, _, _| a) / -1e30 - 1.0).abs() < 1e-15);
        assert_eq!(ln_of!(0.0, zero, zero, |a, _, _| a), 0.0);
        let float = |x| dispatch!(level(), simd => Scaled::exp(simd, f64x8::splat(simd, x)).to_f64()[0]);
        assert_eq!(float(-1e5), 0.0);
        assert!((float(-1.5) - (-1.5f64).exp()).abs() < 1e-16);
    }
}
