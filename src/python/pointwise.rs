//! The losses of single numbers: one function for all curves that compare two numbers, one for each that has three.
//!
//! A curve is a line in the table of [`pointwise_loss`]: its word, and its parameters by name. Defaults and documentation
//! live in `python/seqloss_rs/pointwise.py`.

#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::answer::{Request, Term, answer, is_in_place};
use super::arguments::{Floats, Mask, flag, number, reducer, word};
use super::array::with_element;
use super::guarded;
use super::losses::{addresses, lengths_of};
use crate::error::{Error, subscript};
use crate::float::Element;
use crate::input::{Argument, Axes, Sequences, rows_like, rows_per_step_or_number};
use crate::losses::curves::{
    Absolute, Gaussian, GaussianOfVariance, Huber, Inside, LogCosh, One, Percentage, Poisson, PoissonOfLogarithm,
    Quantile, Quantiles, SmoothAbsolute, Squared, SquaredLogarithmic, SymmetricPercentage, TargetSize,
};
use crate::losses::pointwise::{AnyCurve, Direct, Factors, InDouble, Kernel, Other, PerNumber, Pointwise};
use crate::reduction::{NUMERIC, Reducer};

type Object<'py> = Bound<'py, PyAny>;

/// A loss of predictions and targets, by the word for its curve.
#[pyfunction]
#[pyo3(signature = (curve, gradient, predictions, targets, lengths, mask, weights, nan, reduction, normalizer, **parameters))]
pub(super) fn pointwise_loss<'py>(
    py: Python<'py>,
    curve: &str,
    gradient: Request<'py>,
    predictions: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    nan: Object<'py>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
    parameters: Option<Bound<'py, PyDict>>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let mut call =
            Call::new(gradient, reducer, ("predictions", &predictions), &targets, lengths, mask, weights, &nan)?;
        let mut with = Parameters { loss: curve, dict: parameters, read: vec![] };
        match curve {
            "mse" => call.answer(py, &Direct(Squared), with),
            "mae" => call.answer(py, &Direct(Absolute), with),
            "huber" => call.answer(py, &Direct(Huber { delta: with.above_zero("delta")? }), with),
            "smooth_l1" => call.answer(py, &Direct(SmoothAbsolute { beta: with.at_least_zero("beta")? }), with),
            "log_cosh" => call.answer(py, &InDouble(LogCosh), with),
            "msle" => call.answer(py, &InDouble(SquaredLogarithmic), with),
            "mape" => {
                let (epsilon, factor) = (with.at_least_zero("eps")?, with.above_zero("factor")?);
                call.answer(py, &InDouble(Percentage { epsilon, factor }), with)
            }
            "smape" => {
                let (scale, zero_division) =
                    (with.above_zero("scale")?, number("zero_division", &with.get("zero_division")?)?);
                call.answer(py, &InDouble(SymmetricPercentage { scale, zero_division }), with)
            }
            "poisson_nll" => {
                let (full, epsilon) = (with.flag("full")?, with.at_least_zero("eps")?);
                match with.flag("log_input")? {
                    true => call.answer(py, &InDouble(PoissonOfLogarithm { full }), with),
                    false => call.answer(py, &InDouble(Poisson { full, epsilon }), with),
                }
            }
            "quantile" => {
                let factor = with.above_zero("factor")?;
                match quantiles(&with.get("quantile")?)? {
                    Levels::One(quantile) => call.answer(py, &Direct(Quantile { quantile, factor }), with),
                    Levels::Several(levels) => {
                        call.other = Third::Columns(levels);
                        call.answer(py, &Direct(Quantiles { factor }), with)
                    }
                }
            }
            // What metrics divide by.
            "target_size" => {
                if let Levels::Several(levels) = quantiles(&with.get("quantile")?)? {
                    call.other = Third::Columns(levels);
                }
                call.answer(py, &Direct(TargetSize), with)
            }
            "one" => call.answer(py, &Direct(One), with),
            _ => Err(PyTypeError::new_err(format!("there is no curve {curve:?}"))),
        }
    })
}

