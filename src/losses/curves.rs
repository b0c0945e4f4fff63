//! The curves of losses of single numbers, of the prediction p and the target t, e = p − t.
//!
//! | loss | ℓ(p, t) | ∂ℓ/∂p |
//! |---|---|---|
//! | mean squared error | e² | 2 e |
//! | mean absolute error | ∣e∣ | sign(e), 0 at e = 0 |
//! | Huber | ½ e² for ∣e∣ ≤ δ, else δ (∣e∣ − ½ δ) | e within ±δ |
//! | smooth L1 | ½ e² / β for ∣e∣ < β, else ∣e∣ − ½ β | e / β within ±1 |
//! | log-cosh | ∣e∣ + ln(1 + exp(−2 ∣e∣)) − ln 2, near 0 its series | tanh(e) |
//! | quantile (pinball) | f max(−q e, (1 − q) e) | −f q for e < 0, f (1 − q) for e > 0, 0 at e = 0 |
//! | squared logarithmic error | (ln(1 + p) − ln(1 + t))² | 2 (ln(1 + p) − ln(1 + t)) / (1 + p) |
//! | absolute percentage error | f ∣e∣ / max(∣t∣, ε) | f sign(e) / max(∣t∣, ε) |
//! | symmetric percentage error | s ∣e∣ / (∣p∣ + ∣t∣) | s (sign(e) − ∣e∣ sign(p) / (∣p∣ + ∣t∣)) / (∣p∣ + ∣t∣) |
//! | Poisson, p = ln of the rate | exp(p) − t p \[+ Stirling(t)\] | exp(p) − t |
//! | Poisson, p the rate | p − t ln(p + ε) \[+ Stirling(t)\] | 1 − t / (p + ε) |
//! | Gaussian, v = max(variance, ε) | ½ (ln v + e² / v) \[+ ½ ln 2π\] | e / v |
//! | the same of the variance | | ∂ℓ/∂v = ½ (1 / v − e² / v²) |
//!
//! Stirling(t) = t ln t − t + ½ ln 2πt for t > 1, else 0.

use fearless_simd::f64x8;
use fearless_simd::prelude::*;

use crate::float::Float;
use crate::simd::elementary::{exp, ln, ln_1p, sum_and_rest, tanh};

/// What a term is made of.
#[derive(Debug, Clone, Copy)]
pub struct Point<V> {
    /// The number of the first argument, with respect to which a slope is.
    pub prediction: V,
    /// What it should be.
    pub target: V,
    /// A third number, for curves that have one.
    pub other: V,
}

/// A curve and its slope. Its parameters are its fields.
pub trait Curve: Copy + Send + Sync {
    /// Whether it has a third number.
    const HAS_OTHER: bool = false;
    /// ℓ
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S>;
    /// ∂ℓ/∂prediction
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S>;
    /// The argument of which a valid number is refused, and what was expected.
    const REFUSES: Option<Refusal> = None;
}

/// Which numbers an argument must not have.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// The argument.
    pub argument: &'static str,
    /// Whether it is the third one, rather than the first.
    pub is_other: bool,
}

/// A curve that is computed in float64, because logarithms and exponentials are.
pub trait Smooth: Copy + Send + Sync {
    /// As in [`Curve`].
    const HAS_OTHER: bool = false;
    /// ℓ
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S>;
    /// ∂ℓ/∂prediction
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S>;
    /// As in [`Curve`].
    const REFUSES: Option<Refusal> = None;
}

/// The same number in every lane.
#[inline(always)]
fn all<T: Float, S: Simd>(simd: S, value: f64) -> T::Vector<S> {
    T::Vector::<S>::splat(simd, T::from_f64(value))
}

/// 1, −1 or 0; of a NaN the NaN itself.
#[inline(always)]
fn sign<S: Simd, V: SimdFloat<S>>(simd: S, x: V) -> V {
    let zero = V::splat(simd, V::Element::default());
    let one = V::splat(simd, V::Element::from(1u8));
    let sign = x.simd_gt(zero).select(one, x.simd_lt(zero).select(zero - one, zero));
    x.simd_eq(x).select(sign, x)
}

/// e²
#[derive(Debug, Clone, Copy)]
pub struct Squared;

