//! Text over the border: strings and token ids are copied once, while the GIL is held; then all work is on the copy.
//!
//! Defaults and documentation live in `python/seqloss_rs/text.py`.

use numpy::{IntoPyArray, PyArray1, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList, PyString, PyTuple};

use super::arguments::{flag, integer, integer_array, integers, reducer, word};
use super::{enter, guarded};
use crate::error::{Error, subscript};
use crate::input::{Argument, Integers};
use crate::reduction::{Reduced, Reduction, TEXT};
use crate::text::bleu::Bleu;
use crate::text::error_rate::ErrorRate;
use crate::text::rouge::{Measure, Rouge, mean};
use crate::text::tokens::{Arena, Pairs, Texts};
use crate::text::{Level, Metric, WORK_PER_BYTE, check, loss, scores, statistics, sum};

type Object<'py> = Bound<'py, PyAny>;

/// A metric with checked options.
#[pyclass(frozen, module = "seqloss_rs")]
pub(super) struct TextMetric(Kind);

enum Kind {
    Bleu(Bleu),
    Rouge(Rouge),
    ErrorRate(ErrorRate),
}

/// Calls the body with the metric, whichever it is.
macro_rules! with_metric {
    ($kind:expr, $metric:ident => $body:expr) => {
        match $kind {
            Kind::Bleu($metric) => $body,
            Kind::Rouge($metric) => $body,
            Kind::ErrorRate($metric) => $body,
        }
    };
}

#[pyfunction]
pub(super) fn bleu<'py>(
    max_order: &Object<'py>,
    smoothing: &Object<'py>,
    effective_order: Option<Object<'py>>,
    tokenize: &Object<'py>,
    lowercase: &Object<'py>,
) -> PyResult<TextMetric> {
    let effective_order = effective_order.map(|object| flag("effective_order", &object)).transpose()?;
    let (smoothing, tokenize) = (word("smoothing", smoothing)?, word("tokenize", tokenize)?);
    let (max_order, lowercase) = (integer("max_order", max_order)?, flag("lowercase", lowercase)?);
    Ok(TextMetric(Kind::Bleu(Bleu::new(max_order, &smoothing, effective_order, &tokenize, lowercase)?)))
}

#[pyfunction]
pub(super) fn rouge(variant: &Object<'_>, measure: &Object<'_>, stem: &Object<'_>) -> PyResult<TextMetric> {
    let (variant, measure) = (word("variant", variant)?, word("measure", measure)?);
    Ok(TextMetric(Kind::Rouge(Rouge::new(&variant, &measure, flag("stem", stem)?)?)))
}

#[pyfunction]
pub(super) fn error_rate(unit: &Object<'_>) -> PyResult<TextMetric> {
    Ok(TextMetric(Kind::ErrorRate(ErrorRate::new(&word("unit", unit)?)?)))
}

