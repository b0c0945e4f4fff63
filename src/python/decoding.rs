//! Alignment and decoding: arguments are read as the losses read them; arrays, lists and tuples are returned, of which
//! `python/seqloss_rs/decoding.py` makes what users see.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyTuple};

use super::arguments::{Floats, flag, integer, integer_array, integers, word};
use super::array::{Fresh, with_element};
use super::losses::{layout_axes, lengths_of};
use super::{enter, guarded};
use crate::decoding::{self, Alignment, Options, Span, TokenScores};
use crate::error::{Error, tuple};
use crate::input::{Argument, Labels, Sequences, Structure, blank as blank_class};
use crate::losses::Scores;

type Object<'py> = Bound<'py, PyAny>;

const SCORES: &[&str] = &["logits", "log_probs"];

/// The best path of each target: (labels, spans, scores); the spans of a sequence are a tuple of lists, one for each
/// attribute.
#[pyfunction]
pub(super) fn ctc_align<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    input_lengths: Option<Object<'py>>,
    target_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let scores = Scores::new(&word("scores", &scores)?, SCORES)?;
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let first = Floats::new("logits", &logits)?;
        let targets = integers("targets", &targets)?;
        let target_lengths = target_lengths.map(|object| integer_array("target_lengths", &object)).transpose()?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes, false)?;
            sequences.truncate(&lengths_of("input_lengths", input_lengths.as_ref(), &sequences.structure)?);
            let blank = blank_class(blank, sequences.width)?;
            let targets =
                Labels::new(&targets, target_lengths.as_ref(), &sequences.structure, sequences.width, blank)?;
            let work = decoding::work(&sequences, &targets);
            let found = enter(py, work, |watch| decoding::align(&sequences, &targets, blank, scores, watch))?;
            alignment(py, found, &sequences.structure)
        })
    })
}

/// Whether each target has a path: (mask, frames needed).
#[pyfunction]
pub(super) fn ctc_feasible<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    targets: Object<'py>,
    input_lengths: Option<Object<'py>>,
    target_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let scores = Scores::new(&word("scores", &scores)?, SCORES)?;
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let first = Floats::new("logits", &logits)?;
        let targets = integers("targets", &targets)?;
        let target_lengths = target_lengths.map(|object| integer_array("target_lengths", &object)).transpose()?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes, false)?;
            sequences.truncate(&lengths_of("input_lengths", input_lengths.as_ref(), &sequences.structure)?);
            let blank = blank_class(blank, sequences.width)?;
            let targets =
                Labels::new(&targets, target_lengths.as_ref(), &sequences.structure, sequences.width, blank)?;
            let needed = (0..sequences.len()).map(|sequence| decoding::frames_needed(targets.of(sequence)) as i64);
            let work = decoding::work(&sequences, &targets);
            let mask = enter(py, work, |watch| decoding::feasible(&sequences, &targets, blank, scores, watch))?;
            let pair = if sequences.structure.outer.is_empty() {
                let needed = decoding::frames_needed(targets.of(0));
                [PyBool::new(py, mask[0]).to_owned().into_any(), PyInt::new(py, needed).into_any()]
            } else {
                let mask = array(py, mask.into_iter().map(i64::from))?;
                [mask.call_method1(intern!(py, "astype"), ("?",))?, array(py, needed)?]
            };
            Ok(PyTuple::new(py, pair)?.into_any())
        })
    })
}

/// The best class of each frame: the labels of each sequence; with `spans`, what `ctc_align` returns, of that path.
#[pyfunction]
pub(super) fn ctc_greedy_decode<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    input_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
    spans: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let scores = Scores::new(&word("scores", &scores)?, SCORES)?;
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let spans = flag("spans", &spans)?;
        let first = Floats::new("logits", &logits)?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes, false)?;
            sequences.truncate(&lengths_of("input_lengths", input_lengths.as_ref(), &sequences.structure)?);
            let blank = blank_class(blank, sequences.width)?;
            let work = sequences.rows.iter().map(|rows| rows.count() * rows.width()).sum();
            if spans {
                let found =
                    enter(py, work, |watch| decoding::greedy_alignment(&sequences, blank, scores, work, watch))?;
                return alignment(py, found, &sequences.structure);
            }
            let decoded = enter(py, work, |watch| decoding::greedy(&sequences, blank, work, watch))?;
            let arrays = decoded.into_iter().map(|labels| array(py, labels.into_iter()));
            one_or_list(py, arrays, &sequences.structure)
        })
    })
}

