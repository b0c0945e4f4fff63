//! Texts over the border: strings, lists of tokens and token ids are copied once, while the GIL is held; then all work is on
//! the copy.
//!
//! Strings stay strings, to be cut into tokens by a metric. Tokens that come cut are numbered here, and are ids from then on.

use std::fmt;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};

use super::arguments::{integer, integer_array, integers};
use crate::error::Error;
use crate::input::{Argument, Integers};
use crate::text::tokens::{Arena, Pairs, Texts};
use crate::text::vocabulary::Vocabulary;

type Object<'py> = Bound<'py, PyAny>;

/// Pairs, and the axes of what there is for each hypothesis: (N,), or (N, K) where each of N sets of references has K
/// hypotheses.
pub(super) struct Read {
    pub(super) pairs: Pairs,
    pub(super) axes: Vec<usize>,
}

/// Reads hypotheses and references. `layout` holds the keywords that say how ids lie in their arrays.
pub(super) fn read<'py>(
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: Option<&Bound<'py, PyDict>>,
) -> PyResult<Read> {
    let layout = Layout::new(layout)?;
    let (hypotheses, references) = (items("hypotheses", hypotheses)?, items("references", references)?);
    let (mut axes, texts, references, counts) = match &hypotheses {
        Items::List(list) if begins_with_string(list) => {
            layout.is_for_ids("strings")?;
            let (texts, references, counts) = both(list, &references, Strings::default)?;
            (vec![list.len()], texts, references, counts)
        }
        Items::List(list) if begins_with_tokens(list) || all_are_empty(list) && references.hold_tokens() => {
            layout.is_for_ids("lists of tokens")?;
            let mut vocabulary = Vocabulary::default();
            let texts = texts("hypotheses", list, Tokens::of(&mut vocabulary))?;
            let (references, counts) = sets(references.listed("lists of tokens")?, Tokens::of(&mut vocabulary))?;
            (vec![list.len()], texts, references, counts)
        }
        Items::Strings { rows, columns } => {
            layout.is_for_ids("strings")?;
            let list: Vec<_> = rows.iter().filter_map(list).flatten().collect();
            let (texts, references, counts) = both(&list, &references, Strings::default)?;
            (vec![rows.len(), *columns], texts, references, counts)
        }
        hypotheses => {
            let (axes, texts) = ids("hypotheses", hypotheses, layout.hypotheses)?;
            let (references, counts) = sets_of_ids(&references, layout.references)?;
            (axes, texts, references, counts)
        }
    };
    let rollouts = match (layout.rollouts, &axes[..]) {
        (None, axes) => axes.get(1).copied().unwrap_or(1),
        (Some(rollouts), &[_, own]) if rollouts != own => {
            let message = format!("rollouts is {rollouts}, but hypotheses have {own} for each set of references");
            return Err(Error::Value(message).into());
        }
        (Some(rollouts), _) => rollouts,
    };
    let pairs = Pairs::new(texts, references, &counts, rollouts)?;
    if layout.rollouts.is_some() {
        axes = vec![pairs.len() / rollouts, rollouts];
    }
    Ok(Read { pairs, axes })
}

/// How ids lie in their arrays, and how many hypotheses there are for each set of references.
struct Layout {
    hypotheses: Cut,
    references: Cut,
    rollouts: Option<usize>,
}

