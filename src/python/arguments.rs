//! From what a Python caller may pass to checked arguments: arrays of any layout, lists, lists of arrays, tensors.

use std::borrow::Cow;
use std::ops::Range;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyException, PyMemoryError, PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use super::array::{Array, Kind, Plain};
use super::look;
use super::sum::LossSum;
use crate::error::{Error, subscript};
use crate::float::Element;
use crate::input::{AnyView, Argument, Integers, View};
use crate::reduction::Reducer;

/// Floats that came as one array or as a list of arrays, all of one dtype.
pub(super) struct Floats<'py> {
    pub(super) kind: Kind,
    pub(super) arrays: Argument<Array<'py>>,
}

impl<'py> Floats<'py> {
    /// Reads an argument of floats; integers and booleans count as float64.
    pub(super) fn new(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        match arrays(name, object)? {
            Argument::Array(array) => {
                let (kind, array) = floats(name, &array)?;
                Ok(Self { kind, arrays: Argument::Array(array) })
            }
            Argument::List(items) => {
                let mut kind = None;
                let mut arrays = Vec::with_capacity(items.len());
                for (item, array) in items.iter().enumerate() {
                    look(object.py(), item)?;
                    let name_of_item = subscript(name, &[item]);
                    let (found, array) = floats(&name_of_item, array)?;
                    if *kind.get_or_insert(found) != found {
                        let (dtype, first): (_, &Array<'_>) = (array.dtype(), &arrays[0]);
                        let message = format!("{name_of_item} has dtype {dtype}, but {name}[0] has {}", first.dtype());
                        return Err(Error::Type(message).into());
                    }
                    arrays.push(array);
                }
                // An empty list holds no type; what comes of it is empty as well.
                Ok(Self { kind: kind.unwrap_or(Kind::F64), arrays: Argument::List(arrays) })
            }
        }
    }

    /// The same for a first argument whose steps are rows: an empty list then is one of no arrays, not an array.
    pub(super) fn rows(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let floats = Self::new(name, object)?;
        let is_list = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
        match &floats.arrays {
            Argument::Array(array) if is_list && array.shape == [0] => {
                Ok(Self { kind: floats.kind, arrays: Argument::List(vec![]) })
            }
            _ => Ok(floats),
        }
    }

    /// Whether it came as a list of arrays.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.arrays, Argument::List(_))
    }

    /// The shape of the array, or of the first of the list, if there is one.
    pub(super) fn shape(&self) -> Option<&[usize]> {
        match &self.arrays {
            Argument::Array(array) => Some(&array.shape),
            Argument::List(arrays) => arrays.first().map(|array| &*array.shape),
        }
    }

    /// How many numbers there are.
    pub(super) fn numbers(&self) -> usize {
        let numbers =
            |array: &Array<'_>| array.shape.iter().fold(1usize, |product, &axis| product.saturating_mul(axis));
        match &self.arrays {
            Argument::Array(array) => numbers(array),
            Argument::List(arrays) => arrays.iter().map(numbers).fold(0, usize::saturating_add),
        }
    }

    /// As views of `E`, which must be its kind.
    pub(super) fn typed<E: Element + Plain>(&self) -> Argument<View<'_, E>> {
        map(&self.arrays, Array::view)
    }

    /// As views of whatever it holds.
    pub(super) fn any(&self) -> Argument<AnyView<'_>> {
        map(&self.arrays, |array| array.any_view(self.kind))
    }

    /// The addresses of all that is read.
    pub(super) fn addresses(&self) -> Vec<Range<usize>> {
        addresses(&self.arrays)
    }
}

fn addresses(arrays: &Argument<Array<'_>>) -> Vec<Range<usize>> {
    match arrays {
        Argument::Array(array) => vec![array.addresses()],
        Argument::List(arrays) => arrays.iter().map(Array::addresses).collect(),
    }
}

/// Booleans, as bytes.
pub(super) struct Mask<'py>(Argument<Array<'py>>);

