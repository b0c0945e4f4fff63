//! Matrices: every hypothesis of a group against every reference of it, as minimum Bayes risk decoding needs them.
//!
//! All texts of a group are read once, into one vocabulary, and the n-grams of the references are numbered. A hypothesis
//! looks its n-grams up, and goes through the references that have them: the time is that of the matches there are, not of
//! the pairs. Subsequences and distances take the hypothesis as the rows of a table, and all references, one
//! after another, as its columns.

use std::ops::{Range, RangeInclusive};
use std::sync::{Mutex, PoisonError};

use super::alignment::Counts as Alignment;
use super::answers::Answers;
use super::bleu::Bleu;
use super::chrf::Chrf;
use super::error_rate::{ErrorRate, Measure};
use super::gleu::Gleu;
use super::grams::{Counts, Grams, key};
use super::nltk::NltkBleu;
use super::rouge::{Rouge, Variant};
use super::strips::grow;
use super::tokens::{Pair, Text, Texts, read_all};
use super::vocabulary::{Short, Vocabulary};
use super::{Level, Metric, WORK_PER_BYTE};
use crate::error::Error;
use crate::input::zeros;
use crate::parallel::{Ticker, Watch, for_each_in_parts};

/// A metric that makes a row of a pair from a few counts.
pub trait Pairwise: Metric<Scratch: Send> {
    /// For each part of a text, of which orders the matches of n-grams are counted; nothing where something else is.
    fn orders(&self) -> Vec<RangeInclusive<usize>>;

    /// A part of a text.
    fn part<'a>(&self, text: Text<'a>, _part: usize) -> &'a [u32] {
        text.tokens()
    }

    /// What is counted instead of n-grams: a number for each reference, and then as many of each kind that a row needs.
    fn count_all(
        &self,
        _hypothesis: Text<'_>,
        _references: &[Text<'_>],
        _distinct: usize,
        _counts: &mut [u32],
        _scratch: &mut Self::Scratch,
        _ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// The row of a pair; `counts` has the matches of all orders.
    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>);
}

/// How many hypotheses a thread takes at once.
const RUN: usize = 8;

/// About how much work `scores` scores of these texts are, in numbers read.
pub fn matrix_work(hypotheses: &Texts, references: &Texts, scores: usize) -> usize {
    hypotheses.bytes().saturating_add(references.bytes()).saturating_add(scores).saturating_mul(WORK_PER_BYTE)
}

/// The scores, times `scale`, of hypotheses against references, one group after another, hypothesis after hypothesis.
pub fn matrices<M: Pairwise>(
    metric: &M,
    hypotheses: &Texts,
    references: &Texts,
    groups: &[(Range<usize>, Range<usize>)],
    scale: f64,
    watch: &Watch<'_>,
) -> Result<Vec<f64>, Error> {
    let size = |(hypotheses, references): &(Range<usize>, Range<usize>)| hypotheses.len().checked_mul(references.len());
    let total = groups.iter().try_fold(0usize, |total, group| total.checked_add(size(group)?));
    let mut scores = zeros::<f64>(total.unwrap_or(usize::MAX))?;
    let mut items = vec![];
    let mut rest = &mut scores[..];
    for group in groups {
        let (of_group, after) = rest.split_at_mut(group.0.len() * group.1.len());
        rest = after;
        items.push((group, of_group));
    }
    let runs = groups.iter().map(|group| group.0.len().div_ceil(RUN)).max().unwrap_or(1);
    let work = matrix_work(hypotheses, references, total.unwrap_or(0));
    let scratch = || Ok((Pair::default(), Index::default()));
    for_each_in_parts(items.into_iter(), runs, work, watch, scratch, |(group, scores), (texts, index), ticker| {
        let (of_hypotheses, of_references) = group;
        read_all(
            [(references, of_references.clone()), (hypotheses, of_hypotheses.clone())],
            |text, reader| metric.read(text, reader),
            texts,
            ticker,
        )?;
        let texts = &*texts;
        let references: Vec<Text<'_>> = (0..of_references.len()).map(|index| texts.text(index)).collect();
        index.build(metric, &references, texts.distinct(), ticker)?;
        let index = &*index;
        let idle = Mutex::new(vec![]);
        let runs = scores.chunks_mut(RUN * of_references.len()).enumerate();
        ticker.share(runs, |(run, scores), ticker| {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut query, mut scratch) = taken.unwrap_or_else(|| (Query::default(), M::Scratch::default()));
            let mut row = vec![];
            for (offset, scores) in scores.chunks_mut(references.len()).enumerate() {
                let hypothesis = texts.text(references.len() + run * RUN + offset);
                query.counts.clear();
                let kinds = if index.orders.is_empty() { metric.width() } else { index.orders.len() };
                grow(&mut query.counts, kinds * references.len())?;
                if index.orders.is_empty() {
                    let counts = &mut query.counts;
                    metric.count_all(hypothesis, &references, texts.distinct(), counts, &mut scratch, ticker)?;
                } else {
                    query.count(metric, hypothesis, index, references.len(), ticker)?;
                }
                for (at, (score, &reference)) in scores.iter_mut().zip(&references).enumerate() {
                    let counts = query.counts[at..].iter().step_by(references.len()).copied();
                    row.clear();
                    row.resize(metric.width(), 0);
                    metric.row(hypothesis, reference, counts, &mut row);
                    *score = scale * metric.score(&row, Level::Sentence);
                }
                ticker.tick(WORK_PER_BYTE * references.len())?;
            }
            idle.lock().unwrap_or_else(PoisonError::into_inner).push((query, scratch));
            Ok(())
        })
    })?;
    Ok(scores)
}

