"""The verbs of plain documents, read without expat: whatever is taken, expat sees the same."""

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
    """What is plain is what expat makes of it, which raises for anything malformed."""
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
def test_what_customers_answer_is_plain(text: str, verbs: list[str]) -> None:
    """Else none of it would be quick."""
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
def test_anything_else_is_for_expat_to_judge(text: str) -> None:
    """Malformed or not."""
    assert plain_verbs(text) is None


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_whatever_is_taken_expat_sees_the_same(pieces: list[str]) -> None:
    """Pieces of documents in any order, alone and inside of one."""
    text = "".join(pieces)
    agree(text)
    agree(f"<Response>{text}</Response>")
    agree(f'<Response><Say a="b">{text}</Say></Response>')
    agree(f"<Response><Say {text}></Say></Response>")


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.sampled_from(["", *PIECES])), max_size=3))
def test_and_of_a_document_with_a_piece_missing_or_wrong(changes: list[tuple[int, str]]) -> None:
    """Two elements deep, with several attributes."""
    pieces = list(WHOLE)
    for index, piece in changes:
        pieces[index] = piece
    agree("".join(pieces))


@given(st.text(max_size=20))
def test_whatever_character_is_taken_expat_takes_it_too(text: str) -> None:
    """In text, in an attribute, and in a name."""
    agree(f"<Response>{text}</Response>")
    agree(f'<Response><Say a="{text}"/></Response>')
    agree(f"<Response><Say{text}/></Response>")


@pytest.mark.parametrize(
    "code", [*range(0x100), 0x2028, 0xD7FF, 0xE000, *range(0xFDD0, 0xFDD3), 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE]
)
def test_every_odd_character_is_judged_as_expat_does(code: int) -> None:
    """All of Latin-1, and what XML leaves out beyond."""
    for text in (f"<Response>{chr(code)}</Response>", f'<Response><Say a="{chr(code)}"/></Response>'):
        agree(text)
