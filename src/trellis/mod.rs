//! The sum over all paths of an alignment, and the posterior of every state: what alignment losses stand on.
//!
//! A path is in one state in each frame. α of a state is the probability of all beginnings of paths that end there, β of
//! all that follows; α β over the total is the state's posterior. Both are products of thousands of probabilities, and
//! states of one frame lie further apart than any float reaches. So a state is a [`Scaled`](scaled::Scaled) number, a mantissa and an
//! exponent of its own. A scale for each frame is silently wrong; logarithms lose digits with every frame, and cost an
//! exponential and a logarithm for every state.
//!
//! | file | what it is |
//! |---|---|
//! | [`chain`] | the topology: which state follows which, and the band of states that matter |
//! | [`frames`] | the probabilities of eight frames |
//! | [`recursion`] | from one frame to the next: the number format |
//! | [`meeting`] | what one end keeps for the other, and the posteriors where they meet |
//! | [`entropy`] | of the posterior of paths |
//! | this | the road through the frames: both ends, checkpoints, the meeting |
//!
//! # Both ends
//!
//! α runs from the first frame and β from the last, and they meet in the middle, where the total is known. Each leaves a
//! row of states behind at every block of eight frames. Then each goes on into the other's half; there the other's
//! states of a block are computed again from the row that was left, and every state's posterior is a product of two. The
//! two ends never wait for one another but at the meeting, so they may run on two threads; the result has the same bits
//! if they run one after the other.

mod chain;
mod entropy;
mod frames;
mod meeting;
mod recursion;

use std::ops::Range;

use fearless_simd::dispatch;

pub use self::chain::Stars;
pub(crate) use self::chain::Topology;
use self::chain::{Chain, Places};
pub(crate) use self::frames::Frames;
use self::meeting::Kept;
pub(crate) use self::meeting::Meeting;
use crate::error::Error;
use crate::parallel::Ticker;
use crate::simd::scaled::{self, BOTTOM};
use crate::simd::{Aligned, level};

/// How many frames a block has, and how many pairs of states a tile: as many as numbers a vector.
pub(crate) const LANES: usize = scaled::LANES;
/// Numbers of a tile: blanks and labels, mantissas and exponents.
const TILE: usize = 4 * LANES;
/// Empty places beside a kept row: what is read beyond its ends.
const PAD: usize = 2 * LANES;
/// Leaves nothing of what it is added to, also beside sums that are 0. A mantissa of 0 would not do: its exponent alone
/// would push out what is far smaller.
const NO_ARC: f64 = 2.0 * BOTTOM;
/// Where the rows left behind would be more numbers than this (16 MB), only every so many blocks leave one (as many as rows
/// are left), and those between are computed once more. That is faster, too: memory that no cache holds costs more than
/// the recursion (20,000 frames and 2,000 labels: 2.5 ns a cell for 3.8 with the 160 MB of all rows).
const MOST_KEPT: usize = 1 << 21;

/// After so many runs that went well a larger one is tried.
const PATIENCE: usize = 16;

/// Modes of the recursion: go on; keep what arrives at each state; meet what was kept.
const PASS: u8 = 0;
const KEEP: u8 = 1;
const MEET: u8 = 2;

/// What reads frames and uses posteriors, of one half of a sequence.
pub(crate) trait Visitor: Send {
    /// Writes the logarithms of frames `range` to the rows of `frames`, one column for each frame.
    fn read(&mut self, range: Range<usize>, frames: &mut Frames) -> Result<(), Error>;
    /// Uses the posteriors of frames that were read last.
    fn write(&mut self, range: Range<usize>, frames: &Frames, posteriors: &Meeting) -> Result<(), Error>;
}

/// A run of frames of a block, and what matters in it.
struct Piece {
    columns: Range<usize>,
    backward: bool,
    tiles: Range<usize>,
    /// Tiles that were reached before.
    reached: Range<usize>,
    /// What matters behind it.
    inside: Places,
}

impl Piece {
    /// Which frame of the block comes in each step.
    #[inline(always)]
    fn column(&self, step: usize) -> usize {
        if self.backward { self.columns.end - 1 - step } else { self.columns.start + step }
    }
}

/// States on their way from one end.
#[derive(Default)]
struct Front {
    /// The states now, and room for the next.
    states: [Aligned; 2],
    /// How many frames to try at once, and how often that went well since.
    size: usize,
    successes: usize,
}

/// One end of the frames, with all that a thread needs to go from there.
#[derive(Default)]
struct End {
    chain: Chain,
    front: Front,
    /// The states at the beginning of blocks, in the order of this end.
    left_behind: Aligned,
}

