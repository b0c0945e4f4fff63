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
//! s ∂ln π for ∂s in each of them. A penalty β k is added, with r = ln π_ref − ln π, which k3 holds within ±limit before its
//! exp:
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

use super::policy_terms::BLOCK;
use crate::simd::elementary::exp_each;

/// What becomes of ratio and advantage.
#[derive(Debug, Clone, Copy)]
pub enum Objective {
    /// The smaller of what the ratio and the clipped ratio are worth.
    Clip {
        /// c: what a negative advantage costs at most, as a ratio; infinite for no limit.
        dual: f64,
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
    /// What r is held within before the exp of k3.
    pub ratio_limit: f64,
    /// What k is held within.
    pub limit: f64,
}

/// The loss with its options.
#[derive(Debug, Clone, Copy)]
pub struct RatioLoss {
    /// What becomes of ratio and advantage.
    pub objective: Objective,
    /// How far below 1 the ratio counts.
    pub clip_low: f64,
    /// How far above.
    pub clip_high: f64,
    /// What d is held within.
    pub ratio_limit: f64,
    /// The penalty.
    pub kl: Option<Kl>,
}

/// What belongs to some steps of a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Steps<'a> {
    /// ln π
    pub log_probs: &'a [f64],
    /// ln π_old; where there are none, those of π.
    pub old: Option<&'a [f64]>,
    /// ln π_ref
    pub reference: Option<&'a [f64]>,
    /// A, of each step or of all.
    pub advantages: &'a [f64],
    /// Which steps count.
    pub valid: &'a [bool],
    /// The mean of d over the valid steps of the sequence, if the ratio is that of the sequence.
    pub of_sequence: Option<f64>,
}

impl Steps<'_> {
    /// ln π less another one, where there is one: what is compared with itself is the same, also where it is impossible.
    /// What lies in masked places stays there.
    fn less(&self, other: Option<&[f64]>, into: &mut [f64]) {
        let Some(other) = other else { return into.fill(0.0) };
        for (((into, own), other), &is_valid) in into.iter_mut().zip(self.log_probs).zip(other).zip(self.valid) {
            *into = if is_valid { own - other } else { 0.0 };
        }
    }
}

/// ℓ, and its slope.
type Point = (f64, f64);

impl RatioLoss {
    /// Fills ℓ and ∂ℓ/∂ln π of at most [`BLOCK`] steps.
    pub fn fill(&self, steps: Steps<'_>, values: &mut [f64], slopes: &mut [f64]) {
        let Steps { log_probs, old, reference, advantages, valid, of_sequence } = steps;
        let count = valid.len();
        let (mut distances, mut ratios) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (mut gates, mut worth) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (distances, ratios) = (&mut distances[..count], &mut ratios[..count]);
        let (gates, worth) = (&mut gates[..count], &mut worth[..count]);
        match advantages {
            [one] => worth.fill(*one),
            all => worth.copy_from_slice(all),
        }
        match of_sequence {
            Some(mean) => distances.fill(mean),
            None => steps.less(old, distances),
        }
        held_exponentials(distances, self.ratio_limit, ratios);
        if let Objective::Sapo(temperatures) = self.objective {
            for ((gate, ratio), &advantage) in gates.iter_mut().zip(&*ratios).zip(&*worth) {
                *gate = temperature(temperatures, advantage) * (1.0 - ratio);
            }
            exp_each(gates);
        }
        let each = ratios.iter().zip(&*distances).zip(&*worth).zip(log_probs).zip(&*gates);
        let out = values.iter_mut().zip(&mut *slopes);
        match self.objective {
            Objective::Clip { dual } => {
                for ((value, slope), ((((ratio, distance), advantage), _), _)) in out.zip(each) {
                    (*value, *slope) = self.clip(*ratio, is_within(*distance, self.ratio_limit), *advantage, dual);
                }
            }
            Objective::Cispo => {
                for ((value, slope), ((((ratio, _), &advantage), log_prob), _)) in out.zip(each) {
                    let factor = -advantage * self.clipped(*ratio);
                    (*value, *slope) = if advantage == 0.0 { (0.0, 0.0) } else { (factor * log_prob, factor) };
                }
            }
            Objective::Sapo(temperatures) => {
                for ((value, slope), ((((ratio, distance), advantage), _), rest)) in out.zip(each) {
                    let ratio = if is_within(*distance, self.ratio_limit) { *ratio } else { 0.0 };
                    (*value, *slope) = gated(ratio, *rest, *advantage, temperature(temperatures, *advantage));
                }
            }
        }
        if let Some(kl) = &self.kl {
            steps.less(reference, distances);
            for distance in &mut *distances {
                *distance = -*distance;
            }
            if kl.penalty == Penalty::K3 {
                held_exponentials(distances, kl.ratio_limit, ratios);
            }
            for (((value, slope), distance), exponential) in
                values.iter_mut().zip(slopes).zip(&*distances).zip(&*ratios)
            {
                let (k, of_k) = kl.of(*distance, *exponential);
                *value += kl.coefficient * k;
                *slope += kl.coefficient * of_k;
            }
        }
    }

