//! What looks at all texts of a corpus together, over the border. A metric cuts the strings.

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::{integer, number};
use super::text::{TextMetric, work};
use super::texts::Read;
use super::{enter, guarded};
use crate::error::Error;
use crate::parallel::{Ticker, for_each};
use crate::text::tokens::Pair;
use crate::text::{cider, diversity};

type Object<'py> = Bound<'py, PyAny>;

/// Rows of different n-grams and all n-grams: of each text, and last of all together.
#[pyfunction]
pub(super) fn distinct_ngrams<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    texts: &Object<'py>,
    order: &Object<'py>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let order = at_least_one("order", order)?;
        let read = metric.read(texts, texts, Some(layout))?;
        let rows = together(py, metric, &read, |all, ticker| {
            let texts = all.texts().take(read.pairs.len()).collect();
            diversity::distinct_ngrams(texts, all.distinct(), order, ticker)
        })?;
        Ok(rows.into_pyarray(py).reshape([read.pairs.len() + 1, 2])?.into_any())
    })
}

/// BLEU's row of each text against all others.
#[pyfunction]
pub(super) fn self_bleu<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    texts: &Object<'py>,
    max_order: &Object<'py>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let max_order = at_least_one("max_order", max_order)?;
        let read = metric.read(texts, texts, Some(layout))?;
        let rows = together(py, metric, &read, |all, ticker| {
            let texts = all.texts().take(read.pairs.len()).collect();
            diversity::self_bleu(texts, all.distinct(), max_order, ticker)
        })?;
        Ok(rows.into_pyarray(py).reshape([read.pairs.len(), 2 + 2 * max_order])?.into_any())
    })
}

/// CIDEr-D of the first `count` hypotheses; the sets of references from `documents` on are the documents.
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
        let scores = together(py, metric, &read, |all, ticker| {
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

/// Reads all texts with common numbers, references first, and computes from them.
fn together<R: Send + Default>(
    py: Python<'_>,
    metric: &TextMetric,
    read: &Read,
    compute: impl Fn(&Pair, &Ticker<'_>) -> Result<R, Error> + Sync + Send,
) -> PyResult<R> {
    let work = work(&read.pairs);
    enter(py, work, |watch| {
        let mut result = R::default();
        let once = std::iter::once(&mut result);
        for_each(
            once,
            work,
            watch,
            || Ok(()),
            |result, (), ticker| {
                let all = metric.read_all(&read.pairs, ticker)?;
                *result = compute(&all, ticker)?;
                Ok(())
            },
        )?;
        Ok(result)
    })
}
