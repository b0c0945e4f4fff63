//! Expected matches of n-grams, where the tokens of a hypothesis are independent: position t has token v with probability
//! P(t, v).
//!
//! An n-gram g of the references occurs X(g) times, and its clipped matches are min(X, c), where c is the most that one
//! reference has. M(j) = Πₖ P(j + k, gₖ) is the probability that it stands at window j, and S = Σⱼ M(j).
//!
//! | estimate | matches of g | |
//! |---|---|---|
//! | exact | E min(X, c) | see below |
//! | bag of n-grams | min(S, c) | never less, by Jensen's inequality (Shao et al., 2020, <https://arxiv.org/abs/1911.09320>) |
//! | Zhukov and Kretov | Σⱼ M(j) min(1, c / (1 + S − M(j))) | no bound in general (2017, <https://arxiv.org/abs/1709.05041>) |
//!
//! A loss ℓ of the matches m(g) has ∂ℓ/∂P(t, v) = Σ ∂ℓ/∂m(g) ∂m(g)/∂M(j) M(j) / P(t, v) over all g and j with v = g at t, where
//! the product of the other factors takes the place of the quotient.
//!
//! # The exact expectation
//!
//! An n-gram that does not overlap itself (no proper beginning of it is its end, as of all that are one token) needs
//! no more than M: with v(t, k) the matches that are still to come from position t on, after k of them,
//!
//! v(t, k) = v(t + 1, k) + M(t) (1 + v(t + n, k + 1) − v(t + n, k))        v(t, c) = v(t, k) = 0 for t > T − n
//!
//! E = v(0, 0), and with q(t, k) the probability of k occurrences within the first t positions
//!
//! ∂E/∂M(j) = Σₖ q(j, k) (1 + v(j + n, k + 1) − v(j + n, k))        q(t, k) = q(t − 1, k) + M(t − n) (q(t − n, k − 1) − q(t − n, k))
//!
//! For c = 1, which most n-grams have, q and v take five operations for each position, and with products and slopes it is 14
//! (T = R = 50 and n = 4: 132,000 a sentence). An n-gram that overlaps itself follows the automaton of Knuth, Morris and
//! Pratt times the counter: n c states at each position.
//!
//! What no reference has is one other token, of probability 1 − Σ P(t, v): its probability is never read, and a slope says
//! what it changes that v takes probability from it.
//!
//! # Order of the work
//!
//! The n-grams of the references are a tree, whose node at depth n is an n-gram: each M is that of its parent times one
//! column of P, and slopes come back the same way.

use crate::error::Error;
use crate::input::{make_room, resize};
use crate::parallel::Ticker;

/// How matches are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimate {
    /// Their expectation.
    Exact,
    /// The clipped expectation of the count.
    BagOfNgrams,
    /// Each by the expectation of the others.
    ZhukovKretov,
}

impl Estimate {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["exact", "bag_of_ngrams", "zhukov_kretov"];
    /// In the order of the names.
    pub const ALL: [Self; 3] = [Self::Exact, Self::BagOfNgrams, Self::ZhukovKretov];
}

/// P of the tokens of the references, a column for each of them, and slopes with respect to it.
#[derive(Default)]
pub struct Columns {
    /// T
    pub steps: usize,
    /// Columns one after another.
    pub probabilities: Vec<f64>,
    /// ∂/∂P, in the same order.
    pub slopes: Vec<f64>,
}

impl Columns {
    /// Makes room for `columns` columns; slopes are 0.
    pub fn set(&mut self, steps: usize, columns: usize) -> Result<(), Error> {
        self.steps = steps;
        let count = steps.checked_mul(columns).ok_or(Error::Memory(usize::MAX))?;
        resize(&mut self.probabilities, count, 0.0)?;
        resize(&mut self.slopes, count, 0.0)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.probabilities.len().checked_div(self.steps).unwrap_or(0)
    }

    /// P of one token at every position.
    pub fn of(&self, column: usize) -> &[f64] {
        &self.probabilities[column * self.steps..][..self.steps]
    }

