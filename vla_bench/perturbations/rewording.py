"""The same instruction in other words: verbs replaced, requests around it. Nouns stay as they are."""

from __future__ import annotations

import re

import numpy as np

SYNONYMS = {
    "pick up": ("grab", "lift", "take hold of"),
    "place": ("put", "set"),
    "put": ("place", "set"),
    "open": ("open up", "pull open"),
    "close": ("shut", "push shut"),
    "turn on": ("switch on", "start"),
    "turn off": ("switch off", "shut off"),
    "push": ("slide", "shove"),
    "stack": ("pile", "heap"),
    "go round": ("drive around", "get around"),
}
"""Verb -> verbs that mean the same of anything on a card."""
REQUESTS = (
    "could you {} please",
    "please {}",
    "i would like you to {}",
)
LONG = (
    "when you have a moment, have a look around, and then {}; thank you for your help",
    "there is one thing left to do here before we can go home: {}, and take all the time you need",
    "you are a careful robot, and people around you may be moving: {}, without breaking anything",
)
_VERB = re.compile(rf"(^|\band )({'|'.join(SYNONYMS)})\b")


def reworded(instruction: str, level: int, draw: np.random.Generator) -> str:
    """An instruction in other words.

    Args:
        instruction: Lower-case imperative, e.g. "pick up the apple and place it on the table".
        level: 1: other verbs; 2: these in a request; 3: in a long sentence.
        draw: Chooses the words, the same verbs at every level.

    Returns:
        The new instruction. Where no verb is known it is a request even at level 1.
    """
    words = _VERB.sub(lambda found: found[1] + str(draw.choice(SYNONYMS[found[2]])), instruction)
    if level == 1 and words != instruction:
        return words
    frames = LONG if level == 3 else REQUESTS
    return str(draw.choice(frames)).format(words)
