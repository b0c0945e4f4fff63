//! Scores of more than whole pairs over the border: of all prefixes, of all pairs of two lists, of sets of candidates.
//!
//! Defaults and documentation live in `python/seqloss_rs/metrics.py` and `mbr.py`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList};

use super::text::{Kind, TextMetric, work};
use super::texts::{Candidates, Grid, Read, read_candidates, read_grid};
use super::{enter, guarded};
use crate::error::Error;
use crate::input::zeros;
use crate::reduction::total;
use crate::text::error_rate::Measure;
use crate::text::pairwise::{matrices, matrix_work};
use crate::text::prefix::{Reward, rewards};

type Object<'py> = Bound<'py, PyAny>;

/// Calls the body with the metric, if it can do `what`.
macro_rules! with_counts {
    ($metric:expr, $what:expr, $inner:ident => $body:expr) => {
        match &$metric.0 {
            Kind::Bleu($inner) => $body,
            Kind::Chrf($inner) => $body,
            Kind::Rouge($inner) => $body,
            Kind::ErrorRate($inner) => $body,
            Kind::Gleu($inner) => $body,
            Kind::NltkBleu($inner) => $body,
            Kind::Answers($inner) => $body,
            Kind::Ter(_) => {
                let message = format!("Ter has no {}, as its shifts are searched pair by pair", $what);
                Err(Error::Type(message).into())
            }
        }
    };
}

/// The score of every prefix of every hypothesis, or what each token adds to it: an array where the hypotheses are one, or
/// a list of arrays.
#[pyfunction]
pub(super) fn prefix_scores<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: &Bound<'py, PyDict>,
    prefix: &Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reward = match (prefix.cast::<PyBool>(), prefix.extract::<&str>()) {
            (Ok(flag), _) if flag.is_true() => Reward::Score,
            (_, Ok("shaped")) => Reward::Shaped,
            _ => {
                let message = format!("prefix is {}, expected True, False or 'shaped'", prefix.repr()?);
                return Err(Error::Value(message).into());
            }
        };
        let Read { pairs, axes, columns } = metric.read(hypotheses, references, Some(layout))?;
        let rewards: Vec<Vec<f64>> = with_counts!(metric, "scores of prefixes", inner => {
            enter(py, work(&pairs), |watch| rewards(inner, &pairs, reward, metric.scale(), watch))
        })?;
        let Some(columns) = columns else {
            return Ok(PyList::new(py, rewards.into_iter().map(|rewards| rewards.into_pyarray(py)))?.into_any());
        };
        let mut array = zeros::<f64>(rewards.len().saturating_mul(columns))?;
        for (row, rewards) in array.chunks_mut(columns.max(1)).zip(&rewards) {
            let (valid, beyond) = row.split_at_mut(rewards.len());
            valid.copy_from_slice(rewards);
            beyond.fill(f64::NAN);
        }
        Ok(array.into_pyarray(py).reshape([&axes[..], &[columns]].concat())?.into_any())
    })
}

/// The score of every hypothesis against every reference: (H, R).
#[pyfunction]
pub(super) fn pairwise<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    guarded(|| {
        let Grid { hypotheses, references } = read_grid(hypotheses, references, layout, metric.own())?;
        let axes = [hypotheses.len(), references.len()];
        let references = references.texts();
        metric.suits("hypotheses", hypotheses.are_ids() && !hypotheses.is_empty())?;
        let groups = [(0..axes[0], 0..axes[1])];
        let groups = if axes.contains(&0) { &[][..] } else { &groups };
        let work = matrix_work(&hypotheses, references, axes[0].saturating_mul(axes[1]));
        let scores: Vec<f64> = with_counts!(metric, "matrix of scores", inner => {
            enter(py, work, |watch| matrices(inner, &hypotheses, references, groups, metric.scale(), watch))
        })?;
        scores.into_pyarray(py).reshape(axes)
    })
}

/// What [`minimum_bayes_risk`] returns: the index of the best candidate of each set, and the expected utilities (N, K), NaN
/// where a set has fewer than K.
type Choice<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>);

