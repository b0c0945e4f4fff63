//! Texts on their way in, and one pair of them as numbers.
//!
//! Only equality of tokens counts, and only within one pair, so every pair has numbers of its own, given in the order of
//! first appearance. Strings and token ids take the same way: a token is its bytes.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use super::WORK_PER_BYTE;
use super::spans::Spans;
use super::vocabulary::{Short, Vocabulary};
use crate::error::Error;
use crate::parallel::Ticker;

/// Texts of token ids, parts of one array.
#[derive(Debug, Clone, Default)]
pub struct Arena {
    ids: Vec<i64>,
    /// Where each text begins and ends.
    bounds: Vec<[usize; 2]>,
}

impl Arena {
    /// `bounds[i]` says where text `i` begins in `ids`, and where it ends.
    pub fn new(ids: Vec<i64>, bounds: Vec<[usize; 2]>) -> Self {
        Self { ids, bounds }
    }

    /// One of the texts.
    pub fn text(&self, index: usize) -> &[i64] {
        let [start, end] = self.bounds[index];
        &self.ids[start..end]
    }
}

/// Strings that lie where whoever keeps them has put them.
#[derive(Debug, Clone)]
pub struct Strings {
    kept: Arc<dyn Keeper>,
    bytes: usize,
}

impl Strings {
    /// Strings of a keeper.
    pub fn new(kept: impl Keeper + 'static) -> Self {
        let bytes = (0..kept.count()).map(|index| kept.text(index).len()).sum();
        Self { kept: Arc::new(kept), bytes }
    }

    /// One of the texts.
    pub fn text(&self, index: usize) -> &str {
        self.kept.text(index)
    }
}

/// Keeps strings.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// One of them.
    fn text(&self, index: usize) -> &str;
}

impl<T: AsRef<str> + fmt::Debug + Send + Sync> Keeper for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn text(&self, index: usize) -> &str {
        self[index].as_ref()
    }
}

/// Ends a line among token ids.
pub const LINE_BREAK: i64 = i64::MAX;

/// Texts of one kind.
#[derive(Debug, Clone)]
pub enum Texts {
    /// Still to be cut into tokens.
    Strings(Strings),
    /// Token ids; any number is one but [`LINE_BREAK`].
    Ids(Arena),
}

impl Texts {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Strings(strings) => strings.kept.count(),
            Self::Ids(arena) => arena.bounds.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are token ids.
    pub fn are_ids(&self) -> bool {
        matches!(self, Self::Ids(_))
    }

    /// How many bytes all of them have.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Strings(strings) => strings.bytes,
            Self::Ids(arena) => size_of_val(&arena.ids[..]),
        }
    }

    /// Lets `pair` take up one text.
    fn read(
        &self,
        index: usize,
        read: impl FnOnce(&str, &mut Reader<'_, '_>),
        pair: &mut Pair,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(pair, ticker);
        match self {
            Self::Strings(strings) => read(strings.text(index), &mut reader),
            Self::Ids(arena) => reader.ids(arena.text(index)),
        }
        reader.outcome?;
        pair.end_text();
        Ok(())
    }
}

/// Texts in sets: the references of each hypothesis, or what is compared with one another.
#[derive(Debug, Clone)]
pub struct TextSets {
    texts: Texts,
    /// Where each set ends.
    ends: Vec<usize>,
}

