"""The records of a stream prediction, read from a large body without holding up other requests."""

from __future__ import annotations

import msgspec

from mistk_service.web.json_limits import JsonTooLarge, strings_in

#: The maximum number of records in one request. Decoding that many small ones takes some 50 ms, during which no other thread
#: runs.
MAX_RECORDS = 100_000

#: Escaped characters in all records of a request together, for the same reason; a long text has one in each line.
_MAX_ESCAPES = 2_000_000

_decode = msgspec.json.Decoder(dict[str, str]).decode


def read_records(body: bytes | bytearray) -> dict[str, str]:
    """Return the records of a body, an object of texts. Anything else is refused before it is decoded to objects.

    Raises:
        JsonTooLarge: there are too many.
        ValueError: it is not such an object, or has a record twice.
    """
    if body.count(b"\\") > _MAX_ESCAPES:
        raise JsonTooLarge(f"it holds more than {_MAX_ESCAPES} escaped characters; records in base64 need none")
    # A map of texts has two for every record.
    strings = strings_in(body)
    if strings > 2 * MAX_RECORDS:
        raise JsonTooLarge(f"it holds more than {MAX_RECORDS} records; send them in several requests")
    value = _decode(body)
    if strings != 2 * len(value):
        raise ValueError("it contains a record's name twice")
    return value