/// The best label sequences: a list of (labels, score) for each sequence.
#[pyfunction]
pub(super) fn ctc_beam_decode<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    input_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    scores: Object<'py>,
    layout: Object<'py>,
    beam_width: Object<'py>,
    n_best: Object<'py>,
    token_scores: Option<Object<'py>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let scores = Scores::new(&word("scores", &scores)?, SCORES)?;
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let width = count("beam_width", &beam_width, None)?;
        let best = count("n_best", &n_best, Some(width))?;
        let first = Floats::new("logits", &logits)?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes, false)?;
            sequences.truncate(&lengths_of("input_lengths", input_lengths.as_ref(), &sequences.structure)?);
            let classes = sequences.width;
            let blank = blank_class(blank, classes)?;
            let callback = Callback::new(token_scores.as_ref(), classes);
            let answer = |prefix: &[usize]| callback.answer(prefix);
            let token_scores = match &token_scores {
                None => TokenScores::None,
                Some(_) if callback.function.is_some() => TokenScores::Prefix(&answer),
                Some(object) => token_scores_of(object, classes)?,
            };
            let options = Options { width, best, token_scores };
            let work = decoding::beam_work(&sequences, &options);
            let found = enter(py, work, |watch| decoding::beam(&sequences, blank, scores, &options, watch));
            if let Some(error) = callback.failure() {
                return Err(error);
            }
            let zip = py.import("builtins")?.getattr("zip")?;
            let hypotheses = |found: Vec<decoding::Hypothesis>| {
                let labels = list(py, found.iter().map(|hypothesis| indices(py, &hypothesis.labels)))?;
                let scores = list_of(py, found.iter().map(|hypothesis| hypothesis.score))?;
                py.get_type::<PyList>().call1((zip.call1((labels, scores))?,))
            };
            one_or_list(py, found?.into_iter().map(hypotheses), &sequences.structure)
        })
    })
}

/// An option that is a number of things, at least 1.
fn count(name: &str, object: &Object<'_>, most: Option<usize>) -> PyResult<usize> {
    let number = integer(name, object)?;
    match usize::try_from(number) {
        Ok(count) if count > 0 && most.is_none_or(|most| count <= most) => Ok(count),
        _ => {
            let expected = match most {
                Some(most) => format!("in 1..={most} (beam_width)"),
                None => "at least 1".to_owned(),
            };
            Err(Error::range(name, &[], number, expected).into())
        }
    }
}

fn token_scores_of<'a>(object: &Object<'_>, classes: usize) -> PyResult<TokenScores<'a>> {
    let floats = Floats::new("token_scores", object)?;
    let Argument::Array(view) = floats.any() else {
        let message = "token_scores is a list of arrays, expected one array";
        return Err(Error::Type(message.to_owned()).into());
    };
    let is_table = match view.shape() {
        [length] if *length == classes => false,
        [rows, columns] if *rows == classes && *columns == classes => true,
        shape => {
            let expected = format!("({classes},) or ({classes}, {classes})");
            return Err(Error::shape("token_scores", shape, expected).into());
        }
    };
    let numbers = view.to_vec()?;
    decoding::check_token_scores("token_scores", &numbers, is_table.then_some(classes))?;
    Ok(if is_table { TokenScores::Pairs(numbers) } else { TokenScores::Classes(numbers) })
}

/// The caller's function of a prefix, and what it has raised.
struct Callback {
    function: Option<Py<PyAny>>,
    classes: usize,
    raised: Mutex<Option<PyErr>>,
}

impl Callback {
    fn new(token_scores: Option<&Object<'_>>, classes: usize) -> Self {
        let function = token_scores.filter(|object| object.is_callable()).map(|object| object.clone().unbind());
        Self { function, classes, raised: Mutex::new(None) }
    }

