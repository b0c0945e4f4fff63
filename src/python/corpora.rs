//! What looks at all texts of a corpus together, over the border. A metric cuts the strings.

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::{integer, number};
use super::collect::TextArray;
use super::text::{Kind, TextMetric};
use super::{enter, guarded};
use crate::error::Error;
use crate::parallel::{Ticker, for_each};
use crate::text::tokens::{Pair, Texts};
use crate::text::{Metric, WORK_PER_BYTE, cider, diversity, scores};

type Object<'py> = Bound<'py, PyAny>;

/// Rows of different n-grams and all n-grams, of each text, and last of all together; and the axes in which the texts came.
/// `name` is what the caller calls them.
#[pyfunction]
pub(super) fn distinct_ngrams<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    texts: &Object<'py>,
    order: &Object<'py>,
    layout: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let order = at_least_one("order", order)?;
        let TextArray { texts, axes, .. } = metric.read_alone(name, texts, layout)?;
        let rows = together(py, metric, &[&texts], |all, ticker| {
            diversity::distinct_ngrams(&all.texts().collect::<Vec<_>>(), all.distinct(), order, ticker)
        })?;
        (rows.into_pyarray(py).reshape([texts.len() + 1, 2])?, axes).into_bound_py_any(py)
    })
}

/// BLEU of each text against all others.
#[pyfunction]
pub(super) fn self_bleu<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    texts: &Object<'py>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let Kind::Bleu(bleu) = &metric.0 else {
            return Err(Error::Type("metric is another than Bleu, whose n-grams are compared".into()).into());
        };
        let texts = metric.read_alone("texts", texts, layout)?.texts;
        let rows = together(py, metric, &[&texts], |all, ticker| {
            diversity::self_bleu(&all.texts().collect::<Vec<_>>(), all.distinct(), bleu.max_order(), ticker)
        })?;
        let scores: Vec<f64> = scores(bleu, &rows).into_iter().map(|score| bleu.scale() * score).collect();
        Ok(scores.into_pyarray(py).into_any())
    })
}

/// CIDEr-D of every hypothesis, where all sets of references are the documents; or else of the first `documents` hypotheses,
/// and the sets of references after theirs are the documents.
#[pyfunction]
pub(super) fn cider_d<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    documents: Option<usize>,
    max_order: &Object<'py>,
    sigma: &Object<'py>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let (max_order, sigma) = (at_least_one("max_order", max_order)?, number("sigma", sigma)?);
        if !(sigma > 0.0 && sigma.is_finite()) {
            return Err(Error::Value(format!("sigma is {sigma}, which is not a number above 0")).into());
        }
        let read = metric.read(hypotheses, references, Some(layout))?;
        let sets = read.pairs.sets();
        let first = sets.last().map_or(0, |range| range.end);
        let rollouts = read.pairs.len() / sets.len().max(1);
        let (scored, documents) = match documents {
            None => (read.pairs.len(), sets.clone()),
            Some(from) => (from, sets[from..].to_vec()),
        };
        let scores = together(py, metric, &read.pairs.sides(), |all, ticker| {
            let of = cider::Documents {
                texts: all.texts().collect(),
                distinct: all.distinct(),
                pairs: (0..scored).map(|index| (first + index, sets[index / rollouts].clone())).collect(),
                documents: documents.clone(),
            };
            cider::scores(of, max_order, sigma, ticker)
        })?;
        let axes = if scored == read.pairs.len() { read.axes } else { vec![scored] };
        Ok(scores.into_pyarray(py).reshape(axes)?.into_any())
    })
}

fn at_least_one(name: &'static str, object: &Object<'_>) -> PyResult<usize> {
    let value = integer(name, object)?;
    let length = usize::try_from(value).ok().filter(|length| (1..=32).contains(length));
    Ok(length.ok_or_else(|| Error::range(name, &[], value, "a length of n-grams in 1..=32"))?)
}

/// Reads all texts of these parts with numbers in common, and computes from them.
fn together<R: Send + Default>(
    py: Python<'_>,
    metric: &TextMetric,
    parts: &[&Texts],
    compute: impl Fn(&Pair, &Ticker<'_>) -> Result<R, Error> + Sync + Send,
) -> PyResult<R> {
    let work = parts.iter().map(|texts| texts.bytes()).sum::<usize>().saturating_mul(WORK_PER_BYTE);
    enter(py, work, |watch| {
        let mut result = R::default();
        let each = |result: &mut R, (): &mut (), ticker: &Ticker<'_>| {
            *result = compute(&metric.read_all(parts, ticker)?, ticker)?;
            Ok(())
        };
        for_each(std::iter::once(&mut result), work, watch, || Ok(()), each)?;
        Ok(result)
    })
}
