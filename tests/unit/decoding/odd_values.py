"""Values that `fuzz` puts into events: usual ones, and those that are odd or almost usual."""

from benchmarks.events import ACCOUNT
from schemas.event_types import EVENT_TYPES

# fmt: off
KEYS = ["key", "CA" + "0" * 32, "", "é\u2028", "https://u:p@h/", "https%3A%2F%2Fu%3Ap%40h"]
OTHER = "AC" + "aB" * 16
URLS = [
    f"https://u:p@api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls.json",
    f"https://api.twilio.com/2010-04-01/Accounts/{OTHER}",
    f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}x/Calls.json",
    f"https://api.twilio.com/2010-04-01/Accounts/{OTHER}?SipAuthPassword=x/",
    f"https://api.twilio.com/2010-04-01/Accounts/x/{OTHER}.json", f"https://user:p/{OTHER}/w@host/",
    f"https://user:p/{OTHER}/w@host/{ACCOUNT}", f"https://user:80/{OTHER}/@host/",
    f"https://host/SipAuthPassword=a/{OTHER}&b=c", f"sip:u:/{OTHER}@host", f"/x/{OTHER}?a=b#c",
    "https://u:p@w@h/a?next=https%3A%2F%2Fu%3Ap%40h", "sip:u:p@h;transport=tls", "sips%3Au%3Ap%2540h",
    "https:\\/\\/u:p@h\\/", "//u:p@[::1]:80/", "mailto:a@b", "AC12345678", "/AC12345678.json",
]
TIMES = [
    "2026-11-23T09:15:42.131Z", "2026-11-23T09:15:42Z", "2026-11-23T09:15:42.1311Z", "2026-02-29T09:15:42.000Z",
    "0000-01-01T00:00:00.000Z", "2026-12-31T23:59:60.000Z", "2026-11-23t09:15:42.131z", "2026-11-23T11:15:42.131+02:00",
    "2026-11-23T09:15:42.131Z\n", "\u0662026-11-23T09:15:42.131Z", "Mon, 23 Nov 2026 09:15:42 +0000",
    "Xyz, 31 Nov 2026 09:15:42 +0000", "Mon, 23 nov 2026 09:15:42 GMT", "23 Nov 2026 09:15 -0500",
    "Fri, 01 Jan 0001 00:00:00 +0100", "Sat, 31 Dec 2016 23:59:60 +0000", " Mon, 3 Nov 2026 09:15:42 +0000 ",
    "Mon, 23 Nov 2026 09:15:42 +0000" + " " * 40,
]
MEDIA = [
    "application/json", "text/xml", "application/xml;charset=UTF-8", "application/xml+json",
    "application/json; charset=latin-1", "application/json;charset=utf-8-sig", "Text/XML; Charset='utf8'", "text/plain",
    "; charset=utf-16",
]
SCHEMAS = [
    f"https://a.example/Voice.WebhookEvent/{end}" for end in ("1", "2.json", "3", "002", "2\n", "\u0662", "", "9" * 9)
]
TEXTS = [
    "", "0", "12\n", "\u0662", "\ufeff", "\x00", "\x7f", "\ud7ff", "\ud800", "\U0001f600", "é" * 40, "@", "%", "a@b%c",
    "a" * 300, "SipAuthPassword=x&y", '{"sipAUTHpassword": 1}', "1.0", "2.0", "CF" + "aB" * 16, "ca" + "0" * 32, "200",
    " 200",
]
TEXTS += [*URLS, *TIMES, *MEDIA, *SCHEMAS, *EVENT_TYPES]
NUMBERS = [0, -1, 1.0, -0.0, 200.5, 1e300, 2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**64, 10**40, True, False]
VALUES = [*TEXTS, *NUMBERS, None, [], {}, [""], ["a", "b"], [["a"]], [None], {"a": "b"}, {"a": {"b": [1]}}, {"": ""}]
SPELLINGS = [
    b"1e999", b"-1E999", b"9" * 400, b"2E2", b"200.0", b"-0", b"00", b"+1", b"NaN", b"0x1", b'"\\ud800"',
    b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\\/"', b'"\\x"', b"tru", b"null", b"[" * 250 + b"]" * 250, b'"\xff"',
    b'"\xed\xa0\x80"', b'"\t"',
]
NAMES = [
    "SipAuthPassword", "sipauthpassword", "SIPAUTHPASSWORD", "\u017fipAuthPassword", "AccountSid", "To", "From", "Url",
    "", "é", URLS[0],
]
BODY_NAMES = ["account_sid", "to", "from", "status", "code", "message", "sid", "x"]
CODES = [21211, "21211", "0" * 18, "9" * 19, "²", -1, 2**63 - 1, 2**63, 2**64, 1.0, True, "", " 1", [], {}]
TWIML = [
    "<Say/>", "<!-- a -->", "&amp;", "&", "<", "]]>", "<?a b?>", "<![CDATA[<a/>]]>", "\x00", "\ufffe", "\ufeff", "\r\n",
    "é", "<Dial><Sip>sip:u:p@h</Sip></Dial>", "<Say a='b'/>", '<Say a="b" a="c"/>', "<Gather><Say><b/></Say></Gather>",
    "</Response>", "<a:b/>", "<Play>https://u:p@h/%20</Play>", '<!DOCTYPE r [<!ENTITY a "b">]>', "<Response>", " ",
    "<Say", "{", "[",
]
BYTES = [
    b'"', b"\\", b"{", b"}", b",", b":", b" ", b"\n", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\\ud800",
    b"\\u0041", b"%", b"@", b"=", b"e9",
]
