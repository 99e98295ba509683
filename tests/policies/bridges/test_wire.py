"""Named changes of images, states and actions, and their names on cards."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_bench import UserError, load_card
from vla_bench.cards import PolicyCard
from vla_bench.policies.bridges.transforms import change_actions, change_image, change_state

IMAGE = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)


def test_images():
    assert np.array_equal(change_image(IMAGE, ["rotate180"]), IMAGE[::-1, ::-1])
    assert np.array_equal(change_image(IMAGE, ["chw"])[2], IMAGE[..., 2])
    assert change_image(IMAGE, ["rotate180", "resize 6", "chw"]).shape == (3, 6, 6)
    padded = change_image(IMAGE, ["resize_with_pad 8"])
    assert np.array_equal(padded[2:6], IMAGE)
    assert not padded[[0, 1, 6, 7]].any()
    assert change_image(IMAGE, ["rotate180"]).flags.c_contiguous


def test_rotations():
    vector = np.array([0.3, -0.2, 4.0], np.float32)
    rotation = Rotation.from_rotvec(vector.astype(float))
    shortest = change_state(vector, "shortest_rotation")
    assert np.linalg.norm(shortest) < np.pi
    assert np.allclose(Rotation.from_rotvec(shortest).as_matrix(), rotation.as_matrix(), atol=1e-6)
    xyzw, wxyz = change_state(vector, "quaternion_xyzw"), change_state(vector, "quaternion_wxyz")
    assert np.allclose(np.roll(xyzw, 1), wxyz)
    assert wxyz[0] > 0
    assert np.allclose(change_state(wxyz, "rotation_from_wxyz"), shortest, atol=1e-6)
    assert change_state(vector, None) is not None
    assert np.array_equal(change_state(vector, None), vector)


def test_grippers_and_rotations_of_actions():
    chunk = np.zeros((3, 7), np.float32)
    chunk[:, 5], chunk[:, 6] = 0.5, [0, 0.4, 1]
    assert change_actions(chunk, ["gripper_from_open_01"])[:, 6].tolist() == pytest.approx(
        [1, 0.2, -1]
    )
    closed = ["gripper_from_closed_01", "binary_gripper", "invert_gripper"]
    assert change_actions(chunk, closed)[:, 6].tolist() == [1, 1, -1]
    assert np.allclose(change_actions(chunk, ["rotation_from_euler_xyz"])[:, 3:6], [0, 0, 0.5])
    assert chunk[0, 6] == 0


CARD = """
extends = "openpi"
[wire]
images = [{{ key = "a", camera = "agentview", transforms = [{image}] }}]
state = [{{ key = "s", entries = ["tcp_rotation"], transforms = {{ tcp_rotation = {state} }} }}]
action_transforms = [{action}]
"""
GOOD = {"image": "'chw'", "state": "'euler_xyz'", "action": "'invert_gripper'"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "'rotate'"}, "no image transform 'rotate'; did you mean 'rotate180'?"),
        ({"image": "'resize'"}, "expected a size in pixels, e.g. resize 224"),
        ({"image": "'resize 0'"}, "expected a size"),
        ({"state": "'quaternion'"}, "no state transform 'quaternion'; did you mean 'quaternion_"),
        ({"action": "'gripper'"}, "no action transform 'gripper'"),
    ],
)
def test_a_wrong_name_on_a_card_is_refused(tmp_path, change, said):
    path = tmp_path / "mine.toml"
    path.write_text(CARD.format(**GOOD))
    assert load_card(PolicyCard, str(path)).wire.images[0].key == ("a",)
    path.write_text(CARD.format(**{**GOOD, **change}))
    with pytest.raises(UserError) as refused:
        load_card(PolicyCard, str(path))
    assert said in str(refused.value)


def test_cards_without_a_wire_keep_their_digest():
    card = load_card(PolicyCard, "random")
    assert card.wire is None
    assert "wire" not in card.model_dump()
