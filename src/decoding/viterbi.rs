//! The best path of a target (Viterbi, 1967, <https://doi.org/10.1109/TIT.1967.1054010>), over the states of the CTC loss.
//!
//! A path is at blank j (with j labels behind it) or at label j (0 ≤ j < L). With B and A the scores of the best path to
//! each, q the score of the blank in frame t and e that of each label:
//!
//! ```text
//! B'[j] = max(B[j], A[j−1]) + q                      j = 0..=L
//! A'[j] = max(A[j], B[j], A[j−1] + k[j]) + e[j]      j = 0..L,  k[j] = 0 if label j differs from label j − 1, else −∞
//! ```
//!
//! Before the first frame `B[0]` is 0 and all else −∞. Scores are x − max: the logarithm of a frame's sum is the same for
//! all paths, and is subtracted from the best one's score alone. Of equal predecessors the nearest wins: a path stays
//! where it is, comes from one state before only where that is more, and from two states before only where that is more
//! than both; at the end the last label wins over the last blank. That is the rule of `torchaudio.functional.forced_align`
//! (which takes the worse path where the two others are equal and above the first).
//!
//! Frame t needs only the states that can be reached in t + 1 frames, and from which the end can be reached: a band, in
//! whole vectors. What lies beside it on the left is out of date and moves on by one state with each frame, as the band
//! does, so it never enters. Three bits remember where each pair of states came from; they are kept for the band alone.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x4, f64x8};

use super::{Alignment, Frames, Normal, longest_first, one, push, repeated};
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Labels, Rows, Sequences, make_room, reserve, resize, zeros};
use crate::losses::Scores;
use crate::parallel::{Ticker, Watch, for_each};
use crate::simd::level;
use crate::simd::scaled::LANES;

/// The fewest frames that say these labels: one for each, and a blank between equal neighbours.
pub fn frames_needed(labels: &[usize]) -> usize {
    labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

/// The best path of every sequence. Where there is none its score is −∞; where a score that matters is NaN (or +∞), NaN.
pub fn align<E: Element>(
    sequences: &Sequences<'_, E>,
    targets: &Labels,
    blank: usize,
    scores: Scores,
    watch: &Watch<'_>,
) -> Result<Vec<Alignment>, Error> {
    let mut found = repeated(Alignment::none(f64::NEG_INFINITY), sequences.len())?;
    let items = longest_first(sequences, &mut found)?;
    for_each(
        items,
        super::work(sequences, targets),
        watch,
        || Ok((zeros::<E::Float>(sequences.width)?, Chain::new(sequences.width)?)),
        |(sequence, rows, found), (buffer, chain), ticker| {
            let labels = targets.of(sequence);
            if rows.count() < frames_needed(labels) {
                return Ok(());
            }
            chain.set(labels, blank, rows.count())?;
            let end = dispatch!(level(), simd => chain.forward(simd, rows, scores, buffer, ticker))?;
            *found = match end > f64::NEG_INFINITY {
                true => chain.path(rows, labels, blank, scores)?,
                false => Alignment::none(end),
            };
            Ok(())
        },
    )?;
    Ok(found)
}

/// Eight numbers, aligned as vectors like it.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Eight([f64; LANES]);

impl Eight {
    const NOTHING: Self = Self([f64::NEG_INFINITY; LANES]);

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S) -> f64x8<S> {
        f64x8::from_slice(simd, &self.0)
    }
}

/// Where eight pairs of states came from, a bit each: a blank from the label before it; a label from the blank before it;
/// a label from the label before it.
type Moves = [u8; 3];

/// How many frames are read before the recursion goes through them. The scores of a class in all of them are one vector,
/// so that one load brings a label's; four labels are transposed at a time.
const BLOCK: usize = 4;

