//! From a checked loss to Python's answer: makes room for results, evaluates, and hands them over.

use std::ops::Range;

use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyList, PyTuple};

use super::arguments::{Floats, refuse_masked};
use super::array::{Array, Fresh, Kind, Plain};
use super::{enter, look};
use crate::error::{Error, subscript, tuple};
use crate::float::{Element, Float};
use crate::input::{Argument, Axes, Sequences, Structure, rows_like};
use crate::loss::{Loss, Outputs, Stretch, Upstream, evaluate};
use crate::reduction::{Reduced, Reducer, Reduction};

/// What `value_and_grad` adds to a call: (`grad_output`, `out`).
pub(super) type Request<'py> = Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// What a term is, and so the shape of all terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// A sequence.
    Sequence,
    /// A step of a sequence.
    Step,
    /// A number of the first argument.
    Number,
}

/// Whether the gradient is to be written over the first argument itself, which nothing else that is read may overlap.
pub(super) fn is_in_place(request: &Request<'_>, first: &Floats<'_>, others: &[Range<usize>]) -> bool {
    let (Some((_, out)), Argument::Array(array)) = (request, &first.arrays) else { return false };
    let own = array.addresses();
    let alone = !others.iter().any(|other| overlap(other, &own));
    alone && out.is(&array.object) && Fresh::adopt(&array.object).is_some()
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Evaluates a loss and returns its value, or (value, gradient). `first` is the first argument, `others` the addresses of
/// all other floats that are read.
pub(super) fn answer<'py, E>(
    py: Python<'py>,
    loss: &dyn Loss<E>,
    reducer: &Reducer,
    term: Term,
    request: &Request<'py>,
    first: &Floats<'py>,
    others: &[Range<usize>],
) -> PyResult<Bound<'py, PyAny>>
where
    E: Element<Float: Plain + numpy::Element> + Plain,
{
    let sequences = loss.sequences();
    let structure = &sequences.structure;
    let inner = if term == Term::Number { sequences.inner() } else { &[] };
    let float = || numpy::dtype::<E::Float>(py);
    let mut values = match reducer.reduction() {
        Reduction::None => Some(Results::new(py, &float(), structure, term, inner)?),
        _ => None,
    };
    let upstream_argument = match request {
        Some((grad_output, out)) if !grad_output.is_none() => Some(upstream_argument(grad_output, !out.is_none())?),
        _ => None,
    };
    let upstream = match &upstream_argument {
        None => Upstream::One(1.0),
        Some(argument) => upstream(argument, reducer, sequences, term)?,
    };
    let mut gradient = match request {
        None => None,
        Some((_, out)) => Some(GradientOutput::new(py, sequences, first, out, others)?),
    };
    let of_terms = values.as_mut().map(Results::numbers::<E::Float>);
    let of_gradient = gradient.as_mut().map(|gradient| gradient.results.numbers::<E>());
    let work = enter(py, sequences.len(), |_| Ok(loss.work()))?;
    let reduced = enter(py, work, |watch| {
        let width = inner.first().copied().unwrap_or(1);
        let outputs = Outputs {
            values: of_terms.map(|numbers| split(numbers, structure, term, width)),
            gradient: of_gradient.map(|numbers| (stretches(numbers, sequences), upstream)),
        };
        evaluate(loss, reducer, outputs, watch)
    })?;
    let value = match (reduced, values) {
        (Reduced::Terms, Some(values)) => values.into_object(py, structure, term)?,
        (Reduced::Number(number), _) => PyFloat::new(py, number).into_any(),
        (Reduced::Sequences(sums), _) if reducer.is_wide() => {
            let mut results = Results::new(py, &numpy::dtype::<f64>(py), structure, Term::Sequence, &[])?;
            results.arrays[0].numbers::<f64>().copy_from_slice(&sums);
            results.into_object(py, structure, Term::Sequence)?
        }
        (Reduced::Sequences(sums), _) => {
            let mut results = Results::new(py, &float(), structure, Term::Sequence, &[])?;
            let numbers = results.arrays[0].numbers::<E::Float>();
            for (number, sum) in numbers.iter_mut().zip(sums) {
                *number = Float::from_f64(sum);
            }
            results.into_object(py, structure, Term::Sequence)?
        }
        (Reduced::Terms, None) => unreachable!("terms are returned where room was made for them"),
    };
    match gradient {
        None => Ok(value),
        Some(gradient) => Ok(PyTuple::new(py, [value, gradient.finish(py, structure)?])?.into_any()),
    }
}

/// Arrays in the shape of the sequences: one, or a list of them.
pub(super) struct Results<'py> {
    pub(super) arrays: Vec<Fresh<'py>>,
}

