//! The losses against their definitions, written here as the formulas say and never made fast.

use seqloss_rs::float::{Element, Float};
use seqloss_rs::input::{
    AnyView, Argument, Axes, Integers, Labels, PerStep, Sequences, Structure, View, floats_per_step, integers_per_step,
    mask_per_step, rows_like,
};
use seqloss_rs::loss::{Loss, Outputs, Stretch, Upstream, evaluate};
use seqloss_rs::losses::Scores;
use seqloss_rs::losses::advantages::Baseline;
use seqloss_rs::losses::cross_entropy::{CrossEntropy, Options, Targets};
use seqloss_rs::losses::ctc::{Ctc, Options as CtcOptions};
use seqloss_rs::losses::curves::{Absolute, Squared};
use seqloss_rs::losses::logits::Transform;
use seqloss_rs::losses::pointwise::{Direct, Factors, Kernel, PerNumber, Pointwise};
use seqloss_rs::losses::policy_gradient::Actions;
use seqloss_rs::losses::reinforce::{Worth, reinforce};
use seqloss_rs::parallel::{Watch, set_threads, watched};
use seqloss_rs::reduction::{NUMERIC, Reduced, Reducer};

/// Knuth's linear congruential generator, for cases that are the same everywhere.
struct Random(u64);

impl Random {
    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    /// Numbers between −`scale` and `scale`.
    fn numbers(&mut self, count: usize, scale: f64) -> Vec<f64> {
        (0..count).map(|_| (2.0 * self.unit() - 1.0) * scale).collect()
    }

    fn classes(&mut self, count: usize, classes: usize) -> Vec<i64> {
        (0..count).map(|_| self.below(classes) as i64).collect()
    }
}

/// The losses of all sequences, and the gradient of their sum; both as float64.
fn value_and_gradient<E: Element>(loss: &dyn Loss<E>) -> (Vec<f64>, Vec<f64>) {
    let reducer = Reducer::new("sequence", NUMERIC, None).unwrap();
    let sequences = loss.sequences();
    let size = sequences.structure.steps.first().copied().unwrap_or(0) * sequences.width;
    let mut gradient = vec![E::default(); size * sequences.len()];
    let stretches = match size {
        0 => (0..sequences.len()).map(|_| Stretch::Contiguous(&mut [][..])).collect(),
        _ => gradient.chunks_mut(size).map(Stretch::Contiguous).collect(),
    };
    let outputs = Outputs { values: None, gradient: Some((stretches, Upstream::One(1.0))) };
    let with_gradient = evaluate(loss, &reducer, outputs, &Watch::never()).unwrap();
    let alone = evaluate(loss, &reducer, Outputs { values: None, gradient: None }, &Watch::never()).unwrap();
    let (Reduced::Sequences(values), Reduced::Sequences(alone)) = (with_gradient, alone) else {
        panic!("one value for each sequence was asked for")
    };
    for (value, alone) in values.iter().zip(&alone) {
        assert!(is_close(*value, *alone, 1e-14), "{value} with the gradient, {alone} without");
    }
    let view = |number: &E| -> f64 {
        let mut scratch = [<E as Element>::Float::default()];
        E::view(std::slice::from_ref(number), &mut scratch)[0].to_f64()
    };
    (values, gradient.iter().map(view).collect())
}

/// Equal up to `tolerance` of the number, or of 1 where it is smaller.
fn is_close(actual: f64, expected: f64, tolerance: f64) -> bool {
    actual == expected || (actual - expected).abs() <= tolerance * expected.abs().max(1.0)
}

fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64, case: &str) {
    assert_eq!(actual.len(), expected.len(), "{case}");
    for (i, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        assert!(is_close(actual, expected, tolerance), "{case}: number {i} is {actual}, expected {expected}");
    }
}

/// The gradient by central differences of fourth order. What is −∞ stays there, where the slope is 0.
fn differences(x: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-3;
    let mut moved = x.to_vec();
    let mut slopes = vec![0.0; x.len()];
    if value(x).is_infinite() {
        return slopes;
    }
    for i in (0..x.len()).filter(|&i| x[i].is_finite()) {
        let mut at = |steps: f64| {
            moved[i] = x[i] + steps * step;
            value(&moved)
        };
        slopes[i] = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
        moved[i] = x[i];
    }
    slopes
}