    fn answer(&self, prefix: &[usize]) -> Result<Vec<f64>, Error> {
        let function = self.function.as_ref().expect("a callback is asked only where there is one");
        Python::attach(|py| {
            let labels = list_of(py, prefix.iter().map(|&label| label as i64))?;
            let answer = function.bind(py).call1((py.get_type::<PyTuple>().call1((labels,))?,))?;
            let name = call_of(prefix)?;
            let floats = Floats::new(&name, &answer)?;
            let numbers = match floats.any() {
                Argument::Array(view) if view.shape() == [self.classes] => view.to_vec()?,
                Argument::Array(view) => {
                    return Err(Error::shape(&name, view.shape(), tuple(&[self.classes])).into());
                }
                Argument::List(_) => {
                    return Err(Error::Type(format!("{name} is a list of arrays, expected one array")).into());
                }
            };
            decoding::check_token_scores(&name, &numbers, None)?;
            Ok(numbers)
        })
        .map_err(|error: PyErr| {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Error::Interrupted
        })
    }

    fn failure(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// `token_scores((3, 5))`: the call as Python writes it.
fn call_of(prefix: &[usize]) -> Result<String, Error> {
    const LONGEST: usize = "18446744073709551615, ".len();
    let mut call = String::new();
    let bytes = "token_scores((,))".len() + prefix.len() * LONGEST;
    call.try_reserve(bytes).map_err(|_| Error::Memory(bytes))?;
    call.push_str("token_scores((");
    for (place, label) in prefix.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(call, "{comma}{label}").expect("strings take everything");
    }
    call.push_str(if prefix.len() == 1 { ",))" } else { "))" });
    Ok(call)
}

fn alignment<'py>(py: Python<'py>, found: Vec<Alignment>, structure: &Structure) -> PyResult<Object<'py>> {
    let labels = one_or_list(py, found.iter().map(|found| indices(py, &found.labels)), structure)?;
    let spans_of = |found: &Alignment| {
        let integers = |each: fn(&Span) -> usize| list_of(py, found.spans.iter().map(|span| each(span) as i64));
        let scores = list_of(py, found.spans.iter().map(|span| span.score))?;
        let columns = [integers(|span| span.label)?, integers(|span| span.start)?, integers(|span| span.end)?, scores];
        Ok(PyTuple::new(py, columns)?.into_any())
    };
    let spans = one_or_list(py, found.iter().map(spans_of), structure)?;
    let scores = match structure.outer.is_empty() {
        true => PyFloat::new(py, found[0].score).into_any(),
        false => array(py, found.iter().map(|found| found.score))?,
    };
    Ok(PyTuple::new(py, [labels, spans, scores])?.into_any())
}

/// An array of numbers of eight bytes, or MemoryError.
fn array<T: numpy::Element + bytemuck::Pod>(
    py: Python<'_>,
    numbers: impl ExactSizeIterator<Item = T>,
) -> PyResult<Object<'_>> {
    let mut fresh = Fresh::zeros(py, T::get_dtype(py), &[numbers.len()])?;
    // What is written to are floats; integers are other numbers in the same bytes.
    let places: &mut [T] = bytemuck::cast_slice_mut(fresh.numbers::<f64>());
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = number;
    }
    Ok(fresh.into_object())
}

fn indices<'py>(py: Python<'py>, labels: &[usize]) -> PyResult<Object<'py>> {
    array(py, labels.iter().map(|&label| label as i64))
}

/// A list of Python's numbers. NumPy makes it, because PyO3 panics where there is no memory for a number.
fn list_of<T: numpy::Element + bytemuck::Pod>(
    py: Python<'_>,
    numbers: impl ExactSizeIterator<Item = T>,
) -> PyResult<Object<'_>> {
    array(py, numbers)?.call_method0(intern!(py, "tolist"))
}

/// A list that grows: one of a given length panics where there is no memory for it.
fn list<'py>(py: Python<'py>, items: impl Iterator<Item = PyResult<Object<'py>>>) -> PyResult<Object<'py>> {
    let list = PyList::empty(py);
    for item in items {
        list.append(item?)?;
    }
    Ok(list.into_any())
}

/// What belongs to one sequence where there is but one, else a list.
fn one_or_list<'py>(
    py: Python<'py>,
    mut each: impl Iterator<Item = PyResult<Object<'py>>>,
    structure: &Structure,
) -> PyResult<Object<'py>> {
    match structure.outer.is_empty() {
        true => each.next().expect("one sequence"),
        false => list(py, each),
    }
}
