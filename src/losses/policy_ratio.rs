//! Losses of the ratio of two policies: PPO and what came of it, with a penalty for leaving a reference.
//!
//! With d = ln π − ln π_old, held within ±limit, s = exp(d) and the advantage A, for every step
//!
//! | objective | ℓ | ∂ℓ/∂ln π |
//! |---|---|---|
//! | clip | max(−A s, −A clip(s)), for A < 0 at most −A c | −A s where that is the larger, else 0 |
//! | cispo | −A clip(s) ln π, the factor a constant | −A clip(s) |
//! | sapo | −A (4 / τ) σ(τ (s − 1)) | −4 A σ (1 − σ) s |
//!
//! clip(s) holds s within 1 − low and 1 + high. A ratio of the sequence has the mean of d over its valid steps for d, and
//! s ∂ln π for ∂s in each of them. A penalty β k is added, with r = ln π_ref − ln π, held within ±limit:
//!
//! | penalty | k | ∂k/∂ln π |
//! |---|---|---|
//! | k1 | −r | 1 |
//! | abs | ∣r∣ | −sign(r) |
//! | k2 | ½ r² | −r |
//! | k3 | exp(r) − r − 1 | 1 − exp(r) |
//!
//! What is held at a limit has the slope 0. PPO: Schulman et al., 2017, <https://arxiv.org/abs/1707.06347>; k1 to k3:
//! Schulman, 2020, <http://joschu.net/blog/kl-approx.html>.

use crate::error::Error;
use crate::input::{PerStep, make_room};
use crate::simd::elementary::exp_each;

/// What becomes of ratio and advantage.
#[derive(Debug, Clone, Copy)]
pub enum Objective {
    /// The smaller of what the ratio and the clipped ratio are worth.
    Clip {
        /// c: what a negative advantage costs at most, as a ratio.
        dual: Option<f64>,
    },
    /// The clipped ratio is a weight of REINFORCE.
    Cispo,
    /// A soft gate; τ for positive advantages, and for others.
    Sapo([f64; 2]),
}

/// How far the policy is from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// −r
    K1,
    /// |r|
    Abs,
    /// ½ r²
    K2,
    /// exp(r) − r − 1
    K3,
}

/// A penalty with its limits.
#[derive(Debug, Clone, Copy)]
pub struct Kl {
    /// Which.
    pub penalty: Penalty,
    /// Whether the slope is that of k2, whose gradient is unbiased.
    pub has_slope_of_k2: bool,
    /// β
    pub coefficient: f64,
    /// What r is held within.
    pub ratio_limit: f64,
    /// What k is held within.
    pub limit: f64,
}

/// The loss with its options.
#[derive(Debug, Clone, Copy)]
pub struct RatioLoss {
    /// What becomes of ratio and advantage.
    pub objective: Objective,
    /// Whether the ratio is that of the sequence.
    pub is_of_sequence: bool,
    /// How far below 1 the ratio counts.
    pub clip_low: f64,
    /// How far above.
    pub clip_high: f64,
    /// What d is held within.
    pub ratio_limit: f64,
    /// The penalty.
    pub kl: Option<Kl>,
}

/// Numbers of every step.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// ln π
    pub log_probs: &'a PerStep<f64>,
    /// ln π_old; where there are none, those of π.
    pub old: Option<&'a PerStep<f64>>,
    /// ln π_ref
    pub reference: Option<&'a PerStep<f64>>,
    /// A
    pub advantages: &'a PerStep<f64>,
    /// Which steps count.
    pub valid: &'a PerStep<bool>,
}

/// ℓ, and its slope.
type Point = (f64, f64);

