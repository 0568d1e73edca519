"""Multi-objective evolution as dense tensor operations: ranks, variation, weights, indicators, and three selections.

All values are minimised; points lie in the unit cube. Every table that grows with the square of the population is
made in blocks of at most `cap` elements.
"""
