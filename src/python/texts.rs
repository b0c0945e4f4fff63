//! Texts over the border: lists of tokens and token ids are copied once, while the GIL is held; then all work is on the copy.
//!
//! Strings stay where they are, as nothing changes them, to be cut into tokens by a metric. Tokens that come cut are
//! numbered here, and are ids from then on.

use std::sync::Arc;

use numpy::ToPyArray;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyEllipsis, PyList, PyString};

use super::arguments::{integer, integer_array};
use super::collect::{Items, Kind, TextArray, items, list, may_hold_ids, must_be_sets, text_array, text_sets};
use super::guarded;
use super::tokenizer::OwnTokenizer;
use crate::error::Error;
use crate::input::Integers;
use crate::text::tokens::{LINE_BREAK, Pairs, TextSets, Texts, same_kind};
use crate::text::vocabulary::Vocabulary;

type Object<'py> = Bound<'py, PyAny>;

/// Pairs, and the shape of what there is for each hypothesis.
pub(super) struct Read {
    pub(super) pairs: Pairs,
    /// (N,), or (N, K) where each of N sets of references has K hypotheses.
    pub(super) axes: Vec<usize>,
    /// T where the hypotheses are ids in an array (…, T).
    pub(super) columns: Option<usize>,
}

/// Texts that were read before, for many calls.
#[pyclass(frozen, module = "seqloss_rs")]
pub(super) struct PreparedTexts {
    sets: Arc<TextSets>,
    kind: Kind,
    /// The numbers of tokens of texts that came cut, and the tokens in the order of their numbers.
    vocabulary: Vocabulary,
    tokens: Vec<String>,
}

/// Reads hypotheses and references, which may be prepared. `layout` holds the keywords that say how ids lie in their
/// arrays; `own` cuts strings.
pub(super) fn read<'py>(
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: Option<&Bound<'py, PyDict>>,
    own: Option<&OwnTokenizer>,
) -> PyResult<Read> {
    let layout = Layout::new(layout)?;
    let asked = layout.rollouts;
    let (TextArray { texts, mut axes, columns }, references) = sides(hypotheses, references, layout, own)?;
    let rollouts = match (asked, &axes[..]) {
        (None, axes) => axes.get(1).copied().unwrap_or(1),
        (Some(rollouts), &[_, own]) if rollouts != own => {
            let message = format!("rollouts is {rollouts}, but hypotheses have {own} for each set of references");
            return Err(Error::Value(message).into());
        }
        (Some(rollouts), _) => rollouts,
    };
    let pairs = Pairs::new(texts, references, rollouts)?;
    if asked.is_some() {
        axes = vec![pairs.len() / rollouts, rollouts];
    }
    Ok(Read { pairs, axes, columns })
}

/// Hypotheses, each of which is compared with each of the references.
pub(super) struct Grid {
    pub(super) hypotheses: Texts,
    pub(super) references: Arc<TextSets>,
}

/// Reads both sides of a matrix.
pub(super) fn read_grid<'py>(
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: &Bound<'py, PyDict>,
    own: Option<&OwnTokenizer>,
) -> PyResult<Grid> {
    let layout = Layout::new(Some(layout))?;
    layout.has_no_rollouts("goes with pairs, and here each is compared with each")?;
    let (TextArray { texts: hypotheses, axes, .. }, references) = sides(hypotheses, references, layout, own)?;
    if let &[sets, each] = &axes[..] {
        let message = format!("hypotheses are {sets} sets of {each}, expected one text after another");
        return Err(Error::Value(message).into());
    }
    if let Some((set, count)) = (0..references.len()).map(|set| (set, references.range(set).len())).find(|it| it.1 > 1)
    {
        let message = format!("references[{set}] has {count} texts, expected 1, as each is compared with each");
        return Err(Error::Value(message).into());
    }
    if !hypotheses.is_empty() && !references.is_empty() {
        same_kind(&hypotheses, references.texts())?;
    }
    Ok(Grid { hypotheses, references })
}