#[pymethods]
impl TextMetric {
    /// The loss of each pair, or what a reduction makes of them.
    fn loss<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        lengths: Option<&Object<'py>>,
        reference_lengths: Option<&Object<'py>>,
        reduction: &Object<'py>,
        normalizer: Option<&Object<'py>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let reducer = reducer(reduction, normalizer, TEXT)?;
            let pairs = self.pairs(hypotheses, references, lengths, reference_lengths)?;
            let reduced = with_metric!(&self.0, metric => enter(py, work(&pairs), |watch| {
                let rows = statistics(metric, &pairs, watch)?;
                let losses = match reducer.reduction() {
                    Reduction::Corpus => vec![loss(metric.corpus(&rows)?)],
                    _ => scores(metric, &rows).into_iter().map(loss).collect(),
                };
                // A pair is one term, whatever its length.
                Ok(reducer.of_terms(losses))
            }))?;
            match reduced {
                Reduced::Number(number) => Ok(PyFloat::new(py, number).into_any()),
                Reduced::Sequences(losses) => Ok(losses.into_pyarray(py).into_any()),
                Reduced::Terms => unreachable!("the losses of pairs are returned as those of sequences"),
            }
        })
    }

    /// The score of each pair, as its users know it.
    fn sentences<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        lengths: Option<&Object<'py>>,
        reference_lengths: Option<&Object<'py>>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        guarded(|| {
            let pairs = self.pairs(hypotheses, references, lengths, reference_lengths)?;
            let mut scores = with_metric!(&self.0, metric => enter(py, work(&pairs), |watch| {
                Ok(scores(metric, &statistics(metric, &pairs, watch)?))
            }))?;
            if let Kind::Bleu(_) = self.0 {
                for score in &mut scores {
                    *score *= PERCENT;
                }
            }
            Ok(scores.into_pyarray(py))
        })
    }

    /// The row of each pair.
    fn statistics<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        lengths: Option<&Object<'py>>,
        reference_lengths: Option<&Object<'py>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let pairs = self.pairs(hypotheses, references, lengths, reference_lengths)?;
            let rows = self.rows(py, &pairs)?;
            Ok(rows.into_pyarray(py).reshape([pairs.len(), self.width()])?.into_any())
        })
    }

    /// The corpus score and its parts.
    fn corpus<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        lengths: Option<&Object<'py>>,
        reference_lengths: Option<&Object<'py>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let pairs = self.pairs(hypotheses, references, lengths, reference_lengths)?;
            self.parts(py, &self.rows(py, &pairs)?)
        })
    }

    /// The same from rows, or from one row that is their sum.
    fn score_statistics<'py>(&self, py: Python<'py>, rows: &Object<'py>) -> PyResult<Object<'py>> {
        guarded(|| {
            let Integers { values, shape } = integer_array("rows", rows)?;
            let width = self.width();
            // An empty list has no second axis.
            if !matches!(shape[..], [_, columns] if columns == width) && shape != [width] && shape != [0] {
                return Err(Error::shape("rows", &shape, format!("(N, {width}) or ({width},)")).into());
            }
            with_metric!(&self.0, metric => check(metric, &values))?;
            self.parts(py, &values)
        })
    }
}

/// BLEU is told on sacrebleu's scale.
const PERCENT: f64 = 100.0;

impl TextMetric {
    fn width(&self) -> usize {
        with_metric!(&self.0, metric => metric.width())
    }

    fn rows(&self, py: Python<'_>, pairs: &Pairs) -> PyResult<Vec<i64>> {
        with_metric!(&self.0, metric => enter(py, work(pairs), |watch| statistics(metric, pairs, watch)))
    }

    fn parts<'py>(&self, py: Python<'py>, rows: &[i64]) -> PyResult<Object<'py>> {
        match &self.0 {
            Kind::Bleu(bleu) => {
                let row = sum(rows, self.width())?;
                let parts = bleu.parts(&row, Level::Corpus);
                let precisions = PyTuple::new(py, parts.precisions.iter().map(|precision| PERCENT * precision))?;
                let counts = PyTuple::new(py, row)?;
                (PERCENT * parts.score, precisions, parts.brevity_penalty, counts).into_bound_py_any(py)
            }
            Kind::Rouge(rouge) => {
                let means = [Measure::Precision, Measure::Recall, Measure::F].map(|measure| mean(measure, rows));
                (rouge.corpus(rows)?, means[0], means[1], means[2]).into_bound_py_any(py)
            }
            Kind::ErrorRate(rate) => {
                let row = sum(rows, self.width())?;
                (rate.score(&row, Level::Corpus), PyTuple::new(py, row)?).into_bound_py_any(py)
            }
        }
    }

    fn pairs<'py>(
        &self,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        lengths: Option<&Object<'py>>,
        reference_lengths: Option<&Object<'py>>,
    ) -> PyResult<Pairs> {
        let hypotheses = items("hypotheses", hypotheses)?;
        let references = items("references", references)?;
        let pairs = if hypotheses.are_strings() {
            for (name, lengths) in [("lengths", lengths), ("reference_lengths", reference_lengths)] {
                if lengths.is_some() {
                    let message = format!("{name} goes with token ids, and hypotheses are strings");
                    return Err(Error::Type(message).into());
                }
            }
            pairs_of_strings(&hypotheses, &references)?
        } else {
            pairs_of_ids(&hypotheses, &references, lengths, reference_lengths)?
        };
        let wants_strings = match &self.0 {
            Kind::Bleu(bleu) if bleu.lowercase() => "lowercase",
            Kind::Rouge(rouge) if rouge.stem() => "stem",
            _ => return Ok(pairs),
        };
        if pairs.are_ids() && !pairs.is_empty() {
            let message = format!("{wants_strings} is True, which goes with strings, and hypotheses are token ids");
            return Err(Error::Value(message).into());
        }
        Ok(pairs)
    }
}

