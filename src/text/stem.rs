//! The Porter stemmer (Porter 1980, <https://tartarus.org/martin/PorterStemmer/def.txt>) as NLTK extends it, which is what
//! rouge-score uses. Words are lower-case ASCII letters and digits; a digit counts as a consonant.
//!
//! What NLTK adds: a table of irregular words; `ies` and `ied` of four letters keep their e; y becomes i only after a
//! consonant that is not the first letter; `bli`, `alli`, `fulli` and `logi` in step 2; and a vowel and a consonant alone
//! count as "cvc" too.

use std::cell::RefCell;

use super::vocabulary::Short;

thread_local! {
    /// What a thread has seen.
    pub static STEMS: RefCell<Stems> = RefCell::default();
}

/// The stems of words that were seen: finding one takes a tenth of the time of stemming. Words of up to three letters stay
/// as they are, as rouge-score has it.
///
/// Two words may belong in the same place, where the later one drives the other out.
pub struct Stems(Vec<Entry>);

/// A word and its stem, as the bits of [`Short`], whose lengths can be told from them; both 0 where there is none.
#[derive(Clone, Copy, Default)]
#[repr(align(32))] // so that none lies in two lines of the cache
struct Entry {
    word: u128,
    stem: u128,
}

/// They take 512 kB, a part of the second cache of any processor: with 4 MB, reading took twice as long.
const ENTRIES: usize = 1 << 14;

impl Default for Stems {
    fn default() -> Self {
        Self(vec![Entry::default(); ENTRIES])
    }
}

impl Stems {
    /// The stem of a word in lower case.
    #[inline]
    pub fn of(&mut self, word: Short) -> Short {
        // All bytes of the word reach the upper bits of the product. Nobody gains by words that meet: they are stemmed.
        let folded = (word.bits as u64) ^ ((word.bits >> 64) as u64).rotate_left(29);
        let entry = &mut self.0[(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - ENTRIES.ilog2())) as usize];
        if entry.word != word.bits {
            *entry = Entry { word: word.bits, stem: stem_of(word) };
        }
        let length = size_of::<u128>() - entry.stem.leading_zeros() as usize / 8;
        Short { bits: entry.stem, length }
    }
}

#[cold]
fn stem_of(word: Short) -> u128 {
    let mut bytes = word.bits.to_le_bytes()[..word.length].to_vec();
    if word.length > 3 {
        stem(&mut bytes);
    }
    // No stem is longer than its word.
    bytes.resize(size_of::<u128>(), 0);
    u128::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 16]))
}

/// Stems a word in place.
pub fn stem(word: &mut Vec<u8>) {
    if let Some((_, root)) = IRREGULAR.iter().find(|(form, _)| form == word) {
        word.clear();
        word.extend_from_slice(root);
        return;
    }
    if word.len() <= 2 {
        return;
    }
    plurals(word);
    participles(word);
    if word.ends_with(b"y") && word.len() > 2 && is_consonant(word, word.len() - 2) {
        replace(word, 1, b"i");
    }
    double_suffixes(word);
    first_rule(word, STEP_3, |root| measure(root) > 0);
    single_suffixes(word);
    final_e(word);
    if word.ends_with(b"ll") && measure(&word[..word.len() - 1]) > 1 {
        word.pop();
    }
}

const IRREGULAR: &[(&[u8], &[u8])] = &[
    (b"sky", b"sky"),
    (b"skies", b"sky"),
    (b"dying", b"die"),
    (b"lying", b"lie"),
    (b"tying", b"tie"),
    (b"news", b"news"),
    (b"innings", b"inning"),
    (b"inning", b"inning"),
    (b"outings", b"outing"),
    (b"outing", b"outing"),
    (b"cannings", b"canning"),
    (b"canning", b"canning"),
    (b"howe", b"howe"),
    (b"proceed", b"proceed"),
    (b"exceed", b"exceed"),
    (b"succeed", b"succeed"),
];

/// A suffix and what takes its place.
type Rule = (&'static [u8], &'static [u8]);

/// Step 1a.
fn plurals(word: &mut Vec<u8>) {
    if word.ends_with(b"sses") || word.ends_with(b"ies") && word.len() != 4 {
        replace(word, 2, b"");
    } else if word.ends_with(b"s") && !word.ends_with(b"ss") {
        replace(word, 1, b"");
    }
}

/// Step 1b.
fn participles(word: &mut Vec<u8>) {
    if word.ends_with(b"ied") {
        let keep_e = word.len() == 4;
        replace(word, 3, if keep_e { b"ie" } else { b"i" });
        return;
    }
    if word.ends_with(b"eed") {
        if measure(&word[..word.len() - 3]) > 0 {
            word.pop();
        }
        return;
    }
    let Some(suffix) = [2, 3].into_iter().find(|&length| {
        let root = word.len().saturating_sub(length);
        matches!(&word[root..], b"ed" | b"ing") && consonants(&word[..root]).any(|consonant| !consonant)
    }) else {
        return;
    };
    replace(word, suffix, b"");
    if word.ends_with(b"at") || word.ends_with(b"bl") || word.ends_with(b"iz") {
        word.push(b'e');
    } else if let [.., before, last] = word[..]
        && before == last
        && is_consonant(word, word.len() - 1)
    {
        if !matches!(last, b'l' | b's' | b'z') {
            word.pop();
        }
    } else if measure(word) == 1 && ends_short(word) {
        word.push(b'e');
    }
}