/// What a thread needs beside its end.
#[derive(Default)]
struct Workshop {
    frames: Frames,
    /// The other end's states, of a block that is computed again...
    other: Front,
    /// ... from what is left behind at each block of a section.
    section: Aligned,
    kept: Kept,
    meeting: Meeting,
}

/// The recursion over the frames of one sequence; memory grows to what the longest needs.
#[derive(Default)]
pub(crate) struct Trellis {
    ends: [End; 2],
    workshops: [Workshop; 2],
    course: Course,
    wants: Wants,
    entropy: entropy::Entropy,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wants {
    /// The probability of all paths.
    #[default]
    Total,
    /// Also the posteriors of classes.
    Classes,
    /// Also the posterior of every label of the target.
    Labels,
}

/// The frames, cut into blocks of eight.
#[derive(Default, Clone, Copy)]
struct Course {
    frames: usize,
    /// Every how many blocks a row is left behind.
    every: usize,
}

impl Course {
    fn blocks(&self) -> usize {
        self.frames.div_ceil(LANES)
    }

    /// Where the ends meet.
    fn middle(&self) -> usize {
        self.blocks() / 2
    }

    fn block(&self, block: usize) -> Range<usize> {
        block * LANES..self.frames.min((block + 1) * LANES)
    }

    /// The place of a block in the order of an end; its own inverse.
    fn order(&self, backward: bool, block: usize) -> usize {
        if backward { self.blocks() - 1 - block } else { block }
    }

    /// How many steps an end has made before a block.
    fn steps(&self, backward: bool, block: usize) -> usize {
        let range = self.block(block);
        if backward { self.frames - range.end } else { range.start }
    }
}

impl Front {
    fn grow(&mut self, tiles: usize) -> Result<(), Error> {
        (self.size, self.successes) = (LANES, 0);
        self.states.iter_mut().try_for_each(|row| row.grow(tiles * TILE))
    }

    /// Before the first step there is one state: the blank at this end, with all of the probability.
    fn start(&mut self, place: usize) {
        let tile = &mut self.states[0][place / LANES * TILE..][..TILE];
        recursion::clear(tile);
        (tile[place % LANES], tile[LANES + place % LANES]) = (1.0, 0.0);
    }

    /// Goes over one block of frames, from its own states or from `given` ones.
    fn advance<const MODE: u8>(
        &mut self,
        given: Option<&[f64]>,
        chain: &Chain,
        course: Course,
        block: usize,
        frames: &Frames,
        kept: &mut Kept,
        meeting: &mut Meeting,
    ) {
        let backward = chain.backward;
        let before = course.steps(backward, block);
        let column = |step: usize| if backward { frames.count - 1 - step } else { step };
        let mut done = 0;
        let mut here = chain.places(before);
        while done < frames.count {
            // Runs do not go over frames in which some class has no probability.
            let is_alone = |step: usize| frames.is_deep || chain.is_one_by_one() || frames.has_zero[column(step)];
            let mut count = self.size.clamp(1, frames.count - done);
            count = (1..count).find(|&i| is_alone(done) || is_alone(done + i)).unwrap_or(count);
            if MODE == MEET {
                let row = kept.exponent_row[column(done)];
                count = (1..count).find(|&i| kept.exponent_row[column(done + i)] != row).unwrap_or(count);
            }
            let columns = match backward {
                true => frames.count - done - count..frames.count - done,
                false => done..done + count,
            };
            let next = chain.places(before + done + count);
            let piece =
                Piece { columns, backward, tiles: chain.passed(&here, &next), reached: here.tiles(), inside: next };
            let [own, to] = &mut self.states;
            let from = if done == 0 { given.unwrap_or(own) } else { own };
            let mut is_done = !is_alone(done)
                && count > 1
                && match backward {
                    false => dispatch!(level(), simd => recursion::run::<_, MODE, false>(
                        simd, chain, frames, &piece, from, to, kept, meeting,
                    )),
                    true => dispatch!(level(), simd => recursion::run::<_, MODE, true>(
                        simd, chain, frames, &piece, from, to, kept, meeting,
                    )),
                };
            if !is_done && count == 1 {
                if MODE == MEET {
                    meeting.clear_columns(&piece.columns);
                }
                match backward {
                    false => dispatch!(level(), simd => recursion::frame::<_, MODE, false>(
                        simd, chain, frames, &piece, from, to, kept, meeting,
                    )),
                    true => dispatch!(level(), simd => recursion::frame::<_, MODE, true>(
                        simd, chain, frames, &piece, from, to, kept, meeting,
                    )),
                }
                is_done = true;
            }
            if is_done {
                if MODE == KEEP {
                    kept.clear_around(piece.columns.clone(), &piece.tiles);
                }
                self.states.swap(0, 1);
                here = piece.inside;
                done += count;
                // Sharp scores stay sharp for a while: larger runs are tried again now and then only.
                self.successes += 1;
                if self.successes >= PATIENCE {
                    (self.size, self.successes) = ((2 * self.size).clamp(1, LANES), 0);
                }
            } else {
                if MODE == MEET {
                    meeting.clear_columns(&piece.columns);
                }
                (self.size, self.successes) = (count.div_ceil(2), 0);
            }
        }
        if MODE == MEET && !meeting.aside_tiles.is_empty() {
            dispatch!(level(), simd => meeting.add_aside(simd, &chain.slots));
        }
    }
}

impl End {
    /// How many numbers a row of states takes.
    fn row(&self) -> usize {
        self.chain.tiles() * TILE
    }
}

impl Workshop {
    /// Reads a block.
    fn read(&mut self, course: Course, block: usize, visitor: &mut impl Visitor) -> Result<(), Error> {
        let range = course.block(block);
        self.frames.count = range.len();
        visitor.read(range, &mut self.frames)?;
        dispatch!(level(), simd => self.frames.exponentiate(simd));
        Ok(())
    }

