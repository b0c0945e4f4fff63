//! One function a loss: words and arrays are read, checked inputs are put together, the answer is returned. Defaults and
//! documentation live in `python/seqloss_rs/losses.py`; `gradient` is (`grad_output`, `out`) where `value_and_grad` calls.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::answer::{Request, Results, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, flag, holds_integers, integer, integer_array, integers, number, reducer, word};
use super::array::{Kind, with_element};
use super::pointwise::at_least_zero;
use super::policy::choice;
use super::{enter, guarded};
use crate::error::Error;
use crate::float::Element;
use crate::input::{
    Argument, Axes, PerStep, Sequences, Structure, floats_per_step, integers_per_step, lengths, mask_per_step,
    rows_like,
};
use crate::losses::Scores;
use crate::losses::advantages::{Baseline, Scale};
use crate::losses::cross_entropy::{CrossEntropy, Options, Smoothed, Targets};
use crate::losses::logits::Transform;
use crate::losses::policy_gradient::{self, Actions, PolicyGradient, TokenLogProbs};
use crate::losses::policy_terms::{PolicyTerms, Terms};
use crate::losses::reinforce::{Worth, axes, reinforce};
use crate::parallel::{Watch, watched};
use crate::reduction::{NUMERIC, Reducer};

type Object<'py> = Bound<'py, PyAny>;

pub(super) fn lengths_of(name: &str, argument: Option<&Object<'_>>, structure: &Structure) -> PyResult<Vec<usize>> {
    let integers = argument.map(|object| integer_array(name, object)).transpose()?;
    Ok(lengths(name, integers.as_ref(), structure)?)
}

/// Leaves of every sequence its valid steps.
pub(super) fn truncate<E: Element>(
    sequences: &mut Sequences<'_, E>,
    name: &str,
    lengths: Option<&Object<'_>>,
) -> PyResult<()> {
    if lengths.is_some() {
        sequences.truncate(&lengths_of(name, lengths, &sequences.structure)?);
    }
    Ok(())
}

pub(super) fn mask_of_steps(mask: Option<&Mask<'_>>, structure: &Structure) -> Result<Option<PerStep<bool>>, Error> {
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
    label_smoothing_over: Object<'py>,
    z_loss: Object<'py>,
    softcap: Option<Object<'py>>,
    temperature: Object<'py>,
    focal_gamma: Object<'py>,
    poly_epsilon: Object<'py>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let scores = Scores::new(&word("scores", &scores)?, &["logits", "log_probs", "probs"])?;
        let ignore_index = integer("ignore_index", &ignore_index)?;
        let label_smoothing = number("label_smoothing", &label_smoothing)?;
        let smoothed = Smoothed::new(&word("label_smoothing_over", &label_smoothing_over)?)?;
        let z_loss = number("z_loss", &z_loss)?;
        let focal_gamma = number("focal_gamma", &focal_gamma)?;
        let poly_epsilon = number("poly_epsilon", &poly_epsilon)?;
        let first = Floats::rows("logits", &logits)?;
        let transform = transform(&temperature, softcap.as_ref(), first.kind)?;
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
            truncate(&mut sequences, "lengths", lengths.as_ref())?;
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
                smoothed,
                z_loss,
                transform,
                focal_gamma,
                poly_epsilon,
            };
            let loss = CrossEntropy::new(sequences, targets, scores, options)?;
            answer(py, &loss, &reducer, Term::Step, &gradient, &first, &others)
        })
    })
}

fn transform(temperature: &Object<'_>, softcap: Option<&Object<'_>>, kind: Kind) -> PyResult<Transform> {
    let softcap = softcap.map(|object| number("softcap", object)).transpose()?;
    Ok(Transform::new(number("temperature", temperature)?, softcap, kind == Kind::F64)?)
}