impl<'py> Results<'py> {
    pub(super) fn new(
        py: Python<'py>,
        dtype: &Bound<'py, PyArrayDescr>,
        structure: &Structure,
        term: Term,
        inner: &[usize],
    ) -> PyResult<Self> {
        let arrays = if term == Term::Sequence {
            vec![Fresh::zeros(py, dtype.clone(), &structure.outer)?]
        } else if structure.ragged {
            (0..structure.outer[0])
                .map(|item| {
                    look(py, item)?;
                    Fresh::zeros(py, dtype.clone(), &structure.item_shape(item, inner))
                })
                .collect::<PyResult<_>>()?
        } else {
            vec![Fresh::zeros(py, dtype.clone(), &structure.shape(inner))?]
        };
        Ok(Self { arrays })
    }

    /// The numbers of every array.
    fn numbers<E: Plain>(&mut self) -> Vec<&mut [E]> {
        self.arrays.iter_mut().map(Fresh::numbers::<E>).collect()
    }

    /// The numbers of every sequence; `width` of them for a step.
    pub(super) fn split<E: Plain>(&mut self, structure: &Structure, term: Term, width: usize) -> Vec<&mut [E]> {
        split(self.numbers(), structure, term, width)
    }

    /// The array, or the list; a number where there are no axes.
    pub(super) fn into_object(self, py: Python<'py>, structure: &Structure, term: Term) -> PyResult<Bound<'py, PyAny>> {
        let mut objects = self.arrays.into_iter().map(Fresh::into_object);
        if structure.ragged && term != Term::Sequence {
            return Ok(PyList::new(py, objects.collect::<Vec<_>>())?.into_any());
        }
        let array = objects.next().expect("there is one array unless there is a list");
        match structure.outer.is_empty() && term == Term::Sequence {
            true => array.get_item(PyTuple::empty(py)),
            false => Ok(array),
        }
    }
}

/// The numbers of every sequence, of those of every array; `width` of them for a step.
fn split<'a, E>(arrays: Vec<&'a mut [E]>, structure: &Structure, term: Term, width: usize) -> Vec<&'a mut [E]> {
    let group = structure.group();
    let mut parts = Vec::with_capacity(structure.sequences());
    let whole = term == Term::Sequence || !structure.ragged;
    for (item, mut rest) in arrays.into_iter().enumerate() {
        let steps = if whole { &structure.steps[..] } else { &structure.steps[item * group..][..group] };
        for &steps in steps {
            let count = if term == Term::Sequence { 1 } else { steps * width };
            let (part, behind) = rest.split_at_mut(count);
            parts.push(part);
            rest = behind;
        }
    }
    parts
}

/// The same of the gradient.
fn stretches<'a, E: Element>(arrays: Vec<&'a mut [E]>, sequences: &Sequences<'_, E>) -> Vec<Stretch<'a, E>> {
    let (structure, width) = (&sequences.structure, sequences.width);
    if sequences.axes == Axes::TimeMajor && structure.outer.len() == 1 && !structure.ragged {
        let mut rows: Vec<Vec<&mut [E]>> = structure.steps.iter().map(|&steps| Vec::with_capacity(steps)).collect();
        if width > 0 {
            for all in arrays {
                for (i, row) in all.chunks_mut(width).enumerate() {
                    rows[i % structure.outer[0]].push(row);
                }
            }
        }
        return rows.into_iter().map(Stretch::Rows).collect();
    }
    split(arrays, structure, Term::Number, width).into_iter().map(Stretch::Contiguous).collect()
}

/// Where the gradient goes: into new arrays, or straight into the caller's `out`.
struct GradientOutput<'py> {
    results: Results<'py>,
    /// An `out` that the result must be copied to at the end, because it could not be written to directly.
    copy_to: Option<Bound<'py, PyAny>>,
}

impl<'py> GradientOutput<'py> {
    fn new<E: Element>(
        py: Python<'py>,
        sequences: &Sequences<'_, E>,
        first: &Floats<'py>,
        out: &Bound<'py, PyAny>,
        others: &[Range<usize>],
    ) -> PyResult<Self> {
        let native = |dtype: Bound<'py, PyArrayDescr>| -> PyResult<Bound<'py, PyArrayDescr>> {
            match dtype.is_native_byteorder() {
                Some(false) => Ok(dtype.call_method1("newbyteorder", ("=",))?.cast_into()?),
                _ => Ok(dtype),
            }
        };
        let arrays: Vec<&Array<'py>> = match &first.arrays {
            Argument::Array(array) => vec![array],
            Argument::List(arrays) => arrays.iter().collect(),
        };
        let fresh = || -> PyResult<Results<'py>> {
            let zeros = |(item, array): (usize, &&Array<'py>)| {
                look(py, item)?;
                Fresh::zeros(py, native(array.dtype())?, &array.shape)
            };
            Ok(Results { arrays: arrays.iter().enumerate().map(zeros).collect::<PyResult<_>>()? })
        };
        if out.is_none() {
            return Ok(Self { results: fresh()?, copy_to: None });
        }
        if let Argument::List(_) = first.arrays {
            if !out.is_instance_of::<PyList>() && !out.is_instance_of::<PyTuple>() {
                let message = format!("out is a {}, expected a list of {} arrays", out.get_type(), arrays.len());
                return Err(Error::Type(message).into());
            }
            let items = out.try_iter()?.collect::<PyResult<Vec<_>>>()?;
            if items.len() != arrays.len() {
                let message = format!("out is a list of {} arrays, expected {}", items.len(), arrays.len());
                return Err(Error::Value(message).into());
            }
            for (item, (array, out)) in arrays.iter().zip(items).enumerate() {
                check_out(&subscript("out", &[item]), &out, array)?;
            }
            return Ok(Self { results: fresh()?, copy_to: Some(out.clone()) });
        }
        let object = check_out("out", out, arrays[0])?;
        if let Some(adopted) = Fresh::adopt(object) {
            let target = Array::new(object).map_or(0..0, |array| array.addresses());
            let first_overlaps = !sequences.in_place && overlap(&arrays[0].addresses(), &target);
            if !first_overlaps && !others.iter().any(|other| overlap(other, &target)) {
                return Ok(Self { results: Results { arrays: vec![adopted] }, copy_to: None });
            }
        }
        Ok(Self { results: fresh()?, copy_to: Some(out.clone()) })
    }

    fn finish(self, py: Python<'py>, structure: &Structure) -> PyResult<Bound<'py, PyAny>> {
        let gradient = self.results.into_object(py, structure, Term::Number)?;
        let Some(out) = self.copy_to else { return Ok(gradient) };
        if structure.ragged {
            for (out, gradient) in out.try_iter()?.zip(gradient.try_iter()?) {
                out?.set_item(py.Ellipsis(), gradient?)?;
            }
        } else {
            out.set_item(py.Ellipsis(), gradient)?;
        }
        Ok(out)
    }
}

