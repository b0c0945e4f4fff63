//! REINFORCE (Williams, 1992, <https://doi.org/10.1007/BF00992696>): the policy gradient of a reward.
//!
//! ℓ = −A ln π(a)          ∂ℓ/∂xⱼ = A (softmax(x)ⱼ − [j = a])
//!
//! for every step, a its action and A its advantage: the reward less a baseline that does not depend on the action. A is a
//! constant of the gradient, so the term is that of cross-entropy with A for the weight of the class.
//!
//! Rewards are one for a sequence (which every step of it gets), or one for every step; those may be added up to discounted
//! rewards to go, Gₜ = rₜ + γ Gₜ₊₁. A masked step is no action: it adds nothing, discounts nothing, and G passes over it.

use super::Scores;
use super::cross_entropy::rows_per_piece;
use super::logits::{LogitRows, Transform, times};
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyView, Argument, Axes, PerStep, Sequences, Structure, class, floats_per_step};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::Ticker;
use crate::reduction::Measure;

/// REINFORCE with its checked inputs.
pub struct Reinforce<'a, E> {
    logits: Sequences<'a, E>,
    /// The valid steps of each sequence.
    lengths: Vec<usize>,
    /// The action of every step; `None` where the scores are those of the actions alone.
    actions: Option<PerStep<i64>>,
    advantages: PerStep<f64>,
    scores: Scores,
    mask: Option<PerStep<bool>>,
}

impl<'a, E: Element> Reinforce<'a, E> {
    /// Puts checked inputs together, and checks that the actions of valid steps are classes.
    pub fn new(
        logits: Sequences<'a, E>,
        lengths: Vec<usize>,
        actions: Option<PerStep<i64>>,
        advantages: PerStep<f64>,
        scores: Scores,
        mask: Option<PerStep<bool>>,
    ) -> Result<Self, Error> {
        let loss = Self { logits, lengths, actions, advantages, scores, mask };
        if let Some(actions) = &loss.actions {
            for (sequence, &length) in loss.lengths.iter().enumerate() {
                for (step, &action) in actions.of(sequence)[..length].iter().enumerate() {
                    if loss.is_valid(sequence, step) {
                        class("actions", &loss.logits.structure, (sequence, step), action, loss.logits.width)?;
                    }
                }
            }
        }
        Ok(loss)
    }

    fn is_valid(&self, sequence: usize, step: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.of(sequence)[step])
    }
}

/// What a thread keeps.
pub struct Scratch<F> {
    rows: LogitRows<F>,
    factor: [f64; 1],
}

impl<E: Element> Loss for Reinforce<'_, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        Ok(Scratch { rows: LogitRows::new(self.logits.width, Transform::NONE)?, factor: [0.0] })
    }

    fn terms(&self, sequence: usize) -> usize {
        self.lengths[sequence]
    }

    fn grain(&self) -> usize {
        rows_per_piece(self.logits.width)
    }

    fn stretch(&self, _: usize) -> usize {
        self.logits.width
    }

    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure {
        let valid = (0..self.lengths[sequence]).filter(|&step| self.is_valid(sequence, step)).count();
        weight.add(valid as f64);
        Measure::of(valid)
    }

    fn cost(&self, sequence: usize) -> usize {
        1 + self.lengths[sequence] * self.logits.width.max(1)
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { rows, factor } = scratch;
        let (sequence, first) = (piece.sequence, piece.terms.start);
        let advantage = |step: usize| self.advantages.of(sequence)[step];
        if let (Some(actions), Scores::Logits) = (&self.actions, self.scores) {
            return rows.classes(piece, ticker, |step| {
                let action = actions.of(sequence)[step] as usize;
                self.is_valid(sequence, step).then(|| (action, advantage(step)))
            });
        }
        for step in piece.terms.clone() {
            let local = step - first;
            ticker.tick(self.logits.width.max(1))?;
            let advantage = self.is_valid(sequence, step).then(|| advantage(step));
            let factor = piece.factors(local..local + 1, factor)[0];
            let value = match (&self.actions, advantage) {
                (Some(actions), Some(advantage)) => {
                    let action = actions.of(sequence)[step] as usize;
                    step_of_log_probs(piece, step, action, advantage, factor, rows.buffers())
                }
                (Some(_), None) => {
                    piece.strip.clear(step, first);
                    0.0
                }
                (None, advantage) => step_of_action(piece, step, advantage, factor, rows.buffers()),
            };
            piece.term(local, value);
        }
        Ok(())
    }
}

