//! sacrebleu's tokenizers that let punctuation stand alone by three or four regular expressions, of which each puts spaces
//! around matches that do not overlap. One pass over the characters does the same:
//!
//! | kind | `intl` | `zh` | stands alone |
//! |---|---|---|---|
//! | alone | S | ASCII punctuation but `'`, `,`, `-`, `.`; what counts as Chinese | always |
//! | stop | P | `.` and `,` | beside something that is not a number |
//! | hyphen | – | `-` | after a number |
//! | number | N | 0 to 9 | never |
//!
//! A stop after anything but a number is matched together with what stands before it. In a run of stops that takes every
//! second one, beginning with the first unless a number stands before the run. All others that something but a number
//! follows are taken next, which is all but the last of the run. The ends of a text are like numbers to a stop: where
//! nothing is, nothing matches.

use super::classes::{Class, Classes};
use super::tokenize::{SYMBOLS, is_whitespace};

/// What a character is to these tokenizers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Alone,
    Stop,
    Hyphen,
    Number,
    Other,
}

/// sacrebleu's `intl`: the tokenizer of mteval-v14 with Unicode's punctuation (P), symbols (S) and numbers (N).
pub fn international(text: &str, token: &mut dyn FnMut(&[u8])) {
    let mut classes = Classes::default();
    let kind = |character| match classes.of(character) {
        Class::Number => Kind::Number,
        Class::Punctuation => Kind::Stop,
        Class::Symbol => Kind::Alone,
        _ if is_whitespace(character) => Kind::Space,
        _ => Kind::Other,
    };
    separate(text, kind, token);
}

/// sacrebleu's `zh`: every Chinese character is a token, and the rest is cut as mteval-v13a does.
pub fn chinese(text: &str, token: &mut dyn FnMut(&[u8])) {
    let kind = |character| match character {
        '0'..='9' => Kind::Number,
        '.' | ',' => Kind::Stop,
        '-' => Kind::Hyphen,
        _ if is_whitespace(character) => Kind::Space,
        '\0'..='\x7f' if SYMBOLS.contains(&(character as u8)) => Kind::Alone,
        _ if is_chinese(character) => Kind::Alone,
        _ => Kind::Other,
    };
    separate(text.trim_matches(is_whitespace), kind, token);
}

/// What sacrebleu 2.6.0 takes for Chinese. It means to have the supplementary ideographs too, but writes `'\u20000'`, which
/// to Python is U+2000 and a zero: so there are none of them, and most of what lies from U+2001 to U+2A6D instead.
fn is_chinese(character: char) -> bool {
    matches!(
        character,
        '\u{2001}'..='\u{2a6d}'
            | '\u{2e80}'..='\u{2fdf}'
            | '\u{2ff0}'..='\u{303f}'
            | '\u{3100}'..='\u{312f}'
            | '\u{31a0}'..='\u{31ef}'
            | '\u{3200}'..='\u{4db5}'
            | '\u{4e00}'..='\u{9fbb}'
            | '\u{f900}'..='\u{fa2d}'
            | '\u{fa30}'..='\u{fa6a}'
            | '\u{fa70}'..='\u{fad9}'
            | '\u{fe10}'..='\u{fe1f}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ffef}'
    )
}

fn separate(text: &str, mut kind: impl FnMut(char) -> Kind, token: &mut dyn FnMut(&[u8])) {
    let bytes = text.as_bytes();
    let mut hand_over = |start: usize, end: usize| {
        if start < end {
            token(&bytes[start..end]);
        }
    };
    let mut characters =
        text.char_indices().map(|(at, character)| (at, character.len_utf8(), kind(character))).peekable();
    // The token under way begins here.
    let mut start = 0;
    let mut before = None;
    let mut second = false;
    while let Some((at, length, found)) = characters.next() {
        let apart = match found {
            Kind::Alone => true,
            Kind::Hyphen => before == Some(Kind::Number),
            Kind::Stop => {
                second = match before {
                    Some(Kind::Stop) => !second,
                    Some(Kind::Number) | None => false,
                    Some(_) => true,
                };
                second || characters.peek().is_some_and(|&(_, _, after)| after != Kind::Number)
            }
            Kind::Space | Kind::Number | Kind::Other => false,
        };
        if apart || found == Kind::Space {
            hand_over(start, at);
            start = at + length;
        }
        if apart {
            hand_over(at, start);
        }
        before = Some(found);
    }
    hand_over(start, bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(tokenizer: impl Fn(&str, &mut dyn FnMut(&[u8])), text: &str) -> Vec<String> {
        let mut all = vec![];
        tokenizer(text, &mut |token| all.push(String::from_utf8(token.to_vec()).unwrap()));
        all
    }

    // What sacrebleu 2.6.0 makes of these.
    #[test]
    fn the_international_tokenizer_on_its_corners() {
        for (text, expected) in [
            ("", vec![]),
            (" \u{1c}\u{3000}\n", vec![]),
            ("Hello, «world»!", vec!["Hello", ",", "«", "world", "»", "!"]),
            ("1,000.5€", vec!["1,000.5", "€"]),
            // At the ends of a text nothing is beside a stop.
            ("in 2019.", vec!["in", "2019."]),
            // BLEU cuts whitespace off the end before.
            ("2019. ", vec!["2019", "."]),
            ("2019. a", vec!["2019", ".", "a"]),
            (".5", vec![".5"]),
            (" .5", vec![".", "5"]),
            ("a..5", vec!["a", ".", ".5"]),
            ("1.,2", vec!["1", ".", ",", "2"]),
            ("...", vec![".", ".", "."]),
            ("٣٫٤ Ⅷ.½", vec!["٣٫٤", "Ⅷ.½"]),
            ("a+b<c", vec!["a", "+", "b", "<", "c"]),
            ("你好。世界", vec!["你好", "。", "世界"]),
        ] {
            assert_eq!(cut(international, text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_chinese_tokenizer_on_its_corners() {
        for (text, expected) in [
            ("", vec![]),
            ("\u{3000}你 ", vec!["你"]),
            ("你好,world!", vec!["你", "好", ",", "world", "!"]),
            ("２０→3.5米", vec!["２", "０", "→", "3.5", "米"]),
            // A supplementary ideograph is none here, a dash is.
            ("𠀀a—b", vec!["𠀀a", "—", "b"]),
            ("5. ", vec!["5."]),
            (".5 10-20", vec![".5", "10", "-", "20"]),
            ("-1", vec!["-1"]),
        ] {
            assert_eq!(cut(chinese, text), expected, "{text:?}");
        }
    }
}