impl<'py> Mask<'py> {
    pub(super) fn new(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let booleans = |name: &str, array: &Bound<'py, PyUntypedArray>| {
            if array.dtype().kind() == b'b'
                && let Some(found) = Array::new(array)
            {
                return Ok(found);
            }
            if array.dtype().kind() != b'b' && !array.is_empty() {
                let message = format!("{name} has dtype {}, expected bool (mask.astype(bool))", array.dtype());
                return Err(Error::Type(message).into());
            }
            // NumPy takes an empty list for floats.
            let copy = array.call_method1("astype", ("bool", "C"))?;
            Ok(Array::new(copy.cast::<PyUntypedArray>()?).expect("a fresh copy is contiguous"))
        };
        Ok(Self(match arrays(name, object)? {
            Argument::Array(array) => Argument::Array(booleans(name, &array)?),
            Argument::List(items) => Argument::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(item, array)| booleans(&subscript(name, &[item]), array))
                    .collect::<PyResult<_>>()?,
            ),
        }))
    }

    pub(super) fn views(&self) -> Argument<View<'_, u8>> {
        map(&self.0, Array::view)
    }

    pub(super) fn addresses(&self) -> Vec<Range<usize>> {
        addresses(&self.0)
    }
}

/// Integers of any width, copied.
pub(super) fn integers(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Argument<Integers>> {
    Ok(match arrays(name, object)? {
        Argument::Array(array) => Argument::Array(copied_integers(name, &array)?),
        Argument::List(items) => Argument::List(
            items
                .iter()
                .enumerate()
                .map(|(item, array)| copied_integers(&subscript(name, &[item]), array))
                .collect::<PyResult<_>>()?,
        ),
    })
}

/// Integers that must be one array.
pub(super) fn integer_array(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Integers> {
    match integers(name, object)? {
        Argument::Array(integers) => Ok(integers),
        Argument::List(_) => Err(Error::Type(format!("{name} is a list of arrays, expected one array")).into()),
    }
}

/// Whether an argument holds integers rather than floats. NumPy takes empty lists for floats; they hold no integers either.
pub(super) fn holds_integers(name: &str, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_integer = |array: &Bound<'_, PyUntypedArray>| matches!(array.dtype().kind(), b'i' | b'u' | b'b');
    Ok(match arrays(name, object)? {
        Argument::Array(array) => {
            let is_list = object.cast::<PyUntypedArray>().is_err();
            is_integer(&array) || (is_list && array.is_empty() && array.ndim() < 3)
        }
        Argument::List(items) => {
            items.iter().any(is_integer) || items.iter().all(|array| array.is_empty() && array.ndim() == 1)
        }
    })
}

/// An option that is an integer.
pub(super) fn integer(name: &str, object: &Bound<'_, PyAny>) -> PyResult<i64> {
    object.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(object.py()) {
            return Error::Value(format!("{name} is {object}, which is out of range")).into();
        }
        unexpected(name, object, "an integer")
    })
}

/// An option that is a real number.
pub(super) fn number(name: &str, object: &Bound<'_, PyAny>) -> PyResult<f64> {
    object.extract().map_err(|_| unexpected(name, object, "a number"))
}

/// An option that is a word.
pub(super) fn word<'a>(name: &str, object: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, str>> {
    let word = object.cast::<PyString>().ok().and_then(|word| word.to_cow().ok());
    word.ok_or_else(|| unexpected(name, object, "a string"))
}

/// An option that is true or false.
pub(super) fn flag(name: &str, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.extract().map_err(|_| unexpected(name, object, "True or False"))
}

/// The reduction that two options ask for; a `LossSum` asks for the sum, and that it be added to it.
pub(super) fn reducer<'py>(
    reduction: &Bound<'py, PyAny>,
    normalizer: Option<&Bound<'py, PyAny>>,
    choices: &'static [&'static str],
) -> PyResult<Reducer> {
    let normalizer = normalizer.map(|object| number("normalizer", object)).transpose()?;
    if let Ok(sum) = reduction.cast::<LossSum>() {
        if normalizer.is_some() {
            let message = "normalizer goes with reduction \"sum\" or \"mean\", not with a LossSum";
            return Err(Error::Value(message.to_owned()).into());
        }
        return Ok(Reducer::into(sum.get().shared()));
    }
    Ok(Reducer::new(&word("reduction", reduction)?, choices, normalizer)?)
}

#[cold]
fn unexpected(name: &str, object: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    let shown = object.repr().map_or_else(|_| object.get_type().to_string(), |text| text.to_string());
    Error::Type(format!("{name} is {shown}, expected {expected}")).into()
}

