"""Plays given actions in the official mshab environment; run as a script, in a process of its own.

Usage: `python official_mshab.py request.json answer.npz` with MS_ASSET_DIR at the same files and mshab
on PYTHONPATH. The request holds subtask, split, target, cameras, and a list of episodes: scene, plan
uid, spawn index, actions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium
import mshab.envs  # noqa: F401  registers the environments
import numpy as np
import torch
from mani_skill import ASSET_DIR
from mani_skill.utils.scene_builder.replicacad.rearrange import scene_builder
from mshab.envs.planner import plan_data_from_file

REARRANGE = Path(ASSET_DIR) / "scene_datasets/replica_cad_dataset/rearrange"


class SortedSet(set):
    """The official builder builds objects in the order of a set of strings, which Python draws anew for
    every process; contacts are then solved in another order, and episodes differ in the last bits."""

    def __iter__(self):
        return iter(sorted(super().__iter__()))


scene_builder.set = SortedSet


def make(request, scene):
    """An official environment for the plans of one scene, and those plans in file order."""
    subtask, split = request["subtask"], request["split"]
    path = REARRANGE / "task_plans/set_table" / subtask / split / f"{request['target']}.json"
    data = plan_data_from_file(str(path))
    plans = [plan for plan in data.plans if plan.build_config_name == scene]
    env = gymnasium.make(
        f"{subtask.capitalize()}SubtaskTrain-v0",
        num_envs=1,
        obs_mode="rgb" if request["cameras"] else "state_dict",
        control_mode="pd_joint_delta_pos",
        robot_uids="fetch",
        sim_backend="physx_cpu",
        render_backend="cpu",
        scene_builder_cls=data.dataset,
        task_plans=plans,
        spawn_data_fp=REARRANGE / "spawn_data/set_table" / subtask / split / "spawn_data.pt",
        sensor_configs={"shader_pack": "minimal"},
        max_episode_steps=10_000,
    ).unwrapped
    return env, plans


def observation(obs):
    """The official 42-d state, and the images."""
    agent, extra = obs["agent"], obs["extra"]
    parts = [agent["qpos"], agent["qvel"]]
    names = ("tcp_pose_wrt_base", "obj_pose_wrt_base", "goal_pos_wrt_base", "is_grasped")
    parts += [extra[name].reshape(1, -1).float() for name in names]
    state = torch.cat(parts, dim=1)[0].numpy()
    data = obs.get("sensor_data", {})
    images = [data[name]["rgb"][0].numpy() for name in ("fetch_head", "fetch_hand") if name in data]
    return state, np.array(images)


def play(env, plans, episode):
    """Everything that can be seen from outside while the actions are played."""
    index = [plan.subtasks[0].uid for plan in plans].index(episode["plan"])
    options = {
        "reconfigure": True,
        "task_plan_idxs": torch.tensor([index]),
        "spawn_selection_idxs": [episode["spawn"]],
    }
    obs, info = env.reset(seed=0, options=options)
    states, images, success, forces, world = [], [], [], [], []

    def keep(obs, info):
        state, image = observation(obs)
        states.append(state)
        images.append(image)
        success.append(bool(info["success"]))
        forces.append(float(info["robot_cumulative_force"]))
        target = env.subtask_objs[0]
        articulation = env.subtask_articulations[0]
        parts = [env.agent.robot._objs[0].get_qpos(), env.agent.robot._objs[0].get_qvel()]
        if target is not None:
            parts.append(target.pose.raw_pose[0].numpy())
        if articulation is not None:
            parts.append(articulation._objs[0].get_qpos())
        world.append(np.concatenate(parts))

    keep(obs, info)
    for action in episode["actions"]:
        obs, _, _, _, info = env.step(np.array(action, np.float32))
        keep(obs, info)
    return {
        "states": np.array(states),
        "images": np.array(images),
        "success": np.array(success),
        "forces": np.array(forces),
        "world": np.array(world),
    }


def main():
    request = json.loads(Path(sys.argv[1]).read_text())
    answer = {}
    for number, episode in enumerate(request["episodes"]):
        env, plans = make(request, episode["scene"])
        for key, value in play(env, plans, episode).items():
            answer[f"{number}/{key}"] = value
        env.close()
    np.savez(sys.argv[2], **answer)


if __name__ == "__main__":
    main()
