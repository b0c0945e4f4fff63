//! The losses of policies, and the advantages that they take: one function for all of them, by name. Defaults and
//! documentation live in `python/seqloss_rs/policy_losses.py` and `advantages.py`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::answer::{Request, Results, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, integer_array, integers, number, reducer, word};
use super::array::{Kind, with_element};
use super::losses::{Given, addresses, lengths_of, mask_of_steps, scale_of, valid_steps};
use super::pointwise::Parameters;
use super::text::word_error_rate;
use super::{enter, guarded};
use crate::error::{Error, tuple};
use crate::input::{
    AnyRows, Argument, Axes, PerStep, Sequences, Structure, floats_per_step, integers_per_step, rows_like,
};
use crate::losses::advantages::{Baseline, Estimation, GroupAdvantages, Sums, Whitening};
use crate::losses::policy_ratio::{Kl, Objective, Penalty, RatioLoss, Steps, value_term};
use crate::losses::policy_sets::{Margin, Preference, Risk};
use crate::losses::policy_terms::{BLOCK, Block, PolicyTerms, Terms};
use crate::losses::reinforce::{groups, per_sequence, per_step_or_sequence};
use crate::parallel::{Ticker, for_each, watched};
use crate::reduction::{NUMERIC, POLICY, Reducer};

type Object<'py> = Bound<'py, PyAny>;

/// What is positional, by the name of the loss.
fn names(loss: &str) -> PyResult<&'static [&'static str]> {
    Ok(match loss {
        "ppo" => &["log_probs", "old_log_probs", "advantages"],
        "grpo" => &["log_probs", "old_log_probs", "rewards"],
        "value" => &["values", "returns"],
        "dpo" => &["log_probs", "reference_log_probs"],
        "mrt" => &["log_probs", "costs"],
        "mwer" => &["log_probs", "hypotheses", "references"],
        "group_advantages" => &["rewards"],
        "gae" => &["rewards", "values"],
        "whiten" => &["values"],
        _ => return Err(PyTypeError::new_err(format!("there is no loss {loss:?}"))),
    })
}

#[pyfunction]
#[pyo3(signature = (name, gradient, *arguments, **options))]
pub(super) fn policy_loss<'py>(
    py: Python<'py>,
    name: &str,
    gradient: Request<'py>,
    arguments: &Bound<'py, PyTuple>,
    options: Option<Bound<'py, PyDict>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let names = names(name)?;
        let with = Parameters { curve: name, dict: options, read: vec![] };
        let mut call = Call::new(names, arguments, with)?;
        let first = Floats::new(names[0], &call.argument(0)?)?;
        let has_groups = !matches!(name, "dpo" | "mrt" | "mwer" | "group_advantages");
        let structure = structure(names[0], &first, has_groups)?;
        let about = About { py, names, first, structure, gradient };
        match name {
            "ppo" | "grpo" => about.ratio(call, name == "grpo"),
            "value" => about.value(call),
            "dpo" => about.preference(call),
            "mrt" | "mwer" => about.risk(call, name == "mwer"),
            "group_advantages" => about.group_advantages(call),
            "gae" => about.generalized(call),
            _ => about.whitened(call),
        }
    })
}

/// How sequences of steps lie.
fn structure(name: &str, first: &Floats<'_>, has_groups: bool) -> PyResult<Structure> {
    if let Argument::Array(array) = &first.arrays
        && let Some((&steps, outer)) = array.shape.split_last()
        && outer.len() <= 1 + usize::from(has_groups)
        && !array.shape.contains(&0)
    {
        let steps_of_each = vec![steps; outer.iter().product()];
        return Ok(Structure { outer: outer.to_vec(), ragged: false, steps: steps_of_each, padding: vec![steps] });
    }
    with_element!(first.kind, E => {
        Ok(Sequences::<E>::new(name, &first.typed(), Axes::Steps, has_groups)?.structure)
    })
}

/// The arguments, by position or by name.
pub(super) struct Call<'a, 'py> {
    names: &'static [&'static str],
    arguments: &'a Bound<'py, PyTuple>,
    pub(super) with: Parameters<'a, 'py>,
}

