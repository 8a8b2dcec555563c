"""The filter of events: `type = view, cart; country != XX`.

Clauses are separated by `;`, and all must hold. A clause is a path, `=` or `!=`, and values separated by
commas: with `=` the field must be one of the values, with `!=` none of the values. A path or value that
contains `;`, `=`, `!=` or a comma must be in quotes. Values are compared in the form of ids
(`worker.core.ids`): `7`, `7.0` and `" 7"` are equal. A boolean is compared as `true` or `false`. If the field
is absent, or is a map or a list, `=` fails and `!=` holds.

>>> clauses = parse_where('type = view, cart; country != "X, Y"')
>>> [(one.path.text, one.equal, sorted(one.values)) for one in clauses]
[('type', True, ['cart', 'view']), ('country', False, ['X, Y'])]
>>> clauses[0].holds("view"), clauses[0].holds(None), clauses[1].holds(None)
(True, False, True)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from worker.core import paths
from worker.core.ids import canonical, text_of
from worker.core.paths import Path
from worker.core.reasons import Undecodable

_TOKENS: Final = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>!=|[=,;])|"""
    r"""(?P<word>[^\s"'=,;!](?:[^=,;"'!]|!(?!=))*))"""
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause: the field at `path` must be one of `values` if `equal`, otherwise none of `values`.

    The `values` are in the form of `worker.core.ids.canonical`.
    """

    path: Path
    equal: bool
    values: frozenset[str]
    setting: str = "click.where"
    """The setting that the clause comes from."""

    def holds(self, found: Any, *, exact: bool = False) -> bool:
        """Return whether the clause holds for this value of the field. Raises Inexact like `ids.text_of`."""
        if type(found) is str and found in self.values:
            return self.equal
        return (compared(found, exact=exact) in self.values) is self.equal


def parse_where(text: str) -> tuple[Clause, ...]:
    """Return the clauses in a text, which may be empty. Raises ValueError with the place of a mistake."""
    return tuple(_clause(tokens) for tokens in _split(text) if tokens)


def settings_of(clauses: Iterable[Clause]) -> str:
    """Return the names of the settings that clauses come from, as text."""
    return " and ".join(sorted({one.setting for one in clauses}))


def compared(found: Any, *, exact: bool = False) -> str | None:
    """Return the text by which a field is compared; None for a map, a list or an absent field.

    Raises Inexact like `ids.text_of`.
    """
    if isinstance(found, bool):
        return "true" if found else "false"
    try:
        return text_of(found, exact=exact)
    except Undecodable:
        return None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _split(text: str) -> list[list[_Token]]:
    clauses: list[list[_Token]] = [[]]
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKENS.match(text, at)
        if not found:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ValueError(f"character {at + 1}: {text[at:]!r} is not a path, an operator or a value")
        kind = found.lastgroup or ""
        token = _Token(kind, found[kind].strip(), found.start(kind) + 1)
        at = found.end()
        if token.text == ";":
            clauses.append([])
        else:
            clauses[-1].append(token)
    return clauses


def _clause(tokens: list[_Token]) -> Clause:
    path, *rest = tokens
    if path.kind == "sign":
        raise ValueError(f"character {path.at}: a path is missing before {path.text!r}")
    if not rest or rest[0].text not in ("=", "!=") or rest[0].kind != "sign":
        at = rest[0].at if rest else path.at + len(path.text)
        raise ValueError(f"character {at}: {_plain(path)!r} must be followed by = or !=")
    sign, *values = rest
    found = []
    for number, token in enumerate(values):
        if (token.kind == "sign") is (number % 2 == 0) or (number % 2 == 1 and token.text != ","):
            wanted = "a value" if number % 2 == 0 else "a comma"
            raise ValueError(f"character {token.at}: {wanted} is missing before {token.text!r}")
        if number % 2 == 0:
            found.append(canonical(_plain(token)))
    if len(values) % 2 == 0:
        last = tokens[-1]
        raise ValueError(f"character {last.at + len(last.text)}: a value is missing after {last.text!r}")
    return Clause(paths.parse(_plain(path)), sign.text == "=", frozenset(found))


def _plain(token: _Token) -> str:
    return token.text[1:-1] if token.kind == "quoted" else token.text