impl RatioLoss {
    /// Computes ℓ and ∂ℓ/∂ln π of every step of a sequence, in place of zeros.
    pub fn sequence(
        &self,
        inputs: Inputs<'_>,
        sequence: usize,
        values: &mut [f64],
        slopes: &mut [f64],
    ) -> Result<(), Error> {
        let (valid, log_probs) = (inputs.valid.of(sequence), inputs.log_probs.of(sequence));
        let advantages = inputs.advantages.of(sequence);
        let (old, reference) = (inputs.old.unwrap_or(inputs.log_probs), inputs.reference.unwrap_or(inputs.log_probs));
        let (old, reference) = (old.of(sequence), reference.of(sequence));
        // What is compared with itself is the same, also where it is impossible.
        let ratio_to = |other: &[f64], step: usize, is_given: bool| match is_given {
            true => log_probs[step] - other[step],
            false => 0.0,
        };
        let ratio = |step: usize| ratio_to(old, step, inputs.old.is_some());
        let to_reference = |step: usize| -ratio_to(reference, step, inputs.reference.is_some());
        let steps = || (0..valid.len()).filter(|&step| valid[step]);
        // The ratios stand in `values`, and what the penalty is made of in `slopes`, until their step comes.
        for step in steps() {
            values[step] = ratio(step);
            slopes[step] = to_reference(step);
        }
        let mut is_free = true;
        if self.is_of_sequence {
            let count = steps().count().max(1) as f64;
            let mean = steps().map(|step| values[step]).sum::<f64>() / count;
            is_free = is_within(mean, self.ratio_limit);
            steps().for_each(|step| values[step] = mean);
        }
        hold(values, self.ratio_limit);
        exp_each(values);
        if let Some(Kl { penalty: Penalty::K3, ratio_limit, .. }) = self.kl {
            hold(slopes, ratio_limit);
            exp_each(slopes);
        }
        let mut gates = vec![];
        if let Objective::Sapo(temperatures) = self.objective {
            make_room(&mut gates, values.len())?;
            let exponents = values.iter().zip(advantages);
            gates.extend(exponents.map(|(ratio, &advantage)| temperature(temperatures, advantage) * (1.0 - ratio)));
            exp_each(&mut gates);
        }
        for (step, &is_valid) in valid.iter().enumerate() {
            if !is_valid {
                (values[step], slopes[step]) = (0.0, 0.0);
                continue;
            }
            let is_free = match self.is_of_sequence {
                true => is_free,
                false => is_within(ratio(step), self.ratio_limit),
            };
            let rest = gates.get(step).copied().unwrap_or_default();
            let (mut value, mut slope) = self.surrogate(advantages[step], values[step], is_free, log_probs[step], rest);
            if let Some(kl) = &self.kl {
                let (k, of_k) = kl.of(to_reference(step), slopes[step]);
                value += kl.coefficient * k;
                slope += kl.coefficient * of_k;
            }
            (values[step], slopes[step]) = (value, slope);
        }
        Ok(())
    }

    /// `is_free` says that the ratio is not held at its limit; `rest` is exp(τ (1 − s)), where it is needed.
    fn surrogate(&self, advantage: f64, ratio: f64, is_free: bool, log_prob: f64, rest: f64) -> Point {
        if advantage == 0.0 {
            return (0.0, 0.0);
        }
        let slope_of_ratio = if is_free { ratio } else { 0.0 };
        let clipped = ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high);
        match self.objective {
            Objective::Clip { dual } => {
                let (free, held) = (-advantage * ratio, -advantage * clipped);
                // Where both are the same the ratio is not clipped.
                let (value, slope) = if held > free { (held, 0.0) } else { (free, -advantage * slope_of_ratio) };
                match dual {
                    Some(most) if advantage < 0.0 && value > -advantage * most => (-advantage * most, 0.0),
                    _ => (value, slope),
                }
            }
            Objective::Cispo => (-advantage * clipped * log_prob, -advantage * clipped),
            Objective::Sapo(temperatures) => {
                let temperature = temperature(temperatures, advantage);
                let gate = 1.0 / (1.0 + rest);
                let slope = 4.0 * gate * (1.0 - gate);
                // A gate that is open is open however large the ratio is.
                let slope = if slope == 0.0 { 0.0 } else { slope * slope_of_ratio };
                (-advantage * gate * 4.0 / temperature, -advantage * slope)
            }
        }
    }
}

fn temperature([positive, negative]: [f64; 2], advantage: f64) -> f64 {
    if advantage > 0.0 { positive } else { negative }
}

fn hold(numbers: &mut [f64], limit: f64) {
    for number in numbers {
        *number = number.clamp(-limit, limit);
    }
}

fn is_within(number: f64, limit: f64) -> bool {
    // NaN is held nowhere, and stays.
    number.is_nan() || number.abs() <= limit
}

impl Kl {
    /// k and its slope; `exponential` is exp(r) for those that need it.
    fn of(&self, r: f64, exponential: f64) -> Point {
        let is_free = is_within(r, self.ratio_limit);
        let r = r.clamp(-self.ratio_limit, self.ratio_limit);
        let (k, slope) = match self.penalty {
            Penalty::K1 => (-r, 1.0),
            Penalty::Abs => (r.abs(), if r == 0.0 { 0.0 } else { -r.signum() }),
            Penalty::K2 => (0.5 * r * r, -r),
            Penalty::K3 => {
                // Near 0 the difference would lose what it is.
                let series = r * r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0))));
                let k = if r.abs() < 0.01 { series } else { exponential - r - 1.0 };
                (k, -(r + k))
            }
        };
        let held = k.clamp(-self.limit, self.limit);
        let slope = if self.has_slope_of_k2 { -r } else { slope };
        // A slope that is not of k has nothing to do with its limit.
        let is_free = is_free && (self.has_slope_of_k2 || is_within(k, self.limit));
        (held, if is_free { slope } else { 0.0 })
    }
}

/// ½ (v − R)², and its slope; with an old value o, the larger of that and the same of v held within o ± clip.
pub fn value_term(value: f64, target: f64, old: Option<(f64, f64)>) -> Point {
    let free = value - target;
    let Some((old, clip)) = old else { return (0.5 * free * free, free) };
    let held = value.clamp(old - clip, old + clip) - target;
    if held * held > free * free { (0.5 * held * held, 0.0) } else { (0.5 * free * free, free) }
}
