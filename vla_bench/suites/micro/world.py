"""Kinematics and rules of the flat world: a disc on wheels, an arm that swings and extends."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, hypot, sin
from struct import pack

from vla_bench.suites.micro.layouts import Layout

STEP_S = 0.1
"""Simulated time of one control step (s)."""
FORWARD, TURN, SWING, EXTEND = 0.5, 1.5, 1.5, 0.5
"""Full speeds: m/s, rad/s, rad/s, m/s."""
SWING_LIMIT = 1.2
"""rad, to either side."""
EXTENSION_LIMITS = (0.25, 0.6)
"""m, fingertip from the centre of the base."""
BASE_RADIUS, POST_RADIUS, TIP_RADIUS, BALL_RADIUS = 0.16, 0.15, 0.03, 0.08
"""m."""
GRIPPER_STEP = 0.4
"""Most that the opening (0 to 1) changes in one step."""
CLOSED_BELOW = 0.3
"""An opening below this is a closed gripper: one that holds something."""
GRASP_TOLERANCE = 0.07
"""m: a ball can be grasped if its centre is this close to the fingertip."""
SLIDE_S = 0.2
"""s: what is pushed comes to rest as far away as it would go in this time at its first speed."""
HOLD_STEPS = 3
"""Steps that a ball has to be held for success."""


class World:
    """One episode's world. Lengths in metres, angles in radians, world frame.

    Attributes:
        x, y, heading: Pose of the base.
        swing, extension: The arm, in the base frame.
        opening: Of the gripper, 0 to 1.
        velocity: Executed forward and turning velocity of the last step (m/s, rad/s).
        held: Row of the ball that is held, None if there is none.
        held_steps: Steps that it has been held for.
        collided: Whether base or fingertip ever touched the post; the robot stands still from then on.
        wrong_object: Whether the gripper ever closed on a ball that does not count.
        side: 1 left, -1 right: on which side the base passed the post, or the ball was, that was
            grasped; 0 before that.
        path: Positions of the base so far, for pictures.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.x = self.y = self.heading = 0.0
        self.swing, self.extension = layout.swing, layout.extension
        self.opening = 1.0
        self.velocity = (0.0, 0.0)
        self.held: int | None = None
        self.held_steps = 0
        self.collided = self.wrong_object = False
        self.side = 0.0
        self.balls = [(ball.x, ball.y) for ball in layout.balls]
        self.path = [(0.0, 0.0)]
        self._place_tip()

    @property
    def success(self) -> bool:
        """Whether a ball that counts has been held long enough, and nothing ever went wrong."""
        return self.held_steps >= HOLD_STEPS and not (self.collided or self.wrong_object)

    def step(self, action: Sequence[float], slip: Sequence[float], push: float) -> None:
        """One control step.

        Args:
            action: Forward, turn, swing, extend, gripper; all in [-1, 1].
            slip: Noise on the first four, each in proportion to how much its part of the robot moves.
            push: Displacement of the base to its left (m).
        """
        if self.collided:
            return
        self._drive(action, slip, push)
        self._move_arm(action, slip)
        self._place_tip()
        self._move_gripper(action[4])
        if self.layout.post is not None:
            self._meet(*self.layout.post)
        self.path.append((self.x, self.y))

    def push_base(self, velocity: Sequence[float]) -> None:
        """Gives the base a velocity (m/s, world frame), and lets it come to rest within no time."""
        if not self.collided:
            self.x += SLIDE_S * velocity[0]
            self.y += SLIDE_S * velocity[1]
            self._place_tip()

    def push_balls(self, velocity: Sequence[float]) -> None:
        """Does the same to the balls that count, but to one that is held."""
        for row in self.layout.wanted - {self.held}:
            x, y = self.balls[row]
            self.balls[row] = (x + SLIDE_S * velocity[0], y + SLIDE_S * velocity[1])

    def _drive(self, action: Sequence[float], slip: Sequence[float], push: float) -> None:
        """The heading halfway through the step gives the direction: second order in the step."""
        forward, turn = action[0], action[1]
        moving = max(abs(forward), abs(turn))
        speed = FORWARD * (forward + slip[0] * moving)
        rate = TURN * (turn + slip[1] * moving)
        halfway = self.heading + 0.5 * rate * STEP_S
        self.x += speed * STEP_S * cos(halfway) - push * sin(self.heading)
        self.y += speed * STEP_S * sin(halfway) + push * cos(self.heading)
        self.heading += rate * STEP_S
        self.velocity = (speed, rate)

    def _move_arm(self, action: Sequence[float], slip: Sequence[float]) -> None:
        swing = self.swing + SWING * STEP_S * (action[2] + slip[2] * abs(action[2]))
        extension = self.extension + EXTEND * STEP_S * (action[3] + slip[3] * abs(action[3]))
        self.swing = min(max(swing, -SWING_LIMIT), SWING_LIMIT)
        self.extension = min(max(extension, EXTENSION_LIMITS[0]), EXTENSION_LIMITS[1])

    def _place_tip(self) -> None:
        angle = self.heading + self.swing
        self.tip = (self.x + self.extension * cos(angle), self.y + self.extension * sin(angle))
        if self.held is not None:
            self.balls[self.held] = self.tip

    def _move_gripper(self, command: float) -> None:
        wanted = 0.5 * (command + 1)
        self.opening += min(max(wanted - self.opening, -GRIPPER_STEP), GRIPPER_STEP)
        if self.opening >= CLOSED_BELOW:
            self.held, self.held_steps = None, 0
        elif self.held is not None:
            self.held_steps += 1
        else:
            self._close()

    def _close(self) -> None:
        """Takes hold of the ball nearest to the fingertip; if none is close enough, springs open.

        Experts never miss: what to do with a closed and empty gripper no policy could learn from them.
        """
        gaps = [hypot(x - self.tip[0], y - self.tip[1]) for x, y in self.balls]
        row = min(range(len(gaps)), key=gaps.__getitem__)
        if gaps[row] > GRASP_TOLERANCE:
            self.opening = 1.0
            return
        if self.layout.post is None:
            self.side = 1.0 if self.balls[row][1] > 0 else -1.0
        self.held, self.held_steps = row, 1
        self.balls[row] = self.tip
        self.wrong_object |= row not in self.layout.wanted

    def _meet(self, x: float, y: float) -> None:
        """The rules of the post."""
        near_base = hypot(x - self.x, y - self.y) < POST_RADIUS + BASE_RADIUS
        near_tip = hypot(x - self.tip[0], y - self.tip[1]) < POST_RADIUS + TIP_RADIUS
        self.collided |= near_base or near_tip
        if self.side == 0 and self.x >= x:
            self.side = 1.0 if self.y > y else -1.0

    def in_base_frame(self, x: float, y: float) -> tuple[float, float]:
        """A point of the world as seen from the base."""
        dx, dy, c, s = x - self.x, y - self.y, cos(self.heading), sin(self.heading)
        return c * dx + s * dy, c * dy - s * dx

    def state_bytes(self) -> bytes:
        """Everything that the next step depends on, as bytes."""
        numbers = [self.x, self.y, self.heading, self.swing, self.extension, self.opening]
        numbers += [*self.velocity, -1 if self.held is None else self.held, self.held_steps]
        numbers += [self.collided, self.wrong_object, self.side]
        for ball in self.balls:
            numbers += ball
        return pack(f"<{len(numbers)}d", *numbers)
