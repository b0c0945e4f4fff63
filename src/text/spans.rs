//! Where tokens begin and end, for 64 bytes at a time.
//!
//! What a byte is, a digit or a space, is asked of a whole block at once, and the answers are the bits of a word, the first byte
//! lowest. What stands before a byte and after it is then a shift away, and a carry from block to block.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, mask8x64, u8x64};

use super::tokenize::whitespace;
use crate::simd::level;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What mteval-v13a makes of a text without markup: see [`super::tokenize`].
    Mteval13a,
    /// What stands between whitespace.
    Words,
    /// The same where spaces are the only whitespace.
    Spaced,
    /// ASCII letters and digits in a row.
    Alphanumeric,
}

/// The tokens of a text.
#[derive(Default)]
pub struct Spans {
    /// Where tokens begin and end; there is always room for those of another block.
    bounds: Vec<[usize; 2]>,
    /// How many begin.
    starts: usize,
    /// How many of these have come to their end.
    ends: usize,
}

impl Spans {
    /// Finds the tokens of a text. Answers whether there may be something in it that the rule does not know: for 13a the first
    /// characters of markup, for letters and digits one that is not ASCII and has an ASCII letter in lower case, for spaces
    /// other whitespace.
    pub fn find(&mut self, rule: Rule, text: &[u8]) -> bool {
        (self.starts, self.ends) = (0, 0);
        dispatch!(level(), simd => find(simd, rule, text, self))
    }

    /// Beginning and end of each token, one after another.
    pub fn bounds(&self) -> &[[usize; 2]] {
        &self.bounds[..self.ends]
    }

    /// Appends the tokens that begin, and those that end, in a block.
    #[inline(always)]
    fn push(&mut self, starts: u64, ends: u64, at: usize) {
        if self.bounds.len() < self.starts + BLOCK {
            self.bounds.resize(2 * (self.starts + BLOCK), [0; 2]);
        }
        self.starts += put::<0>(&mut self.bounds[self.starts..], starts, at);
        self.ends += put::<1>(&mut self.bounds[self.ends..], ends, at);
    }
}

/// Writes the places of the bits, and answers how many there are.
#[inline(always)]
fn put<const SIDE: usize>(bounds: &mut [[usize; 2]], mut bits: u64, at: usize) -> usize {
    let count = bits.count_ones() as usize;
    let Some(bounds) = bounds.first_chunk_mut::<BLOCK>() else { return 0 };
    let (few, more) = bounds.split_at_mut(FEW);
    // How many bits there are cannot be foretold: so many are written in any case.
    for bounds in few {
        bounds[SIDE] = at + bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
    }
    for bounds in more.iter_mut().take(count.saturating_sub(FEW)) {
        bounds[SIDE] = at + bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
    }
    count
}

/// Few blocks of running text have more tokens.
const FEW: usize = 14;

/// How many bytes a block has.
const BLOCK: usize = u64::BITS as usize;

#[inline(always)]
fn find<S: Simd>(simd: S, rule: Rule, text: &[u8], spans: &mut Spans) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let mut scan = Scan { text, ..Scan::default() };
    for at in 0..=blocks.len() {
        // There is a space after the text in any case.
        let block = Block { simd, bytes: u8x64::from_slice(simd, blocks.get(at).unwrap_or(&last)) };
        let at = BLOCK * at;
        let (words, alone) = match rule {
            Rule::Mteval13a => scan.mteval_13a(block, at),
            Rule::Words => (!scan.spaces(block, at), 0),
            Rule::Spaced => (!scan.only_spaces(block, at), 0),
            Rule::Alphanumeric => (scan.alphanumeric(block), 0),
        };
        let words_before = scan.words.before(words);
        spans.push(words & !words_before | alone, words_before & !words | scan.alone.before(alone), at);
    }
    let [first_k, last_k, first_i, last_i] = scan.rare;
    scan.unknown || first_k && last_k || first_i && last_i
}

/// The answer for the last byte of the block before.
#[derive(Clone, Copy, Default)]
struct Carry(u64);

impl Carry {
    /// For every byte, the answer for the one before it.
    #[inline(always)]
    fn before(&mut self, bits: u64) -> u64 {
        let before = bits << 1 | self.0;
        self.0 = bits >> (BLOCK - 1);
        before
    }
}

#[derive(Clone, Copy)]
struct Block<S: Simd> {
    simd: S,
    bytes: u8x64<S>,
}