/// ln Σ exp(x)
fn log_sum_exp(x: impl IntoIterator<Item = f64> + Clone) -> f64 {
    let most = x.clone().into_iter().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + x.into_iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

fn sequences<'a, E: Element>(x: &'a [E], shape: &[usize], axes: Axes) -> Sequences<'a, E> {
    Sequences::new("x", &Argument::Array(View::contiguous(x, shape.to_vec()).unwrap()), axes, false).unwrap()
}

fn floats<'a>(values: &'a [f64], shape: &[usize]) -> Argument<AnyView<'a>> {
    Argument::Array(AnyView::F64(View::contiguous(values, shape.to_vec()).unwrap()))
}

fn integers(values: &[i64], shape: &[usize]) -> Argument<Integers> {
    Argument::Array(Integers { values: values.to_vec(), shape: shape.to_vec() })
}

fn mask_bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| u8::from(random.unit() < 0.8)).collect()
}

// Connectionist temporal classification.

fn ctc<'a, E: Element>(x: &'a [E], frames: usize, classes: usize, targets: &[Vec<i64>], blank: usize) -> Ctc<'a, E> {
    let logits = sequences(x, &[targets.len(), frames, classes], Axes::StepsOfRows);
    let labels = |labels: &Vec<i64>| Integers { values: labels.clone(), shape: vec![labels.len()] };
    let targets = Argument::List(targets.iter().map(labels).collect());
    let labels = Labels::new(&targets, None, &logits.structure, classes, blank).unwrap();
    Ctc::new(logits, labels, blank, Scores::Logits, CtcOptions::default()).unwrap()
}

/// −ln of the summed probability of every path, of all Cᵀ, that gives the target.
fn ctc_of_all_paths(x: &[f64], frames: usize, classes: usize, target: &[i64], blank: usize) -> f64 {
    let normal: Vec<f64> = x.chunks(classes).map(|row| log_sum_exp(row.iter().copied())).collect();
    let mut fitting = vec![];
    for number in 0..classes.pow(frames as u32) {
        let path: Vec<usize> = (0..frames).map(|t| number / classes.pow(t as u32) % classes).collect();
        let mut merged = path.clone();
        merged.dedup();
        merged.retain(|&class| class != blank);
        if merged.iter().map(|&class| class as i64).eq(target.iter().copied()) {
            fitting.push((0..frames).map(|t| x[t * classes + path[t]] - normal[t]).sum::<f64>());
        }
    }
    // Without a path the sum is empty and the loss +∞; 0 is the only loss that must not come out as −0.
    0.0 - log_sum_exp(fitting)
}

/// A target of that length whose labels are often repeated.
fn labels(random: &mut Random, length: usize, classes: usize, blank: usize) -> Vec<i64> {
    let mut target: Vec<i64> = vec![];
    for _ in 0..length {
        let other = (blank + 1 + random.below(classes - 1)) % classes;
        let repeated = target.last().copied().filter(|_| random.unit() < 0.3);
        target.push(repeated.unwrap_or(other as i64));
    }
    target
}

#[test]
fn ctc_is_the_sum_over_all_paths() {
    let mut random = Random(1);
    let (mut infeasible, mut empty) = (0, 0);
    for case in 0..400 {
        let (frames, classes) = (random.below(6), 2 + random.below(2));
        let (blank, length) = (random.below(classes), random.below(5));
        let target = labels(&mut random, length, classes, blank);
        let mut x = random.numbers(frames * classes, 3.0);
        if case % 3 == 0 {
            // One class of a frame at most, so that every frame still has a distribution.
            for t in 0..frames {
                x[t * classes + random.below(classes)] = f64::NEG_INFINITY;
            }
        }
        let name = format!("case {case}: target {target:?}, blank {blank}, logits {x:?}");
        let expected = ctc_of_all_paths(&x, frames, classes, &target, blank);
        let (values, gradient) = value_and_gradient(&ctc(&x, frames, classes, std::slice::from_ref(&target), blank));
        assert_close(&values, &[expected], 1e-12, &name);
        let expected_gradient = differences(&x, |x| ctc_of_all_paths(x, frames, classes, &target, blank));
        assert_close(&gradient, &expected_gradient, 1e-9, &name);
        infeasible += usize::from(expected == f64::INFINITY);
        empty += usize::from(target.is_empty());
    }
    assert!(infeasible > 20 && empty > 20, "{infeasible} infeasible and {empty} empty targets are too few to tell");
}

