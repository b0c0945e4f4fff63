//! Prefix beam search: the label sequences of the largest probability, each summed over its paths (Graves, 2012,
//! <https://doi.org/10.1007/978-3-642-24797-2>, section 7.5; Hannun et al., 2014, <https://arxiv.org/abs/1408.2873>).
//!
//! For every prefix in the beam, b is the log-probability of its paths that end in the blank, l of those that end in its
//! last label, and s the sum of its token scores. A frame with log-probabilities y makes of them
//!
//! ```text
//! b'      = ln(eᵇ + eˡ) + y[blank]
//! l'      = ln(eˡ + e^from) + y[last],   from = what the prefix without its last label gives, if it is in the beam:
//!                                        its b where it ends in the same label, else its ln(eᵇ + eˡ)
//! ```
//!
//! and a new prefix of every other label that is appended. The `width` prefixes with the largest ln(eᵇ + eˡ) + s stay. A
//! sum loses the paths of prefixes that had fallen out of the beam; one that is wide enough for all is exact.
//!
//! Of equal prefixes those are kept, and come first, that were in the beam before, in its order; then new ones, in the order
//! of the prefixes that they extend, and of their labels.

use std::cmp::Ordering;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::{Normal, longest_first, push, repeated};
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Rows, Sequences, make_room, reserve, resize, zeros};
use crate::losses::Scores;
use crate::parallel::{Ticker, Watch, for_each};
use crate::simd::scaled::LANES;
use crate::simd::{level, math};

/// A label sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The labels, without blanks.
    pub labels: Vec<usize>,
    /// Their log-probability over the paths of the beam, plus their token scores.
    pub score: f64,
}

/// Answers for a prefix: the scores of each next token.
pub type Answer<'a> = dyn Fn(&[usize]) -> Result<Vec<f64>, Error> + Sync + 'a;

/// What is added when a label is appended.
pub enum TokenScores<'a> {
    /// Nothing.
    None,
    /// A number for each class.
    Classes(Vec<f64>),
    /// C rows of C numbers: a row for the label before (the blank's where there is none), a number for each class.
    Pairs(Vec<f64>),
    /// Whatever it answers for a prefix; asked once for each.
    Prefix(&'a Answer<'a>),
}

/// How to search.
pub struct Options<'a> {
    /// How many prefixes stay.
    pub width: usize,
    /// How many of them are returned, at most.
    pub best: usize,
    /// What is added when a label is appended.
    pub token_scores: TokenScores<'a>,
}

/// Checks scores of tokens, which come row by row.
pub fn check_token_scores(name: &str, numbers: &[f64], row: Option<usize>) -> Result<(), Error> {
    match numbers.iter().position(|number| number.is_nan() || *number == f64::INFINITY) {
        None => Ok(()),
        Some(place) => {
            let index: Vec<usize> = match row {
                None => vec![place],
                Some(classes) => vec![place / classes, place % classes],
            };
            let subscript = crate::error::subscript(name, &index);
            Err(Error::Value(format!("{subscript} is {}, expected a number or -inf", numbers[place])))
        }
    }
}

/// About how many numbers are read.
pub fn beam_work<E>(sequences: &Sequences<'_, E>, options: &Options<'_>) -> usize {
    let each = sequences.rows.iter().map(|rows| 1 + rows.count() * rows.width().saturating_mul(options.width.min(64)));
    each.fold(0, usize::saturating_add)
}

