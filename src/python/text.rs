//! Metrics of text over the border.
//!
//! Defaults and documentation live in `python/seqloss_rs/text.py`.

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyTuple};

use super::arguments::{flag, integer, integer_array, number, reducer, word};
use super::collect::TextArray;
use super::policy::choice;
use super::texts::{self, PreparedTexts, Read};
use super::tokenizer::{OwnTokenizer, tokenizer};
use super::{enter, guarded};
use crate::error::Error;
use crate::input::Integers;
use crate::parallel::Ticker;
use crate::reduction::{Reduced, Reduction, TEXT};
use crate::text::answers::Answers;
use crate::text::bleu::Bleu;
use crate::text::chrf::Chrf;
use crate::text::error_rate::ErrorRate;
use crate::text::gleu::Gleu;
use crate::text::nltk::NltkBleu;
use crate::text::rouge::{Measure, Rouge, mean};
use crate::text::ter::{Ter, reference_length};
use crate::text::tercom::Tercom;
use crate::text::tokens::{Pair, Pairs, Texts, read_all};
use crate::text::{Level, Metric, PERCENT, WORK_PER_BYTE, check, loss, scores_of_pairs, statistics, sum};

type Object<'py> = Bound<'py, PyAny>;

/// A metric with checked options.
#[pyclass(frozen, module = "seqloss_rs")]
pub(super) struct TextMetric(pub(super) Kind, Option<OwnTokenizer>);

pub(super) enum Kind {
    Bleu(Bleu),
    Chrf(Chrf),
    Ter(Ter),
    Rouge(Rouge),
    ErrorRate(ErrorRate),
    Gleu(Gleu),
    NltkBleu(NltkBleu),
    Answers(Answers),
}

/// Calls the body with the metric, whichever it is.
macro_rules! with_metric {
    ($kind:expr, $metric:ident => $body:expr) => {
        match $kind {
            $crate::python::text::Kind::Bleu($metric) => $body,
            $crate::python::text::Kind::Chrf($metric) => $body,
            $crate::python::text::Kind::Ter($metric) => $body,
            $crate::python::text::Kind::Rouge($metric) => $body,
            $crate::python::text::Kind::ErrorRate($metric) => $body,
            $crate::python::text::Kind::Gleu($metric) => $body,
            $crate::python::text::Kind::NltkBleu($metric) => $body,
            $crate::python::text::Kind::Answers($metric) => $body,
        }
    };
}
pub(super) use with_metric;

#[pyfunction]
pub(super) fn bleu<'py>(
    max_order: &Object<'py>,
    smoothing: &Object<'py>,
    smoothing_value: Option<Object<'py>>,
    effective_order: Option<Object<'py>>,
    tokenize: &Object<'py>,
    lowercase: &Object<'py>,
) -> PyResult<TextMetric> {
    let effective_order = effective_order.map(|object| flag("effective_order", &object)).transpose()?;
    let smoothing = word("smoothing", smoothing)?;
    let smoothing_value = smoothing_value.map(|object| number("smoothing_value", &object)).transpose()?;
    let (tokenize, own) = tokenizer("tokenize", tokenize, "none")?;
    let (max_order, lowercase) = (integer("max_order", max_order)?, flag("lowercase", lowercase)?);
    let mut bleu = Bleu::new(max_order, &smoothing, effective_order, &tokenize, lowercase)?;
    if let Some(value) = smoothing_value {
        bleu = bleu.with_smoothing_value(value)?;
    }
    Ok(TextMetric(Kind::Bleu(bleu), own.map(|own| own.of_bleu(lowercase))))
}

#[pyfunction]
pub(super) fn chrf(
    char_order: &Object<'_>,
    word_order: &Object<'_>,
    beta: &Object<'_>,
    lowercase: &Object<'_>,
    whitespace: &Object<'_>,
    eps_smoothing: &Object<'_>,
) -> PyResult<TextMetric> {
    let (char_order, word_order) = (integer("char_order", char_order)?, integer("word_order", word_order)?);
    let (beta, lowercase) = (number("beta", beta)?, flag("lowercase", lowercase)?);
    let (whitespace, eps_smoothing) = (flag("whitespace", whitespace)?, flag("eps_smoothing", eps_smoothing)?);
    Ok(TextMetric(Kind::Chrf(Chrf::new(char_order, word_order, beta, lowercase, whitespace, eps_smoothing)?), None))
}

