//! The border of CTC: the loss with its variants, and the posteriors.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use numpy::PyArray1;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, flag, integer, integer_array, integers, number, reducer, word};
use super::array::with_element;
use super::losses::{addresses, class_numbers, layout_axes, truncate};
use super::{enter, guarded};
use crate::error::Error;
use crate::input::{Argument, Axes, Labels, Sequences, blank as blank_class, reserve, rows_like};
use crate::loss::Loss;
use crate::losses::Scores;
use crate::losses::ctc::{Ctc, LabelStatistic, Options, Stars};
use crate::reduction::{NUMERIC, Reducer};

type Object<'py> = Bound<'py, PyAny>;

/// What may be added to CTC, as it came.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Variants<'py> {
    merge_repeated: Object<'py>,
    temperature: Object<'py>,
    log_priors: Option<Object<'py>>,
    prior_weight: Object<'py>,
    delay_penalty: Object<'py>,
    star: Option<Object<'py>>,
    star_penalty: Object<'py>,
    entropy_weight: Object<'py>,
    focal_gamma: Object<'py>,
    label_smoothing: Object<'py>,
    consistency_with: Option<Object<'py>>,
    consistency_weight: Object<'py>,
}

impl<'py> Variants<'py> {
    /// The options, but for the view that consistency is asked with.
    fn options(&self) -> PyResult<Options<'static>> {
        let log_priors = match &self.log_priors {
            None => None,
            Some(priors) => Some(class_numbers("log_priors", &Floats::new("log_priors", priors)?)?),
        };
        Ok(Options {
            zero_infinity: false,
            merge_repeated: flag("merge_repeated", &self.merge_repeated)?,
            temperature: number("temperature", &self.temperature)?,
            log_priors,
            prior_weight: number("prior_weight", &self.prior_weight)?,
            delay_penalty: number("delay_penalty", &self.delay_penalty)?,
            stars: self.star.as_ref().map(stars).transpose()?.unwrap_or_default(),
            star_penalty: number("star_penalty", &self.star_penalty)?,
            entropy_weight: number("entropy_weight", &self.entropy_weight)?,
            focal: number("focal_gamma", &self.focal_gamma)?,
            label_smoothing: number("label_smoothing", &self.label_smoothing)?,
            views: None,
            consistency_weight: number("consistency_weight", &self.consistency_weight)?,
            posterior: false,
        })
    }

    fn view(&self) -> PyResult<Option<Floats<'py>>> {
        self.consistency_with.as_ref().map(|view| Floats::new("consistency_with", view)).transpose()
    }
}

/// One word, or several.
fn stars(object: &Object<'_>) -> PyResult<Stars> {
    let words = match object.extract::<String>() {
        Ok(word) => vec![word],
        Err(_) => object.extract::<Vec<String>>().map_err(|_| {
            let message = format!("star is {object}, expected a string or several");
            PyErr::from(Error::Type(message))
        })?,
    };
    let mut stars = Stars::default();
    for value in words {
        match value.as_str() {
            "before" => stars.before = true,
            "between" => stars.between = true,
            "after" => stars.after = true,
            _ => return Err(Error::Choice { argument: "star", value, choices: &["before", "between", "after"] }.into()),
        }
    }
    Ok(stars)
}

/// Reads what all that CTC computes is computed from, and hands it on as a `Ctc`.
macro_rules! with_ctc {
    ($given:expr, $options:expr, |$first:ident, $others:ident, $gradient:expr, $loss:ident| $body:expr) => {{
        let (logits, targets, input_lengths, target_lengths, blank, scores, layout, variants) = $given;
        let scores = Scores::new(&word("scores", &scores)?, &["logits", "log_probs"])?;
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let $first = Floats::new("logits", &logits)?;
        let targets = integers("targets", &targets)?;
        let target_lengths = target_lengths.map(|object| integer_array("target_lengths", &object)).transpose()?;
        let mut options = Options { ..$options };
        let view = variants.view()?;
        let $others = addresses([view.as_ref()]);
        with_element!($first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &$first.typed(), axes, false)?;
            truncate(&mut sequences, "input_lengths", input_lengths.as_ref())?;
            if is_in_place($gradient, &$first, &$others) {
                sequences.read_in_place();
            }
            let blank = blank_class(blank, sequences.width)?;
            let labels =
                Labels::new(&targets, target_lengths.as_ref(), &sequences.structure, sequences.width, blank)?;
            if let Some(view) = &view {
                let structure = &sequences.structure;
                let views = match view.any() {
                    Argument::Array(view) if axes == Axes::TimeMajor && view.shape().len() == 3 => {
                        Argument::Array(view.swapped())
                    }
                    views => views,
                };
                let rows = rows_like("consistency_with", &views, structure, sequences.inner())?;
                options.views = Some(rows);
            }
            let $loss = Ctc::new(sequences, labels, blank, scores, options)?;
            $body
        })
    }};
}