/// The best label sequences of every sequence, the best one first. Fewer than were asked for where fewer have a probability
/// above 0; one without labels whose score is NaN where a score is NaN (or +∞).
pub fn beam<E: Element>(
    sequences: &Sequences<'_, E>,
    blank: usize,
    scores: Scores,
    options: &Options<'_>,
    watch: &Watch<'_>,
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    let mut found = repeated(vec![], sequences.len())?;
    let items = longest_first(sequences, &mut found)?;
    // What answers for prefixes is asked by one thread only.
    let is_asked = matches!(options.token_scores, TokenScores::Prefix(_));
    let work = if is_asked { 0 } else { beam_work(sequences, options) };
    let scratch = || Ok((zeros::<E::Float>(sequences.width)?, Search::new(sequences.width, blank, options)));
    for_each(items, work, watch, scratch, |(_, rows, found), (buffer, search), ticker| {
        *found = search.run(rows, scores, buffer, ticker)?;
        Ok(())
    })?;
    Ok(found)
}

/// The place of a prefix that is not there.
const NOWHERE: u32 = u32::MAX;

/// A prefix: another one, and a label behind it.
struct Node {
    parent: u32,
    label: u32,
    /// Its extensions are a list, from the last one that was made.
    last_child: u32,
    sibling_before: u32,
    /// Its place in the beam.
    place: u32,
    /// The sum of its token scores.
    bonus: f64,
    /// What was answered for it.
    answer: Option<Vec<f64>>,
}

/// The prefixes in the beam, a column for each of their numbers.
#[derive(Default)]
struct Beam {
    nodes: Vec<u32>,
    blank: Vec<f64>,
    label: Vec<f64>,
    /// ln(eᵇ + eˡ)
    total: Vec<f64>,
}

/// What may be in the next beam.
#[derive(Clone, Copy)]
struct Candidate {
    score: f64,
    /// Breaks ties.
    order: u64,
    /// The place of the prefix in the beam before.
    place: u32,
    /// The label that is appended to it; [`NOWHERE`] for none.
    label: u32,
    /// The log-probability of a new prefix.
    value: f64,
}