/// The chain of blanks and labels of one sequence, eight pairs in a group. A thread keeps it, and what it has grown to.
struct Chain {
    frames: usize,
    /// L
    labels: usize,
    /// (L + 1) / 8, rounded up.
    groups: usize,
    /// B, A, and k.
    blank: Vec<Eight>,
    label: Vec<Eight>,
    skips: Vec<Eight>,
    /// e of a block of frames.
    emissions: Vec<[Eight; BLOCK]>,
    /// The classes that occur, the blank first.
    classes: Vec<usize>,
    /// Their scores in a block of frames; behind them those of what is no label, −∞.
    scores: Vec<[f64; BLOCK]>,
    /// The place among them of each label.
    places: Vec<[u32; LANES]>,
    /// The place of each class among the classes that occur, plus 1; 0 for none.
    place_of: Vec<u32>,
    /// Those of the band of every frame, one after another.
    moves: Vec<Moves>,
    normals: Vec<Normal>,
}

impl Chain {
    fn new(width: usize) -> Result<Self, Error> {
        Ok(Self {
            frames: 0,
            labels: 0,
            groups: 0,
            blank: vec![],
            label: vec![],
            skips: vec![],
            emissions: vec![],
            classes: vec![],
            scores: vec![],
            places: vec![],
            place_of: zeros(width)?,
            moves: vec![],
            normals: vec![],
        })
    }

    fn set(&mut self, labels: &[usize], blank: usize, frames: usize) -> Result<(), Error> {
        self.frames = frames;
        self.labels = labels.len();
        self.groups = (labels.len() + 1).div_ceil(LANES);
        for vector in [&mut self.blank, &mut self.label, &mut self.skips] {
            resize(vector, self.groups, Eight::NOTHING)?;
        }
        resize(&mut self.emissions, self.groups, [Eight::NOTHING; BLOCK])?;
        self.blank[0].0[0] = 0.0;
        for (j, pair) in labels.windows(2).enumerate() {
            if pair[0] != pair[1] {
                self.skips[(j + 1) / LANES].0[(j + 1) % LANES] = 0.0;
            }
        }
        self.classes.clear();
        push(&mut self.classes, blank)?;
        resize(&mut self.places, self.groups, [0; LANES])?;
        for (j, &label) in labels.iter().enumerate() {
            if self.place_of[label] == 0 {
                self.place_of[label] = self.classes.len() as u32;
                push(&mut self.classes, label)?;
            }
            self.places[j / LANES][j % LANES] = self.place_of[label];
        }
        self.classes[1..].iter().for_each(|&class| self.place_of[class] = 0);
        let classes = self.classes.len();
        resize(&mut self.scores, classes + 1, [f64::NEG_INFINITY; BLOCK])?;
        (labels.len()..self.groups * LANES).for_each(|j| self.places[j / LANES][j % LANES] = classes as u32);
        self.normals = vec![];
        self.normals = reserve(frames)?;
        let cells = (0..frames).try_fold(0usize, |cells, t| cells.checked_add(self.band(t).len()));
        let cells = cells.ok_or(Error::Memory(usize::MAX))?;
        if self.moves.len() < cells {
            self.moves = vec![];
            self.moves = zeros(cells)?;
        }
        Ok(())
    }

    /// The groups that matter in frame t.
    fn band(&self, t: usize) -> Range<usize> {
        let left = self.frames - 1 - t;
        let states = self.labels.saturating_sub(left + 1)..(self.labels + 1).min(t + 2);
        states.start / LANES..states.end.div_ceil(LANES)
    }

    /// The score of the best path without the sums of frames; NaN where a frame has no probabilities.
    #[inline(always)]
    fn forward<E: Element, S: Simd>(
        &mut self,
        simd: S,
        rows: &Rows<'_, E>,
        scores: Scores,
        buffer: &mut [E::Float],
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let mut row = 0;
        for first in (0..self.frames).step_by(BLOCK) {
            let block = first..self.frames.min(first + BLOCK);
            ticker.tick(BLOCK * (rows.width() + self.labels))?;
            for t in block.clone() {
                if !self.read(simd, scores, E::view(rows.row(t), buffer), t - first) {
                    return Ok(f64::NAN);
                }
            }
            self.emit(simd, self.band(first).start..self.band(block.end - 1).end);
            for t in block {
                let band = self.band(t);
                let start = row;
                row += band.len();
                self.advance(simd, band, t - first, start..row);
            }
        }
        let (blank, label) = self.ends();
        Ok(blank.max(label))
    }

