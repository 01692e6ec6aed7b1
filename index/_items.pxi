"""Where the records of items lie: looked up in the table once, then found by their ids."""

from cpython.object cimport PyObject_Hash
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define fetch_line(place) __builtin_prefetch(place)
    #else
    #define fetch_line(place) ((void) (place))
    #endif
    """
    void fetch_line(const void* place) noexcept
    bint PyUnicode_Check(object anything) noexcept
    int PyUnicode_KIND(object text) noexcept
    const void* PyUnicode_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept

cdef enum:
    LINE = 64  # bytes that memory brings at once
    PLACES = 1 << 15
    TRIED = 8
    ID_BYTES = 46


cdef packed struct ItemHead:
    uint32_t item_row
    uint32_t n_orders
    uint32_t price_cents
    uint32_t category_row
    uint16_t n_own
    uint16_t n
    uint16_t dim
    uint16_t unused


cdef struct Kept:
    # An id as it lies in Python's memory, and whose it is: a line of memory.
    ItemHead* item
    Py_hash_t hashed
    unsigned char kind
    unsigned char n_id
    char id[ID_BYTES]


cdef class Items:
    """Items of a table by id; for one caller at a time.

    Where they lie is remembered: they stay there as long as the reader's transactions live, and
    whoever renews these drops this. There is room for the items asked for last, and for ids of
    ordinary length.

    Args:
        reader: the caller's way into the snapshot.
    """

    cdef object look_up
    cdef void* memory
    cdef Kept* places

    def __cinit__(self, reader):
        cdef size_t room = (PLACES + 1) * sizeof(Kept)
        self.memory = PyMem_Malloc(room)
        if self.memory is NULL:
            raise MemoryError
        # Touched now, so that no request waits for the kernel to find memory.
        memset(self.memory, 0, room)
        self.places = <Kept*>(<char*>self.memory + LINE - <size_t>self.memory % LINE)

    def __init__(self, reader):
        self.look_up = reader.item_data

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef ItemHead* find(self, object item_id) except? NULL:
        """An item's record, of which all parts are there; NULL where there is none."""
        cdef Kept* known = self._known(item_id)
        cdef ItemHead* item
        if known is not NULL:
            return known.item
        data = self.look_up(item_id)
        if data is None:
            return NULL
        item = _item(data)
        self._keep(item_id, item)
        return item

    cdef int fetch(self, list item_ids) except -1:
        """Let memory bring the records of items that will be looked for."""
        cdef Kept* known
        for item_id in item_ids:
            if PyUnicode_Check(item_id):
                fetch_line(self._place(PyObject_Hash(item_id)))
        for item_id in item_ids:
            known = self._known(item_id)
            if known is not NULL:
                fetch_line(known.item)
        return 0

    cdef Kept* _known(self, object item_id) except? NULL:
        """Where an item is kept; NULL where it isn't, or what was asked for is no text."""
        cdef Py_hash_t hashed, tried
        cdef Py_ssize_t n_id
        cdef Kept* kept
        if not PyUnicode_Check(item_id):
            return NULL
        hashed, n_id = PyObject_Hash(item_id), _n_bytes(item_id)
        for tried in range(TRIED):
            kept = self._place(hashed + tried)
            if kept.item is NULL:
                return NULL
            if (
                kept.hashed == hashed
                and kept.n_id == n_id
                and kept.kind == PyUnicode_KIND(item_id)
                and not memcmp(kept.id, PyUnicode_DATA(item_id), n_id)
            ):
                return kept
        return NULL

    cdef int _keep(self, object item_id, ItemHead* item) except -1:
        cdef Py_hash_t hashed, tried
        cdef Py_ssize_t n_id
        cdef Kept* kept
        if not PyUnicode_Check(item_id):
            return 0  # something else that the table could be asked for
        hashed, n_id = PyObject_Hash(item_id), _n_bytes(item_id)
        if n_id > ID_BYTES:
            return 0
        for tried in range(TRIED):
            kept = self._place(hashed + tried)
            if kept.item is NULL:
                break
        else:
            kept = self._place(hashed)  # somebody else's: all are taken
        kept.item, kept.hashed = item, hashed
        kept.kind, kept.n_id = PyUnicode_KIND(item_id), n_id
        memcpy(kept.id, PyUnicode_DATA(item_id), n_id)
        return 0

    cdef inline Kept* _place(self, Py_hash_t hashed) noexcept:
        return &self.places[hashed & (PLACES - 1)]


cdef inline Py_ssize_t _n_bytes(object text) noexcept:
    return PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text)


cdef ItemHead* _item(object data) except NULL:
    """Head of an item's record, of which all parts are there.

    The bytes are the table's, which stays mapped as long as the reader's transaction lives.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    cdef ItemHead* item = <ItemHead*>view.buf
    cdef Py_ssize_t n = view.len
    PyBuffer_Release(&view)
    if n >= <Py_ssize_t>sizeof(ItemHead):
        n -= sizeof(ItemHead)
        if n >= 4 * item.n_own + 12 * item.n + 4 * item.dim:
            return item
    raise ValueError("an item record is cut short")


cdef inline void _fetch(const void* data, Py_ssize_t n_bytes) noexcept:
    """Let memory bring what will be read soon, while something else is done."""
    cdef Py_ssize_t at
    for at in range(0, n_bytes, LINE):
        fetch_line(<const char*>data + at)
