//! The losses of policies, and the advantages that they take: one function for all of them, by name. Defaults and
//! documentation live in `python/seqloss_rs/policy_losses.py` and `advantages.py`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::answer::{Request, Results, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, integer_array, integers, number, reducer, word};
use super::array::with_element;
use super::losses::{Given, lengths_of, mask_of_steps, valid_steps};
use super::pointwise::Parameters;
use super::text::word_error_rate;
use super::{enter, guarded};
use crate::error::{Error, tuple};
use crate::float::{Element, Float};
use crate::input::{Axes, PerStep, Sequences, Structure, floats_per_step, integers_per_step};
use crate::losses::advantages::{GroupAdvantages, Scale, generalized, whiten};
use crate::losses::policy_ratio::{Inputs, Kl, Objective, Penalty, RatioLoss, value_term};
use crate::losses::policy_sets::{Margin, Preference, Risk};
use crate::losses::policy_terms::{Fill, PolicyTerms, Terms, each_sequence};
use crate::losses::reinforce::{Baseline, per_sequence, per_step_or_sequence};
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
        if arguments.len() > names.len() {
            let message = format!("{name}_loss() takes {} positional arguments, not {}", names.len(), arguments.len());
            return Err(PyTypeError::new_err(message));
        }
        let with = Parameters { curve: name, dict: options, read: vec![] };
        let mut call = Call { names, arguments, with };
        let first = Floats::new(names[0], &call.argument(0)?)?;
        let has_groups = !matches!(name, "dpo" | "mrt" | "mwer" | "group_advantages");
        let structure = with_element!(first.kind, E => {
            Sequences::<E>::new(names[0], &first.typed(), Axes::Steps, has_groups)?.structure
        });
        let numbers = floats_per_step(names[0], &first.any(), &structure)?;
        let about = About { py, first, structure, gradient };
        match name {
            "ppo" | "grpo" => about.ratio(call, &numbers, name == "grpo"),
            "value" => about.value(call, numbers),
            "dpo" => about.preference(call, &numbers),
            "mrt" | "mwer" => about.risk(call, &numbers, name == "mwer"),
            "group_advantages" => about.group_advantages(call, numbers),
            "gae" => about.generalized(call, numbers),
            _ => {
                let (valid, shifts_mean) = (about.valid(&mut call)?, call.with.flag("shift_mean")?);
                let epsilon = call.with.at_least_zero("epsilon")?;
                call.with.finish()?;
                let mut numbers = numbers;
                whiten(&mut numbers, &valid, about.structure.sequences(), shifts_mean, epsilon);
                about.numbers(&numbers)
            }
        }
    })
}

/// The arguments, by position or by name.
struct Call<'a, 'py> {
    names: &'static [&'static str],
    arguments: &'a Bound<'py, PyTuple>,
    with: Parameters<'a, 'py>,
}

impl<'py> Call<'_, 'py> {
    fn argument(&mut self, place: usize) -> PyResult<Object<'py>> {
        match self.arguments.get_item(place) {
            Ok(object) => Ok(object),
            Err(_) => self.with.get(self.names[place]),
        }
    }

    /// An option, unless it is None.
    fn given(&mut self, name: &'static str) -> PyResult<Option<Object<'py>>> {
        Ok(Some(self.with.get(name)?).filter(|object| !object.is_none()))
    }

    fn word(&mut self, name: &'static str) -> PyResult<String> {
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

    fn reducer(&mut self, choices: &'static [&'static str]) -> PyResult<Reducer> {
        let normalizer = self.given("normalizer")?;
        reducer(&self.with.get("reduction")?, normalizer.as_ref(), choices)
    }
}

/// One of several words.
fn choice<T: Copy>(
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
    first: Floats<'py>,
    structure: Structure,
    gradient: Request<'py>,
}

impl<'py> About<'py> {
    fn per_step(&self, name: &str, object: &Object<'py>) -> PyResult<PerStep<f64>> {
        Ok(floats_per_step(name, &Floats::new(name, object)?.any(), &self.structure)?)
    }

    fn zeros(&self) -> PerStep<f64> {
        PerStep::filled(&self.structure, 0.0)
    }

    /// About how much work there is.
    fn work(&self) -> usize {
        self.structure.steps.iter().map(|steps| 1 + 8 * steps).sum()
    }

    fn each_sequence(&self, first: &mut PerStep<f64>, second: &mut PerStep<f64>, fill: &Fill<'_>) -> PyResult<()> {
        let work = self.work();
        enter(self.py, work, |watch| each_sequence(first, second, work, watch, fill))
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

    fn answer(
        &self,
        reducer: &Reducer,
        terms: Terms,
        coefficients: PerStep<f64>,
        valid: PerStep<bool>,
    ) -> PyResult<Object<'py>> {
        let term = if matches!(terms, Terms::Sequences(_)) { Term::Sequence } else { Term::Step };
        let has_groups = self.structure.outer.len() == 2;
        with_element!(self.first.kind, E => {
            let mut sequences = Sequences::<E>::new("log_probs", &self.first.typed(), Axes::Steps, has_groups)?;
            // Everything has been read by now.
            if is_in_place(&self.gradient, &self.first, &[]) {
                sequences.read_in_place();
            }
            let loss = PolicyTerms::new(sequences, None, terms, coefficients, valid);
            answer(self.py, &loss, reducer, term, &self.gradient, &self.first, &[])
        })
    }