/// The n-grams of all references.
#[derive(Default)]
struct Index {
    /// The orders that are counted of one part of a text, and then those of the next.
    orders: Vec<Order>,
    /// The numbers of n-grams of the orders that are not.
    parts: Vec<Part>,
}

/// A part of a text.
struct Part {
    orders: RangeInclusive<usize>,
    /// The numbers of n-grams of orders 2, 3, ….
    known: Vec<Vocabulary>,
}

/// The n-grams of one order.
struct Order {
    /// Where the postings of each n-gram end.
    ends: Vec<usize>,
    postings: Vec<Posting>,
}

/// How often a reference has an n-gram.
#[derive(Clone, Copy, Default)]
struct Posting {
    reference: u32,
    count: u32,
}

impl Index {
    fn build<M: Pairwise>(
        &mut self,
        metric: &M,
        references: &[Text<'_>],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.orders.clear();
        self.parts.clear();
        for (part, orders) in metric.orders().into_iter().enumerate() {
            let mut grams = Grams::default();
            grams.read(references.iter().map(|&text| metric.part(text, part)), distinct)?;
            let mut known = vec![];
            for order in 1..=*orders.end() {
                if order > 1 {
                    grams.lengthen(ticker)?;
                    known.push(grams.take_known());
                }
                if orders.contains(&order) {
                    self.orders.push(Order::new(&grams)?);
                }
            }
            self.parts.push(Part { orders, known });
        }
        Ok(())
    }
}

impl Order {
    fn new(grams: &Grams) -> Result<Self, Error> {
        let mut counts = Counts::default();
        counts.reserve(grams.distinct())?;
        let mut noted = vec![];
        let mut ends = zeros::<usize>(grams.distinct())?;
        for (reference, grams) in (0..).zip(grams.of_texts()) {
            counts.each(grams, |gram, count| {
                noted.push((gram, Posting { reference, count }));
                ends[gram] += 1;
            });
        }
        let mut end = 0;
        for of_gram in &mut ends {
            end += std::mem::replace(of_gram, end);
        }
        // Now each is where its n-gram begins, and is moved on by every posting.
        let mut postings = vec![Posting::default(); noted.len()];
        for (gram, posting) in noted {
            let at = &mut ends[gram];
            postings[*at] = posting;
            *at += 1;
        }
        Ok(Self { ends, postings })
    }

    fn postings(&self, gram: usize) -> &[Posting] {
        let start = if gram == 0 { 0 } else { self.ends[gram - 1] };
        // What only hypotheses have has the number after the last.
        self.ends.get(gram).map_or(&[], |&end| &self.postings[start..end])
    }
}

/// What a thread needs for a hypothesis.
#[derive(Default)]
struct Query {
    /// The number of the n-gram that begins at each token.
    grams: Vec<u32>,
    seen: Counts,
    /// A count for each reference, order after order.
    counts: Vec<u32>,
}

impl Query {
    fn count<M: Pairwise>(
        &mut self,
        metric: &M,
        hypothesis: Text<'_>,
        index: &Index,
        references: usize,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let mut counted = index.orders.iter().zip(self.counts.chunks_mut(references));
        for (number, Part { orders, known }) in index.parts.iter().enumerate() {
            let tokens = metric.part(hypothesis, number);
            self.grams.clear();
            self.grams.extend_from_slice(tokens);
            for order in 1..=*orders.end() {
                if order > 1 {
                    let known = &known[order - 2];
                    self.grams.truncate((tokens.len() + 1).saturating_sub(order));
                    for (gram, &last) in self.grams.iter_mut().zip(tokens.iter().skip(order - 1)) {
                        *gram = known.find_short(Short::of_integer(key(*gram, last)));
                    }
                }
                if !orders.contains(&order) {
                    continue;
                }
                let Some((of_order, counts)) = counted.next() else { break };
                self.seen.reserve(of_order.ends.len() + 1)?;
                let mut work = self.grams.len();
                self.seen.each(&self.grams, |gram, own| {
                    let postings = of_order.postings(gram);
                    work += postings.len();
                    for &Posting { reference, count } in postings {
                        counts[reference as usize] += count.min(own);
                    }
                });
                ticker.tick(work)?;
            }
        }
        Ok(())
    }
}

fn tokens(text: Text<'_>) -> usize {
    text.tokens().len()
}

impl Pairwise for Bleu {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        vec![1..=self.width() / 2 - 1]
    }

    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        self.lengths(tokens(hypothesis), std::iter::once(tokens(reference)), row);
        for (matches, count) in row[2..].iter_mut().zip(counts) {
            *matches = i64::from(count);
        }
    }
}

