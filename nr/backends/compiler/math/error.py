"""erf, erfc and erf_inv.

Minimax polynomials found by Remez' algorithm at 50 digits, the leading coefficients rounded one
after the other. The errors stated were measured against long double and, of f32, float64.
"""

from __future__ import annotations

import math

from nr.backends.compiler.expr import Expr, copysign, eq, fma, node, select, unary
from nr.backends.compiler.math.exponential import expm1_reduced, integer_of, reduced, scaled
from nr.backends.compiler.math.logarithm import log
from nr.backends.compiler.math.polynomial import exact_product, horner

# From here on erf rounds to 1.
_ERF_END = {"f32": 3.93, "f64": 5.94}
# q(x)/x - 1 in x**2, where erf(x) = h(q(x)); see `erf`.
_ERF = {
    "f32": (
        0.12837917, -0.103686005, 0.008133976, -0.00047295488, 2.0597303e-05, -6.729682e-07,
        1.553204e-08, -1.9189715e-10,
    ),
    "f64": (
        0.12837916709551261, -0.07588604118503066, 0.004329431563928192, -0.0001817115065382897,
        5.694620231192153e-06, -1.3876198568714447e-07, 2.9277931922656872e-09,
        -6.225509588543334e-11, 1.2076274356493545e-12, -1.1998921571881097e-14,
        3.050110466336276e-17, -2.0925448370045646e-17, 1.6442896875304545e-18,
        -5.927209156669101e-20, 1.2120764853232996e-21, -1.3842283766330673e-23,
        7.1226176672708e-26, -3.462017584215849e-29,
    ),
}  # fmt: skip
# h(q)/q - 1 in q**2, less its zero constant; the last digit of the last one makes the maximum 1.
_SMOOTH_STEP = {
    "f32": (
        -0.18962963, 0.016181728,
    ),
    "f64": (
        -0.2089795918367347, 0.026203481882548937, -0.0013038078448848447,
    ),
}  # fmt: skip

# Beyond the end erfc rounds to zero; the polynomial is in (x - a) / (x + a).
_ERFC_END = {"f32": 10.2, "f64": 27.3}
_ERFC_CENTRE = {"f32": 2.0, "f64": 3.8125}
# exp(x**2) erfc(x) (1 + 2 x).
_ERFC = {
    "f32": (
        1.2769784, -0.09276398, -0.16603146, 0.16405542, -0.05420388, -0.008060147, 0.008630077,
        0.0013133083, -0.0012279808, -0.00039943832,
    ),
    "f64": (
        1.2363539084541144, -0.14015514677325863, 0.006738807450820867, 0.07862435546318226,
        -0.1069712461906168, 0.09290774430806621, -0.060814321806573333, 0.03063056268350818,
        -0.011296473852548736, 0.0024679106459296117, 0.00011018514201182572,
        -0.00030065712554459926, 8.064476896425803e-05, 1.4375212752332552e-05,
        -1.3467327874574428e-05, 7.072829478533286e-07, 1.7460618193686853e-06,
        -3.2021692708584776e-07, -2.2655167793840617e-07, 5.798151809843122e-08,
        3.048533400282526e-08, -5.906745260279588e-09, -3.0783443746175354e-09,
    ),
}  # fmt: skip