/// The Gaussian loss, which can be differentiated with respect to the variances (`argnums` 2) too.
#[pyfunction]
#[pyo3(signature = (gradient, predictions, targets, variances, full, eps, lengths, mask, weights, nan, reduction, normalizer, argnums = 0))]
pub(super) fn gaussian_nll_loss<'py>(
    py: Python<'py>,
    gradient: Request<'py>,
    predictions: Object<'py>,
    targets: Object<'py>,
    variances: Object<'py>,
    full: Object<'py>,
    eps: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    nan: Object<'py>,
    reduction: Object<'py>,
    normalizer: Option<Object<'py>>,
    argnums: usize,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = reducer(&reduction, normalizer.as_ref(), NUMERIC)?;
        let gaussian = Gaussian { full: flag("full", &full)?, epsilon: above_zero("eps", &eps)? };
        let mut call =
            Call::new(gradient, reducer, ("predictions", &predictions), &targets, lengths, mask, weights, &nan)?;
        let with = Parameters { loss: "gaussian_nll", dict: None, read: vec![] };
        let variances = Floats::new("variances", &variances)?;
        if argnums == 2 {
            // The variances are what is differentiated by, and so what the others have to fit.
            let predictions = std::mem::replace(&mut call.first, variances);
            call.name = "variances";
            call.other = Third::Numbers("predictions", predictions);
            call.answer(py, &InDouble(GaussianOfVariance(gaussian)), with)
        } else {
            call.other = Third::Numbers("variances", variances);
            call.answer(py, &InDouble(gaussian), with)
        }
    })
}

/// How many targets lie from `lower` to `upper`.
#[pyfunction]
pub(super) fn interval_coverage<'py>(
    py: Python<'py>,
    lower: Object<'py>,
    upper: Object<'py>,
    targets: Object<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Object<'py>>,
    weights: Option<Object<'py>>,
    nan: Object<'py>,
) -> PyResult<Object<'py>> {
    guarded(|| {
        let reducer = Reducer::new("mean", NUMERIC, None)?;
        let mut call = Call::new(None, reducer, ("lower", &lower), &targets, lengths, mask, weights, &nan)?;
        call.other = Third::Numbers("upper", Floats::new("upper", &upper)?);
        call.answer(py, &Direct(Inside), Parameters { loss: "interval_coverage", dict: None, read: vec![] })
    })
}

/// What all of these functions are called with.
struct Call<'py> {
    gradient: Request<'py>,
    reducer: Reducer,
    /// What the first argument is called.
    name: &'static str,
    first: Floats<'py>,
    targets: Floats<'py>,
    other: Third<'py>,
    lengths: Option<Object<'py>>,
    mask: Option<Mask<'py>>,
    weights: Option<Floats<'py>>,
    omits_nan: bool,
}

/// The third number of a term.
enum Third<'py> {
    None,
    /// One for each number of the first argument.
    Numbers(&'static str, Floats<'py>),
    /// One for each number of a step, which share a target.
    Columns(Vec<f64>),
}

impl<'py> Call<'py> {
    fn new(
        gradient: Request<'py>,
        reducer: Reducer,
        (name, first): (&'static str, &Object<'py>),
        targets: &Object<'py>,
        lengths: Option<Object<'py>>,
        mask: Option<Object<'py>>,
        weights: Option<Object<'py>>,
        nan: &Object<'py>,
    ) -> PyResult<Self> {
        let first = Floats::new(name, first)?;
        let targets = Floats::new("targets", targets)?;
        let omits_nan = match &*word("nan", nan)? {
            "propagate" => false,
            "omit" => true,
            value => {
                let choices = &["propagate", "omit"];
                return Err(Error::Choice { argument: "nan", value: value.to_owned(), choices }.into());
            }
        };
        let mask = mask.map(|object| Mask::new("mask", &object)).transpose()?;
        let weights = weights.map(|object| Floats::new("weights", &object)).transpose()?;
        Ok(Self { gradient, reducer, name, first, targets, other: Third::None, lengths, mask, weights, omits_nan })
    }