fn map<'a, V, W>(argument: &'a Argument<V>, each: impl Fn(&'a V) -> W) -> Argument<W> {
    match argument {
        Argument::Array(array) => Argument::Array(each(array)),
        Argument::List(arrays) => Argument::List(arrays.iter().map(each).collect()),
    }
}

/// One array, or the arrays of a list. A list of numbers (of any depth) is an array, as NumPy sees it; a list that holds
/// arrays, or whose items have different lengths, is a list of arrays.
fn arrays<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Argument<Bound<'py, PyUntypedArray>>> {
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        refuse_masked(name, array)?;
        return Ok(Argument::Array(array.clone()));
    }
    let items: Vec<Bound<'py, PyAny>> = match (object.cast::<PyList>(), object.cast::<PyTuple>()) {
        (Ok(list), _) => list.iter().collect(),
        (_, Ok(tuple)) => tuple.iter().collect(),
        _ => return Ok(Argument::Array(as_array(name, object)?)),
    };
    let is_array = |item: &Bound<'py, PyAny>| match item.cast::<PyUntypedArray>() {
        Ok(array) => array.ndim() > 0,
        Err(_) => !is_number(item) && item.hasattr("__array__").unwrap_or(false),
    };
    if !items.iter().any(is_array) {
        match asarray(object) {
            Ok(array) => return Ok(Argument::Array(array)),
            // NumPy refuses lists whose items have different lengths.
            Err(error) if error.is_instance_of::<PyValueError>(object.py()) => {}
            Err(error) => return Err(unreadable(name, object, error)),
        }
    }
    let each = |(item, object): (usize, &Bound<'py, PyAny>)| {
        look(object.py(), item)?;
        as_array(&subscript(name, &[item]), object)
    };
    Ok(Argument::List(items.iter().enumerate().map(each).collect::<PyResult<_>>()?))
}

fn is_number(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<pyo3::types::PyFloat>()
        || object.is_instance_of::<pyo3::types::PyInt>()
        || object.is_instance(&numpy_attribute(object.py(), "generic")).unwrap_or(false)
}

fn as_array<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => asarray(object).map_err(|error| unreadable(name, object, error))?,
    };
    refuse_masked(name, &array)?;
    Ok(array)
}

fn asarray<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let array = numpy_attribute(object.py(), "asarray").call1((object,));
    Ok(array.or_else(|error| bfloat16_of_torch(object).ok_or(error))?.cast_into::<PyUntypedArray>()?)
}

/// A tensor of bfloat16, which torch does not hand over to NumPy, as the array that its bits are where `ml_dtypes` is
/// installed.
#[cold]
fn bfloat16_of_torch<'py>(tensor: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = tensor.py();
    let is_bfloat16 = tensor.getattr("dtype").ok()?.str().ok()?.to_string_lossy() == "torch.bfloat16";
    if !is_bfloat16 || tensor.getattr("requires_grad").ok()?.is_truthy().ok()? {
        return None;
    }
    let bits = tensor.call_method1("view", (py.import("torch").ok()?.getattr("int16").ok()?,)).ok()?;
    let dtype = py.import("ml_dtypes").ok()?.getattr("bfloat16").ok()?;
    bits.call_method0("numpy").ok()?.call_method1("view", (dtype,)).ok()
}

fn unreadable(name: &str, object: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let (kind, py) = (object.get_type(), object.py());
    // Ctrl-C, a timer, or a lack of memory says nothing of the object.
    if !error.is_instance_of::<PyException>(py)
        || error.is_instance_of::<PyOSError>(py)
        || error.is_instance_of::<PyMemoryError>(py)
    {
        return error;
    }
    let reason = error.value(py).to_string();
    let hint = if reason.contains("BFloat16") { " (install ml_dtypes, or pass .float())" } else { "" };
    let message = format!("{name} is a {kind}, which cannot be read as an array: {reason}{hint}");
    Error::Type(message).into()
}

/// A function or type of NumPy, by name.
fn numpy_attribute<'py>(py: Python<'py>, attribute: &str) -> Bound<'py, PyAny> {
    py.import("numpy").and_then(|numpy| numpy.getattr(attribute)).expect("NumPy has been imported")
}

