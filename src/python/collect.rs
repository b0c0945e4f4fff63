//! What texts are made of, collected from Python's objects: strings, lists of tokens, arrays of ids.

use std::fmt;
use std::ops::Range;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyEllipsis, PyInt, PyList, PySet, PyString, PyTuple};

use super::arguments::integers;
use super::texts::Cut;
use crate::error::Error;
use crate::input::{Argument, Integers};
use crate::text;
use crate::text::tokens::{Arena, LINE_BREAK, TextSets, Texts};

type Object<'py> = Bound<'py, PyAny>;

/// What texts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Strings,
    /// Lists of strings.
    Tokens,
    Ids,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Strings => "strings",
            Self::Tokens => "lists of tokens",
            Self::Ids => "token ids",
        })
    }
}

impl Kind {
    /// The kind of one text after another; that of the references decides where there is none, or lists with nothing in them.
    pub(super) fn of_texts(items: &Items<'_>, of_references: impl Fn() -> Self) -> Self {
        match items {
            Items::Strings { .. } => Self::Strings,
            Items::List(list) if list.is_empty() => of_references(),
            Items::List(list) if begins_with_string(list) => Self::Strings,
            Items::List(list) if begins_with_tokens(list) => Self::Tokens,
            Items::List(list) if all_are_empty(list) && of_references() == Self::Tokens => Self::Tokens,
            _ => Self::Ids,
        }
    }

    /// The kind of sets, when nothing else tells it: a list of strings is a set of them, not one text.
    pub(super) fn of_sets(items: &Items<'_>) -> Self {
        /// How deep in lists the first item lies that is none itself, and whether it is a string.
        fn first(items: &[Object<'_>]) -> Option<(usize, bool)> {
            items.iter().filter(|item| !item.is_none()).find_map(|item| match list(item) {
                Some(items) => first(&items).map(|(depth, is_string)| (depth + 1, is_string)),
                None => Some((0, item.is_instance_of::<PyString>())),
            })
        }
        match items {
            Items::Strings { .. } => Self::Strings,
            Items::Array(_) => Self::Ids,
            Items::List(list) => match first(list) {
                Some((0 | 1, true)) => Self::Strings,
                Some((_, true)) => Self::Tokens,
                _ => Self::Ids,
            },
        }
    }
}

/// Texts and the axes in which they came.
pub(super) struct TextArray {
    pub(super) texts: Texts,
    pub(super) axes: Vec<usize>,
    /// The length of the last axis of an array of ids.
    pub(super) columns: Option<usize>,
}

/// Reads hypotheses, or others that come one after another and have that `name`; `number` numbers tokens that come cut.
pub(super) fn text_array<'py>(
    name: &str,
    items: &Items<'py>,
    kind: Kind,
    cut: Cut,
    number: impl FnMut(&[u8]) -> u32,
) -> PyResult<TextArray> {
    let of_list = |list: &[Object<'py>], columns: Option<usize>| -> PyResult<Texts> {
        match kind {
            Kind::Tokens => texts(name, list, columns, Tokens { number, ids: Ids::default() }),
            _ => texts(name, list, columns, Strings::default()),
        }
    };
    Ok(match (kind, items) {
        (Kind::Ids, _) | (_, Items::Array(_)) => ids(name, items, cut)?,
        (_, Items::List(list)) => TextArray { texts: of_list(list, None)?, axes: vec![list.len()], columns: None },
        (_, Items::Strings { rows, columns }) => {
            let list: Vec<_> = rows.iter().filter_map(list).flatten().collect();
            TextArray { texts: of_list(&list, Some(*columns))?, axes: vec![rows.len(), *columns], columns: None }
        }
    })
}