/// Step 2.
fn double_suffixes(word: &mut Vec<u8>) {
    while word.ends_with(b"alli") && measure(&word[..word.len() - 4]) > 0 {
        replace(word, 2, b"");
    }
    if word.ends_with(b"logi") {
        // The l belongs to what is measured.
        if measure(&word[..word.len() - 3]) > 0 {
            word.pop();
        }
        return;
    }
    first_rule(word, STEP_2, |root| measure(root) > 0);
}

const STEP_2: &[Rule] = &[
    (b"ational", b"ate"),
    (b"tional", b"tion"),
    (b"enci", b"ence"),
    (b"anci", b"ance"),
    (b"izer", b"ize"),
    (b"bli", b"ble"),
    (b"alli", b"al"),
    (b"entli", b"ent"),
    (b"eli", b"e"),
    (b"ousli", b"ous"),
    (b"ization", b"ize"),
    (b"ation", b"ate"),
    (b"ator", b"ate"),
    (b"alism", b"al"),
    (b"iveness", b"ive"),
    (b"fulness", b"ful"),
    (b"ousness", b"ous"),
    (b"aliti", b"al"),
    (b"iviti", b"ive"),
    (b"biliti", b"ble"),
    (b"fulli", b"ful"),
];

const STEP_3: &[Rule] = &[
    (b"icate", b"ic"),
    (b"ative", b""),
    (b"alize", b"al"),
    (b"iciti", b"ic"),
    (b"ical", b"ic"),
    (b"ful", b""),
    (b"ness", b""),
];

/// Step 4.
fn single_suffixes(word: &mut Vec<u8>) {
    if word.ends_with(b"ion") {
        let root = &word[..word.len() - 3];
        if measure(root) > 1 && matches!(root.last(), Some(b's' | b't')) {
            replace(word, 3, b"");
        }
        return;
    }
    first_rule(word, STEP_4, |root| measure(root) > 1);
}

const STEP_4: &[Rule] = &[
    (b"al", b""),
    (b"ance", b""),
    (b"ence", b""),
    (b"er", b""),
    (b"ic", b""),
    (b"able", b""),
    (b"ible", b""),
    (b"ant", b""),
    (b"ement", b""),
    (b"ment", b""),
    (b"ent", b""),
    (b"ou", b""),
    (b"ism", b""),
    (b"ate", b""),
    (b"iti", b""),
    (b"ous", b""),
    (b"ive", b""),
    (b"ize", b""),
];

/// Step 5a.
fn final_e(word: &mut Vec<u8>) {
    if let [root @ .., b'e'] = &word[..] {
        let syllables = measure(root);
        if syllables > 1 || syllables == 1 && !ends_short(root) {
            word.pop();
        }
    }
}

/// Applies the first rule whose suffix is there, if what stands before the suffix allows it; no other one is tried.
fn first_rule(word: &mut Vec<u8>, rules: &[Rule], allows: impl Fn(&[u8]) -> bool) {
    if let Some((suffix, replacement)) = rules.iter().find(|(suffix, _)| word.ends_with(suffix))
        && allows(&word[..word.len() - suffix.len()])
    {
        replace(word, suffix.len(), replacement);
    }
}

fn replace(word: &mut Vec<u8>, suffix: usize, replacement: &[u8]) {
    word.truncate(word.len() - suffix);
    word.extend_from_slice(replacement);
}

fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// Whether a letter is a consonant: y is one at the beginning of a word and after a vowel.
fn is_consonant(word: &[u8], at: usize) -> bool {
    let ys = word[..=at].iter().rev().take_while(|&&byte| byte == b'y').count();
    // In a run of y every second one is a vowel, from the first on if a consonant stands before the run.
    match (at + 1).checked_sub(ys + 1) {
        None => ys % 2 == 1,
        Some(before) => is_vowel(word[before]) == (ys % 2 == 1),
    }
}

/// The same for every letter, in one pass.
fn consonants(word: &[u8]) -> impl Iterator<Item = bool> {
    word.iter().scan(false, |before, &byte| {
        *before = if byte == b'y' { !*before } else { !is_vowel(byte) };
        Some(*before)
    })
}

/// How often a vowel is followed by a consonant.
fn measure(root: &[u8]) -> usize {
    let next = consonants(root).skip(1);
    consonants(root).zip(next).filter(|&(this, next)| !this && next).count()
}

/// Whether a word ends in consonant, vowel, consonant, the last not w, x or y; or is a vowel and a consonant.
fn ends_short(word: &[u8]) -> bool {
    let consonant = |back: usize| is_consonant(word, word.len() - back);
    match word {
        [_, _] => !consonant(2) && consonant(1),
        [.., _, _, last] => consonant(3) && !consonant(2) && consonant(1) && !matches!(last, b'w' | b'x' | b'y'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Stems by NLTK 3.10.
    #[test]
    fn every_step_has_its_words() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ties", "tie"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("died", "die"),
            ("spied", "spi"),
            ("agreed", "agre"),
            ("feed", "feed"),
            ("plastered", "plaster"),
            ("sing", "sing"),
            ("conflated", "conflat"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("happy", "happi"),
            ("enjoy", "enjoy"),
            ("relational", "relat"),
            ("radically", "radic"),
            ("analogously", "analog"),
            ("geology", "geolog"),
            ("hopefulness", "hope"),
            ("electrical", "electr"),
            ("replacement", "replac"),
            ("adoption", "adopt"),
            ("cease", "ceas"),
            ("controlling", "control"),
            ("skies", "sky"),
            ("proceed", "proceed"),
            ("syzygy", "syzygi"),
            ("2000s", "2000"),
            ("as", "as"),
        ] {
            let mut stemmed = word.as_bytes().to_vec();
            stem(&mut stemmed);
            assert_eq!(String::from_utf8(stemmed).unwrap(), expected, "{word}");
        }
    }
}
