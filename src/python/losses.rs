//! One function a loss: words and arrays are read, checked inputs are put together, the answer is returned. Defaults and
//! documentation live in `python/seqloss_rs/losses.py`; `gradient` is (`grad_output`, `out`) where `value_and_grad` calls.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use std::ops::Range;

use pyo3::prelude::*;

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, holds_integers, integer, integer_array, integers, number, reducer, word};
use super::array::with_element;
use super::guarded;
use crate::error::Error;
use crate::input::{
    Argument, Axes, PerStep, Sequences, Structure, floats_per_step, integers_per_step, lengths, mask_per_step,
    rows_like,
};
use crate::losses::Scores;
use crate::losses::cross_entropy::{CrossEntropy, Options, Targets};
use crate::losses::reinforce::{BASELINES, Baseline, Reinforce, advantages, axes};
use crate::reduction::NUMERIC;

type Object<'py> = Bound<'py, PyAny>;

pub(super) fn lengths_of(name: &str, argument: Option<&Object<'_>>, structure: &Structure) -> PyResult<Vec<usize>> {
    let integers = argument.map(|object| integer_array(name, object)).transpose()?;
    Ok(lengths(name, integers.as_ref(), structure)?)
}

fn mask_of_steps(mask: Option<&Mask<'_>>, structure: &Structure) -> Result<Option<PerStep<bool>>, Error> {
    mask.map(|mask| mask_per_step("mask", &mask.views(), structure)).transpose()
}

pub(super) fn addresses<'a, 'py: 'a>(floats: impl IntoIterator<Item = Option<&'a Floats<'py>>>) -> Vec<Range<usize>> {
    floats.into_iter().flatten().flat_map(Floats::addresses).collect()
}

#[pyfunction]
pub(super) fn cross_entropy_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    scores: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    class_weights: Option<Object<'py>>,
    ignore_index: Object<'py>,
    label_smoothing: Object<'py>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let scores = Scores::new(&word("scores", &scores)?, &["logits", "log_probs", "probs"])?;
        let ignore_index = integer("ignore_index", &ignore_index)?;
        let label_smoothing = number("label_smoothing", &label_smoothing)?;
        let first = Floats::new("logits", &logits)?;
        let (classes, distributions) = match holds_integers("targets", &targets)? {
            true => (Some(integers("targets", &targets)?), None),
            false => (None, Some(Floats::new("targets", &targets)?)),
        };
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        let weights = weights.map(|object| Floats::new("weights", &object)).transpose()?;
        let class_weights = class_weights.map(|object| Floats::new("class_weights", &object)).transpose()?;
        let others = addresses([distributions.as_ref()]);
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), Axes::StepsOfRows, false)?;
            sequences.truncate(&lengths_of("lengths", lengths.as_ref(), &sequences.structure)?);
            if is_in_place(&gradient, &first, &others) {
                sequences.read_in_place();
            }
            let structure = &sequences.structure;
            let targets = match (&classes, &distributions) {
                (Some(classes), _) => Targets::Classes(integers_per_step("targets", classes, structure)?),
                (None, Some(floats)) => {
                    Targets::Distributions(rows_like("targets", &floats.any(), structure, sequences.inner())?)
                }
                (None, None) => unreachable!("targets are one or the other"),
            };
            let options = Options {
                mask: mask_of_steps(mask.as_ref(), structure)?,
                weights: weights.as_ref().map(|all| floats_per_step("weights", &all.any(), structure)).transpose()?,
                class_weights: class_weights.as_ref().map(|all| class_numbers("class_weights", all)).transpose()?,
                ignore_index,
                label_smoothing,
            };
            let loss = CrossEntropy::new(sequences, targets, scores, options)?;
            answer(py, &loss, &reducer, Term::Step, &gradient, &first, &others)
        })
    })
}

/// One number for each class.
pub(super) fn class_numbers(name: &str, floats: &Floats<'_>) -> Result<Vec<f64>, Error> {
    match floats.any() {
        Argument::Array(view) if view.shape().len() == 1 => view.to_vec(),
        Argument::Array(view) => Err(Error::shape(name, view.shape(), "one axis")),
        Argument::List(_) => Err(Error::Type(format!("{name} is a list of arrays, expected one array"))),
    }
}

pub(super) fn layout_axes(layout: &str) -> Result<Axes, Error> {
    match layout {
        "NTC" => Ok(Axes::StepsOfRows),
        "TNC" => Ok(Axes::TimeMajor),
        _ => Err(Error::Choice { argument: "layout", value: layout.to_owned(), choices: &["NTC", "TNC"] }),
    }
}

#[pyfunction]
pub(super) fn reinforce_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    logits: Object<'py>,
    actions: Option<Object<'py>>,
    rewards: Object<'py>,
    baseline: Option<Object<'py>>,
    discount: Option<Object<'py>>,
    scores: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let scores = Scores::new(&word("scores", &scores)?, &["logits", "log_probs"])?;
        if actions.is_none() && scores == Scores::Logits {
            let message = "actions is None, which goes with scores=\"log_probs\": the log-probability of each action";
            return Err(Error::Value(message.to_owned()).into());
        }
        let discount = discount.map(|object| number("discount", &object)).transpose()?;
        let first = Floats::new("logits", &logits)?;
        let actions = actions.map(|object| integers("actions", &object)).transpose()?;
        let rewards = Floats::new("rewards", &rewards)?;
        let baseline_array;
        let baseline = match &baseline {
            None => Baseline::None,
            Some(object) => match object.extract::<String>() {
                Ok(word) if word == "batch_mean" => Baseline::BatchMean,
                Ok(word) if word == "leave_one_out" => Baseline::LeaveOneOut,
                Ok(value) => return Err(Error::Choice { argument: "baseline", value, choices: BASELINES }.into()),
                Err(_) => {
                    baseline_array = Floats::new("baseline", object)?;
                    match baseline_array.any() {
                        Argument::Array(number) if number.shape().is_empty() => Baseline::Number(number.to_vec()?[0]),
                        array => Baseline::Array(array),
                    }
                }
            },
        };
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes(actions.is_some()), true)?;
            let valid = lengths_of("lengths", lengths.as_ref(), &sequences.structure)?;
            if actions.is_some() {
                sequences.truncate(&valid);
            }
            if is_in_place(&gradient, &first, &[]) {
                sequences.read_in_place();
            }
            let structure = &sequences.structure;
            let actions =
                actions.as_ref().map(|actions| integers_per_step("actions", actions, structure)).transpose()?;
            let mask = mask_of_steps(mask.as_ref(), structure)?;
            let advantages = advantages(&sequences, &valid, mask.as_ref(), &rewards.any(), &baseline, discount)?;
            let loss = Reinforce::new(sequences, valid, actions, advantages, scores, mask)?;
            answer(py, &loss, &reducer, Term::Step, &gradient, &first, &[])
        })
    })
}
