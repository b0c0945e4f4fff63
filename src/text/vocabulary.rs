//! Tokens as numbers: equal ones have equal numbers.

use std::hash::{BuildHasher, RandomState};
use std::hint::select_unpredictable;

/// A token of at most 16 bytes, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The bytes, the first one lowest, and zeros after them.
    pub bits: u128,
    /// How many they are.
    pub length: usize,
}

/// How many bytes fit.
const SHORT: usize = size_of::<u128>();

/// The bits that tokens of every length have.
const BITS: [u128; SHORT + 1] = {
    let mut bits = [0; SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        bits[length] = bits[length - 1] << 8 | 0xff;
        length += 1;
    }
    bits
};

impl Short {
    /// The bytes of a text between two bounds, if they fit. Much faster than a slice would be: 16 bytes are read, whatever
    /// they are.
    #[inline(always)]
    pub fn within(text: &[u8], [start, end]: [usize; 2]) -> Option<Self> {
        let length = end - start;
        let bits = BITS.get(length)?;
        let rest = &text[start..];
        let read = match (rest.first_chunk(), text.last_chunk()) {
            (Some(bytes), _) => u128::from_le_bytes(*bytes),
            // Where fewer are left, the last 16 end with them.
            (_, Some(bytes)) => u128::from_le_bytes(*bytes) >> (8 * (SHORT - rest.len())),
            _ => {
                let mut bytes = [0; SHORT];
                bytes[..rest.len()].copy_from_slice(rest);
                u128::from_le_bytes(bytes)
            }
        };
        Some(Self { bits: read & bits, length })
    }

    /// The same in lower case, if its bytes are ASCII letters and digits.
    #[inline(always)]
    #[must_use]
    pub fn lowercase(self) -> Self {
        const CASE: u128 = u128::from_le_bytes([0x20; SHORT]);
        Self { bits: self.bits | CASE & BITS[self.length], ..self }
    }

    /// The eight bytes of an integer.
    #[inline(always)]
    pub fn of_integer(integer: u64) -> Self {
        Self { bits: u128::from(integer), length: size_of::<u64>() }
    }
}

/// Gives equal tokens equal numbers: 0, 1, 2, … in the order of first appearance.
///
/// A hash table with open addressing. Hashes only say where to look: tokens are compared byte by byte, or as [`Short`]. The
/// seeds are random, so that nobody can write a text whose tokens all land in one place; the numbers do not depend on them.
pub struct Vocabulary {
    /// A power of two: at least four times the tokens, or, beyond [`MANY`], twice.
    slots: Vec<Slot>,
    /// Slots of earlier rounds are empty.
    round: u32,
    count: u32,
    /// With more tokens there must be more slots.
    most: u32,
    /// The tokens that are not short, end to end.
    bytes: Vec<u8>,
    /// The numbers of tokens of one byte, plus 1, which texts in characters are full of.
    of_byte: [u32; 256],
    has_bytes: bool,
    seeds: [u64; 2],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The bits of a short token. Of a longer one its digest, and above that where in `bytes` it begins.
    word: u128,
    length: usize,
    number: u32,
    round: u32,
}

const LEAST_SLOTS: usize = 256;

/// So many slots no cache holds: fewer pages count for more than fewer steps from one slot to the next, and a table that
/// grows less at once takes less long before it can be interrupted.
const MANY: usize = 1 << 18;

impl Default for Vocabulary {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            slots: vec![Slot::default(); LEAST_SLOTS],
            round: 1,
            count: 0,
            most: (LEAST_SLOTS / 4) as u32,
            bytes: vec![],
            of_byte: [0; 256],
            has_bytes: false,
            seeds: [random.hash_one(0u8), random.hash_one(1u8)],
        }
    }
}

impl Vocabulary {
    /// The number of a token, which is a new one where the token was not known.
    #[inline]
    pub fn number(&mut self, token: &[u8]) -> u32 {
        if let Some(known) = self.find_byte(token) {
            return known;
        }
        let number = match Short::within(token, [0, token.len()]) {
            Some(short) => self.number_of_short(short),
            None => self.number_of_long(token),
        };
        if let [byte] = token {
            self.of_byte[*byte as usize] = number + 1;
            self.has_bytes = true;
        }
        number
    }

