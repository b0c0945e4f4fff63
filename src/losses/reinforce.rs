//! REINFORCE (Williams, 1992, <https://doi.org/10.1007/BF00992696>): the policy gradient of a reward.
//!
//! ℓ = −A ln π(a) − β H          ∂ℓ/∂xⱼ = A (softmax(x)ⱼ − [j = a]) + β pⱼ (ln pⱼ + H)
//!
//! for every step, a its action and A its advantage: the reward less a baseline that does not depend on the action. A is a
//! constant of the gradient, so the term is that of cross-entropy with A for the weight of the class. H is the entropy of
//! the step.
//!
//! Rewards are one for a sequence (which every step of it gets), or one for every step; those may be added up to discounted
//! rewards to go, Gₜ = rₜ + γ Gₜ₊₁. A masked step is no action: it adds nothing, discounts nothing, and G passes over it. A
//! reward that is NaN is none: it is in no mean, adds nothing to go, and what has nothing else has the advantage 0.

use super::advantages::{Baseline, GroupAdvantages, Scale, Sums, Whitening};
use super::logits::Transform;
use super::policy_gradient::{Actions, PolicyGradient};
use crate::error::{Error, tuple};
use crate::float::Element;
use crate::input::{AnyView, Argument, Axes, PerStep, Sequences, Structure, Viewed, floats_per_step};
use crate::parallel::Ticker;

/// REINFORCE of logits: the policy gradient with −A for the coefficient of each step, and −β for that of its entropy.
pub fn reinforce<E: Element>(
    logits: Sequences<'_, E>,
    actions: Actions,
    mut advantages: PerStep<f64>,
    entropy: f64,
    transform: Transform,
) -> PolicyGradient<'_, E> {
    advantages.negate();
    let entropy = (entropy != 0.0).then(|| PerStep::filled(&logits.structure, -entropy));
    PolicyGradient::new(logits, actions, advantages, entropy, transform)
}

/// How rewards become advantages.
pub struct Worth<'a> {
    /// What is subtracted.
    pub baseline: Baseline<'a>,
    /// What is divided by, if anything...
    pub scale: Option<Scale>,
    /// ... and added to it before.
    pub epsilon: f64,
    /// γ, for rewards of steps that are added up.
    pub discount: Option<f64>,
    /// Whether advantages get mean 0 and variance 1, over the valid steps of the batch.
    pub whitens: bool,
}

/// A baseline that is an array.
enum Given {
    OfSequences(Vec<f64>),
    OfSteps(PerStep<f64>),
}

/// What is added to the variance of advantages that are whitened.
const LITTLE: f64 = 1e-8;

