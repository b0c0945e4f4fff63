//! How much texts repeat: themselves, and one another.
//!
//! * distinct-n (Li et al. 2016, <https://doi.org/10.18653/v1/N16-1014>): different n-grams over all n-grams, of each text and of
//!   all together.
//! * self-BLEU (Zhu et al. 2018, <https://arxiv.org/abs/1802.01886>): BLEU of each text against all others. What an n-gram may
//!   match is the most that any other text has of it: the largest count of the corpus, or the second largest where the
//!   largest is the text's own. So all texts together take time in proportion to their length (Alihosseini et al. 2019).

use super::grams::{Counts, Grams};
use super::strips::grow;
use crate::error::Error;
use crate::parallel::Ticker;

/// Rows of two counts, different n-grams and all n-grams: of each text, and last of all texts together.
pub fn distinct_ngrams(
    texts: &[&[u32]],
    distinct: usize,
    order: usize,
    ticker: &Ticker<'_>,
) -> Result<Vec<i64>, Error> {
    let mut grams = Grams::default();
    grams.read(texts.iter().copied(), distinct)?;
    for _ in 1..order {
        grams.lengthen(ticker)?;
    }
    let mut counts = Counts::default();
    counts.reserve(grams.distinct())?;
    let mut seen = vec![];
    grow(&mut seen, grams.distinct())?;
    let (mut rows, mut all) = (vec![], [0, 0]);
    for text in grams.of_texts() {
        let mut different = 0;
        counts.each(text, |gram, _| {
            different += 1;
            all[0] += i64::from(!std::mem::replace(&mut seen[gram], true));
        });
        all[1] += text.len() as i64;
        rows.extend([different, text.len() as i64]);
        ticker.tick(8 * text.len())?;
    }
    rows.extend(all);
    Ok(rows)
}

/// The most that texts have of an n-gram.
#[derive(Clone, Copy, Default)]
struct Most {
    largest: u32,
    /// Which text has the largest count.
    owner: u32,
    /// The largest count of the others.
    second: u32,
}

/// BLEU's row of each text against all others.
pub fn self_bleu(texts: &[&[u32]], distinct: usize, max_order: usize, ticker: &Ticker<'_>) -> Result<Vec<i64>, Error> {
    if texts.len() < 2 {
        let count = texts.len();
        return Err(Error::Value(format!("texts has length {count}, expected at least two to compare")));
    }
    let width = 2 + 2 * max_order;
    let mut rows = crate::input::zeros::<i64>(texts.len().saturating_mul(width))?;
    let mut lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    for (row, &length) in rows.chunks_mut(width).zip(&lengths) {
        row[0] = length as i64;
        for order in 0..max_order {
            row[2 + max_order + order] = length.saturating_sub(order) as i64;
        }
    }
    lengths.sort_unstable();
    for row in rows.chunks_mut(width) {
        row[1] = closest_of_others(&lengths, row[0] as usize) as i64;
    }
    let mut grams = Grams::default();
    grams.read(texts.iter().copied(), distinct)?;
    let mut counts = Counts::default();
    let mut most: Vec<Most> = vec![];
    for order in 0..max_order {
        if order > 0 {
            grams.lengthen(ticker)?;
        }
        counts.reserve(grams.distinct())?;
        most.clear();
        grow(&mut most, grams.distinct())?;
        for (index, text) in grams.of_texts().enumerate() {
            counts.each(text, |gram, count| {
                let most = &mut most[gram];
                if count > most.largest {
                    *most = Most { largest: count, owner: index as u32, second: most.largest };
                } else {
                    most.second = most.second.max(count);
                }
            });
            ticker.tick(8 * text.len())?;
        }
        for (index, (text, row)) in grams.of_texts().zip(rows.chunks_mut(width)).enumerate() {
            counts.each(text, |gram, count| {
                let Most { largest, owner, second } = most[gram];
                let of_others = if owner as usize == index { second } else { largest };
                row[2 + order] += i64::from(count.min(of_others));
            });
            ticker.tick(8 * text.len())?;
        }
    }
    Ok(rows)
}

/// The closest length among those of all texts but one that has this length; the shorter of two.
fn closest_of_others(sorted: &[usize], length: usize) -> usize {
    let first = sorted.partition_point(|&other| other < length);
    let after = sorted.partition_point(|&other| other <= length);
    if after - first > 1 {
        return length;
    }
    let (below, above) = (first.checked_sub(1).map(|at| sorted[at]), sorted.get(after).copied());
    let candidates = [below, above].into_iter().flatten();
    candidates.min_by_key(|&other| (other.abs_diff(length), other)).unwrap_or_default()
}
