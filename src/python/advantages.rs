//! Advantages: of groups, of episodes with a critic, and whitened. Defaults and documentation live in
//! `python/seqloss_rs/advantages.py`.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::answer::{Results, Term};
use super::arguments::{Floats, integers};
use super::enter;
use super::losses::{Given, scale_of};
use super::policy::{About, Call, together};
use crate::error::{Error, tuple};
use crate::input::{Argument, PerStep, Structure, integers_per_step};
use crate::losses::advantages::{Baseline, Estimation, GroupAdvantages, Scale, Sums, Whitening};
use crate::losses::policy_terms::BLOCK;
use crate::losses::reinforce::{grouped, groups, per_step_or_sequence};
use crate::parallel::{Ticker, for_each, watched};

type Object<'py> = Bound<'py, PyAny>;

/// Where numbers of a sequence are written.
enum Out<'a> {
    Single(&'a mut [f32]),
    Double(&'a mut [f64]),
}

impl Out<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Single(out) => out.len(),
            Self::Double(out) => out.len(),
        }
    }

    /// Writes numbers from place `first` on.
    fn write(&mut self, first: usize, numbers: &[f64]) {
        match self {
            Self::Single(out) => out[first..].iter_mut().zip(numbers).for_each(|(out, number)| *out = *number as f32),
            Self::Double(out) => out[first..first + numbers.len()].copy_from_slice(numbers),
        }
    }
}

/// Arrays that are filled from their beginning.
struct Appended<'a> {
    all: Vec<Out<'a>>,
    /// Which of them is next...
    array: usize,
    /// ... and which place in it.
    place: usize,
}

impl Appended<'_> {
    fn append(&mut self, mut numbers: &[f64]) {
        while !numbers.is_empty() {
            let out = &mut self.all[self.array];
            let (now, later) = numbers.split_at(numbers.len().min(out.len() - self.place));
            out.write(self.place, now);
            self.place += now.len();
            if self.place == out.len() {
                (self.array, self.place) = (self.array + 1, 0);
            }
            numbers = later;
        }
    }
}