impl TextSets {
    /// `counts[i]` is how many of the `texts`, which follow one another, belong to set `i`; `name` is what they are called
    /// where one has none.
    pub fn new(name: &str, texts: Texts, counts: &[usize]) -> Result<Self, Error> {
        if let Some(index) = counts.iter().position(|&count| count == 0) {
            let one = if name == "references" { "reference" } else { "text" };
            return Err(Error::Value(format!("{name}[{index}] is empty, expected at least one {one}")));
        }
        let mut end = 0;
        let ends: Vec<usize> = counts.iter().map(|count| (end += count, end).1).collect();
        assert_eq!(end, texts.len(), "every text belongs to a set");
        Ok(Self { texts, ends })
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The texts of all sets.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Which of the texts belong to a set.
    pub fn range(&self, set: usize) -> Range<usize> {
        let first = if set == 0 { 0 } else { self.ends[set - 1] };
        first..self.ends[set]
    }

    fn read(
        &self,
        set: usize,
        read: impl Fn(&str, &mut Reader<'_, '_>),
        pair: &mut Pair,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.range(set).try_for_each(|text| self.texts.read(text, &read, pair, ticker))
    }
}

/// Complains of strings that meet token ids.
pub fn same_kind(hypotheses: &Texts, references: &Texts) -> Result<(), Error> {
    match (hypotheses, references) {
        (Texts::Strings(_), Texts::Strings(_)) | (Texts::Ids(_), Texts::Ids(_)) => Ok(()),
        _ => Err(Error::Type("hypotheses and references must both be strings, or both be token ids".into())),
    }
}

/// Hypotheses, each with what it is compared with.
#[derive(Debug, Clone)]
pub struct Pairs {
    hypotheses: Texts,
    /// May be shared between calls.
    references: Arc<TextSets>,
    /// How many hypotheses, one after another, are compared with the same set.
    rollouts: usize,
}

impl Pairs {
    /// Hypotheses `i · rollouts` and those after it belong to set `i` of the references.
    pub fn new(hypotheses: Texts, references: Arc<TextSets>, rollouts: usize) -> Result<Self, Error> {
        if rollouts == 0 {
            return Err(Error::Value("hypotheses has no item for each set of references, expected at least 1".into()));
        }
        if !hypotheses.len().is_multiple_of(rollouts) {
            let hypotheses = hypotheses.len();
            return Err(Error::Value(format!("hypotheses has length {hypotheses}, expected a multiple of {rollouts}")));
        }
        if references.len() != hypotheses.len() / rollouts {
            let (hypotheses, sets) = (hypotheses.len() / rollouts, references.len());
            // Whoever comes from sacrebleu may have one list for each position among the references.
            let is_transposed = |set| references.range(set).len() == hypotheses;
            let transposed = sets > 0 && hypotheses > 1 && (0..sets).all(is_transposed);
            let hint =
                if transposed { "; if these are streams of references, pass list(zip(*references))" } else { "" };
            let each = if rollouts == 1 { "hypothesis".to_owned() } else { format!("{rollouts} hypotheses") };
            return Err(Error::Value(format!(
                "references has length {sets}, expected {hypotheses}, one item for each {each}{hint}"
            )));
        }
        same_kind(&hypotheses, &references.texts)?;
        Ok(Self { hypotheses, references, rollouts })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hypotheses.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hypotheses.is_empty()
    }

    /// The most references that a hypothesis has.
    pub fn most_references(&self) -> usize {
        self.sets().iter().map(ExactSizeIterator::len).max().unwrap_or(1)
    }

    /// Whether they are token ids.
    pub fn are_ids(&self) -> bool {
        self.hypotheses.are_ids()
    }

    /// How many bytes all texts have.
    pub fn bytes(&self) -> usize {
        self.hypotheses.bytes() + self.references.texts.bytes()
    }

    /// Reads one of them into a `pair` that has read none but of these; `read` cuts a string into tokens. References that
    /// the pair holds already are not read again.
    pub fn read(
        &self,
        index: usize,
        read: impl Fn(&str, &mut Reader<'_, '_>),
        pair: &mut Pair,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let set = index / self.rollouts;
        if pair.set == Some(set) {
            pair.drop_hypothesis();
        } else {
            pair.clear();
            self.references.read(set, &read, pair, ticker)?;
            pair.set = Some(set);
        }
        self.hypotheses.read(index, &read, pair, ticker)
    }

    /// The references, and the hypotheses.
    pub fn sides(&self) -> [&Texts; 2] {
        [&self.references.texts, &self.hypotheses]
    }

