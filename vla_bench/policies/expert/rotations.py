"""Small rotation helpers: quaternions (w, x, y, z), rotation vectors, angles on the circle."""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def wrap_angle(angle: float) -> float:
    """Returns the angle (rad) on the branch (-pi, pi]."""
    return math.pi - (math.pi - angle) % (2.0 * math.pi)


def cross(a: Array, b: Array) -> Array:
    """Returns the cross product of two 3-vectors (numpy's general version is ten times slower)."""
    ax, ay, az = a
    bx, by, bz = b
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def matrix_from_quaternion(quaternion: npt.ArrayLike) -> Array:
    """Returns the 3x3 rotation of a quaternion (w, x, y, z), which need not have unit length."""
    w, x, y, z = np.asarray(quaternion, dtype=np.float64)
    s = 2.0 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def matrix_about_z(angle: float) -> Array:
    """Returns the 3x3 rotation by `angle` (rad) about the z axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def matrix_from_axes(x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
    """Returns the rotation whose first column is along `x` and whose second is `y` made
    orthogonal to it.
    """
    first = np.asarray(x, dtype=np.float64)
    first = first / np.linalg.norm(first)
    second = np.asarray(y, dtype=np.float64)
    second = second - first * (first @ second)
    second = second / np.linalg.norm(second)
    return np.column_stack([first, second, cross(first, second)])


def matrix_from_vector(vector: npt.ArrayLike) -> Array:
    """Returns the 3x3 rotation by the vector axis * angle (rad)."""
    turn = np.asarray(vector, dtype=np.float64)
    angle = math.sqrt(float(turn @ turn))
    if angle < 1e-9:
        return np.eye(3)
    half = math.sin(0.5 * angle) / angle
    return matrix_from_quaternion([math.cos(0.5 * angle), *(half * turn)])


def rotation_vector(rotation: Array) -> Array:
    """Returns axis * angle (rad, angle in [0, pi]) of a 3x3 rotation."""
    r = rotation
    skew = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    sine = 0.5 * math.sqrt(float(skew @ skew))
    cosine = 0.5 * (float(r[0, 0] + r[1, 1] + r[2, 2]) - 1.0)
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        return skew * (0.5 * angle / sine)
    if cosine > 0.0:
        return 0.5 * skew
    # A half turn has no skew part: the axis is the column of (R + I) with the largest diagonal
    # entry.
    k = int(np.argmax(np.diag(r)))
    column = r[:, k] + np.eye(3)[:, k]
    axis: Array = column / np.linalg.norm(column)
    return axis * angle


def rotation_between(start: Array, end: Array) -> Array:
    """Returns the shortest rotation vector (rad) that turns the unit vector `start` onto `end`."""
    axis = cross(start, end)
    sine = math.sqrt(float(axis @ axis))
    angle = math.atan2(sine, float(start @ end))
    if sine > 1e-9:
        return axis * (angle / sine)
    if angle < 1.0:
        return np.zeros(3)
    helper = np.eye(3)[int(np.argmin(np.abs(start)))]
    normal = cross(start, helper)
    return normal * (math.pi / float(np.linalg.norm(normal)))