/// Graves' recursion over blanks and labels with logarithms, and the gradient p − γ by its backward half.
fn ctc_with_logarithms(x: &[f64], classes: usize, target: &[i64], blank: usize) -> (f64, Vec<f64>) {
    let mut states = vec![blank];
    for &label in target {
        states.extend([label as usize, blank]);
    }
    let log_p: Vec<Vec<f64>> = x
        .chunks(classes)
        .map(|row| {
            let normal = log_sum_exp(row.iter().copied());
            row.iter().map(|x| x - normal).collect()
        })
        .collect();
    let (frames, count) = (log_p.len(), states.len());
    let skips = |s: usize| s >= 2 && states[s] != blank && states[s] != states[s - 2];
    let nothing = f64::NEG_INFINITY;
    let mut alpha = vec![vec![nothing; count]; frames];
    for (s, alpha) in alpha[0].iter_mut().enumerate().take(2) {
        *alpha = log_p[0][states[s]];
    }
    for t in 1..frames {
        for s in 0..count {
            let before = |back: usize| if s >= back { alpha[t - 1][s - back] } else { nothing };
            let skipped = if skips(s) { before(2) } else { nothing };
            alpha[t][s] = log_sum_exp([before(0), before(1), skipped]) + log_p[t][states[s]];
        }
    }
    let mut beta = vec![vec![nothing; count]; frames];
    beta[frames - 1][count.saturating_sub(2)..].fill(0.0);
    for t in (0..frames - 1).rev() {
        for s in 0..count {
            let next = |ahead: usize| {
                if s + ahead < count { beta[t + 1][s + ahead] + log_p[t + 1][states[s + ahead]] } else { nothing }
            };
            let skipped = if s + 2 < count && skips(s + 2) { next(2) } else { nothing };
            beta[t][s] = log_sum_exp([next(0), next(1), skipped]);
        }
    }
    let total = log_sum_exp(alpha[frames - 1][count.saturating_sub(2)..].iter().copied());
    let mut gradient: Vec<f64> = log_p.iter().flatten().map(|log_p| log_p.exp()).collect();
    for t in 0..frames {
        for (s, &state) in states.iter().enumerate() {
            gradient[t * classes + state] -= (alpha[t][s] + beta[t][s] - total).exp();
        }
    }
    (-total, gradient)
}

#[test]
fn ctc_holds_for_logits_of_any_size() {
    let mut random = Random(2);
    let (frames, classes, blank) = (24, 6, 0);
    for scale in [1.0, 30.0, 300.0, 1000.0, 1e4] {
        for case in 0..20 {
            let target = labels(&mut random, case % 9, classes, blank);
            // Rounded to float32, so that both element types are asked about the same numbers.
            let narrow: Vec<f32> = random.numbers(frames * classes, scale).iter().map(|&x| x as f32).collect();
            let wide: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
            let (expected, slopes) = ctc_with_logarithms(&wide, classes, &target, blank);
            let name = format!("logits up to {scale}, case {case}, target {target:?}");
            let (values, gradient) =
                value_and_gradient(&ctc(&wide, frames, classes, std::slice::from_ref(&target), blank));
            assert_close(&values, &[expected], 1e-12, &name);
            // Logarithms of that size keep fewer digits behind the point.
            assert_close(&gradient, &slopes, 1e-12 * scale.max(100.0), &name);
            let (values, gradient) =
                value_and_gradient(&ctc(&narrow, frames, classes, std::slice::from_ref(&target), blank));
            assert_close(&values, &[expected], 1e-6, &format!("float32, {name}"));
            assert_close(&gradient, &slopes, 1e-6, &format!("float32, {name}"));
        }
    }
}

#[test]
fn ctc_holds_where_one_logit_is_enormous() {
    let mut random = Random(3);
    let (frames, classes, blank) = (12, 5, 0);
    for case in 0..60 {
        let target = labels(&mut random, case % 5, classes, blank);
        let mut x = random.numbers(frames * classes, 3.0);
        let enormous = [1e30, -1e30, 1e18, -1e18, 5000.0, -5000.0][case % 6];
        x[random.below(frames * classes)] = enormous;
        let (expected, _) = ctc_with_logarithms(&x, classes, &target, blank);
        let name = format!("case {case}: one logit is {enormous}, target {target:?}");
        let (values, gradient) = value_and_gradient(&ctc(&x, frames, classes, std::slice::from_ref(&target), blank));
        assert_close(&values, &[expected], 1e-12, &name);
        // Logarithms near 10³⁰ keep no digit of the rest, so the gradient is held to what it is made of: p and γ are
        // distributions over the classes.
        for (t, row) in gradient.chunks(classes).enumerate() {
            assert!(row.iter().all(|slope| slope.abs() <= 1.0 + 1e-12), "{name}: frame {t} has the gradient {row:?}");
            assert!(
                row.iter().sum::<f64>().abs() < 1e-12,
                "{name}: the gradient of frame {t} adds up to no 0: {row:?}"
            );
        }
    }
}

