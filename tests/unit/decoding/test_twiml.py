"""Read the verbs of plain TwiML documents without expat, with the same result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding.twiml import parsed_verbs, plain_verbs

PIECES = ["<Response>", "</Response>", "<Say>", "</Say>", "<Say", "<Dial>", "</Dial>", "</", "<", "/>", ">", "a", '"']
PIECES += ["=", "]]>", "]", "&amp;", "&x;", "<?a?>", "<![CDATA[", "<!-- -->", ":", "-", "<x:Say/>", "<Say/>", "é"]
PIECES += ["<Say>x</Say>", "<Dial><Number/></Dial>", ' a="b"', " a='b'", ' b="c"', ' a="', '<Say a="b" c="d"/>']
PIECES += [" ", "\n", "\t", "\x00", "\x0b", "\x1f", "\x7f", "\x85", "\xa0", "\u2028", "\ufffe", "\U0001f600"]
PIECES += ['<?xml version="1.0" encoding="UTF-8"?>']

WHOLE = ["<Response>", "<Dial", ' a="b"', ">", "<Say>", "x", "</Say>", "<Say/>", "</Dial>", "<Say", ' a="b"', ' b="c"']
WHOLE += ["/>", "</Response>"]


def agree(text: str) -> None:
    """Check that a plain document has the verbs that expat finds. Expat raises for malformed ones."""
    verbs = plain_verbs(text)
    assert verbs is None or verbs == parsed_verbs(text)


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("<Response></Response>", []),
        ("<Response>hello</Response>\n", []),
        ('<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n<Say>Hi, “you” > é.</Say>\n</Response>', ["Say"]),
        (
            '<Response><Say voice="a" language="b">x</Say><Pause length="1"/><Hangup /></Response>',
            ["Say", "Pause", "Hangup"],
        ),
        (
            '<Response><Gather input="dtmf"><Say>a</Say> <Play/></Gather><Dial>+1</Dial ></Response>',
            ["Gather", "Dial"],
        ),
    ],
)
def test_usual_documents_are_plain(text: str, verbs: list[str]) -> None:
    """Otherwise the fast reader would be useless."""
    assert plain_verbs(text) == verbs == parsed_verbs(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<Response/>",
        "<Other><Say/></Other>",
        "<Response><Say></Response>",
        "<Response><Say></Pause></Response>",
        "<Response><Say/></Response><Response></Response>",
        "<Response><Say/></Response>x",
        '<Response><Say a="1" a="2"/></Response>',
        '<Response><Say a="1" b="2" a="3"/></Response>',
        '<Response><Say a="1"b="2"/></Response>',
        '<Response><Say a="<"/></Response>',
        "<Response>]]></Response>",
        "<Response>&lt;</Response>",
        "<Response><!-- <Say/> --></Response>",
        "<Response>\x01</Response>",
        "<Response><Say\xa0/></Response>",
        "<!DOCTYPE r><Response></Response>",
        '<?xml version="1.1" encoding="UTF-8"?><Response></Response>',
        "<Response><A><B><C/></B></A></Response>",
        "<Response><A><B>x</C></A></Response>",
    ],
)
def test_all_other_documents_go_to_expat(text: str) -> None:
    """They may be malformed."""
    assert plain_verbs(text) is None


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_expat_agrees_on_every_document_that_the_fast_reader_accepts(pieces: list[str]) -> None:
    """Documents are random sequences of pieces, also nested."""
    text = "".join(pieces)
    agree(text)
    agree(f"<Response>{text}</Response>")
    agree(f'<Response><Say a="b">{text}</Say></Response>')
    agree(f"<Response><Say {text}></Say></Response>")


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.sampled_from(["", *PIECES])), max_size=3))
def test_expat_agrees_on_damaged_documents(changes: list[tuple[int, str]]) -> None:
    """They are two elements deep, with several attributes."""
    pieces = list(WHOLE)
    for index, piece in changes:
        pieces[index] = piece
    agree("".join(pieces))


@given(st.text(max_size=20))
def test_expat_accepts_every_character_that_the_fast_reader_accepts(text: str) -> None:
    """Characters are in text, in an attribute, and in a name."""
    agree(f"<Response>{text}</Response>")
    agree(f'<Response><Say a="{text}"/></Response>')
    agree(f"<Response><Say{text}/></Response>")


@pytest.mark.parametrize(
    "code", [*range(0x100), 0x2028, 0xD7FF, 0xE000, *range(0xFDD0, 0xFDD3), 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE]
)
def test_both_readers_agree_on_every_unusual_character(code: int) -> None:
    """This covers Latin-1 and the characters that XML forbids."""
    for text in (f"<Response>{chr(code)}</Response>", f'<Response><Say a="{chr(code)}"/></Response>'):
        agree(text)
