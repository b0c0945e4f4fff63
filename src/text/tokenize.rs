//! From text to tokens: sacrebleu's tokenizers, rouge-score's, and jiwer's words and characters.
//!
//! Each is one pass over the bytes of the UTF-8 text. They hand over slices of the text (or of a small buffer), in order,
//! and never an empty one.

use std::borrow::Cow;

use super::stem::stem;

/// How BLEU cuts a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenizer {
    /// The tokenizer of WMT's mteval-v13a script, as sacrebleu has it.
    Mteval13a,
    /// At whitespace only.
    None,
    /// Every character that is not whitespace.
    Char,
}

impl Tokenizer {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["13a", "none", "char"];

    /// The tokenizer of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "13a" => Some(Self::Mteval13a),
            "none" => Some(Self::None),
            "char" => Some(Self::Char),
            _ => None,
        }
    }

    /// Hands the tokens of a text over, one after another.
    pub fn tokens(self, text: &str, token: impl FnMut(&[u8])) {
        match self {
            Self::Mteval13a => mteval_13a(text, token),
            Self::None => words(text, token),
            Self::Char => characters(text, token),
        }
    }
}

/// The tokenizer of mteval-v13a.
///
/// Its definition is four regular expressions that put spaces around: (1) each of the [`SYMBOLS`]; (2) a full stop or comma
/// after anything but a digit; (3) one before anything but a digit; (4) a hyphen after a digit. A match of (2) takes its
/// stop and the character before it, and matches do not overlap: in a run of stops and commas it finds every second one,
/// starting with the first unless a digit stands before the run. (3) then finds all others, unless a digit follows, which
/// only the last of the run can have. So one pass that looks at runs as a whole does the same.
fn mteval_13a(text: &str, token: impl FnMut(&[u8])) {
    symbols_apart(&without_markup(trim_end(text)), token);
}

/// The four expressions of [`mteval_13a`], and then whitespace.
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
fn without_markup(text: &str) -> Cow<'_, str> {
    rewritten(text, [("<skipped>", ""), ("-\n", "")].iter().chain(&ENTITIES))
}

/// What stands for characters of markup.
pub(super) const ENTITIES: [(&str, &str); 4] = [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];

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

/// jiwer's characters: all, once whitespace is cut off both ends.
pub fn all_characters(text: &str, mut token: impl FnMut(&[u8])) {
    let text = trim_end(trim_start(text));
    for (at, character) in text.char_indices() {
        token(&text.as_bytes()[at..at + character.len_utf8()]);
    }
}

/// rouge-score's tokens: runs of ASCII letters and digits of the text in lower case; with `stems`, those of more than three
/// letters are stemmed. `buffer` holds the token under way.
///
/// Two characters beyond ASCII have a lower case that begins in ASCII: the Kelvin sign becomes k, and İ becomes i and a dot
/// above, which separates.
pub fn alphanumeric(text: &str, stems: bool, buffer: &mut Vec<u8>, mut token: impl FnMut(&[u8])) {
    buffer.clear();
    let mut end = |buffer: &mut Vec<u8>| {
        if stems && buffer.len() > 3 {
            stem(buffer);
        }
        hand_over(buffer, &mut token);
        buffer.clear();
    };
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => buffer.push(byte),
            b'A'..=b'Z' => buffer.push(byte.to_ascii_lowercase()),
            0xe2 if text[at..].starts_with('\u{212a}') => buffer.push(b'k'),
            // The rest of a character that was looked at as a whole.
            0x80..=0xbf => {}
            _ => {
                if byte == 0xc4 && text[at..].starts_with('\u{130}') {
                    buffer.push(b'i');
                }
                end(buffer);
            }
        }
    }
    end(buffer);
}

/// Hands a token over unless it is empty.
pub(super) fn hand_over(bytes: &[u8], token: &mut impl FnMut(&[u8])) {
    if !bytes.is_empty() {
        token(bytes);
    }
}

/// Cuts whitespace off the end.
pub(super) fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_whitespace)
}

/// Cuts whitespace off the beginning.
fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_whitespace)
}

/// Whitespace as Python's `str.split` has it: Unicode's, and the four ASCII separators of files, groups, records and units.
fn is_whitespace(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// How many bytes the whitespace character at the beginning takes; 0 if there is none.
fn whitespace(bytes: &[u8]) -> usize {
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

    fn cut(tokenizer: Tokenizer, text: &str) -> Vec<String> {
        let mut all = vec![];
        tokenizer.tokens(text, |token| all.push(String::from_utf8(token.to_vec()).unwrap()));
        all
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
    fn rouge_keeps_ascii_letters_and_digits() {
        let read = |text: &str, stems| collect(|sink| alphanumeric(text, stems, &mut vec![], sink));
        assert_eq!(read("The CAF\u{c9}s_are 2nd!", false), ["the", "caf", "s", "are", "2nd"]);
        assert_eq!(read("\u{212a}elvin \u{130}zmir \u{43c}\u{438}\u{440}", false), ["kelvin", "i", "zmir"]);
        assert_eq!(read("running was skies", true), ["run", "was", "sky"]);
        assert!(read("\u{4f60}\u{597d}", true).is_empty());
    }
}