#[pyfunction]
pub(super) fn ctc_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    input_lengths: Option<Object<'py>>,
    target_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
    zero_infinity: Object<'py>,
    merge_repeated: Object<'py>,
    temperature: Object<'py>,
    log_priors: Option<Object<'py>>,
    prior_weight: Object<'py>,
    delay_penalty: Object<'py>,
    star: Option<Object<'py>>,
    star_penalty: Object<'py>,
    entropy_weight: Object<'py>,
    focal_gamma: Object<'py>,
    label_smoothing: Object<'py>,
    consistency_with: Option<Object<'py>>,
    consistency_weight: Object<'py>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let variants = Variants {
            merge_repeated,
            temperature,
            log_priors,
            prior_weight,
            delay_penalty,
            star,
            star_penalty,
            entropy_weight,
            focal_gamma,
            label_smoothing,
            consistency_with,
            consistency_weight,
        };
        let options = Options { zero_infinity: flag("zero_infinity", &zero_infinity)?, ..variants.options()? };
        let given = (logits, targets, input_lengths, target_lengths, blank, scores, layout, variants);
        with_ctc!(given, options, |first, others, &gradient, loss| {
            answer(py, &loss, &reducer, Term::Sequence, &gradient, &first, &others)
        })
    })
}

/// The posterior of every class in every frame.
#[pyfunction]
pub(super) fn ctc_posteriors<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    input_lengths: Option<Object<'py>>,
    target_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
    variants: Variants<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let options = Options { posterior: true, ..variants.options()? };
        let given = (logits, targets, input_lengths, target_lengths, blank, scores, layout, variants);
        let none = py.None().into_bound(py);
        let gradient = Some((none.clone(), none));
        let reducer = Reducer::new("sum", NUMERIC, None)?;
        with_ctc!(given, options, |first, others, &gradient, loss| {
            answer(py, &loss, &reducer, Term::Sequence, &gradient, &first, &others)?.get_item(1)
        })
    })
}

/// Occupancy, expected time and confidence of every label: three arrays for each sequence.
#[pyfunction]
pub(super) fn ctc_label_posteriors<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    input_lengths: Option<Object<'py>>,
    target_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
    variants: Variants<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let options = variants.options()?;
        let given = (logits, targets, input_lengths, target_lengths, blank, scores, layout, variants);
        with_ctc!(given, options, |first, _others, &None, loss| {
            let found = enter(py, loss.work(), |watch| loss.labels(watch))?;
            let array = |labels: &[LabelStatistic], of: fn(&LabelStatistic) -> f64| -> PyResult<_> {
                let mut values = reserve(labels.len())?;
                values.extend(labels.iter().map(of));
                Ok(PyArray1::from_vec(py, values))
            };
            let of_sequence = |labels: &Vec<LabelStatistic>| -> PyResult<_> {
                let occupancy = array(labels, |label| label.occupancy)?;
                let time = array(labels, |label| label.time)?;
                (occupancy, time, array(labels, |label| label.confidence)?).into_bound_py_any(py)
            };
            if loss.sequences().structure.outer.is_empty() {
                return of_sequence(&found[0]);
            }
            let list = PyList::empty(py);
            found.iter().try_for_each(|labels| list.append(of_sequence(labels)?))?;
            Ok(list.into_any())
        })
    })
}