    /// Makes plain probabilities of deep ones.
    fn flatten(&mut self) {
        dispatch!(level(), simd => self.frames.flatten(simd));
    }

    /// Takes an end over its own half. Where posteriors are to follow, rows are left behind.
    fn sweep(
        &mut self,
        end: &mut End,
        course: Course,
        leaves: bool,
        visitor: &mut impl Visitor,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let row = end.row();
        let blocks = match end.chain.backward {
            true => course.middle()..course.blocks(),
            false => 0..course.middle(),
        };
        if leaves {
            end.left_behind.grow(blocks.len().div_ceil(course.every) * row)?;
        }
        end.front.start(end.chain.start());
        for place in 0..blocks.len() {
            let block = course.order(end.chain.backward, place);
            ticker.tick(LANES * row / 2)?;
            self.read(course, block, visitor)?;
            if self.frames.is_nan {
                return Ok(());
            }
            if leaves && place % course.every == 0 {
                let band = end.chain.band(course.steps(end.chain.backward, block));
                let row = &mut end.left_behind[place / course.every * row..][..row];
                row[band.clone()].copy_from_slice(&end.front.states[0][band]);
            }
            let Self { frames, kept, meeting, .. } = self;
            end.front.advance::<PASS>(None, &end.chain, course, block, frames, kept, meeting);
        }
        Ok(())
    }

    /// Takes an end on, over the other's half: every block's posteriors go to the visitor.
    fn meet(
        &mut self,
        front: &mut Front,
        chain: &Chain,
        (other_chain, left_behind): (&Chain, &[f64]),
        course: Course,
        visitor: &mut impl Visitor,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let row = chain.tiles() * TILE;
        let backward = other_chain.backward;
        let places = match backward {
            true => course.blocks() - course.middle(),
            false => course.middle(),
        };
        let is_sparse = course.every > 1;
        if is_sparse {
            self.section.grow(course.every * row)?;
        }
        for section in (0..places.div_ceil(course.every)).rev() {
            let places = section * course.every..places.min((section + 1) * course.every);
            if is_sparse {
                let first = course.order(backward, places.start);
                let band = other_chain.band(course.steps(backward, first));
                self.other.states[0][band.clone()].copy_from_slice(&left_behind[section * row..][band]);
                for place in places.clone() {
                    let block = course.order(backward, place);
                    let band = other_chain.band(course.steps(backward, block));
                    let kept = &mut self.section[(place - places.start) * row..][..row];
                    kept[band.clone()].copy_from_slice(&self.other.states[0][band]);
                    if place + 1 < places.end {
                        ticker.tick(LANES * row / 2)?;
                        self.read(course, block, visitor)?;
                        let Self { frames, other, kept, meeting, .. } = self;
                        other.advance::<PASS>(None, other_chain, course, block, frames, kept, meeting);
                    }
                }
            }
            for place in places.clone().rev() {
                let block = course.order(backward, place);
                ticker.tick(2 * LANES * row)?;
                self.read(course, block, visitor)?;
                let Self { frames, other, section, kept, meeting } = self;
                let given = match is_sparse {
                    true => &section[(place - places.start) * row..][..row],
                    false => &left_behind[place * row..][..row],
                };
                other.advance::<KEEP>(Some(given), other_chain, course, block, frames, kept, meeting);
                meeting.clear();
                front.advance::<MEET>(None, chain, course, block, frames, kept, meeting);
                dispatch!(level(), simd => {
                    frames.flatten(simd);
                    meeting.finish(simd, frames);
                });
                visitor.write(course.block(block), frames, meeting)?;
            }
        }
        Ok(())
    }
}

impl Trellis {
    /// Sets the labels, as slots (1 and up) among `slots` slots; slot 0 is the blank's. Returns whether there are frames
    /// enough for them.
    pub(crate) fn set(
        &mut self,
        labels: &[u32],
        slots: usize,
        frames: usize,
        topology: &Topology,
        wants: Wants,
    ) -> Result<bool, Error> {
        let [forward, backward] = &mut self.ends;
        backward.chain.backward = true;
        forward.chain.set(labels, slots as u32, frames, topology)?;
        backward.chain.set(labels, slots as u32, frames, topology)?;
        if frames < forward.chain.needed() {
            return Ok(false);
        }
        let tiles = forward.chain.tiles();
        self.course = Course { frames, every: 1 };
        let rows = self.course.blocks();
        if rows.saturating_mul(tiles * TILE) > MOST_KEPT {
            self.course.every = rows.isqrt();
        }
        for (end, workshop) in self.ends.iter_mut().zip(&mut self.workshops) {
            end.front.grow(tiles)?;
            workshop.frames.set(slots)?;
            if wants == Wants::Total {
                continue;
            }
            workshop.other.grow(tiles)?;
            workshop.kept.set(LANES, tiles)?;
            workshop.meeting.set(slots, tiles, wants == Wants::Labels, usize::from(end.chain.backward))?;
        }
        if wants == Wants::Total {
            // It is summed over what one end keeps for the other.
            self.workshops[0].kept.set(1, tiles)?;
        }
        self.wants = wants;
        Ok(true)
    }

