//! REINFORCE (Williams, 1992, <https://doi.org/10.1007/BF00992696>): the policy gradient of a reward.
//!
//! ℓ = −A ln π(a)          ∂ℓ/∂xⱼ = A (softmax(x)ⱼ − [j = a])
//!
//! for every step, a its action and A its advantage: the reward less a baseline that does not depend on the action. A is a
//! constant of the gradient, so the term is that of cross-entropy with A for the weight of the class.
//!
//! Rewards are one for a sequence (which every step of it gets), or one for every step; those may be added up to discounted
//! rewards to go, Gₜ = rₜ + γ Gₜ₊₁. A masked step is no action: it adds nothing, discounts nothing, and G passes over it.

use super::logits::Transform;
use super::policy_gradient::{Actions, PolicyGradient};
use crate::error::Error;
use crate::exact::Exact;
use crate::float::Element;
use crate::input::{AnyView, Argument, Axes, PerStep, Sequences, Structure, floats_per_step};

/// REINFORCE of logits: the policy gradient with −A for the coefficient of each step.
pub fn reinforce<E: Element>(
    logits: Sequences<'_, E>,
    actions: Actions,
    mut advantages: PerStep<f64>,
) -> PolicyGradient<'_, E> {
    advantages.negate();
    PolicyGradient::new(logits, actions, advantages, None, Transform::NONE)
}

/// What a reward is compared with.
pub enum Baseline<'a> {
    /// 0
    None,
    /// One number for all.
    Number(f64),
    /// One for each sequence, or for each step.
    Array(Argument<AnyView<'a>>),
    /// The mean over the batch.
    BatchMean,
    /// The mean over the group; without groups, over the batch.
    GroupMean,
    /// The same with the number of valid steps of each sequence for its weight.
    LengthWeighted,
    /// The mean over the other sequences of the group; without groups, of the batch.
    LeaveOneOut,
}

/// The words for baselines that are computed.
pub const BASELINES: &[&str] = &["batch_mean", "group_mean", "leave_one_out", "length_weighted"];

impl Baseline<'_> {
    /// Reads the word for one that is computed.
    pub fn new(word: &str) -> Result<Self, Error> {
        match word {
            "batch_mean" => Ok(Self::BatchMean),
            "group_mean" => Ok(Self::GroupMean),
            "leave_one_out" => Ok(Self::LeaveOneOut),
            "length_weighted" => Ok(Self::LengthWeighted),
            _ => Err(Error::Choice { argument: "baseline", value: word.to_owned(), choices: BASELINES }),
        }
    }
}

/// The advantage of every step. With rewards of steps, means are taken step by step, over the sequences that have the
/// step; a sequence that is alone has advantage 0 in leave-one-out.
pub fn advantages<E: Element>(
    first: &Sequences<'_, E>,
    lengths: &[usize],
    mask: Option<&PerStep<bool>>,
    rewards: &Argument<AnyView<'_>>,
    baseline: &Baseline<'_>,
    discount: Option<f64>,
) -> Result<PerStep<f64>, Error> {
    let structure = &first.structure;
    let is_valid =
        |sequence: usize, step: usize| step < lengths[sequence] && mask.is_none_or(|mask| mask.of(sequence)[step]);
    let group = match structure.outer[..] {
        [_, group] => group,
        _ => structure.sequences(),
    };
    let count = |sequence: usize| (0..lengths[sequence]).filter(|&step| is_valid(sequence, step)).count() as f64;
    let valid_steps: Vec<f64> = match baseline {
        Baseline::LengthWeighted => (0..structure.sequences()).map(count).collect(),
        _ => vec![],
    };
    let subtract_means =
        |rewards: &mut PerStep<f64>, structure: &Structure, counts: &dyn Fn(usize, usize) -> bool| match baseline {
            Baseline::BatchMean => subtract_mean(rewards, structure, structure.sequences(), false, None, counts),
            Baseline::GroupMean => subtract_mean(rewards, structure, group, false, None, counts),
            Baseline::LeaveOneOut => subtract_mean(rewards, structure, group, true, None, counts),
            Baseline::LengthWeighted => subtract_mean(rewards, structure, group, false, Some(&valid_steps), counts),
            Baseline::None | Baseline::Number(_) | Baseline::Array(_) => {}
        };
    let mut returns;
    if let Some(rewards) = per_sequence(rewards, structure)? {
        if discount.is_some() {
            let message = "discount needs rewards for every step, and these are one for each sequence";
            return Err(Error::Value(message.to_owned()));
        }
        // A reward counts in a mean however many steps its sequence has: it is one step here.
        let whole = Structure { steps: vec![1; structure.sequences()], padding: vec![1], ..structure.clone() };
        let mut advantages = PerStep::filled(&whole, 0.0);
        for (sequence, reward) in rewards.into_iter().enumerate() {
            advantages.of_mut(sequence)[0] = reward;
        }
        subtract_means(&mut advantages, &whole, &|_, _| true);
        returns = PerStep::filled(structure, 0.0);
        for sequence in 0..structure.sequences() {
            returns.of_mut(sequence).fill(advantages.of(sequence)[0]);
        }
    } else {
        returns = floats_per_step("rewards", rewards, structure)?;
        if let Some(discount) = discount {
            rewards_to_go(&mut returns, structure, discount, is_valid)?;
        }
        subtract_means(&mut returns, structure, &is_valid);
    }
    match baseline {
        Baseline::Number(number) => subtract(&mut returns, structure, |_, _| *number),
        Baseline::Array(array) => {
            if let Some(baseline) = per_sequence(array, structure)? {
                subtract(&mut returns, structure, |sequence, _| baseline[sequence]);
            } else {
                let baseline = floats_per_step("baseline", array, structure)?;
                subtract(&mut returns, structure, |sequence, step| baseline.of(sequence)[step]);
            }
        }
        _ => {}
    }
    Ok(returns)
}