    /// The number of a token that is known; else [`Self::len`], which is that of no token.
    #[inline]
    pub fn find(&self, token: &[u8]) -> u32 {
        self.find_byte(token).unwrap_or_else(|| match Short::within(token, [0, token.len()]) {
            Some(short) => self.find_short(short),
            None => self.look_for_long(token, self.digest(token)).unwrap_or(self.count),
        })
    }

    #[inline]
    fn find_byte(&self, token: &[u8]) -> Option<u32> {
        if let [byte] = token { self.of_byte[*byte as usize].checked_sub(1) } else { None }
    }

    /// [`Self::number`] of the eight bytes of an integer.
    #[inline]
    pub fn number_of_integer(&mut self, integer: u64) -> u32 {
        self.number_of_short(Short::of_integer(integer))
    }

    /// [`Self::number`] of a short token.
    #[inline(always)]
    pub fn number_of_short(&mut self, token: Short) -> u32 {
        let (place, is_new) = self.place_of_short(token);
        // Whether it is new cannot be foretold, so it is written in any case.
        let slot = &mut self.slots[place];
        let number = select_unpredictable(is_new, self.count, slot.number);
        *slot = Slot { word: token.bits, length: token.length, number, round: self.round };
        self.count += u32::from(is_new);
        if self.count > self.most {
            self.grow();
        }
        number
    }

    /// The number of a short token that is known; else [`Self::len`], which is that of no token.
    #[inline(always)]
    pub fn find_short(&self, token: Short) -> u32 {
        let (place, is_new) = self.place_of_short(token);
        select_unpredictable(is_new, self.count, self.slots[place].number)
    }

    #[cold]
    fn number_of_long(&mut self, token: &[u8]) -> u32 {
        let digest = self.digest(token);
        self.look_for_long(token, digest).unwrap_or_else(|place| {
            let word = u128::from(digest) | (self.bytes.len() as u128) << 64;
            self.bytes.extend_from_slice(token);
            self.add(word, token.len(), place)
        })
    }

    /// How many tokens are known.
    #[inline]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where a short token is or would be, and whether it is new.
    #[inline(always)]
    fn place_of_short(&self, token: Short) -> (usize, bool) {
        // One comparison, and so no branch between two.
        self.place(token.bits, |slot| (slot.word ^ token.bits) | (slot.length ^ token.length) as u128 == 0)
    }

    #[cold]
    fn look_for_long(&self, token: &[u8], digest: u64) -> Result<u32, usize> {
        let is_token = |slot: &Slot| {
            // What was forgotten may lie beyond the end.
            let bytes = || self.bytes.get((slot.word >> 64) as usize..).unwrap_or_default();
            slot.length == token.len() && slot.word as u64 == digest && bytes().starts_with(token)
        };
        let (place, is_new) = self.place(u128::from(digest), is_token);
        if is_new { Err(place) } else { Ok(self.slots[place].number) }
    }

