//! The metrics of text against their definitions, by counting and by whole tables: slow, plain, and nothing shared with the
//! kernels but the way in.

use std::collections::HashMap;

use seqloss_rs::parallel::Watch;
use seqloss_rs::text::bleu::Bleu;
use seqloss_rs::text::error_rate::ErrorRate;
use seqloss_rs::text::rouge::Rouge;
use seqloss_rs::text::tokens::{Arena, Pairs, Strings, TextSets, Texts};
use seqloss_rs::text::{Level, Metric, scores, statistics};

/// A sample: a hypothesis and its references.
type Sample<T> = (Vec<T>, Vec<Vec<T>>);

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn ids(&mut self, longest: usize, distinct: usize) -> Vec<i64> {
        // Huge and negative ids among them.
        (0..self.below(longest)).map(|_| (self.below(distinct) as i64 - 1) * 0x0123_4567_89ab_cdef).collect()
    }

    /// Samples of ids, some of them alike.
    fn samples(&mut self, count: usize, longest: usize, references: usize) -> Vec<Sample<i64>> {
        (0..count)
            .map(|sample| {
                let distinct = [2, 5, 50][sample % 3];
                let hypothesis = self.ids(longest, distinct);
                let references = (0..=self.below(references))
                    .map(|_| {
                        let mut reference = hypothesis.clone();
                        match self.below(3) {
                            0 => reference = self.ids(longest, distinct),
                            1 => {
                                let turn = self.below(reference.len() + 1);
                                reference.rotate_left(turn);
                            }
                            _ => reference.truncate(self.below(reference.len() + 1)),
                        }
                        reference
                    })
                    .collect();
                (hypothesis, references)
            })
            .collect()
    }
}

fn pairs_of_ids(samples: &[Sample<i64>]) -> Pairs {
    let arena = |texts: Vec<&Vec<i64>>| {
        let mut end = 0;
        let bounds = texts.iter().map(|text| [end, (end += text.len(), end).1]).collect();
        Texts::Ids(Arena::new(texts.into_iter().flatten().copied().collect(), bounds))
    };
    let counts: Vec<usize> = samples.iter().map(|(_, references)| references.len()).collect();
    let hypotheses = arena(samples.iter().map(|(hypothesis, _)| hypothesis).collect());
    let references = arena(samples.iter().flat_map(|(_, references)| references).collect());
    Pairs::new(hypotheses, TextSets::new("references", references, &counts).unwrap().into(), 1).unwrap()
}

fn pairs_of_strings(samples: &[(String, Vec<String>)]) -> Pairs {
    let counts: Vec<usize> = samples.iter().map(|(_, references)| references.len()).collect();
    let hypotheses: Vec<String> = samples.iter().map(|(hypothesis, _)| hypothesis.clone()).collect();
    let references: Vec<String> = samples.iter().flat_map(|(_, references)| references.clone()).collect();
    let [hypotheses, references] = [hypotheses, references].map(|texts| Texts::Strings(Strings::new(texts)));
    Pairs::new(hypotheses, TextSets::new("references", references, &counts).unwrap().into(), 1).unwrap()
}

fn rows<M: Metric>(metric: &M, pairs: &Pairs) -> Vec<Vec<i64>> {
    let rows = statistics(metric, pairs, &Watch::never()).unwrap();
    rows.chunks(metric.width()).map(<[i64]>::to_vec).collect()
}

fn ngrams<T: Eq + std::hash::Hash>(tokens: &[T], order: usize) -> HashMap<&[T], i64> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(order) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

fn bleu_row<T: Eq + std::hash::Hash>(hypothesis: &[T], references: &[Vec<T>], orders: usize) -> Vec<i64> {
    let closest = references.iter().map(Vec::len).min_by_key(|&length| (length.abs_diff(hypothesis.len()), length));
    let mut row = vec![hypothesis.len() as i64, closest.unwrap() as i64];
    for order in 1..=orders {
        let mut most: HashMap<&[T], i64> = HashMap::new();
        for reference in references {
            for (ngram, count) in ngrams(reference, order) {
                let known = most.entry(ngram).or_insert(0);
                *known = count.max(*known);
            }
        }
        let clipped = |(ngram, count): (&[T], i64)| count.min(most.get(ngram).copied().unwrap_or(0));
        row.push(ngrams(hypothesis, order).into_iter().map(clipped).sum());
    }
    row.extend((1..=orders).map(|order| (hypothesis.len() + 1).saturating_sub(order) as i64));
    row
}

