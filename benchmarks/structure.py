"""Count what the structure of the source is judged by: `python structure.py SOURCE [SOURCE]`.

SOURCE is a folder `src/flexseg`; with two of them it prints before and after. `--list` adds the
places that were counted. Of the modules that are not empty it counts

- modules, lines, functions of more than 60 lines, mentions of the word `Any`;
- functions that take the whole config: a parameter's type names `Experiment` or `LoadedConfig`;
- names of modules and of classes in several packages (modules of `cli` have those of commands);
- modules that answer a question which one package should answer, by the rules in `QUESTIONS`.

A rule finds what looks like an answer: figures of two states can be compared with each other, not
with a count by hand.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LONG = 60  # lines
CONFIGS = {"Experiment", "LoadedConfig"}
FOLDERS = {"images", "masks", "labels", "imgs", "imagesTr", "labelsTr", "annotations"}
# Packages whose functions with these words in the name are not about cases of a dataset.
NO_DATA = {"augment", "backend", "evaluation", "inference", "losses", "machine", "models", "report"}
Rule = Callable[["Module"], bool]


@dataclass(frozen=True)
class Module:
    """A module's name (`files.images`) and text."""

    name: str
    text: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of its syntax tree."""
        return list(ast.walk(ast.parse(self.text)))

    @property
    def package(self) -> str:
        """The first part of its name."""
        return self.name.split(".")[0]

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Functions and methods."""
        return [n for n in self.nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]

    def classes(self) -> list[str]:
        """Names of its classes."""
        return [node.name for node in self.nodes if isinstance(node, ast.ClassDef)]

    @cached_property
    def called(self) -> set[str]:
        """Last part of all names that are called."""
        calls = [node.func for node in self.nodes if isinstance(node, ast.Call)]
        names = {f.id for f in calls if isinstance(f, ast.Name)}
        return names | {f.attr for f in calls if isinstance(f, ast.Attribute)}

    @cached_property
    def strings(self) -> list[str]:
        """String literals, docstrings among them."""
        constants = [node.value for node in self.nodes if isinstance(node, ast.Constant)]
        return [value for value in constants if isinstance(value, str)]

    def defines(self, pattern: str) -> bool:
        """Whether the name of a function matches."""
        return any(re.search(pattern, function.name) for function in self.functions())


def read_modules(source: Path) -> list[Module]:
    """The modules of a package that are not empty."""
    found = []
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.strip():
            found.append(Module(".".join(path.relative_to(source).with_suffix("").parts), text))
    return found


def names_folders(module: Module) -> bool:
    """Joins a path with the name of a folder of a dataset, or lists two such names."""

    def is_name(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and node.value in FOLDERS

    return any(
        (isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div) and is_name(n.right))
        or (isinstance(n, ast.Tuple | ast.Set | ast.List) and sum(map(is_name, n.elts)) > 1)
        for n in module.nodes
    )


def judges_values(module: Module) -> bool:
    """Reads masks and asks which values are in them."""
    return "unique" in module.called and bool({"read_mask", "MaskPixels"} & module.called)


def reads_case(module: Module) -> bool:
    """Reads image and mask of a case."""
    return {"read_image", "read_mask"} <= module.called


def groups_cases(module: Module) -> bool:
    """Defines a function with "group" or "patient" in its name."""
    return module.package not in NO_DATA and module.defines("group|patient")


def divides_cases(module: Module) -> bool:
    """Defines a function that divides cases, by its name."""
    names = "divided?(_.+)?|partition.*|(make_)?folds|by_shares?|(swap|exchange)_.+|stratif.*"
    return module.package not in NO_DATA and module.defines(f"^_?({names})$")


def writes_config(module: Module) -> bool:
    """Holds five lines `key = value` or writes values of TOML."""
    lines = sum(len(re.findall(r"(?m)^[a-z_0-9]+ = ", text)) for text in module.strings)
    return "toml_value" in module.called or (lines >= 5 and module.package != "models")


def reads_manifest(module: Module) -> bool:
    """Parses JSON and names the papers of a training."""
    names = r"\brun\.json|\bfolds\.json|FILE_NAME as (MANIFEST|FOLDS)|import MANIFEST"
    reads = {"loads", "read_json", "parse_json"} & module.called
    return bool(reads) and bool(re.search(names, module.text))


# The question, what is counted as an answer, and the packages that may give it (`data` was the
# name of `dataset`).
DATASET = {"data", "dataset"}
QUESTIONS: dict[str, tuple[Rule, set[str]]] = {
    "where are images and masks": (names_folders, DATASET),
    "what does a mask mean": (judges_values, DATASET),
    "what one read case tells": (reads_case, DATASET),
    "which cases belong together": (groups_cases, DATASET),
    "who trains, validates, tests": (divides_cases, DATASET),
    "the text of a config": (writes_config, {"config"}),
    "what was a model trained on": (reads_manifest, {"runs"}),
}


def takes_config(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the type of a parameter names the whole config."""
    a = function.args
    parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    types = [p.annotation for p in parameters if p is not None and p.annotation is not None]
    return any(CONFIGS & set(re.findall(r"\w+", ast.unparse(annotation))) for annotation in types)


def several(places: dict[str, set[str]]) -> list[str]:
    """Names with several places."""
    return sorted(f"{n}: {', '.join(sorted(p))}" for n, p in places.items() if len(p) > 1)


def names_of_modules(modules: list[Module]) -> list[str]:
    """Names that modules or packages have in several packages."""
    places: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        *parents, name = module.name.removesuffix(".__init__").split(".")
        if module.package != "cli" and not name.startswith("__"):
            places[name].add(".".join(parents) or "flexseg")
    return several(places)


def names_of_classes(modules: list[Module]) -> list[str]:
    """Names that classes have in several modules; private ones may."""
    places: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for name in module.classes():
            if not name.startswith("_"):
                places[name].add(module.name)
    return several(places)


def figures(modules: list[Module]) -> dict[str, list[str]]:
    """What is counted: its name, and its places."""
    functions = [(module.name, f) for module in modules for f in module.functions()]
    config = [f"{name}.{f.name}" for name, f in functions if takes_config(f)]
    found = {
        "modules": [module.name for module in modules],
        "lines": [m.name for m in modules for _ in range(m.text.count("\n"))],
        f"functions over {LONG} lines": [
            f"{name}.{f.name}" for name, f in functions if (f.end_lineno or 0) - f.lineno >= LONG
        ],
        "mentions of Any": [m.name for m in modules for _ in re.findall(r"\bAny\b", m.text)],
        "functions that take the config": config,
        "... in modules": sorted({place.rpartition(".")[0] for place in config}),
        "module names in several packages": names_of_modules(modules),
        "class names in several modules": names_of_classes(modules),
    }
    for question, (rule, owners) in QUESTIONS.items():
        places = [module for module in modules if rule(module)]
        found[question] = [module.name for module in places]
        found["... elsewhere than in " + sorted(owners)[-1] + "/: " + question] = [
            module.name for module in places if module.package not in owners
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--list", action="store_true", help="print the places of the last source")
    arguments = parser.parse_args()
    counted = [figures(read_modules(source)) for source in arguments.sources]
    for name in counted[0]:
        values = "".join(f"{len(one[name]):>10,}" for one in counted)
        print(f"{name.partition(': ')[0]:<42}{values}")
        if arguments.list and name not in ("modules", "lines", "mentions of Any"):
            print("".join(f"    {place}\n" for place in counted[-1][name]), end="")


if __name__ == "__main__":
    main()