fn work(pairs: &Pairs) -> usize {
    pairs.bytes().saturating_mul(WORK_PER_BYTE)
}

/// What `hypotheses` or `references` holds.
enum Items<'py> {
    List(Vec<Object<'py>>),
    Array(Object<'py>),
}

impl Items<'_> {
    /// By the first item; an empty list may be either.
    fn are_strings(&self) -> bool {
        matches!(self, Self::List(items) if begins_with_string(items))
    }
}

fn begins_with_string(items: &[Object<'_>]) -> bool {
    items.first().is_some_and(PyAnyMethods::is_instance_of::<PyString>)
}

/// A list as its items; anything else as an array, or as its items if they are strings.
fn items<'py>(name: &str, object: &Object<'py>) -> PyResult<Items<'py>> {
    if let Some(items) = list(object) {
        return Ok(Items::List(items));
    }
    if object.is_instance_of::<PyString>() {
        let message = format!("{name} is a single string, expected a list of them: [{name}]");
        return Err(Error::Type(message).into());
    }
    let is_object_array = |array: &Bound<'py, PyUntypedArray>| matches!(array.dtype().kind(), b'U' | b'O' | b'T');
    // A NumPy array of strings, or what can turn into one.
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => Some(array.clone()),
        Err(_) if object.hasattr("__array__")? => object.call_method0("__array__")?.cast_into::<PyUntypedArray>().ok(),
        Err(_) => None,
    };
    match array {
        Some(array) if is_object_array(&array) && array.ndim() == 1 => {
            Ok(Items::List(list(&array.call_method0("tolist")?).unwrap_or_default()))
        }
        Some(_) => Ok(Items::Array(object.clone())),
        None => {
            let kind = object.get_type().name()?;
            Err(Error::Type(format!("{name} has type {kind}, expected a list of strings, or token ids")).into())
        }
    }
}

/// The items of a list or tuple.
fn list<'py>(object: &Object<'py>) -> Option<Vec<Object<'py>>> {
    match (object.cast::<PyList>(), object.cast::<PyTuple>()) {
        (Ok(list), _) => Some(list.iter().collect()),
        (_, Ok(tuple)) => Some(tuple.iter().collect()),
        _ => None,
    }
}

/// Collects strings into one.
#[derive(Default)]
struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    /// `index` is where the string was found.
    fn push(&mut self, name: &str, index: &[usize], object: &Object<'_>) -> PyResult<()> {
        // As the caller would write it: references[3][0].
        let place = || index.iter().fold(name.to_owned(), |name, &index| subscript(&name, &[index]));
        let Ok(string) = object.cast::<PyString>() else {
            let kind = object.get_type().name()?;
            return Err(Error::Type(format!("{} has type {kind}, expected a string", place())).into());
        };
        let Ok(text) = string.to_str() else {
            let message = format!("{} holds a lone surrogate, which is not a character", place());
            return Err(Error::Value(message).into());
        };
        self.text.try_reserve(text.len()).map_err(|_| Error::Memory(self.text.len() + text.len()))?;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        Ok(())
    }

    fn finish(self) -> Texts {
        Texts::Strings(Arena::new(self.text, self.ends))
    }
}

