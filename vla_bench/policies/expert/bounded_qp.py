"""A tiny quadratic program with bounds, solved by a primal active set."""

import numpy as np
import numpy.typing as npt

from vla_bench.policies.expert.rotations import Array

Mask = npt.NDArray[np.bool_]


def solve_bounded(
    hessian: Array, gradient: Array, lower: Array, upper: Array, iterations: int = 60
) -> Array:
    """Minimises x'Hx/2 - g'x over lower <= x <= upper.

    Args:
        hessian: (n, n) positive definite.
        gradient: (n,).
        lower: (n,) bounds, equal to `upper` where a variable is fixed.
        upper: (n,).
        iterations: a cap; ten variables take about ten.

    Returns:
        (n,) the minimiser (or the best feasible point found when the cap is reached).
    """
    x = np.clip(np.linalg.solve(hessian, gradient), lower, upper)
    movable: Mask = upper > lower
    free: Mask = movable & (x > lower) & (x < upper)
    for _ in range(iterations):
        goal = _free_minimiser(hessian, gradient, x, free)
        ratio, blocking = _first_bound(x, goal, lower, upper, free)
        x = x + ratio * (goal - x)
        if blocking >= 0:
            x[blocking] = upper[blocking] if goal[blocking] > x[blocking] else lower[blocking]
            free[blocking] = False
            continue
        slope = hessian @ x - gradient
        # A variable at its bound is released when moving inwards lowers the cost.
        pull = np.where(x <= lower, -slope, slope)
        pull[free | ~movable] = -np.inf
        worst = int(np.argmax(pull))
        if pull[worst] <= 1e-9:
            break
        free[worst] = True
    feasible: Array = np.clip(x, lower, upper)
    return feasible


def _free_minimiser(hessian: Array, gradient: Array, x: Array, free: Mask) -> Array:
    """Returns x with its free entries moved to their minimiser, the others fixed."""
    goal = x.copy()
    index = np.flatnonzero(free)
    if len(index):
        fixed = np.flatnonzero(~free)
        rest = gradient[index] - hessian[np.ix_(index, fixed)] @ x[fixed]
        goal[index] = np.linalg.solve(hessian[np.ix_(index, index)], rest)
    return goal


def _first_bound(
    x: Array, goal: Array, lower: Array, upper: Array, free: Mask
) -> tuple[float, int]:
    """Returns how far one can go from x to goal (at most 1), and the variable that blocks (-1:
    none).
    """
    move = goal - x
    room = np.where(move > 0, upper - x, lower - x)
    ratios = np.ones_like(x)
    moving = free & (np.abs(move) > 1e-14)
    ratios[moving] = room[moving] / move[moving]
    blocking = int(np.argmin(ratios))
    if ratios[blocking] >= 1.0:
        return 1.0, -1
    return max(float(ratios[blocking]), 0.0), blocking
