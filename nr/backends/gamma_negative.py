"""lgamma and digamma of negative f64, by the reflection formulas (DLMF 5.5.3 and 5.5.4).

The two terms of these cancel near the roots, of which digamma has one between any two poles, and
lgamma two below -2; elsewhere they cancel in part. They are computed in pairs of f64: by Stirling's
formula from 17 on, where gamma(1 + y) is that of y + 17 over a product of sixteen factors. For the
roots among the smallest numbers, next to which there are f64 so close that even a pair is not
precise enough, they are tabulated as pairs: there the functions are a parabola in the distance from
the root.

The polynomials interpolate at Chebyshev nodes, with 150 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nr.backends.doubled import (
    Arithmetic,
    Number,
    Pair,
    add,
    choose,
    divide,
    horner,
    log,
    multiply,
    reciprocal,
    total,
)

_PI = Pair(3.141592653589793, 1.2246467991473532e-16)
_PI_SQUARE = Pair(9.869604401089358, 6.265295508739711e-16)
_HALF_LOG_TWO_PI = Pair(0.9189385332046728, -3.8782941580672414e-17)

# pi s cot(pi s) in s**2 for |s| <= 1/4, relative error 2**-109.
_COT = (
    (1.0, 0.0), (-3.289868133696453, -6.08134470079695e-17),
    (-2.1646464674222763, -9.497024085733465e-17), (-2.0346861239688985, 1.9517198372029126e-16),
    (-2.0081547123958887, 4.0343229614604985e-17), (-2.001989150255636, -2.1864226917453134e-16),
    (-2.000492173106616, -2.8100554551201736e-17), (-2.0001224962701145, 1.3960660370065055e-16),
    (-2.0000305645191236, -1.654448688209338e-16), (-2.000007634564137, 3.784741591659778e-17),
    (-2.0000019091360612, -1.1386538377488243e-16),
    (-2.0000004275940966, -6.513459879200882e-18), (-2.000001637526322, 7.906755120174699e-17),
    (-1.999964652319301, 1.0919748232363894e-16), -2.0006185369576746, -1.9920381645060559,
    -2.0728316864960274, -1.5567956335461273, -3.5583900193041114,
)  # fmt: skip
# sin(pi r) / r in r**2 for |r| <= 1/2, to 2**-95.
_SIN = (
    (3.141592653589793, 1.2246467991473532e-16), (-5.16771278004997, 2.266562282579115e-16),
    (2.5501640398773455, -7.931006347281758e-17), (-0.5992645293207921, 2.845026485509999e-17),
    (0.08214588661112823, -3.847571199060991e-18),
    (-0.0073704309457143504, -3.220884317084692e-19),
    (0.00046630280576761234, -1.6896156997189607e-20),
    (-2.191535344782669e-05, 1.388708995614813e-21),
    (7.952054001140497e-07, 2.85360403847502e-23), -2.2948428784957617e-08,
    5.392655772783157e-10, -1.0516109607091818e-11, 1.6941025595267596e-13,
)  # fmt: skip
# x**2 (log(x) - 1/(2 x) - digamma(x)), and x (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2),
# in x**-2 for x >= 17: to 2**-99 and 2**-90.
_DIGAMMA_TAIL = (
    (0.08333333333333333, 4.625929269270375e-18),
    (-0.008333333333333333, -1.1564815403649178e-19),
    (0.003968253968253968, 2.193832465958478e-19),
    (-0.004166666666666662, -3.331592604805383e-19),
    (0.007575757575748156, 3.903240330901899e-19), -0.021092796080035732, 0.08333332253482052,
    -0.4432539168613159, 3.0518813567189724, -25.99800548408785, 222.66140095799986,
)  # fmt: skip
_LGAMMA_TAIL = (
    (0.08333333333333333, 4.6259292686183254e-18),
    (-0.002777777777777778, 1.0604146485364939e-19),
    (0.0007936507936507934, -1.842402747941161e-20), -0.0005952380952373938,
    0.000841750840705018, -0.0019175260400750304, 0.006409822670327213, -0.029424961533157563,
    0.15971606157979523,
)  # fmt: skip

# From where on no factors are split off, and j (17 - j): with v = y (y + 17), the factors y + j and
# y + 17 - j have the product v + j (17 - j).
_LARGE = 16.0
_FACTORS = tuple([float(j * (17 - j)) for j in range(1, 9)])

# -root as a pair, the derivative and half the second derivative there; for digamma between -n - 1
# and -n in row n, for lgamma between -n/2 - 5/2 and -n/2 - 2.
_DIGAMMA_ROOTS = (
    (0.5040830082644554, 8.15428206243813e-18, 8.939798558792134, -0.8093454625306507),
    (1.5734984731623904, 1.574185691077347e-17, 9.941513615924176, -7.802593974782628),
    (2.6107208684441447, -9.881960746978353e-17, 10.84832879920919, -12.770725694247192),
    (3.635293366436901, -5.454396163173039e-17, 11.650939359651861, -16.938337607821335),
    (4.653237761743142, 2.5492686201468193e-16, 12.369637994669782, -20.636997462381604),
    (5.6671624415568855, 3.2153051074948335e-18, 13.021406387509394, -24.0108335669899),
    (6.678418213073427, -3.470798723495241e-16, 13.61885190419576, -27.138720475450622),
    (7.687788325031626, 1.351562494643672e-16, 14.17134063324115, -30.070057845407266),
    (8.695764163816401, 3.2859903716289447e-16, 14.685967981672645, -32.83860036635177),
    (9.702672540001863, 3.2563178405401477e-16, 15.168227153977934, -35.4688400421718),
    (10.708740838254144, 6.287211750540301e-16, 15.622457622439102, -37.97933883319623),
    (11.714133061228955, -8.598250154343834e-16, 16.052149399699143, -40.384634336499815),
    (12.718971025749207, 4.752312432106917e-16, 16.460153754774325, -42.69640768075799),
    (13.723347457363827, -4.528278691518058e-16, 16.848832388781286, -44.92423925555607),
    (14.727334416018529, 3.6618399963139786e-17, 17.220165296986988, -47.07611954114229),
    (15.730988906332882, -1.0551956373365842e-16, 17.57583029204343, -49.15880694488889),
    (16.734356723955734, 1.2039501631800144e-15, 17.917262680194938, -51.17808601478364),
)  # fmt: skip
_LGAMMA_ROOTS = (
    (2.4570247382208006, 3.7075610815513266e-17, 1.5156034480216574, 4.8583209516339965),
    (2.7476826467274127, -9.055340329338315e-17, -1.9143501856115988, 9.575189475709667),
    (3.14358088834998, 2.1818179852331714e-16, 7.781884658131351, 25.831338372387957),
    (3.955294284858598, 1.999428391746348e-17, -20.725060845803707, 251.7146825868894),
    (4.039361839740537, -2.1143995503980602e-16, 26.790480886140593, 324.25532293784715),
    (4.991544640560048, -1.5174411760571722e-16, -116.53578161624363, 6995.235954894064),
    (5.0082181683225935, 4.3926353491015815e-17, 123.3621845633534, 7404.762432228682),
    (5.998607480080875, 3.311862478893795e-16, -716.2454304275473, 257851.58963956262),
    (6.001385294453155, -6.415847287933042e-17, 723.7366299252801, 260548.41030309396),
    (6.999801507890638, -1.0550130037400023e-17, -5035.967373768125, 12690641.16604718),
    (7.000198333407325, -2.504354173632409e-16, 5044.029941110829, 12710958.833951395),
    (7.999975197095821, 5.261737128572354e-17, -40315.71854218779, 812764889.3354839),
    (8.000024800270682, 4.354586297860107e-16, 40324.281108124356, 812937510.664516),
)  # fmt: skip
# Up to this value, a parabola is exact to rounding, and there are digits enough beyond.
_NEAR = 2.0**-29


def _near_root(of: Arithmetic, y: Number, row: Number, roots: tuple, otherwise: Number) -> Number:
    """`otherwise`, unless -y is close to the root in that row of the table, if there is one."""
    columns = [of.lookup(column, row) for column in zip(*roots, strict=True)]
    root, low, slope, curvature = columns
    distance = (root - y) + low
    change = distance * slope
    parabola = of.fma(distance * distance, curvature, change)
    return of.select(of.size(change) < _NEAR, parabola, otherwise)


def _products(of: Arithmetic, y: Number) -> list[Pair]:
    """The eight products of two of the factors y + 1, …, y + 16."""
    v = multiply(of, Pair(y, 0.0), total(y, 17.0))
    sums = [total(v.high, c) for c in _FACTORS]
    return [Pair(s.high, s.low + v.low) for s in sums]


def _tree(values: list[Pair], operation: Callable[[Pair, Pair], Pair]) -> Pair:
    while len(values) > 1:
        values = [operation(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def lgamma_negative(of: Arithmetic, x: Number) -> Number:
    """log|gamma(x)| for x <= -1/2: at most 2 ulp, infinite at the poles and at -infinity.

    With y = -x, it is log(pi / |sin(pi y)|) - lgamma(1 + y).
    """
    y = of.size(x)
    shifted = y < _LARGE
    shift = of.select(shifted, 17.0, 1.0)
    w = total(y, shift)
    inverse = reciprocal(of, w)
    product = _tree(_products(of, y), lambda a, b: multiply(of, a, b))
    numerator = choose(of, shifted, multiply(of, product, _PI), _PI)
    r = of.size(y - of.nearest(y))
    exact = Pair(r, 0.0)
    sine = multiply(of, exact, horner(of, multiply(of, exact, exact), _SIN))
    reflected = log(of, divide(of, numerator, sine))
    tail = horner(of, multiply(of, inverse, inverse), _LGAMMA_TAIL)
    tail = add(multiply(of, inverse, tail), _HALF_LOG_TWO_PI)
    power = multiply(of, total(y, shift - 0.5), log(of, w))
    positive = add(add(power, -w), tail)
    result = add(reflected, -positive).high
    result = _near_root(of, y, of.floor(y + y) - 4.0, _LGAMMA_ROOTS, result)
    return of.select(of.equal(r, 0.0) | of.equal(y, math.inf), math.inf, result)


def digamma_negative(of: Arithmetic, x: Number) -> Number:
    """The derivative of lgamma for x < 0: at most 3 ulp, NaN at the poles and at -infinity.

    With y = -x, it is pi cot(pi y) + digamma(1 + y).
    """
    y = of.size(x)
    shifted = y < _LARGE
    w = total(y, of.select(shifted, 17.0, 1.0))
    inverse = reciprocal(of, w)
    square = multiply(of, inverse, inverse)
    tail = multiply(of, square, horner(of, square, _DIGAMMA_TAIL))
    tail = add(Pair(inverse.high * 0.5, inverse.low * 0.5), tail)
    inverses = _tree([reciprocal(of, p) for p in _products(of, y)], add)
    split = multiply(of, inverses, total(y + y, 17.0))
    tail = choose(of, shifted, add(split, tail), tail)
    positive = add(log(of, w), -tail)
    # pi cot(pi r) is pi tan(pi s) with s = 1/2 - |r|; the series is that of the smaller of the two.
    r = y - of.nearest(y)
    size = of.size(r)
    close = size <= 0.25
    exact = Pair(of.select(close, size, 0.5 - size), 0.0)
    series = horner(of, multiply(of, exact, exact), _COT)
    numerator = choose(of, close, series, multiply(of, exact, _PI_SQUARE))
    cotangent = divide(of, numerator, choose(of, close, exact, series))
    cotangent = choose(of, r < 0.0, -cotangent, cotangent)
    result = add(positive, cotangent).high
    result = _near_root(of, y, of.floor(y), _DIGAMMA_ROOTS, result)
    # Next to the pole at 0 it is -1/x, to rounding.
    result = of.select(y < 2.0**-60, 1.0 / y, result)
    return of.select(of.equal(r, 0.0), math.nan, result)