    /// Which references each set has.
    pub fn sets(&self) -> Vec<Range<usize>> {
        (0..self.references.len()).map(|set| self.references.range(set)).collect()
    }
}

/// Reads some texts after others into `all`, so that equal tokens of any two have the same number.
pub fn read_all<'a>(
    parts: impl IntoIterator<Item = (&'a Texts, Range<usize>)>,
    read: impl Fn(&str, &mut Reader<'_, '_>),
    all: &mut Pair,
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    all.clear();
    for (texts, range) in parts {
        for index in range {
            let before = all.len();
            texts.read(index, &read, all, ticker)?;
            ticker.tick(WORK_PER_BYTE * (all.len() - before))?;
        }
    }
    Ok(())
}

/// A hypothesis and its references as numbers below [`Self::distinct`].
///
/// The references are read first, and number their tokens; the hypothesis looks its own up. What no reference has can match
/// nothing, so all of that gets one number.
#[derive(Default)]
pub struct Pair {
    vocabulary: Vocabulary,
    /// The references, one after another, and then the hypothesis.
    tokens: Vec<u32>,
    /// Where each line ends in `tokens`; a text without line breaks is one line.
    line_ends: Vec<usize>,
    /// Where each text ends in `line_ends`.
    text_ends: Vec<usize>,
    /// Which references have been read.
    set: Option<usize>,
    /// What a tokenizer needs while it reads.
    pub buffer: Vec<u8>,
    pub(super) spans: Spans,
}

impl Pair {
    /// Whether the text under way is a reference.
    pub fn reads_reference(&self) -> bool {
        self.set.is_none()
    }

    /// Ends a line of the text under way.
    pub fn end_line(&mut self) {
        self.line_ends.push(self.tokens.len());
    }

    fn end_text(&mut self) {
        self.end_line();
        self.text_ends.push(self.line_ends.len());
    }

    fn clear(&mut self) {
        self.vocabulary.clear();
        self.tokens.clear();
        self.line_ends.clear();
        self.text_ends.clear();
        self.set = None;
    }

    fn drop_hypothesis(&mut self) {
        self.text_ends.pop();
        self.line_ends.truncate(self.text_ends.last().copied().unwrap_or(0));
        self.tokens.truncate(self.line_ends.last().copied().unwrap_or(0));
    }

    /// All numbers are below.
    pub fn distinct(&self) -> usize {
        self.vocabulary.len() + 1
    }

    /// How many tokens there are in all.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The hypothesis.
    pub fn hypothesis(&self) -> Text<'_> {
        self.text(self.text_ends.len() - 1)
    }

    /// The references; there is at least one.
    pub fn references(&self) -> impl ExactSizeIterator<Item = Text<'_>> + Clone {
        (0..self.text_ends.len() - 1).map(|index| self.text(index))
    }

    /// The tokens of all texts.
    pub fn texts(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.text_ends.len()).map(|index| self.text(index).tokens())
    }

    /// A text by its number.
    pub(super) fn text(&self, index: usize) -> Text<'_> {
        let first_line = if index == 0 { 0 } else { self.text_ends[index - 1] };
        let start = if first_line == 0 { 0 } else { self.line_ends[first_line - 1] };
        let line_ends = &self.line_ends[first_line..self.text_ends[index]];
        Text { all: &self.tokens, start, line_ends }
    }
}

/// So many tokens are read between two ticks.
const RUN: usize = 4096;

/// A token on its way in.
pub(super) enum Token<'a> {
    Short(Short),
    /// One that does not fit into [`Short`].
    Long(Cow<'a, [u8]>),
}

/// A [`Pair`] that takes up a text. Where it is stopped on the way, what follows is passed over.
pub struct Reader<'a, 't> {
    pair: &'a mut Pair,
    ticker: &'a Ticker<'t>,
    /// How many tokens there are before the next tick.
    left: usize,
    outcome: Result<(), Error>,
}