#[pyfunction]
pub(super) fn ter(
    normalized: &Object<'_>,
    no_punct: &Object<'_>,
    asian_support: &Object<'_>,
    case_sensitive: &Object<'_>,
) -> PyResult<TextMetric> {
    let tercom = Tercom {
        normalized: flag("normalized", normalized)?,
        no_punct: flag("no_punct", no_punct)?,
        asian_support: flag("asian_support", asian_support)?,
        case_sensitive: flag("case_sensitive", case_sensitive)?,
    };
    Ok(TextMetric(Kind::Ter(Ter::new(tercom)), None))
}

#[pyfunction]
pub(super) fn rouge(
    variant: &Object<'_>,
    measure: &Object<'_>,
    stem: &Object<'_>,
    tokenize: &Object<'_>,
    multiple_references: &Object<'_>,
) -> PyResult<TextMetric> {
    let (variant, measure) = (word("variant", variant)?, word("measure", measure)?);
    let multiple_references = word("multiple_references", multiple_references)?;
    let (tokenize, own) = tokenizer("tokenize", tokenize, "unicode")?;
    let rouge = Rouge::new(&variant, &measure, flag("stem", stem)?)?
        .with_tokenizer(&tokenize)?
        .with_references(&multiple_references)?;
    let own = own.map(|own| own.of_lines(rouge.has_lines()));
    Ok(TextMetric(Kind::Rouge(rouge), own))
}

#[pyfunction]
pub(super) fn error_rate(
    unit: &Object<'_>,
    measure: &Object<'_>,
    lowercase: &Object<'_>,
    remove_punctuation: &Object<'_>,
) -> PyResult<TextMetric> {
    let ((unit, own), measure) = (tokenizer("unit", unit, "word")?, word("measure", measure)?);
    let (lowercase, remove_punctuation) =
        (flag("lowercase", lowercase)?, flag("remove_punctuation", remove_punctuation)?);
    if own.is_some() && remove_punctuation {
        let message = "remove_punctuation is True, which goes with unit=\"word\" or \"char\"";
        return Err(Error::Value(message.to_owned()).into());
    }
    let rate = ErrorRate::new(&unit, &measure, lowercase, remove_punctuation)?;
    Ok(TextMetric(Kind::ErrorRate(rate), own.map(|own| own.of_case(lowercase))))
}

/// Word error rates as they are where nothing else is asked for.
pub(super) fn word_error_rate() -> PyResult<TextMetric> {
    Ok(TextMetric(Kind::ErrorRate(ErrorRate::new("word", "wer", false, false)?), None))
}

#[pyfunction]
pub(super) fn gleu(
    min_order: &Object<'_>,
    max_order: &Object<'_>,
    tokenize: &Object<'_>,
    lowercase: &Object<'_>,
) -> PyResult<TextMetric> {
    let (min_order, max_order) = (integer("min_order", min_order)?, integer("max_order", max_order)?);
    let ((tokenize, own), lowercase) = (tokenizer("tokenize", tokenize, "none")?, flag("lowercase", lowercase)?);
    let gleu = Gleu::new(min_order, max_order, &tokenize, lowercase)?;
    Ok(TextMetric(Kind::Gleu(gleu), own.map(|own| own.of_bleu(lowercase))))
}

#[pyfunction]
pub(super) fn nltk_bleu(
    weights: Vec<f64>,
    method: &Object<'_>,
    epsilon: &Object<'_>,
    alpha: &Object<'_>,
    k: &Object<'_>,
    tokenize: &Object<'_>,
    lowercase: &Object<'_>,
) -> PyResult<TextMetric> {
    let constants = [number("epsilon", epsilon)?, number("alpha", alpha)?, number("k", k)?];
    let (method, (tokenize, own)) = (integer("method", method)?, tokenizer("tokenize", tokenize, "none")?);
    let lowercase = flag("lowercase", lowercase)?;
    let bleu = NltkBleu::new(weights, method, constants, &tokenize, lowercase)?;
    Ok(TextMetric(Kind::NltkBleu(bleu), own.map(|own| own.of_bleu(lowercase))))
}

