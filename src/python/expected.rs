//! The losses of expectations: one function for all of them, by name. Defaults and documentation live in
//! `python/seqloss_rs/expected.py`.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, integer, number, refuse_masked_items};
use super::array::with_element;
use super::guarded;
use super::losses::truncate;
use super::pointwise::Parameters;
use super::policy::{Call, choice};
use super::texts::references_of_ids;
use crate::error::Error;
use crate::input::{Axes, Sequences};
use crate::losses::Scores;
use crate::losses::expected::{Estimate, Expected, Objective, References};
use crate::reduction::NUMERIC;
use crate::text::bleu::LONGEST;
use crate::text::rouge::Measure;

type Object<'py> = Bound<'py, PyAny>;

#[pyfunction]
#[pyo3(signature = (name, gradient, *arguments, **options))]
pub(super) fn expected_loss<'py>(
    py: Python<'py>,
    name: &str,
    gradient: Request<'py>,
    arguments: &Bound<'py, PyTuple>,
    options: Option<Bound<'py, PyDict>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let with = Parameters { loss: name, dict: options, read: vec![] };
        let mut call = Call::new(&["logits", "references"], arguments, with)?;
        let reducer = call.reducer(NUMERIC)?;
        let scores = Scores::new(&call.word("scores")?, &["logits", "log_probs", "probs"])?;
        let objective = objective(name, &mut call)?;
        let (logits, references) = (call.argument(0)?, call.argument(1)?);
        refuse_masked_items("logits", &logits, "lengths")?;
        refuse_masked_items("references", &references, "reference_lengths")?;
        let first = Floats::rows("logits", &logits)?;
        let (lengths, reference_lengths) = (call.given("lengths")?, call.given("reference_lengths")?);
        let eos_id = call.given("eos_id")?.map(|id| integer("eos_id", &id)).transpose()?;
        let pad_id = call.given("pad_id")?.map(|id| integer("pad_id", &id)).transpose()?;
        call.with.finish()?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), Axes::StepsOfRows, false)?;
            truncate(&mut sequences, "lengths", lengths.as_ref())?;
            if is_in_place(&gradient, &first, &[]) {
                sequences.read_in_place();
            }
            let is_one = sequences.structure.outer.is_empty();
            let sets = references_of_ids(&references, reference_lengths.as_ref(), eos_id, pad_id, is_one)?;
            let references = References::new(&sets, sequences.structure.sequences(), sequences.width)?;
            let loss = Expected::new(sequences, references, scores, objective);
            answer(py, &loss, &reducer, Term::Sequence, &gradient, &first, &[])
        })
    })
}

/// What is computed, with its options.
fn objective(name: &str, call: &mut Call<'_, '_>) -> PyResult<Objective> {
    Ok(match name {
        "expected_bleu" => {
            let max_order = integer("max_order", &call.with.get("max_order")?)?;
            if !(1..=LONGEST).contains(&max_order) {
                let expected = format!("a length of n-grams in 1..={LONGEST}");
                return Err(Error::range("max_order", &[], max_order, expected).into());
            }
            Objective::Bleu { estimate: estimate(call)?, max_order: max_order as usize, added: added(call)? }
        }
        "expected_rouge" => {
            let variant = call.word("variant")?;
            let order = NGRAMS.iter().position(|choice| *choice == variant);
            let order = order.ok_or(Error::Choice { argument: "variant", value: variant, choices: NGRAMS })? + 1;
            Objective::RougeN { estimate: estimate(call)?, order, measure: measure(call)?, best: best(call)? }
        }
        "soft_rouge_l" => {
            Objective::SoftRougeL { gamma: normal(call, "gamma")?, measure: measure(call)?, best: best(call)? }
        }
        "eisl" => Objective::Eisl { weights: weights(call)?, temperature: normal(call, "temperature")? },
        _ => return Err(Error::Value(format!("{name}_loss is no expected loss")).into()),
    })
}

const NGRAMS: &[&str] = &["rouge1", "rouge2", "rouge3", "rouge4", "rouge5", "rouge6", "rouge7", "rouge8", "rouge9"];

fn estimate(call: &mut Call<'_, '_>) -> PyResult<Estimate> {
    Ok(choice("estimate", &call.word("estimate")?, Estimate::NAMES, &Estimate::ALL)?)
}

fn measure(call: &mut Call<'_, '_>) -> PyResult<Measure> {
    let all = [Measure::F, Measure::Precision, Measure::Recall];
    Ok(choice("measure", &call.word("measure")?, Measure::NAMES, &all)?)
}

fn best(call: &mut Call<'_, '_>) -> PyResult<bool> {
    let word = call.word("multiple_references")?;
    Ok(choice("multiple_references", &word, &["mean", "best"], &[false, true])?)
}

/// How many matches and n-grams are added to the orders above 1.
fn added(call: &mut Call<'_, '_>) -> PyResult<f64> {
    let adds = choice("smoothing", &call.word("smoothing")?, &["add-k", "none"], &[true, false])?;
    match call.given("smoothing_value")? {
        None => Ok(if adds { 1.0 } else { 0.0 }),
        Some(_) if adds => call.with.at_least_zero("smoothing_value"),
        Some(_) => {
            let message = "smoothing_value goes with \"add-k\", and smoothing is \"none\"";
            Err(Error::Value(message.to_owned()).into())
        }
    }
}

/// A number by which others are divided.
fn normal(call: &mut Call<'_, '_>, name: &'static str) -> PyResult<f64> {
    let value = number(name, &call.with.get(name)?)?;
    match (1e-6..=1e6).contains(&value) {
        true => Ok(value),
        false => Err(Error::Value(format!("{name} is {value}, expected a number from 1e-6 to 1e6")).into()),
    }
}

fn weights(call: &mut Call<'_, '_>) -> PyResult<Vec<f64>> {
    let object = call.with.get("order_weights")?;
    let wrong = |what: String| Error::Value(format!("order_weights{what}"));
    let mut weights: Vec<f64> = object.extract().map_err(|_| {
        Error::Type(format!("order_weights is {object}, expected a number for each of the orders 1, 2, …"))
    })?;
    if let Some(index) = weights.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite())) {
        return Err(wrong(format!("[{index}] is {}, expected a number that is at least 0", weights[index])).into());
    }
    if !(1..=LONGEST as usize).contains(&weights.len()) || weights.iter().all(|&weight| weight == 0.0) {
        let count = weights.len();
        return Err(wrong(format!(" has {count} numbers, expected 1 to {LONGEST}, one of them above 0")).into());
    }
    // Their sum may be too large for a number.
    let largest = weights.iter().copied().fold(0.0, f64::max);
    for weight in &mut weights {
        *weight /= largest;
    }
    Ok(weights)
}
