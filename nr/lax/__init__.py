"""Operations with JAX's names and exact types: the layer that nr.numpy is composed from.

First-order primitives live here by family. Control flow stands on the transformations, above this
package; its names are looked up there when first used.
"""

import importlib
from typing import Any

from nr.lax import linalg
from nr.lax.bits import RandomAlgorithm, mulhi, rng_bit_generator
from nr.lax.collectives import (
    all_gather,
    all_to_all,
    axis_index,
    axis_size,
    pbroadcast,
    pmax,
    pmean,
    pmin,
    ppermute,
    pshuffle,
    psum,
    psum_scatter,
    pswapaxes,
)
from nr.lax.conv import (
    ConvDimensionNumbers,
    ConvGeneralDilatedDimensionNumbers,
    conv,
    conv_dimension_numbers,
    conv_general_dilated,
    conv_transpose,
    conv_with_general_padding,
    padtype_to_pads,
)
from nr.lax.conv_shapes import (
    conv_general_permutations,
    conv_general_shape_tuple,
    conv_shape_tuple,
    conv_transpose_shape_tuple,
    reduce_window_shape_tuple,
)
from nr.lax.convert import bitcast_convert_type, convert_element_type, reduce_precision
from nr.lax.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from nr.lax.dot import (
    DotDimensionNumbers,
    Precision,
    PrecisionLike,
    batch_matmul,
    dot,
    dot_general,
)
from nr.lax.dynamic_slice import (
    dynamic_index_in_dim,
    dynamic_slice,
    dynamic_slice_in_dim,
    dynamic_update_index_in_dim,
    dynamic_update_slice,
    dynamic_update_slice_in_dim,
)
from nr.lax.elementwise import (
    RoundingMethod,
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    cbrt,
    ceil,
    clamp,
    clz,
    complex,
    conj,
    cos,
    cosh,
    div,
    eq,
    exp,
    exp2,
    expm1,
    floor,
    ge,
    gt,
    imag,
    integer_pow,
    is_finite,
    le,
    log,
    log1p,
    logistic,
    lt,
    max,
    min,
    mul,
    ne,
    neg,
    nextafter,
    population_count,
    pow,
    real,
    reciprocal,
    rem,
    round,
    rsqrt,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    sub,
    tan,
    tanh,
)
from nr.lax.fft import FftType, fft
from nr.lax.gather import gather, index_take
from nr.lax.indexing import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
)
from nr.lax.local_conv import conv_general_dilated_local
from nr.lax.placement import with_sharding_constraint
from nr.lax.primitives import named_primitive
from nr.lax.ragged import RaggedDotDimensionNumbers, ragged_dot, ragged_dot_general
from nr.lax.reduce import (
    argmax,
    argmin,
    reduce,
    reduce_and,
    reduce_max,
    reduce_min,
    reduce_or,
    reduce_prod,
    reduce_sum,
    reduce_xor,
)
from nr.lax.scatter import (
    scatter,
    scatter_add,
    scatter_apply,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_sub,
)
from nr.lax.select import select, select_n
from nr.lax.shape import (
    broadcast,
    broadcast_in_dim,
    broadcast_shapes,
    broadcast_to_rank,
    broadcasted_iota,
    collapse,
    concatenate,
    expand_dims,
    full,
    full_like,
    index_in_dim,
    iota,
    pad,
    reshape,
    rev,
    shape_as_value,
    slice,
    slice_in_dim,
    split,
    squeeze,
    stop_gradient,
    transpose,
    zeros_like_array,
)
from nr.lax.sort import approx_max_k, approx_min_k, sort, sort_key_val, top_k
from nr.lax.special import (
    bessel_i0e,
    bessel_i1e,
    betainc,
    digamma,
    erf,
    erf_inv,
    erfc,
    igamma,
    igamma_grad_a,
    igammac,
    lgamma,
    polygamma,
    random_gamma_grad,
    zeta,
)
from nr.lax.stacking import broadcast_like, empty, stack, tile, unstack
from nr.lax.staging import (
    after_all,
    composite,
    create_token,
    dtype,
    optimization_barrier,
    platform_dependent,
    stage,
)
from nr.lax.window import conv_general_dilated_patches, reduce_window

_ABOVE = {
    "nr.transforms.control_flow": (
        *("associative_scan", "cond", "fori_loop", "map", "scan", "switch", "while_loop"),
    ),
    "nr.transforms.implicit": ("custom_linear_solve", "custom_root"),
}
_MODULES = {name: module for module, names in _ABOVE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        return named_primitive(name, __name__)
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