/// Sets of candidates, and the sets of what they are compared with, unless it is one another.
pub(super) struct Candidates {
    pub(super) candidates: TextSets,
    pub(super) references: Option<TextSets>,
}

/// Reads candidates, and as many sets of references.
pub(super) fn read_candidates<'py>(
    candidates: &Object<'py>,
    references: Option<&Object<'py>>,
    layout: &Bound<'py, PyDict>,
    own: Option<&OwnTokenizer>,
) -> PyResult<Candidates> {
    let layout = Layout::new(Some(layout))?;
    let mut vocabulary = Vocabulary::default();
    let mut number = |token: &[u8]| vocabulary.number(token);
    let mut items_of_candidates = items("candidates", candidates)?;
    let mut kind = Kind::of_sets(&items_of_candidates);
    layout.is_for("candidates", kind)?;
    must_be_sets("candidates", &items_of_candidates)?;
    let are_strings = kind == Kind::Strings;
    cut(own, "candidates", &mut items_of_candidates, &mut kind)?;
    let candidates = text_sets("candidates", &items_of_candidates, kind, layout.hypotheses, &mut number)?;
    let Some(references) = references else { return Ok(Candidates { candidates, references: None }) };
    let mut items = items("references", references)?;
    must_be_sets("references", &items)?;
    if are_strings {
        let mut kind = Kind::of_sets(&items);
        cut(own, "references", &mut items, &mut kind)?;
    }
    let references = text_sets("references", &items, kind, layout.references, number)?;
    if references.len() != candidates.len() {
        let (references, candidates) = (references.len(), candidates.len());
        let message =
            format!("references has length {references}, expected {candidates}, a set for each of candidates");
        return Err(Error::Value(message).into());
    }
    same_kind(candidates.texts(), references.texts())?;
    Ok(Candidates { candidates, references: Some(references) })
}

/// Reads texts that have that `name` and no references.
pub(super) fn read_alone<'py>(
    name: &str,
    texts: &Object<'py>,
    layout: &Bound<'py, PyDict>,
    own: Option<&OwnTokenizer>,
) -> PyResult<TextArray> {
    let layout = Layout::new(Some(layout))?;
    let mut items = items(name, texts)?;
    let mut kind = Kind::of_texts(&items, || Kind::Ids);
    layout.is_for(name, kind)?;
    cut(own, name, &mut items, &mut kind)?;
    let mut vocabulary = Vocabulary::default();
    text_array(name, &items, kind, layout.hypotheses, |token| vocabulary.number(token))
}

/// Reads references that are token ids, a set for each sequence; of a single one they are ids, or several texts.
pub(super) fn references_of_ids<'py>(
    references: &Object<'py>,
    lengths: Option<&Object<'py>>,
    eos_id: Option<i64>,
    pad_id: Option<i64>,
    is_one: bool,
) -> PyResult<TextSets> {
    if references.is_instance_of::<PyString>() || list(references).is_none() && !may_hold_ids(references) {
        let kind = references.get_type().name()?.to_string();
        return Err(Error::Type(format!("references has type {kind}, expected token ids")).into());
    }
    let mut lengths = lengths.map(|object| integer_array("reference_lengths", object)).transpose()?;
    let mut references = references.clone();
    if is_one {
        // The axis that counts sequences.
        let is_list = list(&references).is_some();
        let shape: Option<Vec<usize>> = references.getattr("shape").and_then(|shape| shape.extract()).ok();
        if let Some(shape) = shape.as_ref().filter(|shape| !matches!(shape.len(), 1 | 2)) {
            return Err(Error::shape("references", shape, "(R,), or (K, R)").into());
        }
        let axes = shape.map_or(1, |shape| shape.len());
        if let Some(lengths) = lengths.as_mut().filter(|lengths| axes > 1 || lengths.shape.is_empty()) {
            lengths.shape.insert(0, 1);
        }
        references = match is_list {
            true => PyList::new(references.py(), [references])?.into_any(),
            false => references.get_item(references.py().None()).unwrap_or(references),
        };
    }
    let items = match items("references", &references)? {
        // What an array of objects holds may be numbers as well.
        Items::Strings { rows, .. } => Items::List(rows),
        items => items,
    };
    let kind = Kind::of_sets(&items);
    if kind != Kind::Ids {
        return Err(Error::Type(format!("references are {kind}, expected token ids")).into());
    }
    let lengths = lengths.map(|lengths| ("reference_lengths", lengths));
    let cut = Cut { lengths, offsets: None, eos_id, pad_id };
    text_sets("references", &items, kind, cut, |_| 0)
}