/// Which of the ids are texts.
#[derive(Default)]
struct Cut {
    /// How many ids of each text count.
    lengths: Option<(&'static str, Integers)>,
    /// Where in a flat array each text begins, and where the last one ends.
    offsets: Option<(&'static str, Vec<i64>)>,
    /// The id that ends a text and does not belong to it.
    eos_id: Option<i64>,
    /// The id that fills the end.
    pad_id: Option<i64>,
}

impl Layout {
    fn new(keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut layout = Self { hypotheses: Cut::default(), references: Cut::default(), rollouts: None };
        for (name, value) in keywords.into_iter().flatten() {
            let name = name.cast_into::<PyString>()?;
            if value.is_none() {
                continue;
            }
            match name.to_str()? {
                "lengths" => layout.hypotheses.lengths = Some(("lengths", integer_array("lengths", &value)?)),
                "reference_lengths" => {
                    let lengths = integer_array("reference_lengths", &value)?;
                    layout.references.lengths = Some(("reference_lengths", lengths));
                }
                "offsets" => layout.hypotheses.offsets = Some(offsets("offsets", &value)?),
                "reference_offsets" => layout.references.offsets = Some(offsets("reference_offsets", &value)?),
                "eos_id" => {
                    let id = Some(integer("eos_id", &value)?);
                    (layout.hypotheses.eos_id, layout.references.eos_id) = (id, id);
                }
                "pad_id" => {
                    let id = Some(integer("pad_id", &value)?);
                    (layout.hypotheses.pad_id, layout.references.pad_id) = (id, id);
                }
                "rollouts" => {
                    let count = integer("rollouts", &value)?;
                    let positive = usize::try_from(count).ok().filter(|&count| count > 0);
                    layout.rollouts =
                        Some(positive.ok_or_else(|| Error::range("rollouts", &[], count, "a count of at least 1"))?);
                }
                name => {
                    return Err(PyTypeError::new_err(format!("got an unexpected keyword argument '{name}'")));
                }
            }
        }
        Ok(layout)
    }

    /// Complains of what says how ids lie, where the hypotheses are something else.
    fn is_for_ids(&self, kind: &str) -> Result<(), Error> {
        let of = |cut: &Cut| cut.lengths.as_ref().map(|it| it.0).or(cut.offsets.as_ref().map(|it| it.0));
        let common = |cut: &Cut| cut.eos_id.and(Some("eos_id")).or(cut.pad_id.and(Some("pad_id")));
        match of(&self.hypotheses).or(of(&self.references)).or(common(&self.hypotheses)) {
            Some(name) => Err(Error::Type(format!("{name} goes with token ids, and hypotheses are {kind}"))),
            None => Ok(()),
        }
    }
}

fn offsets(name: &'static str, object: &Object<'_>) -> PyResult<(&'static str, Vec<i64>)> {
    let Integers { values, shape } = integer_array(name, object)?;
    if shape.len() != 1 || values.is_empty() {
        return Err(Error::shape(name, &shape, "(N + 1,)").into());
    }
    Ok((name, values))
}

impl Cut {
    /// Whether there is a length for each text.
    fn must_be(&self, axes: &[usize]) -> Result<(), Error> {
        match &self.lengths {
            Some((name, lengths)) if lengths.shape != axes => {
                Err(Error::shape(name, &lengths.shape, crate::error::tuple(axes)))
            }
            _ => Ok(()),
        }
    }

    /// The ids of a text that count.
    fn valid<'a>(&self, text: usize, mut ids: &'a [i64]) -> Result<&'a [i64], Error> {
        if let Some((name, lengths)) = &self.lengths {
            let length = lengths.values[text];
            let index = match lengths.shape[..] {
                [_, columns] => vec![text / columns, text % columns],
                _ => vec![text],
            };
            ids = usize::try_from(length)
                .ok()
                .and_then(|length| ids.get(..length))
                .ok_or_else(|| Error::range(name, &index, length, format!("a length in 0..={}", ids.len())))?;
        }
        if let Some(eos_id) = self.eos_id {
            ids = ids.split(|&id| id == eos_id).next().unwrap_or_default();
        }
        if let Some(pad_id) = self.pad_id {
            let padded = ids.iter().rev().take_while(|&&id| id == pad_id).count();
            ids = &ids[..ids.len() - padded];
        }
        Ok(ids)
    }
}

