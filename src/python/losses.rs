//! One function a loss: words and arrays are read, checked inputs are put together, the answer is returned. Defaults and
//! documentation live in `python/seqloss_rs/losses.py`; `gradient` is (`grad_output`, `out`) where `value_and_grad` calls.

use pyo3::prelude::*;

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, integer_array};
use super::array::with_element;
use crate::input::{Axes, Sequences, Structure, lengths, rows_like, rows_per_step_or_number};
use crate::losses::pointwise::{Absolute, Curve, Factors, PerNumber, Pointwise, Squared};
use crate::reduction::{NUMERIC, Reducer};

type Object<'py> = Bound<'py, PyAny>;

fn lengths_of(name: &str, argument: Option<&Object<'_>>, structure: &Structure) -> PyResult<Vec<usize>> {
    let integers = argument.map(|object| integer_array(name, object)).transpose()?;
    Ok(lengths(name, integers.as_ref(), structure)?)
}

#[pyfunction]
pub(super) fn mse_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    predictions: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    reduction: &str,
    normalizer: Option<f64>,
) -> PyResult<Object<'py>> {
    pointwise::<Squared>(py, gradient, predictions, targets, lengths, mask, weights, reduction, normalizer)
}

#[pyfunction]
pub(super) fn mae_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    predictions: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    reduction: &str,
    normalizer: Option<f64>,
) -> PyResult<Object<'py>> {
    pointwise::<Absolute>(py, gradient, predictions, targets, lengths, mask, weights, reduction, normalizer)
}

fn pointwise<'py, C: Curve>(
    py: Python<'py>,
    gradient: Request<'py>,
    predictions: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    reduction: &str,
    normalizer: Option<f64>,
) -> PyResult<Object<'py>> {
    let reducer = Reducer::new(reduction, NUMERIC, normalizer)?;
    let first = Floats::new("predictions", &predictions)?;
    let targets = Floats::new("targets", &targets)?;
    let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
    let weights = weights.map(|object| Floats::new("weights", &object)).transpose()?;
    let mut others = targets.addresses();
    others.extend(weights.iter().flat_map(Floats::addresses));
    others.extend(mask.iter().flat_map(Mask::addresses));
    // (N, T) and (N, T, D): with three axes, or two in the arrays of a list, a step is a row.
    let axes = if first.axes() == if first.is_list() { 2 } else { 3 } { Axes::StepsOfRows } else { Axes::Steps };
    with_element!(first.kind, E => {
        let mut sequences = Sequences::<E>::new("predictions", &first.typed(), axes, false)?;
        let valid = lengths_of("lengths", lengths.as_ref(), &sequences.structure)?;
        if is_in_place(&gradient, &first) {
            sequences.read_in_place();
        }
        let target_rows = rows_like("targets", &targets.any(), &sequences.structure, sequences.inner())?;
        let mask = mask.as_ref().map(Mask::views);
        let weights = weights.as_ref().map(Floats::any);
        let factors = Factors {
            mask: mask.map(|mask| rows_per_step_or_number("mask", &mask, &sequences)).transpose()?.map(per_number),
            weights: weights.map(|all| rows_per_step_or_number("weights", &all, &sequences)).transpose()?.map(per_number),
        };
        let loss = Pointwise::<C, E>::new(sequences, target_rows, &valid, factors);
        answer(py, &loss, &reducer, Term::Number, &gradient, &first, &others)
    })
}

fn per_number<R>((rows, width): (Vec<R>, usize)) -> Vec<PerNumber<R>> {
    rows.into_iter().map(|rows| PerNumber { rows, width }).collect()
}