// Cross-entropy.

#[test]
fn cross_entropy_is_its_formula() {
    let mut random = Random(4);
    let (n, steps, classes) = (3, 4, 37);
    for case in 0..36 {
        let (shape, cells) = ([n, steps, classes], n * steps * classes);
        let scores = [Scores::Logits, Scores::LogProbs, Scores::Probs][case % 3];
        let smoothing = [0.0, 0.1, 1.0][case / 3 % 3];
        let is_distribution = case / 9 % 2 == 1;
        let is_rich = case >= 18;
        let mut x = random.numbers(cells, 4.0);
        if scores == Scores::Probs {
            x = x.iter().map(|x| 0.1 + x.abs() / 5.0).collect();
        }
        let mut classes_wanted = random.classes(n * steps, classes);
        classes_wanted[5] = -100;
        let wanted: Vec<f64> = random.numbers(cells, 1.0).iter().map(|y| y.abs()).collect();
        let class_weights: Vec<f64> = random.numbers(classes, 1.0).iter().map(|w| w.abs()).collect();
        let weights = random.numbers(n * steps, 2.0);
        let mask = mask_bytes(&mut random, n * steps);

        let logits = sequences(&x, &shape, Axes::StepsOfRows);
        let structure = &logits.structure;
        let targets = if is_distribution {
            Targets::Distributions(rows_like("targets", &floats(&wanted, &shape), structure, &[classes]).unwrap())
        } else {
            let classes_wanted = integers(&classes_wanted, &[n, steps]);
            Targets::Classes(integers_per_step("targets", &classes_wanted, structure).unwrap())
        };
        let mask_view = Argument::Array(View::contiguous(&mask, vec![n, steps]).unwrap());
        let options = Options {
            mask: is_rich.then(|| mask_per_step("mask", &mask_view, structure).unwrap()),
            weights: is_rich.then(|| floats_per_step("weights", &floats(&weights, &[n, steps]), structure).unwrap()),
            class_weights: is_rich.then(|| class_weights.clone()),
            label_smoothing: smoothing,
            ..Options::default()
        };
        let (values, gradient) = value_and_gradient(&CrossEntropy::new(logits, targets, scores, options).unwrap());

        let formula = |x: &[f64]| -> Vec<f64> {
            let term = |step: usize| -> f64 {
                let target = classes_wanted[step];
                if is_rich && mask[step] == 0 || !is_distribution && target == -100 {
                    return 0.0;
                }
                let row = &x[step * classes..][..classes];
                let sum: f64 = (0..classes)
                    .map(|c| {
                        let w = if is_rich { class_weights[c] } else { 1.0 };
                        let y = match is_distribution {
                            true => wanted[step * classes + c],
                            false => f64::from(target == c as i64),
                        };
                        let q = w * ((1.0 - smoothing) * y + smoothing / classes as f64);
                        let log_p = match scores {
                            Scores::Logits => row[c] - log_sum_exp(row.iter().copied()),
                            Scores::LogProbs => row[c],
                            Scores::Probs => row[c].ln(),
                        };
                        -q * log_p
                    })
                    .sum();
                sum * if is_rich { weights[step] } else { 1.0 }
            };
            (0..n).map(|i| (0..steps).map(|t| term(i * steps + t)).sum()).collect()
        };
        let name = format!("case {case}: {scores:?}, smoothing {smoothing}, distributions: {is_distribution}");
        assert_close(&values, &formula(&x), 1e-13, &name);
        assert_close(&gradient, &differences(&x, |x| formula(x).iter().sum()), 2e-7, &name);
    }
}

// Losses of single numbers.

/// One row for every `width` numbers of a step.
fn each<R>(rows: Vec<R>, width: usize) -> Vec<PerNumber<R>> {
    rows.into_iter().map(|rows| PerNumber { rows, width }).collect()
}

