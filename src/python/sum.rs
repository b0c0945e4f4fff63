//! Sums that merge. Defaults and documentation live in `python/seqloss_rs/sums.py`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arguments::{Floats, Mask, word};
use super::{enter, guarded};
use crate::exact;

type Object<'py> = Bound<'py, PyAny>;

/// A sum behind a lock, so that threads may share it; losses hold on to it while they run.
#[pyclass(frozen, subclass, module = "seqloss_rs._native")]
pub(super) struct LossSum(Arc<Mutex<exact::LossSum>>);

impl LossSum {
    /// What losses add to.
    pub(super) fn shared(&self) -> Arc<Mutex<exact::LossSum>> {
        self.0.clone()
    }

    /// Held for moments only, and never while Python runs: two sums are not held at a time.
    fn lock(&self) -> MutexGuard<'_, exact::LossSum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl LossSum {
    /// Of nothing, or what bytes say.
    #[new]
    #[pyo3(signature = (settings, data=None))]
    fn new(settings: &Object<'_>, data: Option<&[u8]>) -> PyResult<Self> {
        guarded(|| {
            let sum = match data {
                None => exact::LossSum::new(word("settings", settings)?),
                Some(data) => exact::LossSum::from_bytes(data)?,
            };
            Ok(Self(Arc::new(Mutex::new(sum))))
        })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.lock().to_bytes())
    }

    #[pyo3(signature = (values, weights=None, *, mask=None))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        values: &Object<'py>,
        weights: Option<&Object<'py>>,
        mask: Option<&Object<'py>>,
    ) -> PyResult<()> {
        guarded(|| {
            let values = Floats::new("values", values)?;
            let weights = weights.map(|object| Floats::new("weights", object)).transpose()?;
            let mask = mask.map(|object| Mask::new("mask", object)).transpose()?;
            let weights = weights.as_ref().map(Floats::any);
            let mask = mask.as_ref().map(Mask::views);
            let terms = exact::Terms::new(&values.any(), weights.as_ref(), mask.as_ref())?;
            // Added when all is known to be well.
            let sum = enter(py, terms.numbers(), |watch| terms.sum(watch))?;
            self.lock().add_sum(&sum);
            Ok(())
        })
    }

    fn merge(&self, other: &Self) -> PyResult<()> {
        guarded(|| {
            let other = other.lock().clone();
            Ok(self.lock().merge(&other)?)
        })
    }

    fn equals(&self, other: &Self) -> bool {
        let other = other.lock().clone();
        *self.lock() == other
    }

    #[getter]
    fn settings(&self) -> String {
        self.lock().settings().to_owned()
    }

    #[getter]
    fn value(&self) -> f64 {
        self.lock().value()
    }

    #[getter]
    fn weight(&self) -> f64 {
        self.lock().weight()
    }

    #[getter]
    fn mean(&self) -> f64 {
        self.lock().mean()
    }

    #[getter]
    fn count(&self) -> u64 {
        self.lock().count()
    }

    /// Of terms: NaN, ∞, −∞.
    #[getter]
    fn special(&self) -> (u64, u64, u64) {
        self.lock().special().into()
    }
}
