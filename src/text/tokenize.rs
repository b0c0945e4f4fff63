//! From text to tokens: sacrebleu's tokenizers, rouge-score's, and jiwer's words and characters.
//!
//! They hand over slices of the UTF-8 text, in order, and never an empty one.

use std::borrow::Cow;

use super::separate;
use super::spans::{Rule, Spans};
use super::stem::{Stems, stem};
use super::tokens::{Reader, Token};
use super::vocabulary::Short;

/// How BLEU cuts a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenizer {
    /// The tokenizer of WMT's mteval-v13a script, as sacrebleu has it.
    Mteval13a,
    /// At whitespace only.
    None,
    /// Every character that is not whitespace.
    Char,
    /// Punctuation and symbols of Unicode apart, as sacrebleu's `intl` has it.
    International,
    /// Every Chinese character apart, as sacrebleu's `zh` has it.
    Chinese,
}

impl Tokenizer {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["13a", "none", "char", "intl", "zh"];

    /// Tokenizers of sacrebleu that are a model, which is not here.
    pub const OF_MODELS: &[&str] = &["flores101", "flores200", "spBLEU-1K", "spm", "ja-mecab", "ko-mecab"];

    /// The tokenizer of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "13a" => Some(Self::Mteval13a),
            "none" => Some(Self::None),
            "char" => Some(Self::Char),
            "intl" => Some(Self::International),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// Hands the tokens of a text over, one after another. Whitespace at its end counts: a hyphen before the last line break
    /// goes, and for [`Self::International`] it is no number.
    pub fn tokens(self, text: &str, token: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Mteval13a => symbols_apart(&rewritten(text, MARKUP.iter().chain(&ENTITIES)), token),
            Self::None => words(text, token),
            Self::Char => characters(text, token),
            Self::International => separate::international(text, token),
            Self::Chinese => separate::chinese(text, token),
        }
    }

    /// Reads the tokens of a text, without the whitespace at its end, as BLEU does.
    pub fn read(self, text: &str, reader: &mut Reader<'_, '_>) {
        let rule = match self {
            Self::Mteval13a => Rule::Mteval13a,
            Self::None => Rule::Words,
            Self::Char => return characters(text, |token| reader.token(token)),
            Self::International => return separate::international(trim_end(text), &mut |token| reader.token(token)),
            Self::Chinese => return separate::chinese(text, &mut |token| reader.token(token)),
        };
        let mut spans = std::mem::take(&mut reader.spans);
        let text = find(rule, text, &mut spans);
        reader.tokens_within(text.as_bytes(), spans.bounds());
        reader.spans = spans;
    }
}

/// Finds the tokens of a text, or of the text that it stands for.
///
/// The 13a tokenizer is defined by four regular expressions that put spaces around: (1) each of the [`SYMBOLS`]; (2) a full stop or comma after anything but a digit; (3)
/// one before anything but a digit; (4) a hyphen after a digit. A match of (2) takes its stop and the character before it, and
/// matches do not overlap: in a run of stops and commas it finds every second one, starting with the first unless a digit
/// stands before the run. (3) then finds all others, unless a digit follows, which only the last of the run can have.
fn find<'a>(rule: Rule, text: &'a str, spans: &mut Spans) -> Cow<'a, str> {
    let whole = match spans.find(rule, text.as_bytes()) {
        true if rule == Rule::Mteval13a => rewritten(trim_end(text), MARKUP.iter().chain(&ENTITIES)),
        true => rewritten(text, &LOWER_CASE),
        false => Cow::Borrowed(text),
    };
    if let Cow::Owned(whole) = &whole {
        spans.find(rule, whole.as_bytes());
    }
    whole
}