impl<'py> About<'py> {
    /// Room for numbers of steps, in the form of the first argument.
    fn room(&self) -> PyResult<Results<'py>> {
        let dtype = if self.is_double() { numpy::dtype::<f64>(self.py) } else { numpy::dtype::<f32>(self.py) };
        Results::new(self.py, &dtype, &self.structure, Term::Step, &[])
    }

    /// All of them, one after another.
    fn whole<'a>(&self, room: &'a mut Results<'py>) -> Appended<'a> {
        let arrays = room.arrays.iter_mut();
        let all = match self.is_double() {
            true => arrays.map(|array| Out::Double(array.numbers())).collect(),
            false => arrays.map(|array| Out::Single(array.numbers())).collect(),
        };
        Appended { all, array: 0, place: 0 }
    }

    /// The numbers of every sequence.
    fn split<'a>(&self, room: &'a mut Results<'py>) -> Vec<Out<'a>> {
        match self.is_double() {
            true => room.split(&self.structure, Term::Step, 1).into_iter().map(Out::Double).collect(),
            false => room.split(&self.structure, Term::Step, 1).into_iter().map(Out::Single).collect(),
        }
    }

    /// Advantages of sequences whose rewards are compared within their group. Of sequences that have no axis for it, the
    /// rewards say which are one.
    pub(super) fn advantages_of_rewards(
        &self,
        call: &mut Call<'_, 'py>,
        rewards: &Floats<'py>,
        valid: &PerStep<bool>,
    ) -> PyResult<PerStep<f64>> {
        let (shape, outer) = (rewards.shape().unwrap_or(&[]), &self.structure.outer);
        let sequences = self.structure.sequences();
        let groups = match shape {
            _ if rewards.is_list() => None,
            &[groups, answers] if outer.len() < 2 && groups.checked_mul(answers) == Some(sequences) => {
                Some(grouped(groups, answers))
            }
            _ => (shape == outer).then(|| groups(&self.structure)),
        };
        let Some(groups) = groups else {
            let expected = if outer.len() == 2 { tuple(outer) } else { format!("(N, K) with N * K = {sequences}") };
            return Err(Error::shape("rewards", shape, expected).into());
        };
        let numbers = rewards.any();
        let (mut advantages, weights) = enter(self.py, self.steps(), |watch| {
            let rewards = match &numbers {
                Argument::Array(array) => array.to_vec()?,
                Argument::List(_) => unreachable!("rewards are one array"),
            };
            let counts = watched(watch, |ticker| {
                let count = |sequence| {
                    let valid: &[bool] = valid.of(sequence);
                    ticker.tick(1 + valid.len())?;
                    Ok(valid.iter().filter(|&&own| own).count() as f64)
                };
                (0..sequences).map(count).collect::<Result<_, Error>>()
            })?;
            Ok((PerStep::new(rewards, &groups), PerStep::new(counts, &groups)))
        })?;
        compare(self.py, call, (&groups, shape), &mut advantages, Some(&weights))?;
        Ok(advantages)
    }

    pub(super) fn group_advantages(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let lengths = call.given("lengths")?;
        let is_weighted = call.with.get("baseline")?.extract::<String>().is_ok_and(|word| word == "length_weighted");
        together(is_weighted, lengths.is_some(), "lengths and baseline=\"length_weighted\" go together")?;
        let weights = match lengths {
            None => None,
            Some(lengths) => {
                let (lengths, structure) = (integers("lengths", &lengths)?, &self.structure);
                Some(enter(self.py, self.steps(), |watch| {
                    let lengths = integers_per_step("lengths", &lengths, structure)?;
                    watched(watch, |ticker| weights_of(&lengths, structure, ticker))
                })?)
            }
        };
        let mut rewards = self.copied(self.names[0], &self.first)?;
        let shape = self.first.shape().unwrap_or(&[]);
        compare(self.py, &mut call, (&self.structure, shape), &mut rewards, weights.as_ref())?;
        call.with.finish()?;
        let mut room = self.room()?;
        let mut out = self.whole(&mut room);
        enter(self.py, self.steps(), |watch| {
            watched(watch, |ticker| {
                for numbers in rewards.all().chunks(BLOCK) {
                    ticker.tick(BLOCK)?;
                    out.append(numbers);
                }
                Ok(())
            })
        })?;
        drop(out);
        room.into_object(self.py, &self.structure, Term::Step)
    }

    pub(super) fn generalized(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let valid = self.valid(&mut call, true)?;
        let values = Floats::new("values", &call.argument(1)?)?;
        let (rewards, values) = (self.own_rows()?, self.rows("values", &values)?);
        let (discount, decay) = (call.with.fraction("discount")?, call.with.fraction("decay")?);
        call.with.finish()?;
        let (mut advantages, mut returns) = (self.room()?, self.room()?);
        let out = self.split(&mut advantages).into_iter().zip(self.split(&mut returns)).enumerate();
        let out: Vec<_> = out.collect();
        let work = self.work();
        enter(self.py, work, |watch| {
            let each = |(sequence, (mut advantages, mut returns)): (usize, (Out<'_>, Out<'_>)),
                        (): &mut (),
                        ticker: &Ticker<'_>| {
                let valid = valid.of(sequence);
                let mut estimation = Estimation::new(discount, decay);
                let mut buffers = [[0.0; BLOCK]; 4];
                let [read, own, gained, critic] = &mut buffers;
                let mut end = valid.len();
                while end > 0 {
                    let steps = end.saturating_sub(BLOCK)..end;
                    ticker.tick(8 * steps.len())?;
                    let (own, gained) = (&mut own[..steps.len()], &mut gained[..steps.len()]);
                    own.copy_from_slice(rewards[sequence].block(steps.clone(), read));
                    let critic = values[sequence].block(steps.clone(), critic);
                    estimation.before(own, gained, critic, &valid[steps.clone()]);
                    advantages.write(steps.start, own);
                    returns.write(steps.start, gained);
                    end = steps.start;
                }
                Ok(())
            };
            for_each(out.into_iter(), work, watch, || Ok(()), each)
        })?;
        let both = [advantages, returns].map(|room| room.into_object(self.py, &self.structure, Term::Step));
        let [advantages, returns] = both;
        Ok(PyTuple::new(self.py, [advantages?, returns?])?.into_any())
    }

    pub(super) fn whitened(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let (valid, shifts_mean) = (self.valid(&mut call, true)?, call.with.flag("shift_mean")?);
        let epsilon = call.with.at_least_zero("epsilon")?;
        call.with.finish()?;
        let (rows, mut room) = (self.own_rows()?, self.room()?);
        let (mut out, sequences) = (self.whole(&mut room), &self.structure.steps);
        enter(self.py, self.work(), |watch| {
            watched(watch, |ticker| {
                let mut buffer = [0.0; BLOCK];
                let mut visit = |each: &mut dyn FnMut(&[f64], &[bool])| {
                    for (sequence, &end) in sequences.iter().enumerate() {
                        for first in (0..end).step_by(BLOCK) {
                            let steps = first..end.min(first + BLOCK);
                            ticker.tick(8 * steps.len())?;
                            let numbers = rows[sequence].block(steps.clone(), &mut buffer);
                            each(numbers, &valid.of(sequence)[steps]);
                        }
                    }
                    Ok(())
                };
                let whitening = Whitening::new(&mut visit, !shifts_mean, epsilon)?;
                visit(&mut |numbers, valid| {
                    let mut white = [0.0; BLOCK];
                    let white = &mut white[..numbers.len()];
                    white.copy_from_slice(numbers);
                    whitening.of(white, valid);
                    out.append(white);
                })
            })
        })?;
        drop(out);
        room.into_object(self.py, &self.structure, Term::Step)
    }
}

