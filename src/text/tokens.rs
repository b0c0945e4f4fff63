//! Texts on their way in, and one pair of them as numbers.
//!
//! Only equality of tokens counts, and only within one pair, so every pair has numbers of its own, given in the order of
//! first appearance. Strings and token ids take the same way: a token is its bytes.

use std::hash::{BuildHasher, RandomState};

use super::WORK_PER_BYTE;
use crate::error::Error;
use crate::parallel::Ticker;

/// Texts end to end.
#[derive(Debug, Clone, Default)]
pub struct Arena<T> {
    items: T,
    ends: Vec<usize>,
}

impl<T> Arena<T> {
    /// `ends[i]` is where text `i` ends in `items`; ascending, and for strings between characters.
    pub fn new(items: T, ends: Vec<usize>) -> Self {
        Self { items, ends }
    }

    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }
}

/// Texts of one kind.
#[derive(Debug, Clone)]
pub enum Texts {
    /// Still to be cut into tokens.
    Strings(Arena<String>),
    /// Token ids; any number is one.
    Ids(Arena<Vec<i64>>),
}

impl Texts {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Strings(arena) => arena.ends.len(),
            Self::Ids(arena) => arena.ends.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Strings(arena) => arena.items.len(),
            Self::Ids(arena) => size_of_val(&arena.items[..]),
        }
    }

    /// Lets `pair` take up one text.
    fn read(&self, index: usize, read: impl FnOnce(&str, &mut Pair), pair: &mut Pair) {
        match self {
            Self::Strings(arena) => read(&arena.items[arena.range(index)], pair),
            Self::Ids(arena) => {
                for id in &arena.items[arena.range(index)] {
                    pair.token(&id.to_le_bytes());
                }
            }
        }
        pair.end_text();
    }
}

/// Hypotheses, each with what it is compared with.
#[derive(Debug, Clone)]
pub struct Pairs {
    hypotheses: Texts,
    references: Texts,
    /// Where each set of references ends.
    ends: Vec<usize>,
    /// How many hypotheses, one after another, are compared with the same set.
    rollouts: usize,
}

impl Pairs {
    /// `counts[i]` is how many of the `references`, which follow one another, belong to set `i`, and so to hypotheses
    /// `i · rollouts` and those after it.
    pub fn new(hypotheses: Texts, references: Texts, counts: &[usize], rollouts: usize) -> Result<Self, Error> {
        if rollouts == 0 {
            return Err(Error::Value("hypotheses has no item for each set of references, expected at least 1".into()));
        }
        if !hypotheses.len().is_multiple_of(rollouts) {
            let hypotheses = hypotheses.len();
            return Err(Error::Value(format!("hypotheses has length {hypotheses}, expected a multiple of {rollouts}")));
        }
        if counts.len() != hypotheses.len() / rollouts {
            let (hypotheses, references) = (hypotheses.len() / rollouts, counts.len());
            // Whoever comes from sacrebleu may have one list for each position among the references.
            let transposed = references > 0 && hypotheses > 1 && counts.iter().all(|&count| count == hypotheses);
            let hint =
                if transposed { "; if these are streams of references, pass list(zip(*references))" } else { "" };
            let each = if rollouts == 1 { "hypothesis".to_owned() } else { format!("{rollouts} hypotheses") };
            return Err(Error::Value(format!(
                "references has length {references}, expected {hypotheses}, one item for each {each}{hint}"
            )));
        }
        if let Some(index) = counts.iter().position(|&count| count == 0) {
            return Err(Error::Value(format!("references[{index}] is empty, expected at least one reference")));
        }
        let mixed = matches!(
            (&hypotheses, &references),
            (Texts::Strings(_), Texts::Ids(_)) | (Texts::Ids(_), Texts::Strings(_))
        );
        if mixed {
            return Err(Error::Type("hypotheses and references must both be strings, or both be token ids".into()));
        }
        let mut end = 0;
        let ends: Vec<usize> = counts.iter().map(|count| (end += count, end).1).collect();
        assert_eq!(end, references.len(), "every reference belongs to a set");
        Ok(Self { hypotheses, references, ends, rollouts })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hypotheses.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hypotheses.is_empty()
    }

    /// Whether they are token ids.
    pub fn are_ids(&self) -> bool {
        matches!(self.hypotheses, Texts::Ids(_))
    }

    /// How many bytes all texts have.
    pub fn bytes(&self) -> usize {
        self.hypotheses.bytes() + self.references.bytes()
    }

