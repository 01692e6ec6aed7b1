"""`index.encode` compiled: the offers of an answer as JSON."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport fabs, floor
from libc.string cimport memcpy

cdef double* POWERS = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]


def offers_json(list offers, quoted):
    """JSON objects of offers without reasons, joined by commas.

    Args:
        offers: `ChosenOffer`s.
        quoted: writes a text that has to be escaped.
    """
    cdef Py_ssize_t room = 0, n_text, at = 0
    cdef const char* text
    cdef char* out
    cdef list parts = []
    for offer in offers:
        offer_id, fragment = offer.offer_id, offer.fragment
        text = PyUnicode_AsUTF8AndSize(offer_id, &n_text)
        name = b'"%b"' % (<bytes>text[:n_text]) if _is_plain(text, n_text) else quoted(offer_id)
        parts.append((name, offer.rank, offer.score, offer.probability, offer.propensity, fragment))
        room += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(fragment) + 192
    out = <char*>PyMem_Malloc(room + 1)
    if out is NULL:
        raise MemoryError
    try:
        for name, rank, score, probability, propensity, fragment in parts:
            if at:
                out[at] = b","
                at += 1
            at = _put(out, at, b'{"offer_id":')
            at = _put(out, at, name)
            at = _put(out, at, b',"rank":')
            at = _number(out, at, rank)
            at = _put(out, at, b',"score":')
            at = _number(out, at, score)
            at = _put(out, at, b',"probability":')
            at = _number(out, at, probability)
            at = _put(out, at, b',"propensity":')
            at = _number(out, at, propensity)
            if PyBytes_GET_SIZE(fragment):
                out[at] = b","
                at = _put(out, at + 1, fragment)
            out[at] = b"}"
            at += 1
        return PyBytes_FromStringAndSize(out, at)
    finally:
        PyMem_Free(out)


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