impl<'a, 'py> Call<'a, 'py> {
    /// With the names of what may be positional.
    pub(super) fn new(
        names: &'static [&'static str],
        arguments: &'a Bound<'py, PyTuple>,
        with: Parameters<'a, 'py>,
    ) -> PyResult<Self> {
        if arguments.len() > names.len() {
            let (name, most, count) = (with.curve, names.len(), arguments.len());
            let message = format!("{name}_loss() takes {most} positional arguments, not {count}");
            return Err(PyTypeError::new_err(message));
        }
        Ok(Self { names, arguments, with })
    }

    pub(super) fn argument(&mut self, place: usize) -> PyResult<Object<'py>> {
        match self.arguments.get_item(place) {
            Ok(object) => Ok(object),
            Err(_) => self.with.get(self.names[place]),
        }
    }

    /// An option, unless it is None.
    pub(super) fn given(&mut self, name: &'static str) -> PyResult<Option<Object<'py>>> {
        Ok(Some(self.with.get(name)?).filter(|object| !object.is_none()))
    }

    pub(super) fn word(&mut self, name: &'static str) -> PyResult<String> {
        Ok(word(name, &self.with.get(name)?)?.into_owned())
    }

    /// What something is held within: a positive number, or anything.
    fn limit(&mut self, name: &'static str) -> PyResult<f64> {
        match self.given(name)? {
            None => Ok(f64::INFINITY),
            Some(_) => self.with.above_zero(name),
        }
    }

    /// A number that is at least 0, and may be infinite.
    fn reach(&mut self, name: &'static str) -> PyResult<f64> {
        let value = number(name, &self.with.get(name)?)?;
        match value >= 0.0 {
            true => Ok(value),
            false => Err(Error::Value(format!("{name} is {value}, expected a number that is at least 0")).into()),
        }
    }

    fn fraction(&mut self, name: &'static str) -> PyResult<f64> {
        let value = number(name, &self.with.get(name)?)?;
        match (0.0..=1.0).contains(&value) {
            true => Ok(value),
            false => Err(Error::Value(format!("{name} is {value}, which is not in 0..=1")).into()),
        }
    }

    pub(super) fn reducer(&mut self, choices: &'static [&'static str]) -> PyResult<Reducer> {
        let normalizer = self.given("normalizer")?;
        reducer(&self.with.get("reduction")?, normalizer.as_ref(), choices)
    }
}

/// One of several words.
pub(super) fn choice<T: Copy>(
    argument: &'static str,
    value: &str,
    choices: &'static [&'static str],
    all: &[T],
) -> Result<T, Error> {
    match choices.iter().position(|choice| *choice == value) {
        Some(place) => Ok(all[place]),
        None => Err(Error::Choice { argument, value: value.to_owned(), choices }),
    }
}

/// Two arguments that mean something together only.
fn together(has_one: bool, has_other: bool, message: &str) -> Result<(), Error> {
    if has_one == has_other { Ok(()) } else { Err(Error::Value(message.to_owned())) }
}

/// The first argument, and what is asked for.
struct About<'py> {
    py: Python<'py>,
    names: &'static [&'static str],
    first: Floats<'py>,
    structure: Structure,
    gradient: Request<'py>,
}

/// What a step of a sequence is worth.
enum Worth<'a> {
    Groups(PerStep<f64>),
    Sequences(Vec<f64>),
    Steps(Vec<AnyRows<'a>>),
}

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

impl<'py> About<'py> {
    fn is_double(&self) -> bool {
        self.first.kind == Kind::F64
    }

    /// Numbers of every step, which stay where they are.
    fn rows<'a>(&self, name: &str, floats: &'a Floats<'py>) -> PyResult<Vec<AnyRows<'a>>> {
        Ok(rows_like(name, &floats.any(), &self.structure, &[])?)
    }