    /// Takes slopes with respect to products, which are those `before` times a column from position `first` on, back to both.
    fn back(&mut self, column: usize, first: usize, slopes: &[f64], products: &[f64], before: &mut [f64]) {
        let start = column * self.steps + first;
        let probabilities = &self.probabilities[start..][..slopes.len()];
        let out = &mut self.slopes[start..][..slopes.len()];
        let numbers = slopes.iter().zip(products).zip(probabilities);
        for ((out, before), ((slope, product), p)) in out.iter_mut().zip(before).zip(numbers) {
            *out += slope * product;
            *before += slope * p;
        }
    }

    pub(super) fn slopes_of(&mut self, column: usize) -> &mut [f64] {
        &mut self.slopes[column * self.steps..][..self.steps]
    }
}

/// No node.
const NONE: u32 = u32::MAX;

/// An n-gram; the one without its last token is its parent.
#[derive(Clone, Copy)]
struct Node {
    /// The column of its last token.
    column: u32,
    child: u32,
    sibling: u32,
    /// c
    clip: u32,
    /// How often it occurs in the reference that is being read, and which one that is.
    count: u32,
    reference: u32,
}

/// The n-grams of references, and the working memory of what is counted.
#[derive(Default)]
pub struct Ngrams {
    nodes: Vec<Node>,
    /// The n-grams of one token, by their column.
    roots: Vec<u32>,
    /// Rows of numbers for each depth of the tree: products of probabilities, ...
    products: Vec<f64>,
    /// ... and slopes with respect to them.
    adjoints: Vec<f64>,
    /// The columns from the root to a node, ...
    path: Vec<usize>,
    /// ... and for each of its beginnings the longest proper beginning of that that is also its end.
    borders: Vec<usize>,
    /// Slopes of every node with respect to its products, ...
    kept: Vec<f64>,
    /// ... if there are: what is left of other references is written over.
    has_kept: bool,
    chain: Chain,
    automaton: Automaton,
}

/// Slopes of as many numbers are kept from the first count to the second; those of more are computed again.
const MOST_KEPT: usize = 1 << 18;

/// What is asked for beside matches.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// Nothing.
    Matches,
    /// Nothing yet; slopes will be asked for when the matches are known.
    SlopesLater,
    /// Slopes, with what the matches of each order, from 1 on, are multiplied by in them.
    Slopes(&'a [f64]),
}