/// What a thread keeps.
struct Search<'a> {
    classes: usize,
    blank: usize,
    options: &'a Options<'a>,
    nodes: Vec<Node>,
    beam: Beam,
    next: Beam,
    /// The log-probabilities of a frame, and the same with the token scores of classes.
    y: Vec<f64>,
    keys: Vec<f64>,
    /// The classes that are tried as new labels: the best one first where they are ranked, else all in their order.
    choice: Vec<usize>,
    candidates: Vec<Candidate>,
    /// Two columns of the beam: what stays at a label, and what comes to it.
    stays: Vec<f64>,
    comes: Vec<f64>,
    /// The extensions of every prefix that are in the beam with it, as lists of places: the last of them, and of each the
    /// one before.
    heirs: Vec<u32>,
    heir_before: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(classes: usize, blank: usize, options: &'a Options<'a>) -> Self {
        Self {
            classes,
            blank,
            options,
            nodes: vec![],
            beam: Beam::default(),
            next: Beam::default(),
            y: vec![],
            keys: vec![],
            choice: vec![],
            candidates: vec![],
            stays: vec![],
            comes: vec![],
            heirs: vec![],
            heir_before: vec![],
        }
    }

    fn run<E: Element>(
        &mut self,
        rows: &Rows<'_, E>,
        scores: Scores,
        buffer: &mut [E::Float],
        ticker: &Ticker<'_>,
    ) -> Result<Vec<Hypothesis>, Error> {
        self.nodes.clear();
        push(&mut self.nodes, Node::new(NOWHERE, NOWHERE, NOWHERE, 0.0))?;
        self.beam.clear(1)?;
        self.beam.push(0, 0.0, f64::NEG_INFINITY, 0.0);
        for row in [&mut self.y, &mut self.keys] {
            resize(row, self.classes, 0.0)?;
        }
        self.choice.clear();
        make_room(&mut self.choice, self.classes)?;
        self.choice.extend((0..self.classes).filter(|&class| class != self.blank));
        for t in 0..rows.count() {
            ticker.tick(rows.width() + self.beam.nodes.len() * self.choice.len().min(self.classes))?;
            if !self.read(E::view(rows.row(t), buffer), scores) {
                return Ok(vec![Hypothesis { labels: vec![], score: f64::NAN }]);
            }
            self.ask()?;
            self.advance()?;
        }
        let mut best = reserve(self.beam.nodes.len().min(self.options.best))?;
        for (&node, total) in self.beam.nodes.iter().zip(&self.beam.total).take(self.options.best) {
            best.push(Hypothesis { labels: self.labels(node)?, score: total + self.nodes[node as usize].bonus });
        }
        Ok(best)
    }

    /// Reads the log-probabilities of a frame; whether they are some.
    fn read<F: Float>(&mut self, row: &[F], scores: Scores) -> bool {
        let normal = dispatch!(level(), simd => Normal::of(simd, scores, row));
        let logarithm = math::ln(normal.sum);
        self.y.clear();
        self.y.extend(row.iter().map(|x| (x.to_f64() - normal.shift) - logarithm));
        if let TokenScores::Classes(added) = &self.options.token_scores {
            self.keys.clear();
            self.keys.extend(self.y.iter().zip(added).map(|(y, added)| y + added));
        }
        self.choose();
        !self.y.iter().any(|y| y.is_nan() || *y == f64::INFINITY)
    }

    /// What a label adds to a score in this frame, where that does not depend on the prefix.
    fn keys(&self) -> &[f64] {
        if matches!(self.options.token_scores, TokenScores::Classes(_)) { &self.keys } else { &self.y }
    }

    /// Whether a label adds the same to every prefix, but for the repeat of a prefix's last label, which adds less.
    fn is_ranked(&self) -> bool {
        matches!(self.options.token_scores, TokenScores::None | TokenScores::Classes(_))
    }

    /// Ranks the classes that can give one of the best new prefixes. No more than `width` of a prefix's extensions stay; no
    /// more than that are in the beam already, and one more repeats its last label.
    fn choose(&mut self) {
        if !self.is_ranked() {
            return;
        }
        let enough = self.options.width.saturating_mul(2).saturating_add(2);
        let mut choice = std::mem::take(&mut self.choice);
        choice.clear();
        let keys = self.keys();
        let better = |&a: &usize, &b: &usize| keys[b].total_cmp(&keys[a]).then(a.cmp(&b));
        let mut bar = f64::NEG_INFINITY;
        for (class, &key) in keys.iter().enumerate() {
            if key > bar && class != self.blank {
                choice.push(class);
                if choice.len() == enough.saturating_mul(4) {
                    bar = keys[*choice.select_nth_unstable_by(enough - 1, better).1];
                    choice.truncate(enough);
                }
            }
        }
        if choice.len() > enough {
            choice.select_nth_unstable_by(enough - 1, better);
            choice.truncate(enough);
        }
        choice.sort_unstable_by(better);
        self.choice = choice;
    }

    /// Asks for the token scores of the prefixes for which it has not been done.
    fn ask(&mut self) -> Result<(), Error> {
        let TokenScores::Prefix(answer) = &self.options.token_scores else { return Ok(()) };
        for &node in &self.beam.nodes {
            if self.nodes[node as usize].answer.is_none() {
                self.nodes[node as usize].answer = Some(answer(&self.labels(node)?)?);
            }
        }
        Ok(())
    }

    fn labels(&self, node: u32) -> Result<Vec<usize>, Error> {
        let extensions = || {
            let nodes =
                std::iter::successors(Some(&self.nodes[node as usize]), |node| self.nodes.get(node.parent as usize));
            nodes.take_while(|node| node.parent != NOWHERE)
        };
        let mut labels = reserve(extensions().count())?;
        labels.extend(extensions().map(|node| node.label as usize));
        labels.reverse();
        Ok(labels)
    }

    /// The token scores of what follows a prefix, where they depend on it.
    fn row_of(&self, node: u32) -> Option<&[f64]> {
        let node = &self.nodes[node as usize];
        match &self.options.token_scores {
            TokenScores::Pairs(rows) => {
                let before = if node.label == NOWHERE { self.blank } else { node.label as usize };
                Some(&rows[before * self.classes..][..self.classes])
            }
            TokenScores::Prefix(_) => node.answer.as_deref(),
            _ => None,
        }
    }

    /// What is added to a prefix when a label is appended.
    fn token_score(&self, node: u32, label: usize) -> f64 {
        match (&self.options.token_scores, self.row_of(node)) {
            (TokenScores::Classes(added), _) => added[label],
            (_, Some(row)) => row[label],
            _ => 0.0,
        }
    }

    /// The extension of a prefix by a label, if there has been one.
    fn child(&self, node: u32, label: u32) -> Option<u32> {
        let mut child = self.nodes[node as usize].last_child;
        while child != NOWHERE && self.nodes[child as usize].label != label {
            child = self.nodes[child as usize].sibling_before;
        }
        (child != NOWHERE).then_some(child)
    }

    /// Whether the extension of the prefix at a place is in the beam, too.
    fn is_in_beam(&self, place: usize, label: u32) -> bool {
        let mut heir = self.heirs[place];
        while heir != NOWHERE && self.nodes[self.beam.nodes[heir as usize] as usize].label != label {
            heir = self.heir_before[heir as usize];
        }
        heir != NOWHERE
    }

    /// One frame.
    fn advance(&mut self) -> Result<(), Error> {
        self.keep()?;
        self.extend()?;
        self.prune();
        for &node in &self.beam.nodes {
            self.nodes[node as usize].place = NOWHERE;
        }
        let candidates = std::mem::take(&mut self.candidates);
        let kept = std::mem::take(&mut self.next);
        let extended = std::mem::take(&mut self.beam);
        self.beam.clear(candidates.len())?;
        for candidate in &candidates {
            let place = candidate.place as usize;
            let node = extended.nodes[place];
            if candidate.label == NOWHERE {
                self.beam.push(node, kept.blank[place], kept.label[place], kept.total[place]);
            } else {
                let child = match self.child(node, candidate.label) {
                    Some(child) => child,
                    None => self.append(node, candidate.label)?,
                };
                self.beam.push(child, f64::NEG_INFINITY, candidate.value, candidate.value);
            }
        }
        for (place, &node) in self.beam.nodes.iter().enumerate() {
            self.nodes[node as usize].place = place as u32;
        }
        (self.candidates, self.next) = (candidates, extended);
        Ok(())
    }

    fn append(&mut self, node: u32, label: u32) -> Result<u32, Error> {
        let child = self.nodes.len() as u32;
        let bonus = self.nodes[node as usize].bonus + self.token_score(node, label as usize);
        let sibling = self.nodes[node as usize].last_child;
        if child == NOWHERE {
            return Err(Error::Memory(self.nodes.len().saturating_mul(2 * size_of::<Node>())));
        }
        push(&mut self.nodes, Node::new(node, label, sibling, bonus))?;
        self.nodes[node as usize].last_child = child;
        Ok(child)
    }

    /// What becomes of the prefixes of the beam: `next` gets their numbers, and they are the first candidates.
    fn keep(&mut self) -> Result<(), Error> {
        let beam = &self.beam;
        self.next.clear(beam.nodes.len())?;
        for list in [&mut self.stays, &mut self.comes] {
            list.clear();
            make_room(list, beam.nodes.len())?;
        }
        for list in [&mut self.heirs, &mut self.heir_before] {
            resize(list, beam.nodes.len(), NOWHERE)?;
        }
        for (place, &node) in beam.nodes.iter().enumerate() {
            let node = &self.nodes[node as usize];
            let (mut stays, mut comes) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
            if node.parent != NOWHERE {
                let y = self.y[node.label as usize];
                stays = beam.label[place] + y;
                let parent = &self.nodes[node.parent as usize];
                if parent.place != NOWHERE {
                    let from = if parent.label == node.label { &beam.blank } else { &beam.total };
                    comes = from[parent.place as usize] + y;
                    self.heir_before[place] = self.heirs[parent.place as usize];
                    self.heirs[parent.place as usize] = place as u32;
                }
            }
            self.stays.push(stays);
            self.comes.push(comes);
            self.next.blank.push(beam.total[place] + self.y[self.blank]);
        }
        log_add(&self.stays, &self.comes, &mut self.next.label);
        log_add(&self.next.blank, &self.next.label, &mut self.next.total);
        self.candidates.clear();
        make_room(&mut self.candidates, beam.nodes.len())?;
        for (place, (&node, &total)) in beam.nodes.iter().zip(&self.next.total).enumerate() {
            let score = total + self.nodes[node as usize].bonus;
            if score > f64::NEG_INFINITY {
                let place = place as u32;
                self.candidates.push(Candidate { score, order: place.into(), place, label: NOWHERE, value: total });
            }
        }
        Ok(())
    }

    /// Tries new prefixes: every prefix of the beam with one label more.
    fn extend(&mut self) -> Result<(), Error> {
        let width = self.options.width;
        let worst = |candidates: &[Candidate]| candidates.iter().map(|c| c.score).fold(f64::INFINITY, f64::min);
        // Whatever is not above this is not among the best: all that equals it came before.
        let mut bar = if self.candidates.len() < width { f64::NEG_INFINITY } else { worst(&self.candidates) };
        let limit = width.saturating_mul(4).max(64);
        let mut candidates = std::mem::take(&mut self.candidates);
        let (keys, is_ranked) = (self.keys(), self.is_ranked());
        for (place, &node) in self.beam.nodes.iter().enumerate() {
            let Node { label: last, bonus, .. } = self.nodes[node as usize];
            let row = self.row_of(node);
            let (blank, total) = (self.beam.blank[place], self.beam.total[place]);
            for &class in &self.choice {
                let key = row.map_or_else(|| keys[class], |row| self.y[class] + row[class]);
                let from = if class as u32 == last { blank } else { total };
                let score = (from + key) + bonus;
                let label = class as u32;
                if score <= bar {
                    if is_ranked && label != last {
                        break;
                    }
                } else if !self.is_in_beam(place, label) {
                    let order = (place as u64 + 1) << 32 | u64::from(label);
                    let value = from + self.y[class];
                    push(&mut candidates, Candidate { score, order, place: place as u32, label, value })?;
                    if candidates.len() >= limit {
                        candidates.select_nth_unstable_by(width - 1, Candidate::better);
                        candidates.truncate(width);
                        bar = worst(&candidates);
                    }
                }
            }
        }
        self.candidates = candidates;
        Ok(())
    }

    /// Leaves the best candidates, the best one first.
    fn prune(&mut self) {
        if self.candidates.len() > self.options.width {
            self.candidates.select_nth_unstable_by(self.options.width - 1, Candidate::better);
            self.candidates.truncate(self.options.width);
        }
        self.candidates.sort_unstable_by(Candidate::better);
    }
}

