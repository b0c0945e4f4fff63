//! CIDEr-D (Vedantam et al. 2015, <https://arxiv.org/abs/1411.5726>), as pycocoevalcap computes it.
//!
//! CIDEr-D = 10 · meanₙ mean_r [ Σ_g min(h_g, r_g) r_g / (‖h‖ ‖r‖) · exp(−(|h| − |r|)² / 2σ²) ]
//!
//! where h_g and r_g are the counts of an n-gram in the hypothesis and in a reference, times ln(documents / document frequency):
//! the sets of references are the documents, and an n-gram that no document has counts as one that a single document has.
//! The lengths |h| and |r| are counts of bigrams, which are 0 where only single tokens are asked for.

use super::bleu::exp;
use super::grams::{Counts, Grams};
use super::strips::grow;
use crate::error::Error;
use crate::parallel::Ticker;
use crate::simd::math::ln;

/// What is compared with what, and where n-grams are counted.
pub struct Documents<'a> {
    /// All texts.
    pub texts: Vec<&'a [u32]>,
    /// All tokens are below.
    pub distinct: usize,
    /// Which text each hypothesis is, and which are its references.
    pub pairs: Vec<(usize, std::ops::Range<usize>)>,
    /// The documents whose n-grams are counted.
    pub documents: Vec<std::ops::Range<usize>>,
}

/// The score of each hypothesis.
pub fn scores(of: Documents<'_>, max_order: usize, sigma: f64, ticker: &Ticker<'_>) -> Result<Vec<f64>, Error> {
    let Documents { texts, distinct, pairs, documents } = of;
    // pycocoevalcap's length is the number of bigrams.
    let bigrams = |text: usize| if max_order > 1 { texts[text].len().saturating_sub(1) as f64 } else { 0.0 };
    let penalties: Vec<Vec<f64>> = pairs
        .iter()
        .map(|(hypothesis, references)| {
            let penalty = |reference| {
                let difference: f64 = bigrams(*hypothesis) - bigrams(reference);
                exp(-(difference * difference) / (2.0 * sigma * sigma))
            };
            references.clone().map(penalty).collect()
        })
        .collect();
    let mut results = vec![0.0; pairs.len()];
    let logarithm = ln(documents.len() as f64);
    let mut grams = Grams::default();
    grams.read(texts.iter().copied(), distinct)?;
    let (mut counts, mut last_document, mut weights, mut of_hypothesis) =
        (Counts::default(), Vec::<u32>::new(), Vec::<f64>::new(), Vec::<u32>::new());
    for order in 0..max_order {
        if order > 0 {
            grams.lengthen(ticker)?;
        }
        let distinct = grams.distinct();
        counts.reserve(distinct)?;
        for scratch in [&mut last_document, &mut of_hypothesis] {
            scratch.clear();
            grow(scratch, distinct)?;
        }
        weights.clear();
        grow(&mut weights, distinct)?;
        let texts: Vec<&[u32]> = grams.of_texts().collect();
        for (document, range) in documents.iter().enumerate() {
            for &gram in texts[range.clone()].iter().copied().flatten() {
                let last = std::mem::replace(&mut last_document[gram as usize], document as u32 + 1);
                weights[gram as usize] += f64::from(u8::from(last != document as u32 + 1));
            }
        }
        for weight in &mut weights {
            *weight = logarithm - ln(weight.max(1.0));
        }
        for (result, ((hypothesis, references), penalties)) in results.iter_mut().zip(pairs.iter().zip(&penalties)) {
            let mut norm = 0.0;
            counts.each(texts[*hypothesis], |gram, count| {
                let weighted = f64::from(count) * weights[gram];
                norm += weighted * weighted;
                of_hypothesis[gram] = count;
            });
            let mut sum = 0.0;
            for (reference, penalty) in references.clone().zip(penalties) {
                let (mut product, mut reference_norm) = (0.0, 0.0);
                counts.each(texts[reference], |gram, count| {
                    let weighted = f64::from(count) * weights[gram];
                    reference_norm += weighted * weighted;
                    product += (f64::from(of_hypothesis[gram]) * weights[gram]).min(weighted) * weighted;
                });
                if norm > 0.0 && reference_norm > 0.0 {
                    sum += product / (norm.sqrt() * reference_norm.sqrt()) * penalty;
                }
                ticker.tick(8 * texts[reference].len())?;
            }
            *result += sum / references.len() as f64;
            texts[*hypothesis].iter().for_each(|&gram| of_hypothesis[gram as usize] = 0);
        }
    }
    for result in &mut results {
        *result *= 10.0 / max_order as f64;
    }
    Ok(results)
}
