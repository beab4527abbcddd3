"""ROUGE for lm-eval's task files without a network: they ask the hub for a metric 'rouge', found in the working folder.

`lay_out` puts a metric of that name where the evaluating process works; it is rouge_score's, as the hub's is.
"""

from __future__ import annotations

from pathlib import Path

from lucie.files import write_atomic

METRIC = """\
import datasets
import evaluate
from rouge_score import rouge_scorer

TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


class Rouge(evaluate.Metric):
    def _info(self):
        texts = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        several = {**texts, "references": datasets.Sequence(datasets.Value("string"))}
        features = [datasets.Features(several), datasets.Features(texts)]
        return evaluate.MetricInfo(description="ROUGE, by rouge_score", citation="", features=features)

    def _compute(self, predictions, references, rouge_types=None, use_stemmer=False):
        types = rouge_types or TYPES
        scorer = rouge_scorer.RougeScorer(rouge_types=types, use_stemmer=use_stemmer)
        found = []
        for given, written in zip(references, predictions, strict=True):
            several = given if isinstance(given, list) else [given]
            found.append(scorer.score_multi(several, written))
        return {kind: sum(one[kind].fmeasure for one in found) / len(found) for kind in types}
"""


def lay_out(data: Path) -> None:
    """Put the metric into the folder that an evaluation works in."""
    write_atomic(data / "rouge" / "rouge.py", METRIC)
