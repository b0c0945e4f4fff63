//! Eight frames at a time: the probability of every class that occurs in the target.

use fearless_simd::f64x8;
use fearless_simd::prelude::*;

use super::LANES;
use crate::simd::math;
use crate::simd::scaled::Scaled;

/// Below this many bits a probability is kept as mantissa and exponent.
const DEEPEST: f64 = -900.0;

/// The probabilities of up to eight frames, in rows of eight: one for each slot. A slot is a class that occurs; slot 0 is
/// the blank, and the last one has no probability in any frame.
#[derive(Default)]
pub(crate) struct Frames {
    /// How many frames there are.
    pub(crate) count: usize,
    /// Logarithms of the probabilities, less what `normals` makes up for; written by the caller.
    pub(crate) logarithms: Vec<f64>,
    /// Probabilities; mantissas where they are deep.
    pub(super) probabilities: Vec<f64>,
    /// Factors on the probabilities of each frame: 1/Σ of the softmax.
    pub(crate) normals: [f64; LANES],
    /// Exponents of the probabilities, where some are smaller than float64 holds well.
    pub(super) exponents: Vec<f64>,
    pub(super) is_deep: bool,
    /// How many bits a state may lose or win in each frame.
    pub(super) bits: [f64; LANES],
    /// The part of them that it may win: scores that are no probabilities may be above 1.
    pub(super) growth: [f64; LANES],
    /// NaN or +∞ came along.
    pub(crate) is_nan: bool,
}

impl Frames {
    /// Room for the classes that occur.
    pub(super) fn set(&mut self, slots: usize) {
        self.probabilities.clear();
        self.probabilities.resize((slots + 1) * LANES, 0.0);
        self.logarithms.clear();
        self.logarithms.resize(slots * LANES, 0.0);
        self.exponents.clear();
        self.normals = [1.0; LANES];
    }

    /// The row of a slot.
    pub(crate) fn row(&self, slot: usize) -> &[f64] {
        &self.probabilities[slot * LANES..][..LANES]
    }

    /// Turns the logarithms into probabilities.
    #[inline(always)]
    pub(super) fn exponentiate<S: Simd>(&mut self, simd: S) {
        let infinity = f64x8::splat(simd, f64::INFINITY);
        let (mut least, mut most, mut sum) = (infinity, -infinity, f64x8::splat(simd, 0.0));
        for row in self.logarithms.chunks_exact(LANES) {
            let score = f64x8::from_slice(simd, row);
            least = least.min(score);
            most = most.max(score);
            sum = sum + score;
        }
        let normals = f64x8::from_slice(simd, &self.normals);
        let (least, most, sum) = (least.to_array(), most.to_array(), sum.to_array());
        self.is_nan = false;
        let mut lowest = 0.0f64;
        for column in 0..self.count {
            // NaN comes out of the sum unless there is +∞, which no logarithm of a probability is.
            let normal = self.normals[column];
            self.is_nan |= normal.is_nan() || sum[column].is_nan() || most[column] == f64::INFINITY;
            // Whole bits on the safe side: decisions must not hang on a platform's logarithm.
            let below = ((normal.to_bits() >> 52) as i32 - 1023) as f64;
            let low = (least[column] * std::f64::consts::LOG2_E + below).min(0.0);
            self.growth[column] = (most[column] * std::f64::consts::LOG2_E + below + 1.0).max(0.0);
            self.bits[column] = self.growth[column] - low;
            lowest = lowest.min(low).min(-self.growth[column]);
        }
        self.is_deep = lowest < DEEPEST;
        if self.is_deep {
            self.exponents.resize(self.probabilities.len(), 0.0);
        }
        let rows = self.logarithms.chunks_exact(LANES).zip(self.probabilities.chunks_exact_mut(LANES));
        if self.is_deep {
            for ((logarithms, row), exponents) in rows.zip(self.exponents.chunks_exact_mut(LANES)) {
                let probability = Scaled::exp(simd, f64x8::from_slice(simd, logarithms));
                (probability.mantissa * normals).store_slice(row);
                probability.exponent.store_slice(exponents);
            }
        } else {
            for (logarithms, row) in rows {
                (math::exp_f64x8(simd, f64x8::from_slice(simd, logarithms)) * normals).store_slice(row);
            }
        }
    }

    /// Makes plain probabilities of deep ones.
    #[inline(always)]
    pub(super) fn flatten<S: Simd>(&mut self, simd: S) {
        if self.is_deep {
            for (row, exponents) in self.probabilities.chunks_exact_mut(LANES).zip(self.exponents.chunks_exact(LANES)) {
                Scaled::load(simd, (row, exponents), 0).to_f64().store_slice(row);
            }
        }
    }
}
