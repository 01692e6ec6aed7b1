"""`index.encode` compiled: the offers of an answer as JSON."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport fabs, floor
from libc.string cimport memcpy

cdef double* POWERS = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]


cdef enum:
    OFFER_ROOM = 192  # for an offer's numbers, and the names of its members


def offers_json(list offers, quoted):
    """JSON objects of offers without reasons, joined by commas.

    Args:
        offers: `ChosenOffer`s.
        quoted: writes a text that has to be escaped.
    """
    cdef Py_ssize_t room = 0, at = 0
    cdef char* out
    cdef list parts = []
    cdef bytes name, fragment
    for offer in offers:
        name, fragment = quoted(offer.offer_id), offer.fragment
        parts.append((offer, name, fragment))
        room += len(name) + len(fragment) + OFFER_ROOM
    out = <char*>PyMem_Malloc(room + 1)
    if out is NULL:
        raise MemoryError
    try:
        for offer, name, fragment in parts:
            at = _put_offer(
                out, at, name, len(name), False,
                offer.rank, offer.score, offer.probability, offer.propensity,
                fragment, len(fragment),
            )
        return PyBytes_FromStringAndSize(out, at)
    finally:
        PyMem_Free(out)


cdef Py_ssize_t _put_offer(
    char* out, Py_ssize_t at, const char* name, Py_ssize_t n_name, bint is_bare,
    int rank, double score, double probability, double propensity,
    const char* fragment, Py_ssize_t n_fragment,
) except -1:
    """Write one offer, after a comma where it is not the first.

    Args:
        out: with room for both texts and `OFFER_ROOM` from `at` on.
        name: the id as JSON, or the id itself where it is bare.
    """
    if at:
        out[at] = b","
        at += 1
    at = _put(out, at, b'{"offer_id":')
    if is_bare:
        out[at] = b'"'
        at += 1
    memcpy(out + at, name, n_name)
    at += n_name
    if is_bare:
        out[at] = b'"'
        at += 1
    at = _put(out, at, b',"rank":')
    at = _number(out, at, rank)
    at = _put(out, at, b',"score":')
    at = _number(out, at, score)
    at = _put(out, at, b',"probability":')
    at = _number(out, at, probability)
    at = _put(out, at, b',"propensity":')
    at = _number(out, at, propensity)
    if n_fragment:
        out[at] = b","
        memcpy(out + at + 1, fragment, n_fragment)
        at += n_fragment + 1
    out[at] = b"}"
    return at + 1


cdef bint _is_plain(const char* text, Py_ssize_t n) noexcept:
    """Whether a text stands in JSON as it is."""
    cdef Py_ssize_t at
    for at in range(n):
        if not 0x20 <= <unsigned char>text[at] < 0x7F or text[at] == b'"' or text[at] == b"\\":
            return False
    return True


cdef inline Py_ssize_t _put(char* out, Py_ssize_t at, bytes part) noexcept:
    cdef Py_ssize_t n = PyBytes_GET_SIZE(part)
    memcpy(out + at, PyBytes_AS_STRING(part), n)
    return at + n


cdef Py_ssize_t _number(char* out, Py_ssize_t at, double number) except -1:
    """Write a number as `%.6g` does.

    Six digits of a number of ordinary size are a whole number, once it is scaled; scaling errs by
    less than what would be seen, except right between two of them, where Python is asked.
    """
    cdef double size = fabs(number), scaled, whole
    cdef int exponent = 5, place, n_digits = 6
    cdef long digits
    cdef char text[6]
    if size == 0.0 or not 1e-4 <= size < 999999.0:
        return _put(out, at, b"%.6g" % number)
    while exponent > -4 and size < (POWERS[exponent] if exponent >= 0 else 1.0 / POWERS[-exponent]):
        exponent -= 1
    scaled = size * POWERS[5 - exponent]
    whole = floor(scaled)
    if fabs(scaled - whole - 0.5) < 1e-6 or not 100000.0 <= scaled < 999999.0:
        return _put(out, at, b"%.6g" % number)
    digits = <long>whole + (1 if scaled - whole > 0.5 else 0)
    for place in range(5, -1, -1):
        text[place] = 48 + digits % 10
        digits //= 10
    while n_digits > 1 and text[n_digits - 1] == 48:
        n_digits -= 1
    if number < 0.0:
        out[at] = b"-"
        at += 1
    if exponent < 0:
        out[at] = b"0"
        out[at + 1] = b"."
        at += 2
        for place in range(-exponent - 1):
            out[at] = b"0"
            at += 1
    for place in range(max(n_digits, exponent + 1)):
        if exponent >= 0 and place == exponent + 1:
            out[at] = b"."
            at += 1
        out[at] = text[place]
        at += 1
    return at