/// The candidate with the highest expected utility, for every set; error rates count as negative utilities.
#[pyfunction]
pub(super) fn minimum_bayes_risk<'py>(
    py: Python<'py>,
    metric: &TextMetric,
    candidates: &Object<'py>,
    references: Option<&Object<'py>>,
    weights: Option<PyReadonlyArray2<'py, f64>>,
    layout: &Bound<'py, PyDict>,
) -> PyResult<Choice<'py>> {
    guarded(|| {
        let Candidates { candidates, references } = read_candidates(candidates, references, layout, metric.own())?;
        let references = references.as_ref().unwrap_or(&candidates);
        metric.suits("candidates", candidates.texts().are_ids() && !candidates.is_empty())?;
        let groups: Vec<_> = (0..candidates.len()).map(|set| (candidates.range(set), references.range(set))).collect();
        let most = groups.iter().map(|(candidates, _)| candidates.len()).max().unwrap_or(0);
        let weights = weights.map(|weights| checked(&weights, &groups)).transpose()?;
        let scores = groups.iter().map(|(candidates, references)| candidates.len().saturating_mul(references.len()));
        let work = matrix_work(candidates.texts(), references.texts(), scores.fold(0, usize::saturating_add));
        let is_error = matches!(&metric.0, Kind::ErrorRate(rate) if rate.measure() != Measure::Wip);
        let scale = if is_error { -metric.scale() } else { metric.scale() };
        let utilities: Vec<f64> = with_counts!(metric, "matrix of scores", inner => {
            enter(py, work, |watch| {
                matrices(inner, candidates.texts(), references.texts(), &groups, scale, watch)
            })
        })?;
        let mut rest = &utilities[..];
        let mut expected = zeros::<f64>(groups.len().saturating_mul(most))?;
        let mut best = vec![];
        for (set, (expected, (candidates, references))) in expected.chunks_mut(most.max(1)).zip(&groups).enumerate() {
            let (matrix, after) = rest.split_at(candidates.len() * references.len());
            rest = after;
            expected.fill(f64::NAN);
            for (expected, utilities) in expected.iter_mut().zip(matrix.chunks(references.len())) {
                *expected = match &weights {
                    None => total(utilities.iter().copied()) / utilities.len() as f64,
                    Some(weights) => {
                        let weights = &weights[set];
                        let weighted = utilities.iter().zip(weights).map(|(utility, weight)| utility * weight);
                        total(weighted) / total(weights.iter().copied())
                    }
                };
            }
            let expected = &expected[..candidates.len()];
            // The first of equals.
            let first = (1..expected.len()).fold(0, |best, at| if expected[at] > expected[best] { at } else { best });
            best.push(first as i64);
        }
        let axes = [groups.len(), most];
        Ok((best.into_pyarray(py), expected.into_pyarray(py).reshape(axes)?))
    })
}

type Groups = [(std::ops::Range<usize>, std::ops::Range<usize>)];

/// The weights of the references of each group.
fn checked(weights: &PyReadonlyArray2<'_, f64>, groups: &Groups) -> Result<Vec<Vec<f64>>, Error> {
    let most = groups.iter().map(|(_, references)| references.len()).max().unwrap_or(0);
    if weights.shape() != [groups.len(), most] {
        let expected = crate::error::tuple(&[groups.len(), most]);
        return Err(Error::shape("weights", weights.shape(), expected));
    }
    let weights = weights.as_array();
    let sets = groups.iter().zip(weights.rows()).enumerate().map(|(set, ((_, references), weights))| {
        let weights: Vec<f64> = weights.iter().copied().take(references.len()).collect();
        if let Some(at) = weights.iter().position(|weight| !(0.0..=f64::MAX).contains(weight)) {
            let weight = weights[at];
            return Err(Error::Value(format!("weights[{set}, {at}] is {weight}, which is not finite and at least 0")));
        }
        let sum = total(weights.iter().copied());
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(Error::Value(format!("weights[{set}] has the sum {sum}, expected a finite one above 0")));
        }
        Ok(weights)
    });
    sets.collect()
}
