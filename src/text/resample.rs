//! Scores of corpora that are drawn from the segments of one, or of two.
//!
//! bootstrap (Efron 1979; Koehn 2004, <https://aclanthology.org/W04-3250/>):
//! s = score(Σᵢ nᵢ rowᵢ) where segment i has been drawn nᵢ times, N draws from N segments with replacement
//!
//! approximate randomisation (Noreen 1989; Riezler and Maxwell 2005, <https://aclanthology.org/W05-0908/>):
//! s = score(Σᵢ (cᵢ aᵢ + (1 − cᵢ) bᵢ)) and score(Σᵢ (cᵢ bᵢ + (1 − cᵢ) aᵢ)) with a coin cᵢ ∈ {0, 1} for every segment
//!
//! Only integers are added, so no order and no number of threads matters: rows where a metric scores their sum, and the
//! scores of rows in fixed point where the score of a corpus is their mean.

use super::{Level, Metric};
use crate::error::Error;
use crate::exact::Exact;
use crate::input::{reserve, zeros};
use crate::parallel::{Ticker, Watch, for_each};

/// So many columns are added at a time.
const LANES: usize = 4;
/// So many segments are added between two ticks, and at least so many are an item of work.
const RUN: usize = 4096;
/// A score in [0, 1] as integers whose weights are 2⁰, 2⁻³², … 2⁻¹²⁸: enough for every ratio of two counts, exactly.
const LIMBS: usize = 5;
const LIMB: f64 = 4_294_967_296.0;

/// The segments of a corpus, as integers that add up.
#[derive(Debug, Clone)]
pub struct Segments {
    count: usize,
    width: usize,
    /// The rows, cut into strips of columns; the last is padded with zeros.
    strips: Vec<Vec<[i64; LANES]>>,
}

impl Segments {
    /// Takes rows that [`super::check`] has seen.
    pub fn new<M: Metric>(metric: &M, rows: &[i64]) -> Result<Self, Error> {
        if metric.adds_up() {
            return Self::of(rows, metric.width());
        }
        let mut limbs = reserve(rows.len() / metric.width() * LIMBS)?;
        for row in rows.chunks(metric.width()) {
            limbs.extend_from_slice(&to_limbs(metric.score(row, Level::Corpus)));
        }
        Self::of(&limbs, LIMBS)
    }

