"""Random numbers from explicit keys: JAX's names, and its bits (Threefry-2x32).

A key is used once. `split` and `fold_in` make new keys from one; samplers take a key, typed
(`key`) or raw (`PRNGKey`), and the same key always gives the same numbers, eagerly, under
`nr.vmap` and under `nr.jit`.
"""

from nr.random.binomial import binomial as binomial
from nr.random.binomial import multinomial as multinomial
from nr.random.bits import bits as bits
from nr.random.continuous import cauchy as cauchy
from nr.random.continuous import double_sided_maxwell as double_sided_maxwell
from nr.random.continuous import exponential as exponential
from nr.random.continuous import gumbel as gumbel
from nr.random.continuous import laplace as laplace
from nr.random.continuous import logistic as logistic
from nr.random.continuous import lognormal as lognormal
from nr.random.continuous import maxwell as maxwell
from nr.random.continuous import normal as normal
from nr.random.continuous import pareto as pareto
from nr.random.continuous import rayleigh as rayleigh
from nr.random.continuous import triangular as triangular
from nr.random.continuous import truncated_normal as truncated_normal
from nr.random.continuous import wald as wald
from nr.random.continuous import weibull_min as weibull_min
from nr.random.discrete import bernoulli as bernoulli
from nr.random.discrete import categorical as categorical
from nr.random.discrete import geometric as geometric
from nr.random.discrete import rademacher as rademacher
from nr.random.discrete import randint as randint
from nr.random.gamma import ball as ball
from nr.random.gamma import beta as beta
from nr.random.gamma import chisquare as chisquare
from nr.random.gamma import dirichlet as dirichlet
from nr.random.gamma import f as f
from nr.random.gamma import gamma as gamma
from nr.random.gamma import generalized_normal as generalized_normal
from nr.random.gamma import loggamma as loggamma
from nr.random.gamma import t as t
from nr.random.keys import PRNGKey as PRNGKey
from nr.random.keys import PRNGKeyArray as PRNGKeyArray
from nr.random.keys import clone as clone
from nr.random.keys import fold_in as fold_in
from nr.random.keys import key as key
from nr.random.keys import key_data as key_data
from nr.random.keys import key_dtype as key_dtype
from nr.random.keys import key_impl as key_impl
from nr.random.keys import split as split
from nr.random.keys import wrap_key_data as wrap_key_data
from nr.random.matrices import multivariate_normal as multivariate_normal
from nr.random.matrices import orthogonal as orthogonal
from nr.random.permutation import choice as choice
from nr.random.permutation import permutation as permutation
from nr.random.poisson import poisson as poisson
from nr.random.uniform import uniform as uniform