/// A masked array would be read, or written, without its mask.
pub(super) fn refuse_masked(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    refuse_masked_for(name, array, "mask")
}

/// The same for an argument that may be a list of arrays, and where a keyword other than `mask` says what counts.
pub(super) fn refuse_masked_items(name: &str, object: &Bound<'_, PyAny>, keyword: &str) -> PyResult<()> {
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return refuse_masked_for(name, array, keyword);
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        for (item, object) in object.try_iter()?.enumerate() {
            if let Ok(array) = object?.cast::<PyUntypedArray>() {
                refuse_masked_for(&subscript(name, &[item]), array, keyword)?;
            }
        }
    }
    Ok(())
}

fn refuse_masked_for(name: &str, array: &Bound<'_, PyUntypedArray>, keyword: &str) -> PyResult<()> {
    static MASKED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = array.py();
    if array.get_type().is(py.get_type::<PyUntypedArray>()) {
        return Ok(());
    }
    if array.is_instance(MASKED.import(py, "numpy.ma", "MaskedArray")?)? {
        let message = format!("{name} is a MaskedArray, whose mask would be lost: pass {name}.data and {keyword}=");
        return Err(Error::Type(message).into());
    }
    Ok(())
}

fn floats<'py>(name: &str, array: &Bound<'py, PyUntypedArray>) -> PyResult<(Kind, Array<'py>)> {
    let dtype = array.dtype();
    if let Some(kind) = Kind::of(&dtype) {
        if let Some(found) = Array::new(array) {
            return Ok((kind, found));
        }
        let native = dtype.call_method1("newbyteorder", ("=",))?;
        let copy = array.call_method1("astype", (native, "C"))?;
        return Ok((kind, Array::new(copy.cast::<PyUntypedArray>()?).expect("a fresh copy is contiguous")));
    }
    match dtype.kind() {
        b'f' | b'i' | b'u' | b'b' => {
            let copy = array.call_method1("astype", ("float64", "C"))?;
            Ok((Kind::F64, Array::new(copy.cast::<PyUntypedArray>()?).expect("a fresh copy is contiguous")))
        }
        kind => {
            let has_none = kind == b'O'
                && array.call_method0("ravel")?.try_iter()?.any(|item| item.is_ok_and(|item| item.is_none()));
            let what = if has_none { "None among its items".to_owned() } else { format!("dtype {dtype}") };
            let expected = "expected real numbers (float16, bfloat16, float32 or float64)";
            Err(Error::Type(format!("{name} has {what}, {expected}")).into())
        }
    }
}

fn copied_integers(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<Integers> {
    let dtype = array.dtype();
    let shape = array.shape().to_vec();
    if array.is_empty() && matches!(dtype.kind(), b'i' | b'u' | b'f') {
        // NumPy takes an empty list for floats.
        return Ok(Integers { values: vec![], shape });
    }
    if !matches!(dtype.kind(), b'i' | b'u') {
        return Err(Error::Type(format!("{name} has dtype {dtype}, expected integers")).into());
    }
    let array = if let Some(found) = Array::new(array) {
        found
    } else {
        let native = dtype.call_method1("newbyteorder", ("=",))?;
        let copy = array.call_method1("astype", (native, "C"))?;
        Array::new(copy.cast::<PyUntypedArray>()?).expect("a fresh copy is contiguous")
    };
    let values = match (dtype.kind(), dtype.itemsize()) {
        (b'i', 1) => array.view::<i8>().copied(i64::from),
        (b'i', 2) => array.view::<i16>().copied(i64::from),
        (b'i', 4) => array.view::<i32>().copied(i64::from),
        (b'i', 8) => array.view::<i64>().copied(|value| value),
        (b'u', 1) => array.view::<u8>().copied(i64::from),
        (b'u', 2) => array.view::<u16>().copied(i64::from),
        (b'u', 4) => array.view::<u32>().copied(i64::from),
        // What is too large is no class and no length: the largest integer is neither.
        (b'u', 8) => array.view::<u64>().copied(|value| i64::try_from(value).unwrap_or(i64::MAX)),
        _ => return Err(Error::Type(format!("{name} has dtype {dtype}, expected integers")).into()),
    }?;
    Ok(Integers { values, shape })
}
