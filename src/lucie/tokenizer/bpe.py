"""Trains a tokenizer as the authors trained theirs: byte-pair encoding that falls back to bytes.

    tokenizer = train(texts, Options(vocabulary=8_000))
    save(tokenizer, folder)     # transformers.AutoTokenizer.from_pretrained(folder) has the same ids

Two steps, after tokenization/tokenizer_train.py of OpenLLM-France/Lucie-Training (c3b8b3a). The trainer sees text cut
into words, signs and digits, so that no merge crosses from one into another. Then the cutting is taken away: the
merges keep to it by themselves, and runs of blanks get merges of their own, behind all others.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucie.errors import UsageError
from lucie.files import write_atomic, write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BLANK = "▁"  # stands for a space within entries (U+2581)
SPECIALS = ("<s>", "</s>", "<unk>", "<pad>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
DIGITS = tuple("0123456789")
SPACED = "\n\t([{/<'’\"«“‘‚‹—–―"  # noqa: RUF001  of the released tokenizer, in the order of its rules
REMOVED = r"[\r\x00]"
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TEXTS_AT_ONCE = 1000

Pair = tuple[str, str]


@dataclass(frozen=True)
class Options:
    """What a tokenizer is trained with. Defaults: the released tokenizer's.

    ``vocabulary`` is the most entries there may be; a small text has fewer pairs seen ``min_frequency`` times.
    ``limit_alphabet`` counts characters beside blanks and digits; others are written as bytes. ``unused`` slots are
    kept for later. ``spaces``, ``tabs`` and ``linebreaks`` are the longest runs that are one entry. ``signs`` get a
    space behind them, where a space or a word character follows, so that a word has one entry wherever it stands.
    """

    vocabulary: int = 65_024
    min_frequency: int = 2
    limit_alphabet: int = 1000
    unused: int = 40
    spaces: int = 8
    tabs: int = 4
    linebreaks: int = 2
    signs: str = SPACED

    def __post_init__(self) -> None:
        for name, least in (("spaces", 1), ("tabs", 1), ("linebreaks", 1), ("unused", 0), ("min_frequency", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"The option {name} is {getattr(self, name)}; it must be {least} or more.")
        if self.limit_alphabet < 0:
            raise UsageError(f"The option limit_alphabet is {self.limit_alphabet}; it must be 0 or more.")
        if len(set(self.signs)) < len(self.signs):
            raise UsageError(f"The option signs has a sign twice: {self.signs!r}. Name each once.")

    @property
    def runs(self) -> tuple[tuple[str, ...], ...]:
        """The runs of spaces, of tabs and of line breaks, each from one on."""
        longest = ((BLANK, self.spaces), ("\t", self.tabs), ("\n", self.linebreaks))
        return tuple(tuple(sign * length for length in range(1, most + 1)) for sign, most in longest)

    @property
    def fixed(self) -> list[str]:
        """The entries that do not depend on the text, in their order, from number 0."""
        unused = [f"<unused{slot}>" for slot in range(self.unused)]
        return [*SPECIALS, *BYTES, *unused, *(run for runs in self.runs for run in runs), *DIGITS]


def train(texts: Iterable[str], options: Options = Options()) -> Tokenizer:
    """A tokenizer for ``texts``, which are gone through twice (an iterator is kept in memory for that).

    The same texts in the same order give the same bytes, with any number of threads. Raises UsageError where there
    is no text, or where the vocabulary has no room for its fixed entries and the alphabet.
    """
    from tokenizers import Tokenizer

    if isinstance(texts, Iterator):
        texts = list(texts)
    alphabet = choose_alphabet(texts, options)
    least = len(options.fixed) + len(alphabet)
    if options.vocabulary < least:
        raise UsageError(
            f"A vocabulary of {options.vocabulary} has no room for {len(options.fixed)} fixed entries and "
            f"{len(alphabet)} characters. Ask for {least} or more, or lower limit_alphabet."
        )
    trained = _learn(texts, alphabet, options)
    return Tokenizer.from_str(json.dumps(finished(json.loads(trained.to_str()), options), ensure_ascii=False))


def choose_alphabet(texts: Iterable[str], options: Options) -> list[str]:
    """The most frequent characters of the texts that may be entries; of equals the lower code point.

    The authors took theirs from a count over their whole corpus (assets/count_unicode_characters.tsv). The trainer
    could choose too, but leaves equals to chance. Raises UsageError where there is no character at all.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(unicodedata.normalize("NFC", text))
    if not counts:
        raise UsageError("There is no text to train a tokenizer on. Give it at least one document that is not empty.")
    fixed = set(options.fixed)
    able = [sign for sign in counts if sign not in fixed and may_be_entry(sign)]
    able.sort(key=lambda sign: (-counts[sign], sign))
    return sorted(able[: options.limit_alphabet])


