//! What kind of character a character is, in Unicode's categories.

use super::unicode::RUNS;

/// The kinds that tokenizers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Whitespace, controls, what is not assigned; and the zero-width space, which separates words.
    Other,
    /// N: digits, and whatever else is a number.
    Number,
    /// P.
    Punctuation,
    /// S.
    Symbol,
    /// M: what combines with the character before it.
    Mark,
    /// L, unless it is `Alone`.
    Letter,
    /// Cf: joiners, the soft hyphen, marks of direction, and others that are not seen.
    Format,
    /// The letters of scripts that are written without spaces between words: Han, Hiragana, Katakana, Thai, Lao, Khmer,
    /// Myanmar.
    Alone,
}

impl Class {
    /// Numbered as in the table.
    const ALL: [Self; 8] = [
        Self::Other,
        Self::Number,
        Self::Punctuation,
        Self::Symbol,
        Self::Mark,
        Self::Letter,
        Self::Format,
        Self::Alone,
    ];
}

/// Looks classes up. Characters of a text lie close together in Unicode, so the last run that was found is tried first.
pub struct Classes {
    run: std::ops::Range<u32>,
    class: Class,
}

impl Default for Classes {
    fn default() -> Self {
        Self { run: 0..0, class: Class::Other }
    }
}

impl Classes {
    /// The class of a character.
    #[inline]
    pub fn of(&mut self, character: char) -> Class {
        match ASCII.get(character as usize) {
            Some(&class) => class,
            None if self.run.contains(&(character as u32)) => self.class,
            None => self.look_up(character),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, character: char) -> Class {
        let after = RUNS.partition_point(|&run| run >> 3 <= character as u32);
        let run = RUNS[after - 1];
        self.run = run >> 3..RUNS.get(after).map_or(u32::MAX, |next| next >> 3);
        self.class = Class::ALL[run as usize & 7];
        self.class
    }
}

static ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut index = 0;
    let mut code = 0;
    while code < 128 {
        while RUNS[index + 1] >> 3 <= code {
            index += 1;
        }
        classes[code as usize] = Class::ALL[RUNS[index] as usize & 7];
        code += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert_eq!(RUNS[0] >> 3, 0);
        for pair in RUNS.windows(2) {
            assert!(pair[0] >> 3 < pair[1] >> 3 && pair[0] & 7 != pair[1] & 7, "{pair:?}");
        }
    }

    #[test]
    fn every_class() {
        let mut classes = Classes::default();
        for (characters, class) in [
            (" \n\0\u{200b}\u{378}\u{10ffff}", Class::Other),
            ("09²Ⅷ〇๓", Class::Number),
            (".,_«»…।。", Class::Punctuation),
            ("$+<^`|~€→😀", Class::Symbol),
            ("\u{301}\u{93e}\u{e31}\u{e0100}", Class::Mark),
            ("azAZéßжञ가", Class::Letter),
            ("\u{ad}\u{200d}\u{200e}\u{feff}", Class::Format),
            ("你〆々あカーｱกກកကꩠ𠀀", Class::Alone),
        ] {
            for character in characters.chars() {
                for _ in 0..2 {
                    assert_eq!(classes.of(character), class, "U+{:04X}", character as u32);
                }
            }
        }
    }

    // std has tables of its own, of another version of Unicode, but no character has ever changed from a number to none.
    #[test]
    fn numbers_are_those_of_std() {
        let mut classes = Classes::default();
        for character in ('\0'..=char::MAX).filter(|character| character.is_numeric()) {
            assert_eq!(classes.of(character), Class::Number, "U+{:04X}", character as u32);
        }
    }
}