    /// The same of the first argument.
    fn own_rows(&self) -> PyResult<Vec<AnyRows<'_>>> {
        self.rows(self.names[0], &self.first)
    }

    /// Numbers of every step, copied.
    fn copied(&self, name: &str, floats: &Floats<'py>) -> PyResult<PerStep<f64>> {
        let (numbers, structure) = (floats.any(), &self.structure);
        enter(self.py, self.steps(), |_| floats_per_step(name, &numbers, structure))
    }

    fn zeros(&self) -> PerStep<f64> {
        PerStep::filled(&self.structure, 0.0)
    }

    fn steps(&self) -> usize {
        self.structure.steps.iter().sum()
    }

    /// About how much work there is.
    fn work(&self) -> usize {
        self.structure.steps.iter().map(|steps| 1 + 8 * steps).sum()
    }

    fn mask(&self, call: &mut Call<'_, 'py>) -> PyResult<Option<PerStep<bool>>> {
        let mask = call.given("mask")?.map(|object| Mask::new("mask", &object)).transpose()?;
        Ok(mask_of_steps(mask.as_ref(), &self.structure)?)
    }

    /// The steps within `lengths` and `mask`.
    fn valid(&self, call: &mut Call<'_, 'py>) -> PyResult<PerStep<bool>> {
        let lengths = call.given("lengths")?;
        let lengths = lengths_of("lengths", lengths.as_ref(), &self.structure)?;
        Ok(valid_steps(&lengths, self.mask(call)?, &self.structure))
    }

    /// `others` are the other floats that are read on the way.
    fn answer<const N: usize>(
        &self,
        reducer: &Reducer,
        terms: Terms<'_>,
        valid: PerStep<bool>,
        others: [Option<&Floats<'py>>; N],
    ) -> PyResult<Object<'py>> {
        let term = if matches!(terms, Terms::Sequences(_)) { Term::Sequence } else { Term::Step };
        let has_groups = self.structure.outer.len() == 2;
        let others = addresses(others);
        with_element!(self.first.kind, E => {
            let mut sequences = Sequences::<E>::new(self.names[0], &self.first.typed(), Axes::Steps, has_groups)?;
            if is_in_place(&self.gradient, &self.first, &others) {
                sequences.read_in_place();
            }
            let loss = PolicyTerms::new(sequences, terms, valid);
            answer(self.py, &loss, reducer, term, &self.gradient, &self.first, &others)
        })
    }

    /// Room for numbers of steps, in the form of the first argument.
    fn room(&self) -> PyResult<Results<'py>> {
        let dtype = if self.is_double() { numpy::dtype::<f64>(self.py) } else { numpy::dtype::<f32>(self.py) };
        Results::new(self.py, &dtype, &self.structure, Term::Step, &[])
    }

    /// The arrays as they are.
    fn whole<'a>(&self, room: &'a mut Results<'py>) -> Vec<Out<'a>> {
        let arrays = room.arrays.iter_mut();
        match self.is_double() {
            true => arrays.map(|array| Out::Double(array.numbers())).collect(),
            false => arrays.map(|array| Out::Single(array.numbers())).collect(),
        }
    }

    /// The numbers of every sequence.
    fn split<'a>(&self, room: &'a mut Results<'py>) -> Vec<Out<'a>> {
        match self.is_double() {
            true => room.split(&self.structure, Term::Step, 1).into_iter().map(Out::Double).collect(),
            false => room.split(&self.structure, Term::Step, 1).into_iter().map(Out::Single).collect(),
        }
    }

    fn ratio(&self, mut call: Call<'_, 'py>, is_of_rewards: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call)?;
        let floats = |name: &str, object: Object<'py>| Floats::new(name, &object);
        let old = Some(call.argument(1)?).filter(|object| !object.is_none());
        let old = old.map(|object| floats("old_log_probs", object)).transpose()?;
        let old_rows = old.as_ref().map(|old| self.rows("old_log_probs", old)).transpose()?;
        let name = self.names[2];
        let advantages = floats(name, call.argument(2)?)?;
        let worth = match (is_of_rewards, per_sequence(&advantages.any(), &self.structure)?) {
            (true, Some(rewards)) => Worth::Groups(self.advantages_of_rewards(&mut call, rewards, &valid)?),
            (true, None) => {
                return Err(Error::shape(name, advantages.shape().unwrap_or(&[]), tuple(&self.structure.outer)).into());
            }
            (false, Some(advantages)) => Worth::Sequences(advantages),
            (false, None) => Worth::Steps(self.rows(name, &advantages)?),
        };
        let reference = call.given("reference_log_probs")?;
        let kl = kl(&mut call, reference.is_some())?;
        let reference = reference.map(|object| floats("reference_log_probs", object)).transpose()?;
        let reference_rows = reference.as_ref().map(|all| self.rows("reference_log_probs", all)).transpose()?;
        let dual = call.given("dual_clip")?.map(|_| call.with.above_zero("dual_clip")).transpose()?;
        if let Some(dual) = dual
            && dual <= 1.0
        {
            return Err(Error::Value(format!("dual_clip is {dual}, expected a number above 1")).into());
        }
        let temperatures =
            [call.with.above_zero("temperature_positive")?, call.with.above_zero("temperature_negative")?];
        let objectives = [Objective::Clip { dual }, Objective::Cispo, Objective::Sapo(temperatures)];
        let objective = choice("objective", &call.word("objective")?, &["clip", "cispo", "sapo"], &objectives)?;
        if dual.is_some() && !matches!(objective, Objective::Clip { .. }) {
            return Err(Error::Value("dual_clip goes with objective=\"clip\"".to_owned()).into());
        }
        let is_of_sequence = choice("ratio", &call.word("ratio")?, &["token", "sequence"], &[false, true])?;
        let loss = RatioLoss {
            objective,
            clip_low: call.reach("clip_low")?,
            clip_high: call.reach("clip_high")?,
            ratio_limit: call.limit("log_ratio_limit")?,
            kl,
        };
        call.with.finish()?;
        let ratios = is_of_sequence.then(|| self.ratios(old_rows.as_deref(), &valid)).transpose()?;
        let kernel = |block: Block<'_>| {
            let Block { sequence, steps, numbers, valid, values, slopes } = block;
            let mut buffers = [[0.0; BLOCK]; 3];
            let [first, second, third] = &mut buffers;
            let advantages = match &worth {
                Worth::Steps(rows) => rows[sequence].block(steps.clone(), first),
                Worth::Sequences(all) => std::slice::from_ref(&all[sequence]),
                Worth::Groups(all) => std::slice::from_ref(&all.all()[sequence]),
            };
            let steps = Steps {
                log_probs: numbers,
                old: old_rows.as_ref().map(|rows| rows[sequence].block(steps.clone(), second)),
                reference: reference_rows.as_ref().map(|rows| rows[sequence].block(steps, third)),
                advantages,
                valid,
                of_sequence: ratios.as_ref().map(|all| all[sequence]),
            };
            loss.fill(steps, values, slopes);
            Ok(())
        };
        self.answer(&reducer, Terms::Steps(&kernel), valid, [old.as_ref(), Some(&advantages), reference.as_ref()])
    }

    /// The mean of ln π − ln π_old over the valid steps of each sequence.
    fn ratios(&self, old: Option<&[AnyRows<'_>]>, valid: &PerStep<bool>) -> PyResult<Vec<f64>> {
        let mut means = vec![0.0; self.structure.sequences()];
        let Some(old) = old else { return Ok(means) };
        let (own, work) = (self.own_rows()?, self.work());
        enter(self.py, work, |watch| {
            let each = |(sequence, mean): (usize, &mut f64), (): &mut (), ticker: &Ticker<'_>| {
                let valid = valid.of(sequence);
                let (mut sum, mut count) = (0.0, 0.0);
                for first in (0..valid.len()).step_by(BLOCK) {
                    let steps = first..valid.len().min(first + BLOCK);
                    ticker.tick(8 * steps.len())?;
                    let mut buffers = [[0.0; BLOCK]; 2];
                    let [one, other] = &mut buffers;
                    let pairs = own[sequence].block(steps.clone(), one).iter();
                    let pairs = pairs.zip(old[sequence].block(steps.clone(), other));
                    for ((own, old), _) in pairs.zip(&valid[steps]).filter(|(_, is_valid)| **is_valid) {
                        sum += own - old;
                        count += 1.0;
                    }
                }
                *mean = sum / f64::max(count, 1.0);
                Ok(())
            };
            for_each(means.iter_mut().enumerate(), work, watch, || Ok(()), each)
        })?;
        Ok(means)
    }

    /// Advantages of sequences whose rewards are compared within their group: the last axis, or the batch.
    fn advantages_of_rewards(
        &self,
        call: &mut Call<'_, 'py>,
        rewards: Vec<f64>,
        valid: &PerStep<bool>,
    ) -> PyResult<PerStep<f64>> {
        let groups = groups(&self.structure);
        let counts = (0..rewards.len()).map(|sequence| valid.of(sequence).iter().filter(|&&own| own).count() as f64);
        let weights = PerStep::new(counts.collect(), &groups);
        let mut advantages = PerStep::new(rewards, &groups);
        compare(self.py, call, &groups, &mut advantages, Some(&weights))?;
        Ok(advantages)
    }

    fn group_advantages(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let lengths = call.given("lengths")?;
        let is_weighted = call.with.get("baseline")?.extract::<String>().is_ok_and(|word| word == "length_weighted");
        together(is_weighted, lengths.is_some(), "lengths and baseline=\"length_weighted\" go together")?;
        let weights = match lengths {
            None => None,
            Some(lengths) => {
                let lengths = integers_per_step("lengths", &integers("lengths", &lengths)?, &self.structure)?;
                let mut weights = self.zeros();
                for group in 0..self.structure.sequences() {
                    for (weight, &length) in weights.of_mut(group).iter_mut().zip(lengths.of(group)) {
                        *weight = length.max(0) as f64;
                    }
                }
                Some(weights)
            }
        };
        let mut rewards = self.copied(self.names[0], &self.first)?;
        compare(self.py, &mut call, &self.structure, &mut rewards, weights.as_ref())?;
        call.with.finish()?;
        let mut room = self.room()?;
        let mut out = self.whole(&mut room);
        enter(self.py, self.steps(), |_| {
            let mut rest = rewards.all();
            for out in &mut out {
                let numbers;
                (numbers, rest) = rest.split_at(out.len());
                out.write(0, numbers);
            }
            Ok(())
        })?;
        drop(out);
        room.into_object(self.py, &self.structure, Term::Step)
    }

    fn generalized(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let valid = self.valid(&mut call)?;
        let values = Floats::new("values", &call.argument(1)?)?;
        let (rewards, values) = (self.own_rows()?, self.rows("values", &values)?);
        let (discount, decay) = (call.fraction("discount")?, call.fraction("decay")?);
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

    fn whitened(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let (valid, shifts_mean) = (self.valid(&mut call)?, call.with.flag("shift_mean")?);
        let epsilon = call.with.at_least_zero("epsilon")?;
        call.with.finish()?;
        let (rows, mut room) = (self.own_rows()?, self.room()?);
        let mut out = self.split(&mut room);
        let blocks = || {
            let all = self.structure.steps.iter().enumerate();
            all.flat_map(|(sequence, &end)| {
                (0..end).step_by(BLOCK).map(move |first| (sequence, first..end.min(first + BLOCK)))
            })
        };
        let blocks: Vec<_> = blocks().collect();
        enter(self.py, self.work(), |watch| {
            watched(watch, |ticker| {
                let mut buffer = [0.0; BLOCK];
                let mut visit = |each: &mut dyn FnMut(&[f64], &[bool])| {
                    for (sequence, steps) in &blocks {
                        ticker.tick(8 * steps.len())?;
                        let numbers = rows[*sequence].block(steps.clone(), &mut buffer);
                        each(numbers, &valid.of(*sequence)[steps.clone()]);
                    }
                    Ok(())
                };
                let whitening = Whitening::new(&mut visit, !shifts_mean, epsilon)?;
                let mut places = blocks.iter();
                visit(&mut |numbers, valid| {
                    let Some((sequence, steps)) = places.next() else { return };
                    let mut white = [0.0; BLOCK];
                    let white = &mut white[..numbers.len()];
                    white.copy_from_slice(numbers);
                    whitening.of(white, valid);
                    out[*sequence].write(steps.start, white);
                })
            })
        })?;
        room.into_object(self.py, &self.structure, Term::Step)
    }

    fn value(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call)?;
        let returns = Floats::new("returns", &call.argument(1)?)?;
        let old = call.given("old_values")?.map(|object| Floats::new("old_values", &object)).transpose()?;
        let rows = self.rows("returns", &returns)?;
        let old_rows = old.as_ref().map(|old| self.rows("old_values", old)).transpose()?;
        let clip = call.reach("clip")?;
        call.with.finish()?;
        let kernel = |block: Block<'_>| {
            let Block { sequence, steps, numbers, valid, values, slopes } = block;
            let mut buffers = [[0.0; BLOCK]; 2];
            let [first, second] = &mut buffers;
            let returns = rows[sequence].block(steps.clone(), first);
            let old = old_rows.as_ref().map(|rows| rows[sequence].block(steps, second));
            for (place, (value, slope)) in values.iter_mut().zip(slopes).enumerate() {
                if valid[place] {
                    let old = old.map(|old| (old[place], clip));
                    (*value, *slope) = value_term(numbers[place], returns[place], old);
                }
            }
            Ok(())
        };
        self.answer(&reducer, Terms::Steps(&kernel), valid, [Some(&returns), old.as_ref()])
    }

    fn preference(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let reducer = call.reducer(NUMERIC)?;
        if self.structure.steps.iter().any(|&answers| answers != 2) {
            let expected = "a last axis of 2, the chosen answer and the rejected one";
            return Err(Error::shape("log_probs", self.first.shape().unwrap_or(&[]), expected).into());
        }
        let reference = Some(call.argument(1)?).filter(|object| !object.is_none());
        let reference = reference.map(|object| Floats::new("reference_log_probs", &object)).transpose()?;
        let rows = reference.as_ref().map(|all| self.rows("reference_log_probs", all)).transpose()?;
        let preferences = [Preference::Dpo, Preference::Ipo, Preference::Hinge];
        let margin = Margin {
            preference: choice("objective", &call.word("objective")?, &["dpo", "ipo", "hinge"], &preferences)?,
            beta: call.with.above_zero("beta")?,
            label_smoothing: call.fraction("label_smoothing")?,
        };
        if margin.label_smoothing > 0.0 && margin.preference != Preference::Dpo {
            return Err(Error::Value("label_smoothing goes with objective=\"dpo\"".to_owned()).into());
        }
        call.with.finish()?;
        let kernel = |block: Block<'_>| {
            let mut pair = [0.0; 2];
            let reference = rows.as_ref().map_or(&[0.0; 2][..], |rows| rows[block.sequence].block(0..2, &mut pair));
            let own = block.numbers;
            let (value, slope) = margin.of((own[0] - reference[0]) - (own[1] - reference[1]));
            block.values[0] = value;
            block.slopes.copy_from_slice(&[slope, -slope]);
            Ok(())
        };
        let valid = PerStep::filled(&self.structure, true);
        self.answer(&reducer, Terms::Sequences(&kernel), valid, [reference.as_ref()])
    }

    fn risk(&self, mut call: Call<'_, 'py>, is_of_words: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(NUMERIC)?;
        let mask = self.mask(&mut call)?;
        let valid = mask.unwrap_or_else(|| PerStep::filled(&self.structure, true));
        let costs = match is_of_words {
            true => self.word_errors(&mut call)?,
            false => self.copied("costs", &Floats::new("costs", &call.argument(1)?)?)?,
        };
        let risk = Risk { alpha: call.with.above_zero("alpha")?, subtracts_mean: call.with.flag("subtract_mean")? };
        call.with.finish()?;
        let kernel = |block: Block<'_>| {
            let Block { sequence, numbers, valid, values, slopes, .. } = block;
            values[0] = risk.of(numbers, costs.of(sequence), valid, slopes);
            Ok(())
        };
        self.answer(&reducer, Terms::Sequences(&kernel), valid, [])
    }

    /// The errors of each answer: as they are given, or counted.
    fn word_errors(&self, call: &mut Call<'_, 'py>) -> PyResult<PerStep<f64>> {
        let (hypotheses, references) = (call.argument(1)?, call.argument(2)?);
        let layout = PyDict::new(self.py);
        for name in ["lengths", "reference_lengths", "eos_id", "pad_id"] {
            if let Some(object) = call.given(name)? {
                layout.set_item(name, object)?;
            }
        }
        if let Some(errors) = call.given("errors")? {
            let has_text = !(hypotheses.is_none() && references.is_none() && layout.is_empty());
            together(has_text, false, "errors is given, and hypotheses and references are too")?;
            return self.copied("errors", &Floats::new("errors", &errors)?);
        }
        if hypotheses.is_none() || references.is_none() {
            let message = "hypotheses and references are expected, or errors in their place";
            return Err(Error::Value(message.to_owned()).into());
        }
        let hypotheses = flat(hypotheses)?;
        if hypotheses.is_instance_of::<PyList>() && !self.structure.ragged {
            layout.set_item("rollouts", self.structure.padding[0])?;
        }
        let rows = word_error_rate()?.statistics(self.py, &hypotheses, &references, Some(&layout))?;
        let rows = integer_array("hypotheses", &rows)?;
        let answers: usize = self.structure.steps.iter().sum();
        let shape = &rows.shape[..rows.shape.len() - 1];
        if rows.values.len() != 4 * answers || (shape.len() == 2 && shape != self.structure.shape(&[])) {
            let expected = format!("an answer for each of {answers} log_probs");
            return Err(Error::shape("hypotheses", shape, expected).into());
        }
        // Substitutions, deletions and insertions come after hits.
        let mut errors = rows.values.chunks(4).map(|row| row[1..].iter().sum::<i64>() as f64);
        let mut costs = self.zeros();
        for group in 0..self.structure.sequences() {
            costs.of_mut(group).iter_mut().zip(&mut errors).for_each(|(cost, error)| *cost = error);
        }
        Ok(costs)
    }
}