    fn of(rows: &[i64], width: usize) -> Result<Self, Error> {
        let count = rows.len() / width;
        let largest = rows.iter().copied().max().unwrap_or(0);
        if i64::try_from(count).ok().and_then(|count| count.checked_mul(largest)).is_none() {
            let message = format!("rows hold {largest}, of which {count} do not fit into a 64-bit integer");
            return Err(Error::Value(message));
        }
        let strip = |first: usize| {
            let mut strip = zeros::<[i64; LANES]>(count)?;
            for (lanes, row) in strip.iter_mut().zip(rows.chunks(width)) {
                for (lane, &value) in lanes.iter_mut().zip(&row[first..]) {
                    *lane = value;
                }
            }
            Ok(strip)
        };
        Ok(Self { count, width, strips: (0..width).step_by(LANES).map(strip).collect::<Result<_, Error>>()? })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sum of all.
    pub fn sum(&self) -> Vec<i64> {
        let mut sum = vec![0; self.width];
        for (columns, strip) in sum.chunks_mut(LANES).zip(&self.strips) {
            for lanes in strip {
                columns.iter_mut().zip(lanes).for_each(|(column, lane)| *column += lane);
            }
        }
        sum
    }

    /// The sums of resamples, one after another; `indices` are as many for each as there are segments, all in range.
    pub fn bootstrap(&self, indices: &[u32], watch: &Watch<'_>) -> Result<Vec<i64>, Error> {
        let resamples = indices.len() / self.count;
        let mut sums = zeros::<i64>(resamples * self.width)?;
        let run = RUN.div_ceil(self.count);
        let items = sums.chunks_mut(run * self.width).zip(indices.chunks(run * self.count));
        for_each(
            items,
            self.work(resamples),
            watch,
            || Ok(()),
            |(sums, indices), (), ticker| {
                let each = sums.chunks_mut(self.width).zip(indices.chunks(self.count));
                each.into_iter().try_for_each(|(sum, indices)| self.add(indices, sum, ticker))
            },
        )?;
        Ok(sums)
    }

    /// The sums of both systems in each of `trials`; `coins` holds a bit for every segment of every trial, from the lowest
    /// bit of the first word on. Where it is set the first sum has the segment of `self` and the second that of `other`,
    /// which must have as many, of the same metric.
    pub fn swapped(
        &self,
        other: &Self,
        coins: &[u32],
        trials: usize,
        watch: &Watch<'_>,
    ) -> Result<[Vec<i64>; 2], Error> {
        let difference = self.minus(other)?;
        let (mine, others) = (self.sum(), other.sum());
        let mut sums = [zeros::<i64>(trials * self.width)?, zeros::<i64>(trials * self.width)?];
        let [first, second] = &mut sums;
        let items = first.chunks_mut(self.width).zip(second.chunks_mut(self.width)).enumerate();
        let picks = || reserve::<u32>(self.count);
        for_each(items, self.work(trials), watch, picks, |(trial, (first, second)), picks, ticker| {
            picks.clear();
            picks.resize(self.count, 0);
            let mut set = 0;
            for segment in 0..self.count {
                let coin = trial * self.count + segment;
                picks[set] = segment as u32;
                set += (coins[coin / 32] >> (coin % 32) & 1) as usize;
            }
            difference.add(&picks[..set], first, ticker)?;
            for column in 0..self.width {
                second[column] = mine[column] - first[column];
                first[column] += others[column];
            }
            Ok(())
        })?;
        Ok(sums)
    }

    fn work(&self, corpora: usize) -> usize {
        corpora.saturating_mul(self.count).saturating_mul(self.strips.len())
    }

    fn minus(&self, other: &Self) -> Result<Self, Error> {
        let subtract = |(mine, others): (&Vec<[i64; LANES]>, &Vec<[i64; LANES]>)| {
            let mut strip = reserve(self.count)?;
            strip.extend(
                mine.iter().zip(others).map(|(mine, other)| std::array::from_fn(|lane| mine[lane] - other[lane])),
            );
            Ok(strip)
        };
        let strips = self.strips.iter().zip(&other.strips).map(subtract).collect::<Result<_, Error>>()?;
        Ok(Self { count: self.count, width: self.width, strips })
    }

    fn add(&self, indices: &[u32], sum: &mut [i64], ticker: &Ticker<'_>) -> Result<(), Error> {
        for indices in indices.chunks(RUN) {
            for (columns, strip) in sum.chunks_mut(LANES).zip(&self.strips) {
                let mut lanes = [0; LANES];
                for &index in indices {
                    let [a, b, c, d] = strip[index as usize];
                    lanes = [lanes[0] + a, lanes[1] + b, lanes[2] + c, lanes[3] + d];
                }
                columns.iter_mut().zip(lanes).for_each(|(column, lane)| *column += lane);
            }
            ticker.tick(indices.len() * self.strips.len())?;
        }
        Ok(())
    }

    /// The scores of corpora of as many segments, from their sums.
    pub fn scores<M: Metric>(&self, metric: &M, sums: &[i64]) -> Vec<f64> {
        let score = |sum: &[i64]| match metric.adds_up() {
            true => metric.score(sum, Level::Corpus),
            false => from_limbs(sum) / self.count as f64,
        };
        sums.chunks(self.width).map(score).collect()
    }
}

fn to_limbs(score: f64) -> [i64; LIMBS] {
    let mut rest = score;
    std::array::from_fn(|_| {
        let whole = rest.floor();
        rest = (rest - whole) * LIMB;
        whole as i64
    })
}

/// Rounded once. A limb has more bits than a float64, so its halves are added.
fn from_limbs(limbs: &[i64]) -> f64 {
    let mut weight = 1.0;
    let mut sum = Exact::new();
    for limb in limbs {
        sum.add((limb >> 32) as f64 * LIMB * weight);
        sum.add((limb & 0xffff_ffff) as f64 * weight);
        weight /= LIMB;
    }
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::bleu::Bleu;
    use crate::text::rouge::{Measure, Rouge, mean};

    fn bleu() -> Bleu {
        Bleu::new(1, "exp", None, "13a", false).unwrap()
    }

    const ROWS: [i64; 12] = [5, 6, 3, 5, 4, 4, 2, 4, 1, 9, 1, 1];

    #[test]
    fn resamples_are_sums_of_their_rows() {
        let segments = Segments::new(&bleu(), &ROWS).unwrap();
        assert_eq!(segments.sum(), [10, 19, 6, 10]);
        let sums = segments.bootstrap(&[2, 2, 0, 1, 1, 1], &Watch::never()).unwrap();
        assert_eq!(sums, [7, 24, 5, 7, 12, 12, 6, 12]);
        assert_eq!(segments.scores(&bleu(), &sums)[1], 0.5);
    }

    #[test]
    fn coins_swap_segments() {
        let segments = Segments::new(&bleu(), &ROWS).unwrap();
        let other = Segments::new(&bleu(), &[1; 12]).unwrap();
        // The segments of the first trial are bits 0, 1 and 2, those of the second 3, 4 and 5.
        let [first, second] = segments.swapped(&other, &[0b001_110], 2, &Watch::never()).unwrap();
        assert_eq!(first, [6, 14, 4, 6, 7, 8, 5, 7]);
        assert_eq!(second, [7, 8, 5, 7, 6, 14, 4, 6]);
    }

    #[test]
    fn means_are_rounded_once() {
        let rouge = Rouge::new("rougeL", "f", false).unwrap();
        let rows = [1, 3, 7, 2, 3, 3, 0, 0, 5, 1, 1 << 62, 1 << 62, 5, 5, 5];
        let segments = Segments::new(&rouge, &rows).unwrap();
        let all = segments.bootstrap(&[0, 1, 2, 3, 4], &Watch::never()).unwrap();
        assert_eq!(segments.scores(&rouge, &all), [mean(Measure::F, &rows, 3)]);
        let tiny = segments.bootstrap(&[3; 5], &Watch::never()).unwrap();
        assert_eq!(segments.scores(&rouge, &tiny), [0.5f64.powi(62)]);
        let third: f64 = 1.0 / 3.0;
        assert_eq!(from_limbs(&to_limbs(third)), third);
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        let message = Segments::new(&bleu(), &[i64::MAX, 1, 1, 1, 0, 0, 0, 0]).unwrap_err().to_string();
        assert_eq!(message, format!("rows hold {}, of which 2 do not fit into a 64-bit integer", i64::MAX));
    }
}
