//! What metrics of text tell beyond scores and statistics, over the border.
//!
//! Defaults and documentation live in `python/seqloss_rs/rouge.py` and `python/seqloss_rs/error_rate.py`.

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::arguments::{flag, word};
use super::text::{Kind, TextMetric, work};
use super::texts::Read;
use super::{enter, guarded};
use crate::text::error_rate::Alignments;
use crate::text::rouge::{MEASURES, Rouge, scores_of_all};
use crate::text::tokenize::alphanumeric;

type Object<'py> = Bound<'py, PyAny>;

/// Precision, recall and F of every pair, an array for each of the metrics, which read texts alike.
#[pyfunction]
pub(super) fn rouge_scores<'py>(
    py: Python<'py>,
    metrics: &Bound<'py, PyList>,
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: Option<&Bound<'py, PyDict>>,
) -> PyResult<Vec<Object<'py>>> {
    guarded(|| {
        let metrics: Vec<_> = metrics.iter().map(Bound::cast_into).collect::<Result<_, _>>()?;
        let Some(first) = metrics.first().map(Bound::<TextMetric>::get) else { return Ok(vec![]) };
        let Read { pairs, axes, .. } = first.read(hypotheses, references, layout)?;
        let rouge = |metric: &Bound<'_, TextMetric>| {
            let Kind::Rouge(rouge) = &metric.get().0 else { unreachable!("these are variants of ROUGE") };
            rouge.clone()
        };
        let rouges: Vec<Rouge> = metrics.iter().map(rouge).collect();
        let scores = enter(py, work(&pairs), |watch| scores_of_all(&rouges, &pairs, watch))?;
        let axes = [&axes[..], &[MEASURES.len()]].concat();
        let scores = scores.as_chunks::<{ MEASURES.len() }>().0;
        (0..rouges.len())
            .map(|metric| {
                let scores: Vec<_> = scores.chunks(rouges.len()).map(|scores| scores[metric]).collect();
                Ok(scores.into_flattened().into_pyarray(py).reshape(&axes[..])?.into_any())
            })
            .collect()
    })
}

/// The tokens that ROUGE compares.
#[pyfunction]
pub(super) fn rouge_tokens(text: &Object<'_>, stem: &Object<'_>) -> PyResult<Vec<String>> {
    Ok(alphanumeric(&word("text", text)?, flag("stem", stem)?))
}

/// The alignments of an error rate: rows, offsets, which reference each hypothesis is aligned with, counts.
#[pyfunction]
pub(super) fn error_rate_align<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: Option<&Bound<'py, PyDict>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let Kind::ErrorRate(rate) = &metric.0 else { unreachable!("only ErrorRate aligns") };
        let Read { pairs, axes, .. } = metric.read(hypotheses, references, layout)?;
        let Alignments { rows, offsets, references, counts } =
            enter(py, work(&pairs), |watch| rate.align(&pairs, watch))?;
        let axes_of_rows = [rows.len(), 5];
        let rows = rows.into_flattened().into_pyarray(py).reshape(axes_of_rows)?;
        let counts = counts.into_flattened().into_pyarray(py).reshape([&axes[..], &[metric.width()]].concat())?;
        let references = references.into_pyarray(py).reshape(axes)?;
        (rows, offsets.into_pyarray(py), references, counts).into_bound_py_any(py)
    })
}
