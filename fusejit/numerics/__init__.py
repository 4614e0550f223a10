"""Numerics: transcendental functions in the scalar language, and the NumPy reference evaluator.

Every function here is an ordinary function of `Expr`s for float32 and float64: straight-line,
total, and made of the primitives of `fusejit.scalar` only, so one spelling serves every target.
Their docstrings give the greatest error found, in ulps of the true value; the tests hold bounds.
"""
