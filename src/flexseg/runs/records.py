"""Reading the JSON files of a run; all of them tell of damage in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from flexseg.errors import DataError
from flexseg.files.json_file import read_json

T = TypeVar("T")


def read_record(path: Path, kind: TypeAdapter[T], what: str, fix: str) -> T:
    """The content of a JSON file, checked against the type that it must have.

    Parameters
    ----------
    what : name of the file for people, e.g. "The manifest of the run".
    fix : what to do about a damaged file.

    Raises
    ------
    FileNotFoundError : there is no such file.
    DataError : it is empty, cut off, no JSON, or of another program.
    """
    problem = ""
    try:
        return kind.validate_python(read_json(path))
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        problem = "it is not text"
    except OSError as error:
        problem = f"the system does not open it: {error.strerror or error}"
    except json.JSONDecodeError as error:
        cut = f"it is not JSON, or is cut off: {error.msg} in line {error.lineno}"
        problem = cut if error.doc.strip() else "it is empty"
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        place = f"{key}: " if key else ""
        problem = f"flexseg did not write it ({place}{first['msg'][0].lower()}{first['msg'][1:]})"
    except ValueError:
        problem = "it is not JSON as flexseg writes it"
    raise DataError(f"{what} cannot be read: {problem}.", fix, str(path))