    /// Reads one of them into a `pair` that has read none but of these; `read` cuts a string into tokens. References that
    /// the pair holds already are not read again.
    pub fn read(&self, index: usize, read: impl Fn(&str, &mut Pair), pair: &mut Pair) {
        let set = index / self.rollouts;
        if pair.set == Some(set) {
            pair.drop_hypothesis();
        } else {
            pair.clear();
            let first = if set == 0 { 0 } else { self.ends[set - 1] };
            for reference in first..self.ends[set] {
                self.references.read(reference, &read, pair);
            }
            pair.set = Some(set);
        }
        self.hypotheses.read(index, &read, pair);
    }

    /// Reads all texts, references before hypotheses, so that equal tokens of any two have the same number.
    pub fn read_all(&self, read: impl Fn(&str, &mut Pair), ticker: &Ticker<'_>) -> Result<Pair, Error> {
        let mut all = Pair::default();
        for texts in [&self.references, &self.hypotheses] {
            for index in 0..texts.len() {
                let before = all.len();
                texts.read(index, &read, &mut all);
                ticker.tick(WORK_PER_BYTE * (all.len() - before))?;
            }
        }
        Ok(all)
    }

    /// Which references each set has.
    pub fn sets(&self) -> Vec<std::ops::Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| start..end).collect()
    }
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
}

impl Pair {
    /// Appends a token to the text under way.
    pub fn token(&mut self, bytes: &[u8]) {
        let number = match self.set {
            None => self.vocabulary.number(bytes),
            Some(_) => self.vocabulary.find(bytes).unwrap_or(self.vocabulary.len() as u32),
        };
        self.tokens.push(number);
    }

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

    fn text(&self, index: usize) -> Text<'_> {
        let first_line = if index == 0 { 0 } else { self.text_ends[index - 1] };
        let start = if first_line == 0 { 0 } else { self.line_ends[first_line - 1] };
        let line_ends = &self.line_ends[first_line..self.text_ends[index]];
        Text { all: &self.tokens, start, line_ends }
    }
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

/// Gives equal tokens equal numbers: 0, 1, 2, … in the order of first appearance.
///
/// A hash table with open addressing. Hashes only say where to look: tokens are compared byte by byte. The seed is
/// random, so that nobody can write a text whose tokens all land in one place; the numbers do not depend on it.
pub struct Vocabulary {
    /// The number of the token there, plus 1; 0 where there is none. A power of two, at least twice the tokens.
    slots: Vec<u32>,
    /// Where in `slots` each token is.
    places: Vec<usize>,
    hashes: Vec<u64>,
    /// The tokens, end to end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The same as `slots` for tokens of one byte, which texts in characters are full of.
    of_byte: [u32; 256],
    seed: u64,
}

const LEAST_SLOTS: usize = 64;

impl Default for Vocabulary {
    fn default() -> Self {
        let seed = RandomState::new().hash_one(0u8);
        let slots = vec![0; LEAST_SLOTS];
        Self { slots, places: vec![], hashes: vec![], bytes: vec![], ends: vec![], of_byte: [0; 256], seed }
    }
}

impl Vocabulary {
    /// The number of a token, which is a new one where the token was not known.
    #[inline]
    pub fn number(&mut self, token: &[u8]) -> u32 {
        if let Some(known) = self.find_byte(token) {
            return known;
        }
        let hash = self.hash(token);
        let number = self.look(token, hash).unwrap_or_else(|place| self.add(token, hash, place));
        if let [byte] = token {
            self.of_byte[*byte as usize] = number + 1;
        }
        number
    }

    /// The number of a token that is known.
    #[inline]
    pub fn find(&self, token: &[u8]) -> Option<u32> {
        if token.len() == 1 { self.find_byte(token) } else { self.look(token, self.hash(token)).ok() }
    }

    #[inline]
    fn find_byte(&self, token: &[u8]) -> Option<u32> {
        if let [byte] = token { self.of_byte[*byte as usize].checked_sub(1) } else { None }
    }

    /// How many tokens are known.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of a token, or where it would have its place.
    #[inline]
    fn look(&self, token: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        while let Some(known) = self.slots[place].checked_sub(1) {
            if self.hashes[known as usize] == hash && self.token(known as usize) == token {
                return Ok(known);
            }
            place = (place + 1) & mask;
        }
        Err(place)
    }

    /// Forgets all tokens; takes time for those only that there are.
    pub fn clear(&mut self) {
        for place in self.places.drain(..) {
            self.slots[place] = 0;
        }
        self.hashes.clear();
        self.of_byte.fill(0);
        self.bytes.clear();
        self.ends.clear();
    }

    fn token(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[start..self.ends[number]]
    }