    /// The best path to the last blank, and to the last label.
    fn ends(&self) -> (f64, f64) {
        let of = |states: &[Eight], j: usize| states[j / LANES].0[j % LANES];
        let label = if self.labels > 0 { of(&self.label, self.labels - 1) } else { f64::NEG_INFINITY };
        (of(&self.blank, self.labels), label)
    }

    /// The scores of the classes in one frame of a block; whether they are some.
    #[inline(always)]
    fn read<F: Float, S: Simd>(&mut self, simd: S, scores: Scores, row: &[F], place: usize) -> bool {
        let normal = Normal::of(simd, scores, row);
        self.normals.push(normal);
        let mut is_nan = normal.sum.is_nan();
        for (block, &class) in self.scores.iter_mut().zip(&self.classes) {
            block[place] = row[class].to_f64() - normal.shift;
        }
        if scores != Scores::Logits {
            // A sum has seen every class; +∞ is not the logarithm of a probability either.
            is_nan |= self.scores.iter().any(|block| block[place].is_nan() || block[place] == f64::INFINITY);
        }
        !is_nan
    }

    /// The scores of a block of frames, label by label.
    #[inline(always)]
    fn emit<S: Simd>(&mut self, simd: S, groups: Range<usize>) {
        for (emissions, places) in self.emissions[groups.clone()].iter_mut().zip(&self.places[groups]) {
            for at in [0, LANES / 2] {
                let a = f64x4::from_slice(simd, &self.scores[places[at] as usize]);
                let b = f64x4::from_slice(simd, &self.scores[places[at + 1] as usize]);
                let c = f64x4::from_slice(simd, &self.scores[places[at + 2] as usize]);
                let d = f64x4::from_slice(simd, &self.scores[places[at + 3] as usize]);
                let (a, b, c, d) = (a.zip_low(c), b.zip_low(d), a.zip_high(c), b.zip_high(d));
                let frames = [a.zip_low(b), a.zip_high(b), c.zip_low(d), c.zip_high(d)];
                for (frame, emissions) in frames.into_iter().zip(emissions.iter_mut()) {
                    frame.store_slice(&mut emissions.0[at..at + LANES / 2]);
                }
            }
        }
    }

    /// A frame with this band, whose scores are at this place of their block, and whose moves are these.
    #[inline(always)]
    fn advance<S: Simd>(&mut self, simd: S, band: Range<usize>, place: usize, moves: Range<usize>) {
        let of_blank = f64x8::splat(simd, self.scores[0][place]);
        let mut left = match band.start {
            0 => f64x8::splat(simd, f64::NEG_INFINITY),
            first => self.label[first - 1].load(simd),
        };
        let moves = &mut self.moves[moves];
        let states = self.blank[band.clone()].iter_mut().zip(&mut self.label[band.clone()]);
        let fixed = self.skips[band.clone()].iter().zip(&self.emissions[band]);
        for (((blanks, labels), (skips, emissions)), moves) in states.zip(fixed).zip(moves) {
            let (blank, label) = (blanks.load(simd), labels.load(simd));
            let before = left.slide::<7>(label);
            left = label;
            let enters = before.simd_gt(blank);
            let steps = blank.simd_gt(label);
            let near = label.max(blank);
            let far = before + skips.load(simd);
            let jumps = far.simd_gt(near);
            (blank.max(before) + of_blank).store_slice(&mut blanks.0);
            (near.max(far) + emissions[place].load(simd)).store_slice(&mut labels.0);
            *moves = [enters.to_bitmask() as u8, steps.to_bitmask() as u8, jumps.to_bitmask() as u8];
        }
    }

