"""Plain English in the prose of the product and in its documents.

That is docstrings, comments, help texts, messages, the report page, Markdown and the Makefile. A function
does something: its docstring begins with a verb. Properties, classes and modules are things: a noun phrase
describes them, and "Whether ..." a property that is true or false.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.documents import DOCUMENTS
from tests.test_house import ROOT, assert_none

PRODUCT: Final = ("worker", "trainer", "deploy")

PRIVATE_WORDS: Final = re.compile(
    r"\b(?:absorb\w*|anew|be it|beside|dirt|held-out end|lockstep|makers?|on trial|rewarm\w*"
    r"|so far(?= as| that|,)|so long|so many|taken up|test end|told|whoever|wish(?:es|ed)?)\b",
    re.IGNORECASE,
)
"""Words that only their authors understand, and English that stops a reader."""

CLAUSE_AS_SUBJECT: Final = re.compile(r"(?:^|[.;:] )(?:What(?:ever)?|Who) [^.;?]*(?:[.;]|$)")
"""A sentence with a clause as its subject: "What is no click becomes a dead letter." A question is none."""

NO_VERB: Final = re.compile(
    r"(?:A|About|After|All|An|Any|As|At|Both|By|Each|Every\w*|First|For|From|How|If|In|Is|Its?|Items?|Last|Many|More"
    r"|Most|Names?|Newest|No|None|Nothing|Numbers?|Of|On|One|Only|Our|Several|Some|Such|That|The|Their|There|These"
    r"|They|This|Those|To|Two|What\w*|When|Where|Whether|Which|Who|Whose|Why|With|Within)\b(?!-)|[^A-Z]"
)
"""The beginnings that a docstring of a function must not have: "Return the ...", not "The ..."."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Text:
    """One piece of prose: where it is, what it is, and its words on one line."""

    path: str
    line: int
    kind: str
    words: str

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it."""
        if found := PRIVATE_WORDS.search(self.words):
            yield f"{self} has the word {found[0]!r}"
        if re.match(r"(?:What|How)\b", self.words):
            yield f"{self} begins with {self.words.split()[0]!r}"
        elif CLAUSE_AS_SUBJECT.search(self.words):
            yield f"{self} has a clause as a subject"
        if self.kind == "function" and NO_VERB.match(self.words):
            yield f"{self} does not begin with a verb"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: the {self.kind} {self.words[:120]!r}"


def product() -> Iterator[Text]:
    """Yield all prose of the product."""
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".html":
                for line, text in enumerate(path.read_text().splitlines(), 1):
                    yield Text(name, line, "template's line", " ".join(text.split()))
            elif path.suffix == ".py":
                yield from prose(name, path.read_text())


def documents() -> Iterator[Text]:
    """Yield all prose of the documents and of the Makefile."""
    for name in (*DOCUMENTS, "Makefile"):
        yield from paragraphs(name, (ROOT / name).read_text())


def paragraphs(path: str, source: str) -> Iterator[Text]:
    """Yield paragraphs, rows of tables, points of lists and headings of a document, without code.

    A line of a Makefile is one of these; its own text are its comments and what it prints.
    """
    code = re.sub(
        r"^```.*?^```$", lambda found: "\n" * found[0].count("\n"), source, flags=re.DOTALL | re.MULTILINE
    )
    begin, block = 1, list[str]()
    begins = re.compile("" if path == "Makefile" else r"\s*(?:[|#]|[-*] |\d+\. |$)")
    for number, line in enumerate([*re.sub(r"`[^`\n]+`", "`code`", code).splitlines(), ""], 1):
        if begins.match(line) and block:
            yield Text(path, begin, "paragraph", " ".join(" ".join(block).split()))
            block.clear()
        begin = begin if block else number
        if line.strip():
            block.append(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", line))


def prose(path: str, source: str) -> Iterator[Text]:
    """Yield docstrings (those of attributes, too), all other strings, and comments of a Python file."""
    kinds: dict[ast.AST, str] = {}
    for node in ast.walk(ast.parse(source)):  # parents first
        if isinstance(node, Documented) and node.body and isinstance(node.body[0], ast.Expr):
            kinds[node.body[0].value] = kind_of(node)
        elif isinstance(node, ast.Expr):
            kinds.setdefault(node.value, "attribute")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(path, node.lineno, kinds.get(node, "string"), " ".join(node.value.split()))
    for line, comment in comments(source):
        yield Text(path, line, "comment", comment)


def kind_of(node: ast.AST) -> str:
    """Return what the docstring of a node describes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
        return "property" if "property" in decorators else "function"
    return "class" if isinstance(node, ast.ClassDef) else "module"


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield comments with their first lines; those on lines that follow each other are one."""
    begin, block = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            begin = begin if block else token.start[0]
            block.append(token.string.lstrip("#: "))
        elif block and token.type != tokenize.NL:
            yield begin, " ".join(block)
            block.clear()


def test_the_product_speaks_plain_english() -> None:
    """No private words, no clause as a subject, and a verb first where something is done."""
    assert_none(problem for text in product() for problem in text.problems())


def test_the_documents_speak_plain_english() -> None:
    """Nor do they, wherever a sentence is broken into lines."""
    assert_none(problem for text in documents() for problem in text.problems())


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("# Title\n\nIt reads so\nmany clicks.\n", 3),
        ("```\nwish\n```\nThe users are told.\n", 4),
        ("| a |\n| --- |\n| the maker |\n", 3),
        ("- one\n- What is no click\n  becomes a dead letter.\n", 2),
    ],
)
def test_a_paragraph_that_breaks_a_rule_is_found(source: str, line: int) -> None:
    """At its first line; code is no prose."""
    (problem,) = (problem for text in paragraphs("a.md", source) for problem in text.problems())

    assert problem.startswith(f"a.md:{line}: ")


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """The end of the log."""\n',
        'def f():\n    """Whether it is there."""\n',
        'def f():\n    """`size` of them."""\n',
        '"""What a worker does."""\n',
        'class A:\n    """Keeps things. What is no click becomes a dead letter."""\n',
        'limit = 3\n"""How many there may be."""\n',
        'say("the users are told")\n',
        '@option("--loss", help="What is made small.")\ndef f(): ...\n',
        "# one so\n# many\nx = 1\n",
    ],
)
def test_a_text_that_breaks_a_rule_is_found(source: str) -> None:
    """Wherever it is in a file."""
    assert len([problem for text in prose("a.py", source) for problem in text.problems()]) == 1


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """Return the end of the log; raise KafkaAway."""\n',
        '@property\ndef f(self):\n    """Whether it is there."""\n',
        'class A:\n    """A log. What does it keep? All records."""\n',
        'say("so much was besides the point")\n',
    ],
)
def test_plain_english_is_let_through(source: str) -> None:
    """Nouns for things, verbs for functions, questions."""
    assert not [problem for text in prose("a.py", source) for problem in text.problems()]
