"""Optimizers: pairs of pure functions ``init(params)`` and ``update(grads, state, params)``."""

from nr.optim.accumulation import (
    AccumulateState,
    accumulate,
)
from nr.optim.adafactor import (
    AdafactorState,
    adafactor,
)
from nr.optim.adam import (
    AdamState,
    adam,
    adamw,
    amsgrad,
)
from nr.optim.adam_variants import (
    AdamaxState,
    NAdamState,
    RAdamState,
    adabelief,
    adamax,
    nadam,
    nadamw,
    radam,
    yogi,
)
from nr.optim.adan import (
    AdanState,
    adan,
)
from nr.optim.adaptive import (
    AdadeltaState,
    AdagradState,
    RMSpropState,
    adadelta,
    adagrad,
    rmsprop,
)
from nr.optim.averaging import (
    EmaState,
    LookaheadState,
    ema,
    lookahead,
)
from nr.optim.base import (
    GradientTransformation,
    apply_updates,
    chain,
    global_norm,
)
from nr.optim.clipping import (
    AdaptiveClipState,
    BoundState,
    ClipState,
    adaptive_grad_clip,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_norm,
)
from nr.optim.cycles import (
    cosine_onecycle_schedule,
    cosine_restarts_schedule,
    cyclic_schedule,
    linear_onecycle_schedule,
    piecewise_interpolate_schedule,
    sgdr_schedule,
)
from nr.optim.finite import (
    ApplyIfFiniteState,
    all_finite,
    apply_if_finite,
    select_tree,
)
from nr.optim.hyper import (
    Schedule,
)
from nr.optim.large_batch import (
    LAMBState,
    LARSState,
    TrustRatioState,
    lamb,
    lars,
    scale_by_trust_ratio,
)
from nr.optim.lbfgs import (
    BacktrackingState,
    LBFGSState,
    lbfgs,
    scale_by_backtracking_linesearch,
)
from nr.optim.lion import (
    LionState,
    lion,
)
from nr.optim.masking import (
    PartitionState,
    masked,
    partition,
    set_to_zero,
)
from nr.optim.muon import (
    MuonState,
    muon,
)
from nr.optim.noise import (
    AddNoiseState,
    add_noise,
)
from nr.optim.novograd import (
    NovoGradState,
    novograd,
)
from nr.optim.plateau import (
    PlateauState,
    reduce_on_plateau,
)
from nr.optim.precision import (
    DynamicLossScale,
    MasterWeightsState,
    Policy,
    with_master_weights,
)
from nr.optim.rprop import (
    RpropState,
    rprop,
)
from nr.optim.sam import (
    sam_gradient,
)
from nr.optim.scaling import (
    ScaleState,
    scale,
)
from nr.optim.schedule_free import (
    ScheduleFreeState,
    schedule_free,
    schedule_free_params,
)
from nr.optim.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    inverse_sqrt_schedule,
    join_schedules,
    linear_schedule,
    multi_step_schedule,
    piecewise_constant_schedule,
    polynomial_schedule,
    step_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
)
from nr.optim.sgd import (
    SGDState,
    sgd,
)
from nr.optim.stateless import (
    centralize,
    stateless,
    zero_nans,
)
from nr.optim.uniform_average import (
    UniformAverageState,
    uniform_average,
)
from nr.optim.weight_decay import (
    AddDecayedWeightsState,
    add_decayed_weights,
)

__all__ = [
    "AccumulateState",
    "AdadeltaState",
    "AdafactorState",
    "AdagradState",
    "AdamState",
    "AdamaxState",
    "AdanState",
    "AdaptiveClipState",
    "AddDecayedWeightsState",
    "AddNoiseState",
    "ApplyIfFiniteState",
    "BacktrackingState",
    "BoundState",
    "ClipState",
    "DynamicLossScale",
    "EmaState",
    "GradientTransformation",
    "LAMBState",
    "LARSState",
    "LBFGSState",
    "LionState",
    "LookaheadState",
    "MasterWeightsState",
    "MuonState",
    "NAdamState",
    "NovoGradState",
    "PartitionState",
    "PlateauState",
    "Policy",
    "RAdamState",
    "RMSpropState",
    "RpropState",
    "SGDState",
    "ScaleState",
    "Schedule",
    "ScheduleFreeState",
    "TrustRatioState",
    "UniformAverageState",
    "accumulate",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "all_finite",
    "amsgrad",
    "apply_if_finite",
    "apply_updates",
    "centralize",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_norm",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "cyclic_schedule",
    "ema",
    "exponential_decay",
    "global_norm",
    "inverse_sqrt_schedule",
    "join_schedules",
    "lamb",
    "lars",
    "lbfgs",
    "linear_onecycle_schedule",
    "linear_schedule",
    "lion",
    "lookahead",
    "masked",
    "multi_step_schedule",
    "muon",
    "nadam",
    "nadamw",
    "novograd",
    "partition",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "radam",
    "reduce_on_plateau",
    "rmsprop",
    "rprop",
    "sam_gradient",
    "scale",
    "scale_by_backtracking_linesearch",
    "scale_by_trust_ratio",
    "schedule_free",
    "schedule_free_params",
    "select_tree",
    "set_to_zero",
    "sgd",
    "sgdr_schedule",
    "stateless",
    "step_schedule",
    "uniform_average",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "with_master_weights",
    "yogi",
    "zero_nans",
]
