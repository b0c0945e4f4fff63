//! The errors of n-best lists: the answers and what is right, in whatever nesting they come.

use numpy::{PyUntypedArray, PyUntypedArrayMethods, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList};

use super::arguments::{integer_array, refuse_masked};
use super::collect::{Items, items, list};
use super::text::word_error_rate;
use crate::error::{Error, tuple};
use crate::input::{Integers, PerStep, Structure};

type Object<'py> = Bound<'py, PyAny>;

/// The lists, and which of their answers there are.
pub(super) struct NBest<'a> {
    pub(super) structure: &'a Structure,
    pub(super) valid: &'a PerStep<bool>,
}

/// Texts one after another.
enum Texts<'py> {
    /// None for one that is not looked at.
    List(Vec<Option<Object<'py>>>),
    /// Ids, with two axes.
    Array(Bound<'py, PyUntypedArray>),
}

impl NBest<'_> {
    /// Substitutions, deletions and insertions of each answer that there is; 0 for others, which are not looked at.
    pub(super) fn word_errors<'py>(
        &self,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        [lengths, reference_lengths]: [Option<&Object<'py>>; 2],
        ids: [(&str, Option<Object<'py>>); 2],
    ) -> PyResult<PerStep<f64>> {
        let py = hypotheses.py();
        let mut costs = PerStep::filled(self.structure, 0.0);
        let (lists, answers) = (self.structure.sequences(), self.valid.all().len());
        let there: Vec<usize> = (0..answers).filter(|&answer| self.valid.all()[answer]).collect();
        if there.is_empty() {
            return Ok(costs);
        }
        let hypotheses = self.hypotheses(hypotheses)?;
        let references = self.references(references)?;
        let layout = PyDict::new(py);
        for (name, id) in ids {
            layout.set_item(name, id)?;
        }
        // Lists that are whole and of one length share their references; of others each answer has its own.
        let own_reference = references.len() != lists;
        let answers_of_each = self.structure.steps[0];
        let are_whole = there.len() == answers && self.structure.steps.iter().all(|&steps| steps == answers_of_each);
        let places: Vec<usize> = match (own_reference, are_whole) {
            (true, _) => there.clone(),
            (false, true) => {
                layout.set_item("rollouts", answers_of_each)?;
                (0..lists).collect()
            }
            (false, false) => {
                let all = self.structure.steps.iter().enumerate();
                let list_of_each: Vec<_> = all.flat_map(|(list, &steps)| std::iter::repeat_n(list, steps)).collect();
                there.iter().map(|&answer| list_of_each[answer]).collect()
            }
        };
        let mut shapes = vec![vec![answers]];
        if !self.structure.ragged {
            shapes.push(self.structure.shape(&[]));
        }
        if let Some(lengths) = lengths {
            layout.set_item("lengths", chosen("lengths", lengths, &shapes, &there)?.to_pyarray(py))?;
        }
        if let Some(lengths) = reference_lengths {
            let mut shapes = vec![vec![references.len()]];
            if references.len() == 1 {
                shapes.push(vec![]);
            }
            layout.set_item(
                "reference_lengths",
                chosen("reference_lengths", lengths, &shapes, &places)?.to_pyarray(py),
            )?;
        }
        let (hypotheses, references) = (hypotheses.chosen(py, &there)?, references.chosen(py, &places)?);
        let rows = word_error_rate()?.statistics(py, &hypotheses, &references, Some(&layout))?;
        // Substitutions, deletions and insertions come after hits.
        let rows = integer_array("hypotheses", &rows)?.values;
        for (&answer, row) in there.iter().zip(rows.chunks(4)) {
            costs.all_mut()[answer] = row[1..].iter().sum::<i64>() as f64;
        }
        Ok(costs)
    }

    /// One after another: as they come, or list by list.
    fn hypotheses<'py>(&self, object: &Object<'py>) -> PyResult<Texts<'py>> {
        let (lists, answers) = (self.structure.sequences(), self.valid.all().len());
        let mut all = match items("hypotheses", object)? {
            Items::Array(object) => return self.array("hypotheses", &object, answers),
            Items::List(all) | Items::Strings { rows: all, .. } => all,
        };
        // A list of a single answer holds the text; a list in its place holds a list of texts, or is itself a text of ids.
        let is_nested = all.len() == lists && (answers != lists || all.iter().all(holds_texts));
        if !is_nested {
            if all.len() != answers {
                let each = format!("one for each of log_probs, or a list for each of {lists} n-best lists");
                let message = format!("hypotheses has length {}, expected {answers}, {each}", all.len());
                return Err(Error::Value(message).into());
            }
            return Ok(Texts::List(all.into_iter().map(Some).collect()));
        }
        let mut flat = Vec::with_capacity(answers);
        for (index, item) in all.drain(..).enumerate() {
            let valid = self.valid.of(index);
            if !valid.contains(&true) {
                flat.extend(valid.iter().map(|_| None));
                continue;
            }
            let texts = match list(&item) {
                Some(texts) => texts,
                None => item.try_iter()?.collect::<PyResult<_>>()?,
            };
            if texts.len() != valid.len() {
                let (count, expected) = (texts.len(), valid.len());
                let message =
                    format!("hypotheses[{index}] has length {count}, expected {expected}, one for each of log_probs");
                return Err(Error::Value(message).into());
            }
            flat.extend(texts.into_iter().map(Some));
        }
        Ok(Texts::List(flat))
    }

    /// One for each list, or for each answer.
    fn references<'py>(&self, object: &Object<'py>) -> PyResult<Texts<'py>> {
        let (lists, answers) = (self.structure.sequences(), self.valid.all().len());
        let texts = match items("references", object)? {
            Items::Array(object) => self.array("references", &object, lists)?,
            // Of a single list, the ids of a text are that text.
            Items::List(all) if lists == 1 && all.iter().all(PyAnyMethods::is_instance_of::<PyInt>) => {
                Texts::List(vec![Some(object.clone())])
            }
            Items::List(all) | Items::Strings { rows: all, .. } => Texts::List(all.into_iter().map(Some).collect()),
        };
        if ![lists, answers].contains(&texts.len()) {
            let each = format!("one for each n-best list (or {answers}, one for each hypothesis)");
            let message = format!("references has length {}, expected {lists}, {each}", texts.len());
            return Err(Error::Value(message).into());
        }
        Ok(texts)
    }

    /// Ids whose last axis is that of a text.
    fn array<'py>(&self, name: &str, object: &Object<'py>, texts: usize) -> PyResult<Texts<'py>> {
        let array = object.py().import("numpy")?.call_method1("asarray", (object,))?.cast_into::<PyUntypedArray>()?;
        refuse_masked(name, object.cast::<PyUntypedArray>().unwrap_or(&array))?;
        let shape = array.shape();
        let is_one = self.structure.outer.is_empty();
        let Some((&columns, outer)) = shape.split_last() else {
            return Err(Error::shape(name, shape, "an axis of ids").into());
        };
        let axes = self.structure.shape(&[]);
        let fits = match name {
            "hypotheses" => {
                let is_like_log_probs = !self.structure.ragged && (outer == axes || is_one && outer == [1, axes[0]]);
                outer == [texts] || is_like_log_probs
            }
            // How many there must be is looked at later.
            _ => outer.len() == 1 || is_one && outer.is_empty(),
        };
        if !fits {
            let expected = match (name, self.structure.ragged) {
                ("hypotheses", false) => tuple(&axes).trim_end_matches([')', ',']).to_owned() + ", T)",
                ("hypotheses", true) => format!("({texts}, T)"),
                _ => format!("({texts}, R)"),
            };
            return Err(Error::shape(name, shape, expected).into());
        }
        let rows: usize = outer.iter().product();
        Ok(Texts::Array(array.call_method1("reshape", ((rows, columns),))?.cast_into()?))
    }
}