    /// Follows the moves back from the end.
    fn path<E: Element>(
        &self,
        rows: &Rows<'_, E>,
        labels: &[usize],
        blank: usize,
        scores: Scores,
    ) -> Result<Alignment, Error> {
        let mut path = zeros(self.frames)?;
        let (last_blank, last_label) = self.ends();
        let mut is_label = self.labels > 0 && last_label >= last_blank;
        let mut j = if is_label { self.labels - 1 } else { self.labels };
        let mut row: usize = (0..self.frames).map(|t| self.band(t).len()).sum();
        for t in (0..self.frames).rev() {
            path[t] = if is_label { labels[j] } else { blank };
            let band = self.band(t);
            row -= band.len();
            // A path leaves the band only where somebody wrote to the scores while they were read.
            let moves = if band.contains(&(j / LANES)) { self.moves[row + j / LANES - band.start] } else { [0; 3] };
            let [enters, steps, jumps] = moves.map(|bits| bits >> (j % LANES) & 1 == 1);
            match is_label {
                true if jumps => j -= 1,
                true if steps => is_label = false,
                false if enters => {
                    is_label = true;
                    j -= 1;
                }
                _ => {}
            }
        }
        let mut frames = Frames::with_room(self.frames)?;
        for (t, (&class, &normal)) in path.iter().zip(&self.normals).enumerate() {
            frames.push(one(rows, t, class), normal);
        }
        Alignment::new(path, blank, scores, &mut frames)
    }
}

/// Whether each target has a path of a probability above 0: whether its CTC loss is finite.
///
/// The same recursion over bits, 64 states at a time: all that matters of a score is whether it is −∞.
pub fn feasible<E: Element>(
    sequences: &Sequences<'_, E>,
    targets: &Labels,
    blank: usize,
    scores: Scores,
    watch: &Watch<'_>,
) -> Result<Vec<bool>, Error> {
    let mut found = repeated(false, sequences.len())?;
    let items = longest_first(sequences, &mut found)?;
    for_each(
        items,
        super::work(sequences, targets),
        watch,
        || Ok((zeros::<E::Float>(sequences.width)?, Reach::default())),
        |(sequence, rows, found), (buffer, reach), ticker| {
            let labels = targets.of(sequence);
            if rows.count() < frames_needed(labels) {
                return Ok(());
            }
            reach.set(labels, blank)?;
            for t in 0..rows.count() {
                ticker.tick(rows.width() + labels.len() / 16)?;
                let row = E::view(rows.row(t), buffer);
                let normal = dispatch!(level(), simd => Normal::of(simd, scores, row));
                let score = |class: usize| row[class].to_f64() - normal.shift;
                let is_bad = |&class: &usize| score(class).is_nan() || score(class) == f64::INFINITY;
                if normal.sum.is_nan() || reach.classes.iter().any(is_bad) {
                    return Ok(());
                }
                reach.advance(|class| score(class) > f64::NEG_INFINITY, labels, blank);
            }
            *found = reach.is_at_end(labels.len());
            Ok(())
        },
    )?;
    Ok(found)
}

/// The states that a path can have reached. Bits behind the last state may be set: nothing comes from there.
#[derive(Default)]
struct Reach {
    blank: Vec<u64>,
    label: Vec<u64>,
    /// The labels that differ from the one before.
    skips: Vec<u64>,
    /// The labels that have a probability above 0 in this frame.
    alive: Vec<u64>,
    /// The classes that occur.
    classes: Vec<usize>,
}

impl Reach {
    fn set(&mut self, labels: &[usize], blank: usize) -> Result<(), Error> {
        let words = labels.len() / 64 + 1;
        for bits in [&mut self.blank, &mut self.label, &mut self.skips, &mut self.alive] {
            resize(bits, words, 0)?;
        }
        self.blank[0] = 1;
        for (j, pair) in labels.windows(2).enumerate() {
            self.skips[(j + 1) / 64] |= u64::from(pair[0] != pair[1]) << ((j + 1) % 64);
        }
        self.classes.clear();
        make_room(&mut self.classes, labels.len() + 1)?;
        self.classes.push(blank);
        self.classes.extend_from_slice(labels);
        self.classes.sort_unstable();
        self.classes.dedup();
        Ok(())
    }

