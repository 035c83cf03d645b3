"""Losses: functions of predictions and targets, with an explicit reduction.

Names and formulas are those of ``torch.nn.functional`` where it has the loss. Predictions and
targets have one shape, and nothing broadcasts in silence; classes are the last axis.
"""

from nr.nn.losses.classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    kl_div,
    nll_loss,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)
from nr.nn.losses.ctc import ctc_loss
from nr.nn.losses.embedding import (
    contrastive_loss,
    cosine_embedding_loss,
    info_nce_loss,
    nt_xent_loss,
    triplet_margin_loss,
)
from nr.nn.losses.margins import (
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from nr.nn.losses.overlap import dice_loss
from nr.nn.losses.reduction import Reduction
from nr.nn.losses.regression import (
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    log_cosh_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)

__all__ = [
    "Reduction",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "contrastive_loss",
    "cosine_embedding_loss",
    "ctc_loss",
    "dice_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "info_nce_loss",
    "kl_div",
    "l1_loss",
    "log_cosh_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "nt_xent_loss",
    "poisson_nll_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "triplet_margin_loss",
]