    /// Where a token is or would be, and whether it is new.
    #[inline(always)]
    fn place(&self, word: u128, is_token: impl Fn(&Slot) -> bool) -> (usize, bool) {
        let mask = self.slots.len() - 1;
        let mut place = self.hash(word) as usize & mask;
        loop {
            let slot = &self.slots[place & mask];
            // Whether a token is known cannot be foretold, whether it is where its hash says can: so that is the one branch,
            // which the compiler would make two of if it were not used otherwise.
            let is_empty = slot.round != self.round;
            let is_there = is_empty | is_token(slot);
            place = (place + usize::from(!is_there)) & mask;
            if is_there {
                return (place, is_empty);
            }
        }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.count = 0;
        if self.has_bytes {
            self.has_bytes = false;
            self.of_byte.fill(0);
        }
        self.bytes.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.slots.fill(Slot::default());
            self.round = 1;
        }
    }

    #[inline]
    fn add(&mut self, word: u128, length: usize, place: usize) -> u32 {
        let number = self.count;
        self.slots[place] = Slot { word, length, number, round: self.round };
        self.count += 1;
        if self.count > self.most {
            self.grow();
        }
        number
    }

    /// So many slots a token has at least, and so many times more there are after [`Self::grow`].
    fn spread(&self) -> usize {
        if self.slots.len() < MANY { 4 } else { 2 }
    }

    #[cfg(test)]
    pub(super) fn spelled(&self, number: u32) -> String {
        let is_known = |slot: &&Slot| slot.round == self.round && slot.number == number;
        let slot = self.slots.iter().find(is_known).unwrap();
        let (length, bytes) = (slot.length, slot.word.to_le_bytes());
        let start = (slot.word >> 64) as usize;
        let bytes = if length <= SHORT { &bytes[..length] } else { &self.bytes[start..start + length] };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.spread() * self.slots.len() - 1;
        let slots = std::mem::replace(&mut self.slots, vec![Slot::default(); mask + 1]);
        for slot in slots.into_iter().filter(|slot| slot.round == self.round) {
            let is_short = slot.length <= SHORT;
            let mut place = self.hash(if is_short { slot.word } else { u128::from(slot.word as u64) }) as usize & mask;
            while self.slots[place].round == self.round {
                place = (place + 1) & mask;
            }
            self.slots[place] = slot;
        }
        self.most = u32::try_from(self.slots.len() / self.spread()).unwrap_or(u32::MAX);
    }

    /// The product of both halves, each hidden by a seed, folded.
    #[inline]
    fn hash(&self, word: u128) -> u64 {
        let product = u128::from(word as u64 ^ self.seeds[0]) * u128::from((word >> 64) as u64 ^ self.seeds[1]);
        (product as u64) ^ (product >> 64) as u64
    }

    /// What stands for a token that is not short: its hashes, one over another, 16 bytes at a time.
    fn digest(&self, token: &[u8]) -> u64 {
        let (words, rest) = token.as_chunks::<SHORT>();
        let mut last = [0; SHORT];
        last[..rest.len()].copy_from_slice(rest);
        words.iter().chain([&last]).fold(0, |digest, word| {
            // Both halves depend on all that came before.
            let before = u128::from(digest) << 64 | u128::from(digest.rotate_left(32) ^ self.seeds[1]);
            self.hash(u128::from_le_bytes(*word) ^ before)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tokens_have_equal_numbers() {
        let mut vocabulary = Vocabulary::default();
        for round in 0..3 {
            let count = [200_000u64, 10, 300][round];
            for token in 0..count {
                assert_eq!(vocabulary.number(&token.to_le_bytes()), token as u32);
            }
            for token in (0..count).rev() {
                assert_eq!(vocabulary.number(&token.to_le_bytes()), token as u32);
            }
            // The same bytes with zeros after them are another token.
            assert_eq!(vocabulary.number(b""), count as u32);
            assert_eq!(vocabulary.number(b"\0"), count as u32 + 1);
            let long = [b'x'; 40];
            for length in 15..40 {
                assert_eq!(vocabulary.number(&long[..length]), (count + 2) as u32 + length as u32 - 15);
            }
            assert_eq!(vocabulary.find(&long[..16]), count as u32 + 3);
            assert_eq!(vocabulary.find(&long[1..30]), vocabulary.find(&long[..29]));
            assert_eq!(vocabulary.find(b"x"), vocabulary.len() as u32);
            vocabulary.clear();
            if round == 1 {
                // Rounds come to their end, and begin again.
                vocabulary.round = u32::MAX;
                vocabulary.number(b"forgotten");
                vocabulary.clear();
                assert_eq!(vocabulary.find(b"forgotten"), 0);
            }
        }
    }

    #[test]
    fn a_short_token_is_its_bytes() {
        let text: Vec<u8> = (1..=40).collect();
        for length in 0..=text.len() {
            let text = &text[..length];
            for start in 0..length {
                for end in start..=length {
                    let mut bytes = [0; SHORT];
                    let expected = bytes.get_mut(..end - start).map(|bytes| bytes.copy_from_slice(&text[start..end]));
                    let expected = expected.map(|()| Short { bits: u128::from_le_bytes(bytes), length: end - start });
                    assert_eq!(Short::within(text, [start, end]), expected);
                }
            }
        }
    }
}
