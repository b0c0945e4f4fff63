# The border is private; its functions are called through the typed faces beside it.
from typing import Any, Self, final

from typing_extensions import disjoint_base

__all__ = [
    "InternalError",
    "LossSum",
    "PreparedTexts",
    "Segments",
    "TextMetric",
    "__version__",
    "answers",
    "bleu",
    "chrf",
    "cider_d",
    "cross_entropy_loss",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_label_posteriors",
    "ctc_loss",
    "ctc_posteriors",
    "distinct_ngrams",
    "error_rate",
    "error_rate_align",
    "expected_loss",
    "gaussian_nll_loss",
    "gleu",
    "interval_coverage",
    "minimum_bayes_risk",
    "nltk_bleu",
    "num_threads",
    "pairwise",
    "pointwise_loss",
    "policy_gradient_logits",
    "policy_loss",
    "prefix_scores",
    "reinforce_loss",
    "rouge",
    "rouge_scores",
    "rouge_tokens",
    "self_bleu",
    "set_num_threads",
    "simd",
    "ter",
    "token_log_probs",
    "tokenize",
    "tokenize_tercom",
]
__version__: str

class InternalError(RuntimeError): ...

@disjoint_base
class LossSum:
    def __new__(cls, settings: Any, data: Any = None) -> Self: ...
    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def settings(self) -> str: ...
    @property
    def special(self) -> tuple[int, int, int]: ...
    @property
    def value(self) -> float: ...
    @property
    def weight(self) -> float: ...
    def equals(self, /, other: LossSum) -> bool: ...
    def merge(self, /, other: LossSum) -> None: ...
    def to_bytes(self, /) -> bytes: ...
    def update(self, /, values: Any, weights: Any = None, *, mask: Any = None) -> None: ...

@final
class Segments:
    def __new__(cls, metric: Any, name: Any, rows: Any) -> Self: ...
    def __len__(self, /) -> int: ...
    def bootstrap(self, /, indices: Any) -> Any: ...
    def score(self, /) -> float: ...
    def swapped(self, /, other: Segments, coins: Any, trials: Any) -> Any: ...

@final
class PreparedTexts:
    def __len__(self, /) -> int: ...
    def lists(self, /) -> Any: ...

@final
class TextMetric:
    def corpus(self, /, hypotheses: Any, references: Any, layout: Any) -> Any: ...
    def prepare(self, /, references: Any, layout: Any) -> Any: ...
    def loss(self, /, hypotheses: Any, references: Any, layout: Any, reduction: Any, normalizer: Any) -> Any: ...
    def score_statistics(self, /, rows: Any) -> Any: ...
    def sentences(self, /, hypotheses: Any, references: Any, layout: Any) -> Any: ...
    def statistics(self, /, hypotheses: Any, references: Any, layout: Any) -> Any: ...

