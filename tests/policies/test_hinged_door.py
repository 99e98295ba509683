"""A hinged door's geometry, for doors that open either way."""

import numpy as np
import pytest

from vla_bench.policies.expert.hinged_door import HingedDoor, level_tilted
from vla_bench.policies.expert.rotations import wrap_angle


def door(turn: float, angle: float) -> HingedDoor:
    """A door whose closed panel lies along y; its handle is at (0.1, -turn * 0.6, 1.1)."""
    hinge = np.array([0.0, 0.0, 0.9])
    closed = HingedDoor(hinge, np.array([0.1, -turn * 0.6, 1.1]), turn, 0.0, 2.3)
    return HingedDoor(hinge, closed.handle_at(angle), turn, angle, 2.3)


@pytest.mark.parametrize("turn", [1.0, -1.0])
@pytest.mark.parametrize("angle", [0.0, 1.2])
def test_handle_moves_on_a_circle_whatever_the_present_angle(turn: float, angle: float) -> None:
    quarter = door(turn, angle).handle_at(np.pi / 2)
    np.testing.assert_allclose(quarter, [0.6, turn * 0.1, 1.1], atol=1e-12)


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_pull_is_the_derivative_of_the_handle(turn: float) -> None:
    opened = door(turn, 0.4)
    slope = (opened.handle_at(0.9 + 1e-6) - opened.handle_at(0.9 - 1e-6)) / 2e-6
    np.testing.assert_allclose(opened.pull_at(0.9), slope, atol=1e-8)


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_who_faces_the_closed_door_looks_against_its_pull(turn: float) -> None:
    expected = np.pi + turn * np.arctan2(0.1, 0.6)
    assert wrap_angle(door(turn, 0.7).into - expected) == pytest.approx(0.0, abs=1e-9)


def test_level_tilted_points_down_and_closes_level() -> None:
    rotation = level_tilted(yaw=0.3, tilt=np.deg2rad(30))
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 0] == pytest.approx(-np.cos(np.deg2rad(30)))
    assert rotation[2, 1] == pytest.approx(0.0)