impl Worth<'_> {
    /// The advantage of every valid step. With rewards of steps, peers are compared step by step, those that have the step.
    pub fn advantages(
        &self,
        rewards: &Argument<AnyView<'_>>,
        structure: &Structure,
        mut valid: PerStep<bool>,
        ticker: &Ticker<'_>,
    ) -> Result<PerStep<f64>, Error> {
        let sequences = structure.sequences();
        let of_sequences = per_sequence(rewards, structure)?;
        if self.discount.is_some() && of_sequences.is_some() {
            let message = "discount needs rewards for every step, and these are one for each sequence";
            return Err(Error::Value(message.to_owned()));
        }
        let given = match &self.baseline {
            Baseline::Array(array) => Some(match (per_sequence(array, structure)?, per_group(array, structure)?) {
                (Some(baselines), _) | (None, Some(baselines)) => Given::OfSequences(baselines),
                (None, None) => Given::OfSteps(per_step("baseline", array, structure)?),
            }),
            _ => None,
        };
        let count = |sequence: usize| valid.of(sequence).iter().filter(|&&is_valid| is_valid).count() as f64;
        let groups = groups(structure);
        let weights =
            self.baseline.is("length_weighted").then(|| PerStep::new((0..sequences).map(count).collect(), &groups));
        let mut returns;
        match (of_sequences, given) {
            // A reward counts in a mean however many steps its sequence has.
            (Some(rewards), given @ (None | Some(Given::OfSequences(_)))) => {
                let baselines = match given {
                    Some(Given::OfSequences(baselines)) => Some(PerStep::new(baselines, &groups)),
                    _ => None,
                };
                for (sequence, _) in rewards.iter().enumerate().filter(|(_, reward)| reward.is_nan()) {
                    valid.of_mut(sequence).fill(false);
                }
                let mut column = PerStep::new(rewards, &groups);
                self.compare(&mut column, weights.as_ref(), baselines.as_ref(), ticker)?;
                returns = spread(column.all(), structure);
            }
            (of_sequences, given) => {
                returns = match of_sequences {
                    Some(rewards) => spread(&rewards, structure),
                    None => per_step("rewards", rewards, structure)?,
                };
                if let Some(discount) = self.discount {
                    rewards_to_go(&mut returns, structure, discount, &valid)?;
                }
                for sequence in 0..sequences {
                    let valid = valid.of_mut(sequence).iter_mut();
                    valid.zip(returns.of(sequence)).for_each(|(valid, reward)| *valid &= !reward.is_nan());
                }
                let baseline_at = |sequence: usize, step: usize| match &given {
                    None => 0.0,
                    Some(Given::OfSequences(baselines)) => baselines[sequence],
                    Some(Given::OfSteps(baselines)) => baselines.of(sequence)[step],
                };
                if !matches!(self.baseline, Baseline::Computed(_)) && self.scale.is_none() {
                    let number = if let Baseline::Number(number) = self.baseline { number } else { 0.0 };
                    for sequence in 0..sequences {
                        ticker.tick(1 + structure.steps[sequence])?;
                        for (step, value) in returns.of_mut(sequence).iter_mut().enumerate() {
                            let is_there = valid.of(sequence)[step];
                            *value = if is_there { *value - number - baseline_at(sequence, step) } else { 0.0 };
                        }
                    }
                } else {
                    let answers = groups.padding[0];
                    let mut with_step: Vec<usize> = (0..sequences).collect();
                    for step in 0..structure.steps.iter().copied().max().unwrap_or(0) {
                        // Those that are over are not looked at again, however long others are.
                        with_step.retain(|&sequence| step < structure.steps[sequence]);
                        let of_groups = with_step.chunk_by(|one, other| one / answers == other / answers);
                        let steps = of_groups.map(<[usize]>::len).collect();
                        let groups = Structure { outer: vec![], ragged: true, steps, padding: vec![] };
                        let column = |of: &dyn Fn(usize) -> f64| {
                            PerStep::new(with_step.iter().map(|&sequence| of(sequence)).collect(), &groups)
                        };
                        let mut rewards = column(&|sequence| match valid.of(sequence)[step] {
                            true => returns.of(sequence)[step],
                            false => f64::NAN,
                        });
                        let weights = weights.as_ref().map(|all| column(&|sequence| all.all()[sequence]));
                        let below = given.as_ref().map(|_| column(&|sequence| baseline_at(sequence, step)));
                        self.compare(&mut rewards, weights.as_ref(), below.as_ref(), ticker)?;
                        for (&sequence, &advantage) in with_step.iter().zip(rewards.all()) {
                            returns.of_mut(sequence)[step] = advantage;
                        }
                    }
                }
            }
        }
        if self.whitens {
            let whitening = Whitening::new(
                &mut |each| {
                    for sequence in 0..sequences {
                        ticker.tick(1 + structure.steps[sequence])?;
                        each(returns.of(sequence), valid.of(sequence));
                    }
                    Ok(())
                },
                false,
                LITTLE,
            )?;
            (0..sequences).for_each(|sequence| whitening.of(returns.of_mut(sequence), valid.of(sequence)));
        }
        Ok(returns)
    }

    /// Compares one reward of each sequence with those of its peers.
    fn compare(
        &self,
        rewards: &mut PerStep<f64>,
        weights: Option<&PerStep<f64>>,
        baselines: Option<&PerStep<f64>>,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        // In whatever order sequences come, their advantages are the same.
        let Self { baseline, scale, epsilon, .. } = self;
        let advantages = GroupAdvantages { baseline, scale: *scale, epsilon: *epsilon, sums: Sums::Exact };
        advantages.of(rewards, weights, baselines, &|size| ticker.tick(1 + 8 * size))
    }
}