def bleu(
    max_order: Any, smoothing: Any, smoothing_value: Any, effective_order: Any, tokenize: Any, lowercase: Any
) -> Any: ...
def chrf(char_order: Any, word_order: Any, beta: Any, lowercase: Any, whitespace: Any, eps_smoothing: Any) -> Any: ...
def cross_entropy_loss(
    gradient: Any,
    logits: Any,
    targets: Any,
    scores: Any,
    lengths: Any,
    mask: Any,
    weights: Any,
    class_weights: Any,
    ignore_index: Any,
    label_smoothing: Any,
    label_smoothing_over: Any,
    z_loss: Any,
    softcap: Any,
    temperature: Any,
    focal_gamma: Any,
    poly_epsilon: Any,
    reduction: Any,
    normalizer: Any,
) -> Any: ...
def ctc_align(
    logits: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: Any, scores: Any, layout: Any
) -> Any: ...
def ctc_beam_decode(
    logits: Any,
    input_lengths: Any,
    blank: Any,
    scores: Any,
    layout: Any,
    beam_width: Any,
    n_best: Any,
    token_scores: Any,
) -> Any: ...
def ctc_feasible(
    logits: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: Any, scores: Any, layout: Any
) -> Any: ...
def ctc_greedy_decode(logits: Any, input_lengths: Any, blank: Any, scores: Any, layout: Any, spans: Any) -> Any: ...
def ctc_loss(
    gradient: Any,
    logits: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    scores: Any,
    layout: Any,
    zero_infinity: Any,
    merge_repeated: Any,
    temperature: Any,
    log_priors: Any,
    prior_weight: Any,
    delay_penalty: Any,
    star: Any,
    star_penalty: Any,
    entropy_weight: Any,
    focal_gamma: Any,
    label_smoothing: Any,
    consistency_with: Any,
    consistency_weight: Any,
    reduction: Any,
    normalizer: Any,
) -> Any: ...
def ctc_label_posteriors(
    logits: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    scores: Any,
    layout: Any,
    variants: Any,
) -> Any: ...
def ctc_posteriors(
    logits: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    scores: Any,
    layout: Any,
    variants: Any,
) -> Any: ...
def error_rate(unit: Any, measure: Any, lowercase: Any, remove_punctuation: Any) -> Any: ...
def error_rate_align(metric: Any, hypotheses: Any, references: Any, layout: Any) -> Any: ...
def expected_loss(name: Any, gradient: Any, *arguments: Any, **options: Any) -> Any: ...
def gaussian_nll_loss(
    gradient: Any,
    predictions: Any,
    targets: Any,
    variances: Any,
    full: Any,
    eps: Any,
    lengths: Any,
    mask: Any,
    weights: Any,
    nan: Any,
    reduction: Any,
    normalizer: Any,
    argnums: Any = 0,
) -> Any: ...
def interval_coverage(lower: Any, upper: Any, targets: Any, lengths: Any, mask: Any, weights: Any, nan: Any) -> Any: ...
def minimum_bayes_risk(metric: Any, candidates: Any, references: Any, weights: Any, layout: Any) -> Any: ...
def num_threads() -> Any: ...
def pairwise(metric: Any, hypotheses: Any, references: Any, layout: Any) -> Any: ...
def pointwise_loss(
    curve: Any,
    gradient: Any,
    predictions: Any,
    targets: Any,
    lengths: Any,
    mask: Any,
    weights: Any,
    nan: Any,
    reduction: Any,
    normalizer: Any,
    **parameters: Any,
) -> Any: ...
def policy_loss(name: Any, gradient: Any, *arguments: Any, **options: Any) -> Any: ...
def prefix_scores(metric: Any, hypotheses: Any, references: Any, layout: Any, prefix: Any) -> Any: ...
def reinforce_loss(
    gradient: Any,
    logits: Any,
    actions: Any,
    rewards: Any,
    baseline: Any,
    scale: Any,
    scale_epsilon: Any,
    discount: Any,
    whiten: Any,
    entropy: Any,
    temperature: Any,
    scores: Any,
    lengths: Any,
    mask: Any,
    reduction: Any,
    normalizer: Any,
) -> Any: ...
def rouge(variant: Any, measure: Any, stem: Any, tokenize: Any, multiple_references: Any) -> Any: ...
def rouge_scores(metrics: Any, hypotheses: Any, references: Any, layout: Any) -> Any: ...
def rouge_tokens(text: Any, stem: Any) -> Any: ...
def set_num_threads(threads: Any) -> Any: ...
def simd() -> Any: ...
def policy_gradient_logits(
    logits: Any,
    ids: Any,
    coefficients: Any,
    entropy: Any,
    lengths: Any,
    mask: Any,
    ignore_index: Any,
    temperature: Any,
    softcap: Any,
    out: Any,
) -> Any: ...
def ter(normalized: Any, no_punct: Any, asian_support: Any, case_sensitive: Any) -> Any: ...
def tokenize(tokenizer: Any, line: Any) -> str: ...
def tokenize_tercom(normalized: Any, no_punct: Any, asian_support: Any, case_sensitive: Any, sent: Any) -> str: ...
def token_log_probs(
    logits: Any, targets: Any, lengths: Any, mask: Any, ignore_index: Any, temperature: Any, softcap: Any
) -> Any: ...
def answers(exact: Any, normalize: Any) -> Any: ...
def cider_d(
    metric: Any, hypotheses: Any, references: Any, documents: Any, max_order: Any, sigma: Any, layout: Any
) -> Any: ...
def distinct_ngrams(metric: Any, texts: Any, order: Any, layout: Any, name: Any) -> Any: ...
def gleu(min_order: Any, max_order: Any, tokenize: Any, lowercase: Any) -> Any: ...
def nltk_bleu(weights: Any, method: Any, epsilon: Any, alpha: Any, k: Any, tokenize: Any, lowercase: Any) -> Any: ...
def self_bleu(metric: Any, texts: Any, layout: Any) -> Any: ...