impl Ngrams {
    /// Reads references, whose tokens are columns below `columns`. N-grams are at most `longest` long.
    pub fn set<'a>(
        &mut self,
        references: impl Iterator<Item = &'a [u32]>,
        columns: usize,
        longest: usize,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.nodes.clear();
        self.has_kept = false;
        resize(&mut self.roots, columns, NONE)?;
        for (number, reference) in references.enumerate() {
            for start in 0..reference.len() {
                ticker.tick(4 * longest)?;
                let mut parent = NONE;
                for &column in &reference[start..reference.len().min(start + longest)] {
                    parent = self.step(parent, column, ticker)?;
                    let node = &mut self.nodes[parent as usize];
                    if node.reference != number as u32 {
                        (node.reference, node.count) = (number as u32, 0);
                    }
                    node.count += 1;
                    node.clip = node.clip.max(node.count);
                }
            }
        }
        Ok(())
    }

    /// The child of a node, or the root, that has this column.
    fn step(&mut self, parent: u32, column: u32, ticker: &Ticker<'_>) -> Result<u32, Error> {
        let first = match parent {
            NONE => self.roots[column as usize],
            parent => self.nodes[parent as usize].child,
        };
        let (mut node, mut looks) = (first, 0);
        while node != NONE && self.nodes[node as usize].column != column {
            node = self.nodes[node as usize].sibling;
            looks += 1;
        }
        ticker.tick(looks)?;
        if node != NONE {
            return Ok(node);
        }
        make_room(&mut self.nodes, 1)?;
        let own = self.nodes.len() as u32;
        self.nodes.push(Node { column, child: NONE, sibling: first, clip: 0, count: 0, reference: NONE });
        match parent {
            NONE => self.roots[column as usize] = own,
            parent => self.nodes[parent as usize].child = own,
        }
        Ok(own)
    }

    /// Writes the matches of each order, from 1 on, of which those from `least` on count, and adds to the slopes if they are
    /// asked for.
    pub fn count(
        &mut self,
        columns: &mut Columns,
        (estimate, least): (Estimate, usize),
        wanted: Wanted<'_>,
        matches: &mut [f64],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        matches.fill(0.0);
        let rows = (matches.len() + 1) * columns.steps;
        resize(&mut self.products, rows, 1.0)?;
        resize(&mut self.adjoints, if let Wanted::Slopes(_) = wanted { rows } else { columns.steps }, 0.0)?;
        let all = self.nodes.len().saturating_mul(columns.steps);
        if matches!(wanted, Wanted::SlopesLater) && all <= MOST_KEPT {
            first(&mut self.kept, all, 0, 0.0)?;
            self.has_kept = true;
        }
        self.path.clear();
        self.borders.clear();
        self.borders.push(0);
        let mut walk = Walk { columns, estimate, least, wanted, matches, ticker };
        for root in 0..self.roots.len() {
            if self.roots[root] != NONE {
                self.visit(self.roots[root] as usize, &mut walk)?;
            }
        }
        Ok(())
    }

    /// Counts an n-gram, and those that begin with it.
    fn visit(&mut self, node: usize, walk: &mut Walk<'_>) -> Result<(), Error> {
        let (depth, steps) = (self.path.len(), walk.columns.steps);
        let order = depth + 1;
        if order > steps || order > walk.matches.len() {
            return Ok(());
        }
        let (column, windows) = (self.nodes[node].column as usize, steps - depth);
        walk.ticker.tick(4 * windows)?;
        self.extend(column);
        let (before, own) = self.products[depth * steps..].split_at_mut(steps);
        for ((own, before), p) in own.iter_mut().zip(&*before).zip(&walk.columns.of(column)[depth..]) {
            *own = before * p;
        }
        if order >= walk.least {
            self.count_node(node, walk)?;
        } else if let Wanted::Slopes(_) = walk.wanted {
            self.adjoints[order * steps..][..windows].fill(0.0);
        }
        let mut next = self.nodes[node].child;
        while next != NONE {
            self.visit(next as usize, walk)?;
            next = self.nodes[next as usize].sibling;
        }
        if let Wanted::Slopes(_) = walk.wanted {
            let products = &self.products[depth * steps..][..windows];
            let (before, own) = self.adjoints[depth * steps..].split_at_mut(steps);
            walk.columns.back(column, depth, &own[..windows], products, &mut before[..windows]);
        }
        self.path.pop();
        self.borders.pop();
        Ok(())
    }

    /// Adds the matches of the n-gram at the end of the path, and begins its slopes.
    fn count_node(&mut self, node: usize, walk: &mut Walk<'_>) -> Result<(), Error> {
        let (order, steps) = (self.path.len(), walk.columns.steps);
        let (windows, depth) = (steps + 1 - order, order - 1);
        let clip = self.nodes[node].clip as usize;
        let overlaps = self.borders[order] > 0;
        let most = if overlaps { windows } else { steps / order };
        let is_unclipped = walk.estimate == Estimate::Exact && clip >= most;
        let by_automaton = walk.estimate == Estimate::Exact && overlaps && !is_unclipped;
        let products = &self.products[order * steps..][..windows];
        let has_kept = self.has_kept && !by_automaton;
        let slopes = match walk.wanted {
            Wanted::SlopesLater if has_kept => &mut self.kept[node * steps..][..windows],
            Wanted::Slopes(coefficients) if has_kept => {
                let slopes = self.adjoints[order * steps..].iter_mut().zip(&self.kept[node * steps..][..windows]);
                slopes.for_each(|(slope, kept)| *slope = coefficients[depth] * kept);
                return Ok(());
            }
            Wanted::Matches | Wanted::SlopesLater => &mut [][..],
            Wanted::Slopes(_) => &mut self.adjoints[order * steps..][..windows],
        };
        let coefficient = if let Wanted::Slopes(coefficients) = walk.wanted { Some(coefficients[depth]) } else { None };
        if by_automaton {
            slopes.fill(0.0);
            self.automaton.set(&self.path, &self.borders);
            walk.matches[depth] += self.automaton.count(walk.columns, clip, coefficient, walk.ticker)?;
            return Ok(());
        }
        walk.matches[depth] += match walk.estimate {
            Estimate::Exact if is_unclipped => unclipped(products, slopes),
            Estimate::Exact => self.chain.count(products, order, clip, slopes, walk.ticker)?,
            Estimate::BagOfNgrams => bag_of_ngrams(products, clip as f64, slopes),
            Estimate::ZhukovKretov => zhukov_kretov(products, clip as f64, slopes),
        };
        if let Some(coefficient) = coefficient {
            for slope in slopes {
                *slope *= coefficient;
            }
        }
        Ok(())
    }

    /// Appends a token to the path, and the border of what it is then.
    fn extend(&mut self, column: usize) {
        let mut border = self.borders[self.path.len()];
        if !self.path.is_empty() {
            while border > 0 && self.path[border] != column {
                border = self.borders[border];
            }
            border += usize::from(self.path[border] == column);
        }
        self.path.push(column);
        self.borders.push(border);
    }
}