fn pairs_of_strings(hypotheses: &Items<'_>, references: &Items<'_>) -> PyResult<Pairs> {
    let (Items::List(hypotheses), Items::List(references)) = (hypotheses, references) else {
        let message = "references is an array, expected strings or lists of strings, as hypotheses are strings";
        return Err(Error::Type(message.into()).into());
    };
    let mut collected = Strings::default();
    for (index, object) in hypotheses.iter().enumerate() {
        collected.push("hypotheses", &[index], object)?;
    }
    let hypotheses = collected.finish();
    let mut collected = Strings::default();
    let mut counts = Vec::with_capacity(references.len());
    for (index, object) in references.iter().enumerate() {
        if let Some(several) = list(object) {
            for (inner, object) in several.iter().enumerate() {
                collected.push("references", &[index, inner], object)?;
            }
            counts.push(several.len());
        } else if object.is_instance_of::<PyString>() {
            collected.push("references", &[index], object)?;
            counts.push(1);
        } else {
            let kind = object.get_type().name()?;
            let message = format!("references[{index}] has type {kind}, expected a string or a list of strings");
            return Err(Error::Type(message).into());
        }
    }
    Ok(Pairs::new(hypotheses, collected.finish(), &counts)?)
}

/// Collects token ids.
#[derive(Default)]
struct Ids {
    values: Vec<i64>,
    ends: Vec<usize>,
}

impl Ids {
    /// `valid` says which of the ids count.
    fn push(
        &mut self,
        name: &str,
        object: &Object<'_>,
        valid: impl FnOnce(&[i64]) -> Result<&[i64], Error>,
    ) -> PyResult<()> {
        if object.is_instance_of::<PyString>() {
            let message = format!("{name} is a string, but hypotheses[0] is not: expected token ids");
            return Err(Error::Type(message).into());
        }
        if list(object).is_some_and(|items| begins_with_string(&items)) {
            return Err(Error::Type(format!("{name} is a list of strings, expected a string or token ids")).into());
        }
        match integers(name, object)? {
            Argument::Array(Integers { values, shape }) if shape.len() == 1 => Ok(self.extend(name, valid(&values)?)?),
            Argument::Array(Integers { shape, .. }) => Err(Error::shape(name, &shape, "(T,)").into()),
            Argument::List(_) => Err(Error::Type(format!("{name} is a nested list, expected token ids")).into()),
        }
    }

    fn extend(&mut self, name: &str, ids: &[i64]) -> Result<(), Error> {
        // What is beyond 64 bits with a sign comes in as the largest that is not.
        if let Some(index) = ids.iter().position(|&id| id == i64::MAX) {
            let message = format!("{name} holds an id of 2**63 - 1 or more at {index}, expected smaller ones");
            return Err(Error::Value(message));
        }
        self.values.try_reserve(ids.len()).map_err(|_| Error::Memory(8 * (self.values.len() + ids.len())))?;
        self.values.extend_from_slice(ids);
        self.ends.push(self.values.len());
        Ok(())
    }