#[test]
fn bleu_counts_what_the_definition_does() {
    let mut random = Random(1);
    let mut samples = random.samples(600, 60, 4);
    samples.extend(random.samples(60, 500, 3));
    for orders in [1, 2, 3, 4, 5, 9, 32] {
        let metric = Bleu::new(orders as i64, "exp", None, "13a", false).unwrap();
        for (row, (hypothesis, references)) in rows(&metric, &pairs_of_ids(&samples)).iter().zip(&samples) {
            assert_eq!(*row, bleu_row(hypothesis, references, orders));
        }
    }
}

#[test]
fn bleu_scores_what_the_formula_does() {
    let mut random = Random(2);
    let samples = random.samples(500, 30, 2);
    let metric = Bleu::new(4, "none", Some(false), "13a", false).unwrap();
    for row in rows(&metric, &pairs_of_ids(&samples)) {
        let ratio = |order: usize| row[1 + order] as f64 / (row[5 + order].max(1)) as f64;
        let precision = (1..=4).map(ratio).product::<f64>().powf(0.25);
        let penalty = if row[0] == 0 { 0.0 } else { (1.0 - row[1] as f64 / row[0] as f64).exp().min(1.0) };
        let score = metric.score(&row, Level::Sentence);
        assert!((score - penalty * precision).abs() <= 1e-14, "{row:?}: {score}");
    }
}

/// One pass of the 13a tokenizer: where `matches` holds for two neighbours, both are replaced and neither is looked at again.
fn pass(text: &[char], matches: impl Fn(char, char) -> bool, replace: impl Fn(char, char) -> Vec<char>) -> Vec<char> {
    let mut result = vec![];
    let mut at = 0;
    while at < text.len() {
        if at + 1 < text.len() && matches(text[at], text[at + 1]) {
            result.extend(replace(text[at], text[at + 1]));
            at += 2;
        } else {
            result.push(text[at]);
            at += 1;
        }
    }
    result
}

/// The four passes over whole texts, one after another.
fn tokens_13a(text: &str) -> Vec<String> {
    let text = text.trim_end().replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut spaced = vec![];
    for character in format!(" {text} ").chars() {
        let symbol = character.is_ascii_punctuation() && !"',-.".contains(character);
        spaced.extend(if symbol { vec![' ', character, ' '] } else { vec![character] });
    }
    let stop = |character: char| character == '.' || character == ',';
    let digit = |character: char| character.is_ascii_digit();
    let spaced = pass(&spaced, |a, b| !digit(a) && stop(b), |a, b| vec![a, ' ', b, ' ']);
    let spaced = pass(&spaced, |a, b| stop(a) && !digit(b), |a, b| vec![' ', a, ' ', b]);
    let spaced = pass(&spaced, |a, b| digit(a) && b == '-', |a, b| vec![a, ' ', b, ' ']);
    spaced.into_iter().collect::<String>().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_13a_tokenizer_is_its_four_passes() {
    const PARTS: [&str; 24] = [
        "a",
        "B",
        "0",
        "19",
        ".",
        ",",
        "-",
        "'",
        " ",
        "\n",
        "\t",
        "&",
        ";",
        "<",
        "&amp;",
        "&lt;",
        "&quot;",
        "-\n",
        "<skipped>",
        "\u{e9}",
        "\u{a0}",
        "\u{2003}",
        "\u{4f60}",
        "..",
    ];
    let mut random = Random(3);
    let text = |random: &mut Random| (0..random.below(30)).map(|_| PARTS[random.below(24)]).collect::<String>();
    let samples: Vec<(String, Vec<String>)> = (0..20_000)
        .map(|_| {
            let hypothesis = text(&mut random);
            (hypothesis.clone(), vec![text(&mut random), hypothesis])
        })
        .collect();
    let metric = Bleu::new(4, "exp", None, "13a", false).unwrap();
    for (row, (hypothesis, references)) in rows(&metric, &pairs_of_strings(&samples)).iter().zip(&samples) {
        let references: Vec<Vec<String>> = references.iter().map(|text| tokens_13a(text)).collect();
        assert_eq!(*row, bleu_row(&tokens_13a(hypothesis), &references, 4), "{hypothesis:?}");
    }
}

fn f(row: [i64; 3]) -> f64 {
    let (precision, recall) = (row[0] as f64 / row[1].max(1) as f64, row[0] as f64 / row[2].max(1) as f64);
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

/// The first of those with the best F.
fn best(candidates: impl Iterator<Item = [i64; 3]>) -> [i64; 3] {
    candidates.reduce(|best, row| if f(row) > f(best) { row } else { best }).unwrap()
}

fn subsequence_table<T: Eq>(rows: &[T], columns: &[T]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; columns.len() + 1]; rows.len() + 1];
    for i in 1..=rows.len() {
        for j in 1..=columns.len() {
            table[i][j] = if rows[i - 1] == columns[j - 1] {
                table[i - 1][j - 1] + 1
            } else {
                table[i - 1][j].max(table[i][j - 1])
            };
        }
    }
    table
}