/// The gradient of Σ (c ln p(a) + e H) with respect to the logits.
#[pyfunction]
pub(super) fn policy_gradient_logits<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    ids: Object<'py>,
    coefficients: Object<'py>,
    entropy: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    ignore_index: Object<'py>,
    temperature: Object<'py>,
    softcap: Option<Object<'py>>,
    out: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let ignore_index = integer("ignore_index", &ignore_index)?;
        let first = Floats::rows("logits", &logits)?;
        let transform = transform(&temperature, softcap.as_ref(), first.kind)?;
        let ids = integers("ids", &ids)?;
        let coefficients = Floats::new("coefficients", &coefficients)?;
        let entropy = Floats::new("entropy", &entropy)?;
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        let reducer = Reducer::new("sum", NUMERIC, None)?;
        let request = Some((py.None().into_bound(py), out));
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), Axes::StepsOfRows, true)?;
            truncate(&mut sequences, "lengths", lengths.as_ref())?;
            if is_in_place(&request, &first, &[]) {
                sequences.read_in_place();
            }
            let structure = &sequences.structure;
            let actions = Actions {
                ids: integers_per_step("ids", &ids, structure)?,
                mask: mask_of_steps(mask.as_ref(), structure)?,
                ignore_index: Some(ignore_index),
            };
            let coefficients = floats_per_step("coefficients", &coefficients.any(), structure)?;
            let entropy = match entropy.any() {
                Argument::Array(one) if one.shape().is_empty() => match one.to_vec()?[0] {
                    0.0 => None,
                    number => Some(PerStep::filled(structure, number)),
                },
                all => Some(floats_per_step("entropy", &all, structure)?),
            };
            actions.check("ids", &sequences)?;
            let loss = PolicyGradient::new(sequences, actions, coefficients, entropy, transform);
            let both = answer(py, &loss, &reducer, Term::Step, &request, &first, &[])?;
            both.get_item(1)
        })
    })
}

/// (`log_probs`, `entropy`, `argmax`, `max_log_probs`, `rank`) of every step.
#[pyfunction]
pub(super) fn token_log_probs<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    ignore_index: Object<'py>,
    temperature: Object<'py>,
    softcap: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let ignore_index = integer("ignore_index", &ignore_index)?;
        let first = Floats::rows("logits", &logits)?;
        let transform = transform(&temperature, softcap.as_ref(), first.kind)?;
        let targets = integers("targets", &targets)?;
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), Axes::StepsOfRows, true)?;
            truncate(&mut sequences, "lengths", lengths.as_ref())?;
            let structure = &sequences.structure;
            let actions = Actions {
                ids: integers_per_step("targets", &targets, structure)?,
                mask: mask_of_steps(mask.as_ref(), structure)?,
                ignore_index: Some(ignore_index),
            };
            actions.check("targets", &sequences)?;
            let float = numpy::dtype::<<E as Element>::Float>(py);
            let integer = numpy::dtype::<i64>(py);
            let make = |dtype| Results::new(py, dtype, structure, Term::Step, &[]);
            let (mut log_probs, mut entropy, mut argmax) = (make(&float)?, make(&float)?, make(&integer)?);
            let (mut max_log_probs, mut rank) = (make(&float)?, make(&integer)?);
            let parts = {
                let reals = log_probs.split(structure, Term::Step, 1).into_iter();
                let reals = reals.zip(entropy.split(structure, Term::Step, 1));
                let reals = reals.zip(max_log_probs.split(structure, Term::Step, 1));
                let places = argmax.split(structure, Term::Step, 1).into_iter();
                let places = places.zip(rank.split(structure, Term::Step, 1));
                reals.zip(places).map(|(((log_probs, entropy), max_log_probs), (argmax, rank))| TokenLogProbs {
                    log_probs,
                    entropy,
                    argmax,
                    max_log_probs,
                    rank,
                })
            };
            let parts = parts.collect();
            let work = sequences.rows.iter().map(|rows| 1 + rows.count() * rows.width()).sum();
            enter(py, work, |watch| {
                policy_gradient::token_log_probs(&sequences, &actions, transform, parts, work, watch)
            })?;
            let all = [log_probs, entropy, argmax, max_log_probs, rank];
            let all = all.map(|results| results.into_object(py, structure, Term::Step));
            let [log_probs, entropy, argmax, max_log_probs, rank] = all;
            Ok(PyTuple::new(py, [log_probs?, entropy?, argmax?, max_log_probs?, rank?])?.into_any())
        })
    })
}

/// Which steps are within their sequence's length and not masked.
pub(super) fn valid_steps(lengths: &[usize], mask: Option<PerStep<bool>>, structure: &Structure) -> PerStep<bool> {
    let mut valid = mask.unwrap_or_else(|| PerStep::filled(structure, true));
    for (sequence, &length) in lengths.iter().enumerate() {
        valid.of_mut(sequence)[length..].fill(false);
    }
    valid
}

/// A baseline as it came: a word, a number or an array.
pub(super) enum Given<'py> {
    Word(String),
    Floats(Floats<'py>),
}