    fn add(&mut self, token: &[u8], hash: u64, place: usize) -> u32 {
        let number = self.ends.len() as u32;
        self.slots[place] = number + 1;
        self.places.push(place);
        self.hashes.push(hash);
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len());
        if 2 * self.places.len() > self.slots.len() {
            self.grow();
        }
        number
    }

    #[cold]
    fn grow(&mut self) {
        let mask = 4 * self.slots.len() - 1;
        self.slots = vec![0; mask + 1];
        for (number, (&hash, home)) in self.hashes.iter().zip(&mut self.places).enumerate() {
            let mut place = hash as usize & mask;
            while self.slots[place] != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = number as u32 + 1;
            *home = place;
        }
    }

    /// Eight bytes at a time: mixed by a product of 128 bits whose halves are folded together.
    #[inline]
    fn hash(&self, token: &[u8]) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15; // 2⁶⁴ over the golden ratio
        let mix = |state: u64, word: u64| {
            let product = u128::from(state ^ word) * u128::from(self.seed | 1);
            ((product as u64) ^ (product >> 64) as u64).wrapping_mul(ODD)
        };
        let (words, rest) = token.as_chunks::<8>();
        let state = words
            .iter()
            .fold(token.len() as u64 ^ self.seed.rotate_left(32), |state, &word| mix(state, u64::from_le_bytes(word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let state = mix(state, u64::from_le_bytes(last));
        state ^ state >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tokens_have_equal_numbers() {
        let mut vocabulary = Vocabulary::default();
        for round in 0..3 {
            let count = [20_000u64, 10, 300][round];
            for token in 0..count {
                assert_eq!(vocabulary.number(&token.to_le_bytes()), token as u32);
            }
            for token in (0..count).rev() {
                assert_eq!(vocabulary.number(&token.to_le_bytes()), token as u32);
            }
            // The same bytes with zeros after them are another token.
            assert_eq!(vocabulary.number(b""), count as u32);
            assert_eq!(vocabulary.number(b"\0"), count as u32 + 1);
            vocabulary.clear();
        }
    }

    #[test]
    fn a_pair_is_taken_apart_again() {
        let strings = |texts: &[&str]| {
            let mut end = 0;
            let ends = texts.iter().map(|text| (end += text.len(), end).1).collect();
            Texts::Strings(Arena::new(texts.concat(), ends))
        };
        let pairs = Pairs::new(strings(&["a b\nc", ""]), strings(&["", "c\n\nb", "x y"]), &[2, 1], 1).unwrap();
        let read = |text: &str, pair: &mut Pair| {
            for (index, line) in text.split('\n').enumerate() {
                if index > 0 {
                    pair.end_line();
                }
                line.split(' ').filter(|word| !word.is_empty()).for_each(|word| pair.token(word.as_bytes()));
            }
        };
        let mut pair = Pair::default();
        pairs.read(0, read, &mut pair);
        assert_eq!(pair.hypothesis().tokens(), [2, 1, 0]);
        assert_eq!(pair.hypothesis().lines().collect::<Vec<_>>(), [&[2, 1][..], &[0]]);
        let references: Vec<Text<'_>> = pair.references().collect();
        assert!(references[0].tokens().is_empty());
        assert_eq!(references[1].tokens(), [0, 1]);
        assert_eq!(references[1].lines().collect::<Vec<_>>(), [&[0][..], &[], &[1]]);
        pairs.read(1, read, &mut pair);
        assert!(pair.hypothesis().tokens().is_empty());
        assert_eq!(pair.references().map(|text| text.tokens().to_vec()).collect::<Vec<_>>(), [[0, 1]]);
        // Two hypotheses for the same references, which are read once.
        let pairs = Pairs::new(strings(&["b a b", "a"]), strings(&["a", "a b"]), &[2], 2).unwrap();
        for (index, hypothesis) in [&[1, 0, 1][..], &[0]].into_iter().enumerate() {
            pairs.read(index, read, &mut pair);
            assert_eq!(pair.hypothesis().tokens(), hypothesis);
            assert_eq!(pair.references().map(|text| text.tokens().to_vec()).collect::<Vec<_>>(), [&[0][..], &[0, 1]]);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ids = |count| Texts::Ids(Arena::new(vec![], vec![0; count]));
        let message = |references, counts: &[usize]| Pairs::new(ids(2), references, counts, 1).unwrap_err().to_string();
        assert_eq!(message(ids(1), &[1]), "references has length 1, expected 2, one item for each hypothesis");
        assert!(message(ids(2), &[2]).ends_with("pass list(zip(*references))"));
        assert_eq!(message(ids(1), &[1, 0]), "references[1] is empty, expected at least one reference");
        let strings = Texts::Strings(Arena::new(String::new(), vec![0; 2]));
        assert!(message(strings, &[1, 1]).contains("both"));
        let rollouts = |count| Pairs::new(ids(6), ids(2), &[1, 1], count).unwrap_err().to_string();
        assert_eq!(rollouts(2), "references has length 2, expected 3, one item for each 2 hypotheses");
        assert_eq!(rollouts(4), "hypotheses has length 6, expected a multiple of 4");
    }
}