impl Curve for Squared {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, _: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let e = at.prediction - at.target;
        e * e
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, _: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let e = at.prediction - at.target;
        e + e
    }
}

/// |e|
#[derive(Debug, Clone, Copy)]
pub struct Absolute;

impl Curve for Absolute {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, _: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        (at.prediction - at.target).abs()
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        sign(simd, at.prediction - at.target)
    }
}

/// A parabola within ±δ, and lines beyond; its slope is at most δ.
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// δ > 0
    pub delta: f64,
}

impl Curve for Huber {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let (delta, half) = (all::<T, S>(simd, self.delta), all::<T, S>(simd, 0.5));
        let e = (at.prediction - at.target).abs();
        e.simd_le(delta).select(half * e * e, delta * (e - half * delta))
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        within(all::<T, S>(simd, self.delta), at.prediction - at.target)
    }
}

/// x within ±most; NaN stays.
#[inline(always)]
fn within<S: Simd, V: SimdFloat<S>>(most: V, x: V) -> V {
    x.simd_gt(most).select(most, x.simd_lt(-most).select(-most, x))
}

/// A parabola within ±β, and lines beyond; its slope is at most 1.
#[derive(Debug, Clone, Copy)]
pub struct SmoothAbsolute {
    /// β ≥ 0; 0 is the absolute error.
    pub beta: f64,
}

impl Curve for SmoothAbsolute {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let (beta, half) = (all::<T, S>(simd, self.beta), all::<T, S>(simd, 0.5));
        let e = (at.prediction - at.target).abs();
        e.simd_lt(beta).select(half * e * e / beta, e - half * beta)
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let beta = all::<T, S>(simd, self.beta);
        let e = at.prediction - at.target;
        e.abs().simd_lt(beta).select(e / beta, sign(simd, e))
    }
}

/// ln cosh(e)
#[derive(Debug, Clone, Copy)]
pub struct LogCosh;

impl Smooth for LogCosh {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let constant = |value: f64| f64x8::splat(simd, value);
        let e = (at.prediction - at.target).abs();
        let u = exp(simd, e * constant(-2.0));
        let far = e + (ln(simd, u + constant(1.0)) - constant(std::f64::consts::LN_2));
        // Near 0, where that loses all digits: e²/2 − e⁴/12 + e⁶/45 − …
        let z = e * e;
        let mut near = constant(-691.0 / 935_550.0);
        for term in [31.0 / 14_175.0, -17.0 / 2520.0, 1.0 / 45.0, -1.0 / 12.0, 0.5] {
            near = near.mul_add(z, constant(term));
        }
        e.simd_lt(constant(0.1)).select(near * z, far)
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        tanh(simd, at.prediction - at.target)
    }
}

/// The pinball: its least mean is at the quantile q.
#[derive(Debug, Clone, Copy)]
pub struct Quantile {
    /// q, the same for all numbers.
    pub quantile: f64,
    /// What it is multiplied by.
    pub factor: f64,
}

impl Curve for Quantile {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let other = all::<T, S>(simd, self.quantile);
        Quantiles { factor: self.factor }.value::<T, S>(simd, Point { other, ..at })
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let other = all::<T, S>(simd, self.quantile);
        Quantiles { factor: self.factor }.slope::<T, S>(simd, Point { other, ..at })
    }
}

/// The same, with q as the third number.
#[derive(Debug, Clone, Copy)]
pub struct Quantiles {
    /// What it is multiplied by.
    pub factor: f64,
}

impl Curve for Quantiles {
    const HAS_OTHER: bool = true;

    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let (factor, zero) = (all::<T, S>(simd, self.factor), all::<T, S>(simd, 0.0));
        let e = at.prediction - at.target;
        let q = at.other;
        factor * e.simd_lt(zero).select(-(q * e), (all::<T, S>(simd, 1.0) - q) * e)
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let (factor, zero) = (all::<T, S>(simd, self.factor), all::<T, S>(simd, 0.0));
        let e = at.prediction - at.target;
        let q = at.other;
        let above = e.simd_gt(zero).select(all::<T, S>(simd, 1.0) - q, e);
        factor * e.simd_lt(zero).select(zero - q, above)
    }
}