/// What `hypotheses` or `references` holds.
enum Items<'py> {
    List(Vec<Object<'py>>),
    /// A NumPy array of strings with two axes, as a list of its rows.
    Strings {
        rows: Vec<Object<'py>>,
        columns: usize,
    },
    Array(Object<'py>),
}

impl<'py> Items<'py> {
    /// Whether these are lists of tokens, or lists of several.
    fn hold_tokens(&self) -> bool {
        let Self::List(items) = self else { return false };
        begins_with_tokens(items) || items.iter().filter_map(list).any(|texts| begins_with_tokens(&texts))
    }

    /// The items, where `kind` of hypotheses needs a list.
    fn listed(&self, kind: &str) -> PyResult<&[Object<'py>]> {
        match self {
            Self::List(items) | Self::Strings { rows: items, .. } => Ok(items),
            Self::Array(_) => {
                let message = format!("references is an array, expected a list, as hypotheses are {kind}");
                Err(Error::Type(message).into())
            }
        }
    }
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
fn list<'py>(object: &Object<'py>) -> Option<Vec<Object<'py>>> {
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
struct Place<'a>(&'a str, &'a [usize]);

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

/// One text after another.
fn texts<'py, C: Collect<'py>>(name: &str, items: &[Object<'py>], mut collected: C) -> PyResult<Texts> {
    for (index, object) in items.iter().enumerate() {
        collected.push(Place(name, &[index]), object)?;
    }
    Ok(collected.finish())
}

/// One set of references after another, and how many each has: an item is a text, or a list of texts, of which those that
/// are None are missing.
fn sets<'py, C: Collect<'py>>(items: &[Object<'py>], mut collected: C) -> PyResult<(Texts, Vec<usize>)> {
    let several = items.iter().map(C::are_several).collect::<PyResult<Vec<_>>>()?;
    // Among lists of texts an empty one holds none; it is not a text without tokens.
    let any = several.contains(&true);
    let mut counts = Vec::with_capacity(items.len());
    for (index, (object, several)) in items.iter().zip(several).enumerate() {
        counts.push(match list(object) {
            Some(texts) if several || any && texts.is_empty() => {
                let mut count = 0;
                for (inner, text) in texts.iter().enumerate().filter(|(_, text)| !text.is_none()) {
                    collected.push(Place("references", &[index, inner]), text)?;
                    count += 1;
                }
                count
            }
            _ => {
                collected.push(Place("references", &[index]), object)?;
                1
            }
        });
    }
    Ok((collected.finish(), counts))
}

fn both<'py, C: Collect<'py>>(
    hypotheses: &[Object<'py>],
    references: &Items<'py>,
    collected: fn() -> C,
) -> PyResult<(Texts, Texts, Vec<usize>)> {
    let texts = texts("hypotheses", hypotheses, collected())?;
    let (references, counts) = sets(references.listed("strings")?, collected())?;
    Ok((texts, references, counts))
}

/// Strings, end to end.
#[derive(Default)]
struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl<'py> Collect<'py> for Strings {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        let text = string(place, object)?;
        self.text.try_reserve(text.len()).map_err(|_| Error::Memory(self.text.len() + text.len()))?;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        Ok(())
    }

    fn are_several(object: &Object<'py>) -> PyResult<bool> {
        Ok(object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>())
    }

    fn finish(self) -> Texts {
        Texts::Strings(Arena::new(self.text, self.ends))
    }
}

fn string<'a>(place: Place<'_>, object: &'a Object<'_>) -> PyResult<&'a str> {
    let Ok(string) = object.cast::<PyString>() else {
        let kind = object.get_type().name()?;
        let expected = match place {
            Place("references", [_]) => "a string or a list of strings",
            _ => "a string",
        };
        return Err(Error::Type(format!("{place} has type {kind}, expected {expected}")).into());
    };
    string
        .to_str()
        .map_err(|_| Error::Value(format!("{place} holds a lone surrogate, which is not a character")).into())
}

/// Tokens as numbers that hypotheses and references share.
struct Tokens<'a> {
    vocabulary: &'a mut Vocabulary,
    ids: Ids,
}

impl<'a> Tokens<'a> {
    fn of(vocabulary: &'a mut Vocabulary) -> Self {
        Self { vocabulary, ids: Ids::default() }
    }
}

impl<'py> Collect<'py> for Tokens<'_> {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        let Some(tokens) = list(object) else {
            let kind = object.get_type().name()?;
            return Err(Error::Type(format!("{place} has type {kind}, expected a list of tokens")).into());
        };
        for (index, token) in tokens.iter().enumerate() {
            let place = Place(place.0, &[place.1, &[index]].concat());
            let number = self.vocabulary.number(string(place, token)?.as_bytes());
            self.ids.values.push(i64::from(number));
        }
        self.ids.ends.push(self.ids.values.len());
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

/// Token ids, end to end.
#[derive(Default)]
struct Ids {
    values: Vec<i64>,
    ends: Vec<usize>,
    cut: Cut,
}

impl Ids {
    /// What counts of a text.
    fn extend(&mut self, place: Place<'_>, ids: &[i64]) -> Result<(), Error> {
        let ids = self.cut.valid(self.ends.len(), ids)?;
        // What is beyond 64 bits with a sign comes in as the largest that is not.
        if let Some(index) = ids.iter().position(|&id| id == i64::MAX) {
            let message = format!("{place} holds an id of 2**63 - 1 or more at {index}, expected smaller ones");
            return Err(Error::Value(message));
        }
        self.values.try_reserve(ids.len()).map_err(|_| Error::Memory(8 * (self.values.len() + ids.len())))?;
        self.values.extend_from_slice(ids);
        self.ends.push(self.values.len());
        Ok(())
    }
}