/// Reads references, or others that come in sets and have that `name`.
pub(super) fn text_sets(
    name: &'static str,
    items: &Items<'_>,
    kind: Kind,
    cut: Cut,
    number: impl FnMut(&[u8]) -> u32,
) -> PyResult<TextSets> {
    let (texts, counts) = match kind {
        Kind::Strings => sets(name, items.listed(name, kind)?, Strings::default())?,
        Kind::Tokens => sets(name, items.listed(name, kind)?, Tokens { number, ids: Ids::default() })?,
        Kind::Ids => sets_of_ids(name, items, cut)?,
    };
    Ok(TextSets::new(name, texts, &counts)?)
}

/// What `hypotheses` or `references` holds.
pub(super) enum Items<'py> {
    List(Vec<Object<'py>>),
    /// A NumPy array of strings with two axes, as a list of its rows.
    Strings {
        rows: Vec<Object<'py>>,
        columns: usize,
    },
    Array(Object<'py>),
}

impl<'py> Items<'py> {
    /// The kind of sets of references, whose lists of strings may be lists of tokens.
    pub(super) fn tokens_or_sets(&self) -> Kind {
        match (self, Kind::of_sets(self)) {
            (Self::List(items), Kind::Strings) if begins_with_tokens(items) => Kind::Tokens,
            (_, kind) => kind,
        }
    }

    /// The items, where the `kind` of hypotheses needs a list.
    fn listed(&self, name: &str, kind: Kind) -> PyResult<&[Object<'py>]> {
        match self {
            Self::List(items) | Self::Strings { rows: items, .. } => Ok(items),
            Self::Array(_) => {
                let message = format!("{name} is an array, expected a list, as hypotheses are {kind}");
                Err(Error::Type(message).into())
            }
        }
    }
}

/// A list as its items; anything else as an array, or as its items if they are strings.
pub(super) fn items<'py>(name: &str, object: &Object<'py>) -> PyResult<Items<'py>> {
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
        Some(array) if is_object_array(&array) && matches!(array.ndim(), 1 | 2) => {
            let items = list(&array.call_method0("tolist")?).unwrap_or_default();
            Ok(match array.shape() {
                &[_, columns] => Items::Strings { rows: items, columns },
                _ => Items::List(items),
            })
        }
        Some(_) => Ok(Items::Array(object.clone())),
        None => {
            let kind = object.get_type().name()?;
            Err(Error::Type(format!("{name} has type {kind}, expected a list of strings, or token ids")).into())
        }
    }
}

/// The items of a list or tuple.
pub(super) fn list<'py>(object: &Object<'py>) -> Option<Vec<Object<'py>>> {
    match (object.cast::<PyList>(), object.cast::<PyTuple>()) {
        (Ok(list), _) => Some(list.iter().collect()),
        (_, Ok(tuple)) => Some(tuple.iter().collect()),
        _ => None,
    }
}