impl Pairwise for Rouge {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        match self.variant() {
            Variant::Ngrams(order) => vec![order..=order],
            Variant::Subsequence | Variant::Summary => vec![],
        }
    }

    fn count_all(
        &self,
        hypothesis: Text<'_>,
        references: &[Text<'_>],
        distinct: usize,
        counts: &mut [u32],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        if self.variant() == Variant::Summary {
            for (count, &reference) in counts.iter_mut().zip(references) {
                *count = scratch.summary(hypothesis, reference, distinct, ticker)? as u32;
            }
            return Ok(());
        }
        let columns = references.iter().map(|reference| reference.tokens());
        scratch.subsequence.lengths(hypothesis.tokens(), &columns, distinct, counts, ticker)
    }

    fn row(
        &self,
        hypothesis: Text<'_>,
        reference: Text<'_>,
        mut counts: impl Iterator<Item = u32>,
        row: &mut Vec<i64>,
    ) {
        let hits = i64::from(counts.next().unwrap_or_default());
        row.copy_from_slice(&[hits, self.units(tokens(hypothesis)), self.units(tokens(reference))]);
    }
}

impl Pairwise for ErrorRate {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        vec![]
    }

    fn count_all(
        &self,
        hypothesis: Text<'_>,
        references: &[Text<'_>],
        distinct: usize,
        counts: &mut [u32],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        if self.measure() != Measure::Wer {
            for (at, reference) in references.iter().enumerate() {
                let aligned: Alignment = scratch.align(reference.tokens(), hypothesis.tokens(), distinct, ticker)?;
                for (count, value) in counts[at..].iter_mut().step_by(references.len()).zip(<[i64; 4]>::from(aligned)) {
                    *count = value as u32;
                }
            }
            return Ok(());
        }
        let columns = references.iter().map(|reference| reference.tokens());
        scratch.distances_to_all(hypothesis.tokens(), &columns, distinct, counts, ticker)
    }

    fn row(&self, _: Text<'_>, reference: Text<'_>, mut counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        if self.measure() == Measure::Wer {
            let distance = counts.next().unwrap_or_default() as usize;
            row.copy_from_slice(&Self::of_distance(distance, tokens(reference)));
        } else {
            row.iter_mut().zip(counts).for_each(|(value, count)| *value = i64::from(count));
        }
    }
}

impl Pairwise for Chrf {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        let mut orders = vec![1..=self.char_order];
        if self.word_order > 0 {
            orders.push(1..=self.word_order);
        }
        orders
    }

    fn part<'a>(&self, text: Text<'a>, part: usize) -> &'a [u32] {
        text.lines().nth(part).unwrap_or_default()
    }

    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        let lengths = |text| [0, 1].map(|part| self.part(text, part).len());
        self.fill(lengths(hypothesis), lengths(reference), counts.map(i64::from), row);
    }
}

impl Pairwise for Gleu {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        vec![self.min_order..=self.max_order]
    }

    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        let total = self.ngrams(tokens(hypothesis)).max(self.ngrams(tokens(reference)));
        row.copy_from_slice(&[counts.map(i64::from).sum(), total]);
    }
}

impl Pairwise for NltkBleu {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        self.bleu.orders()
    }

    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        self.bleu.row(hypothesis, reference, counts, row);
        self.totals_from_1(row);
    }
}

impl Pairwise for Answers {
    fn orders(&self) -> Vec<RangeInclusive<usize>> {
        vec![1..=1]
    }

    fn row(&self, hypothesis: Text<'_>, reference: Text<'_>, counts: impl Iterator<Item = u32>, row: &mut Vec<i64>) {
        let same = hypothesis.tokens() == reference.tokens();
        let lengths = [hypothesis, reference].map(|text| tokens(text) as i64);
        row.copy_from_slice(&[counts.map(i64::from).sum(), lengths[0], lengths[1], i64::from(same)]);
    }
}