/// The four expressions, and then whitespace, one byte after another. As no match takes a part of a run only, one pass that
/// looks at runs as a whole does the same.
pub(super) fn symbols_apart(text: &str, mut token: impl FnMut(&[u8])) {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    // The token under way begins here.
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let space = whitespace(&bytes[at..]);
        if space > 0 {
            hand_over(&bytes[start..at], &mut token);
            at += space;
            start = at;
            continue;
        }
        match bytes[at] {
            b'.' | b',' => {
                let run = bytes[at..].iter().take_while(|byte| matches!(byte, b'.' | b',')).count();
                let mut second = !digit(at.checked_sub(1));
                for last in (0..run).rev().map(|rest| rest == 0) {
                    let apart = second || !last || !digit(Some(at + 1));
                    if apart {
                        hand_over(&bytes[start..at], &mut token);
                        token(&bytes[at..=at]);
                        start = at + 1;
                    } else if run > 1 {
                        // It stays with the digit that follows; what stood before it has been handed over.
                        start = at;
                    }
                    second = !second;
                    at += 1;
                }
            }
            byte if SYMBOLS.contains(&byte) || byte == b'-' && digit(at.checked_sub(1)) => {
                hand_over(&bytes[start..at], &mut token);
                token(&bytes[at..=at]);
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    hand_over(&bytes[start..], &mut token);
}

/// All ASCII punctuation but the apostrophe, comma, hyphen and full stop.
pub(super) const SYMBOLS: &[u8] = b"{|}~[\\]^_`!\"#$%&()*+:;<=>?@/";

/// What mteval-v13a takes out of a text first: one thing after another, so `&amp;lt;` ends as `<`.
const MARKUP: [(&str, &str); 2] = [("<skipped>", ""), ("-\n", "")];

/// What stands for characters of markup.
pub(super) const ENTITIES: [(&str, &str); 4] = [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];

/// The two characters beyond ASCII whose lower case begins in ASCII: the Kelvin sign, and İ, which becomes i and a dot above.
const LOWER_CASE: [(&str, &str); 2] = [("\u{212a}", "k"), ("\u{130}", "i\u{307}")];

/// Replaces one thing after another.
pub(super) fn rewritten<'a>(text: &'a str, changes: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for (from, to) in changes {
        if text.contains(from) {
            text = Cow::Owned(text.replace(from, to));
        }
    }
    text
}

/// What stands between whitespace.
pub(super) fn words(text: &str, mut token: impl FnMut(&[u8])) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let space = whitespace(&bytes[at..]);
        if space > 0 {
            hand_over(&bytes[start..at], &mut token);
            start = at + space;
        }
        at += space.max(1);
    }
    hand_over(&bytes[start..], &mut token);
}

/// Every character that is not whitespace.
pub(super) fn characters(text: &str, mut token: impl FnMut(&[u8])) {
    for (at, character) in text.char_indices() {
        if !is_whitespace(character) {
            token(&text.as_bytes()[at..at + character.len_utf8()]);
        }
    }
}

/// jiwer's words: a space, or a run of two or more characters of whitespace, stands between them; one tab alone does not.
pub fn spaced_words(text: &str, mut token: impl FnMut(&[u8])) {
    let text = trim_end(trim_start(text));
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let (mut end, mut count) = (at, 0);
        while whitespace(&bytes[end..]) > 0 {
            end += whitespace(&bytes[end..]);
            count += 1;
        }
        if count > 1 || bytes[at] == b' ' {
            hand_over(&bytes[start..at], &mut token);
            start = end;
        }
        at = end.max(at + 1);
    }
    hand_over(&bytes[start..], &mut token);
}

/// Reads jiwer's words.
pub fn read_spaced(text: &str, reader: &mut Reader<'_, '_>) {
    let text = trim_end(trim_start(text));
    let mut spans = std::mem::take(&mut reader.spans);
    if spans.find(Rule::Spaced, text.as_bytes()) {
        spaced_words(text, |token| reader.token(token));
    } else {
        reader.tokens_within(text.as_bytes(), spans.bounds());
    }
    reader.spans = spans;
}

/// jiwer's characters: all, once whitespace is cut off both ends.
pub fn all_characters(text: &str, mut token: impl FnMut(&[u8])) {
    let text = trim_end(trim_start(text));
    for (at, character) in text.char_indices() {
        token(&text.as_bytes()[at..at + character.len_utf8()]);
    }
}

/// rouge-score's tokens: runs of ASCII letters and digits of the text in lower case; with `stems`, those of more than three
/// letters are stemmed.
pub fn read_alphanumeric(text: &str, stems: Option<&mut Stems>, reader: &mut Reader<'_, '_>) {
    let mut spans = std::mem::take(&mut reader.spans);
    let text = find(Rule::Alphanumeric, text, &mut spans);
    let text = text.as_bytes();
    match stems {
        None => reader.extend(spans.bounds(), move |[start, end]| match Short::within(text, [start, end]) {
            Some(token) => Token::Short(token.lowercase()),
            None => Token::Long(Cow::Owned(in_lower_case(text, start, end))),
        }),
        Some(stems) => reader.extend(spans.bounds(), move |[start, end]| {
            if let Some(token) = Short::within(text, [start, end]) {
                return Token::Short(stems.of(token.lowercase()));
            }
            let mut token = in_lower_case(text, start, end);
            stem(&mut token);
            Token::Long(Cow::Owned(token))
        }),
    }
    reader.spans = spans;
}

#[cold]
fn in_lower_case(text: &[u8], start: usize, end: usize) -> Vec<u8> {
    text[start..end].to_ascii_lowercase()
}

/// The same tokens as strings.
pub fn alphanumeric(text: &str, stems: bool) -> Vec<String> {
    let mut spans = Spans::default();
    let text = find(Rule::Alphanumeric, text, &mut spans);
    let token = |&[start, end]: &[usize; 2]| {
        let mut token = in_lower_case(text.as_bytes(), start, end);
        if stems && token.len() > 3 {
            stem(&mut token);
        }
        String::from_utf8_lossy(&token).into_owned()
    };
    spans.bounds().iter().map(token).collect()
}

/// Hands a token over unless it is empty.
pub(super) fn hand_over(bytes: &[u8], token: &mut impl FnMut(&[u8])) {
    if !bytes.is_empty() {
        token(bytes);
    }
}

