//! From [`Error`] to a Python exception.

use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::{PyErr, create_exception};

use crate::error::Error;

create_exception!(
    seqloss_rs,
    InternalError,
    PyRuntimeError,
    "A bug in seqloss_rs: please report the message and the call that led to it."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Type(_) => PyTypeError::new_err(message),
            Error::Memory(_) => PyMemoryError::new_err(message),
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
            Error::Range { .. } | Error::Shape { .. } | Error::Choice { .. } | Error::Value(_) => {
                PyValueError::new_err(message)
            }
        }
    }
}

/// What a panic becomes.
pub(super) fn internal(panic: &(dyn std::any::Any + Send)) -> PyErr {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    let simd = crate::simd::name();
    InternalError::new_err(format!(
        "{message} (this is a bug in seqloss_rs {version}, {simd}: please report it with the call that led to it)"
    ))
}