impl<'a, 't> Reader<'a, 't> {
    fn new(pair: &'a mut Pair, ticker: &'a Ticker<'t>) -> Self {
        Self { pair, ticker, left: RUN, outcome: Ok(()) }
    }

    /// Appends a token to the text under way.
    #[inline]
    pub fn token(&mut self, bytes: &[u8]) {
        if self.goes_on() {
            let vocabulary = &mut self.pair.vocabulary;
            let number = match self.pair.set {
                None => vocabulary.number(bytes),
                Some(_) => vocabulary.find(bytes),
            };
            self.pair.tokens.push(number);
        }
    }

    /// Appends the tokens that are the bytes of a text between these bounds.
    pub fn tokens_within(&mut self, text: &[u8], bounds: &[[usize; 2]]) {
        self.extend(bounds, move |[start, end]| match Short::within(text, [start, end]) {
            Some(token) => Token::Short(token),
            None => Token::Long(Cow::Borrowed(&text[start..end])),
        });
    }

    /// Appends tokens that are integers.
    fn ids(&mut self, ids: &[i64]) {
        let mut left = ids;
        while let Some(end) = left.contains(&LINE_BREAK).then(|| left.iter().position(|&id| id == LINE_BREAK)).flatten()
        {
            self.integers(&left[..end]);
            self.end_line();
            left = &left[end + 1..];
        }
        self.integers(left);
    }

    fn integers(&mut self, integers: &[i64]) {
        self.extend(integers, |integer| Token::Short(Short::of_integer(integer as u64)));
    }

    /// Appends a token for each item.
    #[inline(always)]
    pub(super) fn extend<'b, T: Copy>(&mut self, items: &[T], mut token: impl FnMut(T) -> Token<'b>) {
        for items in items.chunks(RUN) {
            if !self.go_on(items.len()) {
                return;
            }
            let Pair { vocabulary, tokens, set, .. } = &mut *self.pair;
            match set {
                None => tokens.extend(items.iter().map(|&item| match token(item) {
                    Token::Short(token) => vocabulary.number_of_short(token),
                    Token::Long(token) => vocabulary.number(&token),
                })),
                Some(_) => tokens.extend(items.iter().map(|&item| match token(item) {
                    Token::Short(token) => vocabulary.find_short(token),
                    Token::Long(token) => vocabulary.find(&token),
                })),
            }
        }
    }

    /// Whether so many tokens may be read.
    fn go_on(&mut self, tokens: usize) -> bool {
        match self.left.checked_sub(tokens) {
            Some(left) => {
                self.left = left;
                true
            }
            None => self.ask(),
        }
    }

    #[inline]
    fn goes_on(&mut self) -> bool {
        self.go_on(1)
    }

    #[cold]
    fn ask(&mut self) -> bool {
        if self.outcome.is_ok() {
            self.outcome = self.ticker.tick(WORK_PER_BYTE * RUN);
        }
        if self.outcome.is_ok() {
            self.left = RUN;
        }
        self.outcome.is_ok()
    }
}

impl Deref for Reader<'_, '_> {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        self.pair
    }
}

impl DerefMut for Reader<'_, '_> {
    fn deref_mut(&mut self) -> &mut Pair {
        self.pair
    }
}

/// The tokens that `read` finds.
#[cfg(test)]
pub(super) fn spelled(read: impl FnOnce(&mut Reader<'_, '_>)) -> Vec<String> {
    let mut pair = Pair::default();
    crate::parallel::ticking(|ticker| read(&mut Reader::new(&mut pair, ticker)));
    pair.tokens.iter().map(|&number| pair.vocabulary.spelled(number)).collect()
}

/// One text of a [`Pair`].
#[derive(Clone, Copy)]
pub struct Text<'a> {
    all: &'a [u32],
    start: usize,
    line_ends: &'a [usize],
}

