//! The border: nothing outside this folder knows that Python exists.
//!
//! Arguments come in through [`arguments`], work passes the one gate [`enter`], results leave through [`answer`].

mod advantages;
mod answer;
mod arguments;
mod array;
mod collect;
mod corpora;
mod ctc;
mod decoding;
mod error;
mod expected;
mod fork;
mod losses;
mod matrix;
mod n_best;
mod pointwise;
mod policy;
mod resample;
mod sum;
mod text;
mod text_details;
mod texts;
mod tokenizer;
mod tokens;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;

use crate::error::Error;
use crate::parallel::{self, Watch};

/// Work below this many numbers read keeps the GIL: giving it up and taking it back costs as much as such work.
const LITTLE_WORK: usize = 4096;

/// The gate: every computation passes here. Python goes on with its other threads, Ctrl-C is answered, and an [`Error`]
/// becomes its exception.
fn enter<R: Send>(
    py: Python<'_>,
    work: usize,
    compute: impl FnOnce(&Watch<'_>) -> Result<R, Error> + Send,
) -> PyResult<R> {
    complain(py)?;
    if work < LITTLE_WORK {
        return Ok(compute(&Watch::never())?);
    }
    // What was asked for before, while arguments were read, comes first.
    py.check_signals()?;
    fork::register();
    let (outcome, signal) = py.detach(|| {
        let signal = RefCell::new(None);
        #[expect(clippy::redundant_closure_for_method_calls, reason = "the method lives for one lifetime only")]
        let check = || match Python::attach(|py| py.check_signals()) {
            Ok(()) => false,
            Err(error) => {
                signal.replace(Some(error));
                true
            }
        };
        let outcome = compute(&Watch::new(&check));
        (outcome, signal.take())
    });
    match signal {
        Some(signal) => Err(signal),
        None => Ok(outcome?),
    }
}

/// Asks now and then, in a loop over objects, whether somebody wants it to stop.
fn look(py: Python<'_>, item: usize) -> PyResult<()> {
    if item % 4096 == 4095 { py.check_signals() } else { Ok(()) }
}

/// What every function of the border is wrapped in: a panic is a bug, and becomes an `InternalError`.
fn guarded<R>(body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(error::internal(&*panic)))
}

/// Warns of variables that hold nothing sensible, once.
fn complain(py: Python<'_>) -> PyResult<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    for complaint in [parallel::complaint(), crate::simd::complaint()].into_iter().flatten() {
        let category = py.get_type::<PyRuntimeWarning>();
        let complaint = std::ffi::CString::new(complaint).unwrap_or_default();
        PyErr::warn(py, &category, &complaint, 2)?;
    }
    Ok(())
}

/// What `seqloss_rs._native` exports.
#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    use super::{arguments, complain, parallel};
    use crate::error::Error;

    #[pymodule_export]
    use super::corpora::{cider_d, distinct_ngrams, self_bleu};
    #[pymodule_export]
    use super::ctc::{ctc_label_posteriors, ctc_loss, ctc_posteriors};
    #[pymodule_export]
    use super::decoding::{ctc_align, ctc_beam_decode, ctc_feasible, ctc_greedy_decode};
    #[pymodule_export]
    use super::error::InternalError;
    #[pymodule_export]
    use super::expected::expected_loss;
    #[pymodule_export]
    use super::losses::{cross_entropy_loss, policy_gradient_logits, reinforce_loss, token_log_probs};
    #[pymodule_export]
    use super::matrix::{minimum_bayes_risk, pairwise, prefix_scores};
    #[pymodule_export]
    use super::pointwise::{gaussian_nll_loss, interval_coverage, pointwise_loss};
    #[pymodule_export]
    use super::policy::policy_loss;
    #[pymodule_export]
    use super::resample::Segments;
    #[pymodule_export]
    use super::sum::LossSum;
    #[pymodule_export]
    use super::text::{TextMetric, answers, bleu, chrf, error_rate, gleu, nltk_bleu, rouge, ter};
    #[pymodule_export]
    use super::text_details::{error_rate_align, rouge_scores, rouge_tokens};
    #[pymodule_export]
    use super::texts::PreparedTexts;
    #[pymodule_export]
    use super::tokens::{tokenize, tokenize_tercom};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // NumPy's own table is looked up once; where that comes late, Ctrl-C may meet it, and it is a panic there.
        numpy::dtype::<f64>(module.py());
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Sets the number of threads.
    #[pyfunction]
    fn set_num_threads(threads: &Bound<'_, PyAny>) -> PyResult<()> {
        let number = arguments::integer("threads", threads)?;
        if parallel::set_threads(usize::try_from(number).unwrap_or(0)).is_err() {
            let message = format!("threads is {threads}, which is not in 1..={}", parallel::MAX_THREADS);
            return Err(Error::Value(message).into());
        }
        Ok(())
    }

    /// (number of threads, what says so)
    #[pyfunction]
    fn num_threads(py: Python<'_>) -> PyResult<(usize, &'static str)> {
        complain(py)?;
        Ok(parallel::threads())
    }

    /// The name of the instruction set in use.
    #[pyfunction]
    fn simd() -> &'static str {
        crate::simd::name()
    }
}
