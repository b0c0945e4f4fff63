//! Words of every script.

use super::classes::{Class, Classes};

/// Hands over the words of a text in lower case: runs of letters and numbers with the marks that belong to them. Where a
/// script has no spaces between words, every letter is a word, with its marks. Format characters (joiners, the soft hyphen,
/// marks of direction) are left out, as they are not seen; the zero-width space separates. `buffer` holds the word under way.
pub fn words(text: &str, buffer: &mut Vec<u8>, mut token: impl FnMut(&[u8])) {
    let mut end = |buffer: &mut Vec<u8>| {
        if !buffer.is_empty() {
            token(buffer);
            buffer.clear();
        }
    };
    let mut classes = Classes::default();
    let mut is_alone = false;
    buffer.clear();
    for character in text.to_lowercase().chars() {
        let belongs = match classes.of(character) {
            Class::Format => continue,
            Class::Mark => !buffer.is_empty(),
            Class::Letter | Class::Number => {
                if is_alone {
                    end(buffer);
                }
                is_alone = false;
                true
            }
            Class::Alone => {
                end(buffer);
                is_alone = true;
                true
            }
            Class::Other | Class::Punctuation | Class::Symbol => false,
        };
        if belongs {
            buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            end(buffer);
        }
    }
    end(buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_scripts() {
        for (text, expected) in [
            ("", vec![]),
            ("Hello, WORLD_2 don't", vec!["hello", "world", "2", "don", "t"]),
            ("Съешь ЕЩЁ", vec!["съешь", "ещё"]),
            ("ΟΔΟΣ e\u{301}te\u{301}", vec!["οδος", "e\u{301}te\u{301}"]),
            ("हिन्दी में", vec!["हिन्दी", "में"]),
            ("مرحبا، بالعالم", vec!["مرحبا", "بالعالم"]),
            ("안녕 세계", vec!["안녕", "세계"]),
            ("东京tower3座", vec!["东", "京", "tower3", "座"]),
            ("カード", vec!["カ", "ー", "ド"]),
            ("ที่นี่๑๒", vec!["ที่", "นี่", "๑๒"]),
            ("می\u{200c}خواهم so\u{ad}ft", vec!["میخواهم", "soft"]),
            ("ab\u{200b}c \u{301}d", vec!["ab", "c", "d"]),
            ("😀👍🏽", vec![]),
        ] {
            let mut all = vec![];
            words(text, &mut vec![1], |token| all.push(String::from_utf8(token.to_vec()).unwrap()));
            assert_eq!(all, expected, "{text:?}");
        }
    }
}
