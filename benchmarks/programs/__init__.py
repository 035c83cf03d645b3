"""The rows of all benchmarks, one concept a file; nr and JAX run the same source."""

from programs import (
    attention,
    bfloat16,
    compilation,
    convolution,
    dispatch,
    elementwise,
    layers,
    linalg,
    matmul,
    optimizers,
    ordering,
    recurrent,
    rows,
    sampling,
    simulation,
    training,
    transformer,
    transforms,
)

ROWS = {
    row.name: row
    for module in (
        training,
        layers,
        optimizers,
        convolution,
        transformer,
        attention,
        recurrent,
        simulation,
        transforms,
        elementwise,
        rows,
        ordering,
        sampling,
        linalg,
        matmul,
        bfloat16,
        dispatch,
        compilation,
    )
    for row in module.ROWS
}