#[pyfunction]
pub(super) fn answers(exact: bool, normalize: &Object<'_>) -> PyResult<TextMetric> {
    let all = [Answers::Exact, Answers::Stripped];
    let compared = choice("normalize", &word("normalize", normalize)?, &["squad", "strip"], &all)?;
    Ok(TextMetric(Kind::Answers(if exact { compared } else { Answers::F1 }), None))
}

#[pymethods]
impl TextMetric {
    /// The loss of each pair, or what a reduction makes of them.
    fn loss<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        layout: Option<&Bound<'py, PyDict>>,
        reduction: &Object<'py>,
        normalizer: Option<&Object<'py>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let reducer = reducer(reduction, normalizer, TEXT)?;
            let Read { pairs, axes, .. } = self.read(hypotheses, references, layout)?;
            let reduced = with_metric!(&self.0, metric => enter(py, work(&pairs), |watch| {
                let metric = &*metric.for_pairs(&pairs);
                let losses = match reducer.reduction() {
                    Reduction::Corpus => vec![loss(metric.corpus(&statistics(metric, &pairs, watch)?)?)],
                    _ => scores_of_pairs(metric, &pairs, watch)?.into_iter().map(loss).collect(),
                };
                // A pair is one term, whatever its length.
                Ok(reducer.of_terms(losses))
            }))?;
            match reduced {
                Reduced::Number(number) => Ok(PyFloat::new(py, number).into_any()),
                Reduced::Sequences(losses) => Ok(losses.into_pyarray(py).reshape(axes)?.into_any()),
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
        layout: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let Read { pairs, axes, .. } = self.read(hypotheses, references, layout)?;
            let mut scores = with_metric!(&self.0, metric => enter(py, work(&pairs), |watch| {
                let metric = &*metric.for_pairs(&pairs);
                scores_of_pairs(metric, &pairs, watch)
            }))?;
            for score in &mut scores {
                *score *= self.scale();
            }
            Ok(scores.into_pyarray(py).reshape(axes)?.into_any())
        })
    }

    /// The row of each pair.
    pub(super) fn statistics<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        layout: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let Read { pairs, axes, .. } = self.read(hypotheses, references, layout)?;
            let (rows, width) = self.rows(py, &pairs)?;
            let axes = [&axes[..], &[width]].concat();
            Ok(rows.into_pyarray(py).reshape(axes)?.into_any())
        })
    }

    /// References that are read once for many calls.
    fn prepare<'py>(&self, references: &Object<'py>, layout: Option<&Bound<'py, PyDict>>) -> PyResult<PreparedTexts> {
        guarded(|| {
            let prepared = PreparedTexts::new("references", references, layout, self.own())?;
            self.suits("references", prepared.are_ids())?;
            Ok(prepared)
        })
    }

    /// The corpus score and its parts.
    fn corpus<'py>(
        &self,
        py: Python<'py>,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        layout: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Object<'py>> {
        guarded(|| {
            let Read { pairs, .. } = self.read(hypotheses, references, layout)?;
            let (rows, width) = self.rows(py, &pairs)?;
            self.parts(py, &rows, width)
        })
    }

    /// The same from rows, or from one row that is their sum.
    fn score_statistics<'py>(&self, py: Python<'py>, rows: &Object<'py>) -> PyResult<Object<'py>> {
        guarded(|| {
            let Integers { values, shape } = integer_array("rows", rows)?;
            let columns = match shape[..] {
                // An empty list has no second axis.
                [0] => self.width(),
                [columns] | [_, columns] => columns,
                _ => 0,
            };
            with_metric!(&self.0, metric => {
                let width = metric.width();
                let metric = metric.with_width(columns);
                let metric = metric
                    .as_deref()
                    .ok_or_else(|| Error::shape("rows", &shape, format!("(N, {width}) or ({width},)")))?;
                check(metric, "rows", &values)?;
            });
            self.parts(py, &values, columns)
        })
    }
}

impl TextMetric {
    pub(super) fn scale(&self) -> f64 {
        with_metric!(&self.0, metric => metric.scale())
    }

