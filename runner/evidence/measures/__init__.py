"""Measures of a step that are known when it is over and has been judged, one family a module: pure functions on values.

Each returns readings by the name of the metric; docs/reference/metrics.md has their definitions and formulas.
"""
