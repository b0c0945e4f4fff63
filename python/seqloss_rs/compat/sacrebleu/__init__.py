"""sacrebleu 2.6.0's interface to BLEU, chrF and TER, computed by this library.

``import seqloss_rs.compat.sacrebleu as sacrebleu`` is all that changes. Statistics and signatures are sacrebleu's, and
scores to 1e-12 of themselves: a perfect BLEU is 100.0 where sacrebleu says 100.00000000000004. What differs on purpose:

* Where streams of hypotheses and references differ in length, sacrebleu leaves out what is too much; here it is an
  error. So is a string where a list of strings belongs, whose characters sacrebleu takes for segments.
* A segment without any reference, whose streams all have None for it, is an error from the start.
* The ``smooth_value`` of floor is in [0, 1], and that of add-k is at least 0.
* A string with half of a pair of surrogates, which is not a character, is an error.
* ``SACREBLEU_SEED=0`` begins at 0 everywhere; for the trials of ``PairedTest`` sacrebleu takes it for no seed at all.
* Resamples are scored from exact integers, not from sums in float32, so means and intervals differ by up to 1e-6 of
  themselves.
* An add-k of BLEU does not change the lists that ``BLEU.compute_bleu`` is given.
* ``n_jobs`` of ``PairedTest`` changes nothing: the threads of ``seqloss_rs.set_num_threads`` do the work.
* The Japanese and Korean tokenizers need the packages that sacrebleu needs too, and ``flores101``, ``flores200`` and
  ``spBLEU-1K`` the models that it downloads, which must be there already.
* Test sets, and the program ``sacrebleu``, are not here.

Examples
--------
>>> import seqloss_rs.compat.sacrebleu as sacrebleu
>>> hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
>>> references = [
...     ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
...     ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
... ]
>>> sacrebleu.corpus_bleu(hypotheses, references)
BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944 hyp_len = 17 ref_len = 18)
>>> chrf = sacrebleu.CHRF(word_order=2)
>>> chrf.corpus_score(hypotheses, references)
chrF2++ = 59.15
>>> chrf.get_signature()
nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0
"""

from . import compat, metrics, significance, tokenizers
from .compat import corpus_bleu, corpus_chrf, corpus_ter, raw_corpus_bleu, sentence_bleu, sentence_chrf, sentence_ter
from .metrics import BLEU, CHRF, TER
from .metrics.helpers import extract_char_ngrams, extract_word_ngrams
from .version import __version__

__all__ = [
    "BLEU",
    "CHRF",
    "TER",
    "__version__",
    "compat",
    "corpus_bleu",
    "corpus_chrf",
    "corpus_ter",
    "extract_char_ngrams",
    "extract_word_ngrams",
    "metrics",
    "raw_corpus_bleu",
    "sentence_bleu",
    "sentence_chrf",
    "sentence_ter",
    "significance",
    "tokenizers",
]
