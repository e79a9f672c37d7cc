"""Understanding complaints: category with calibrated confidence and reasons, and the facts in the text.

Pure, apart from reading the model file once.

`understand` is the one call for the router's spine; `classify_lines` is the same for the command line.
"""

from services.router.classify.understanding import NO_HINTS, Hints, Understanding, hints_of, understand

__all__ = ["NO_HINTS", "Hints", "Understanding", "hints_of", "understand"]
