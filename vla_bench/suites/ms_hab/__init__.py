"""ManiSkill-HAB SetTable, native on ManiSkill 3, and its mini world."""
