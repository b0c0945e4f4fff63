//! Losses of the log-probabilities of several answers to the same question: pairs of them, or what a search has found.
//!
//! | loss | ℓ | ∂ℓ/∂xᵢ |
//! |---|---|---|
//! | minimum risk | Σᵢ Qᵢ (Wᵢ − b), Q = softmax(α x) | α Qᵢ (Wᵢ − Σⱼ Qⱼ Wⱼ) |
//! | DPO | −(1 − ε) ln σ(β h) − ε ln σ(−β h) | ±β ((1 − ε) (σ(β h) − 1) + ε σ(β h)) |
//! | IPO | (h − 1 / 2β)² | ±2 (h − 1 / 2β) |
//! | hinge | max(0, 1 − β h) | ∓β where that is above 0 |
//!
//! x are log-probabilities of whole answers, W their costs, and b is 0 or the mean of W; h = (x₁ − r₁) − (x₂ − r₂), with
//! the chosen answer first, the rejected one second, and r their log-probabilities under the reference.
//!
//! Minimum risk: Shen et al., 2016, <https://arxiv.org/abs/1512.02433>; with word errors, α = 1 and the mean: Prabhavalkar
//! et al., 2018, <https://arxiv.org/abs/1712.01818>. DPO: Rafailov et al., 2023, <https://arxiv.org/abs/2305.18290>; IPO:
//! Azar et al., 2023, <https://arxiv.org/abs/2310.12036>; hinge: Zhao et al., 2023, <https://arxiv.org/abs/2305.10425>.

use crate::simd::elementary::exp_each;
use crate::simd::math::ln;

/// Minimum risk.
#[derive(Debug, Clone, Copy)]
pub struct Risk {
    /// α
    pub alpha: f64,
    /// Whether the mean cost is subtracted, which changes the value only.
    pub subtracts_mean: bool,
}

impl Risk {
    /// Fills the slopes of answers that are valid, and returns ℓ; 0 where there are none.
    pub fn of(&self, log_probs: &[f64], costs: &[f64], valid: &[bool], slopes: &mut [f64]) -> f64 {
        let answers = || (0..valid.len()).filter(|&answer| valid[answer]);
        let count = answers().count();
        if count == 0 {
            return 0.0;
        }
        let most = answers().map(|answer| log_probs[answer]).fold(f64::NEG_INFINITY, f64::max);
        slopes.fill(f64::NEG_INFINITY);
        answers().for_each(|answer| slopes[answer] = self.alpha * (log_probs[answer] - most));
        exp_each(slopes);
        let sum: f64 = slopes.iter().sum();
        let risk: f64 = answers().map(|answer| slopes[answer] / sum * costs[answer]).sum();
        let mean = answers().map(|answer| costs[answer]).sum::<f64>() / count as f64;
        answers().for_each(|answer| slopes[answer] *= self.alpha / sum * (costs[answer] - risk));
        if self.subtracts_mean { risk - mean } else { risk }
    }
}

/// What is made of the margin between two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The logistic loss.
    Dpo,
    /// The squared one.
    Ipo,
    /// The hinge.
    Hinge,
}

/// A preference with its constants.
#[derive(Debug, Clone, Copy)]
pub struct Margin {
    /// Which.
    pub preference: Preference,
    /// β
    pub beta: f64,
    /// ε
    pub label_smoothing: f64,
}

impl Margin {
    /// ℓ and ∂ℓ/∂h.
    pub fn of(&self, margin: f64) -> (f64, f64) {
        let Self { preference, beta, label_smoothing } = *self;
        let logit = beta * margin;
        match preference {
            Preference::Dpo => {
                // −ln σ(z) = max(−z, 0) + ln(1 + exp(−|z|))
                let mut small = [-logit.abs()];
                exp_each(&mut small);
                let [small] = small;
                let (tail, less) = (ln_1p(small), small / (1.0 + small));
                let (value, sigma) = if logit >= 0.0 { (tail, 1.0 / (1.0 + small)) } else { (tail - logit, less) };
                // 1 − σ, without its cancellation.
                let rest = if logit >= 0.0 { less } else { 1.0 / (1.0 + small) };
                let smoothing = if label_smoothing == 0.0 { 0.0 } else { label_smoothing * logit };
                (value + smoothing, beta * (label_smoothing * sigma - (1.0 - label_smoothing) * rest))
            }
            Preference::Ipo => {
                let distance = margin - 0.5 / beta;
                (distance * distance, 2.0 * distance)
            }
            Preference::Hinge if logit < 1.0 => (1.0 - logit, -beta),
            Preference::Hinge if logit.is_nan() => (logit, logit),
            Preference::Hinge => (0.0, 0.0),
        }
    }
}

/// ln(1 + x), for x from 0 to 1: what the sum loses is put back.
fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    ln(sum) + (x - (sum - 1.0)) / sum
}
