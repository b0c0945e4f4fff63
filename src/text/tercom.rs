//! The tokenizer of TER, as sacrebleu has it from tercom (<https://github.com/jhclark/tercom>).
//!
//! Its definition is a list of regular expressions over the whole text. They change words one by one, and never join two
//! of them, so this goes from word to word: the western part is mteval-v13a's, and the possessive 's stands alone too.
//! sacrebleu has three more expressions, for kana, which are tied to the beginning of a text that always begins with a
//! space: they never match.

use std::borrow::Cow;

use super::tokenize::{ENTITIES, SYMBOLS, hand_over, rewritten, symbols_apart, trim_end, words};

/// How TER cuts a text.
#[expect(clippy::struct_excessive_bools, reason = "they are sacrebleu's options, one by one")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Tercom {
    /// Markup becomes characters, and punctuation stands alone.
    pub normalized: bool,
    /// Punctuation is left out.
    pub no_punct: bool,
    /// The same for the characters of eastern Asia, each of which stands alone where punctuation does.
    pub asian_support: bool,
    /// Capitals are not made small.
    pub case_sensitive: bool,
}

impl Tercom {
    /// What asks for strings.
    pub fn wants_strings(&self) -> Option<&'static str> {
        if self.normalized { Some("normalized is True") } else { self.no_punct.then_some("no_punct is True") }
    }

    /// Hands the tokens of a text over, one after another; `buffer` holds the token under way.
    pub fn tokens(self, text: &str, buffer: &mut Vec<u8>, mut token: impl FnMut(&[u8])) {
        let text = trim_end(text);
        let text = if self.case_sensitive { Cow::Borrowed(text) } else { lower_case(text) };
        let mut word = |word: &[u8]| self.parts(word, buffer, &mut token);
        if self.normalized {
            let lines = [("\n-", ""), ("\n", " ")];
            symbols_apart(&possessives_apart(&rewritten(&text, lines.iter().chain(&ENTITIES))), &mut word);
        } else {
            words(&text, &mut word);
        }
    }

    /// Cuts what does not depend on the neighbours of a word.
    fn parts(self, word: &[u8], buffer: &mut Vec<u8>, token: &mut impl FnMut(&[u8])) {
        let splits = self.asian_support && self.normalized && !word.is_ascii();
        if !splits && !self.no_punct {
            return token(word);
        }
        buffer.clear();
        let word = std::str::from_utf8(word).expect("a text is cut between characters");
        for (at, character) in word.char_indices() {
            let mark = is_asian_mark(character);
            let alone = splits && (mark || is_asian(character));
            let goes = self.no_punct && (".,?:;!\"()".contains(character) || self.asian_support && mark);
            if alone {
                hand_over(buffer, token);
                buffer.clear();
            }
            if !goes {
                buffer.extend_from_slice(&word.as_bytes()[at..at + character.len_utf8()]);
            }
            if alone {
                hand_over(buffer, token);
                buffer.clear();
            }
        }
        hand_over(buffer, token);
    }
}

fn lower_case(text: &str) -> Cow<'_, str> {
    let is_lower = text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

/// Puts a space before every 's that stands before a space, before what will have spaces around it, or at the end.
fn possessives_apart(text: &str) -> Cow<'_, str> {
    let ends = |at: usize| text.as_bytes().get(at).is_none_or(|byte| *byte == b' ' || SYMBOLS.contains(byte));
    let mut places = text.match_indices("'s").map(|(at, _)| at).filter(|at| ends(at + 2)).peekable();
    if places.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut apart = String::with_capacity(text.len() + 8);
    let mut start = 0;
    for at in places {
        apart.push_str(&text[start..at]);
        apart.push(' ');
        start = at;
    }
    apart.push_str(&text[start..]);
    Cow::Owned(apart)
}

/// sacrebleu's table, by its code points; the range that begins at U+3200 was meant to end at U+32FF.
fn is_asian(character: char) -> bool {
    matches!(
        character,
        '\u{4e00}'..='\u{9fff}' // ideographs
            | '\u{3400}'..='\u{4dbf}' // and their extension A
            | '\u{31c0}'..='\u{31ef}' // strokes
            | '\u{2e80}'..='\u{2eff}' // radicals
            | '\u{3300}'..='\u{33ff}' // for compatibility, here and in the next two lines
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{3200}'..='\u{3f22}' // enclosed letters and months, and more
    )
}

/// Punctuation, of full width or not.
fn is_asian_mark(character: char) -> bool {
    matches!(
        character,
        '\u{3001}' | '\u{3002}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{ff61}'..='\u{ff65}'
            | '\u{30fb}' | '\u{ff0e}' | '\u{ff0c}' | '\u{ff1f}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff01}' | '\u{ff02}'
            | '\u{ff08}' | '\u{ff09}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(tercom: Tercom, text: &str) -> Vec<String> {
        let mut all = vec![];
        tercom.tokens(text, &mut vec![], |token| all.push(String::from_utf8(token.to_vec()).unwrap()));
        all
    }

    // What sacrebleu 2.6.0 makes of these.
    #[test]
    fn the_tokenizer_on_its_corners() {
        let plain = Tercom::default();
        assert_eq!(cut(plain, " Hello, World!\u{1c}"), ["hello,", "world!"]);
        assert_eq!(cut(Tercom { case_sensitive: true, ..plain }, "Hello A"), ["Hello", "A"]);
        let normalized = Tercom { normalized: true, ..plain };
        assert_eq!(
            cut(normalized, "the dog's bone, 3.5-4 it's\t's"),
            ["the", "dog", "'s", "bone", ",", "3.5", "-", "4", "it's", "'s"]
        );
        assert_eq!(cut(normalized, "a\n-b\nc &amp;lt;"), ["ab", "c", "<"]);
        let asian = Tercom { asian_support: true, ..normalized };
        assert_eq!(cut(asian, "x你好y。z"), ["x", "你", "好", "y", "。", "z"]);
        assert_eq!(cut(asian, "ひらがな"), ["ひらがな"]);
        let bare = Tercom { no_punct: true, ..plain };
        assert_eq!(cut(bare, "(a.b) ... 你。"), ["ab", "你。"]);
        assert_eq!(cut(Tercom { asian_support: true, ..bare }, "(a.b) 你。好"), ["ab", "你好"]);
    }
}