impl<'a> Text<'a> {
    /// All of its tokens.
    pub fn tokens(self) -> &'a [u32] {
        &self.all[self.start..self.line_ends.last().copied().unwrap_or(self.start)]
    }

    /// Its lines, some of which may have no token.
    pub fn lines(self) -> impl Iterator<Item = &'a [u32]> + Clone {
        let starts = std::iter::once(self.start).chain(self.line_ends.iter().copied());
        starts.zip(self.line_ends).map(move |(start, &end)| &self.all[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ticking;

    #[test]
    fn a_pair_is_taken_apart_again() {
        let strings = |texts: &[&'static str]| Texts::Strings(Strings::new(texts.to_vec()));
        let pairs = |hypotheses, references: Texts, counts: &[usize], rollouts| {
            let references = TextSets::new("references", references, counts).unwrap();
            Pairs::new(hypotheses, references.into(), rollouts).unwrap()
        };
        let two = pairs(strings(&["a b\nc", ""]), strings(&["", "c\n\nb", "x y"]), &[2, 1], 1);
        let read = |text: &str, pair: &mut Reader<'_, '_>| {
            for (index, line) in text.split('\n').enumerate() {
                if index > 0 {
                    pair.end_line();
                }
                line.split(' ').filter(|word| !word.is_empty()).for_each(|word| pair.token(word.as_bytes()));
            }
        };
        let mut pair = Pair::default();
        ticking(|ticker| two.read(0, read, &mut pair, ticker)).unwrap();
        assert_eq!(pair.hypothesis().tokens(), [2, 1, 0]);
        assert_eq!(pair.hypothesis().lines().collect::<Vec<_>>(), [&[2, 1][..], &[0]]);
        let references: Vec<Text<'_>> = pair.references().collect();
        assert!(references[0].tokens().is_empty());
        assert_eq!(references[1].tokens(), [0, 1]);
        assert_eq!(references[1].lines().collect::<Vec<_>>(), [&[0][..], &[], &[1]]);
        ticking(|ticker| two.read(1, read, &mut pair, ticker)).unwrap();
        assert!(pair.hypothesis().tokens().is_empty());
        assert_eq!(pair.references().map(|text| text.tokens().to_vec()).collect::<Vec<_>>(), [[0, 1]]);
        // Two hypotheses for the same references, which are read once.
        let pairs = pairs(strings(&["b a b", "a"]), strings(&["a", "a b"]), &[2], 2);
        for (index, hypothesis) in [&[1, 0, 1][..], &[0]].into_iter().enumerate() {
            ticking(|ticker| pairs.read(index, read, &mut pair, ticker)).unwrap();
            assert_eq!(pair.hypothesis().tokens(), hypothesis);
            assert_eq!(pair.references().map(|text| text.tokens().to_vec()).collect::<Vec<_>>(), [&[0][..], &[0, 1]]);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ids = |count| Texts::Ids(Arena::new(vec![], vec![[0, 0]; count]));
        let pairs = |hypotheses, references, counts: &[usize], rollouts| {
            let references = TextSets::new("references", references, counts)?;
            Pairs::new(hypotheses, references.into(), rollouts)
        };
        let message = |references, counts: &[usize]| pairs(ids(2), references, counts, 1).unwrap_err().to_string();
        assert_eq!(message(ids(1), &[1]), "references has length 1, expected 2, one item for each hypothesis");
        assert!(message(ids(2), &[2]).ends_with("pass list(zip(*references))"));
        assert_eq!(message(ids(1), &[1, 0]), "references[1] is empty, expected at least one reference");
        let strings = Texts::Strings(Strings::new(vec![""; 2]));
        assert!(message(strings, &[1, 1]).contains("both"));
        let rollouts = |count| pairs(ids(6), ids(2), &[1, 1], count).unwrap_err().to_string();
        assert_eq!(rollouts(2), "references has length 2, expected 3, one item for each 2 hypotheses");
        assert_eq!(rollouts(4), "hypotheses has length 6, expected a multiple of 4");
    }
}
