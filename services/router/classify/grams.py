"""A text as the model sees it: character n-grams of Chinese, words and word parts of English. Pure; training and inference share it."""

from __future__ import annotations

import re
from operator import add

from services.router.classify.script import fold

#: Longer texts are cut: the weight of what a complaint is about lies at its beginning, and time stays bounded.
READ = 3000
LONGEST_HAN = 4
WORD_PART = 5
NOISE = re.compile(r"https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+|@\w+")
PIECE = re.compile(r"[\u3400-\u9fff]+|[a-z][a-z']*|\d+|[!?]")


def grams(text: str) -> list[str]:
    """The features of a text, with repeats. Digits become one sign; addresses and handles are dropped."""
    return folded_grams(fold(text[:READ]))


def folded_grams(folded: str) -> list[str]:
    """The same for a text that is folded already."""
    found: list[str] = []
    previous = ""
    for piece in PIECE.findall(NOISE.sub(" ", folded[:READ])):
        first = piece[0]
        if first >= "\u3400":
            same = list(piece)
            found += same
            for start in range(1, LONGEST_HAN):
                same = list(map(add, same, piece[start:]))  # each one character longer; the slice runs out first
                found += same
            previous = ""
            continue
        word = "0" if first.isdigit() else piece
        found.append(" " + word)
        if previous:
            found.append(previous + " " + word)
        if len(word) > WORD_PART:
            found += [word[i : i + WORD_PART] for i in range(len(word) - WORD_PART + 1)]
        previous = word
    return found
