//! Tables of dynamic programming, 64 rows at once.
//!
//! A row stands for a token of one text, a column for one of the other. Neighbouring cells differ by so little that a bit
//! or two say by how much, so a word holds a column of 64 rows, a *strip*. A strip is computed from left to right; what
//! crosses its lower edge, a bit or two a column, is all that the next strip needs.

use crate::error::Error;

/// How many rows a strip has.
pub const ROWS: usize = u64::BITS as usize;

/// In which rows of a strip each token stands.
#[derive(Default)]
pub struct Masks {
    of: Vec<u64>,
}

impl Masks {
    /// Makes room for tokens below `distinct`.
    pub fn reserve(&mut self, distinct: usize) -> Result<(), Error> {
        grow(&mut self.of, distinct)
    }

    /// Calls `body` with the masks of a strip.
    pub fn with<R>(&mut self, rows: &[u32], body: impl FnOnce(&Self) -> R) -> R {
        for (row, &token) in rows.iter().enumerate() {
            self.of[token as usize] |= 1 << row;
        }
        let result = body(self);
        for &token in rows {
            self.of[token as usize] = 0;
        }
        result
    }

    /// The rows of a token.
    #[inline]
    pub fn of(&self, token: u32) -> u64 {
        self.of[token as usize]
    }
}

/// How many words hold the rows of [`WideMasks`].
pub const WORDS: usize = 4;
/// How many rows these are.
pub const WIDE: usize = WORDS * ROWS;

/// In which of up to [`WIDE`] rows each token stands.
#[derive(Default)]
pub struct WideMasks {
    of: Vec<[u64; WORDS]>,
    /// The rows that they are of.
    rows: Vec<u32>,
}

impl WideMasks {
    /// The masks of tokens below `distinct`; `place` says in which word and at which bit a row stands. Those of the same rows
    /// as before, as a reference of many hypotheses has them, are there already.
    #[inline]
    pub fn of(
        &mut self,
        rows: &[u32],
        distinct: usize,
        place: impl Fn(usize) -> (usize, usize),
    ) -> Result<&[[u64; WORDS]], Error> {
        grow(&mut self.of, distinct)?;
        if self.rows != rows {
            for &token in &self.rows {
                self.of[token as usize] = [0; WORDS];
            }
            self.rows.clear();
            self.rows.extend_from_slice(rows);
            for (row, &token) in rows.iter().enumerate() {
                let (word, bit) = place(row);
                self.of[token as usize][word] |= 1 << bit;
            }
        }
        Ok(&self.of)
    }
}

/// A bit for every column.
#[derive(Default, Clone)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Sets all bits alike.
    pub fn reset(&mut self, columns: usize, value: bool) -> Result<(), Error> {
        let words = columns.div_ceil(64);
        grow(&mut self.0, words)?;
        self.0.truncate(words);
        self.0.fill(if value { !0 } else { 0 });
        Ok(())
    }

    /// The words that hold them; the bit of column 0 is the lowest of the first.
    pub fn words(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

/// Makes a vector at least that long.
pub fn grow<T: Clone + Default>(vector: &mut Vec<T>, length: usize) -> Result<(), Error> {
    if vector.len() < length {
        let more = length - vector.len();
        vector.try_reserve(more).map_err(|_| Error::Memory(length.saturating_mul(size_of::<T>())))?;
        vector.resize(length, T::default());
    }
    Ok(())
}