#[test]
fn rouge_counts_what_the_definition_does() {
    let mut random = Random(4);
    let mut samples = random.samples(500, 60, 3);
    samples.extend(random.samples(40, 450, 2));
    let pairs = pairs_of_ids(&samples);
    for order in [1, 2, 3, 9] {
        let metric = Rouge::new(&format!("rouge{order}"), "f", false).unwrap();
        for (row, (hypothesis, references)) in rows(&metric, &pairs).iter().zip(&samples) {
            let count = |tokens: &[i64]| (tokens.len() + 1).saturating_sub(order) as i64;
            let expected = best(references.iter().map(|reference| {
                let hits = bleu_row(hypothesis, std::slice::from_ref(reference), order)[1 + order];
                [hits, count(hypothesis), count(reference)]
            }));
            assert_eq!(row[..], expected);
        }
    }
    for variant in ["rougeL", "rougeLsum"] {
        let metric = Rouge::new(variant, "f", false).unwrap();
        let found = rows(&metric, &pairs);
        for (row, (hypothesis, references)) in found.iter().zip(&samples) {
            let expected = best(references.iter().map(|reference| {
                let table = subsequence_table(reference, hypothesis);
                [table[reference.len()][hypothesis.len()] as i64, hypothesis.len() as i64, reference.len() as i64]
            }));
            assert_eq!(row[..], expected);
        }
        let ratios = scores(&metric, &found.concat());
        assert!(ratios.iter().zip(&found).all(|(&score, row)| score == f([row[0], row[1], row[2]])));
    }
}

/// The hits of ROUGE-Lsum: unions of subsequences that are read off the tables from their ends.
fn summary_hits(hypothesis: &[Vec<String>], reference: &[Vec<String>]) -> i64 {
    let count = |lines: &[Vec<String>]| {
        let mut counts: HashMap<String, i64> = HashMap::new();
        lines.iter().flatten().for_each(|token| *counts.entry(token.clone()).or_insert(0) += 1);
        counts
    };
    let (mut in_hypothesis, mut in_reference) = (count(hypothesis), count(reference));
    let mut hits = 0;
    for line in reference {
        let mut union = vec![false; line.len()];
        for other in hypothesis {
            let table = subsequence_table(line, other);
            let (mut i, mut j) = (line.len(), other.len());
            while i > 0 && j > 0 {
                if line[i - 1] == other[j - 1] {
                    union[i - 1] = true;
                    (i, j) = (i - 1, j - 1);
                } else if table[i][j - 1] > table[i - 1][j] {
                    j -= 1;
                } else {
                    i -= 1;
                }
            }
        }
        for (token, _) in line.iter().zip(union).filter(|(_, marked)| *marked) {
            let (left, right) = (in_hypothesis.get_mut(token), in_reference.get_mut(token));
            if let (Some(left), Some(right)) = (left, right)
                && *left > 0
                && *right > 0
            {
                (*left, *right) = (*left - 1, *right - 1);
                hits += 1;
            }
        }
    }
    hits
}