    fn advance(&mut self, is_alive: impl Fn(usize) -> bool, labels: &[usize], blank: usize) {
        self.alive.fill(u64::MAX);
        if !self.classes.iter().all(|&class| is_alive(class)) {
            for (j, &label) in labels.iter().enumerate() {
                self.alive[j / 64] &= !(u64::from(!is_alive(label)) << (j % 64));
            }
        }
        let of_blank = if is_alive(blank) { u64::MAX } else { 0 };
        let mut carry = 0;
        let fixed = self.skips.iter().zip(&self.alive);
        for ((blanks, labels), (skips, alive)) in self.blank.iter_mut().zip(&mut self.label).zip(fixed) {
            let before = *labels << 1 | carry;
            carry = *labels >> 63;
            *labels = (*labels | *blanks | before & skips) & alive;
            *blanks = (*blanks | before) & of_blank;
        }
    }

    fn is_at_end(&self, labels: usize) -> bool {
        let has = |bits: &[u64], j: usize| bits[j / 64] >> (j % 64) & 1 == 1;
        has(&self.blank, labels) || (labels > 0 && has(&self.label, labels - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_sequence;
    use super::*;
    use crate::input::{Argument, Integers};

    /// Pseudo-random numbers that are the same everywhere.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) % end as u64) as usize
        }
    }

    /// The states of a path, taken one at a time and without any band; ties as they are described above.
    fn plainly(scores: &[f64], classes: usize, labels: &[usize]) -> (f64, Vec<usize>) {
        let states: Vec<usize> = (0..=2 * labels.len()).map(|s| if s % 2 == 1 { labels[s / 2] } else { 0 }).collect();
        let mut best = vec![f64::NEG_INFINITY; states.len()];
        best[0] = 0.0;
        let mut from: Vec<Vec<usize>> = vec![];
        for row in scores.chunks(classes) {
            let old = best.clone();
            let mut came = vec![0; states.len()];
            for s in 0..states.len() {
                let jumps = s > 2 && s % 2 == 1 && states[s] != states[s - 2];
                for back in [1, 2] {
                    if back <= s && (back == 1 || jumps) && old[s - back] > old[s - came[s]] {
                        came[s] = back;
                    }
                }
                best[s] = old[s - came[s]] + row[states[s]];
            }
            from.push(came);
        }
        let last = states.len() - 1;
        let mut s = if last > 0 && best[last - 1] >= best[last] { last - 1 } else { last };
        let end = best[s];
        let mut path = vec![];
        for came in from.iter().rev() {
            path.push(states[s]);
            s -= came[s];
        }
        path.reverse();
        (end, path)
    }

    #[test]
    fn the_path_of_a_plain_recursion_with_ties_and_zeros() {
        let mut random = Random(1);
        for case in 0..3000 {
            let (frames, classes) = (random.below(if case % 100 == 0 { 300 } else { 40 }), 2 + random.below(4));
            let labels: Vec<usize> = (0..random.below(frames + 2)).map(|_| 1 + random.below(classes - 1)).collect();
            let zeros = if case % 3 == 0 { 10 } else { 1_000_000 };
            let scores: Vec<f64> = (0..frames * classes)
                .map(|_| if random.below(zeros) == 0 { f64::NEG_INFINITY } else { -(random.below(4) as f64) })
                .collect();
            let targets = Argument::Array(Integers {
                values: labels.iter().map(|&label| label as i64).collect(),
                shape: vec![labels.len()],
            });
            with_sequence(&scores, classes, |sequences| {
                let targets = Labels::new(&targets, None, &sequences.structure, classes, 0).unwrap();
                let (score, path) = plainly(&scores, classes, &labels);
                let found = &align(sequences, &targets, 0, Scores::LogProbs, &Watch::never()).unwrap()[0];
                let feasible = feasible(sequences, &targets, 0, Scores::LogProbs, &Watch::never()).unwrap()[0];
                assert_eq!(found.score, score, "{labels:?} {scores:?}");
                assert_eq!(feasible, score > f64::NEG_INFINITY);
                if feasible {
                    assert_eq!(found.labels, path, "{labels:?} {scores:?}");
                    assert_eq!(found.spans.iter().map(|span| span.label).collect::<Vec<_>>(), labels);
                } else {
                    assert_eq!(*found, Alignment::none(f64::NEG_INFINITY));
                }
            });
        }
    }
}