fn pointwise_is(curve: &dyn Kernel<f64>, formula: fn(f64) -> f64, slope: fn(f64) -> f64) {
    let mut random = Random(5);
    for (case, (n, steps, width)) in [(1, 1, 1), (2, 7, 1), (3, 5, 4), (2, 300, 3)].into_iter().enumerate() {
        let (shape, cells) = ([n, steps, width], n * steps * width);
        let x = random.numbers(cells, 2.0);
        let mut y = random.numbers(cells, 2.0);
        y[cells / 2] = x[cells / 2];
        let weights = random.numbers(n * steps, 2.0);
        let mask = mask_bytes(&mut random, cells);
        let lengths: Vec<usize> = (0..n).map(|i| steps - i.min(steps)).collect();

        let predictions = sequences(&x, &shape, Axes::StepsOfRows);
        let targets = rows_like("targets", &floats(&y, &shape), &predictions.structure, &[width]).unwrap();
        let mask_view = Argument::Array(View::contiguous(&mask, shape.to_vec()).unwrap());
        let mask_rows = rows_like("mask", &mask_view, &predictions.structure, &[width]).unwrap();
        let weight_rows = rows_like("weights", &floats(&weights, &[n, steps]), &predictions.structure, &[]).unwrap();
        let factors =
            Factors { mask: Some(each(mask_rows, 1)), weights: Some(each(weight_rows, width)), omits_nan: false };
        let loss = Pointwise::<f64>::new(curve, predictions, each(targets, 1), None, &lengths, factors);
        let (values, gradient) = value_and_gradient(&loss);

        let factor = |i: usize| {
            let (sequence, step) = (i / (steps * width), i / width % steps);
            if mask[i] == 0 || step >= lengths[sequence] { 0.0 } else { weights[sequence * steps + step] }
        };
        let term = |i: usize| factor(i) * formula(x[i] - y[i]);
        let size = steps * width;
        let expected: Vec<f64> = (0..n).map(|s| (s * size..(s + 1) * size).map(term).sum()).collect();
        // A plain sum of hundreds of terms that cancel rounds more than the one under test.
        assert_close(&values, &expected, 1e-12, &format!("case {case}"));
        let slopes: Vec<f64> = (0..cells).map(|i| factor(i) * slope(x[i] - y[i])).collect();
        assert_close(&gradient, &slopes, 1e-15, &format!("case {case}"));
    }
}

#[test]
fn mean_squared_error_is_its_formula() {
    pointwise_is(&Direct(Squared), |r| r * r, |r| 2.0 * r);
}

#[test]
fn mean_absolute_error_is_its_formula() {
    pointwise_is(&Direct(Absolute), f64::abs, |r| if r == 0.0 { 0.0 } else { r.signum() });
}

// REINFORCE.

fn advantages(
    rewards: &Argument<AnyView<'_>>,
    structure: &Structure,
    valid: PerStep<bool>,
    baseline: Baseline<'_>,
    discount: Option<f64>,
) -> PerStep<f64> {
    let worth = Worth { baseline, scale: None, epsilon: 0.0, discount, whitens: false };
    watched(&Watch::never(), |ticker| worth.advantages(rewards, structure, valid, ticker)).unwrap()
}