#[test]
fn rouge_takes_texts_line_by_line() {
    let mut random = Random(5);
    let mut text = |longest: usize| {
        let words = ["the", "cat", "sat", "on", "a", "mat", "\n", "\n", "dog"];
        (0..random.below(longest)).map(|_| words[random.below(9)]).collect::<Vec<_>>().join(" ")
    };
    let mut samples: Vec<(String, Vec<String>)> = (0..1500).map(|_| (text(30), vec![text(30)])).collect();
    samples.extend((0..30).map(|_| (text(400), vec![text(400)])));
    let lines = |text: &str| -> Vec<Vec<String>> {
        text.split('\n').map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let metric = Rouge::new("rougeLsum", "f", false).unwrap();
    for (row, (hypothesis, references)) in rows(&metric, &pairs_of_strings(&samples)).iter().zip(&samples) {
        let (hypothesis, reference) = (lines(hypothesis), lines(&references[0]));
        let count = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum::<usize>() as i64;
        assert_eq!(row[..], [summary_hits(&hypothesis, &reference), count(&hypothesis), count(&reference)]);
    }
}

/// Hits, substitutions, deletions, insertions of the alignment that is read off the whole table from its end, after equal
/// tokens at both ends are taken off.
fn alignment(reference: &[i64], hypothesis: &[i64]) -> [i64; 4] {
    let front = reference.iter().zip(hypothesis).take_while(|(a, b)| a == b).count();
    let (reference, hypothesis) = (&reference[front..], &hypothesis[front..]);
    let back = reference.iter().rev().zip(hypothesis.iter().rev()).take_while(|(a, b)| a == b).count();
    let (reference, hypothesis) = (&reference[..reference.len() - back], &hypothesis[..hypothesis.len() - back]);
    let mut table = vec![vec![0usize; hypothesis.len() + 1]; reference.len() + 1];
    for i in 0..=reference.len() {
        for j in 0..=hypothesis.len() {
            table[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(reference[i - 1] != hypothesis[j - 1]);
                    replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
                }
            };
        }
    }
    let (mut i, mut j) = (reference.len(), hypothesis.len());
    let mut counts = [(front + back) as i64, 0, 0, 0];
    while i > 0 && j > 0 {
        if table[i][j] == table[i - 1][j] + 1 {
            counts[2] += 1;
            i -= 1;
        } else if j > 1 && table[i][j - 1] + 1 == table[i - 1][j - 1] {
            counts[3] += 1;
            j -= 1;
        } else {
            counts[usize::from(reference[i - 1] != hypothesis[j - 1])] += 1;
            (i, j) = (i - 1, j - 1);
        }
    }
    counts[2] += i as i64;
    counts[3] += j as i64;
    counts
}

#[test]
fn error_rates_count_what_the_table_does() {
    let mut random = Random(6);
    let mut samples = random.samples(1500, 40, 1);
    samples.extend(random.samples(100, 300, 1));
    let metric = ErrorRate::new("word", "wer", false, false).unwrap();
    for (row, (hypothesis, references)) in rows(&metric, &pairs_of_ids(&samples)).iter().zip(&samples) {
        assert_eq!(row[..], alignment(&references[0], hypothesis), "{hypothesis:?} {references:?}");
    }
}

#[test]
fn error_rates_of_long_texts_have_the_least_cost() {
    // So long that the alignment is found in halves.
    let mut random = Random(7);
    let samples: Vec<Sample<i64>> = [2, 50, 5000]
        .into_iter()
        .map(|distinct| {
            let text =
                |random: &mut Random, length: usize| (0..length).map(|_| random.below(distinct) as i64).collect();
            (text(&mut random, 3100), vec![text(&mut random, 2900)])
        })
        .collect();
    let metric = ErrorRate::new("word", "wer", false, false).unwrap();
    for (row, (hypothesis, references)) in rows(&metric, &pairs_of_ids(&samples)).iter().zip(&samples) {
        let least = alignment(&references[0], hypothesis);
        assert_eq!(row[1..].iter().sum::<i64>(), least[1..].iter().sum::<i64>());
        assert_eq!(row[0] + row[1] + row[2], references[0].len() as i64);
        assert_eq!(row[0] + row[1] + row[3], hypothesis.len() as i64);
    }
}