/// What does not change from node to node.
struct Walk<'a> {
    columns: &'a mut Columns,
    estimate: Estimate,
    least: usize,
    wanted: Wanted<'a>,
    matches: &'a mut [f64],
    ticker: &'a Ticker<'a>,
}

/// Σ M, which is the expectation where there cannot be more occurrences than count.
fn unclipped(products: &[f64], slopes: &mut [f64]) -> f64 {
    slopes.fill(1.0);
    products.iter().sum()
}

fn bag_of_ngrams(products: &[f64], clip: f64, slopes: &mut [f64]) -> f64 {
    let sum: f64 = products.iter().sum();
    let is_clipped = sum >= clip;
    slopes.fill(if is_clipped { 0.0 } else { 1.0 });
    if is_clipped { clip } else { sum }
}

/// ∂/∂M(j) = min(1, c / D(j)) − c Σ M(i) / D(i)² over the other windows i where D(i) > c, with D(i) = 1 + S − M(i).
fn zhukov_kretov(products: &[f64], clip: f64, slopes: &mut [f64]) -> f64 {
    let sum: f64 = products.iter().sum();
    let others = |product: f64| {
        let others = 1.0 + (sum - product);
        if others > clip { (clip / others, product / (others * others)) } else { (1.0, 0.0) }
    };
    let (mut matches, mut all) = (0.0, 0.0);
    for &product in products {
        let (share, slope) = others(product);
        matches += product * share;
        all += slope;
    }
    for (out, &product) in slopes.iter_mut().zip(products) {
        let (share, own) = others(product);
        *out = share - clip * (all - own);
    }
    matches
}

/// The exact expectation of n-grams that do not overlap themselves.
#[derive(Default)]
struct Chain {
    /// v(·, k), T + 1 numbers for each k; for the value alone the last two only.
    to_come: Vec<f64>,
    /// q(·, k − 1) and q(·, k).
    before: Vec<f64>,
}

impl Chain {
    /// The expectation, and its slopes with respect to M if there is room for them.
    fn count(
        &mut self,
        products: &[f64],
        order: usize,
        clip: usize,
        slopes: &mut [f64],
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let windows = products.len();
        if clip == 1 {
            return self.once(products, order, slopes);
        }
        // v(t, k) for t up to T; it is 0 from T − n + 1 on.
        let length = windows + order;
        let kept = if slopes.is_empty() { 2 } else { clip + 1 };
        resize(&mut self.to_come, kept.checked_mul(length).ok_or(Error::Memory(usize::MAX))?, 0.0)?;
        for k in (0..clip).rev() {
            ticker.tick(4 * windows)?;
            let (own, next) = (k % kept, (k + 1) % kept);
            let [own, next] = self
                .to_come
                .get_disjoint_mut([own * length..(own + 1) * length, next * length..(next + 1) * length])
                .expect("two of at least two");
            let mut value = 0.0;
            for t in (0..windows).rev() {
                value += products[t] * (1.0 + (next[t + order] - own[t + order]));
                own[t] = value;
            }
        }
        let expected = self.to_come[0];
        if slopes.is_empty() {
            return Ok(expected);
        }
        slopes.fill(0.0);
        resize(&mut self.before, 2 * length, 0.0)?;
        let (mut fewer, mut own) = self.before.split_at_mut(length);
        for k in 0..clip {
            ticker.tick(4 * windows)?;
            let to_come = &self.to_come[k * length..][..2 * length];
            let (same, more) = to_come.split_at(length);
            let start = if k == 0 { 1.0 } else { 0.0 };
            own[..order.min(windows)].fill(start);
            let mut value = start;
            for t in order..windows {
                value += products[t - order] * (fewer[t - order] - own[t - order]);
                own[t] = value;
            }
            let gains = more[order..].iter().zip(&same[order..]);
            for ((slope, own), (more, same)) in slopes.iter_mut().zip(&*own).zip(gains) {
                *slope += own * (1.0 + (more - same));
            }
            std::mem::swap(&mut fewer, &mut own);
        }
        Ok(expected)
    }

