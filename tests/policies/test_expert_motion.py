"""The experts' motion machinery, against SAPIEN and in an empty simulated room."""

import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

mani_skill_envs = pytest.importorskip("mani_skill.envs")
torch = pytest.importorskip("torch")

from vla_bench.policies.expert import actuators  # noqa: E402
from vla_bench.policies.expert.base_drive import at_pose, drive_straight, drive_to_pose  # noqa: E402
from vla_bench.policies.expert.bounded_qp import solve_bounded  # noqa: E402
from vla_bench.policies.expert.kinematics import REST_POSTURE, fetch_kinematics  # noqa: E402
from vla_bench.policies.expert.reach import ReachSolver  # noqa: E402
from vla_bench.policies.expert.rest import at_rest  # noqa: E402
from vla_bench.policies.expert.robot_state import RobotState  # noqa: E402
from vla_bench.policies.expert.rotations import matrix_from_axes, rotation_vector  # noqa: E402
from vla_bench.policies.expert.target import TcpTarget, pointing  # noqa: E402
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController  # noqa: E402

POSTURE_IN_ROBOT = np.array([3, 5, 7, 8, 9, 10, 11, 12])


class Room:
    """The Fetch alone on a floor, with the observation that experts get."""

    def __init__(self) -> None:
        self.env: Any = gymnasium.make(
            "Empty-v1",
            robot_uids="fetch",
            control_mode="pd_joint_delta_pos",
            obs_mode="none",
            reward_mode="none",
            render_backend="cpu",
            sim_config={"sim_freq": 100, "control_freq": 20, "spacing": 50},
        ).unwrapped
        self.env.reset(seed=0)
        self.robot = self.env.agent.robot

    def place(
        self, posture: np.ndarray = REST_POSTURE, base: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> None:
        qpos = self.env.agent.keyframes["rest"].qpos.copy()
        qpos[:3], qpos[POSTURE_IN_ROBOT] = base, posture
        self.robot.set_qpos(torch.tensor(qpos[None], dtype=torch.float32))
        self.robot.set_qvel(torch.zeros(1, 15))
        self.env.agent.controller.reset()

    def state(self) -> RobotState:
        qpos, qvel = self.robot.get_qpos()[0].numpy(), self.robot.get_qvel()[0].numpy()
        pose = self.env.agent.base_link.pose
        w, _, _, z = pose.q[0].numpy()
        base = np.array([*pose.p[0, :2].numpy(), 2 * np.arctan2(z, w)])
        return RobotState.from_observation(
            {"qpos": qpos[3:], "qvel": qvel[3:], "base_pose": base, "base_velocity": qvel[:3]}
        )

    def step(self, action: np.ndarray) -> None:
        assert action.shape == (13,)
        assert action.dtype == np.float32
        assert np.all(np.abs(action) <= 1.0)
        assert action[8] == action[9] == 0.0
        self.env.step(action)


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.env.close()


def test_rest_posture_is_the_keyframe(room: Room) -> None:
    keyframe = room.env.agent.keyframes["rest"].qpos
    np.testing.assert_allclose(REST_POSTURE, keyframe[POSTURE_IN_ROBOT])


def test_forward_kinematics_agrees_with_sapien(room: Room) -> None:
    kinematics, rng = fetch_kinematics(), np.random.default_rng(0)
    for _ in range(20):
        posture = rng.uniform(kinematics.lower, kinematics.upper)
        room.place(posture, tuple(rng.uniform(-1, 1, 3)))
        chain = kinematics.forward(posture)
        for name, transform in zip(kinematics.link_names, chain.transforms, strict=True):
            relative = room.env.agent.base_link.pose.inv() * room.robot.links_map[name].pose
            np.testing.assert_allclose(
                transform, relative.to_transformation_matrix()[0].numpy(), atol=1e-5
            )


def test_jacobian_is_the_derivative() -> None:
    kinematics, rng = fetch_kinematics(), np.random.default_rng(1)
    posture = rng.uniform(kinematics.lower, kinematics.upper)
    chain = kinematics.forward(posture)
    jacobian = kinematics.jacobian(chain)
    for joint in range(8):
        moved = posture.copy()
        moved[joint] += 1e-6
        after = kinematics.forward(moved)
        linear = (after.tcp_position - chain.tcp_position) / 1e-6
        angular = rotation_vector(after.tcp_rotation @ chain.tcp_rotation.T) / 1e-6
        np.testing.assert_allclose(jacobian[:, joint], [*linear, *angular], atol=1e-4)


def test_bounded_solution_meets_the_optimality_conditions() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        root = rng.normal(size=(6, 10))
        hessian, gradient = root.T @ root + 1e-3 * np.eye(10), rng.normal(size=10)
        lower = -rng.uniform(0, 0.5, 10)
        upper = np.where(rng.random(10) < 0.2, lower, rng.uniform(0, 0.5, 10))
        x = solve_bounded(hessian, gradient, lower, upper)
        slope = hessian @ x - gradient
        inside = (x > lower) & (x < upper)
        assert np.all(np.abs(slope[inside]) < 1e-7)
        assert np.all(slope[(x <= lower) & (upper > lower)] > -1e-7)
        assert np.all(slope[(x >= upper) & (upper > lower)] < 1e-7)


@pytest.mark.parametrize(("joint", "action"), [(k + 1, k) for k in range(7)])
def test_arm_joints_move_at_the_measured_rate(room: Room, joint: int, action: int) -> None:
    posture = np.array([0.3, 0.1, -0.2, 0.1, 0.3, 0.2, 0.3, 0.1])
    room.place(posture)
    command = np.zeros(13, dtype=np.float32)
    command[action] = 1.0
    for _ in range(4):
        room.step(command)
    before = room.state().posture[joint]
    room.step(command)
    assert room.state().posture[joint] - before == pytest.approx(actuators.ARM_RATE, rel=0.05)


def test_base_and_torso_follow_the_measured_models(room: Room) -> None:
    room.place(np.array([0.2, *REST_POSTURE[1:]]))
    command = np.zeros(13, dtype=np.float32)
    command[10], command[11] = 0.5, 0.15
    for _ in range(3):
        before = room.state()
        room.step(command)
        after = room.state()
        speed = actuators.FORWARD_KEEP * before.forward_speed + (1 - actuators.FORWARD_KEEP) * 0.15
        assert after.forward_speed == pytest.approx(speed, abs=0.02)
        lift = actuators.TORSO_KEEP * before.posture_velocity[0] + actuators.TORSO_PUSH * 0.05
        assert after.posture_velocity[0] == pytest.approx(lift, abs=0.03)


@pytest.mark.parametrize(
    "offset", [(0.8, 0.0, -0.3), (0.5, -0.6, -0.4), (0.3, 0.7, -0.2), (0.6, 0.3, -0.7)]
)
def test_arm_and_base_reach_a_far_target_together(
    room: Room, offset: tuple[float, float, float]
) -> None:
    room.place()
    controller = WholeBodyController()
    target = TcpTarget(room.state().tcp_position + np.array(offset), rotation=np.eye(3))
    errors = []
    for _ in range(100):
        state = room.state()
        errors.append(np.linalg.norm(target.position_error(state.tcp_position)))
        room.step(controller.track(state, target))
    assert errors[50] < 0.05
    assert errors[-1] < 0.01
    assert target.rotation_error(room.state().tcp_rotation) < 0.05


def test_a_moving_target_is_followed_closely(room: Room) -> None:
    room.place()
    controller, start = WholeBodyController(), room.state()
    velocity, lags = np.array([-0.3, 0.0, 0.0]), []
    for k in range(40):
        state = room.state()
        target = TcpTarget(
            start.tcp_position + 0.05 * k * velocity, start.tcp_rotation, velocity=velocity
        )
        lags.append(np.linalg.norm(target.position_error(state.tcp_position)))
        room.step(controller.track(state, target))
    assert max(lags) < 0.03
    assert lags[-1] < 0.003


@pytest.mark.parametrize("drive", [False, True])
def test_return_to_rest_is_as_fast_as_the_slowest_joint(room: Room, drive: bool) -> None:
    far = np.array([0.0, -0.1, 0.8, 1.4, -0.6, -1.4, 1.0, -0.1])
    room.place(far)
    controller, goal = WholeBodyController(), np.array([-0.5, 0.0, 0.0])
    for steps in range(100):  # noqa: B007
        state = room.state()
        if at_rest(state) and (not drive or at_pose(state, goal)):
            break
        base = drive_to_pose(state, goal) if drive else drive_to_pose(state, state.base_pose)
        room.step(controller.return_to_rest(state, base=base))
    assert steps <= np.max(np.abs(far - REST_POSTURE)[1:]) / actuators.ARM_PACE + 6
    for _ in range(40):
        room.step(controller.return_to_rest(room.state()))
    assert at_rest(room.state(), arm_tolerance=0.01, torso_tolerance=0.002)


@pytest.mark.parametrize(
    ("goal", "limit"),
    [((1.0, 0.0, 0.0), 55), ((-1.0, 0.0, 0.0), 55), ((1.0, 0.5, 0.0), 110), ((1.0, 1.0, 0.8), 130)],
)
def test_the_base_drives_to_a_pose_and_stops(
    room: Room, goal: tuple[float, float, float], limit: int
) -> None:
    room.place()
    controller, wanted = WholeBodyController(), np.array(goal)
    for steps in range(160):  # noqa: B007
        state = room.state()
        if at_pose(state, wanted) and np.all(np.abs(state.base_velocity) <= 0.05):
            break
        room.step(controller.return_to_rest(state, base=drive_to_pose(state, wanted)))
    assert steps <= limit


def test_driving_straight_does_not_overshoot(room: Room) -> None:
    room.place()
    controller, furthest = WholeBodyController(), 0.0
    for _ in range(80):
        state = room.state()
        furthest = max(furthest, float(state.base_pose[0]))
        room.step(
            controller.return_to_rest(state, base=drive_straight(state, np.array([0.6, 0.0, 0.0])))
        )
    assert 0.59 < furthest < 0.61


def test_a_stance_is_found_and_carried_out(room: Room) -> None:
    room.place()
    controller = WholeBodyController()
    target = TcpTarget(np.array([1.8, 0.5, 0.9]), matrix_from_axes([1, 0, 0], [0, 1, 0]))
    reach = ReachSolver().stances(target, room.state().base_pose)[0]
    assert reach.reached
    for _ in range(120):
        state = room.state()
        base = drive_to_pose(state, reach.base_pose)
        if np.linalg.norm(target.position_error(state.tcp_position)) > 0.15:
            room.step(controller.move_joints(state, reach.posture, base=base))
        else:
            room.step(
                controller.track(
                    state, target, base=base, posture=reach.posture, weights=PLANNED_BASE
                )
            )
    assert np.linalg.norm(target.position_error(room.state().tcp_position)) < 0.01
    assert target.rotation_error(room.state().tcp_rotation) < 0.05


def test_postures_respect_partial_orientations() -> None:
    reach = ReachSolver().posture(pointing([0.75, 0.0, 0.6], [0.0, 0.0, -1.0]))
    assert reach.reached
    assert reach.rotation_error < 0.02
    assert np.all(np.abs(reach.posture - REST_POSTURE) < 2.8)


def test_the_controller_is_fast_enough(room: Room) -> None:
    room.place()
    controller, state = WholeBodyController(), room.state()
    target = TcpTarget(state.tcp_position + np.array([0.6, 0.3, -0.7]), np.eye(3))
    begin = time.perf_counter()
    for _ in range(100):
        controller.track(state, target)
    assert (time.perf_counter() - begin) / 100 < 0.005