    /// The first frame of the second half.
    pub(crate) fn middle(&self) -> usize {
        self.course.middle() * LANES
    }

    /// ln of the probability of all paths; NaN where a frame is.
    pub(crate) fn total<V: Visitor>(&mut self, halves: &mut [V; 2], ticker: &Ticker<'_>) -> Result<f64, Error> {
        let course = self.course;
        let wants_posteriors = self.wants != Wants::Total;
        let [forward, backward] = &mut self.ends;
        let [one, two] = &mut self.workshops;
        let [first, second] = halves;
        one.frames.is_nan = false;
        two.frames.is_nan = false;
        ticker.both(
            |ticker| one.sweep(forward, course, wants_posteriors, first, ticker),
            |ticker| two.sweep(backward, course, wants_posteriors, second, ticker),
        )?;
        if one.frames.is_nan || two.frames.is_nan {
            return Ok(f64::NAN);
        }
        let steps = course.frames.min(course.middle() * LANES);
        let total = dispatch!(level(), simd => recursion::total(
            simd,
            (&forward.chain, &forward.front.states[0], steps),
            (&backward.chain, &backward.front.states[0], course.frames - steps),
            &mut one.kept,
        ));
        for workshop in &mut self.workshops {
            workshop.meeting.total = total;
            workshop.meeting.over_total = 1.0 / total.0;
        }
        Ok(scaled::ln(total))
    }

    /// Hands the posteriors of every frame to the visitors of the halves. The total must be known and above 0.
    pub(crate) fn posteriors<V: Visitor>(&mut self, halves: &mut [V; 2], ticker: &Ticker<'_>) -> Result<(), Error> {
        let course = self.course;
        let [forward, backward] = &mut self.ends;
        let [one, two] = &mut self.workshops;
        let [first, second] = halves;
        let End { chain, front, left_behind, .. } = forward;
        let End { chain: back_chain, front: back_front, left_behind: back_left_behind, .. } = backward;
        let (chain, back_chain, left_behind, back_left_behind) =
            (&*chain, &*back_chain, &**left_behind, &**back_left_behind);
        ticker.both(
            |ticker| one.meet(front, chain, (back_chain, back_left_behind), course, second, ticker),
            |ticker| two.meet(back_front, back_chain, (chain, left_behind), course, first, ticker),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::{Watch, for_each};

    /// A generator of numbers that is the same everywhere (Steele et al., 2014: SplitMix64).
    struct Random(u64);

    impl Random {
        fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.bits() % bound as u64) as usize
        }

        fn unit(&mut self) -> f64 {
            (self.bits() >> 11) as f64 / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
        }
    }

    /// Frames of log-probabilities of every slot, and the posteriors that come back.
    struct Table<'a> {
        log_probs: &'a [Vec<f64>],
        posteriors: Vec<Vec<f64>>,
    }