    /// The same for c = 1: v(t) is the probability that the n-gram occurs from t on, 1 − v that it does not.
    fn once(&mut self, products: &[f64], order: usize, slopes: &mut [f64]) -> Result<f64, Error> {
        let windows = products.len();
        let length = windows + order;
        // v backwards, with n zeros before it, so that each number comes of the one n places before it.
        let to_come = first(&mut self.to_come, length, order, 0.0)?;
        let mut value = 0.0;
        if slopes.is_empty() {
            for t in 0..windows {
                value += products[windows - 1 - t] * (1.0 - to_come[t]);
                to_come[t + order] = value;
            }
            return Ok(value);
        }
        let before = first(&mut self.before, length, order, 1.0)?;
        value = match order {
            1 => both::<1>(products, to_come, before),
            2 => both::<2>(products, to_come, before),
            3 => both::<3>(products, to_come, before),
            4 => both::<4>(products, to_come, before),
            _ => both_of(order, 0, (0.0, 1.0), products, to_come, before),
        };
        for ((slope, before), next) in slopes.iter_mut().zip(before).zip(to_come[..windows].iter().rev()) {
            *slope = *before * (1.0 - next);
        }
        Ok(value)
    }
}

/// v backwards and 1 − v forwards, from place N on, behind N numbers of each that stand there; returns the last v.
///
/// Two chains of additions, which do not wait for one another, and whose numbers of N places before stay in registers: from
/// memory each came some ten cycles after it was written.
fn both<const N: usize>(products: &[f64], to_come: &mut [f64], before: &mut [f64]) -> f64 {
    let (mut value, mut none) = (0.0, 1.0);
    let (mut values, mut nones) = ([0.0; N], [1.0; N]);
    let outs = to_come[N..].chunks_exact_mut(N).zip(before[N..].chunks_exact_mut(N));
    for ((products, last), (to_come, before)) in products.chunks_exact(N).zip(products.rchunks_exact(N)).zip(outs) {
        for k in 0..N {
            value += last[N - 1 - k] * (1.0 - values[k]);
            (values[k], to_come[k]) = (value, value);
            none -= products[k] * nones[k];
            (nones[k], before[k]) = (none, none);
        }
    }
    both_of(N, products.len() / N * N, (value, none), products, to_come, before)
}

/// The same of any n, from place `start` on.
fn both_of(
    order: usize,
    start: usize,
    (mut value, mut none): (f64, f64),
    products: &[f64],
    to_come: &mut [f64],
    before: &mut [f64],
) -> f64 {
    let windows = products.len();
    for t in start..windows {
        value += products[windows - 1 - t] * (1.0 - to_come[t]);
        to_come[t + order] = value;
        none -= products[t] * before[t];
        before[t + order] = none;
    }
    value
}

/// So many numbers, the first `count` of them `value` and the others anything.
fn first(numbers: &mut Vec<f64>, length: usize, count: usize, value: f64) -> Result<&mut [f64], Error> {
    if numbers.len() < length {
        resize(numbers, length, 0.0)?;
    }
    numbers[..count].fill(value);
    Ok(&mut numbers[..length])
}

/// The exact expectation of any n-gram: states (how much of it stands at the end, how many were counted).
///
/// From a state s of the automaton every token leads where it leads from its border b(s), but for gₛ: so
///
/// v(t, s) = v(t, b(s)) + P(t, gₛ) (v(t + 1, s + 1) − v(t + 1, δ(b(s), gₛ)))        v(t, 0) = v(t + 1, 0) + P(t, g₀) (v(t + 1, 1) − v(t + 1, 0))
///
/// where s + 1 = n counts one more, and goes on at the border of the whole.
#[derive(Default)]
struct Automaton {
    states: Vec<State>,
    /// v(t, s, k), with k from 0 to c, that of k = c being 0.
    to_come: Vec<f64>,
    /// ∂E/∂v(t, s, k) at one position, and at the next.
    here: Vec<f64>,
    next: Vec<f64>,
}