fn begins_with_string(items: &[Object<'_>]) -> bool {
    items.first().is_some_and(PyAnyMethods::is_instance_of::<PyString>)
}

/// Whether these are lists of tokens; those that are empty may be lists of anything.
fn begins_with_tokens(items: &[Object<'_>]) -> bool {
    let first = items.iter().filter_map(list).find(|tokens| !tokens.is_empty());
    first.is_some_and(|tokens| begins_with_string(&tokens))
}

/// Whether there are lists, and nothing in any of them.
fn all_are_empty(items: &[Object<'_>]) -> bool {
    !items.is_empty() && items.iter().all(|item| list(item).is_some_and(|items| items.is_empty()))
}

/// Where a text was found, as the caller would write it: `references[3][0]`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a str, pub(super) &'a [usize]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)?;
        self.1.iter().try_for_each(|index| write!(formatter, "[{index}]"))
    }
}

/// Collects texts of one kind.
trait Collect<'py> {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()>;
    /// Whether an item of `references` is a list of texts, and not one text.
    fn are_several(object: &Object<'py>) -> PyResult<bool>;
    fn finish(self) -> Texts;
}

/// One text after another, of which `columns` stand in a row.
fn texts<'py, C: Collect<'py>>(
    name: &str,
    items: &[Object<'py>],
    columns: Option<usize>,
    mut collected: C,
) -> PyResult<Texts> {
    for (index, object) in items.iter().enumerate() {
        match columns {
            None => collected.push(Place(name, &[index]), object)?,
            Some(columns) => collected.push(Place(name, &[index / columns, index % columns]), object)?,
        }
    }
    Ok(collected.finish())
}

/// One set of references after another, and how many each has: an item is a text, or a list of texts, of which those that
/// are None are missing.
fn sets<'py, C: Collect<'py>>(name: &str, items: &[Object<'py>], mut collected: C) -> PyResult<(Texts, Vec<usize>)> {
    let several = items.iter().map(C::are_several).collect::<PyResult<Vec<_>>>()?;
    // Among lists of texts an empty one holds none; it is not a text without tokens.
    let any = several.contains(&true);
    let mut counts = Vec::with_capacity(items.len());
    for (index, (object, several)) in items.iter().zip(several).enumerate() {
        counts.push(match list(object) {
            Some(texts) if several || any && texts.is_empty() => {
                let mut count = 0;
                for (inner, text) in texts.iter().enumerate().filter(|(_, text)| !text.is_none()) {
                    collected.push(Place(name, &[index, inner]), text)?;
                    count += 1;
                }
                count
            }
            _ => {
                collected.push(Place(name, &[index]), object)?;
                1
            }
        });
    }
    Ok((collected.finish(), counts))
}

/// Strings, which stay where Python has them: a str never changes, and lives as long as it is referred to.
#[derive(Default)]
struct Strings(Vec<PyBackedStr>);

impl<'py> Collect<'py> for Strings {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        let text = object.cast::<PyString>().ok().and_then(|text| PyBackedStr::try_from(text.clone()).ok());
        match text {
            Some(text) => self.0.push(text),
            None => return Err(string(place, object).expect_err("it is none")),
        }
        Ok(())
    }

    fn are_several(object: &Object<'py>) -> PyResult<bool> {
        Ok(object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>())
    }

    fn finish(self) -> Texts {
        Texts::Strings(text::tokens::Strings::new(self.0))
    }
}

pub(super) fn string<'a>(place: Place<'_>, object: &'a Object<'_>) -> PyResult<&'a str> {
    let Ok(string) = object.cast::<PyString>() else {
        let kind = object.get_type().name()?;
        let expected = match place {
            Place("references" | "candidates", [_]) => "a string or a list of strings",
            _ => "a string",
        };
        return Err(Error::Type(format!("{place} has type {kind}, expected {expected}")).into());
    };
    string
        .to_str()
        .map_err(|_| Error::Value(format!("{place} holds a lone surrogate, which is not a character")).into())
}

/// Tokens as numbers that hypotheses and references share. An ellipsis ends a line: it stands where a tokenizer of the
/// caller's has cut the text line by line.
struct Tokens<F> {
    number: F,
    ids: Ids,
}

impl<'py, F: FnMut(&[u8]) -> u32> Collect<'py> for Tokens<F> {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        let Some(tokens) = list(object) else {
            let kind = object.get_type().name()?;
            return Err(Error::Type(format!("{place} has type {kind}, expected a list of tokens")).into());
        };
        let start = self.ids.values.len();
        for (index, token) in tokens.iter().enumerate() {
            if token.is_instance_of::<PyEllipsis>() {
                self.ids.values.push(LINE_BREAK);
                continue;
            }
            let place = Place(place.0, &[place.1, &[index]].concat());
            let number = (self.number)(string(place, token)?.as_bytes());
            self.ids.values.push(i64::from(number));
        }
        self.ids.bounds.push([start, self.ids.values.len()]);
        Ok(())
    }

    fn are_several(object: &Object<'py>) -> PyResult<bool> {
        let first = list(object).and_then(|items| items.into_iter().find(|item| !item.is_none()));
        Ok(first.is_some_and(|first| list(&first).is_some()))
    }

    fn finish(self) -> Texts {
        self.ids.finish()
    }
}