/// Whether something is a list of texts, and not a text.
fn holds_texts(item: &Object<'_>) -> bool {
    let is_list = |object: &Object<'_>| list(object).is_some() || object.hasattr("ndim").unwrap_or(false);
    match list(item) {
        Some(texts) => texts.first().is_some_and(|text| is_list(text) && text.len().is_ok()),
        None => item.getattr("ndim").and_then(|axes| axes.extract::<usize>()).is_ok_and(|axes| axes > 1),
    }
}

impl<'py> Texts<'py> {
    fn len(&self) -> usize {
        match self {
            Self::List(all) => all.len(),
            Self::Array(array) => array.shape()[0],
        }
    }

    /// Those of some places, in their order.
    fn chosen(&self, py: Python<'py>, places: &[usize]) -> PyResult<Object<'py>> {
        match self {
            Self::List(all) => Ok(PyList::new(py, places.iter().map(|&place| all[place].as_ref()))?.into_any()),
            Self::Array(array) if places.len() == self.len() => Ok(array.clone().into_any()),
            Self::Array(array) => array.call_method1("take", (places.to_pyarray(py), 0)),
        }
    }
}

/// The lengths of texts of some places; `shapes` are what they may come in.
fn chosen(name: &str, object: &Object<'_>, shapes: &[Vec<usize>], places: &[usize]) -> PyResult<Vec<i64>> {
    let Integers { values, shape } = integer_array(name, object)?;
    if !shapes.contains(&shape) {
        return Err(Error::shape(name, &shape, tuple(&shapes[shapes.len() - 1])).into());
    }
    Ok(places.iter().map(|&place| values[place]).collect())
}