/// The groups of sequences, as if each were a sequence, and its sequences the steps.
pub fn groups(structure: &Structure) -> Structure {
    match structure.outer[..] {
        [groups, answers] => grouped(groups, answers),
        _ => Structure { outer: vec![], ..grouped(1, structure.sequences()) },
    }
}

/// So many groups of so many sequences each.
pub fn grouped(groups: usize, answers: usize) -> Structure {
    Structure { outer: vec![groups], ragged: false, steps: vec![answers; groups], padding: vec![answers] }
}

/// Gₜ = rₜ + γ Gₜ₊₁ over the valid steps; NaN where there is no reward to go.
fn rewards_to_go(
    rewards: &mut PerStep<f64>,
    structure: &Structure,
    discount: f64,
    valid: &PerStep<bool>,
) -> Result<(), Error> {
    if !(0.0..=1.0).contains(&discount) {
        return Err(Error::Value(format!("discount is {discount}, which is not in 0..=1")));
    }
    for sequence in 0..structure.sequences() {
        let mut to_go = f64::NAN;
        let steps = rewards.of_mut(sequence).iter_mut().zip(valid.of(sequence)).rev();
        for (reward, _) in steps.filter(|(_, is_valid)| **is_valid) {
            to_go = match (reward.is_nan(), to_go.is_nan()) {
                (true, _) => discount * to_go,
                (false, true) => *reward,
                (false, false) => *reward + discount * to_go,
            };
            *reward = to_go;
        }
    }
    Ok(())
}

/// The same number for all the steps of a sequence.
fn spread(numbers: &[f64], structure: &Structure) -> PerStep<f64> {
    let mut all = PerStep::filled(structure, 0.0);
    for (sequence, &number) in numbers.iter().enumerate() {
        all.of_mut(sequence).fill(number);
    }
    all
}

/// Numbers of every step, each of which may be one for all the steps of a sequence.
pub fn per_step_or_sequence(
    name: &str,
    argument: &Argument<AnyView<'_>>,
    structure: &Structure,
) -> Result<PerStep<f64>, Error> {
    let Some(numbers) = per_sequence(argument, structure)? else { return per_step(name, argument, structure) };
    Ok(spread(&numbers, structure))
}

/// Numbers of every step, where there could have been one for each sequence.
fn per_step(name: &str, argument: &Argument<AnyView<'_>>, structure: &Structure) -> Result<PerStep<f64>, Error> {
    floats_per_step(name, argument, structure).map_err(|error| either(error, name, argument, structure))
}

/// Names both shapes that would have been right, where it is the shape of an array that is wrong.
pub fn either<V: Viewed>(error: Error, name: &str, argument: &Argument<V>, structure: &Structure) -> Error {
    let Argument::Array(array) = argument else { return error };
    let of_steps = match &error {
        Error::Shape { argument, expected, .. } if argument == name => expected,
        _ => return error,
    };
    Error::shape(name, array.shape(), format!("{} or {of_steps}", tuple(&structure.outer)))
}

/// The numbers of an array that has one for each sequence.
pub fn per_sequence(argument: &Argument<AnyView<'_>>, structure: &Structure) -> Result<Option<Vec<f64>>, Error> {
    match argument {
        Argument::Array(array) if array.shape() == structure.outer => Ok(Some(array.to_vec()?)),
        _ => Ok(None),
    }
}

/// The numbers of an array that has one for each group, repeated for each of its sequences.
fn per_group(argument: &Argument<AnyView<'_>>, structure: &Structure) -> Result<Option<Vec<f64>>, Error> {
    match (argument, &structure.outer[..]) {
        (Argument::Array(array), &[groups, answers]) if array.shape() == [groups] => {
            let numbers = array.to_vec()?;
            Ok(Some(numbers.iter().flat_map(|&number| std::iter::repeat_n(number, answers)).collect()))
        }
        _ => Ok(None),
    }
}

/// Whether scores are those of the actions alone, without an axis of classes.
pub fn axes(actions_are_given: bool) -> Axes {
    if actions_are_given { Axes::StepsOfRows } else { Axes::Steps }
}