impl<'py> Given<'py> {
    pub(super) fn new(object: &Object<'py>) -> PyResult<Self> {
        match object.extract::<String>() {
            Ok(word) => Ok(Self::Word(word)),
            Err(_) => Ok(Self::Floats(Floats::new("baseline", object)?)),
        }
    }

    pub(super) fn baseline(&self) -> Result<Baseline<'_>, Error> {
        match self {
            Self::Word(word) => Baseline::new(word),
            Self::Floats(floats) => Ok(match floats.any() {
                Argument::Array(number) if number.shape().is_empty() => Baseline::Number(number.to_vec()?[0]),
                array => Baseline::Array(array),
            }),
        }
    }
}

/// Whose deviation advantages are divided by.
pub(super) fn scale_of(object: &Object<'_>) -> PyResult<Scale> {
    Ok(choice("scale", &word("scale", object)?, &["group", "batch"], &[Scale::Group, Scale::Batch])?)
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
    scale: Option<Object<'py>>,
    scale_epsilon: Object<'py>,
    discount: Option<Object<'py>>,
    whiten: Object<'py>,
    entropy: Object<'py>,
    temperature: Object<'py>,
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
        let entropy = number("entropy", &entropy)?;
        if entropy != 0.0 && scores != Scores::Logits {
            let message = format!("entropy is {entropy}, which goes with scores=\"logits\": it is that of all actions");
            return Err(Error::Value(message).into());
        }
        let first = match actions.is_some() {
            true => Floats::rows("logits", &logits)?,
            false => Floats::new("logits", &logits)?,
        };
        let transform = transform(&temperature, None, first.kind)?;
        if !transform.is_none() && scores != Scores::Logits {
            let message = format!("temperature is {temperature}, which goes with scores=\"logits\"");
            return Err(Error::Value(message).into());
        }
        let actions = actions.map(|object| integers("actions", &object)).transpose()?;
        let rewards = Floats::new("rewards", &rewards)?;
        let baseline_array;
        let baseline = match &baseline {
            None => Baseline::None,
            Some(object) => {
                baseline_array = Given::new(object)?;
                baseline_array.baseline()?
            }
        };
        let worth = Worth {
            baseline,
            scale: scale.as_ref().map(scale_of).transpose()?,
            epsilon: at_least_zero("scale_epsilon", &scale_epsilon)?,
            discount: discount.map(|object| number("discount", &object)).transpose()?,
            whitens: flag("whiten", &whiten)?,
        };
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        with_element!(first.kind, E => {
            let (typed, axes) = (first.typed(), axes(actions.is_some()));
            let width = first.shape().and_then(|shape| shape.last()).filter(|_| axes != Axes::Steps);
            let work = first.numbers() / width.map_or(1, |&width| width.max(1));
            let new = |_: &Watch<'_>| Sequences::<E>::new("logits", &typed, axes, true);
            let mut sequences = enter(py, work, new)?;
            let valid = lengths_of("lengths", lengths.as_ref(), &sequences.structure)?;
            if actions.is_some() {
                sequences.truncate(&valid);
            }
            if is_in_place(&gradient, &first, &[]) {
                sequences.read_in_place();
            }
            let (structure, mask) = (&sequences.structure, mask.as_ref().map(Mask::views));
            let (ids, mask, valid) = enter(py, work, |_| {
                let ids = actions.as_ref().map(|actions| integers_per_step("actions", actions, structure)).transpose()?;
                let mask = mask.map(|mask| mask_per_step("mask", &mask, structure)).transpose()?;
                let valid = valid_steps(&valid, mask.clone(), structure);
                Ok((ids, mask, valid))
            })?;
            let (rewards, all_valid) = (rewards.any(), valid.clone());
            let mut advantages = enter(py, work, |watch| {
                watched(watch, |ticker| worth.advantages(&rewards, structure, all_valid, ticker))
            })?;
            let ids = match ids {
                Some(ids) => {
                    let actions = Actions { ids, mask, ignore_index: None };
                    enter(py, work, |_| actions.check("actions", &sequences))?;
                    if scores == Scores::Logits {
                        let loss = reinforce(sequences, actions, advantages, entropy, transform);
                        return answer(py, &loss, &reducer, Term::Step, &gradient, &first, &[]);
                    }
                    Some(actions.ids)
                }
                None => None,
            };
            advantages.negate();
            let loss = PolicyTerms::new(sequences, Terms::Products(advantages, ids), valid);
            answer(py, &loss, &reducer, Term::Step, &gradient, &first, &[])
        })
    })
}
