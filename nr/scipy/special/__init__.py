"""Special functions with SciPy's names, element by element unless they say otherwise.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF), whose sections are
named. Operands are promoted to a floating dtype and broadcast.
"""

from nr.scipy.special.bessel import (
    bessel_jn,
    i0,
    i0e,
    i1,
    i1e,
)
from nr.scipy.special.error_functions import (
    dawsn,
    erf,
    erfc,
    erfcx,
    erfinv,
    log_ndtr,
    ndtr,
    ndtri,
    wofz,
)
from nr.scipy.special.exponential_integrals import (
    exp1,
    expi,
    expn,
)
from nr.scipy.special.exponentials import (
    boxcox,
    boxcox1p,
    entr,
    expit,
    kl_div,
    log_softmax,
    logit,
    logsumexp,
    rel_entr,
    softmax,
    xlog1py,
    xlogy,
)
from nr.scipy.special.gamma_functions import (
    bernoulli,
    beta,
    betainc,
    betaln,
    comb,
    digamma,
    factorial,
    gamma,
    gammainc,
    gammaincc,
    gammaln,
    gammasgn,
    loggamma,
    multigammaln,
    poch,
    polygamma,
    psi,
    zeta,
)
from nr.scipy.special.hypergeometric import (
    hyp1f1,
    hyp2f1,
)
from nr.scipy.special.legendre import (
    lpmn,
    lpmn_values,
)
from nr.scipy.special.other_integrals import (
    owens_t,
    spence,
)
from nr.scipy.special.spherical_harmonics import (
    sph_harm_y,
)
from nr.scipy.special.trigonometric_integrals import (
    fresnel,
    sici,
)

__all__ = [
    "bernoulli",
    "bessel_jn",
    "beta",
    "betainc",
    "betaln",
    "boxcox",
    "boxcox1p",
    "comb",
    "dawsn",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "hyp1f1",
    "hyp2f1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "lpmn",
    "lpmn_values",
    "multigammaln",
    "ndtr",
    "ndtri",
    "owens_t",
    "poch",
    "polygamma",
    "psi",
    "rel_entr",
    "sici",
    "softmax",
    "spence",
    "sph_harm_y",
    "wofz",
    "xlog1py",
    "xlogy",
    "zeta",
]