    impl Visitor for Table<'_> {
        fn read(&mut self, range: Range<usize>, frames: &mut Frames) -> Result<(), Error> {
            for (column, t) in range.enumerate() {
                for (slot, &log_prob) in self.log_probs[t].iter().enumerate() {
                    frames.logarithms[slot * LANES + column] = log_prob;
                }
            }
            Ok(())
        }

        fn write(&mut self, range: Range<usize>, _: &Frames, posteriors: &Meeting) -> Result<(), Error> {
            for (column, t) in range.enumerate() {
                let slots = self.log_probs[t].len();
                self.posteriors[t] = (0..slots).map(|slot| posteriors.row(slot)[column]).collect();
            }
            Ok(())
        }
    }

    /// The probability of all paths as mantissa and exponent, and the posteriors of every frame.
    fn evaluate(log_probs: &[Vec<f64>], labels: &[u32], one_by_one: bool) -> ((f64, f64), Vec<Vec<f64>>) {
        let topology = Topology { merge_repeated: true, delay_penalty: 0.0, stars: Stars::default(), one_by_one };
        let mut trellis = Trellis::default();
        let (slots, frames) = (log_probs[0].len(), log_probs.len());
        if !trellis.set(labels, slots, frames, &topology, Wants::Classes).unwrap() {
            return ((0.0, BOTTOM), vec![]);
        }
        let table = || Table { log_probs, posteriors: vec![vec![]; frames] };
        let mut halves = [table(), table()];
        let watch = Watch::never();
        let found = std::sync::Mutex::new((&mut trellis, &mut halves));
        for_each(
            0..1usize,
            0,
            &watch,
            || Ok(()),
            |_, (), ticker| {
                let mut found = found.lock().unwrap();
                let (trellis, halves) = &mut *found;
                let total = trellis.total(halves, ticker)?;
                if total.is_finite() { trellis.posteriors(halves, ticker) } else { Ok(()) }
            },
        )
        .unwrap();
        let total = trellis.workshops[0].meeting.total;
        let [first, second] = halves;
        let posteriors = first.posteriors.into_iter().zip(second.posteriors);
        (total, posteriors.map(|(first, second)| if first.is_empty() { second } else { first }).collect())
    }

    /// Sharp and flat scores, impossible classes, repeats, targets that do not fit: runs of frames give what one frame at a
    /// time gives. SEQLOSS_FUZZ_CASES asks for more of them.
    #[test]
    fn runs_agree_with_single_frames() {
        let cases = std::env::var("SEQLOSS_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000u64);
        let (mut feasible, mut worst_total, mut worst_posterior) = (0, 0.0f64, 0.0f64);
        for case in 0..cases {
            let mut random = Random(case);
            let frames = 1 + random.below(120);
            let most = [3, 20][random.below(2)];
            let slots = 2 + random.below(most);
            let length = random.below(41.min(frames + 2));
            let labels: Vec<u32> = (0..length).map(|_| 1 + random.below(slots - 1) as u32).collect();
            let scale = [0.0, 1.0, 3.0, 6.0, 20.0, 60.0, 150.0][random.below(7)];
            let impossible = [0.0, 0.0, 0.02, 0.2][random.below(4)];
            let favour = [0.0, 0.0, 30.0, -30.0][random.below(4)];
            let log_probs: Vec<Vec<f64>> = (0..frames)
                .map(|_| {
                    let mut scores: Vec<f64> = (0..slots).map(|_| random.normal() * scale).collect();
                    scores[0] += favour;
                    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let log_sum = most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln();
                    scores
                        .iter()
                        .map(|s| if random.unit() < impossible { f64::NEG_INFINITY } else { s - log_sum })
                        .collect()
                })
                .collect();
            let (total, posteriors) = evaluate(&log_probs, &labels, false);
            let (truth, expected) = evaluate(&log_probs, &labels, true);
            if truth.0 == 0.0 {
                assert_eq!(total.0, 0.0, "case {case}");
                continue;
            }
            feasible += 1;
            worst_total = worst_total.max((total.0 / truth.0 * (total.1 - truth.1).exp2() - 1.0).abs());
            for (row, expected) in posteriors.iter().zip(&expected) {
                for (posterior, expected) in row.iter().zip(expected) {
                    worst_posterior = worst_posterior.max((posterior - expected).abs());
                }
            }
            assert!(worst_total < 1e-13 && worst_posterior < 1e-11, "case {case}: {worst_total} {worst_posterior}");
        }
        assert!(feasible > cases / 3, "{feasible} of {cases} have a path");
    }
}