/// The penalty, if there is one.
fn kl(call: &mut Call<'_, '_>, has_reference: bool) -> PyResult<Option<Kl>> {
    let coefficient = call.reach("kl_coefficient")?;
    let (ratio_limit, limit) = (call.limit("kl_log_ratio_limit")?, call.limit("kl_limit")?);
    let word = match call.given("kl")? {
        None if coefficient != 0.0 => {
            let message = format!("kl_coefficient is {coefficient}, which goes with a kl");
            return Err(Error::Value(message).into());
        }
        None => None,
        Some(_) => Some(call.word("kl")?),
    };
    together(word.is_some(), has_reference, "kl and reference_log_probs go together, and one of them is None")?;
    let Some(word) = word else { return Ok(None) };
    let (penalty, has_slope_of_k2) = choice(
        "kl",
        &word,
        &["k1", "abs", "k2", "k3", "k1+", "k3+"],
        &[
            (Penalty::K1, false),
            (Penalty::Abs, false),
            (Penalty::K2, false),
            (Penalty::K3, false),
            (Penalty::K1, true),
            (Penalty::K3, true),
        ],
    )?;
    Ok(Some(Kl { penalty, has_slope_of_k2, coefficient, ratio_limit, limit }))
}

/// The lists of a list of lists of ids, one after another; anything else as it is.
fn flat(object: Object<'_>) -> PyResult<Object<'_>> {
    let is_list =
        |object: &Object<'_>| object.is_instance_of::<PyList>() || object.hasattr("__array__").unwrap_or(false);
    let Ok(list) = object.cast::<PyList>() else { return Ok(object) };
    let is_nested = list.iter().next().is_some_and(|first| {
        is_list(&first) && first.get_item(0).is_ok_and(|item| is_list(&item) && item.len().is_ok())
    });
    if !is_nested {
        return Ok(object);
    }
    let all = PyList::empty(object.py());
    for items in list.iter() {
        for item in items.try_iter()? {
            all.append(item?)?;
        }
    }
    Ok(all.into_any())
}

/// Reads what advantages of groups are made with, and makes them; the groups are the sequences of `structure`.
fn compare<'py>(
    py: Python<'py>,
    call: &mut Call<'_, 'py>,
    structure: &Structure,
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
    let epsilon = call.with.at_least_zero("epsilon")?;
    let advantages = GroupAdvantages { baseline: &baseline, scale, epsilon, sums: Sums::Fast };
    let work = structure.steps.iter().map(|answers| 1 + 8 * answers).sum();
    let baselines = baselines.as_ref();
    enter(py, work, |watch| {
        watched(watch, |ticker| advantages.of(rewards, weights, baselines, &|size| ticker.tick(1 + 8 * size)))
    })
}