    /// The rows of one array, or one array after another.
    fn read(&mut self, name: &str, items: &Items<'_>, lengths: &Lengths) -> PyResult<()> {
        match items {
            Items::Array(object) => {
                let Argument::Array(Integers { values, shape }) = integers(name, object)? else {
                    return Err(Error::Type(format!("{name} is a list of arrays, expected one array")).into());
                };
                let &[rows, columns] = &shape[..] else {
                    return Err(Error::shape(name, &shape, "(N, T)").into());
                };
                lengths.must_be(rows)?;
                for row in 0..rows {
                    let values = &values[row * columns..(row + 1) * columns];
                    self.extend(&subscript(name, &[row]), lengths.valid(row, values)?)?;
                }
                Ok(())
            }
            Items::List(items) => {
                lengths.must_be(items.len())?;
                for (index, object) in items.iter().enumerate() {
                    self.push(&subscript(name, &[index]), object, |ids| lengths.valid(index, ids))?;
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Texts {
        Texts::Ids(Arena::new(self.values, self.ends))
    }
}

/// How many ids of each text count, if it is said.
struct Lengths {
    name: &'static str,
    values: Option<Vec<i64>>,
}

impl Lengths {
    fn new(name: &'static str, object: Option<&Object<'_>>) -> PyResult<Self> {
        let values = match object {
            None => None,
            Some(object) => match integer_array(name, object)? {
                Integers { values, shape } if shape.len() == 1 => Some(values),
                Integers { shape, .. } => return Err(Error::shape(name, &shape, "(N,)").into()),
            },
        };
        Ok(Self { name, values })
    }

    fn must_be(&self, texts: usize) -> Result<(), Error> {
        match &self.values {
            Some(values) if values.len() != texts => {
                Err(Error::shape(self.name, &[values.len()], format!("({texts},)")))
            }
            _ => Ok(()),
        }
    }

    /// The ids of a text that count.
    fn valid<'a>(&self, index: usize, ids: &'a [i64]) -> Result<&'a [i64], Error> {
        let Some(values) = &self.values else { return Ok(ids) };
        let length = values[index];
        usize::try_from(length)
            .ok()
            .and_then(|length| ids.get(..length))
            .ok_or_else(|| Error::range(self.name, &[index], length, format!("a length in 0..={}", ids.len())))
    }
}

fn pairs_of_ids(
    hypotheses: &Items<'_>,
    references: &Items<'_>,
    lengths: Option<&Object<'_>>,
    reference_lengths: Option<&Object<'_>>,
) -> PyResult<Pairs> {
    let mut collected = Ids::default();
    collected.read("hypotheses", hypotheses, &Lengths::new("lengths", lengths)?)?;
    let hypotheses = collected.finish();
    let lengths = Lengths::new("reference_lengths", reference_lengths)?;
    let mut collected = Ids::default();
    let several = match references {
        Items::List(items) => items.iter().map(lists_of_ids).collect::<PyResult<Vec<_>>>()?,
        Items::Array(_) => vec![],
    };
    let counts = if several.iter().any(Option::is_some) {
        if lengths.values.is_some() {
            let message =
                "reference_lengths goes with one reference for each hypothesis, and references holds lists of them";
            return Err(Error::Value(message.into()).into());
        }
        let Items::List(items) = references else { unreachable!("lists of references come in a list") };
        let mut counts = Vec::with_capacity(items.len());
        for (index, (texts, item)) in several.into_iter().zip(items).enumerate() {
            let name = subscript("references", &[index]);
            match texts {
                Some(texts) => {
                    for (inner, text) in texts.iter().enumerate() {
                        collected.push(&subscript(&name, &[inner]), text, |ids| Ok(ids))?;
                    }
                    counts.push(texts.len());
                }
                // Among lists of references an empty one holds none; it is not a text without ids.
                None if list(item).is_some_and(|ids| ids.is_empty()) => counts.push(0),
                None => {
                    collected.push(&name, item, |ids| Ok(ids))?;
                    counts.push(1);
                }
            }
        }
        counts
    } else {
        collected.read("references", references, &lengths)?;
        vec![1; collected.ends.len()]
    };
    Ok(Pairs::new(hypotheses, collected.finish(), &counts)?)
}

/// The references of one hypothesis if they are a list of texts, and not one text.
fn lists_of_ids<'py>(object: &Object<'py>) -> PyResult<Option<Vec<Object<'py>>>> {
    let Some(items) = list(object) else { return Ok(None) };
    let Some(first) = items.first() else { return Ok(None) };
    let is_text = list(first).is_some()
        || first.is_instance_of::<PyString>()
        || first.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() > 0)
        || !first.is_instance_of::<pyo3::types::PyInt>() && first.hasattr("__len__")?;
    Ok(is_text.then_some(items))
}