/// Both sides, not compared in number yet.
fn sides<'py>(
    hypotheses: &Object<'py>,
    references: &Object<'py>,
    layout: Layout,
    own: Option<&OwnTokenizer>,
) -> PyResult<(TextArray, Arc<TextSets>)> {
    let mut hypotheses = items("hypotheses", hypotheses)?;
    if let Ok(prepared) = references.cast::<PreparedTexts>() {
        let PreparedTexts { sets, kind: prepared, vocabulary, .. } = prepared.get();
        layout.references.has_no_shape("goes with the references, which are prepared already")?;
        let mut kind = Kind::of_texts(&hypotheses, || *prepared);
        layout.is_for("hypotheses", kind)?;
        cut(own, "hypotheses", &mut hypotheses, &mut kind)?;
        let find = |token: &[u8]| vocabulary.find(token);
        let texts = text_array("hypotheses", &hypotheses, kind, layout.hypotheses, find)?;
        if kind != *prepared {
            let hint = if kind == Kind::Tokens { "; one reference that is cut into tokens is [tokens]" } else { "" };
            let message = format!("hypotheses are {kind}, but the prepared references are {prepared}{hint}");
            return Err(Error::Type(message).into());
        }
        return Ok((texts, sets.clone()));
    }
    let mut references = items("references", references)?;
    let mut kind = Kind::of_texts(&hypotheses, || references.tokens_or_sets());
    layout.is_for("hypotheses", kind)?;
    let are_strings = kind == Kind::Strings;
    cut(own, "hypotheses", &mut hypotheses, &mut kind)?;
    if are_strings {
        cut(own, "references", &mut references, &mut Kind::Strings)?;
    }
    let mut vocabulary = Vocabulary::default();
    let mut number = |token: &[u8]| vocabulary.number(token);
    let texts = text_array("hypotheses", &hypotheses, kind, layout.hypotheses, &mut number)?;
    let references = text_sets("references", &references, kind, layout.references, number)?;
    Ok((texts, Arc::new(references)))
}

/// Lets a tokenizer of the caller's cut strings; they are lists of tokens from then on.
fn cut(own: Option<&OwnTokenizer>, name: &str, items: &mut Items<'_>, kind: &mut Kind) -> PyResult<()> {
    let Some(own) = own else { return Ok(()) };
    if *kind != Kind::Strings {
        return Ok(own.suits(name, *kind, items)?);
    }
    match items {
        Items::List(list) | Items::Strings { rows: list, .. } => *list = own.cut(name, list)?,
        Items::Array(_) => {}
    }
    *kind = Kind::Tokens;
    Ok(())
}

impl PreparedTexts {
    /// Reads references, or others that come in sets and have that `name`.
    pub(super) fn new<'py>(
        name: &'static str,
        sets: &Object<'py>,
        layout: Option<&Bound<'py, PyDict>>,
        own: Option<&OwnTokenizer>,
    ) -> PyResult<Self> {
        let layout = Layout::new(layout)?;
        layout.hypotheses.has_no_shape("goes with hypotheses")?;
        layout.has_no_rollouts("goes with hypotheses")?;
        let mut items = items(name, sets)?;
        let mut kind = Kind::of_sets(&items);
        layout.is_for(name, kind)?;
        cut(own, name, &mut items, &mut kind)?;
        let (mut vocabulary, mut tokens) = (Vocabulary::default(), vec![]);
        let number = |token: &[u8]| {
            let number = vocabulary.number(token);
            if number as usize == tokens.len() {
                tokens.push(String::from_utf8_lossy(token).into_owned());
            }
            number
        };
        let sets = text_sets(name, &items, kind, layout.references, number)?;
        Ok(Self { sets: Arc::new(sets), kind, vocabulary, tokens })
    }

    /// Whether they are token ids.
    pub(super) fn are_ids(&self) -> bool {
        self.kind != Kind::Strings && !self.sets.is_empty()
    }
}

