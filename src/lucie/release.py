"""What leaves the house as one file: the book as a zip that opens without installing anything."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from lucie.book import Book, build_book
from lucie.files import write_atomic
from lucie.project import Project

FOLDER = "lucie-book"
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same book gives the same zip
README = """\
How Lucie-7B was made, number by number.
Unpack this folder and open index.html in a browser. No network is needed.

Comment Lucie-7B a été fait, nombre par nombre.
Décompressez ce dossier et ouvrez accueil.html dans un navigateur. Aucun réseau n'est nécessaire.
"""


def release_book(project: Project) -> tuple[Path, Book]:
    """Make the book of results/ and pack it into build/lucie-book.zip; returns the zip's path and the book.

    Raises MismatchError or UsageError, in a sentence, for results that do not hold together; nothing is packed then.
    """
    made = build_book(project, project.results)
    book = made.folder
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "README.txt", README.encode())
        for path in sorted(book.rglob("*")):
            if path.is_file():
                _add(archive, path.relative_to(book).as_posix(), path.read_bytes())
    target = project.build / f"{FOLDER}.zip"
    write_atomic(target, packed.getvalue())
    return target, made


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(f"{FOLDER}/{name}", LONG_AGO)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
