//! The losses of policies: one function for all of them, by name. Defaults and documentation live in
//! `python/seqloss_rs/policy_losses.py`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, integer_array, reducer, word};
use super::array::{Kind, with_element};
use super::losses::{addresses, valid_steps};
use super::n_best::NBest;
use super::pointwise::Parameters;
use super::{enter, guarded};
use crate::error::Error;
use crate::input::{
    AnyRows, Argument, Axes, PerStep, Sequences, Structure, floats_per_step, lengths, mask_per_step, rows_like,
};
use crate::losses::policy_ratio::{Kl, Objective, Penalty, RatioLoss, Steps, value_term};
use crate::losses::policy_sets::{Margin, Preference, Risk};
use crate::losses::policy_terms::{BLOCK, Block, PolicyTerms, Terms};
use crate::losses::reinforce::{either, per_sequence};
use crate::parallel::{Ticker, Watch, for_each};
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
        let with = Parameters { loss: name, dict: options, read: vec![] };
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
            let (name, most, count) = (with.loss, names.len(), arguments.len());
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
pub(super) fn together(has_one: bool, has_other: bool, message: &str) -> Result<(), Error> {
    if has_one == has_other { Ok(()) } else { Err(Error::Value(message.to_owned())) }
}

/// The first argument, and what is asked for.
pub(super) struct About<'py> {
    pub(super) py: Python<'py>,
    pub(super) names: &'static [&'static str],
    pub(super) first: Floats<'py>,
    pub(super) structure: Structure,
    gradient: Request<'py>,
}

/// What a step of a sequence is worth.
enum Worth<'a> {
    Groups(PerStep<f64>),
    Sequences(Vec<f64>),
    Steps(Vec<AnyRows<'a>>),
}

impl<'py> About<'py> {
    pub(super) fn is_double(&self) -> bool {
        self.first.kind == Kind::F64
    }

    /// Numbers of every step, which stay where they are.
    pub(super) fn rows<'a>(&self, name: &str, floats: &'a Floats<'py>) -> PyResult<Vec<AnyRows<'a>>> {
        let (numbers, structure) = (floats.any(), &self.structure);
        enter(self.py, structure.sequences(), |_| rows_like(name, &numbers, structure, &[]))
    }

