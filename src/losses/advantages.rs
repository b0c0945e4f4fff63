//! What rewards are worth: the constants A of the losses ℓ = −A ln π with ∂ℓ/∂ln π = −A, and of those of ratios.
//!
//! | of a group of answers | A |
//! |---|---|
//! | mean and deviation (GRPO) | (r − mean) / (σ + ε), or r − mean without σ (Dr. GRPO) |
//! | leave one out (RLOO) | r − the mean of the others |
//! | length-weighted (OPO) | r − Σ length r / Σ length |
//!
//! σ² is over n − 1. Answers without a reward (NaN) are in no mean, and have the advantage 0; so has an answer that is alone
//! in its group wherever a mean of the group is subtracted.
//!
//! Of the steps of an episode, with the values V of a critic (Schulman et al., 2015, <https://arxiv.org/abs/1506.02438>):
//! Aₜ = rₜ + γ Vₜ₊₁ − Vₜ + γ λ Aₜ₊₁.

use super::reinforce::{Baseline, per_sequence};
use crate::error::Error;
use crate::input::{PerStep, Structure, floats_per_step};

/// What advantages are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The deviation of the rewards of the group.
    Group,
    /// That of the rewards of the batch.
    Batch,
}

/// How rewards of groups become advantages.
pub struct GroupAdvantages<'a> {
    /// What is subtracted.
    pub baseline: Baseline<'a>,
    /// What is divided by, if anything...
    pub scale: Option<Scale>,
    /// ... and added to it before.
    pub epsilon: f64,
}

impl GroupAdvantages<'_> {
    /// Replaces rewards by advantages: the groups are the sequences of the structure, the answers their steps. `weights`
    /// are those of a weighted mean.
    pub fn of(
        &self,
        rewards: &mut PerStep<f64>,
        weights: Option<&PerStep<f64>>,
        structure: &Structure,
    ) -> Result<(), Error> {
        let groups = || 0..structure.sequences();
        let deviation = match self.scale {
            Some(Scale::Batch) => Some(Moments::of(groups().flat_map(|group| rewards.of(group).iter().copied()))),
            _ => None,
        };
        let batch = match self.baseline {
            Baseline::BatchMean => Moments::of(groups().flat_map(|group| rewards.of(group).iter().copied())).mean,
            _ => 0.0,
        };
        let mut of_groups = None;
        let mut of_answers = None;
        if let Baseline::Array(array) = &self.baseline {
            of_groups = per_sequence(array, structure)?;
            if of_groups.is_none() {
                of_answers = Some(floats_per_step("baseline", array, structure)?);
            }
        }
        for group in groups() {
            let own = Moments::of(rewards.of(group).iter().copied());
            let weighted = match (&self.baseline, weights) {
                (Baseline::LengthWeighted, Some(weights)) => own.weighted_mean(rewards.of(group), weights.of(group)),
                _ => 0.0,
            };
            let divisor = match self.scale {
                None => 1.0,
                Some(Scale::Group) => own.deviation() + self.epsilon,
                Some(Scale::Batch) => deviation.as_ref().map_or(0.0, Moments::deviation) + self.epsilon,
            };
            for (answer, reward) in rewards.of_mut(group).iter_mut().enumerate() {
                if reward.is_nan() {
                    *reward = 0.0;
                    continue;
                }
                let centred = match &self.baseline {
                    Baseline::None => *reward,
                    Baseline::Number(number) => *reward - number,
                    Baseline::BatchMean => *reward - batch,
                    Baseline::GroupMean => *reward - own.mean,
                    // r − (n mean − r) / (n − 1)
                    Baseline::LeaveOneOut if own.count < 2.0 => 0.0,
                    Baseline::LeaveOneOut => (*reward - own.mean) * (own.count / (own.count - 1.0)),
                    Baseline::LengthWeighted => *reward - weighted,
                    Baseline::Array(_) => match (&of_groups, &of_answers) {
                        (Some(of_groups), _) => *reward - of_groups[group],
                        (None, Some(of_answers)) => *reward - of_answers.of(group)[answer],
                        (None, None) => unreachable!("the baseline is one or the other"),
                    },
                };
                // What is exactly 0 stays, also where the deviation is 0 and nothing is added to it.
                *reward = if centred == 0.0 { 0.0 } else { centred / divisor };
            }
        }
        Ok(())
    }
}

/// Count, mean and squared distances of numbers that are not NaN.
pub struct Moments {
    first: f64,
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Of the distances from the first number: equal numbers have it for their mean, and no distance.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let numbers = numbers.filter(|number| !number.is_nan());
        let first = numbers.clone().next().unwrap_or(0.0);
        let (mut count, mut sum) = (0.0, 0.0);
        for number in numbers.clone() {
            count += 1.0;
            sum += number - first;
        }
        let mean = if count > 0.0 { first + sum / count } else { 0.0 };
        let squares = numbers.map(|number| (number - mean) * (number - mean)).sum();
        Self { first, count, mean, squares }
    }

    /// The variance over n − 1; 0 where there is one number, or none.
    pub fn variance(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { self.squares / (self.count - 1.0) }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    fn weighted_mean(&self, numbers: &[f64], weights: &[f64]) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (number, weight) in numbers.iter().zip(weights).filter(|(number, _)| !number.is_nan()) {
            sum += weight * (number - self.first);
            total += weight;
        }
        if total == 0.0 { 0.0 } else { self.first + sum / total }
    }
}

/// Replaces the rewards of an episode by advantages, and fills the returns A + V. Steps that are not valid are passed over,
/// as if they were not there.
pub fn generalized(
    rewards: &mut [f64],
    returns: &mut [f64],
    values: &[f64],
    valid: &[bool],
    discount: f64,
    decay: f64,
) {
    let (mut value, mut advantage) = (0.0, 0.0);
    for step in (0..rewards.len()).rev() {
        (rewards[step], returns[step]) = match valid[step] {
            true => {
                advantage = rewards[step] + discount * value - values[step] + discount * decay * advantage;
                value = values[step];
                (advantage, advantage + value)
            }
            false => (0.0, 0.0),
        };
    }
}

/// Replaces valid numbers by (x − mean) / √(variance + ε), the variance over n − 1.
pub fn whiten(numbers: &mut PerStep<f64>, valid: &PerStep<bool>, sequences: usize, shifts_mean: bool, epsilon: f64) {
    let all = (0..sequences).flat_map(|sequence| numbers.of(sequence).iter().zip(valid.of(sequence)));
    // NaN in a valid place stays, and makes all of them NaN.
    let has_nan = all.clone().any(|(number, &is_valid)| is_valid && number.is_nan());
    let moments = Moments::of(all.filter(|(_, is_valid)| **is_valid).map(|(number, _)| *number));
    let (mean, scale) = match has_nan {
        true => (f64::NAN, f64::NAN),
        false => (moments.mean, (moments.variance() + epsilon).sqrt()),
    };
    for sequence in 0..sequences {
        for (number, &is_valid) in numbers.of_mut(sequence).iter_mut().zip(valid.of(sequence)) {
            let distance = *number - mean;
            let scaled = if distance == 0.0 { 0.0 } else { distance / scale };
            *number = if is_valid { if shifts_mean { scaled } else { scaled + mean } } else { 0.0 };
        }
    }
}