impl<'py> Collect<'py> for Ids {
    fn push(&mut self, place: Place<'_>, object: &Object<'py>) -> PyResult<()> {
        if object.is_instance_of::<PyString>() {
            let message = format!("{place} is a string, but hypotheses[0] is not: expected token ids");
            return Err(Error::Type(message).into());
        }
        if list(object).is_some_and(|items| begins_with_string(&items)) {
            return Err(Error::Type(format!("{place} is a list of strings, expected a string or token ids")).into());
        }
        match integers(&place.to_string(), object)? {
            Argument::Array(Integers { values, shape }) if shape.len() == 1 => Ok(self.extend(place, &values)?),
            Argument::Array(Integers { shape, .. }) => Err(Error::shape(&place.to_string(), &shape, "(T,)").into()),
            Argument::List(_) => Err(Error::Type(format!("{place} is a nested list, expected token ids")).into()),
        }
    }

    fn are_several(object: &Object<'py>) -> PyResult<bool> {
        let first = list(object).and_then(|items| items.into_iter().find(|item| !item.is_none()));
        let Some(first) = first else { return Ok(false) };
        Ok(list(&first).is_some()
            || first.is_instance_of::<PyString>()
            || first.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() > 0)
            || !first.is_instance_of::<PyInt>() && first.hasattr("__len__")?)
    }

    fn finish(self) -> Texts {
        Texts::Ids(Arena::new(self.values, self.ends))
    }
}

/// Ids in one array or in a list of them: the axes, and the texts.
fn ids(name: &str, items: &Items<'_>, cut: Cut) -> PyResult<(Vec<usize>, Texts)> {
    let mut collected = Ids { cut, ..Ids::default() };
    let object = match items {
        Items::Array(object) => object,
        Items::List(items) | Items::Strings { rows: items, .. } => {
            if let Some((offsets, _)) = collected.cut.offsets {
                return Err(Error::Type(format!("{offsets} goes with one flat array, and {name} is a list")).into());
            }
            collected.cut.must_be(&[items.len()])?;
            return Ok((vec![items.len()], texts(name, items, collected)?));
        }
    };
    let Argument::Array(Integers { values, shape }) = integers(name, object)? else {
        return Err(Error::Type(format!("{name} is a list of arrays, expected one array")).into());
    };
    if let Some((offsets, bounds)) = collected.cut.offsets.take() {
        let &[length] = &shape[..] else {
            return Err(Error::shape(name, &shape, format!("(V,) with {offsets}")).into());
        };
        let axes = vec![bounds.len() - 1];
        collected.cut.must_be(&axes)?;
        for (text, bounds) in bounds.windows(2).enumerate() {
            let range = usize::try_from(bounds[0]).ok().zip(usize::try_from(bounds[1]).ok());
            let ids = range.and_then(|(start, end)| values.get(start..end)).ok_or_else(|| {
                let expected = format!("an end in {}..={length}", bounds[0]);
                Error::range(offsets, &[text + 1], bounds[1], expected)
            })?;
            collected.extend(Place(name, &[text]), ids)?;
        }
        return Ok((axes, collected.finish()));
    }
    let (axes, columns) = match &shape[..] {
        [axes @ .., columns] if matches!(axes.len(), 1 | 2) => (axes.to_vec(), *columns),
        _ => return Err(Error::shape(name, &shape, "(N, T), or (N, K, T)").into()),
    };
    collected.cut.must_be(&axes)?;
    for text in 0..axes.iter().product() {
        let place = if let [_, inner] = axes[..] { vec![text / inner, text % inner] } else { vec![text] };
        collected.extend(Place(name, &place), &values[text * columns..(text + 1) * columns])?;
    }
    Ok((axes, collected.finish()))
}

/// References that are ids: one for each set in an array (N, R), several in an array (N, M, R), or lists of either kind.
fn sets_of_ids(references: &Items<'_>, cut: Cut) -> PyResult<(Texts, Vec<usize>)> {
    let Items::List(items) = references else {
        let (axes, texts) = ids("references", references, cut)?;
        return Ok((texts, vec![axes.get(1).copied().unwrap_or(1); axes[0]]));
    };
    let mut several = items.iter().map(Ids::are_several);
    if several.any(|several| several.unwrap_or(true)) {
        if let Some(name) = cut.lengths.as_ref().map(|it| it.0).or(cut.offsets.as_ref().map(|it| it.0)) {
            let message =
                format!("{name} goes with one reference for each hypothesis, and references holds lists of them");
            return Err(Error::Value(message).into());
        }
        return sets(items, Ids { cut, ..Ids::default() });
    }
    let (axes, texts) = ids("references", references, cut)?;
    Ok((texts, vec![1; axes[0]]))
}
