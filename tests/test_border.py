"""The public names: signatures as designed, docstrings that say what goes in and out, lists that agree."""

import inspect
import re
from typing import Any

import numpy as np
import pytest
import seqloss_rs
from cases import CASES, POINTWISE, TEXT_LOSSES
from seqloss_rs import _native, expected, losses, pointwise, policy_losses, text

# As people read them; a default that is None, a number or a word is part of the promise.
POINTWISE_OPTIONS = "lengths=None, mask=None, weights=None, nan='propagate', reduction='mean', normalizer=None"
MEASURE_OPTIONS = "lengths=None, mask=None, weights=None, nan='propagate'"
SCALED_OPTIONS = f"""insample=None, insample_lengths=None, scale=None, seasonality=1, zero_scale='propagate',
    {MEASURE_OPTIONS}, reduction='mean'"""
RATIO_OPTIONS = """clip_low=0.2, clip_high=0.2, dual_clip=None, ratio='token', objective='clip',
    temperature_positive=1.0, temperature_negative=1.05, log_ratio_limit=20.0, reference_log_probs=None, kl=None,
    kl_coefficient=None, kl_log_ratio_limit=20.0, kl_limit=None, lengths=None, mask=None"""
SIGNATURES = {
    "cross_entropy_loss": """(logits, targets, *, scores='logits', lengths=None, mask=None, weights=None,
        class_weights=None, ignore_index=-100, label_smoothing=0.0, label_smoothing_over='all', z_loss=0.0,
        softcap=None, temperature=1.0, focal_gamma=0.0, poly_epsilon=0.0, reduction='mean', normalizer=None)""",
    "token_log_probs": """(logits, targets, *, lengths=None, mask=None, ignore_index=-100, temperature=1.0,
        softcap=None)""",
    "policy_gradient_logits": """(logits, ids, coefficients, *, entropy=0.0, lengths=None, mask=None,
        ignore_index=-100, temperature=1.0, softcap=None, out=None)""",
    **{
        name: f"(predictions, targets, *, {own}{POINTWISE_OPTIONS})"
        for name, own in {
            "mse_loss": "",
            "mae_loss": "",
            "huber_loss": "delta=1.0, ",
            "smooth_l1_loss": "beta=1.0, ",
            "log_cosh_loss": "",
            "msle_loss": "",
            "mape_loss": "eps=2.220446049250313e-16, factor=1.0, ",
            "smape_loss": "scale=2.0, zero_division=0.0, ",
            "quantile_loss": "quantile=0.5, factor=1.0, ",
            "poisson_nll_loss": "log_input=True, full=False, eps=1e-08, ",
        }.items()
    },
    "gaussian_nll_loss": f"(predictions, targets, variances, *, full=False, eps=1e-06, {POINTWISE_OPTIONS})",
    "ctc_loss": """(logits, targets, input_lengths=None, target_lengths=None, *, blank=0, scores='logits', layout='NTC',
        zero_infinity=False, merge_repeated=True, temperature=1.0, log_priors=None, prior_weight=1.0, delay_penalty=0.0,
        star=None, star_penalty=0.0, entropy_weight=0.0, focal_gamma=0.0, label_smoothing=0.0, consistency_with=None,
        consistency_weight=0.2, reduction='mean', normalizer=None)""",
    "ctc_posteriors": """(logits, targets, input_lengths=None, target_lengths=None, *, blank=0, scores='logits',
        layout='NTC', per='class', merge_repeated=True, temperature=1.0, log_priors=None, prior_weight=1.0,
        delay_penalty=0.0, star=None, star_penalty=0.0)""",
    "bleu_loss": """(hypotheses, references, *, max_order=4, smoothing='exp', smoothing_value=None,
        effective_order=None, tokenize='13a', lowercase=False, lengths=None, reference_lengths=None,
        eos_id=None, pad_id=None,
        reduction='mean', normalizer=None)""",
    "rouge_loss": """(hypotheses, references, *, variant='rougeL', measure='f', stem=False, tokenize='ascii',
        multiple_references='best', lengths=None,
        reference_lengths=None, eos_id=None, pad_id=None, reduction='mean', normalizer=None)""",
    "reinforce_loss": """(logits, actions, rewards, *, baseline=None, scale=None, scale_epsilon=0.0001, discount=None,
        whiten=False, entropy=0.0, temperature=1.0, scores='logits', lengths=None, mask=None, reduction='mean',
        normalizer=None)""",
    "ppo_loss": f"(log_probs, old_log_probs, advantages, *, {RATIO_OPTIONS}, reduction='mean', normalizer=None)",
    "grpo_loss": f"""(log_probs, old_log_probs, rewards, *, baseline='group_mean', scale='group',
        scale_epsilon=0.0001,
        {RATIO_OPTIONS}, reduction='mean_of_means', normalizer=None)""",
    "value_loss": """(values, returns, *, old_values=None, clip=0.2, lengths=None, mask=None, reduction='mean',
        normalizer=None)""",
    "dpo_loss": """(log_probs, reference_log_probs, *, beta=0.1, objective='dpo', label_smoothing=0.0,
        reduction='mean', normalizer=None)""",
    "mrt_loss": """(log_probs, costs, *, alpha=0.005, subtract_mean=False, mask=None, reduction='mean',
        normalizer=None)""",
    "mwer_loss": """(log_probs, hypotheses=None, references=None, *, errors=None, alpha=1.0, subtract_mean=True,
        lengths=None, reference_lengths=None, eos_id=None, pad_id=None, mask=None, reduction='mean',
        normalizer=None)""",
    "expected_bleu_loss": """(logits, references, *, scores='logits', estimate='exact', max_order=4,
        smoothing='add-k', smoothing_value=None, lengths=None, reference_lengths=None, eos_id=None, pad_id=None,
        reduction='mean', normalizer=None)""",
    "expected_rouge_loss": """(logits, references, *, variant='rouge1', measure='f', scores='logits', estimate='exact',
        multiple_references='mean', lengths=None, reference_lengths=None, eos_id=None, pad_id=None, reduction='mean',
        normalizer=None)""",
    "soft_rouge_l_loss": """(logits, references, *, gamma=0.1, measure='f', scores='logits',
        multiple_references='mean', lengths=None, reference_lengths=None, eos_id=None, pad_id=None, reduction='mean',
        normalizer=None)""",
    "eisl_loss": """(logits, references, *, order_weights=(0.8, 0.2), temperature=1.0, scores='logits', lengths=None,
        reference_lengths=None, eos_id=None, pad_id=None, reduction='mean', normalizer=None)""",
    "group_advantages": """(rewards, *, baseline='group_mean', scale='group', scale_epsilon=0.0001, lengths=None,
        groups=None)""",
    "gae": "(rewards, values, *, discount=1.0, decay=0.95, lengths=None, mask=None)",
    "whiten": "(values, *, shift_mean=True, epsilon=1e-08, lengths=None, mask=None)",
    "mixer_mask": "(lengths, cross_entropy_steps, *, steps=None)",
    "value_and_grad": "(loss, grad_output=None, out=None, argnums=0)",
    "rmse": f"(predictions, targets, *, {MEASURE_OPTIONS})",
    "wape": f"(predictions, targets, *, {MEASURE_OPTIONS})",
    "mase": f"(predictions, targets, *, {SCALED_OPTIONS})",
    "rmsse": f"(predictions, targets, *, {SCALED_OPTIONS})",
    "crps": f"(predictions, targets, quantiles, *, scaled=False, {MEASURE_OPTIONS})",
    "interval_coverage": f"(lower, upper, targets, *, {MEASURE_OPTIONS})",
    "ctc_align": """(logits, targets, input_lengths=None, target_lengths=None, *, blank=0, scores='logits',
        layout='NTC')""",
    "ctc_feasible": """(logits, targets, input_lengths=None, target_lengths=None, *, blank=0, scores='logits',
        layout='NTC')""",
    "ctc_greedy_decode": "(logits, input_lengths=None, *, blank=0, scores='logits', layout='NTC', spans=False)",
    "ctc_beam_decode": """(logits, input_lengths=None, *, blank=0, scores='logits', layout='NTC', beam_width=16,
        n_best=1, token_scores=None)""",
    "mbr": """(candidates, *, utility, weights=None, references=None, lengths=None, reference_lengths=None, eos_id=None,
        pad_id=None)""",
}
PUBLIC = {
    *SIGNATURES,
    "Bleu",
    "Chrf",
    "Ter",
    "Rouge",
    "ErrorRate",
    "MbrChoice",
    "PreparedReferences",
    "Alignment",
    "Feasibility",
    "Hypothesis",
    "LabelPosteriors",
    "Span",
    "InternalError",
    "set_num_threads",
    "get_num_threads",
    "show_config",
}
LOSSES = [name for name in SIGNATURES if name.endswith("_loss")]