impl<S: Simd> Block<S> {
    #[inline(always)]
    fn is(self, byte: u8) -> mask8x64<S> {
        self.bytes.simd_eq(u8x64::splat(self.simd, byte))
    }

    #[inline(always)]
    fn within(self, first: u8, last: u8) -> mask8x64<S> {
        let splat = |byte| u8x64::splat(self.simd, byte);
        (self.bytes - splat(first)).simd_le(splat(last - first))
    }
}

/// What is known of a text under way.
#[derive(Default)]
struct Scan<'a> {
    text: &'a [u8],
    words: Carry,
    alone: Carry,
    digits: Carry,
    stops: Carry,
    hyphens: Carry,
    /// Whitespace that began in the block before.
    spaces: u64,
    unknown: bool,
    /// Whether bytes of U+212A and of U+0130 were seen: its first and its last one.
    rare: [bool; 4],
}

impl Scan<'_> {
    /// Whitespace.
    #[inline(always)]
    fn spaces<S: Simd>(&mut self, block: Block<S>, at: usize) -> u64 {
        let mut spaces = (block.within(b'\t', b'\r') | block.within(0x1c, b' ')).to_bitmask();
        spaces |= std::mem::take(&mut self.spaces);
        if block.within(0x80, 0xff).any_true() {
            let leads = block.is(0xc2) | block.within(0xe1, 0xe3);
            let mut leads = leads.to_bitmask();
            while leads != 0 {
                let bit = leads.trailing_zeros();
                let found = ((1u128 << whitespace(&self.text[at + bit as usize..])) - 1) << bit;
                spaces |= found as u64;
                self.spaces |= (found >> BLOCK) as u64;
                leads &= leads - 1;
            }
        }
        spaces
    }

    /// Whitespace, where it should be spaces.
    #[inline(always)]
    fn only_spaces<S: Simd>(&mut self, block: Block<S>, at: usize) -> u64 {
        let all = self.spaces(block, at);
        self.unknown |= all != block.is(b' ').to_bitmask();
        all
    }

    /// Parts of words, and tokens of one byte.
    #[inline(always)]
    fn mteval_13a<S: Simd>(&mut self, block: Block<S>, at: usize) -> (u64, u64) {
        let spaces = self.spaces(block, at);
        let digits = block.within(b'0', b'9').to_bitmask();
        let stops = (block.is(b'.') | block.is(b',')).to_bitmask();
        let hyphens = block.is(b'-').to_bitmask();
        let symbols = block.within(b'!', b'&')
            | block.within(b'(', b'+')
            | block.is(b'/')
            | block.within(b':', b'@')
            | block.within(b'[', b'`')
            | block.within(b'{', b'~');
        let digits_before = self.digits.before(digits);
        let digit_follows = self.text.get(at + BLOCK).is_some_and(u8::is_ascii_digit);
        let digits_after = digits >> 1 | u64::from(digit_follows) << (BLOCK - 1);
        // A stop stays with its neighbours where digits stand on both sides; with the one after it also if it is the last of
        // a run that puts it second.
        let mut stay = stops & digits_before & digits_after;
        let mut last_of_run = stops & digits_after & self.stops.before(stops);
        while last_of_run != 0 {
            let bit = last_of_run.trailing_zeros();
            let up_to = &self.text[..=at + bit as usize];
            let run = up_to.iter().rev().take_while(|byte| matches!(byte, b'.' | b',')).count();
            let after_digit = up_to[..up_to.len() - run].last().is_some_and(u8::is_ascii_digit);
            stay |= u64::from(run.is_multiple_of(2) != after_digit) << bit;
            last_of_run &= last_of_run - 1;
        }
        let alone = symbols.to_bitmask() | stops & !stay | hyphens & digits_before;
        let newlines = block.is(b'\n').to_bitmask();
        self.unknown |= (block.is(b'&') | block.is(b'<')).any_true() | (self.hyphens.before(hyphens) & newlines != 0);
        (!(spaces | alone), alone)
    }

    #[inline(always)]
    fn alphanumeric<S: Simd>(&mut self, block: Block<S>) -> u64 {
        let lower = Block { bytes: block.bytes | u8x64::splat(block.simd, 0x20), ..block };
        if block.within(0x80, 0xff).any_true() {
            for (seen, byte) in self.rare.iter_mut().zip([0xe2, 0xaa, 0xc4, 0xb0]) {
                *seen |= block.is(byte).any_true();
            }
        }
        (block.within(b'0', b'9') | lower.within(b'a', b'z')).to_bitmask()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokenize::{symbols_apart, words};
    use super::*;

    /// Texts of what matters to any of the rules, with what stands at the borders of blocks in all places.
    fn texts() -> impl Iterator<Item = String> {
        const PIECES: &[&str] = &[
            " ",
            "  ",
            "\n",
            "\u{1c}",
            "\u{85}",
            "\u{a0}",
            "\u{1680}",
            "\u{2003}",
            "\u{202f}",
            "\u{205f}",
            "\u{3000}",
            "\u{e9}",
            "\u{4f60}",
            "\u{1f600}",
            "\u{a1}",
            "\u{2019}",
            "\u{e000}",
            ".",
            ",",
            "..",
            "-",
            "--",
            "5",
            "19",
            "a",
            "Z",
            "word",
            "The",
            "'",
            "{",
            "~",
            "_",
            "`",
            "@",
            "[",
            "/",
            ":",
            "!",
            "\0",
            "\u{7f}",
            "%",
            "+",
        ];
        let mut state = 7u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        (0..20_000).map(move |case| {
            // Sometimes only a few kinds, so that runs get long.
            let kinds: Vec<&str> = match case % 4 {
                0 => PIECES.to_vec(),
                1 => vec![".", ",", "5", "a"],
                2 => (0..3).map(|_| PIECES[random(PIECES.len())]).collect(),
                _ => vec!["-", "5", ".", " ", "x", "\u{3000}"],
            };
            let mut text = "x".repeat(random(70));
            for _ in 0..random(120) {
                text.push_str(kinds[random(kinds.len())]);
            }
            text
        })
    }

    fn cut(spans: &Spans, text: &str) -> Vec<Vec<u8>> {
        assert_eq!(spans.starts, spans.ends);
        spans.bounds().iter().map(|&[start, end]| text.as_bytes()[start..end].to_vec()).collect()
    }

    type Scalar = fn(&str, &mut dyn FnMut(&[u8]));

    #[test]
    fn blocks_give_what_one_byte_after_another_does() {
        let alphanumeric: Scalar = |text, token| {
            text.as_bytes().split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).for_each(token);
        };
        let mut spans = Spans::default();
        for text in texts() {
            for (rule, scalar) in [
                (Rule::Mteval13a, (|text, token| symbols_apart(text, token)) as Scalar),
                (Rule::Words, |text, token| words(text, token)),
                (Rule::Alphanumeric, alphanumeric),
            ] {
                let mut expected = vec![];
                scalar(&text, &mut |token| expected.push(token.to_vec()));
                spans.find(rule, text.as_bytes());
                assert_eq!(cut(&spans, &text), expected, "{rule:?} {text:?}");
            }
        }
    }

    #[test]
    fn every_character_between_letters() {
        let mut spans = Spans::default();
        // All whitespace is below U+10000.
        for character in '\0'..='\u{ffff}' {
            for before in [4, 62, 63] {
                let text = format!("{}{character}y", "x".repeat(before));
                let (start, end) = (before, before + character.len_utf8());
                spans.find(Rule::Words, text.as_bytes());
                let expected = if whitespace(&text.as_bytes()[start..]) > 0 {
                    vec![[0, start], [end, end + 1]]
                } else {
                    vec![[0, end + 1]]
                };
                assert_eq!(spans.bounds(), expected, "{character:?}");
                let is_other = character != ' ' && expected.len() == 2;
                assert_eq!(spans.find(Rule::Spaced, text.as_bytes()), is_other, "{character:?}");
                assert_eq!(spans.bounds(), expected, "{character:?}");
            }
        }
    }

    #[test]
    fn what_a_rule_does_not_know_is_told() {
        let mut spans = Spans::default();
        for at in 0..130 {
            let text = |what: &str| format!("{}{what}y", "x".repeat(at));
            for (rule, what, expected) in [
                (Rule::Mteval13a, "&", true),
                (Rule::Mteval13a, "<", true),
                (Rule::Mteval13a, "-\n", true),
                (Rule::Mteval13a, "-\r\n", false),
                (Rule::Alphanumeric, "\u{212a}", true),
                (Rule::Alphanumeric, "\u{130}", true),
                (Rule::Alphanumeric, "\u{2019}", false),
            ] {
                assert_eq!(spans.find(rule, text(what).as_bytes()), expected, "{what:?} at {at}");
            }
        }
    }
}