/// Whether NumPy may make integers of something that is no list: not of nothing, of a number, nor of what else has a length.
pub(super) fn may_hold_ids(object: &Object<'_>) -> bool {
    let is_other =
        object.is_instance_of::<PyBytes>() || object.is_instance_of::<PyDict>() || object.is_instance_of::<PySet>();
    object.is_instance_of::<PyUntypedArray>() || !is_other && object.hasattr("__len__").unwrap_or(false)
}

/// Token ids, and which of them are texts.
#[derive(Default)]
struct Ids {
    values: Vec<i64>,
    bounds: Vec<[usize; 2]>,
    cut: Cut,
}

impl Ids {
    /// Another text: what counts of these values.
    fn add(&mut self, place: Place<'_>, range: Range<usize>) -> Result<(), Error> {
        let ids = self.cut.valid(self.bounds.len(), &self.values[range.clone()])?;
        // What is beyond 64 bits with a sign comes in as the largest that is not.
        if ids.contains(&i64::MAX) {
            let index = ids.iter().take_while(|&&id| id != i64::MAX).count();
            let message = format!("{place} holds an id of 2**63 - 1 or more at {index}, expected smaller ones");
            return Err(Error::Value(message));
        }
        self.bounds.push([range.start, range.start + ids.len()]);
        Ok(())
    }
}

impl<'py> Collect<'py> for Ids {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        if object.is_instance_of::<PyString>() {
            let message = format!("{place} is a string, but hypotheses[0] is not: expected token ids");
            return Err(Error::Type(message).into());
        }
        match list(object) {
            Some(items) if begins_with_string(&items) => {
                return Err(Error::Type(format!("{place} is a list of strings, expected a string or token ids")).into());
            }
            None if !may_hold_ids(object) => {
                let kind = object.get_type().name()?.to_string();
                return Err(Error::Type(format!("{place} has type {kind}, expected a string or token ids")).into());
            }
            _ => {}
        }
        match integers(&place.to_string(), object)? {
            Argument::Array(Integers { values, shape }) if shape.len() == 1 => {
                let start = self.values.len();
                self.values.try_reserve(values.len()).map_err(|_| Error::Memory(8 * (start + values.len())))?;
                self.values.extend_from_slice(&values);
                Ok(self.add(place, start..self.values.len())?)
            }
            Argument::Array(Integers { shape, .. }) => Err(Error::shape(&place.to_string(), &shape, "(T,)").into()),
            Argument::List(_) => Err(Error::Type(format!("{place} is a nested list, expected token ids")).into()),
        }
    }

    fn are_several(object: &Object<'py>) -> PyResult<bool> {
        let Some(items) = list(object) else { return Ok(false) };
        // Of references that are all missing there is none, and not one.
        let Some(first) = items.iter().find(|item| !item.is_none()) else { return Ok(!items.is_empty()) };
        Ok(list(first).is_some()
            || first.is_instance_of::<PyString>()
            || first.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() > 0)
            || !first.is_instance_of::<PyInt>() && first.hasattr("__len__")?)
    }

    fn finish(self) -> Texts {
        Texts::Ids(Arena::new(self.values, self.bounds))
    }
}