/// Checks that an array can receive the gradient with respect to `like`.
fn check_out<'a, 'py>(
    name: &str,
    out: &'a Bound<'py, PyAny>,
    like: &Array<'py>,
) -> PyResult<&'a Bound<'py, PyUntypedArray>> {
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        return Err(Error::Type(format!("{name} is a {}, expected an array", out.get_type())).into());
    };
    refuse_masked(name, array)?;
    if array.shape() != like.shape {
        return Err(Error::shape(name, array.shape(), tuple(&like.shape)).into());
    }
    if Kind::of(&array.dtype()) != Kind::of(&like.dtype()) {
        return Err(Error::Type(format!("{name} has dtype {}, expected {}", array.dtype(), like.dtype())).into());
    }
    if !array.getattr("flags")?.getattr("writeable")?.is_truthy()? {
        return Err(Error::Value(format!("{name} is read-only")).into());
    }
    Ok(array)
}

/// `grad_output` as it came.
enum UpstreamArgument<'py> {
    Number(f64),
    Array(Floats<'py>),
}

/// Reads `grad_output`, of a copy where there is an `out` that it might share memory with.
fn upstream_argument<'py>(grad_output: &Bound<'py, PyAny>, copy: bool) -> PyResult<UpstreamArgument<'py>> {
    if grad_output.is_instance_of::<PyFloat>() || grad_output.is_instance_of::<PyInt>() {
        return Ok(UpstreamArgument::Number(grad_output.extract()?));
    }
    let floats = match copy {
        true => {
            Floats::new("grad_output", &grad_output.py().import("copy")?.call_method1("deepcopy", (grad_output,))?)?
        }
        false => Floats::new("grad_output", grad_output)?,
    };
    match &floats.arrays {
        Argument::Array(array) if array.shape.is_empty() => {
            Ok(UpstreamArgument::Number(grad_output.call_method0("__float__").and_then(|number| number.extract())?))
        }
        _ => Ok(UpstreamArgument::Array(floats)),
    }
}

/// The derivative of something later, for each of the things that are returned.
fn upstream<'a, E: Element>(
    argument: &'a UpstreamArgument<'_>,
    reducer: &Reducer,
    sequences: &Sequences<'_, E>,
    term: Term,
) -> PyResult<Upstream<'a>> {
    let floats = match argument {
        UpstreamArgument::Number(number) => return Ok(Upstream::One(*number)),
        UpstreamArgument::Array(floats) => floats,
    };
    let structure = &sequences.structure;
    match (reducer.reduction(), term) {
        (Reduction::None, Term::Step | Term::Number) => {
            let inner = if term == Term::Number { sequences.inner() } else { &[] };
            Ok(Upstream::Terms(rows_like("grad_output", &floats.any(), structure, inner)?))
        }
        (Reduction::None | Reduction::Sequence | Reduction::SequenceMean, _) => {
            let Argument::Array(array) = &floats.arrays else {
                let message = format!("grad_output is a list of arrays, expected shape {}", tuple(&structure.outer));
                return Err(Error::Value(message).into());
            };
            if array.shape != structure.outer {
                return Err(Error::shape("grad_output", &array.shape, tuple(&structure.outer)).into());
            }
            Ok(Upstream::Sequences(array.any_view(floats.kind).to_vec()?))
        }
        _ => {
            let shape = match &floats.arrays {
                Argument::Array(array) => array.shape.clone(),
                Argument::List(arrays) => vec![arrays.len()],
            };
            Err(Error::shape("grad_output", &shape, "a number, because the value is one").into())
        }
    }
}