#[test]
fn reinforce_is_its_formula() {
    let mut random = Random(6);
    let (n, steps, classes) = (4, 6, 5);
    let x = random.numbers(n * steps * classes, 3.0);
    let actions = random.classes(n * steps, classes);
    let lengths = vec![6, 1, 0, 4];
    let mask = mask_bytes(&mut random, n * steps);
    let of_steps = random.numbers(n * steps, 2.0);
    let of_sequences = random.numbers(n, 2.0);
    let is_valid = |i: usize, t: usize| t < lengths[i] && mask[i * steps + t] != 0;

    // Discounted rewards to go, less one number.
    let discount = 0.9;
    let mut to_go = vec![0.0; n * steps];
    for i in 0..n {
        let mut sum = 0.0;
        for t in (0..steps).rev().filter(|&t| is_valid(i, t)) {
            sum = of_steps[i * steps + t] + discount * sum;
            to_go[i * steps + t] = sum - 0.25;
        }
    }
    // One reward for a sequence, less the mean of the others.
    let total: f64 = of_sequences.iter().sum();
    let others: Vec<f64> = of_sequences.iter().map(|r| r - (total - r) / (n - 1) as f64).collect();
    let others: Vec<f64> = (0..n * steps).map(|step| others[step / steps]).collect();

    let cases = [
        (floats(&of_steps, &[n, steps]), Baseline::Number(0.25), Some(discount), to_go),
        (floats(&of_sequences, &[n]), Baseline::new("leave_one_out").unwrap(), None, others),
    ];
    for (case, (rewards, baseline, discount, expected)) in cases.into_iter().enumerate() {
        let mut logits = sequences(&x, &[n, steps, classes], Axes::StepsOfRows);
        let structure = logits.structure.clone();
        logits.truncate(&lengths);
        let mask_view = Argument::Array(View::contiguous(&mask, vec![n, steps]).unwrap());
        let valid = mask_per_step("mask", &mask_view, &structure).unwrap();
        let taken = integers_per_step("actions", &integers(&actions, &[n, steps]), &structure).unwrap();
        let mut counted = valid.clone();
        (0..n).for_each(|i| counted.of_mut(i)[lengths[i]..].fill(false));
        let advantages = advantages(&rewards, &structure, counted, baseline, discount);
        let taken = Actions { ids: taken, mask: Some(valid), ignore_index: None };
        let entropy = 0.25 * case as f64;
        let (values, gradient) = value_and_gradient(&reinforce(logits, taken, advantages, entropy, Transform::NONE));

        let formula = |x: &[f64]| -> Vec<f64> {
            let term = |i: usize, t: usize| {
                let row = &x[(i * steps + t) * classes..][..classes];
                let total = log_sum_exp(row.iter().copied());
                let log_p = row[actions[i * steps + t] as usize] - total;
                let bonus: f64 = row.iter().map(|x| (x - total).exp() * (total - x)).sum();
                -expected[i * steps + t] * log_p - entropy * bonus
            };
            (0..n).map(|i| (0..steps).filter(|&t| is_valid(i, t)).map(|t| term(i, t)).sum()).collect()
        };
        assert_close(&values, &formula(&x), 1e-13, &format!("case {case}"));
        assert_close(&gradient, &differences(&x, |x| formula(x).iter().sum()), 1e-9, &format!("case {case}"));
    }
}

// Threads.

#[test]
fn one_thread_and_three_give_the_same_bits() {
    let mut random = Random(7);
    let (n, steps, classes) = (9, 60, 90);
    let shape = [n, steps, classes];
    let x: Vec<f32> = random.numbers(n * steps * classes, 5.0).iter().map(|&x| x as f32).collect();
    let y = random.numbers(n * steps * classes, 5.0);
    let classes_wanted = random.classes(n * steps, classes);
    let rewards = random.numbers(n, 1.0);
    let targets: Vec<Vec<i64>> = (0..n).map(|i| labels(&mut random, 3 * i, classes, 0)).collect();
    let bits = |threads: usize| {
        set_threads(threads).unwrap();
        let first = || sequences(&x, &shape, Axes::StepsOfRows);
        let structure = first().structure;
        let per_step = || integers_per_step("targets", &integers(&classes_wanted, &[n, steps]), &structure).unwrap();
        let options = Options { label_smoothing: 0.1, ..Options::default() };
        let rows = || each(rows_like("targets", &floats(&y, &shape), &structure, &[classes]).unwrap(), 1);
        let factors = || Factors { mask: None, weights: None, omits_nan: false };
        let lengths = vec![steps; n];
        let baseline = Baseline::new("batch_mean").unwrap();
        let all = PerStep::filled(&structure, true);
        let advantages = advantages(&floats(&rewards, &[n]), &structure, all, baseline, None);
        let answers = [
            value_and_gradient(&ctc(&x, steps, classes, &targets, 0)),
            value_and_gradient(
                &CrossEntropy::new(first(), Targets::Classes(per_step()), Scores::Logits, options).unwrap(),
            ),
            value_and_gradient(&Pointwise::<f32>::new(&Direct(Squared), first(), rows(), None, &lengths, factors())),
            value_and_gradient(&Pointwise::<f32>::new(&Direct(Absolute), first(), rows(), None, &lengths, factors())),
            value_and_gradient(&reinforce(
                first(),
                Actions { ids: per_step(), mask: None, ignore_index: None },
                advantages,
                0.1,
                Transform::NONE,
            )),
        ];
        answers.map(|(values, gradient)| values.into_iter().chain(gradient).map(f64::to_bits).collect::<Vec<_>>())
    };
    let (one, three) = (bits(1), bits(3));
    for (loss, (one, three)) in ["ctc", "cross-entropy", "mse", "mae", "reinforce"].iter().zip(one.iter().zip(&three)) {
        assert!(one == three, "{loss}: three threads give other bits than one");
    }
}