impl Node {
    fn new(parent: u32, label: u32, sibling_before: u32, bonus: f64) -> Self {
        Self { parent, label, last_child: NOWHERE, sibling_before, place: NOWHERE, bonus, answer: None }
    }
}

impl Candidate {
    fn better(a: &Self, b: &Self) -> Ordering {
        // Adding 0 makes both zeros one.
        (b.score + 0.0).total_cmp(&(a.score + 0.0)).then(a.order.cmp(&b.order))
    }
}

impl Beam {
    /// Empties it, and makes room for so many prefixes.
    fn clear(&mut self, room: usize) -> Result<(), Error> {
        self.nodes.clear();
        make_room(&mut self.nodes, room)?;
        for column in [&mut self.blank, &mut self.label, &mut self.total] {
            column.clear();
            make_room(column, room)?;
        }
        Ok(())
    }

    fn push(&mut self, node: u32, blank: f64, label: f64, total: f64) {
        self.nodes.push(node);
        self.blank.push(blank);
        self.label.push(label);
        self.total.push(total);
    }
}

/// ln(eᵃ + eᵇ) of two columns, which are below +∞. `out` has room for them.
fn log_add(a: &[f64], b: &[f64], out: &mut Vec<f64>) {
    out.clear();
    dispatch!(level(), simd => log_add_in(simd, a, b, out));
}