def may_be_entry(character: str) -> bool:
    """Whether a character may be an entry: no control or format, no combining mark, no letter without case (Lo).

    So scripts without case (Chinese, Arabic, ...) are written as bytes, as in the authors' script.
    """
    return unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Cn", "Lo", "Mn")


def _learn(texts: Iterable[str], alphabet: list[str], options: Options) -> Tokenizer:
    """The raw training: merges within words, signs and digits only."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = _normaliser(options.signs)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="first"),
            pre_tokenizers.Split(Regex(rf"{BLANK}?[^\w\s{BLANK}]+"), behavior="isolated"),
            pre_tokenizers.Split(Regex(r"[\n\t]"), behavior="isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocabulary,
        min_frequency=options.min_frequency,
        special_tokens=options.fixed,
        limit_alphabet=len(alphabet),  # with as many given, none is chosen
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts), trainer=trainer)
    return tokenizer


def _normaliser(signs: str) -> Any:
    from tokenizers import Regex, normalizers

    spaced = [normalizers.Replace(Regex(_before_word(sign)), f"{sign} ") for sign in signs]
    return normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(REMOVED), ""), *spaced])


def _before_word(sign: str) -> str:
    return rf"{re.escape(sign)}(?=[ \w])"


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def finished(trained: dict[str, Any], options: Options) -> dict[str, Any]:
    """The content of tokenizer.json: the raw training's, made ready for text that nothing cuts."""
    rules = trained["normalizer"]["normalizers"] + [
        {"type": "Prepend", "prepend": " "},
        {"type": "Replace", "pattern": {"Regex": r"[ \u00A0]"}, "content": BLANK},
    ]
    learnt: list[list[str]] = trained["model"]["merges"]
    runs = [list(pair) for pair in run_merges(options)]
    model = {**trained["model"], "merges": [pair for pair in learnt if pair not in runs] + runs}
    return {
        **trained,
        "added_tokens": [token for token in trained["added_tokens"] if token["content"] in SPECIALS],
        "normalizer": {"type": "Sequence", "normalizers": rules},
        "pre_tokenizer": None,
        "post_processor": _starting_with(SPECIALS[0]),
        "decoder": _decoder(options.signs),
        "model": model,
    }


def run_merges(options: Options) -> list[Pair]:
    """A merge for each way to cut a run of blanks in two, the longest first part first."""
    return [
        (first * one, first * other)
        for first, most in ((runs[0], len(runs)) for runs in options.runs)
        for one in range(most, 0, -1)
        for other in range(most - one, 0, -1)
    ]


def _starting_with(special: str) -> dict[str, Any]:
    """Every text starts with a special token."""
    first, second = [
        [{"SpecialToken": {"id": special, "type_id": kind}}, {"Sequence": {"id": name, "type_id": kind}}]
        for kind, name in enumerate("AB")
    ]
    named = {special: {"id": special, "ids": [SPECIALS.index(special)], "tokens": [special]}}
    return {"type": "TemplateProcessing", "single": first, "pair": first + second, "special_tokens": named}


def _decoder(signs: str) -> dict[str, Any]:
    spaced = [{"type": "Replace", "pattern": {"String": f"{sign} "}, "content": sign} for sign in signs]
    metaspace = {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always", "split": True}
    return {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace, {"type": "Fuse"}, *spaced]}


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what plain transformers load with the same ids; each file has its name only when it is whole.

    The authors' files name the class LlamaTokenizer, for which transformers 5 builds its own normaliser in place of
    the file's and so gives other ids. Ours name the class that takes tokenizer.json as it is.
    """
    names = dict(zip(("bos_token", "eos_token", "unk_token", "pad_token"), SPECIALS, strict=True))
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    added = {str(number): {"content": name, **flags, "special": True} for number, name in enumerate(SPECIALS)}
    config = {
        **names,
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,  # no limit, as transformers writes it
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    writers: dict[str, Callable[[Path], None]] = {
        "special_tokens_map.json": lambda path: write_json(
            path, {kind: {"content": name, **flags} for kind, name in names.items()}
        ),
        "tokenizer_config.json": lambda path: write_json(path, config),
        "tokenizer.json": lambda path: write_atomic(path, tokenizer.to_str(pretty=True) + "\n"),
    }
    for name, write in writers.items():
        write(folder / name)


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a folder. Raises UsageError where there is none that can be read."""
    from tokenizers import Tokenizer

    path = folder / FILES[0]
    if not path.is_file():
        raise UsageError(
            f"There is no {FILES[0]} in {folder}. Train one, or get those of others: lucie fetch tokenizers"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"{path} is not a tokenizer that can be read: {error}. Train or fetch it again.") from error
