# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""`Adder.best` compiled; `index.adder` says what it is, and does the same without a compiler.

Both have to agree to the last bit, since golden decisions are repeated by either: sums are float32
and taken in the order of the rows, and no multiplication is fused with an addition (which the
build asks of the C compiler).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint32_t


cdef packed struct Pair:
    uint32_t row
    float value


cdef packed struct Row:
    uint32_t row


cdef struct Scored:
    float score
    uint32_t row


cdef class Scratch:
    """Dense sums over all offers that start, and are left, as the prior; for one caller at a time.

    Args:
        prior: float32, shape (n_offers,); copied.
    """

    cdef float* prior
    cdef float* sums
    cdef float* peaks
    cdef uint8_t* touched
    cdef uint32_t n_offers

    def __cinit__(self, const float[::1] prior):
        cdef Py_ssize_t n = prior.shape[0], row
        self.n_offers = <uint32_t>n
        self.prior = <float*>PyMem_Malloc(n * sizeof(float) + 1)
        self.sums = <float*>PyMem_Malloc(n * sizeof(float) + 1)
        self.peaks = <float*>PyMem_Malloc(n * sizeof(float) + 1)
        self.touched = <uint8_t*>PyMem_Malloc(n + 1)
        if self.prior is NULL or self.sums is NULL or self.peaks is NULL or self.touched is NULL:
            raise MemoryError
        for row in range(n):
            self.prior[row] = self.sums[row] = prior[row]
            self.peaks[row] = 0.0
            self.touched[row] = 0

    def __dealloc__(self):
        PyMem_Free(self.prior)
        PyMem_Free(self.sums)
        PyMem_Free(self.peaks)
        PyMem_Free(self.touched)

    def best(
        self,
        list pairs,
        list weights,
        list pools,
        const unsigned char[::1] bought,
        Py_ssize_t most,
    ):
        """The best offers that the rows name, by falling score, ties by row.

        Args:
            pairs: rows as `records.PAIR` bytes.
            weights: what each row's values are multiplied with.
            pools: tuples of a list of rows and one weight; of each offer only the largest value
                among the rows counts, and nothing below 0.
            bought: offers left out, as uint32 bytes; None for none.
            most: how many offers are wanted.

        Returns:
            At most `most` tuples of offer row and score.

        Raises:
            IndexError: a row names an offer that does not exist.
        """
        cdef Py_ssize_t n_pairs = 0
        for part in pairs:
            n_pairs += len(part) // <Py_ssize_t>sizeof(Pair)
        for pool, _ in pools:
            for part in pool:
                n_pairs += len(part) // <Py_ssize_t>sizeof(Pair)
        cdef uint32_t* rows = <uint32_t*>PyMem_Malloc(n_pairs * sizeof(uint32_t) + 1)
        cdef Scored* heap = <Scored*>PyMem_Malloc(most * sizeof(Scored) + 1)
        cdef Py_ssize_t n_rows = 0, n_best
        cdef bint sound = True
        try:
            if rows is NULL or heap is NULL:
                raise MemoryError
            try:
                for part, weight in zip(pairs, weights):
                    sound &= self._add(part, weight, rows, &n_rows)
                for pool, weight in pools:
                    for part in pool:
                        sound &= self._raise(part, rows, &n_rows)
                    for part in pool:
                        self._add_peaks(part, weight)
            except BaseException:
                self._select(rows, n_rows, heap, 0)
                raise
            if bought is not None:
                sound &= self._leave_out(bought)
            n_best = self._select(rows, n_rows, heap, most)
            if bought is not None:
                self._restore(bought)
            if not sound:
                raise IndexError("a row names an offer that does not exist")
            return _sorted(heap, n_best)
        finally:
            PyMem_Free(rows)
            PyMem_Free(heap)

    cdef bint _add(self, object part, float weight, uint32_t* rows, Py_ssize_t* n_rows) except -1:
        """Add a row's weighted values; note which offers it names for the first time."""
        cdef Py_buffer view
        cdef Py_ssize_t place
        cdef Pair* pair
        cdef uint32_t row
        cdef bint sound = True
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        pair = <Pair*>view.buf
        for place in range(view.len // <Py_ssize_t>sizeof(Pair)):
            row = pair[place].row
            if row >= self.n_offers:
                sound = False
                break
            self.sums[row] += weight * pair[place].value
            if not self.touched[row]:
                self.touched[row] = 1
                rows[n_rows[0]] = row
                n_rows[0] += 1
        PyBuffer_Release(&view)
        return sound

    cdef bint _raise(self, object part, uint32_t* rows, Py_ssize_t* n_rows) except -1:
        """Lift the peaks of a row's offers to its values; note what is named for the first time."""
        cdef Py_buffer view
        cdef Py_ssize_t place
        cdef Pair* pair
        cdef uint32_t row
        cdef bint sound = True
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        pair = <Pair*>view.buf
        for place in range(view.len // <Py_ssize_t>sizeof(Pair)):
            row = pair[place].row
            if row >= self.n_offers:
                sound = False
                break
            if pair[place].value > self.peaks[row]:
                self.peaks[row] = pair[place].value
            if not self.touched[row]:
                self.touched[row] = 1
                rows[n_rows[0]] = row
                n_rows[0] += 1
        PyBuffer_Release(&view)
        return sound

    cdef int _add_peaks(self, object part, float weight) except -1:
        """Add the weighted peaks of a row's offers, each once, and take them down."""
        cdef Py_buffer view
        cdef Py_ssize_t place
        cdef Pair* pair
        cdef uint32_t row
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        pair = <Pair*>view.buf
        for place in range(view.len // <Py_ssize_t>sizeof(Pair)):
            row = pair[place].row
            if row >= self.n_offers:
                break
            if self.peaks[row] > 0.0:
                self.sums[row] += weight * self.peaks[row]
                self.peaks[row] = 0.0
        PyBuffer_Release(&view)
        return 0

    cdef bint _leave_out(self, const unsigned char[::1] bought) noexcept:
        cdef Row* left_out = <Row*>&bought[0] if bought.shape[0] else NULL
        cdef Py_ssize_t place
        cdef uint32_t row
        cdef bint sound = True
        for place in range(bought.shape[0] // <Py_ssize_t>sizeof(Row)):
            row = left_out[place].row
            if row < self.n_offers:
                self.sums[row] = -INFINITY
            else:
                sound = False
        return sound

    cdef void _restore(self, const unsigned char[::1] bought) noexcept:
        cdef Row* left_out = <Row*>&bought[0] if bought.shape[0] else NULL
        cdef Py_ssize_t place
        cdef uint32_t row
        for place in range(bought.shape[0] // <Py_ssize_t>sizeof(Row)):
            row = left_out[place].row
            if row < self.n_offers:
                self.sums[row] = self.prior[row]

    cdef Py_ssize_t _select(
        self, uint32_t* rows, Py_ssize_t n_rows, Scored* heap, Py_ssize_t most
    ) noexcept:
        """Fill a heap with the best, the worst of them on top; leave the sums as they began."""
        cdef Py_ssize_t place, n_best = 0
        cdef Scored one
        for place in range(n_rows):
            one.row = rows[place]
            one.score = self.sums[one.row]
            self.sums[one.row] = self.prior[one.row]
            self.peaks[one.row] = 0.0
            self.touched[one.row] = 0
            # Neither those left out nor what a damaged value made NaN.
            if not one.score > -INFINITY:
                continue
            if n_best < most:
                _sift_up(heap, n_best, one)
                n_best += 1
            elif most and _is_worse(heap[0], one):
                _sift_down(heap, n_best, one)
        return n_best


cdef list _sorted(Scored* heap, Py_ssize_t n_best):
    cdef list found = [None] * n_best
    cdef Scored worst
    while n_best:
        n_best -= 1
        worst = heap[0]
        _sift_down(heap, n_best, heap[n_best])
        found[n_best] = (worst.row, worst.score)
    return found


cdef inline bint _is_worse(Scored one, Scored other) noexcept:
    return one.score < other.score or (one.score == other.score and one.row > other.row)


cdef inline void _sift_up(Scored* heap, Py_ssize_t place, Scored one) noexcept:
    """Put one in at the end of a heap."""
    cdef Py_ssize_t parent
    while place > 0:
        parent = (place - 1) // 2
        if not _is_worse(one, heap[parent]):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = one


cdef inline void _sift_down(Scored* heap, Py_ssize_t n, Scored one) noexcept:
    """Put one in instead of the top of a heap of `n`."""
    cdef Py_ssize_t place = 0, child = 1
    while child < n:
        if child + 1 < n and _is_worse(heap[child + 1], heap[child]):
            child += 1
        if not _is_worse(heap[child], one):
            break
        heap[place] = heap[child]
        place = child
        child = 2 * place + 1
    heap[place] = one
