//! What rewards are worth: the constants A of the losses ℓ = −A ln π with ∂ℓ/∂ln π = −A, and of those of ratios.
//!
//! | of a group of answers | A |
//! |---|---|
//! | mean and deviation (GRPO) | (r − mean) / (σ + ε), or r − mean without σ (Dr. GRPO) |
//! | leave one out (RLOO) | r − the mean of the others |
//! | length-weighted (OPO) | r − Σ length r / Σ length |
//!
//! σ² is over n − 1; what has none, because rewards are equal or one is alone, is not divided. Answers without a reward (NaN)
//! are in no mean, and have the advantage 0; so has an answer that is alone in its group wherever a mean of the group is
//! subtracted.
//!
//! Of the steps of an episode, with the values V of a critic (Schulman et al., 2015, <https://arxiv.org/abs/1506.02438>):
//! Aₜ = rₜ + γ Vₜ₊₁ − Vₜ + γ λ Aₜ₊₁.

use crate::error::Error;
use crate::exact::Exact;
use crate::input::{AnyView, Argument, PerStep};

/// What a reward is compared with.
pub enum Baseline<'a> {
    /// 0
    None,
    /// One number for all.
    Number(f64),
    /// One for each sequence, or for each step.
    Array(Argument<AnyView<'a>>),
    /// What the rewards of its peers say.
    Computed(&'static Computed),
}

/// A baseline that is computed.
pub struct Computed {
    /// Its word.
    pub name: &'static str,
    /// Whether all rewards of the batch are peers; else those of the group are.
    pub is_of_batch: bool,
    /// The reward less the baseline.
    less: fn(f64, &Peers) -> f64,
}

/// All of them: a new one is a line here, and a function.
pub const COMPUTED: [Computed; 4] = [
    Computed { name: "batch_mean", is_of_batch: true, less: less_mean },
    Computed { name: "group_mean", is_of_batch: false, less: less_mean },
    Computed { name: "leave_one_out", is_of_batch: false, less: less_mean_of_others },
    Computed { name: "length_weighted", is_of_batch: false, less: less_weighted_mean },
];

fn less_mean(reward: f64, peers: &Peers) -> f64 {
    reward - peers.mean
}

/// r − (n mean − r) / (n − 1); 0 for one that is alone.
fn less_mean_of_others(reward: f64, peers: &Peers) -> f64 {
    if peers.count < 2.0 { 0.0 } else { (reward - peers.mean) * (peers.count / (peers.count - 1.0)) }
}

fn less_weighted_mean(reward: f64, peers: &Peers) -> f64 {
    reward - peers.weighted_mean
}

const NAMES: [&str; COMPUTED.len()] = {
    let mut names = [""; COMPUTED.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = COMPUTED[place].name;
        place += 1;
    }
    names
};

impl Baseline<'_> {
    /// Reads the word for one that is computed.
    pub fn new(word: &str) -> Result<Self, Error> {
        let all: &'static [Computed] = &COMPUTED;
        match all.iter().find(|computed| computed.name == word) {
            Some(computed) => Ok(Self::Computed(computed)),
            None => Err(Error::Choice { argument: "baseline", value: word.to_owned(), choices: &NAMES }),
        }
    }

    /// Whether it is the one with this word.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Computed(computed) if computed.name == word)
    }
}

/// The rewards that one is compared with, itself among them.
#[derive(Debug, Clone, Copy)]
struct Peers {
    count: f64,
    /// 0 where there are none.
    mean: f64,
    /// The mean where there are no weights, or nothing has any.
    weighted_mean: f64,
    /// The root of the variance over n − 1; 0 where there is one, or none.
    deviation: f64,
}

/// How numbers are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    /// In any order the same, correctly rounded.
    Exact,
    /// One after another.
    Fast,
}

impl Sums {
    fn of(self, numbers: impl Iterator<Item = f64>) -> f64 {
        if self == Self::Fast {
            return numbers.sum();
        }
        let mut sum = Exact::new();
        numbers.for_each(|number| sum.add(number));
        sum.take()
    }
}

impl Peers {
    fn of(rewards: &[f64], weights: Option<&[f64]>, has_deviation: bool, sums: Sums) -> Self {
        let there = || rewards.iter().copied().filter(|reward| !reward.is_nan());
        // Equal numbers have the first for their mean, and no distance; so fast sums are of distances from it.
        let first = there().next().unwrap_or(0.0);
        let from = if sums == Sums::Fast || there().all(|reward| reward == first) { first } else { 0.0 };
        let mut count = 0.0;
        let sum = sums.of(there().map(|reward| {
            count += 1.0;
            reward - from
        }));
        let mean = if count > 0.0 { from + sum / count } else { 0.0 };
        let mut weighted_mean = mean;
        if let Some(weights) = weights {
            let pairs = || rewards.iter().zip(weights).filter(|(reward, weight)| !reward.is_nan() && **weight != 0.0);
            let total: f64 = pairs().map(|(_, weight)| weight).sum();
            if total != 0.0 {
                weighted_mean = from + sums.of(pairs().map(|(reward, weight)| weight * (reward - from))) / total;
            }
        }
        let mut deviation = 0.0;
        if has_deviation && count > 1.0 {
            let squares = sums.of(there().map(|reward| (reward - mean) * (reward - mean)));
            deviation = (squares / (count - 1.0)).sqrt();
        }
        Self { count, mean, weighted_mean, deviation }
    }
}

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
    pub baseline: &'a Baseline<'a>,
    /// What is divided by, if anything...
    pub scale: Option<Scale>,
    /// ... and added to it before.
    pub epsilon: f64,
    /// How sums are made.
    pub sums: Sums,
}