def plain_signature(function: Any) -> str:
    """A signature without annotations."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    assert plain_signature(getattr(seqloss_rs, name)) == re.sub(r"\s+", " ", SIGNATURES[name])


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_parameter_has_a_type(name: str) -> None:
    signature = inspect.signature(getattr(seqloss_rs, name))
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
    assert signature.return_annotation is not inspect.Signature.empty


def test_the_public_names() -> None:
    assert len(seqloss_rs.__all__) == len(set(seqloss_rs.__all__))
    assert set(seqloss_rs.__all__) >= PUBLIC
    for name in seqloss_rs.__all__:
        assert hasattr(seqloss_rs, name)
    shown = {name for name in dir(seqloss_rs) if not name.startswith("_")}
    modules = {name for name in shown if inspect.ismodule(getattr(seqloss_rs, name))}
    assert shown - modules == {name for name in seqloss_rs.__all__ if not name.startswith("_")} - modules


def test_the_lists_of_losses_agree() -> None:
    # The losses of policies and of expectations have their own tests.
    family = {*policy_losses.__all__, *expected.__all__}
    assert {case.name for case in CASES} | set(TEXT_LOSSES) | family == set(LOSSES)
    assert {name for name in seqloss_rs.__all__ if name.endswith("_loss")} == set(LOSSES)
    faces = {
        name
        for module in (losses, pointwise, policy_losses, expected, text)
        for name in vars(module)
        if name.endswith("_loss")
    }
    assert faces == set(LOSSES)
    native = {name for name in dir(_native) if not name.startswith("_")}
    for name in set(LOSSES) - set(POINTWISE) - family:
        short = name.removesuffix("_loss")
        assert {name, short} & native, f"_native has neither {name} nor {short}"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_docstrings(name: str) -> None:
    public = getattr(seqloss_rs, name)
    document = inspect.getdoc(public)
    assert document
    first = document.split("\n\n")[0]
    assert first.endswith("."), first
    if name == "InternalError":
        return
    assert ">>>" in document, "no example"
    if inspect.isclass(public):
        return
    parameters = list(inspect.signature(public).parameters)
    if parameters:
        assert "Parameters\n----------" in document
    for parameter in parameters:
        told = re.search(rf"^(\w+, )*{parameter}(, \w+)*( : .+)?$", document, re.MULTILINE)
        assert told, f"{parameter} is not told of"
    if name in LOSSES:
        for section in ("Parameters", "Returns", "Raises", "Examples", "References"):
            section = f"{section}\n{'-' * len(section)}"
            assert section in document
        assert re.search(r"\(N\b", document), "no shapes"
        assert "ValueError" in document


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_say_that_they_are_of_the_package(name: str) -> None:
    assert getattr(seqloss_rs, name).__module__.split(".")[0] == "seqloss_rs"
    assert "_native" not in getattr(seqloss_rs, name).__module__


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "cross_entropy_loss": (np.zeros((1, 2, 3)), np.zeros((1, 2), np.int64)),
    **dict.fromkeys(POINTWISE, (np.zeros(2), np.zeros(2))),
    "gaussian_nll_loss": (np.zeros(2), np.zeros(2), np.zeros(2)),
    "ctc_loss": (np.zeros((1, 2, 3)), [[1]]),
    "bleu_loss": (["a"], ["a"]),
    "rouge_loss": (["a"], ["a"]),
    "reinforce_loss": (np.zeros((1, 2, 3)), np.zeros((1, 2), np.int64), np.zeros(1)),
    "ppo_loss": (np.zeros((1, 2)), None, np.zeros(1)),
    "grpo_loss": (np.zeros((1, 2)), None, np.zeros((1, 1))),
    **dict.fromkeys(("value_loss", "dpo_loss", "mrt_loss"), (np.zeros((1, 2)), np.zeros((1, 2)))),
    "mwer_loss": (np.zeros((1, 2)), [[[1], [2]]], [[1]]),
    **dict.fromkeys(
        ("expected_bleu_loss", "expected_rouge_loss", "soft_rouge_l_loss", "eisl_loss"), (np.zeros((1, 2, 3)), [[1]])
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_optional_goes_by_name_only(name: str) -> None:
    loss = getattr(seqloss_rs, name)
    positional = [
        parameter
        for parameter in inspect.signature(loss).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    loss(*ARGUMENTS[name])
    too_many = [*ARGUMENTS[name], *[None] * (len(positional) + 1 - len(ARGUMENTS[name]))]
    with pytest.raises(TypeError, match="positional"):
        loss(*too_many)
    with pytest.raises(TypeError, match="no_such_keyword"):
        loss(*ARGUMENTS[name], no_such_keyword=1)
    with pytest.raises(TypeError, match=positional[0].name):
        loss()


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_asked_for_in_one_way_only(name: str) -> None:
    """However a loss and `value_and_grad` agree with one another, nobody else sees it."""
    shown = set(inspect.signature(getattr(seqloss_rs, name)).parameters)
    assert not {parameter for parameter in shown if parameter.startswith("_") or "grad" in parameter}


def test_a_number_stays_a_python_float() -> None:
    for name in LOSSES:
        for reduction in ("mean", "sum", "batch_mean"):
            assert type(getattr(seqloss_rs, name)(*ARGUMENTS[name], reduction=reduction)) is float


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("seqloss-rs") == seqloss_rs.__version__


def test_the_only_requirement_is_numpy() -> None:
    from importlib.metadata import requires

    always = [line for line in requires("seqloss-rs") or [] if "extra ==" not in line]
    assert [re.split(r"[^\w-]", line)[0].lower() for line in always] == ["numpy"]