/// Ids in one array or in a list of them.
fn ids(name: &str, items: &Items<'_>, cut: Cut) -> PyResult<TextArray> {
    let mut collected = Ids { cut, ..Ids::default() };
    let object = match items {
        Items::Array(object) => object,
        Items::List(items) | Items::Strings { rows: items, .. } => {
            if let Some((offsets, _)) = collected.cut.offsets {
                return Err(Error::Type(format!("{offsets} goes with one flat array, and {name} is a list")).into());
            }
            collected.cut.must_be(&[items.len()])?;
            return Ok(TextArray {
                texts: texts(name, items, None, collected)?,
                axes: vec![items.len()],
                columns: None,
            });
        }
    };
    let Argument::Array(Integers { values, shape }) = integers(name, object)? else {
        return Err(Error::Type(format!("{name} is a list of arrays, expected one array")).into());
    };
    collected.values = values;
    if let Some((offsets, bounds)) = collected.cut.offsets.take() {
        let &[length] = &shape[..] else {
            return Err(Error::shape(name, &shape, format!("(V,) with {offsets}")).into());
        };
        let axes = vec![bounds.len() - 1];
        collected.cut.must_be(&axes)?;
        for (text, bounds) in bounds.windows(2).enumerate() {
            let range = usize::try_from(bounds[0]).ok().zip(usize::try_from(bounds[1]).ok());
            let range = range.filter(|&(start, end)| start <= end && end <= length).ok_or_else(|| {
                let expected = format!("an end in {}..={length}", bounds[0]);
                Error::range(offsets, &[text + 1], bounds[1], expected)
            })?;
            collected.add(Place(name, &[text]), range.0..range.1)?;
        }
        return Ok(TextArray { texts: collected.finish(), axes, columns: None });
    }
    let (axes, columns) = match &shape[..] {
        [axes @ .., columns] if matches!(axes.len(), 1 | 2) => (axes.to_vec(), *columns),
        _ => {
            let steps = if name == "references" { 'R' } else { 'T' };
            return Err(Error::shape(name, &shape, format!("(N, {steps}), or (N, K, {steps})")).into());
        }
    };
    collected.cut.must_be(&axes)?;
    for text in 0..axes.iter().product() {
        let place = if let [_, inner] = axes[..] { vec![text / inner, text % inner] } else { vec![text] };
        collected.add(Place(name, &place), text * columns..(text + 1) * columns)?;
    }
    Ok(TextArray { texts: collected.finish(), axes, columns: Some(columns) })
}

/// References that are ids: one for each set in an array (N, R), several in an array (N, M, R), or lists of either kind.
fn sets_of_ids(name: &str, sets_of_texts: &Items<'_>, cut: Cut) -> PyResult<(Texts, Vec<usize>)> {
    let Items::List(items) = sets_of_texts else {
        let TextArray { texts, axes, .. } = ids(name, sets_of_texts, cut)?;
        return Ok((texts, vec![axes.get(1).copied().unwrap_or(1); axes[0]]));
    };
    let mut several = items.iter().map(Ids::are_several);
    if several.any(|several| several.unwrap_or(true)) {
        if let Some(shape) = cut.shape() {
            let message =
                format!("{shape} goes with one reference for each hypothesis, and {name} holds lists of them");
            return Err(Error::Value(message).into());
        }
        return sets(name, items, Ids { cut, ..Ids::default() });
    }
    let TextArray { texts, axes, .. } = ids(name, sets_of_texts, cut)?;
    Ok((texts, vec![1; axes[0]]))
}

/// Complains of texts that stand where sets of them should.
pub(super) fn must_be_sets(name: &str, items: &Items<'_>) -> PyResult<()> {
    match items {
        Items::Strings { .. } => Ok(()),
        Items::Array(array) => {
            let shape = array.getattr("shape").and_then(|shape| shape.extract::<Vec<usize>>()).unwrap_or_default();
            if shape.len() == 3 { Ok(()) } else { Err(Error::shape(name, &shape, "(N, K, T)").into()) }
        }
        Items::List(list) => {
            for (index, item) in list.iter().enumerate() {
                if item.is_instance_of::<PyString>() || !Ids::are_several(item)? && item.len().unwrap_or(1) > 0 {
                    let message = format!("{name}[{index}] is one text, expected a list of them");
                    return Err(Error::Type(message).into());
                }
            }
            Ok(())
        }
    }
}
