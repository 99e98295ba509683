"""PosA-VLA (arXiv 2512.03724): attention anchored where the gripper is and where it will be needed."""
