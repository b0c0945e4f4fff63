//! Numbers as mantissa and exponent: what probabilities of long sequences need, because their exponents leave any float.
//!
//! A [`Scaled`] number is m · 2ᵉ with m in [1, 2), or m = 0. The exponent is a whole number kept as a float64, so that
//! maxima, differences and sums of exponents are ordinary vector operations. Adding needs powers of two, which are made
//! from bits; there is neither an exponential nor a logarithm in it. All functions are plain arithmetic on one number, and
//! become vectors in the loops that call them.

use super::math;

/// m · 2ᵉ
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaled {
    /// m
    pub mantissa: f64,
    /// e, a whole number
    pub exponent: f64,
}

/// The exponent of 0: below that of any other number.
const BOTTOM: f64 = -1e300;
/// Adding this to a whole number leaves it, plus 1023, in the lowest bits: a shift makes the exponent field of it.
const EXPONENT_FIELD: f64 = 4_503_599_627_370_496.0 + 1023.0;

impl Scaled {
    /// 0
    pub const ZERO: Self = Self { mantissa: 0.0, exponent: BOTTOM };
    /// 1
    pub const ONE: Self = Self { mantissa: 1.0, exponent: 0.0 };

    /// exp(x) for any x that is not NaN or +∞. The mantissa is within [0.7, 1.42]; that is normal enough to multiply by.
    #[inline(always)]
    pub fn exp(x: f64) -> Self {
        let exponent = (x * std::f64::consts::LOG2_E).round_ties_even();
        let mantissa = math::exp_near_0(x - exponent * math::LN_2_HIGH - exponent * math::LN_2_LOW);
        let zero = x == f64::NEG_INFINITY;
        Self { mantissa: if zero { 0.0 } else { mantissa }, exponent: if zero { 0.0 } else { exponent } }
    }

    /// ln of it; −∞ for 0.
    pub fn ln(self) -> f64 {
        if self.mantissa == 0.0 {
            return f64::NEG_INFINITY;
        }
        // The first product is exact.
        self.exponent * math::LN_2_HIGH + (self.exponent * math::LN_2_LOW + math::ln(self.mantissa))
    }

    /// The sum of three numbers, its mantissa not yet normal; the third is times `share` (0 or 1).
    #[inline(always)]
    pub fn sum(a: Self, b: Self, c: Self, share: f64) -> Self {
        let exponent = larger(a.exponent, larger(b.exponent, c.exponent));
        let mantissa = a.mantissa * power(a.exponent - exponent)
            + b.mantissa * power(b.exponent - exponent)
            + share * c.mantissa * power(c.exponent - exponent);
        Self { mantissa, exponent }
    }

    /// The sum of two numbers, its mantissa not yet normal.
    #[inline(always)]
    pub fn sum_of_two(a: Self, b: Self) -> Self {
        let exponent = larger(a.exponent, b.exponent);
        let mantissa = a.mantissa * power(a.exponent - exponent) + b.mantissa * power(b.exponent - exponent);
        Self { mantissa, exponent }
    }

    /// The product, its mantissa not yet normal.
    #[inline(always)]
    pub fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// The same number with its mantissa in [1, 2), or 0.
    #[inline(always)]
    pub fn normal(self) -> Self {
        let bits = self.mantissa.to_bits();
        let zero = self.mantissa == 0.0;
        let shift = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - EXPONENT_FIELD;
        let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
        Self {
            mantissa: if zero { 0.0 } else { mantissa },
            exponent: if zero { BOTTOM } else { self.exponent + shift },
        }
    }

    /// The number as a float64, where it is at most 2¹⁰²³; what is too small is 0.
    #[inline(always)]
    pub fn to_f64(self) -> f64 {
        self.mantissa * power(self.exponent)
    }
}

impl Default for Scaled {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Without the care for NaN that `f64::max` takes, which costs two more instructions.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// 2ⁿ for a whole n up to 1023; 0 where it would not be normal.
#[inline(always)]
fn power(n: f64) -> f64 {
    // −1023 has an exponent field of 0, which is the number 0.
    f64::from_bits((larger(n, -1023.0) + EXPONENT_FIELD).to_bits() << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_agrees_with_float64() {
        for i in -300..300 {
            for j in -300..300 {
                let (x, y) = (f64::from(i) * 0.7, f64::from(j) * 0.3);
                let (a, b) = (Scaled::exp(x), Scaled::exp(y));
                let sum = Scaled::sum(a, b, b, 1.0).normal();
                let truth = (x.exp() + 2.0 * y.exp()).ln();
                assert!((sum.ln() - truth).abs() < 1e-13 * truth.abs().max(1.0), "{x} {y}");
                assert_eq!(Scaled::sum(a, b, b, 0.0).normal(), Scaled::sum_of_two(a, b).normal());
                let product = a.times(b).normal();
                assert!((product.ln() - (x + y)).abs() < 1e-13 * (x + y).abs().max(1.0));
                assert!((1.0..2.0).contains(&product.mantissa));
            }
        }
    }

    #[test]
    fn zero_and_what_no_float_holds() {
        let huge = Scaled::exp(-1e5).times(Scaled::exp(-2e5)).normal();
        assert!((huge.ln() + 3e5).abs() < 1e-9);
        assert_eq!(Scaled::sum_of_two(huge, Scaled::ZERO).normal(), huge);
        assert_eq!(Scaled::exp(f64::NEG_INFINITY).times(huge).normal(), Scaled::ZERO);
        assert_eq!(Scaled::ZERO.times(huge).normal(), Scaled::ZERO);
        assert_eq!(Scaled::ZERO.ln(), f64::NEG_INFINITY);
        assert_eq!(Scaled::ONE.ln(), 0.0);
        assert_eq!(Scaled::sum(Scaled::ZERO, Scaled::ZERO, Scaled::ZERO, 1.0).normal(), Scaled::ZERO);
        assert_eq!(huge.to_f64(), 0.0);
        assert!((Scaled::exp(-1e30).ln() / -1e30 - 1.0).abs() < 1e-15);
        assert_eq!(Scaled::exp(0.0), Scaled::ONE);
    }
}
