//! Alignment and decoding: arguments are read as the losses read them, lists of arrays are returned.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::arguments::{Floats, integer, word};
use super::array::with_element;
use super::losses::{layout_axes, lengths_of};
use super::{enter, guarded};
use crate::decoding::greedy;
use crate::input::{Sequences, blank as blank_class};

type Object<'py> = Bound<'py, PyAny>;

/// The labels of the best path of each sequence: the largest score of every frame, repeats merged, blanks dropped.
#[pyfunction]
pub(super) fn ctc_greedy_decode<'py>(
    py: Python<'py>,
    logits: Object<'py>,
    input_lengths: Option<Object<'py>>,
    blank: Object<'py>,
    layout: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let axes = layout_axes(&word("layout", &layout)?)?;
        let blank = integer("blank", &blank)?;
        let first = Floats::new("logits", &logits)?;
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new("logits", &first.typed(), axes, false)?;
            sequences.truncate(&lengths_of("input_lengths", input_lengths.as_ref(), &sequences.structure)?);
            let blank = blank_class(blank, sequences.width)?;
            let work = sequences.rows.iter().map(|rows| rows.count() * rows.width()).sum();
            let decoded = enter(py, work, |watch| greedy(&sequences, blank, work, watch))?;
            let arrays = decoded.iter().map(|labels| PyArray1::from_slice(py, labels).into_any());
            match sequences.structure.outer.is_empty() {
                true => Ok(arrays.into_iter().next().expect("one sequence")),
                false => Ok(PyList::new(py, arrays.collect::<Vec<_>>())?.into_any()),
            }
        })
    })
}