/// Cuts whitespace off the end.
pub(super) fn trim_end(text: &str) -> &str {
    match text.as_bytes().last() {
        Some(b'!'..=b'~') => text,
        _ => text.trim_end_matches(is_whitespace),
    }
}

/// Cuts whitespace off the beginning.
pub(super) fn trim_start(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b'!'..=b'~') => text,
        _ => text.trim_start_matches(is_whitespace),
    }
}

/// Whitespace as Python's `str.split` has it: Unicode's, and the four ASCII separators of files, groups, records and units.
pub fn is_whitespace(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// How many bytes the whitespace character at the beginning takes; 0 if there is none.
pub(super) fn whitespace(bytes: &[u8]) -> usize {
    match bytes {
        [b'\t'..=b'\r' | 0x1c..=b' ', ..] => 1,
        // All others begin with one of four bytes: U+0085 and U+00A0; U+1680; U+2000 to U+205F; U+3000.
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..]
        | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..]
        | [0xe2, 0x81, 0x9f, ..]
        | [0xe3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokens::spelled;

    fn cut(tokenizer: Tokenizer, text: &str) -> Vec<String> {
        spelled(|reader| tokenizer.read(text, reader))
    }

    fn collect(read: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<String> {
        let mut all = vec![];
        read(&mut |token| all.push(String::from_utf8(token.to_vec()).unwrap()));
        all
    }

    #[test]
    fn whitespace_is_the_same_in_bytes_and_in_characters() {
        for character in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            let expected = if is_whitespace(character) { bytes.len() } else { 0 };
            assert_eq!(whitespace(bytes), expected, "U+{:04X}", character as u32);
        }
        assert_eq!(whitespace(b""), 0);
    }

    // What sacrebleu 2.6.0 makes of these.
    #[test]
    fn the_13a_tokenizer_on_its_corners() {
        for (text, expected) in [
            ("", vec![]),
            (" \u{1c}\u{3000}\n", vec![]),
            ("Hello, world!", vec!["Hello", ",", "world", "!"]),
            ("1,000.5 cm", vec!["1,000.5", "cm"]),
            ("a..5", vec!["a", ".", ".5"]),
            ("1.,2", vec!["1", ".", ",", "2"]),
            ("1...5", vec!["1", ".", ".", ".5"]),
            (".5", vec![".", "5"]),
            ("5.", vec!["5", "."]),
            ("5.-", vec!["5", ".", "-"]),
            ("10--20 a-b", vec!["10", "-", "-20", "a-b"]),
            ("don't &amp;lt; &quot;x&quot;", vec!["don't", "<", "\"", "x", "\""]),
            ("hyphen-\nated<skipped>", vec!["hyphenated"]),
            ("end-\n", vec!["end-"]),
            ("caf\u{e9}.\u{85}x\u{a0}y", vec!["caf\u{e9}", ".", "x", "y"]),
            ("nul\0byte", vec!["nul\0byte"]),
        ] {
            assert_eq!(cut(Tokenizer::Mteval13a, text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_plain_tokenizers() {
        assert_eq!(cut(Tokenizer::None, "  a,b\u{1f}c\u{2003}d "), ["a,b", "c", "d"]);
        assert_eq!(cut(Tokenizer::Char, " a\u{e9} \u{1f600}"), ["a", "\u{e9}", "\u{1f600}"]);
        assert_eq!(collect(|sink| spaced_words(" a  b\tc \u{2003}d\n", sink)), ["a", "b\tc", "d"]);
        assert_eq!(collect(|sink| all_characters(" a b\n", sink)), ["a", " ", "b"]);
    }

    #[test]
    fn spaced_words_are_read_as_they_are_found() {
        let mut state = 3u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..state >> 33 & 127 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Other whitespace in few texts only.
                let kinds = if state >> 60 == 0 { 8 } else { 4 };
                text.push_str(
                    ["a", "bcd", " ", "\u{e9}", "\n", "\u{3000}", "  ", "\t"][(state >> 33) as usize % kinds],
                );
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            assert_eq!(
                spelled(|reader| read_spaced(&text, reader)),
                collect(|sink| spaced_words(&text, sink)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn rouge_keeps_ascii_letters_and_digits() {
        let read = |text: &str, stems: bool| {
            let tokens = spelled(|reader| read_alphanumeric(text, stems.then(Stems::default).as_mut(), reader));
            assert_eq!(alphanumeric(text, stems), tokens);
            tokens
        };
        assert_eq!(read("The CAF\u{c9}s_are 2nd!", false), ["the", "caf", "s", "are", "2nd"]);
        assert_eq!(read("\u{212a}elvin \u{130}zmir \u{43c}\u{438}\u{440}", false), ["kelvin", "i", "zmir"]);
        assert_eq!(read("running was skies", true), ["run", "was", "sky"]);
        assert!(read("\u{4f60}\u{597d}", true).is_empty());
    }
}