/// Lengths as weights.
fn weights_of(lengths: &PerStep<i64>, structure: &Structure, ticker: &Ticker<'_>) -> Result<PerStep<f64>, Error> {
    let mut weights = PerStep::filled(structure, 0.0);
    for group in 0..structure.sequences() {
        let pairs = weights.of_mut(group).iter_mut().zip(lengths.of(group)).enumerate();
        ticker.tick(1 + pairs.len())?;
        for (answer, (weight, &length)) in pairs {
            if length < 0 {
                return Err(Error::range("lengths", &structure.index(group, Some(answer)), length, "a length"));
            }
            *weight = length as f64;
        }
    }
    Ok(weights)
}

/// Reads what advantages of groups are made with, and makes them; the groups are the sequences of `structure`, and `shape`
/// is how the rewards came.
fn compare<'py>(
    py: Python<'py>,
    call: &mut Call<'_, 'py>,
    (structure, shape): (&Structure, &[usize]),
    rewards: &mut PerStep<f64>,
    weights: Option<&PerStep<f64>>,
) -> PyResult<()> {
    let baseline_argument = call.given("baseline")?.map(|object| Given::new(&object)).transpose()?;
    let baseline = match &baseline_argument {
        None => Baseline::None,
        Some(given) => given.baseline()?,
    };
    let baselines = match &baseline {
        Baseline::Array(array) => Some(per_step_or_sequence("baseline", array, structure)?),
        _ => None,
    };
    let scale = call.given("scale")?.map(|object| scale_of(&object)).transpose()?;
    let epsilon = call.with.at_least_zero("scale_epsilon")?;
    let is_of_group = matches!(baseline, Baseline::Computed(computed) if !computed.is_of_batch);
    if structure.outer.is_empty() && (is_of_group || scale == Some(Scale::Group)) {
        let expected = "(N, K), a row for each group: rewards.reshape(-1, group_size), or rewards[None] for one group";
        return Err(Error::shape("rewards", shape, expected).into());
    }
    let advantages = GroupAdvantages { baseline: &baseline, scale, epsilon, sums: Sums::Fast };
    let work = structure.steps.iter().map(|answers| 1 + 8 * answers).sum();
    let baselines = baselines.as_ref();
    enter(py, work, |watch| {
        watched(watch, |ticker| advantages.of(rewards, weights, baselines, &|size| ticker.tick(1 + 8 * size)))
    })
}