    fn clipped(&self, ratio: f64) -> f64 {
        ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high)
    }

    /// `is_free` says that the ratio is not held at its limit, `most` is c. There is nothing to be predicted here: which
    /// side of a limit a ratio is on looks like chance.
    #[inline(always)]
    fn clip(&self, ratio: f64, is_free: bool, advantage: f64, most: f64) -> Point {
        let (free, held) = (-advantage * ratio, -advantage * self.clipped(ratio));
        // Where both are the same the ratio is not clipped.
        let value = if held > free { held } else { free };
        let most = if advantage < 0.0 { -advantage * most } else { f64::INFINITY };
        let is_limited = held > free || value > most;
        let slope = if is_free && !is_limited { free } else { 0.0 };
        let value = if value > most { most } else { value };
        let is_nothing = advantage == 0.0;
        (if is_nothing { 0.0 } else { value }, if is_nothing { 0.0 } else { slope })
    }
}

/// SAPO: `ratio` is 0 where it is held, and `rest` exp(τ (1 − s)).
fn gated(ratio: f64, rest: f64, advantage: f64, temperature: f64) -> Point {
    if advantage == 0.0 {
        return (0.0, 0.0);
    }
    let gate = 1.0 / (1.0 + rest);
    let slope = 4.0 * gate * (1.0 - gate);
    // A gate that is open is open however large the ratio is.
    let slope = if slope == 0.0 { 0.0 } else { slope * ratio };
    (-advantage * gate * 4.0 / temperature, -advantage * slope)
}

fn temperature([positive, negative]: [f64; 2], advantage: f64) -> f64 {
    if advantage > 0.0 { positive } else { negative }
}

/// exp of numbers that are held within a limit.
fn held_exponentials(numbers: &[f64], limit: f64, into: &mut [f64]) {
    into.iter_mut().zip(numbers).for_each(|(into, number)| *into = number.clamp(-limit, limit));
    exp_each(into);
}

#[inline(always)]
fn is_within(number: f64, limit: f64) -> bool {
    // NaN is held nowhere, and stays.
    number.is_nan() | (number.abs() <= limit)
}

impl Kl {
    /// k and its slope; `exponential` is exp(r) for those that need it.
    fn of(&self, r: f64, exponential: f64) -> Point {
        let (k, slope) = match self.penalty {
            Penalty::K1 => (-r, 1.0),
            Penalty::Abs => (r.abs(), if r == 0.0 { 0.0 } else { -r.signum() }),
            Penalty::K2 => (0.5 * r * r, -r),
            Penalty::K3 => {
                let held = r.clamp(-self.ratio_limit, self.ratio_limit);
                // Near 0 the difference would lose what it is.
                let series = r * r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0))));
                let k = if r.abs() < 0.01 { series } else { exponential - held - 1.0 };
                (k, if is_within(r, self.ratio_limit) { -(r + k) } else { 0.0 })
            }
        };
        // A slope that is not of k has nothing to do with what k is held within.
        let slope = match self.has_slope_of_k2 {
            true => -r,
            false if is_within(k, self.limit) => slope,
            false => 0.0,
        };
        (k.clamp(-self.limit, self.limit), slope)
    }
}

/// ½ (v − R)², and its slope; with an old value o, the larger of that and the same of v held within o ± clip.
pub fn value_term(value: f64, target: f64, old: Option<(f64, f64)>) -> Point {
    let free = value - target;
    let Some((old, clip)) = old else { return (0.5 * free * free, free) };
    let (low, high) = (old - clip, old + clip);
    // Limits that are no numbers hold nothing.
    let held = if low <= high { value.clamp(low, high) - target } else { f64::NAN };
    match held * held > free * free {
        true => (0.5 * held * held, 0.0),
        false if held.is_nan() => (held, held),
        false => (0.5 * free * free, free),
    }
}
