"""Docstrings that are put together at run time, for attributes whose own docstrings Sphinx would not find.

>>> print(append_docstring("Uploads a picture.", "", ".. note::", "", "   It is not resized."))
Uploads a picture.
<BLANKLINE>
.. note::
<BLANKLINE>
   It is not resized.
"""

from __future__ import annotations

from collections.abc import Mapping

from .arguments import check_range, check_type, wrong_type

__all__ = ["append_docstring", "append_docstring_attributes", "get_minimum_indent"]


def append_docstring(docstring: str | None, *lines: str) -> str:
    """Returns ``docstring`` with ``lines`` below it, each on a line of its own, indented as its body is.

    They go on with its last paragraph; for one of their own, let the first of them be blank.

        >>> append_docstring("Rotates.\\n\\n    By right angles only.", "", "Keeps the size.")
        'Rotates.\\n\\n    By right angles only.\\n\\n    Keeps the size.'

    No docstring (``None``, as ``python -OO`` leaves it) counts as an empty one.

    :param docstring: what to append to; it is not changed
    :param lines: the lines to append, without line breaks at their ends; blank ones stay blank
    :raises InvalidTypeError: ``docstring`` is neither a string nor ``None``, or a line is no string
    """
    _check_docstring(docstring)
    for line in lines:
        check_type("lines", line, str)
    head = docstring or ""
    indent = get_minimum_indent(head)
    return head + "".join(f"\n{indent}{line}" if line.strip() else "\n" for line in lines)


def append_docstring_attributes(docstring: str | None, locals: Mapping[str, object]) -> str:
    """Returns the docstring of a class with one ``.. attribute::`` for each documented value of ``locals``.

    They come in the order of their names, so that the documentation is the same in every build.  Values without
    a docstring of their own are left out: one that is merely that of the value's class tells nothing about it.

        >>> class Shade:
        ...     def __init__(self, doc):
        ...         self.__doc__ = doc
        >>> print(append_docstring_attributes("A wall.", {"paint": Shade("Its colour."), "height": 3}))
        A wall.
        <BLANKLINE>
        .. attribute:: paint
        <BLANKLINE>
           Its colour.

    :param docstring: the docstring of the class; it is not changed
    :param locals: attributes by name; filter the ``locals()`` of the class body
    :raises InvalidTypeError: ``docstring`` is neither a string nor ``None``, or ``locals`` is no mapping
    """
    _check_docstring(docstring)
    if not isinstance(locals, Mapping):
        raise wrong_type("locals", locals, "a mapping of names to attributes")
    result = docstring or ""
    for name in sorted(locals):
        own = _own_docstring(locals[name])
        if own:
            body = (f"   {line}" if line else "" for line in own.splitlines())
            result = append_docstring(result, "", f".. attribute:: {name}", "", *body)
    return result


def get_minimum_indent(docstring: str, ignore_before: int = 1) -> str:
    """Returns the indent, spaces and tabs as they stand, that all lines of ``docstring`` have in common.

    Blank lines do not count, nor do the first ``ignore_before`` lines: by :pep:`8` the first one has no indent.

        >>> get_minimum_indent("Opens the shutter.\\n\\n    Then::\\n\\n        waits()")
        '    '
        >>> get_minimum_indent("Opens the shutter.")
        ''

    :param docstring: the docstring to look at
    :param ignore_before: how many lines to ignore from the first one on
    :raises InvalidTypeError: ``docstring`` is no string, or ``ignore_before`` no integer
    :raises InvalidValueError: ``ignore_before`` is negative
    """
    check_type("docstring", docstring, str)
    check_type("ignore_before", ignore_before, int)
    check_range("ignore_before", ignore_before, "a number of lines, 0 or more", 0)
    lines = [line for line in docstring.splitlines()[ignore_before:] if line.strip()]
    return _common_prefix([line[: len(line) - len(line.lstrip(" \t"))] for line in lines])


def _common_prefix(indents: list[str]) -> str:
    if not indents:
        return ""
    # what the first and the last in order have in common, all between them have too
    first, last = min(indents), max(indents)
    length = next((i for i, char in enumerate(first) if last[i] != char), len(first))
    return first[:length]


def _own_docstring(value: object) -> str:
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str) or doc == getattr(type(value), "__doc__", None):
        return ""
    return _dedent(doc).strip()


def _dedent(docstring: str) -> str:
    indent = get_minimum_indent(docstring)
    first, *rest = docstring.splitlines() or [""]
    return "\n".join([first.strip(), *(line.removeprefix(indent).rstrip() for line in rest)])


def _check_docstring(docstring: object) -> None:
    if docstring is not None:
        check_type("docstring", docstring, str, "str or None")
