//! Eight frames at a time: the probability of every class that occurs in the target.

use fearless_simd::f64x8;
use fearless_simd::prelude::*;

use super::LANES;
use crate::error::Error;
use crate::input::resize;
use crate::simd::math;
use crate::simd::scaled::Scaled;

/// With probabilities below 2 to this power, or above 1 over it, the whole block is kept as mantissas and exponents.
const DEEPEST: f64 = -900.0;

/// The probabilities of up to eight frames, in rows of eight: one for each slot. A slot is a class that occurs; slot 0 is
/// the blank, and the last one has no probability in any frame.
#[derive(Default)]
pub(crate) struct Frames {
    /// How many frames there are.
    pub(crate) count: usize,
    /// Logarithms of the probabilities, less those of `normals`; written by the caller.
    pub(crate) logarithms: Vec<f64>,
    /// Factors on the probabilities of each frame: 1/Σ of the softmax.
    pub(crate) normals: [f64; LANES],
    /// Probabilities; mantissas where they are deep.
    pub(super) probabilities: Vec<f64>,
    /// Exponents, where they are deep.
    pub(super) exponents: Vec<f64>,
    pub(super) is_deep: bool,
    /// Whether some class has no probability, frame by frame.
    pub(super) has_zero: [bool; LANES],
    /// How many bits above 1 a probability may lie, in whole bits and so up to 1 for one that does not: scores need not be
    /// normalised.
    pub(super) growth: [f64; LANES],
    /// Whether what comes out is rounded to float32.
    pub(crate) is_rough: bool,
    /// The factor on classes other than the blank where any may stand; 0 where none may.
    pub(crate) star_weight: f64,
    /// The probability of all classes but the blank in each frame, where stars need it; written by the caller.
    pub(crate) others: [f64; LANES],
    /// The probability of a star in each frame: the blank's, and that of all others with their factor.
    pub(crate) stars: [f64; LANES],
    /// NaN or +∞ came along.
    pub(super) is_nan: bool,
}

impl Frames {
    /// Room for the classes that occur.
    pub(super) fn set(&mut self, slots: usize) -> Result<(), Error> {
        resize(&mut self.probabilities, (slots + 1) * LANES, 0.0)?;
        resize(&mut self.logarithms, slots * LANES, 0.0)?;
        resize(&mut self.exponents, (slots + 1) * LANES, 0.0)?;
        self.normals = [1.0; LANES];
        (self.star_weight, self.others) = (0.0, [0.0; LANES]);
        Ok(())
    }

    /// The probability of a slot in each frame.
    #[inline]
    pub(crate) fn row(&self, slot: usize) -> &[f64] {
        &self.probabilities[slot * LANES..][..LANES]
    }

    /// Turns the logarithms into probabilities.
    #[inline(always)]
    pub(super) fn exponentiate<S: Simd>(&mut self, simd: S) {
        let splat = |value: f64| f64x8::splat(simd, value);
        let (mut least, mut most, mut sum) = (splat(0.0), splat(f64::NEG_INFINITY), splat(0.0));
        for row in self.logarithms.chunks_exact(LANES) {
            let score = f64x8::from_slice(simd, row);
            most = most.max(score);
            sum += score;
            least = least.min(score.simd_gt(splat(f64::NEG_INFINITY)).select(score, least));
        }
        let normals = f64x8::from_slice(simd, &self.normals);
        let (least, most, sum) = (least.to_array(), most.to_array(), sum.to_array());
        (self.is_nan, self.is_deep) = (false, false);
        for column in 0..self.count {
            let normal = self.normals[column];
            // NaN comes out of the sum unless there is +∞, which no logarithm of a probability is.
            self.is_nan |= normal.is_nan() || sum[column].is_nan() || most[column] == f64::INFINITY;
            self.has_zero[column] = sum[column] == f64::NEG_INFINITY;
            // Whole bits on the safe side: decisions must not hang on a platform's logarithm.
            let below = f64::from((normal.to_bits() >> 52) as i32 - 1023);
            self.growth[column] = (most[column] * std::f64::consts::LOG2_E + below + 1.0).max(0.0);
            let low = least[column] * std::f64::consts::LOG2_E + below;
            self.is_deep |= low.min(-self.growth[column]) < DEEPEST;
        }
        if self.is_deep {
            let rows = self.logarithms.chunks_exact(LANES).zip(self.probabilities.chunks_exact_mut(LANES));
            for ((logarithms, row), exponents) in rows.zip(self.exponents.chunks_exact_mut(LANES)) {
                let probability = Scaled::exp(simd, f64x8::from_slice(simd, logarithms));
                (probability.mantissa * normals).store_slice(row);
                probability.exponent.store_slice(exponents);
            }
        } else {
            let rows = self.logarithms.chunks_exact(LANES).zip(self.probabilities.chunks_exact_mut(LANES));
            match self.is_rough {
                true => rows.for_each(|(logarithms, row)| {
                    (math::exp_rough_f64x8(simd, f64x8::from_slice(simd, logarithms)) * normals).store_slice(row);
                }),
                false => rows.for_each(|(logarithms, row)| {
                    (math::exp_f64x8(simd, f64x8::from_slice(simd, logarithms)) * normals).store_slice(row);
                }),
            }
        }
        if self.star_weight > 0.0 {
            let mut blank = f64x8::from_slice(simd, &self.probabilities[..LANES]);
            if self.is_deep {
                blank = Scaled::load(simd, (&self.probabilities, &self.exponents), 0).to_f64();
            }
            let others = f64x8::from_slice(simd, &self.others);
            (others * splat(self.star_weight) + blank).store_slice(&mut self.stars);
        }
    }

    /// Makes plain probabilities of deep ones.
    #[inline(always)]
    pub(super) fn flatten<S: Simd>(&mut self, simd: S) {
        if self.is_deep {
            for (row, exponents) in self.probabilities.chunks_exact_mut(LANES).zip(self.exponents.chunks_exact(LANES)) {
                let mut probability = Scaled::load(simd, (row, exponents), 0);
                // Scores that are not normalised may be beyond float64.
                probability.exponent = probability.exponent.min(f64x8::splat(simd, 1000.0));
                probability.to_f64().store_slice(row);
            }
        }
    }
}
