//! The n-grams of several texts as numbers: an n-gram is numbered by its first n − 1 tokens, which have a number
//! already, and its last token. Equal numbers are equal n-grams; no hash is trusted.

use super::strips::grow;
use super::vocabulary::Vocabulary;
use crate::error::Error;
use crate::parallel::Ticker;

/// What tells an n-gram from others of its length: the number of the one without its last token, and that token.
#[inline]
pub fn key(shorter: u32, last: u32) -> u64 {
    u64::from(shorter) << 32 | u64::from(last)
}

/// So many are made longer between two ticks.
const RUN: usize = 4096;

/// The n-grams of one order.
#[derive(Default)]
pub struct Grams {
    /// All texts, one after another, and where each ends.
    tokens: Vec<u32>,
    ends: Vec<usize>,
    /// The number of the n-gram that begins at each token.
    numbers: Vec<u32>,
    order: usize,
    distinct: usize,
    known: Vocabulary,
}

impl Grams {
    /// Takes texts up, as single tokens, which are below `distinct`.
    pub fn read<'a>(&mut self, texts: impl Iterator<Item = &'a [u32]> + Clone, distinct: usize) -> Result<(), Error> {
        let count: usize = texts.clone().map(<[u32]>::len).sum();
        for tokens in [&mut self.tokens, &mut self.numbers] {
            tokens.clear();
            tokens.try_reserve(count).map_err(|_| Error::Memory(count.saturating_mul(size_of::<u32>())))?;
            texts.clone().for_each(|text| tokens.extend_from_slice(text));
        }
        let mut end = 0;
        self.ends.clear();
        self.ends.extend(texts.map(|text| (end += text.len(), end).1));
        (self.order, self.distinct) = (1, distinct);
        Ok(())
    }

    /// Makes all of them longer by a token.
    pub fn lengthen(&mut self, ticker: &Ticker<'_>) -> Result<(), Error> {
        self.known.clear();
        let mut start = 0;
        for &end in &self.ends {
            let last = self.tokens[start..end].get(self.order..).unwrap_or_default();
            for (numbers, last) in self.numbers[start..end].chunks_mut(RUN).zip(last.chunks(RUN)) {
                for (number, &last) in numbers.iter_mut().zip(last) {
                    *number = self.known.number_of_integer(key(*number, last));
                }
                ticker.tick(8 * last.len())?;
            }
            start = end;
        }
        self.order += 1;
        self.distinct = self.known.len();
        Ok(())
    }

    /// All numbers are below.
    pub fn distinct(&self) -> usize {
        self.distinct
    }

    /// Takes away what numbers them, by [`key`]; the numbers stay.
    pub fn take_known(&mut self) -> Vocabulary {
        std::mem::take(&mut self.known)
    }

    /// The n-grams of each text.
    pub fn of_texts(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| {
            let count = (end - start + 1).saturating_sub(self.order);
            &self.numbers[start..start + count]
        })
    }
}

/// How often each n-gram of one text occurs in it.
#[derive(Default)]
pub struct Counts {
    of: Vec<u32>,
}

impl Counts {
    /// Makes room for numbers below `distinct`.
    pub fn reserve(&mut self, distinct: usize) -> Result<(), Error> {
        grow(&mut self.of, distinct)
    }

    /// Hands over each different n-gram of a text with its count.
    pub fn each(&mut self, grams: &[u32], mut each: impl FnMut(usize, u32)) {
        for &gram in grams {
            self.of[gram as usize] += 1;
        }
        for &gram in grams {
            let count = std::mem::take(&mut self.of[gram as usize]);
            if count > 0 {
                each(gram as usize, count);
            }
        }
    }
}
