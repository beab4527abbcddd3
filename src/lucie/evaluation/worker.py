"""One process that evaluates: `python -m lucie.evaluation.worker JOB.json`, in the folder of the mirrored data.

It goes through models and tasks with lm-eval's Python API, keeps every score as soon as it is there, and says a JSON
line a task: {"model", "task", "state": "done" | "kept" | "failed", "file" or "why"}. `lucie.evaluation.runner` starts
it, with the variables that keep every library off the network.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lucie.cache import Cache
from lucie.evaluation.suite import Suite, SuiteTask
from lucie.files import sha256_of
from lucie.training.model import digest

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
KEPT_OF_RESULTS = ("results", "groups", "configs", "versions", "n-shot", "n-samples", "higher_is_better")
SEEDS = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")


class Model(BaseModel):
    """A model to evaluate: its name in results, its folder, whether it reads <s> first."""

    name: str
    folder: Path
    bos: bool = False


class Job(BaseModel):
    """What one process evaluates."""

    suite: Suite
    tasks_folder: Path | None
    models: list[Model]
    into: Path
    threads: int = 1
    limit: int | None = None


def main() -> None:
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    import torch

    torch.set_num_threads(job.threads)
    spoken = sys.stdout
    with redirect_stdout(sys.stderr):  # where lm-eval and its libraries talk
        for line in evaluate(job):
            print(json.dumps(line), file=spoken, flush=True)


def evaluate(job: Job) -> Iterator[dict[str, str]]:
    """Score every model on every task; what fails is said, and the others go on."""
    tasks = Tasks(job)
    for model in job.models:
        scorer = Scorer(job, model)
        for task in job.suite.tasks:
            said = {"model": model.name, "task": task.task}
            try:
                yield said | scorer.score(task, tasks)
            except Exception as error:  # any library's: the other tasks go on
                yield said | {"state": "failed", "why": _why(task, error)}


class Tasks:
    """The suite's tasks as lm-eval loads them."""

    def __init__(self, job: Job) -> None:
        from lm_eval.tasks import TaskManager

        own = job.tasks_folder
        self.manager = TaskManager(include_path=str(own) if own else None, include_defaults=own is None)
        self._loaded: dict[str, tuple[dict[str, Any], str]] = {}

    def load(self, task: SuiteTask) -> tuple[dict[str, Any], str]:
        """A task, or those of a group, by name, and the hash of settings and documents; loaded once for all models.

        Raises what lm-eval raises for a task it cannot load.
        """
        if task.task not in self._loaded:
            if task.task not in {*self.manager.all_tasks, *self.manager.all_groups}:
                raise ValueError("there is no task of that name")
            loaded = self.manager.load(task.task)["tasks"]
            digest = sha256_of({name: self._content(one, task.shots) for name, one in loaded.items()})
            self._loaded[task.task] = loaded, digest
        return self._loaded[task.task]

    def _content(self, task: Any, shots: int | None) -> list[Any]:
        documents = [list(task.eval_docs)]
        examples = (task.config.num_fewshot or 0) if shots is None else shots
        if examples and task.fewshot_cfg.samples is None:
            documents.append(list(task.fewshot_docs()))
        settings = {name: str(value) for name, value in task.dump_config().items() if name != "process_docs"}
        return [settings, json.loads(json.dumps(documents, default=str))]