#[inline(always)]
fn log_add_in<S: Simd>(simd: S, a: &[f64], b: &[f64], out: &mut Vec<f64>) {
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        let mut high = [f64::NEG_INFINITY; LANES];
        let mut below = [0.0; LANES];
        for ((high, below), (&a, &b)) in high.iter_mut().zip(&mut below).zip(a.iter().zip(b)) {
            *high = a.max(b);
            // Nothing is infinitely far below nothing.
            *below = if *high > f64::NEG_INFINITY { a.min(b) - *high } else { f64::NEG_INFINITY };
        }
        let ratio = math::exp_f64x8(simd, f64x8::from_slice(simd, &below)).to_array();
        out.extend(high[..a.len()].iter().zip(&ratio).map(|(high, ratio)| high + math::ln(1.0 + ratio)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::with_sequence;
    use super::*;

    fn scores_of(frames: usize, classes: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / 2f64.powi(24) * 4.0
        };
        (0..frames * classes).map(|_| next()).collect()
    }

    /// The log-probability of every label sequence: the sum over every path.
    fn enumerate(logits: &[f64], classes: usize) -> BTreeMap<Vec<usize>, f64> {
        let rows: Vec<Vec<f64>> = logits
            .chunks(classes)
            .map(|row| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(|x| x.exp() / sum).collect()
            })
            .collect();
        let mut found = BTreeMap::new();
        for number in 0..classes.pow(rows.len() as u32) {
            let path: Vec<usize> = (0..rows.len()).map(|t| number / classes.pow(t as u32) % classes).collect();
            let mut labels = path.clone();
            labels.dedup();
            labels.retain(|&label| label != 0);
            *found.entry(labels).or_insert(0.0) +=
                path.iter().zip(&rows).map(|(&class, row)| row[class]).product::<f64>();
        }
        found.into_iter().map(|(labels, sum)| (labels, sum.ln())).collect()
    }

    #[test]
    fn a_wide_beam_finds_the_sums_over_all_paths() {
        for seed in 0..20 {
            let (frames, classes) = (1 + seed as usize % 6, 2 + seed as usize % 3);
            let logits = scores_of(frames, classes, seed);
            let truth = enumerate(&logits, classes);
            let options = Options { width: truth.len(), best: truth.len(), token_scores: TokenScores::None };
            with_sequence(&logits, classes, |sequences| {
                let found = &beam(sequences, 0, Scores::Logits, &options, &Watch::never()).unwrap()[0];
                assert_eq!(found.len(), truth.len());
                assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
                for hypothesis in found {
                    let truth = truth[&hypothesis.labels];
                    assert!((hypothesis.score - truth).abs() < 1e-12, "{hypothesis:?} {truth}");
                }
            });
        }
    }

    #[test]
    fn few_of_many_classes_are_as_good_as_all() {
        // A table of zeros makes every class be tried.
        let (frames, classes) = (12, 60);
        for seed in 0..10 {
            let logits = scores_of(frames, classes, seed);
            let search = |token_scores| {
                let options = Options { width: 4, best: 4, token_scores };
                with_sequence(&logits, classes, |sequences| {
                    beam(sequences, 0, Scores::Logits, &options, &Watch::never()).unwrap()
                })
            };
            assert_eq!(search(TokenScores::None), search(TokenScores::Pairs(vec![0.0; classes * classes])));
        }
    }
}
