"""What rewards are worth: baselines of groups, episodes with a critic, and what else policies are trained with.

An advantage is a constant of the losses that take it. A baseline that does not depend on the action leaves their
gradient unbiased: a number, greedy decoding (pass its rewards as an array), the mean of the others. A mean that has the
reward itself in it makes the gradient (K − 1) / K of that, and a division by the deviation something else again.
"""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._types import Floats, Lengths, Mask

__all__ = ["MovingAverage", "gae", "group_advantages", "mixer_mask", "whiten"]

Baseline: TypeAlias = Literal["batch_mean", "group_mean", "leave_one_out", "length_weighted"]
"""A baseline that is computed from the rewards."""

Scale: TypeAlias = Literal["group", "batch"]
"""Whose deviation advantages are divided by."""


def group_advantages(
    rewards: Floats,
    *,
    baseline: Baseline | float | Floats | None = "group_mean",
    scale: Scale | None = "group",
    scale_epsilon: float = 1e-4,
    lengths: Lengths | None = None,
) -> Any:
    """Advantages of K answers to each of N questions: (r − baseline) / (σ + ε).

    Parameters
    ----------
    rewards : (N, K) array, or list of N arrays (Kₙ,)
        One for each answer, of float16, bfloat16, float32 or float64. NaN is no reward: such an answer is in no mean,
        and has the advantage 0. Trainers hand the rewards of all questions over as one axis, which does not say what is
        a group, and is taken only where neither baseline nor scale is that of groups: ``rewards.reshape(-1, K)``, or
        ``rewards[None]`` for the answers to one question.
    baseline : {"group_mean", "batch_mean", "leave_one_out", "length_weighted"}, number, array or None
        What is subtracted: the mean of the group (GRPO [1]_) or of all rewards; that of the others (RLOO [2]_); that of
        the group with the lengths for weights (OPO [3]_); a number; one for each question (N,), such as the reward of
        greedy decoding (self-critical [4]_, ReMax [5]_), or for each answer (N, K).
    scale : {"group", "batch"}, optional
        Whose deviation is divided by, over n − 1; None for none (Dr. GRPO [6]_, RLOO). What has no deviation, because
        the rewards are equal or one is alone, is not divided.
    scale_epsilon : float
        ε, added to a deviation: 1e-4 as in TRL; verl has 1e-6. (What TRL calls epsilon is the clip of the ratio.)
    lengths : (N, K) integers, optional
        The length of each answer, for a length-weighted baseline; where all of a group are 0 they weigh the same.

    Returns
    -------
    array or list of arrays
        Of the shape of `rewards`, float32 (float64 for float64 rewards). An answer that is alone has the advantage 0
        wherever a mean of its group is subtracted (verl leaves it its reward), and so have answers to which all rewards
        are equal, exactly.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> rewards = np.array([[1.0, 0.0, 0.5], [1.0, np.nan, 1.0]])
    >>> seqloss_rs.group_advantages(rewards, scale=None)
    array([[ 0.5, -0.5,  0. ],
           [ 0. ,  0. ,  0. ]])
    >>> seqloss_rs.group_advantages(rewards, baseline="leave_one_out", scale=None)
    array([[ 0.75, -0.75,  0.  ],
           [ 0.  ,  0.  ,  0.  ]])

    References
    ----------
    .. [1] Shao et al., 2024, https://arxiv.org/abs/2402.03300.
    .. [2] Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740.
    .. [3] Hao et al., 2025, https://arxiv.org/abs/2505.23585.
    .. [4] Rennie et al., 2017, https://arxiv.org/abs/1612.00563.
    .. [5] Li et al., 2023, https://arxiv.org/abs/2310.10505.
    .. [6] Liu et al., 2025, https://arxiv.org/abs/2503.20783.
    """
    return _native.policy_loss(
        "group_advantages", None, rewards, baseline=baseline, scale=scale, scale_epsilon=scale_epsilon, lengths=lengths
    )


