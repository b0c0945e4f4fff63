//! Tokenizers of the caller's: callables that take a string and return it with spaces between its tokens, or a list of them.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyEllipsis, PyList, PyString};

use super::arguments::word;
use super::collect::{Items, Kind, Place, list, string};
use crate::error::Error;

type Object<'py> = Bound<'py, PyAny>;

/// A callable, and what is done before it sees a text.
pub(super) struct OwnTokenizer {
    callable: Py<PyAny>,
    /// The option that it came as.
    pub(super) name: &'static str,
    /// It sees the text in lower case.
    lowercase: bool,
    /// It sees the text without whitespace at the end.
    strip_end: bool,
    /// It sees each line by itself.
    by_lines: bool,
}

impl OwnTokenizer {
    /// As sacrebleu calls its tokenizers.
    pub(super) fn of_bleu(self, lowercase: bool) -> Self {
        Self { lowercase, strip_end: true, ..self }
    }

    /// It sees texts in lower case, if it is that.
    pub(super) fn of_case(self, lowercase: bool) -> Self {
        Self { lowercase, ..self }
    }

    /// As rouge-score calls one for ROUGE-Lsum, if it is that.
    pub(super) fn of_lines(self, by_lines: bool) -> Self {
        Self { by_lines, ..self }
    }

    /// Complains of texts that are no strings, where an option needs some.
    pub(super) fn suits(&self, name: &str, kind: Kind, items: &Items<'_>) -> Result<(), Error> {
        let is_empty = matches!(items, Items::List(list) if list.is_empty());
        if self.lowercase && !is_empty {
            return Err(Error::Value(format!("lowercase is True, which goes with strings, and {name} are {kind}")));
        }
        Ok(())
    }

    /// Lists of texts, and lists in them, with each string as a list of its tokens; whatever else there is stays.
    pub(super) fn cut<'py>(&self, name: &str, items: &[Object<'py>]) -> PyResult<Vec<Object<'py>>> {
        let cut = |(index, object): (usize, &Object<'py>)| match list(object) {
            Some(inner) => {
                let cut = |(second, object)| self.cut_one(Place(name, &[index, second]), object);
                let texts = inner.iter().enumerate().map(cut).collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(object.py(), texts)?.into_any())
            }
            None => self.cut_one(Place(name, &[index]), object),
        };
        items.iter().enumerate().map(cut).collect()
    }

    fn cut_one<'py>(&self, place: Place<'_>, object: &Object<'py>) -> PyResult<Object<'py>> {
        if object.is_none() && place.1.len() > 1 {
            return Ok(object.clone());
        }
        string(place, object)?;
        let py = object.py();
        let tokens = PyList::empty(py);
        let call = format!("{}({place})", self.name);
        for (line, cut) in self.call(object)?.into_iter().enumerate() {
            if line > 0 && !tokens.is_empty() {
                tokens.append(PyEllipsis::get(py))?;
            }
            if let Some(cut) = list(&cut) {
                for (index, token) in cut.iter().enumerate() {
                    string(Place(&call, &[index]), token)?;
                    tokens.append(token)?;
                }
            } else if cut.is_instance_of::<PyString>() {
                string(Place(&call, &[]), &cut)?;
                tokens.call_method1("extend", (cut.call_method0("split")?,))?;
            } else {
                let kind = cut.get_type().name()?;
                let message = format!("{call} has type {kind}, expected a string or a list of strings");
                return Err(Error::Type(message).into());
            }
        }
        Ok(tokens.into_any())
    }

    /// What it makes of a text, line by line; lines without a character are left out.
    fn call<'py>(&self, text: &Object<'py>) -> PyResult<Vec<Object<'py>>> {
        let py = text.py();
        py.check_signals()?;
        let mut text = text.clone();
        if self.lowercase {
            text = text.call_method0("lower")?;
        }
        if self.strip_end {
            text = text.call_method0("rstrip")?;
        }
        let callable = self.callable.bind(py);
        if !self.by_lines {
            return Ok(vec![callable.call1((text,))?]);
        }
        let mut lines = vec![];
        for line in text.call_method1("split", ("\n",))?.try_iter()? {
            let line = line?;
            if line.len()? > 0 {
                lines.push(callable.call1((line,))?);
            }
        }
        Ok(lines)
    }
}

/// An option that is the name of a tokenizer, or a tokenizer itself; then the name is `instead`.
pub(super) fn tokenizer<'a>(
    name: &'static str,
    object: &'a Object<'_>,
    instead: &'static str,
) -> PyResult<(Cow<'a, str>, Option<OwnTokenizer>)> {
    if !object.is_callable() {
        let name = word(name, object).map_err(|_| match object.get_type().name() {
            Ok(kind) => Error::Type(format!("{name} has type {kind}, expected a string or a callable")).into(),
            Err(error) => error,
        });
        return Ok((name?, None));
    }
    let callable = object.clone().unbind();
    let own = OwnTokenizer { callable, name, lowercase: false, strip_end: false, by_lines: false };
    Ok((instead.into(), Some(own)))
}