/// The squared difference of ln(1 + x), which is ln(1 + |p − t| / (1 + min(p, t))): that loses nothing, however small the
/// numbers or their difference are.
#[derive(Debug, Clone, Copy)]
pub struct SquaredLogarithmic;

impl Smooth for SquaredLogarithmic {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let e = Self::distance(simd, at);
        e * e
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let e = sign(simd, at.prediction - at.target) * Self::distance(simd, at);
        (e + e) / (f64x8::splat(simd, 1.0) + at.prediction)
    }
}

impl SquaredLogarithmic {
    #[inline(always)]
    fn distance<S: Simd>(simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let is_less = at.prediction.simd_lt(at.target);
        let (least, most) = (is_less.select(at.prediction, at.target), is_less.select(at.target, at.prediction));
        let (base, base_rest) = sum_and_rest(f64x8::splat(simd, 1.0), least);
        let zero = f64x8::splat(simd, 0.0);
        let (difference, difference_rest) = sum_and_rest(most, zero - least);
        let quotient = difference / base;
        let remainder = (zero - quotient).mul_add(base, difference);
        let rest = (remainder + (difference_rest - quotient * base_rest)) / base;
        // Below −1 there is no logarithm.
        base.simd_ge(zero).select(ln_1p(simd, quotient, rest), f64x8::splat(simd, f64::NAN))
    }
}

/// |e| over |t|
#[derive(Debug, Clone, Copy)]
pub struct Percentage {
    /// What |t| is at least taken for.
    pub epsilon: f64,
    /// What it is multiplied by.
    pub factor: f64,
}

impl Smooth for Percentage {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        (at.prediction - at.target).abs() * f64x8::splat(simd, self.factor) / self.size(simd, at.target)
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        sign(simd, at.prediction - at.target) * f64x8::splat(simd, self.factor) / self.size(simd, at.target)
    }
}

impl Percentage {
    #[inline(always)]
    fn size<S: Simd>(self, simd: S, target: f64x8<S>) -> f64x8<S> {
        let (size, least) = (target.abs(), f64x8::splat(simd, self.epsilon));
        size.simd_lt(least).select(least, size)
    }
}

/// |e| over |p| + |t|
#[derive(Debug, Clone, Copy)]
pub struct SymmetricPercentage {
    /// The largest value.
    pub scale: f64,
    /// What 0 / 0 is.
    pub zero_division: f64,
}

impl Smooth for SymmetricPercentage {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let size = at.prediction.abs() + at.target.abs();
        let value = (at.prediction - at.target).abs() * f64x8::splat(simd, self.scale) / size;
        size.simd_eq(f64x8::splat(simd, 0.0)).select(f64x8::splat(simd, self.zero_division), value)
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let (e, zero) = (at.prediction - at.target, f64x8::splat(simd, 0.0));
        let size = at.prediction.abs() + at.target.abs();
        let slope = (sign(simd, e) - e.abs() * sign(simd, at.prediction) / size) / size;
        size.simd_eq(zero).select(zero, slope * f64x8::splat(simd, self.scale))
    }
}

/// Minus the log-probability of t under a Poisson distribution with the rate exp(p).
#[derive(Debug, Clone, Copy)]
pub struct PoissonOfLogarithm {
    /// Whether to add an approximation of ln t!, on which no slope depends.
    pub full: bool,
}

impl Smooth for PoissonOfLogarithm {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let value = exp(simd, at.prediction) - at.target * at.prediction;
        if self.full { value + stirling(simd, at.target) } else { value }
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        exp(simd, at.prediction) - at.target
    }
}

/// The same with the rate p.
#[derive(Debug, Clone, Copy)]
pub struct Poisson {
    /// As in [`PoissonOfLogarithm`].
    pub full: bool,
    /// What is added to the rate, so that 0 has a logarithm.
    pub epsilon: f64,
}

impl Smooth for Poisson {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let rate = at.prediction + f64x8::splat(simd, self.epsilon);
        let value = at.prediction - at.target * ln(simd, rate);
        if self.full { value + stirling(simd, at.target) } else { value }
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let rate = at.prediction + f64x8::splat(simd, self.epsilon);
        f64x8::splat(simd, 1.0) - at.target / rate
    }
}