/// Gₜ = rₜ + γ Gₜ₊₁ over the valid steps.
fn rewards_to_go(
    rewards: &mut PerStep<f64>,
    structure: &Structure,
    discount: f64,
    is_valid: impl Fn(usize, usize) -> bool,
) -> Result<(), Error> {
    if !(0.0..=1.0).contains(&discount) {
        return Err(Error::Value(format!("discount is {discount}, which is not in 0..=1")));
    }
    for sequence in 0..structure.sequences() {
        let mut to_go = 0.0;
        for (step, reward) in rewards.of_mut(sequence).iter_mut().enumerate().rev() {
            if is_valid(sequence, step) {
                to_go = *reward + discount * to_go;
                *reward = to_go;
            }
        }
    }
    Ok(())
}

/// Numbers of every step, each of which may be one for all the steps of a sequence.
pub fn per_step_or_sequence(
    name: &str,
    argument: &Argument<AnyView<'_>>,
    structure: &Structure,
) -> Result<PerStep<f64>, Error> {
    let Some(numbers) = per_sequence(argument, structure)? else { return floats_per_step(name, argument, structure) };
    let mut all = PerStep::filled(structure, 0.0);
    for (sequence, number) in numbers.into_iter().enumerate() {
        all.of_mut(sequence).fill(number);
    }
    Ok(all)
}

/// The numbers of an array that has one for each sequence.
pub fn per_sequence(argument: &Argument<AnyView<'_>>, structure: &Structure) -> Result<Option<Vec<f64>>, Error> {
    match argument {
        Argument::Array(array) if array.shape() == structure.outer => Ok(Some(array.to_vec()?)),
        _ => Ok(None),
    }
}

fn subtract(returns: &mut PerStep<f64>, structure: &Structure, baseline: impl Fn(usize, usize) -> f64) {
    for sequence in 0..structure.sequences() {
        for (step, value) in returns.of_mut(sequence).iter_mut().enumerate() {
            *value -= baseline(sequence, step);
        }
    }
}

/// Subtracts from every step the mean over the same step of the sequences of its group that count; of the others of them
/// only, if the step's own is to be left out. Sums are exact, so sequences may come in any order. A weighted mean of
/// sequences that have no weight is 0.
fn subtract_mean(
    returns: &mut PerStep<f64>,
    structure: &Structure,
    group: usize,
    others_only: bool,
    weights: Option<&[f64]>,
    counts: &dyn Fn(usize, usize) -> bool,
) {
    let sequences = structure.sequences();
    let mut sum = Exact::new();
    for first in (0..sequences).step_by(group.max(1)) {
        let members = first..sequences.min(first + group);
        let longest = members.clone().map(|sequence| structure.steps[sequence]).max().unwrap_or(0);
        for step in 0..longest {
            let has_step = |&sequence: &usize| step < structure.steps[sequence] && counts(sequence, step);
            let having: Vec<usize> = members.clone().filter(has_step).collect();
            let weight = |sequence: usize| weights.map_or(1.0, |weights| weights[sequence]);
            for &sequence in having.iter().filter(|&&sequence| weight(sequence) > 0.0) {
                sum.add(weight(sequence) * returns.of(sequence)[step]);
            }
            let sum = sum.take();
            let count: f64 = having.iter().map(|&sequence| weight(sequence)).sum();
            for sequence in having {
                let value = &mut returns.of_mut(sequence)[step];
                // r − (Σ − r)/(n − 1) = (n r − Σ)/(n − 1)
                *value = match (others_only, count > 1.0) {
                    (true, true) => (count * *value - sum) / (count - 1.0),
                    (true, false) => 0.0,
                    (false, _) if count > 0.0 => *value - sum / count,
                    (false, _) => *value,
                };
            }
        }
    }
}

/// Whether scores are those of the actions alone, without an axis of classes.
pub fn axes(actions_are_given: bool) -> Axes {
    if actions_are_given { Axes::StepsOfRows } else { Axes::Steps }
}