/// −A x of the action of a step whose scores are log-probabilities.
fn step_of_log_probs<E: Element>(
    piece: &mut Piece<'_, E>,
    step: usize,
    action: usize,
    advantage: f64,
    factor: f64,
    buffers: &mut Buffers<E::Float>,
) -> f64 {
    let first = piece.terms.start;
    let value = piece.strip.read(step, first, buffers, |x| times(advantage, -x[action].to_f64()));
    if piece.wants_gradient() {
        piece.strip.read_and_write(step, first, buffers, |_, out| {
            out.fill(E::Float::default());
            out[action] = Float::from_f64(-factor * advantage);
        });
    }
    value
}

/// −A x of a step whose score is the log-probability of its action; nothing where the step is masked.
fn step_of_action<E: Element>(
    piece: &mut Piece<'_, E>,
    step: usize,
    advantage: Option<f64>,
    factor: f64,
    buffers: &mut Buffers<E::Float>,
) -> f64 {
    let first = piece.terms.start;
    let value = advantage.map_or(0.0, |advantage| {
        piece.strip.read_block(step..step + 1, first, buffers, |x| times(advantage, -x[0].to_f64()))
    });
    if piece.wants_gradient() {
        let slope = advantage.map_or(0.0, |advantage| -advantage * factor);
        piece.strip.read_and_write_block(step..step + 1, first, buffers, |_, out| out[0] = Float::from_f64(slope));
    }
    value
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
    /// The mean over the other sequences of the group; without groups, of the batch.
    LeaveOneOut,
}

/// The words for baselines that are computed.
pub const BASELINES: &[&str] = &["batch_mean", "leave_one_out"];

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
    let subtract_means =
        |rewards: &mut PerStep<f64>, structure: &Structure, counts: &dyn Fn(usize, usize) -> bool| match baseline {
            Baseline::BatchMean => subtract_mean(rewards, structure, structure.sequences(), false, counts),
            Baseline::LeaveOneOut => subtract_mean(rewards, structure, group, true, counts),
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
        Baseline::None | Baseline::BatchMean | Baseline::LeaveOneOut => {}
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

/// The numbers of an array that has one for each sequence.
fn per_sequence(argument: &Argument<AnyView<'_>>, structure: &Structure) -> Result<Option<Vec<f64>>, Error> {
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
/// only, if the step's own is to be left out. Sums are exact, so sequences may come in any order.
fn subtract_mean(
    returns: &mut PerStep<f64>,
    structure: &Structure,
    group: usize,
    others_only: bool,
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
            for &sequence in &having {
                sum.add(returns.of(sequence)[step]);
            }
            let sum = sum.take();
            let count = having.len() as f64;
            for sequence in having {
                let value = &mut returns.of_mut(sequence)[step];
                // r − (Σ − r)/(n − 1) = (n r − Σ)/(n − 1)
                *value = match (others_only, count > 1.0) {
                    (true, true) => (count * *value - sum) / (count - 1.0),
                    (true, false) => 0.0,
                    (false, _) => *value - sum / count,
                };
            }
        }
    }
}

/// Whether scores are those of the actions alone, without an axis of classes.
pub fn axes(actions_are_given: bool) -> Axes {
    if actions_are_given { Axes::StepsOfRows } else { Axes::Steps }
}
