"""What the system refuses, in a sentence that names the file."""

from __future__ import annotations

import shutil


def system_error(error: OSError) -> str:
    """A sentence: which file or folder, and the system's own words."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, target, said = error.args[0][0][:3]
        return f"'{source}' could not be copied to '{target}': {said}"
    files = " and ".join(f"'{name}'" for name in (error.filename, error.filename2) if name is not None)
    said = error.strerror or str(error) or type(error).__name__
    return f"{files} could not be read or written: {said}." if files else f"The system said: {said}."
