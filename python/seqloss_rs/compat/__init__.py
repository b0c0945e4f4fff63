"""Drop-in modules: other packages' names, argument orders and results, with the numbers from the native module.

``import seqloss_rs.compat.jiwer as jiwer`` is all that changes. What the names mean is told in the documentation of the
packages that they are from.
"""