/// A state s.
#[derive(Clone, Copy)]
struct State {
    /// The column of gₛ.
    column: usize,
    /// b(s)
    border: usize,
    /// Where gₛ leads, ...
    onward: usize,
    /// ... where it leads from the border, ...
    back: usize,
    /// ... and whether it completes the n-gram.
    is_last: bool,
}

impl Automaton {
    fn set(&mut self, ngram: &[usize], borders: &[usize]) {
        let order = ngram.len();
        self.states.clear();
        self.states.extend((0..order).map(|state| {
            let mut back = borders[state];
            while back > 0 && ngram[back] != ngram[state] {
                back = borders[back];
            }
            let is_match = state > 0 && ngram[back] == ngram[state];
            let is_last = state + 1 == order;
            State {
                column: ngram[state],
                border: borders[state],
                onward: if is_last { borders[order] } else { state + 1 },
                back: back + usize::from(is_match),
                is_last,
            }
        }));
    }

    /// The expectation; slopes times a coefficient are added to the columns if there is one.
    fn count(
        &mut self,
        columns: &mut Columns,
        clip: usize,
        coefficient: Option<f64>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let Self { states, to_come, here, next } = self;
        let steps = columns.steps;
        let counts = clip + 1;
        let size = states.len() * counts;
        // All positions are kept for the way back, else two of them.
        let kept = if coefficient.is_some() { steps + 1 } else { 2 };
        resize(to_come, kept.checked_mul(size).ok_or(Error::Memory(usize::MAX))?, 0.0)?;
        let place = |t: usize| (t % kept) * size;
        for t in (0..steps).rev() {
            ticker.tick(4 * size)?;
            let [own, after] = to_come
                .get_disjoint_mut([place(t)..place(t) + size, place(t + 1)..place(t + 1) + size])
                .expect("two of at least two");
            for (index, state) in states.iter().enumerate() {
                let p = columns.of(state.column)[t];
                let (hit, onward, back) = state.ways(counts);
                let (lower, own) = own.split_at_mut(index * counts);
                let border = if index == 0 { &after[..clip] } else { &lower[state.border * counts..][..clip] };
                let ways = after[onward..][..clip].iter().zip(&after[back..][..clip]);
                for ((own, border), (onward, back)) in own[..clip].iter_mut().zip(border).zip(ways) {
                    *own = border + p * (hit + (onward - back));
                }
            }
        }
        let expected = to_come[0];
        let Some(coefficient) = coefficient else { return Ok(expected) };
        resize(here, size, 0.0)?;
        here[0] = coefficient;
        for t in 0..steps {
            ticker.tick(8 * size)?;
            let after = &to_come[place(t + 1)..][..size];
            resize(next, size, 0.0)?;
            for (index, state) in states.iter().enumerate().rev() {
                let p = columns.of(state.column)[t];
                let (hit, onward, back) = state.ways(counts);
                let mut slope = 0.0;
                for k in 0..clip {
                    let own = here[index * counts + k];
                    slope += own * (hit + (after[onward + k] - after[back + k]));
                    next[onward + k] += own * p;
                    next[back + k] -= own * p;
                    if index > 0 {
                        here[state.border * counts + k] += own;
                    } else {
                        next[k] += own;
                    }
                }
                columns.slopes_of(state.column)[t] += slope;
            }
            std::mem::swap(here, next);
        }
        Ok(expected)
    }
}

