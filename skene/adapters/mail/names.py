"""Names in a template that nothing will ever fill: found by reading it, before anybody is written to.

A name that a file asks about, with `is defined` or `default(…)`, is one it can do without: it counts as known
in that file.
"""

from collections.abc import Iterator, Set
from difflib import get_close_matches

from jinja2 import Environment, TemplateNotFound, TemplateSyntaxError, meta, nodes

__all__ = ["unknown_in_file", "unknown_in_text"]


def unknown_in_file(environment: Environment, file: str, known: Set[str]) -> Iterator[str]:
    """Says which variables of a file, and of those it extends, imports or includes, are unknown.

    Args:
        environment: where the files are found.
        file: the first of them.
        known: the names that will have a value.

    Raises:
        ValueError: a file is missing, is not text, or does not compile.
    """
    waiting, seen = [file], {file}
    names = set(known)
    while waiting:
        current = waiting.pop(0)
        try:
            environment.get_template(current)
            tree = environment.parse(_source(environment, current))
        except TemplateSyntaxError as error:
            raise ValueError(f"{error.name or current}, line {error.lineno}: {error.message}") from error
        except TemplateNotFound as error:
            raise ValueError(f"{file} needs {error.name}, and no template folder has it") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{current} is not UTF-8") from error
        names |= _assigned(tree)  # blocks and layouts see what the first file gives a value to
        yield from _unknown(environment, current, tree, names)
        referenced = {name for name in meta.find_referenced_templates(tree) if name is not None}
        waiting += sorted(referenced - seen)
        seen |= referenced


def unknown_in_text(environment: Environment, where: str, source: str, known: Set[str]) -> Iterator[str]:
    """Says which variables of a short template are unknown.

    Args:
        environment: which filters there are.
        where: what to call it.
        source: the template.
        known: the names that will have a value.

    Raises:
        ValueError: it does not compile.
    """
    try:
        environment.from_string(source)
        yield from _unknown(environment, where, environment.parse(source), known)
    except TemplateSyntaxError as error:
        raise ValueError(f"{where}, line {error.lineno}: {error.message}") from error


def _unknown(environment: Environment, where: str, tree: nodes.Template, known: Set[str]) -> Iterator[str]:
    unknown = meta.find_undeclared_variables(tree) - known - _optional(tree) - set(environment.globals)
    for name in sorted(unknown):
        line = next((node.lineno for node in tree.find_all(nodes.Name) if node.name == name), 1)
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield f"{where}, line {line}: unknown variable {name!r}; known are {', '.join(sorted(known))}{hint}"


def _optional(tree: nodes.Template) -> set[str]:
    """Names whose absence a file provides for."""
    asked = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    asked += [one.node for one in tree.find_all(nodes.Filter) if one.name in ("default", "d") and one.node]
    return {node.name for node in asked if isinstance(node, nodes.Name)}


def _source(environment: Environment, file: str) -> str:
    if environment.loader is None:
        raise TemplateNotFound(file)
    return environment.loader.get_source(environment, file)[0]


def _assigned(tree: nodes.Template) -> set[str]:
    """Names that a file gives a value to on its top level."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case nodes.Import(target=name) | nodes.Macro(name=name):
                names.add(name)
            case nodes.FromImport():
                names |= {name if isinstance(name, str) else name[1] for name in node.names}
            case nodes.Assign() | nodes.AssignBlock():
                names |= {target.name for target in node.find_all(nodes.Name) if target.ctx == "store"}
            case _:
                pass
    return names