impl GroupAdvantages<'_> {
    /// Replaces rewards: the groups are the sequences, the answers their steps. `weights` are those of a weighted mean, and
    /// `baselines` what is subtracted where the baseline is an array; `tick` is called for each group with its size.
    pub fn of(
        &self,
        rewards: &mut PerStep<f64>,
        weights: Option<&PerStep<f64>>,
        baselines: Option<&PerStep<f64>>,
        tick: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let computed = match self.baseline {
            Baseline::Computed(computed) => Some(*computed),
            _ => None,
        };
        let is_of_batch = computed.is_some_and(|computed| computed.is_of_batch);
        let has_own = (computed.is_some() && !is_of_batch) || self.scale == Some(Scale::Group);
        let none = Peers { count: 0.0, mean: 0.0, weighted_mean: 0.0, deviation: 0.0 };
        let batch = match is_of_batch || self.scale == Some(Scale::Batch) {
            true => Peers::of(rewards.all(), None, self.scale == Some(Scale::Batch), self.sums),
            false => none,
        };
        for group in 0..rewards.sequences() {
            let (weights, baselines) = (weights.map(|all| all.of(group)), baselines.map(|all| all.of(group)));
            let rewards = rewards.of_mut(group);
            tick(rewards.len())?;
            let own = match has_own {
                true => Peers::of(rewards, weights, self.scale == Some(Scale::Group), self.sums),
                false => none,
            };
            let divisor = match self.scale {
                None => 1.0,
                Some(Scale::Group) => self.divisor(own.deviation),
                Some(Scale::Batch) => self.divisor(batch.deviation),
            };
            let peers = if is_of_batch { &batch } else { &own };
            for (answer, reward) in rewards.iter_mut().enumerate() {
                if reward.is_nan() {
                    *reward = 0.0;
                    continue;
                }
                let centred = match (computed, self.baseline) {
                    (Some(computed), _) => (computed.less)(*reward, peers),
                    (None, Baseline::Number(number)) => *reward - number,
                    _ => *reward - baselines.map_or(0.0, |baselines| baselines[answer]),
                };
                *reward = centred / divisor;
            }
        }
        Ok(())
    }

    /// What rewards with this deviation are divided by. Where there is none, ε alone would blow up whatever a baseline that
    /// is not their mean leaves of them.
    fn divisor(&self, deviation: f64) -> f64 {
        if deviation == 0.0 { 1.0 } else { deviation + self.epsilon }
    }
}

/// Generalized advantage estimation, backwards from the end of an episode.
#[derive(Debug, Clone, Copy)]
pub struct Estimation {
    /// γ
    pub discount: f64,
    /// λ
    pub decay: f64,
    /// V of the step behind.
    value: f64,
    /// A of the step behind.
    advantage: f64,
}

impl Estimation {
    /// At the end.
    pub fn new(discount: f64, decay: f64) -> Self {
        Self { discount, decay, value: 0.0, advantage: 0.0 }
    }

    /// Replaces the rewards of the steps before by advantages, and fills the returns A + V. Steps that are not valid are
    /// passed over, as if they were not there.
    pub fn before(&mut self, rewards: &mut [f64], returns: &mut [f64], values: &[f64], valid: &[bool]) {
        for step in (0..rewards.len()).rev() {
            (rewards[step], returns[step]) = match valid[step] {
                true => {
                    let Self { discount, decay, value, advantage } = *self;
                    self.advantage = rewards[step] + discount * value - values[step] + discount * decay * advantage;
                    self.value = values[step];
                    (self.advantage, self.advantage + self.value)
                }
                false => (0.0, 0.0),
            };
        }
    }
}

/// (x − mean) / √(variance + ε), the variance over n − 1.
#[derive(Debug, Clone, Copy)]
pub struct Whitening {
    mean: f64,
    scale: f64,
    /// Whether the mean is put back.
    keeps_mean: bool,
}

/// Shows some numbers after others, and which of them are valid.
pub type Visit<'a> = dyn FnMut(&mut dyn FnMut(&[f64], &[bool])) -> Result<(), Error> + 'a;

impl Whitening {
    /// Of all valid numbers that are shown; they are shown twice. NaN in a valid place makes all of them NaN.
    pub fn new(visit: &mut Visit<'_>, keeps_mean: bool, epsilon: f64) -> Result<Self, Error> {
        let (mut first, mut count) = (None, 0.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        let valid = |numbers: &[f64], valid: &[bool], each: &mut dyn FnMut(f64)| {
            numbers.iter().zip(valid).filter(|(_, is_valid)| **is_valid).for_each(|(number, _)| each(*number));
        };
        visit(&mut |numbers, are_valid| {
            valid(numbers, are_valid, &mut |number| {
                // Equal numbers have the first for their mean, and no distance.
                sum += number - *first.get_or_insert(number);
                count += 1.0;
            });
        })?;
        let mean = first.unwrap_or(0.0) + if count > 0.0 { sum / count } else { 0.0 };
        visit(&mut |numbers, are_valid| {
            valid(numbers, are_valid, &mut |number| squares += (number - mean) * (number - mean));
        })?;
        let variance = if count > 1.0 { squares / (count - 1.0) } else { 0.0 };
        // One number alone may be NaN.
        Ok(Self { mean, scale: (variance + 0.0 * mean + epsilon).sqrt(), keeps_mean })
    }

    /// Replaces numbers; by 0 where they are not valid.
    pub fn of(&self, numbers: &mut [f64], valid: &[bool]) {
        for (number, &is_valid) in numbers.iter_mut().zip(valid) {
            let distance = *number - self.mean;
            let scaled = if distance == 0.0 { 0.0 } else { distance / self.scale };
            *number = match (is_valid, self.keeps_mean) {
                (false, _) => 0.0,
                (true, false) => scaled,
                (true, true) => scaled + self.mean,
            };
        }
    }
}
