"""Compares caption metrics with pycocoevalcap's: usage `against_pycocoevalcap.py FILE…`, exit code 0 if all are equal.

Each FILE is {"scores": {...}, "images": [{"caption": ..., "references": [...]}, ...]}.
"""
import json
import math
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge


def characters(caption):
    return " ".join(c for c in caption.lower() if not c.isspace())


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        case = json.load(file)
    captions = {i: [characters(image["caption"])] for i, image in enumerate(case["images"])}
    references = {i: [characters(r) for r in image["references"]] for i, image in enumerate(case["images"])}
    bleu, _ = Bleu(4).compute_score(references, captions, verbose=0)
    exact = sum(captions[i][0] in references[i] for i in captions) / len(captions)
    expected = {"exact_match": exact, **{f"bleu_{n + 1}": bleu[n] for n in range(4)}}
    expected["rouge_l"], _ = Rouge().compute_score(references, captions)
    expected["cider"], _ = Cider().compute_score(references, captions)
    for name, value in expected.items():
        found = case["scores"][name]
        assert math.isclose(found, value, rel_tol=1e-9, abs_tol=1e-12), f"{path}: {name}: expected {value}, found {found}"
