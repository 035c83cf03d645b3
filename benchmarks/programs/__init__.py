"""The rows of all benchmarks, one concept a file; nr and JAX run the same source."""

from programs import (
    compilation,
    dispatch,
    elementwise,
    matmul,
    recurrent,
    rows,
    simulation,
    training,
    transforms,
)

ROWS = {
    row.name: row
    for module in (
        training,
        recurrent,
        simulation,
        transforms,
        elementwise,
        rows,
        matmul,
        dispatch,
        compilation,
    )
    for row in module.ROWS
}