def gae(
    rewards: Floats,
    values: Floats,
    *,
    discount: float = 1.0,
    decay: float = 0.95,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> tuple[Any, Any]:
    """Generalized advantage estimation: Aₜ = δₜ + γ λ Aₜ₊₁ with δₜ = rₜ + γ Vₜ₊₁ − Vₜ, and the returns A + V.

    Parameters
    ----------
    rewards : (T,), (N, T) or (N, K, T) array, or list of N arrays
        One for each step.
    values : like `rewards`
        What a critic says of each step. Behind the last valid step the value is 0.
    discount : float
        γ in [0, 1].
    decay : float
        λ in [0, 1]: 0.95 as in TRL; verl and OpenRLHF have 1.
    lengths : (N,) integers, optional
        The valid steps of each sequence.
    mask : (N, T) booleans, optional
        The valid steps. Others are passed over as if they were not there: the value and the advantage behind them reach
        the step before.

    Returns
    -------
    (advantages, returns)
        Each of the shape of `rewards`, float32 (float64 for float64 rewards); 0 in steps that are not valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> advantages, returns = seqloss_rs.gae(np.array([0.0, 1.0]), np.array([0.5, 0.5]), decay=0.5)
    >>> advantages, returns
    (array([0.25, 0.5 ]), array([0.75, 1.  ]))

    References
    ----------
    Schulman et al., 2016, https://arxiv.org/abs/1506.02438.
    """
    both: tuple[Any, Any] = _native.policy_loss(
        "gae", None, rewards, values, discount=discount, decay=decay, lengths=lengths, mask=mask
    )
    return both


def whiten(
    values: Floats,
    *,
    shift_mean: bool = True,
    epsilon: float = 1e-8,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> Any:
    """Values of mean 0 and variance 1: (x − mean) / √(variance + ε), the variance over n − 1.

    Parameters
    ----------
    values : (T,), (N, T) or (N, K, T) array, or list of N arrays
        Such as the advantages of a batch.
    shift_mean : bool
        False: the mean is put back.
    epsilon : float
        ε: 1e-8 as in TRL, verl and OpenRLHF.
    lengths : (N,) integers, optional
        The valid steps of each sequence.
    mask : (N, T) booleans, optional
        The valid steps; others are 0. One valid number alone becomes 0.

    Returns
    -------
    array or list of arrays
        Of the shape of `values`, float32 (float64 for float64 values).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.whiten(np.array([1.0, 2.0, 3.0])).round(6)
    array([-1.,  0.,  1.])
    """
    return _native.policy_loss(
        "whiten", None, values, shift_mean=shift_mean, epsilon=epsilon, lengths=lengths, mask=mask
    )


class MovingAverage:
    """A baseline that follows the mean reward: b ← decay · b + (1 − decay) · mean, from the first mean on.

    It does not depend on the actions that it is subtracted from, as long as it is asked before it is told of them.

    Parameters
    ----------
    decay : float
        In [0, 1).

    Attributes
    ----------
    value : float
        The baseline; 0 before the first update.

    Examples
    --------
    >>> import seqloss_rs
    >>> baseline = seqloss_rs.MovingAverage(decay=0.5)
    >>> log_probs = [[-1.0], [-2.0]]
    >>> for rewards in ([1.0, 3.0], [0.0, 0.0]):
    ...     loss = seqloss_rs.reinforce_loss(log_probs, None, rewards, baseline=baseline.value, scores="log_probs")
    ...     baseline.update(rewards)
    >>> baseline
    MovingAverage(decay=0.5, value=1.0)

    References
    ----------
    Williams, 1992, https://doi.org/10.1007/BF00992696.
    """

    def __init__(self, decay: float = 0.9, value: float | None = None) -> None:
        if not 0 <= decay < 1:
            message = f"decay is {decay}, which is not in 0..1"
            raise ValueError(message)
        self.decay = decay
        self._mean = value

    @property
    def value(self) -> float:
        """The baseline; 0 before the first update."""
        return 0.0 if self._mean is None else self._mean

    def update(self, rewards: Floats) -> None:
        """Take in rewards of any shape; NaN is none."""
        numbers = np.asarray(rewards, np.float64)
        numbers = numbers[~np.isnan(numbers)]
        if numbers.size:
            mean = float(numbers.mean())
            self._mean = mean if self._mean is None else self.decay * self._mean + (1 - self.decay) * mean

    def __repr__(self) -> str:
        return f"MovingAverage(decay={self.decay}, value={self.value})"


def mixer_mask(lengths: Lengths, cross_entropy_steps: int, *, steps: int | None = None) -> NDArray[np.bool_]:
    """MIXER's mask: the steps that are trained by their reward, after the first ones that cross-entropy trains.

    Parameters
    ----------
    lengths : (N,) integers
        The steps of each sequence.
    cross_entropy_steps : int
        How many steps come before; it falls as training goes on.
    steps : int, optional
        T; the largest length by default.

    Returns
    -------
    (N, T) booleans
        The `mask` of :func:`reinforce_loss`. Its opposite, with the same lengths, is that of
        :func:`cross_entropy_loss`.

    Raises
    ------
    ValueError
        Where a number is negative, or a length beyond `steps`.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.mixer_mask([3, 1], 1)
    array([[False,  True,  True],
           [False, False, False]])

    References
    ----------
    Ranzato et al., 2016, https://arxiv.org/abs/1511.06732.
    """
    each = np.atleast_1d(np.asarray(lengths))
    steps = int(each.max(initial=0)) if steps is None else steps
    if each.min(initial=0) < 0 or each.max(initial=0) > steps:
        message = f"lengths has {each.min() if each.min() < 0 else each.max()}, which is not a length in 0..={steps}"
        raise ValueError(message)
    if cross_entropy_steps < 0:
        message = f"cross_entropy_steps is {cross_entropy_steps}, expected 0 or more"
        raise ValueError(message)
    step = np.arange(steps)
    mask: NDArray[np.bool_] = (step >= cross_entropy_steps) & (step < each[:, None])
    return mask