    /// Numbers of steps, in the form of the first argument.
    fn numbers(&self, numbers: &PerStep<f64>) -> PyResult<Object<'py>> {
        with_element!(self.first.kind, E => {
            let dtype = numpy::dtype::<<E as Element>::Float>(self.py);
            let mut results = Results::new(self.py, &dtype, &self.structure, Term::Step, &[])?;
            for (sequence, out) in results.split(&self.structure, Term::Step, 1).into_iter().enumerate() {
                for (out, number) in out.iter_mut().zip(numbers.of(sequence)) {
                    *out = <<E as Element>::Float as Float>::from_f64(*number);
                }
            }
            results.into_object(self.py, &self.structure, Term::Step)
        })
    }

    fn ratio(&self, mut call: Call<'_, 'py>, log_probs: &PerStep<f64>, is_of_rewards: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call)?;
        let old = call.argument(1)?;
        let old = (!old.is_none()).then(|| self.per_step("old_log_probs", &old)).transpose()?;
        let worth = call.argument(2)?;
        let advantages = if is_of_rewards {
            self.advantages_of_rewards(&mut call, &worth, &valid)?
        } else {
            per_step_or_sequence("advantages", &Floats::new("advantages", &worth)?.any(), &self.structure)?
        };
        let reference = call.given("reference_log_probs")?;
        let kl = kl(&mut call, reference.is_some())?;
        let reference = reference.map(|object| self.per_step("reference_log_probs", &object)).transpose()?;
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
        let loss = RatioLoss {
            objective,
            is_of_sequence: choice("ratio", &call.word("ratio")?, &["token", "sequence"], &[false, true])?,
            clip_low: call.reach("clip_low")?,
            clip_high: call.reach("clip_high")?,
            ratio_limit: call.limit("log_ratio_limit")?,
            kl,
        };
        call.with.finish()?;
        let (mut values, mut slopes) = (self.zeros(), self.zeros());
        let inputs = Inputs {
            log_probs,
            old: old.as_ref(),
            reference: reference.as_ref(),
            advantages: &advantages,
            valid: &valid,
        };
        self.each_sequence(&mut values, &mut slopes, &|sequence, values, slopes| {
            loss.sequence(inputs, sequence, values, slopes)
        })?;
        self.answer(&reducer, Terms::Steps(values), slopes, valid)
    }

    /// Advantages of sequences whose rewards are compared within their group: the last axis, or the batch.
    fn advantages_of_rewards(
        &self,
        call: &mut Call<'_, 'py>,
        rewards: &Object<'py>,
        valid: &PerStep<bool>,
    ) -> PyResult<PerStep<f64>> {
        let rewards = Floats::new("rewards", rewards)?;
        let outer = &self.structure.outer;
        let Some(numbers) = per_sequence(&rewards.any(), &self.structure)? else {
            return Err(Error::shape("rewards", rewards.shape().unwrap_or(&[]), tuple(outer)).into());
        };
        let (groups, answers) = match outer[..] {
            [groups, answers] => (groups, answers),
            _ => (1, self.structure.sequences()),
        };
        let structure = Structure {
            outer: if outer.len() == 2 { vec![groups] } else { vec![] },
            ragged: false,
            steps: vec![answers; groups],
            padding: vec![answers],
        };
        let of_groups = |all: &mut dyn Iterator<Item = f64>| {
            let mut numbers = PerStep::filled(&structure, 0.0);
            (0..groups)
                .for_each(|group| numbers.of_mut(group).iter_mut().zip(&mut *all).for_each(|(to, own)| *to = own));
            numbers
        };
        let mut advantages = of_groups(&mut numbers.into_iter());
        let counts =
            (0..self.structure.sequences()).map(|sequence| valid.of(sequence).iter().filter(|&&own| own).count());
        let weights = of_groups(&mut counts.map(|count| count as f64));
        group_advantages(call, |options| options.of(&mut advantages, Some(&weights), &structure))?;
        let mut all = self.zeros();
        let flat = (0..groups).flat_map(|group| advantages.of(group));
        for (sequence, &advantage) in flat.enumerate() {
            all.of_mut(sequence).fill(advantage);
        }
        Ok(all)
    }

    fn group_advantages(&self, mut call: Call<'_, 'py>, mut rewards: PerStep<f64>) -> PyResult<Object<'py>> {
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
        group_advantages(&mut call, |options| options.of(&mut rewards, weights.as_ref(), &self.structure))?;
        call.with.finish()?;
        self.numbers(&rewards)
    }

    fn generalized(&self, mut call: Call<'_, 'py>, mut rewards: PerStep<f64>) -> PyResult<Object<'py>> {
        let valid = self.valid(&mut call)?;
        let values = self.per_step("values", &call.argument(1)?)?;
        let (discount, decay) = (call.fraction("discount")?, call.fraction("decay")?);
        call.with.finish()?;
        let mut returns = self.zeros();
        self.each_sequence(&mut rewards, &mut returns, &|sequence, rewards, returns| {
            generalized(rewards, returns, values.of(sequence), valid.of(sequence), discount, decay);
            Ok(())
        })?;
        Ok(PyTuple::new(self.py, [self.numbers(&rewards)?, self.numbers(&returns)?])?.into_any())
    }

    fn value(&self, mut call: Call<'_, 'py>, mut values: PerStep<f64>) -> PyResult<Object<'py>> {
        let reducer = call.reducer(POLICY)?;
        let valid = self.valid(&mut call)?;
        let returns = self.per_step("returns", &call.argument(1)?)?;
        let old = call.given("old_values")?.map(|object| self.per_step("old_values", &object)).transpose()?;
        let clip = call.reach("clip")?;
        call.with.finish()?;
        let mut slopes = self.zeros();
        self.each_sequence(&mut values, &mut slopes, &|sequence, values, slopes| {
            let (valid, returns) = (valid.of(sequence), returns.of(sequence));
            let old = old.as_ref().map(|old| old.of(sequence));
            for (step, (value, slope)) in values.iter_mut().zip(slopes).enumerate() {
                (*value, *slope) = match valid[step] {
                    true => value_term(*value, returns[step], old.map(|old| (old[step], clip))),
                    false => (0.0, 0.0),
                };
            }
            Ok(())
        })?;
        self.answer(&reducer, Terms::Steps(values), slopes, valid)
    }

    fn preference(&self, mut call: Call<'_, 'py>, log_probs: &PerStep<f64>) -> PyResult<Object<'py>> {
        let reducer = call.reducer(NUMERIC)?;
        if self.structure.steps.iter().any(|&answers| answers != 2) {
            let expected = "a last axis of 2, the chosen answer and the rejected one";
            return Err(Error::shape("log_probs", self.first.shape().unwrap_or(&[]), expected).into());
        }
        let reference = call.argument(1)?;
        let reference = match reference.is_none() {
            true => self.zeros(),
            false => self.per_step("reference_log_probs", &reference)?,
        };
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
        let (mut values, mut slopes) = (vec![], self.zeros());
        for pair in 0..self.structure.sequences() {
            let (own, reference) = (log_probs.of(pair), reference.of(pair));
            let (value, slope) = margin.of((own[0] - reference[0]) - (own[1] - reference[1]));
            values.push(value);
            slopes.of_mut(pair).copy_from_slice(&[slope, -slope]);
        }
        let valid = PerStep::filled(&self.structure, true);
        self.answer(&reducer, Terms::Sequences(values), slopes, valid)
    }

    fn risk(&self, mut call: Call<'_, 'py>, log_probs: &PerStep<f64>, is_of_words: bool) -> PyResult<Object<'py>> {
        let reducer = call.reducer(NUMERIC)?;
        let mask = self.mask(&mut call)?;
        let valid = mask.unwrap_or_else(|| PerStep::filled(&self.structure, true));
        let costs = match is_of_words {
            true => self.word_errors(&mut call)?,
            false => self.per_step("costs", &call.argument(1)?)?,
        };
        let risk = Risk { alpha: call.with.above_zero("alpha")?, subtracts_mean: call.with.flag("subtract_mean")? };
        call.with.finish()?;
        let mut slopes = self.zeros();
        let values = (0..self.structure.sequences())
            .map(|group| risk.of(log_probs.of(group), costs.of(group), valid.of(group), slopes.of_mut(group)));
        let values = values.collect();
        self.answer(&reducer, Terms::Sequences(values), slopes, valid)
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
            return self.per_step("errors", &errors);
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

/// Reads what advantages of groups are made with, and makes them.
fn group_advantages(
    call: &mut Call<'_, '_>,
    make: impl FnOnce(GroupAdvantages<'_>) -> Result<(), Error>,
) -> PyResult<()> {
    let baseline_argument = call.given("baseline")?.map(|object| Given::new(&object)).transpose()?;
    let baseline = match &baseline_argument {
        None => Baseline::None,
        Some(given) => given.baseline()?,
    };
    let scale = match call.given("scale")?.is_some() {
        true => Some(choice("scale", &call.word("scale")?, &["group", "batch"], &[Scale::Group, Scale::Batch])?),
        false => None,
    };
    let epsilon = call.with.at_least_zero("epsilon")?;
    Ok(make(GroupAdvantages { baseline, scale, epsilon })?)
}