# erf_inv(x)/x in w = -log(1 - x**2), for w < 5.
_CENTRAL_END = 5.0
_CENTRAL = {
    "f32": (
        0.8862269, 0.23201485, 0.011542591, -0.0023208268, -0.00014227674, 5.3602962e-05,
        7.65695e-07, -1.313068e-06, 1.4765031e-07, -5.4233547e-09,
    ),
    "f64": (
        0.886226925452758, 0.23201366653464708, 0.011549342038507543, -0.002335101644602884,
        -0.00012804327429159006, 4.661135905027797e-05, 2.0202095806793058e-06,
        -1.0129766004268511e-06, -3.670328307011706e-08, 2.2168489877348393e-08,
        1.2608645385741241e-09, -8.429540561282068e-10, 1.4041613092349064e-10,
        -4.7864077629981076e-11, 1.8248808466890628e-11, -4.337097549652453e-12,
        6.607622642121488e-13, -6.718980427898102e-14, 4.549741104936486e-15,
        -1.952167746436698e-16, 4.676288307847236e-18, -4.4518118270675235e-20,
    ),
}  # fmt: skip
# In sqrt(w) - 2.96875, for 5 <= w < 16.
_TAIL_SINGLE = (
    2.801684, 1.0010617, 0.010196303, -0.008385729, 0.0062655224, -0.003868537, 0.0015038858,
    7.557902e-06, -0.0003553364, 0.00012915468,
)  # fmt: skip
# In w - 8.65625 up to w = 12, and in sqrt(w) - 5.0625 up to 36.1.
_TAIL_DOUBLE = (
    2.7750636147325785, 0.1700288728605239, -0.004595970720577695, 0.00022088471081650027,
    -9.641099877031694e-06, -1.7419190812421907e-08, 8.191765169951072e-08,
    -1.3088583753353221e-08, 1.35635966667386e-09, -9.666452717076862e-11,
    3.091327602205986e-12, 3.5415243445576315e-13, -7.854719363073491e-14,
    8.643879808809964e-15, -6.267948544981709e-16, 2.2756097429727687e-17,
    2.127420705853322e-18, -5.945377379455279e-19, 5.612777454920707e-20,
    -1.2889495508870371e-21,
)  # fmt: skip
_FAR_DOUBLE = (
    4.913049587233785, 1.0102806778035607, -0.00017730336129877344, -0.00019677853804051757,
    7.010167466167476e-05, -1.8062952041419788e-05, 4.11535634290579e-06, -8.87225349198653e-07,
    1.9559099581747854e-07, -5.2306469560436894e-08, 2.0338282732099762e-08,
    -1.0355205693449204e-08, 5.381571641313576e-09, -2.4616805875959617e-09,
    1.012579260526348e-09, -3.7138180285034576e-10, 3.584763766807794e-11,
    2.541555405011213e-11, 1.572380464933266e-11, 3.825581153454416e-12, -8.186719484772957e-12,
    -2.0872890599774808e-12,
)  # fmt: skip


def erf(x: Expr) -> Expr:
    """The error function: at most 2.3 ulp in f32 and 3.9 in f64.

    It is h(q) for a smooth step h(q) = c * integral of (1 - q**2)**k, which rises from -1 to 1
    and is flat at both ends, so that q needs no more than a polynomial of low degree: neither a
    division nor an exponential, and the errors of q vanish where erf saturates.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> erf(node("register", (), "f32", "x")).op
        'copysign'
    """
    end = _ERF_END[x.dtype]
    a = unary("abs", x)
    a = select(a > end, end, a)
    q = fma(horner(a * a, _ERF[x.dtype]), a, a)
    square = q * q
    result = fma(q, horner(square, _SMOOTH_STEP[x.dtype]) * square, q)
    if x.dtype == "f64":  # in f32 the rounding errors never exceed 1
        result = select(result > 1.0, 1.0, result)
    return copysign(result, x)


def erfc(x: Expr) -> Expr:
    """1 - erf(x): at most 3.5 ulp, through the subnormal numbers down to zero.

    For x > 0 it is exp(-x**2) times a function that varies slowly (Shepherd & Laframboise,
    Math. Comp. 36, 1981), x**2 being kept in two parts.
    """
    end, centre = _ERFC_END[x.dtype], _ERFC_CENTRE[x.dtype]
    a = unary("abs", x)
    a = select(a > end, end, a)
    inverse = 1.0 / (a + centre)
    t = fma(a - centre, inverse, -0.0)
    # What rounding took from t: a - centre - t (a + centre), times the inverse.
    t = fma(fma(-t, a, fma(t + 1.0, -centre, a)), inverse, t)
    p, inverse = horner(t, _ERFC[x.dtype]), 1.0 / fma(a, 2.0, 1.0)
    slow = fma(p, inverse, -0.0)
    slow = fma(fma(slow * -2.0, a, p - slow), inverse, slow)  # p / (1 + 2 a), rounded once
    high, low = exact_product(a, a)
    r, shifted = reduced(-high)
    slow = fma(slow, expm1_reduced(r - low), slow)
    positive = scaled(slow, integer_of(shifted))
    return select(x < 0.0, 2.0 - positive, positive)


def erf_inv(x: Expr) -> Expr:
    """The inverse of erf: at most 2.5 ulp; infinite at -1 and 1, NaN beyond.

    Source: M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2010), for the
    choice of w as the variable.
    """
    w = -log(fma(-x, x, 1.0))
    usual = horner(w, _CENTRAL[x.dtype])
    root = unary("sqrt", w)
    if x.dtype == "f32":
        tail = horner(root - 2.96875, _TAIL_SINGLE)
    else:
        near, far = horner(w - 8.65625, _TAIL_DOUBLE), horner(root - 5.0625, _FAR_DOUBLE)
        tail = select(w < 12.0, near, far)
    tail = select(eq(unary("abs", x), 1.0), math.inf, tail)
    return node("rarely", (~(w < _CENTRAL_END), tail, usual), x.dtype) * x