class Scorer:
    """Scores one model; it is loaded when the first score is not there yet."""

    def __init__(self, job: Job, model: Model) -> None:
        self._job, self._model, self._cache = job, model, Cache(job.into)

    def score(self, task: SuiteTask, tasks: Tasks) -> dict[str, str]:
        self._check()
        loaded, digest = tasks.load(task)
        key = self._key(task, digest)
        if self._cache.get(key) is not None:
            return {"state": "kept", "file": self._cache.path(key).name}
        outcome = self._evaluate(task, tasks.manager, loaded)
        return {"state": "done", "file": self._cache.put(key, outcome).name}

    def _key(self, task: SuiteTask, digest: str) -> dict[str, Any]:
        suite = self._job.suite
        return {
            "model": self._digest,
            "bos": self._model.bos,
            "prefix": suite.prefix,
            "task": task.task,
            "task digest": digest,
            "shots": task.shots,
            "seed": suite.seed,
            "batch size": suite.batch_size,
            "limit": self._job.limit,
            "lm-eval": version("lm_eval"),
        }

    @functools.cached_property
    def _digest(self) -> str:
        return digest(self._model.folder)

    @functools.cached_property
    def _lm(self) -> Any:
        import torch
        from lm_eval.models.huggingface import HFLM

        return HFLM(
            pretrained=str(self._model.folder),
            dtype="auto" if torch.cuda.is_available() else "float32",
            device="cuda" if torch.cuda.is_available() else "cpu",
            batch_size=self._job.suite.batch_size,
            add_bos_token=self._model.bos,
            prefix_token_id=self._prefix(),
        )

    def _prefix(self) -> int | None:
        if not self._job.suite.prefix:
            return None
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self._model.folder, local_files_only=True)
        number: int = tokenizer.convert_tokens_to_ids(self._job.suite.prefix)
        return number

    def _check(self) -> None:
        folder = self._model.folder
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"model '{self._model.name}' has no config.json: it is not a folder of transformers."
            )
        if not any((folder / name).is_file() for name in TOKENIZERS):
            raise FileNotFoundError(f"the model has no tokenizer: none of {', '.join(TOKENIZERS)} is there.")

    def _evaluate(self, task: SuiteTask, manager: Any, loaded: dict[str, Any]) -> dict[str, Any]:
        import lm_eval

        _spare_lm_eval_work()
        found = lm_eval.simple_evaluate(
            model=self._lm,
            tasks=[task.task],
            num_fewshot=task.shots,
            limit=self._job.limit,
            task_manager=manager,
            log_samples=True,
            **dict.fromkeys(SEEDS, self._job.suite.seed),
        )
        assert found is not None  # one process: it is the first
        content = {name: found[name] for name in KEPT_OF_RESULTS if name in found}
        shots = found["n-shot"]
        content["examples_from_test"] = any(_examples_from_test(one, shots[name]) for name, one in loaded.items())
        content["samples"] = {name: _items(samples) for name, samples in found["samples"].items()}
        kept: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
        return kept


def _examples_from_test(task: Any, shots: int) -> bool:
    """Whether a task draws its examples, so many, from the very split that it asks about."""
    config, examples = task.config, task.fewshot_cfg
    if not shots or examples.samples is not None:
        return False
    asked = config.test_split or config.validation_split
    return bool((examples.split or config.training_split or config.validation_split) == asked)


def _items(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Of every item, in the order of the documents: its hash, and its score by each metric."""
    rows = sorted(samples, key=lambda sample: (sample["filter"], sample["doc_id"]))
    columns = {"doc_hash", "filter", *(metric for row in rows for metric in row["metrics"])}
    return {name: [row.get(name) for row in rows] for name in sorted(columns)}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


@functools.cache
def _spare_lm_eval_work() -> None:
    """It describes the machine after each task and compiles a task's templates for each item: half of a small task."""
    from lm_eval.utils import env
    from torch.utils import collect_env

    collect_env.get_pretty_env_info = functools.cache(collect_env.get_pretty_env_info)
    env.from_string = functools.lru_cache(env.from_string)


def _why(task: SuiteTask, error: Exception) -> str:
    """What a library's exception means for the task, in a sentence."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ConnectionError):
        return f"Task '{task.task}' needs data that are not in the folder of the tests: {task.data or said}."
    if isinstance(error, KeyError):
        return f"Task '{task.task}' needs {said}, which its data or its model lacks."
    return f"Task '{task.task}' could not be scored: {said.rstrip('.')}."


if __name__ == "__main__":
    main()