    pub(super) fn width(&self) -> usize {
        with_metric!(&self.0, metric => metric.width())
    }

    /// The rows, and how wide they are.
    fn rows(&self, py: Python<'_>, pairs: &Pairs) -> PyResult<(Vec<i64>, usize)> {
        with_metric!(&self.0, metric => {
            let metric = &*metric.for_pairs(pairs);
            let rows = enter(py, work(pairs), |watch| statistics(metric, pairs, watch))?;
            Ok((rows, metric.width()))
        })
    }

    fn parts<'py>(&self, py: Python<'py>, rows: &[i64], width: usize) -> PyResult<Object<'py>> {
        match &self.0 {
            Kind::Bleu(bleu) => {
                let row = sum(rows, width)?;
                let parts = bleu.parts(&row, Level::Corpus);
                let precisions = PyTuple::new(py, parts.precisions.iter().map(|precision| PERCENT * precision))?;
                let counts = PyTuple::new(py, row)?;
                (PERCENT * parts.score, precisions, parts.brevity_penalty, counts).into_bound_py_any(py)
            }
            Kind::Chrf(chrf) => {
                let row = sum(rows, width)?;
                (PERCENT * chrf.score(&row, Level::Corpus)).into_bound_py_any(py)
            }
            Kind::Ter(ter) => {
                let row = sum(rows, width)?;
                (PERCENT * ter.score(&row, Level::Corpus), row[0], reference_length(&row)).into_bound_py_any(py)
            }
            Kind::Rouge(rouge) => {
                let all = [rouge.measure(), Measure::Precision, Measure::Recall, Measure::F];
                let means = all.map(|measure| mean(measure, rows, width));
                means.into_bound_py_any(py)
            }
            Kind::ErrorRate(_) | Kind::Gleu(_) | Kind::NltkBleu(_) => {
                let row = sum(rows, width)?;
                let score = with_metric!(&self.0, metric => metric.score(&row, Level::Corpus));
                (score, PyTuple::new(py, row)?).into_bound_py_any(py)
            }
            Kind::Answers(answers) => (answers.corpus(rows)?, rows.len() / width).into_bound_py_any(py),
        }
    }

    /// All texts of these parts, with numbers in common.
    pub(super) fn read_all(&self, parts: &[&Texts], ticker: &Ticker<'_>) -> Result<Pair, Error> {
        let mut all = Pair::default();
        let parts = parts.iter().map(|&texts| (texts, 0..texts.len()));
        with_metric!(&self.0, metric => read_all(parts, |text, reader| metric.read(text, reader), &mut all, ticker))?;
        Ok(all)
    }

    pub(super) fn read<'py>(
        &self,
        hypotheses: &Object<'py>,
        references: &Object<'py>,
        layout: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Read> {
        let read = texts::read(hypotheses, references, layout, self.own())?;
        self.suits("hypotheses", read.pairs.are_ids() && !read.pairs.is_empty())?;
        Ok(read)
    }

    /// Texts that are compared with one another, or with nothing.
    pub(super) fn read_alone<'py>(
        &self,
        name: &str,
        texts: &Object<'py>,
        layout: &Bound<'py, PyDict>,
    ) -> PyResult<TextArray> {
        let read = texts::read_alone(name, texts, layout, self.own())?;
        self.suits(name, read.texts.are_ids() && !read.texts.is_empty())?;
        Ok(read)
    }

    /// The caller's tokenizer, if it is not one of the metric's.
    pub(super) fn own(&self) -> Option<&OwnTokenizer> {
        self.1.as_ref()
    }

    /// Complains of token ids where an option needs strings. A tokenizer of the caller's does so itself, and makes ids.
    pub(super) fn suits(&self, name: &str, are_ids: bool) -> Result<(), Error> {
        let are_ids = are_ids && self.1.is_none();
        let wants_strings = with_metric!(&self.0, metric => metric.wants_strings());
        match wants_strings {
            Some(wants_strings) if are_ids => {
                let message = format!("{wants_strings}, which goes with strings, and {name} are token ids");
                Err(Error::Value(message))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn work(pairs: &Pairs) -> usize {
    pairs.bytes().saturating_mul(WORK_PER_BYTE)
}