impl State {
    /// What is counted onward, and where the numbers of either way begin.
    fn ways(&self, counts: usize) -> (f64, usize, usize) {
        let (hit, more) = if self.is_last { (1.0, 1) } else { (0.0, 0) };
        (hit, self.onward * counts + more, self.back * counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ticking;

    const STEPS: usize = 6;

    /// P of two tokens, which leave something to others.
    fn columns() -> Columns {
        let mut columns = Columns::default();
        columns.set(STEPS, 2).unwrap();
        columns.probabilities.copy_from_slice(&[0.5, 0.25, 0.75, 0.125, 0.5, 0.4, 0.25, 0.5, 0.125, 0.75, 0.5, 0.3]);
        columns
    }

    fn occurrences(text: &[u32], ngram: &[u32]) -> usize {
        text.windows(ngram.len()).filter(|window| *window == ngram).count()
    }

    /// Σ over the n-grams of an order of min(X, c), of one hypothesis.
    fn matches_of(text: &[u32], references: &[&[u32]], order: usize) -> f64 {
        let mut seen: Vec<&[u32]> = references.iter().flat_map(|reference| reference.windows(order)).collect();
        seen.sort_unstable();
        seen.dedup();
        let clip = |ngram| references.iter().map(|reference| occurrences(reference, ngram)).max().unwrap_or(0);
        seen.iter().map(|ngram| occurrences(text, ngram).min(clip(ngram))).sum::<usize>() as f64
    }

    /// The expectation, and ∂/∂P less that of the other token, by the sum over 3ᵀ hypotheses.
    fn enumerated(columns: &Columns, references: &[&[u32]], order: usize) -> (f64, Vec<f64>) {
        let p = |t: usize, token: u32| match token {
            2 => 1.0 - columns.of(0)[t] - columns.of(1)[t],
            token => columns.of(token as usize)[t],
        };
        let (mut total, mut slopes) = (0.0, vec![0.0; 2 * STEPS]);
        for code in 0..3usize.pow(STEPS as u32) {
            let text: Vec<u32> = (0..STEPS).map(|t| (code / 3usize.pow(t as u32) % 3) as u32).collect();
            let worth = matches_of(&text, references, order);
            total += worth * (0..STEPS).map(|t| p(t, text[t])).product::<f64>();
            for t in 0..STEPS {
                let others: f64 = (0..STEPS).filter(|&other| other != t).map(|other| p(other, text[other])).product();
                match text[t] {
                    2 => (0..2).for_each(|column| slopes[column * STEPS + t] -= worth * others),
                    token => slopes[token as usize * STEPS + t] += worth * others,
                }
            }
        }
        (total, slopes)
    }

    #[test]
    fn matches_and_slopes_are_those_of_all_hypotheses() {
        let all: [&[&[u32]]; 5] =
            [&[&[0, 1, 0, 0, 1]], &[&[0, 0, 0]], &[&[1, 0], &[1, 0, 1, 0, 1]], &[&[0, 1, 1, 0, 1, 1, 0]], &[&[]]];
        for references in all {
            for order in 1..=4 {
                let mut columns = columns();
                let (expected, slopes) = enumerated(&columns, references, order);
                let mut ngrams = Ngrams::default();
                let (mut matches, mut value) = (vec![0.0; order], vec![0.0; order]);
                let mut coefficients = vec![0.0; order];
                coefficients[order - 1] = 2.0;
                ticking(|ticker| {
                    ngrams.set(references.iter().copied(), 2, order, ticker).unwrap();
                    let exact = (Estimate::Exact, order);
                    ngrams.count(&mut columns, exact, Wanted::Matches, &mut value, ticker).unwrap();
                    ngrams.count(&mut columns, exact, Wanted::Slopes(&coefficients), &mut matches, ticker).unwrap();
                    let found = matches[order - 1];
                    assert!((found - expected).abs() < 1e-13, "{references:?} {order}: {found} {expected}");
                    assert_eq!(matches, value);
                    // The slopes of a second count, from what the first one has kept, are the same.
                    let found = columns.slopes.clone();
                    columns.slopes.fill(0.0);
                    ngrams.count(&mut columns, exact, Wanted::SlopesLater, &mut value, ticker).unwrap();
                    ngrams.count(&mut columns, exact, Wanted::Slopes(&coefficients), &mut matches, ticker).unwrap();
                    assert_eq!(columns.slopes, found);
                });
                for (found, expected) in columns.slopes.iter().zip(slopes) {
                    assert!((found - 2.0 * expected).abs() < 1e-13, "{references:?} {order}: {found} {expected}");
                }
            }
        }
    }
}
