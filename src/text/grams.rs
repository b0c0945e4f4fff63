//! The n-grams of all texts of a corpus as numbers: an n-gram is numbered by its first n − 1 tokens, which have a number
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

/// The n-grams of one order.
pub struct Grams<'a> {
    texts: Vec<&'a [u32]>,
    /// The number of the n-gram that begins at each token, text after text.
    numbers: Vec<u32>,
    order: usize,
    distinct: usize,
    known: Vocabulary,
}

impl<'a> Grams<'a> {
    /// Single tokens, which are below `distinct`.
    pub fn new(texts: Vec<&'a [u32]>, distinct: usize) -> Result<Self, Error> {
        let mut numbers = vec![];
        let count: usize = texts.iter().map(|text| text.len()).sum();
        numbers.try_reserve(count).map_err(|_| Error::Memory(count.saturating_mul(size_of::<u32>())))?;
        for text in &texts {
            numbers.extend_from_slice(text);
        }
        Ok(Self { texts, numbers, order: 1, distinct, known: Vocabulary::default() })
    }

    /// Makes all of them longer by a token.
    pub fn lengthen(&mut self, ticker: &Ticker<'_>) -> Result<(), Error> {
        self.known.clear();
        let mut start = 0;
        for text in &self.texts {
            let numbers = &mut self.numbers[start..start + text.len()];
            for (number, last) in numbers.iter_mut().zip(text.get(self.order..).unwrap_or_default()) {
                *number = self.known.number_of_integer(key(*number, *last));
            }
            start += text.len();
            ticker.tick(8 * text.len())?;
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
        let mut rest = &self.numbers[..];
        self.texts.iter().map(move |text| {
            let (numbers, after) = rest.split_at(text.len());
            rest = after;
            &numbers[..(text.len() + 1).saturating_sub(self.order)]
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