    /// The same, where there could have been one number for each sequence.
    fn rows_or_one<'a>(&self, name: &str, floats: &'a Floats<'py>) -> PyResult<Vec<AnyRows<'a>>> {
        let (numbers, structure) = (floats.any(), &self.structure);
        let rows = |_: &Watch<'_>| {
            rows_like(name, &numbers, structure, &[]).map_err(|error| either(error, name, &numbers, structure))
        };
        enter(self.py, structure.sequences(), rows)
    }

    /// The same of the first argument.
    pub(super) fn own_rows(&self) -> PyResult<Vec<AnyRows<'_>>> {
        self.rows(self.names[0], &self.first)
    }

    /// Numbers of every step, copied.
    pub(super) fn copied(&self, name: &str, floats: &Floats<'py>) -> PyResult<PerStep<f64>> {
        let (numbers, structure) = (floats.any(), &self.structure);
        enter(self.py, self.steps(), |_| floats_per_step(name, &numbers, structure))
    }

    pub(super) fn steps(&self) -> usize {
        self.structure.steps.iter().sum()
    }

    /// About how much work there is.
    pub(super) fn work(&self) -> usize {
        self.structure.steps.iter().map(|steps| 1 + 8 * steps).sum()
    }

    /// The steps within `lengths`, if there are any, and `mask`.
    pub(super) fn valid(&self, call: &mut Call<'_, 'py>, has_lengths: bool) -> PyResult<PerStep<bool>> {
        let given = if has_lengths { call.given("lengths")? } else { None };
        let given = given.map(|object| integer_array("lengths", &object)).transpose()?;
        let mask = call.given("mask")?.map(|object| Mask::new("mask", &object)).transpose()?;
        let (mask, structure) = (mask.as_ref().map(Mask::views), &self.structure);
        enter(self.py, self.steps(), |_| {
            let lengths = lengths("lengths", given.as_ref(), structure)?;
            let mask = mask.map(|mask| mask_per_step("mask", &mask, structure)).transpose()?;
            Ok(valid_steps(&lengths, mask, structure))
        })
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
            let (name, first) = (self.names[0], self.first.typed());
            let new = |_: &Watch<'_>| Sequences::<E>::new(name, &first, Axes::Steps, has_groups);
            let mut sequences = enter(self.py, self.structure.sequences(), new)?;
            if is_in_place(&self.gradient, &self.first, &others) {
                sequences.read_in_place();
            }
            let loss = PolicyTerms::new(sequences, terms, valid);
            answer(self.py, &loss, reducer, term, &self.gradient, &self.first, &others)
        })
    }

    fn ratio(&self, mut call: Call<'_, 'py>, is_of_rewards: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call, true)?;
        let floats = |name: &str, object: Object<'py>| Floats::new(name, &object);
        let old = Some(call.argument(1)?).filter(|object| !object.is_none());
        let old = old.map(|object| floats("old_log_probs", object)).transpose()?;
        let old_rows = old.as_ref().map(|old| self.rows("old_log_probs", old)).transpose()?;
        let name = self.names[2];
        let advantages = floats(name, call.argument(2)?)?;
        let worth = match is_of_rewards {
            true => Worth::Groups(self.advantages_of_rewards(&mut call, &advantages, &valid)?),
            false => match per_sequence(&advantages.any(), &self.structure)? {
                Some(advantages) => Worth::Sequences(advantages),
                None => Worth::Steps(self.rows_or_one(name, &advantages)?),
            },
        };
        let reference = call.given("reference_log_probs")?;
        let kl = kl(&mut call, reference.is_some())?;
        let reference = reference.map(|object| floats("reference_log_probs", object)).transpose()?;
        let reference_rows = reference.as_ref().map(|all| self.rows("reference_log_probs", all)).transpose()?;
        let dual = call.with.limit("dual_clip")?;
        if dual <= 1.0 {
            return Err(Error::Value(format!("dual_clip is {dual}, expected a number above 1")).into());
        }
        let temperatures =
            [call.with.above_zero("temperature_positive")?, call.with.above_zero("temperature_negative")?];
        let objectives = [Objective::Clip { dual }, Objective::Cispo, Objective::Sapo(temperatures)];
        let objective = choice("objective", &call.word("objective")?, &["clip", "cispo", "sapo"], &objectives)?;
        if dual.is_finite() && !matches!(objective, Objective::Clip { .. }) {
            return Err(Error::Value("dual_clip goes with objective=\"clip\"".to_owned()).into());
        }
        let is_of_sequence = choice("ratio", &call.word("ratio")?, &["token", "sequence"], &[false, true])?;
        let loss = RatioLoss {
            objective,
            clip_low: call.with.reach("clip_low")?,
            clip_high: call.with.reach("clip_high")?,
            ratio_limit: call.with.limit("log_ratio_limit")?,
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

    fn value(&self, mut call: Call<'_, 'py>) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call, true)?;
        let returns = Floats::new("returns", &call.argument(1)?)?;
        let old = call.given("old_values")?.map(|object| Floats::new("old_values", &object)).transpose()?;
        let rows = self.rows("returns", &returns)?;
        let old_rows = old.as_ref().map(|old| self.rows("old_values", old)).transpose()?;
        let clip = call.with.reach("clip")?;
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
            label_smoothing: call.with.fraction("label_smoothing")?,
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
        let structure = &self.structure;
        let valid = enter(self.py, self.steps(), |_| Ok(PerStep::filled(structure, true)))?;
        self.answer(&reducer, Terms::Sequences(&kernel), valid, [reference.as_ref()])
    }

    fn risk(&self, mut call: Call<'_, 'py>, is_of_words: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(NUMERIC)?;
        let valid = self.valid(&mut call, false)?;
        let costs = match is_of_words {
            true => self.word_errors(&mut call, &valid)?,
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
    fn word_errors(&self, call: &mut Call<'_, 'py>, valid: &PerStep<bool>) -> PyResult<PerStep<f64>> {
        let (hypotheses, references) = (call.argument(1)?, call.argument(2)?);
        let mut given = |name| Ok::<_, PyErr>((name, call.given(name)?));
        let [lengths, reference_lengths] = [given("lengths")?, given("reference_lengths")?];
        let ids = [given("eos_id")?, given("pad_id")?];
        let texts = [("hypotheses", Some(&hypotheses)), ("references", Some(&references))];
        if let Some(errors) = given("errors")?.1 {
            let others =
                [&lengths, &reference_lengths, &ids[0], &ids[1]].map(|(name, object)| (*name, object.as_ref()));
            let other = texts.iter().chain(&others).find(|(_, object)| object.is_some_and(|object| !object.is_none()));
            if let Some((name, _)) = other {
                return Err(Error::Value(format!("errors is given, which stands in the place of {name}")).into());
            }
            return self.copied("errors", &Floats::new("errors", &errors)?);
        }
        if hypotheses.is_none() || references.is_none() {
            let message = "hypotheses and references are expected, or errors in their place";
            return Err(Error::Value(message.to_owned()).into());
        }
        let lists = NBest { structure: &self.structure, valid };
        lists.word_errors(&hypotheses, &references, [lengths.1.as_ref(), reference_lengths.1.as_ref()], ids)
    }
}

/// The penalty, if there is one.
fn kl(call: &mut Call<'_, '_>, has_reference: bool) -> PyResult<Option<Kl>> {
    let coefficient = call.given("kl_coefficient")?.map(|_| call.with.at_least_zero("kl_coefficient")).transpose()?;
    let (ratio_limit, limit) = (call.with.limit("kl_log_ratio_limit")?, call.with.limit("kl_limit")?);
    let together =
        |has_kl| together(has_kl, has_reference, "kl and reference_log_probs go together, and one of them is None");
    if call.given("kl")?.is_none() {
        for (name, is_given) in [("kl_coefficient", coefficient.unwrap_or(0.0) > 0.0), ("kl_limit", limit.is_finite())]
        {
            if is_given {
                let object = call.with.get(name)?;
                return Err(Error::Value(format!("{name} is {object}, which goes with a kl")).into());
            }
        }
        together(false)?;
        return Ok(None);
    }
    let word = call.word("kl")?;
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
    together(true)?;
    let Some(coefficient) = coefficient else {
        return Err(Error::Value(format!("kl is \"{word}\", which goes with a kl_coefficient")).into());
    };
    // Nothing times a penalty that is infinite is nothing.
    Ok((coefficient > 0.0).then_some(Kl { penalty, has_slope_of_k2, coefficient, ratio_limit, limit }))
}