#[pymethods]
impl PreparedTexts {
    fn __len__(&self) -> usize {
        self.sets.len()
    }

    /// The sets as lists, from which they can be prepared again.
    fn lists<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        guarded(|| {
            let text = |index| match self.sets.texts() {
                Texts::Strings(strings) => strings.text(index).into_bound_py_any(py),
                Texts::Ids(ids) if self.kind == Kind::Tokens => {
                    let token = |&id: &i64| match id {
                        LINE_BREAK => PyEllipsis::get(py).into_bound_py_any(py),
                        id => self.tokens[id as usize].as_str().into_bound_py_any(py),
                    };
                    let tokens = ids.text(index).iter().map(token).collect::<PyResult<Vec<_>>>()?;
                    PyList::new(py, tokens)?.into_bound_py_any(py)
                }
                Texts::Ids(ids) => Ok(ids.text(index).to_pyarray(py).into_any()),
            };
            let sets = (0..self.sets.len()).map(|set| {
                let texts = self.sets.range(set).map(text).collect::<PyResult<Vec<_>>>()?;
                PyList::new(py, texts)
            });
            PyList::new(py, sets.collect::<PyResult<Vec<_>>>()?)
        })
    }
}

/// How ids lie in their arrays, and how many hypotheses there are for each set of references.
struct Layout {
    hypotheses: Cut,
    references: Cut,
    rollouts: Option<usize>,
}

/// Which of the ids are texts.
#[derive(Default)]
pub(super) struct Cut {
    /// How many ids of each text count.
    lengths: Option<(&'static str, Integers)>,
    /// Where in a flat array each text begins, and where the last one ends.
    pub(super) offsets: Option<(&'static str, Vec<i64>)>,
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

    fn has_no_rollouts(&self, why: &str) -> Result<(), Error> {
        self.rollouts.map_or(Ok(()), |_| Err(Error::Type(format!("rollouts {why}"))))
    }

    /// Complains of what says how ids lie, where the texts are something else.
    fn is_for(&self, name: &str, kind: Kind) -> Result<(), Error> {
        let cut = &self.hypotheses;
        let common = cut.eos_id.and(Some("eos_id")).or(cut.pad_id.and(Some("pad_id")));
        match self.hypotheses.shape().or(self.references.shape()).or(common) {
            Some(keyword) if kind != Kind::Ids => {
                Err(Error::Type(format!("{keyword} goes with token ids, and {name} are {kind}")))
            }
            _ => Ok(()),
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
    /// The name of what says where texts end.
    pub(super) fn shape(&self) -> Option<&'static str> {
        self.lengths.as_ref().map(|it| it.0).or(self.offsets.as_ref().map(|it| it.0))
    }

    fn has_no_shape(&self, why: &str) -> Result<(), Error> {
        self.shape().map_or(Ok(()), |name| Err(Error::Type(format!("{name} {why}"))))
    }

    /// Whether there is a length for each text.
    pub(super) fn must_be(&self, axes: &[usize]) -> Result<(), Error> {
        match &self.lengths {
            Some((name, lengths)) if lengths.shape != axes => {
                Err(Error::shape(name, &lengths.shape, crate::error::tuple(axes)))
            }
            _ => Ok(()),
        }
    }

    /// The ids of a text that count.
    pub(super) fn valid<'a>(&self, text: usize, mut ids: &'a [i64]) -> Result<&'a [i64], Error> {
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
