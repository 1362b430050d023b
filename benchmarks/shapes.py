"""Make records of 10 MiB as an attacker or a broken producer would. `SHAPES` maps names to functions."""

import base64
import hashlib
import json
from collections.abc import Callable

from consumer.decoding.aggregates import MAGIC
from consumer.decoding.deaggregation import aggregate

SIZE = 10 * 1024 * 1024
FAMILY = "com.twilio.voice.api-request.call.created"
SMALLEST = b'{"id":"a","source":"b","type":"%b","data":{"sid":"c"}}' % FAMILY.encode()


def array(element: bytes, last: bytes = b"0") -> bytes:
    """Return a JSON array that repeats one element and ends with `last`."""
    return b"[%b%b]" % ((element + b",") * ((SIZE - 2 - len(last)) // (len(element) + 1)), last)


def event(**data: object) -> bytes:
    """Return an event with these members of `data`."""
    document = {"id": "a", "source": "b", "type": FAMILY, "data": {"sid": "c", **data}}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def member(text: bytes, name: bytes = b"x") -> bytes:
    """Return an event with one more member, whose value is this JSON."""
    return b'%b,"%b":%b}' % (SMALLEST[:-1], name, text)


def parameters(text: bytes) -> bytes:
    """Return an event whose parameters are this JSON."""
    return SMALLEST.replace(b'"sid":"c"', b'"sid":"c","request":{"parameters":%b}' % text)


def body(content: bytes, content_type: str = "application/json") -> bytes:
    """Return an event with this body, cut to fit into the record."""
    encoded = base64.b64encode(content[: SIZE * 3 // 4 - 1000]).decode()
    return event(response={"contentType": content_type, "responseBody": encoded})


def filled(unit: bytes, before: bytes = b"", after: bytes = b"", size: int = SIZE) -> bytes:
    """Return `unit` repeated up to the size, between two texts."""
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def numbered(unit: bytes, length: int, separator: bytes = b",") -> bytes:
    """Return units of `length` bytes that differ by the number in them."""
    return separator.join(unit % number for number in range(SIZE // (length + len(separator))))


def aggregated(*user_records: bytes) -> bytes:
    """Return an aggregate that repeats these user records under one partition key."""
    fields = b"".join(_field(3, b"\x08\x00" + _field(3, data)) for data in user_records)
    return sealed(_field(1, b"k") + fields * ((SIZE - 100) // len(fields)))


def sealed(message: bytes) -> bytes:
    """Return an aggregate of a protobuf message, with its digest."""
    return MAGIC + message + hashlib.md5(message).digest()


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


Shape = Callable[[], bytes]
BODY = SIZE * 3 // 4 - 1000
ARRAYS: dict[str, Shape] = {
    "array of empty objects": lambda: array(b"{}"),
    "array of zeros": lambda: array(b"0"),
    "array of fractions": lambda: array(b"0.1"),
    "array of outsize numbers": lambda: array(b"1e999"),
    "array of empty arrays": lambda: array(b"[]"),
    "array of nested arrays": lambda: array(b"[[[[]]]]"),
    "array of deep arrays": lambda: array(b"[" * 20 + b"]" * 20),
    "array of the deepest arrays": lambda: array(b"[" * 199 + b"]" * 199),
    "array of texts": lambda: array(b'"ab"'),
    "array of lone surrogates": lambda: array(rb'"\ud800"'),
    "array of one huge array": lambda: b"[" + filled(b"[],", b"[", b"0]", SIZE - 2) + b"]",
    "array of two huge objects": lambda: b"[%b,%b]" % ((member(filled(b"{},", b"[", b"0]", SIZE // 2 - 200)),) * 2),
    "array of arrays of 1 MiB": lambda: b"[" + b",".join([filled(b"{},", b"[", b"0]", SIZE // 10)] * 10) + b"]",
    "array of skipped events": lambda: array(b'{"type":"a"}'),
    "array of types invented": lambda: b"[" + numbered(b'{"type":"a%06d"}', 18) + b"]",
    "array of bad types": lambda: array(b'{"type":1}'),
    "array of events without data": lambda: array(SMALLEST.replace(b',"data":{"sid":"c"}', b"")),
    "array of events without sid": lambda: array(SMALLEST.replace(b'"sid":"c"', b"")),
    "array of smallest events": lambda: b"[" + numbered(SMALLEST.replace(b'"a"', b'"%08d"'), 108) + b"]",
    "array of events, patiently": lambda: array(SMALLEST, rb'"\ud800"'),
    "array of odd events": lambda: array(SMALLEST.replace(b'"sid":"c"', b'"sid":"c","response":{"responseCode":[]}')),
    "array of wide events of 10 KiB": lambda: array(event(request={"parameters": {"To": "a" * 10_000 + "\U0001f600"}})),
    "array of wide events of 1 MiB": lambda: array(event(request={"parameters": {"To": "a" * 2**20 + "\U0001f600"}})),
    "array of plain events of 100 KiB": lambda: array(event(request={"parameters": {"Twiml": "a, b, c {" * 11_000}})),
    "array torn at its end": lambda: array(SMALLEST)[:-1],
    "array torn inside of an element": lambda: array(SMALLEST)[:-20] + b"]",
    "array not closed": lambda: b"[" * SIZE,
    "array of quotes": lambda: b'["' + b'",' * (SIZE // 2),
    "array without its commas": lambda: array(b"0").replace(b",", b" "),
    "array of spaces": lambda: b"[%b]" % (b" " * (SIZE - 2)),
    "array of commas": lambda: b"[%b]" % (b"," * (SIZE - 2)),
    "array with spaces in it": lambda: array(b"{   }  "),
    "array that is not UTF-8": lambda: array(b'"\xff"'),
    "array and a byte order mark": lambda: b"\xef\xbb\xbf" + array(b"{}"),
}
EVENTS: dict[str, Shape] = {
    "event with huge text": lambda: event(request={"parameters": {"Twiml": "a, b, c {" * (SIZE // 10)}}),
    "event with huge wide text": lambda: event(request={"parameters": {"Body": "a" * (SIZE - 200) + "\U0001f600"}}),
    "event with a text of escapes": lambda: parameters(filled(rb"\u00e9", b'{"a":"', b'"}', SIZE - 200)),
    "event with a text of pairs": lambda: parameters(filled(rb"\ud83d\ude00", b'{"a":"', b'"}', SIZE - 200)),
    "event with a text of surrogates": lambda: parameters(filled(rb"\ud800", b'{"a":"', b'"}', SIZE - 200)),
    "event with a text of backslashes": lambda: parameters(filled(rb"\\", b'{"a":"', b'"}', SIZE - 200)),
    "event with a text of control characters": lambda: parameters(filled(rb"\u0001", b'{"a":"', b'"}', SIZE - 200)),
    "event wide and mended": lambda: parameters(filled(b"a", b'{"a":"', '\\ud800\U0001f600"}'.encode(), SIZE - 200)),
    "event with millions of parameters": lambda: parameters(b"{" + numbered(b'"%07d":""', 12) + b"}"),
    "event with 99,000 parameters": lambda: parameters(
        b"{" + b",".join(b'"%05d":"%b"' % (n, b"x" * 95) for n in range(90_000)) + b"}"
    ),
    "event with 45,000 objects": lambda: parameters(b"[" + numbered(b'{"%0200d":{}}', 210) + b"]"),
    "event with huge lists": lambda: parameters(filled(b'"",', b'{"a":[', b'""]}', SIZE - 200)),
    "event with an unknown member": lambda: member(filled(b"[],", b"[", b"0]", SIZE - 200)),
    "event of another type, huge": lambda: member(filled(b"[],", b"[", b"0]", SIZE - 200)).replace(b"voice", b"other"),
    "event with duplicate members": lambda: member(b"1", b'x":1,"x":1,' * 100 + b'"x').replace(
        b'"x":1,', b'"x":1,' * (SIZE // 7 // 200)
    ),
    "event of duplicate members": lambda: filled(b'"a":1,', SMALLEST[:-1] + b",", b'"a":1}'),
    "event behind spaces": lambda: b" " * (SIZE - len(SMALLEST)) + SMALLEST,
    "event before spaces": lambda: SMALLEST + b"\n" * (SIZE - len(SMALLEST)),
    "event with a huge URL": lambda: event(request={"url": "https://" + "a:@/?" * (SIZE // 5 - 100)}),
    "event with a huge id": lambda: SMALLEST.replace(b'"id":"a"', b'"id":"%b"' % (b"a" * (SIZE - 200))),
    "event with a huge source": lambda: SMALLEST.replace(
        b'"source":"b"', b'"source":"%b"' % (b"/AC" * (SIZE // 3 - 90))
    ),
    "event with a huge type": lambda: SMALLEST.replace(b'"type":"c', b'"type":"%bc' % (b"a" * (SIZE - 200))),
    "event with a huge number": lambda: member(b"1" * (SIZE - 200)),
    "event with data as a text": lambda: event().replace(
        b'{"sid":"c"}', json.dumps('{"sid":"c","x":[' + "[]," * (SIZE // 4) + "0]}").encode()
    ),
    "event with data in base64": lambda: event().replace(
        b'"data":{"sid":"c"}',
        b'"data_base64":"%b"' % base64.b64encode(filled(b"[],", b'{"sid":"c","x":[', b"0]}", BODY)),
    ),
    "event nested too deep": lambda: member(b"[" * (SIZE // 2 - 100) + b"]" * (SIZE // 2 - 100)),
    "event torn": lambda: member(filled(b"[],", b"[", b"", SIZE - 200)),
    "event with little wide text": lambda: event(request={"parameters": {"Body": "a" * (SIZE // 3) + "\U0001f600"}}),
    "event with nothing but wide text": lambda: event(
        request={"parameters": {"Body": "\U0001f600" * (SIZE // 4 - 99)}}
    ),
    "event with wide text in escapes": lambda: parameters(filled(b"a", b'{"a":"', rb'\ud83d\ude00"}', SIZE - 200)),
    "event with surrogates between letters": lambda: parameters(filled(rb"ab\ud800", b'{"a":"', b'"}', SIZE - 200)),
    "event with a huge name": lambda: parameters(filled(b"a:b@//", b'{"', b'":1}', SIZE - 200)),
    "event with a wide name": lambda: parameters(filled("//a:b@\U0001f600".encode(), b'{"', b'":1}', SIZE - 200)),
    "event to a huge address": lambda: event(request={"parameters": {"To": "a" * (SIZE - 200)}}),
    "event to a wide address": lambda: event(request={"parameters": {"To": "\U0001f600//a:b@" * (SIZE // 10 - 99)}}),
    "event with a huge URL in its URL": lambda: event(
        request={"url": "https://a:b@c?u=" + "http%3A%2F%2Fa:b@" * (SIZE // 19)}
    ),
    "event with a wide URL": lambda: event(request={"url": "https://a:b@c?\U0001f600" + "%40" * (SIZE // 12)}),
    "secrets in parameters": lambda: event(request={"parameters": {"Twiml": "SipAuthPassword=a&" * (SIZE // 19)}}),
    "URLs in parameters": lambda: event(request={"parameters": {"Url": "https://a:b@c/%40 " * (SIZE // 19)}}),
    "nothing but zeros": lambda: bytes(SIZE),
    "gzip": lambda: b"\x1f\x8b" + bytes(SIZE),
    "one text": lambda: b'"%b"' % (b"a" * SIZE),
    "text that is not JSON": lambda: b"a" * SIZE,
    "text of letters that are wide": lambda: "\U0001f600".encode() * (SIZE // 4),
}
BODIES: dict[str, Shape] = {
    "body of text": lambda: body(b"a" * SIZE, "text/plain"),
    "body of wide text": lambda: body("\U0001f600".encode() + b"a" * SIZE, "text/plain"),
    "body of vertical tabs": lambda: body(b"\x0b" * SIZE, "text/plain"),
    "body of line feeds": lambda: body(b"\n" * SIZE, "text/plain"),
    "body of wide JSON": lambda: body(filled(b"a", '{"message":"\U0001f600'.encode(), b'"}', BODY)),
    "body of a URL many times": lambda: body(b"http://a:b@c " * (SIZE // 13), "text/plain"),
    "body in a code page": lambda: body(b"\xb0" * SIZE, "text/plain; charset=cp437"),
    "body of control characters": lambda: body(b"\x01" * SIZE, "text/plain"),
    "body of quotes": lambda: body(b'"' * SIZE, "text/plain"),
    "body of binary": lambda: body(bytes(range(256)) * (SIZE // 256), "image/png"),
    "body that is no base64": lambda: event(response={"responseBody": "*" * (SIZE - 200)}),
    "body of empty arrays": lambda: body(filled(b"[],", b"[", b"0]", BODY)),
    "body of empty objects": lambda: body(filled(b"{},", b'{"code":1,"x":[', b"0]}", BODY)),
    "body of one JSON text": lambda: body(filled(b"a", b'{"message":"', b'"}', BODY)),
    "body of mended JSON": lambda: body(filled(rb"\ud800", b'{"message":"', b'"}', BODY)),
    "body of TwiML": lambda: body(filled(b"<Say/>", b"<Response>", b"</Response>", BODY), "text/xml"),
    "body of short elements": lambda: body(
        filled(b"<a/>", b"<Response>", b"<a><b/></a><!--x--></Response>", BODY), "text/xml"
    ),
    "body of nested XML": lambda: body(filled(b"<a>", b"<Response>", b"", BODY), "text/xml"),
    "body of attributes": lambda: body(
        b"<Response><a " + b" ".join(b'a%d=""' % n for n in range(BODY // 12)) + b"/></Response>", "text/xml"
    ),
    "body in UTF-16": lambda: body("é".encode("utf-16-le") * (SIZE // 2), "text/plain; charset=utf-16-le"),
}
AGGREGATES: dict[str, Shape] = {
    "aggregate of no bytes": lambda: aggregated(b""),
    "aggregate of one byte each": lambda: aggregated(b"x"),
    "aggregate of empty objects": lambda: aggregated(b"{}"),
    "aggregate of zeros": lambda: aggregated(b"0"),
    "aggregate of small arrays": lambda: aggregated(b"[0,0,0]"),
    "aggregate of skipped events": lambda: aggregated(b'{"type":"a"}'),
    "aggregate of smallest events": lambda: aggregated(SMALLEST),
    "aggregate of events and garbage": lambda: aggregated(SMALLEST, b"", b"x", b"[]"),
    "aggregate of wide events of 10 KiB": lambda: aggregated(
        event(request={"parameters": {"To": "a" * 10_000 + "\U0001f600"}})
    ),
    "aggregate of garbage of 2 KiB": lambda: aggregated(b"x" * 2048),
    "aggregate of arrays of 100 KiB": lambda: aggregated(filled(b"{},", b"[", b"0]", SIZE // 100)),
    "aggregate of one huge array": lambda: aggregate([("k", array(b"{}")[:-200] + b"0]")]),
    "aggregate of two huge arrays": lambda: aggregate([("k", filled(b"{},", b"[", b"0]", SIZE // 2 - 100))] * 2),
    "aggregate of one huge text": lambda: aggregate([("k", b"x" * (SIZE - 100))]),
    "aggregate with many keys": lambda: sealed(filled(_field(1, b"k"), b"", _field(3, b"\x08\x00\x1a\x02{}"))),
    "aggregate with many longer keys": lambda: sealed(
        b"".join(_field(1, b"%06d" % number) for number in range(SIZE // 8 - 10)) + _field(3, b"\x08\x00\x1a\x02{}")
    ),
    "aggregate with many hash keys": lambda: sealed(
        filled(_field(2, b"0"), _field(1, b"k"), _field(3, b"\x08\x00\x1a\x00"))
    ),
    "aggregate with one huge key": lambda: sealed(_field(1, b"k" * (SIZE - 100)) + _field(3, b"\x08\x00\x1a\x02{}")),
    "aggregate of huge keys": lambda: sealed(
        _field(1, b"k" * (SIZE // 2)) + _field(3, b"\x08\x00\x1a\x00") * (SIZE // 2 // 6 - 10)
    ),
    "aggregate with many tags": lambda: sealed(
        _field(1, b"k") + _field(3, b"\x08\x00\x1a\x02{}" + b'"\x02\n\x00' * (SIZE // 4 - 50))
    ),
    "aggregate with unknown fields": lambda: sealed(
        filled(b"\x48\x00", _field(1, b"k"), _field(3, b"\x08\x00\x1a\x02{}"))
    ),
    "aggregate with groups": lambda: sealed(filled(b"\x4b\x4c", _field(1, b"k"), _field(3, b"\x08\x00\x1a\x02{}"))),
    "aggregate with data many times": lambda: sealed(
        _field(1, b"k") + _field(3, b"\x08\x00" + b"\x1a\x02{}" * (SIZE // 4 - 50))
    ),
    "aggregate whose last key is missing": lambda: sealed(
        filled(_field(3, b"\x08\x00\x1a\x00"), _field(1, b"k"), _field(3, b"\x08\x01\x1a\x00"))
    ),
    "aggregate torn": lambda: sealed(filled(_field(3, b"\x08\x00\x1a\x00"), _field(1, b"k"), b"\x1a\x7f")),
    "aggregate with a wrong digest": lambda: aggregated(b"x")[:-1] + b"\x00",
}
SHAPES = ARRAYS | EVENTS | BODIES | AGGREGATES