/// Stirling's approximation of ln t!, for t > 1.
#[inline(always)]
fn stirling<S: Simd>(simd: S, t: f64x8<S>) -> f64x8<S> {
    let half = f64x8::splat(simd, 0.5);
    let value = t * ln(simd, t) - t + half * ln(simd, t * f64x8::splat(simd, std::f64::consts::TAU));
    // NaN is not at most 1.
    t.simd_le(f64x8::splat(simd, 1.0)).select(f64x8::splat(simd, 0.0), value)
}

/// Minus the log-probability of t under a normal distribution with the mean p, and the variance as third number.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian {
    /// Whether to add ½ ln 2π.
    pub full: bool,
    /// What the variance is at least taken for; its slope is passed on all the same.
    pub epsilon: f64,
}

impl Gaussian {
    #[inline(always)]
    fn value_at<S: Simd>(self, simd: S, e: f64x8<S>, variance: f64x8<S>) -> f64x8<S> {
        let v = self.clamped(simd, variance);
        let constant = if self.full { 0.5 * std::f64::consts::TAU.ln() } else { 0.0 };
        f64x8::splat(simd, 0.5) * (ln(simd, v) + e * e / v) + f64x8::splat(simd, constant)
    }

    #[inline(always)]
    fn clamped<S: Simd>(self, simd: S, variance: f64x8<S>) -> f64x8<S> {
        let least = f64x8::splat(simd, self.epsilon);
        variance.simd_lt(least).select(least, variance)
    }
}

impl Smooth for Gaussian {
    const HAS_OTHER: bool = true;
    const REFUSES: Option<Refusal> = Some(Refusal { argument: "variances", is_other: true });

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        self.value_at(simd, at.prediction - at.target, at.other)
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        (at.prediction - at.target) / self.clamped(simd, at.other)
    }
}

/// The same, with the variance as first number and the mean as third.
#[derive(Debug, Clone, Copy)]
pub struct GaussianOfVariance(pub Gaussian);

impl Smooth for GaussianOfVariance {
    const HAS_OTHER: bool = true;
    const REFUSES: Option<Refusal> = Some(Refusal { argument: "variances", is_other: false });

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        self.0.value_at(simd, at.other - at.target, at.prediction)
    }

    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, at: Point<f64x8<S>>) -> f64x8<S> {
        let (e, v) = (at.other - at.target, self.0.clamped(simd, at.prediction));
        f64x8::splat(simd, 0.5) * (f64x8::splat(simd, 1.0) - e * e / v) / v
    }
}

/// |t|, which metrics divide by.
#[derive(Debug, Clone, Copy)]
pub struct TargetSize;

impl Curve for TargetSize {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        // A prediction that is NaN makes no pair.
        let p = at.prediction;
        p.simd_eq(p).select(at.target.abs(), all::<T, S>(simd, f64::NAN))
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, _: Point<T::Vector<S>>) -> T::Vector<S> {
        all::<T, S>(simd, 0.0)
    }
}

/// 1: summed, the weight of what is valid.
#[derive(Debug, Clone, Copy)]
pub struct One;

impl Curve for One {
    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, _: Point<T::Vector<S>>) -> T::Vector<S> {
        all::<T, S>(simd, 1.0)
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, _: Point<T::Vector<S>>) -> T::Vector<S> {
        all::<T, S>(simd, 0.0)
    }
}

/// 1 where the target lies from p to the third number, else 0.
#[derive(Debug, Clone, Copy)]
pub struct Inside;

impl Curve for Inside {
    const HAS_OTHER: bool = true;

    #[inline(always)]
    fn value<T: Float, S: Simd>(self, simd: S, at: Point<T::Vector<S>>) -> T::Vector<S> {
        let Point { prediction: lower, target, other: upper } = at;
        let (zero, one) = (all::<T, S>(simd, 0.0), all::<T, S>(simd, 1.0));
        let is_below_upper = target.simd_le(upper).select(one, target.simd_gt(upper).select(zero, target + upper));
        target
            .simd_ge(lower)
            .select(is_below_upper, target.simd_lt(lower).select(zero * is_below_upper, target + lower))
    }

    #[inline(always)]
    fn slope<T: Float, S: Simd>(self, simd: S, _: Point<T::Vector<S>>) -> T::Vector<S> {
        all::<T, S>(simd, 0.0)
    }
}
