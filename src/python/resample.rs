//! Resampled corpora over the border. What is drawn comes from NumPy's generators.
//!
//! Defaults and documentation live in `python/seqloss_rs/significance.py`.

use numpy::{IntoPyArray, PyArray1, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arguments::integer_array;
use super::array::Array;
use super::text::{TextMetric, with_metric};
use super::{enter, guarded};
use crate::error::Error;
use crate::input::Integers;
use crate::text::{Metric, check, resample};

type Object<'py> = Bound<'py, PyAny>;
type Scores<'py> = Bound<'py, PyArray1<f64>>;

/// The segments of a corpus, ready to be drawn from.
#[pyclass(frozen, module = "seqloss_rs._native")]
pub(super) struct Segments {
    metric: Py<TextMetric>,
    segments: resample::Segments,
}

#[pymethods]
impl Segments {
    /// `name` is what the caller knows the rows by.
    #[new]
    fn new(metric: Py<TextMetric>, name: &str, rows: &Object<'_>) -> PyResult<Self> {
        guarded(|| {
            let Integers { values, shape } = integer_array(name, rows)?;
            let columns = if let [(1..), columns] = shape[..] { columns } else { 0 };
            let segments = with_metric!(&metric.get().0, metric => {
                let width = metric.width();
                let metric = metric.with_width(columns);
                let metric = metric
                    .as_deref()
                    .ok_or_else(|| Error::shape(name, &shape, format!("(N, {width}) with N of at least 1")))?;
                check(metric, name, &values)?;
                resample::Segments::new(metric, &values)?
            });
            Ok(Self { metric, segments })
        })
    }

    fn __len__(&self) -> usize {
        self.segments.len()
    }

    /// The score of the corpus itself.
    fn score(&self) -> f64 {
        self.scores(&self.segments.sum())[0]
    }

    /// The score of the resample that each row of indices says.
    fn bootstrap<'py>(&self, py: Python<'py>, indices: &Object<'py>) -> PyResult<Scores<'py>> {
        guarded(|| {
            let indices = words("indices", indices)?;
            if let Some(place) = indices.iter().position(|&index| index as usize >= self.segments.len()) {
                let expected = format!("a segment in 0..{}", self.segments.len());
                return Err(Error::range("indices", &[place], i64::from(indices[place]), expected).into());
            }
            let work = indices.len();
            let sums = enter(py, work, |watch| self.segments.bootstrap(&indices, watch))?;
            Ok(self.scores(&sums).into_pyarray(py))
        })
    }

    /// The scores of both systems in each trial, in which the bits of `coins` swap segments.
    fn swapped<'py>(
        &self,
        py: Python<'py>,
        other: &Self,
        coins: &Object<'py>,
        trials: usize,
    ) -> PyResult<(Scores<'py>, Scores<'py>)> {
        guarded(|| {
            let coins = words("coins", coins)?;
            let work = trials.saturating_mul(self.segments.len());
            assert!(coins.len() >= work.div_ceil(32), "there is a coin for every segment of every trial");
            assert_eq!(other.segments.len(), self.segments.len(), "two systems have the same segments");
            let [first, second] =
                enter(py, work, |watch| self.segments.swapped(&other.segments, &coins, trials, watch))?;
            Ok((self.scores(&first).into_pyarray(py), self.scores(&second).into_pyarray(py)))
        })
    }
}

impl Segments {
    fn scores(&self, sums: &[i64]) -> Vec<f64> {
        let metric = self.metric.get();
        let ratios = with_metric!(&metric.0, metric => self.segments.scores(metric, sums));
        ratios.into_iter().map(|ratio| metric.scale() * ratio).collect()
    }
}

/// 32-bit words, copied: they say what is read.
fn words(name: &str, object: &Object<'_>) -> PyResult<Vec<u32>> {
    let array = object.cast::<PyUntypedArray>().ok();
    let array = array.filter(|array| array.dtype().kind() == b'u' && array.dtype().itemsize() == 4);
    match array.and_then(Array::new) {
        Some(array) => Ok(array.view::<u32>().copied(|word| word)?),
        None => Err(Error::Type(format!("{name} is no aligned array of uint32")).into()),
    }
}