    fn answer(self, py: Python<'py>, curve: &dyn AnyCurve, with: Parameters<'_, 'py>) -> PyResult<Object<'py>> {
        with.finish()?;
        let Self { gradient, reducer, name, first, targets, other, lengths, mask, weights, omits_nan } = self;
        let mut others = addresses([Some(&targets), weights.as_ref()]);
        others.extend(mask.iter().flat_map(Mask::addresses));
        if let Third::Numbers(_, floats) = &other {
            others.extend(floats.addresses());
        }
        // (N, T) and (N, T, D): with three axes, or two in the arrays of a list, a step is a row.
        let most = if first.is_list() { 2 } else { 3 };
        let has_columns = matches!(other, Third::Columns(_));
        let shape = first.shape().unwrap_or(&[0]);
        if !has_columns && !(1..=most).contains(&shape.len()) {
            let name = if first.is_list() { subscript(name, &[0]) } else { name.to_owned() };
            return Err(Error::shape(&name, shape, format!("1 to {most} axes")).into());
        }
        let axes = match has_columns || shape.len() == most {
            true => Axes::StepsOfRows,
            false => Axes::Steps,
        };
        with_element!(first.kind, E => {
            let mut sequences = Sequences::<E>::new(name, &first.typed(), axes, false)?;
            let valid = lengths_of("lengths", lengths.as_ref(), &sequences.structure)?;
            // What is not valid is looked up twice where it is NaN that makes it so.
            if !omits_nan && is_in_place(&gradient, &first, &others) {
                sequences.read_in_place();
            }
            let (structure, inner) = (&sequences.structure, sequences.inner());
            let shares_target = if let Third::Columns(columns) = &other {
                fits(&first, columns.len(), sequences.width, sequences.is_empty())?;
                true
            } else {
                false
            };
            let of_targets: &[usize] = if shares_target { &[] } else { inner };
            let target_rows = rows_like("targets", &targets.any(), structure, of_targets)?;
            let target_rows = per_number((target_rows, if shares_target { sequences.width } else { 1 }));
            let third = match &other {
                Third::None => None,
                Third::Numbers(name, floats) => Some(Other::Numbers(rows_like(name, &floats.any(), structure, inner)?)),
                Third::Columns(columns) => has_other(curve).then(|| Other::Columns(columns.clone())),
            };
            let mask = mask.as_ref().map(Mask::views);
            let weights = weights.as_ref().map(Floats::any);
            let factors = Factors {
                mask: mask.map(|mask| rows_per_step_or_number("mask", &mask, &sequences)).transpose()?.map(per_number),
                weights: weights.map(|all| rows_per_step_or_number("weights", &all, &sequences)).transpose()?.map(per_number),
                omits_nan,
            };
            let loss = Pointwise::<E>::new(curve as &dyn Kernel<<E as Element>::Float>, sequences, target_rows, third, &valid, factors);
            answer(py, &loss, &reducer, Term::Number, &gradient, &first, &others)
        })
    }
}

/// Checks that predictions have a number for each quantile.
fn fits(first: &Floats<'_>, columns: usize, width: usize, is_empty: bool) -> Result<(), Error> {
    if width == columns || (is_empty && first.is_list()) {
        return Ok(());
    }
    let expected = format!("a last axis of {columns}, a number for each quantile");
    Err(Error::shape("predictions", first.shape().unwrap_or_default(), expected))
}

fn has_other(curve: &dyn AnyCurve) -> bool {
    (curve as &dyn Kernel<f64>).has_other()
}

fn per_number<R>((rows, width): (Vec<R>, usize)) -> Vec<PerNumber<R>> {
    rows.into_iter().map(|rows| PerNumber { rows, width }).collect()
}

/// What a curve takes besides, by name.
pub(super) struct Parameters<'a, 'py> {
    /// What they are of, as messages name it.
    pub(super) loss: &'a str,
    pub(super) dict: Option<Bound<'py, PyDict>>,
    /// Those that have been read.
    pub(super) read: Vec<&'static str>,
}

impl<'py> Parameters<'_, 'py> {
    pub(super) fn get(&mut self, name: &'static str) -> PyResult<Object<'py>> {
        self.read.push(name);
        let found = self.dict.as_ref().map(|dict| dict.get_item(name)).transpose()?.flatten();
        found.ok_or_else(|| PyTypeError::new_err(format!("{}_loss() needs the argument {name:?}", self.loss)))
    }

    pub(super) fn above_zero(&mut self, name: &'static str) -> PyResult<f64> {
        above_zero(name, &self.get(name)?)
    }

    pub(super) fn at_least_zero(&mut self, name: &'static str) -> PyResult<f64> {
        at_least_zero(name, &self.get(name)?)
    }

    /// What something is held within: a positive number, or None or infinity for nothing.
    pub(super) fn limit(&mut self, name: &'static str) -> PyResult<f64> {
        unless_infinite(name, &self.get(name)?, above_zero)
    }

    /// How far something goes: at least 0, or None or infinity for as far as it likes.
    pub(super) fn reach(&mut self, name: &'static str) -> PyResult<f64> {
        unless_infinite(name, &self.get(name)?, at_least_zero)
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&mut self, name: &'static str) -> PyResult<f64> {
        let value = number(name, &self.get(name)?)?;
        match (0.0..=1.0).contains(&value) {
            true => Ok(value),
            false => Err(Error::Value(format!("{name} is {value}, which is not in 0..=1")).into()),
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> PyResult<bool> {
        flag(name, &self.get(name)?)
    }

    /// Refuses what the curve does not know.
    pub(super) fn finish(&self) -> PyResult<()> {
        let Some(dict) = &self.dict else { return Ok(()) };
        for name in dict.keys() {
            let name: String = name.extract()?;
            if !self.read.contains(&name.as_str()) {
                let message = format!("{}_loss() got an unexpected keyword argument '{name}'", self.loss);
                return Err(PyTypeError::new_err(message));
            }
        }
        Ok(())
    }
}

fn above_zero(name: &str, object: &Object<'_>) -> PyResult<f64> {
    let value = number(name, object)?;
    Ok(finite(name, value, value > 0.0, "a positive number")?)
}

pub(super) fn at_least_zero(name: &str, object: &Object<'_>) -> PyResult<f64> {
    let value = number(name, object)?;
    Ok(finite(name, value, value >= 0.0, "a number that is at least 0")?)
}

fn unless_infinite(name: &str, object: &Object<'_>, read: fn(&str, &Object<'_>) -> PyResult<f64>) -> PyResult<f64> {
    match object.is_none() || number(name, object)? == f64::INFINITY {
        true => Ok(f64::INFINITY),
        false => read(name, object),
    }
}

fn finite(name: &str, value: f64, fits: bool, expected: &str) -> Result<f64, Error> {
    match (fits, value.is_finite()) {
        (true, true) => Ok(value),
        (true, false) => Err(Error::Value(format!("{name} is {value}, expected a finite number"))),
        (false, _) => Err(Error::Value(format!("{name} is {value}, expected {expected}"))),
    }
}

/// One quantile, or those of the columns.
enum Levels {
    One(f64),
    Several(Vec<f64>),
}

fn quantiles(object: &Object<'_>) -> PyResult<Levels> {
    let floats = Floats::new("quantile", object)?;
    let Argument::Array(view) = floats.any() else {
        return Err(
            Error::Type("quantile is a list of arrays, expected a number, or one axis of numbers".to_owned()).into()
        );
    };
    let levels = view.to_vec()?;
    let is_one = view.shape().is_empty();
    if !is_one && (view.shape().len() > 1 || levels.is_empty()) {
        return Err(Error::shape("quantile", view.shape(), "a number, or one axis of at least one").into());
    }
    for (index, level) in levels.iter().enumerate() {
        if !(0.0..=1.0).contains(level) {
            let argument = if is_one { "quantile".to_owned() } else { subscript("quantile", &[index]) };
            return Err(Error::Value(format!("{argument} is {level}, expected a number from 0 to 1")).into());
        }
    }
    Ok(if is_one { Levels::One(levels[0]) } else { Levels::Several(levels) })
}
