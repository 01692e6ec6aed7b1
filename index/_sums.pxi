"""`Adder.best` compiled; `index.adder` says what it is, and does the same without a compiler."""

cdef float LOWEST = -FLT_MAX


cdef packed struct Pair:
    uint32_t row
    float value


cdef packed struct Row:
    uint32_t row


cdef struct Scored:
    float score
    uint32_t row


cdef struct Cell:
    # All that is known of an offer lies together: most of the time goes into fetching it.
    float sum
    float peak
    float prior  # two behind the sum, see `_begin`
    uint32_t turn  # in which the sum was begun


cdef class Scratch:
    """Dense sums over all offers, begun with the prior in each turn; for one caller at a time.

    Args:
        prior: float32, shape (n_offers,).
    """

    cdef Cell* cells
    cdef uint32_t* rows  # those begun in this turn, in that order, and one that may not be
    cdef uint32_t* raised  # those whose peak is above 0, and one that may not be
    cdef Py_ssize_t n_rows, n_raised
    cdef uint32_t n_offers, turn

    def __cinit__(self, const float[::1] prior):
        cdef Py_ssize_t n = prior.shape[0], row
        self.n_offers = <uint32_t>n
        self.n_rows = self.n_raised = 0
        self.turn = 1
        self.cells = <Cell*>PyMem_Malloc(n * sizeof(Cell) + 1)
        self.rows = <uint32_t*>PyMem_Malloc((n + 1) * sizeof(uint32_t))
        self.raised = <uint32_t*>PyMem_Malloc((n + 1) * sizeof(uint32_t))
        if not (self.cells and self.rows and self.raised):
            raise MemoryError
        for row in range(n):
            self.cells[row].prior = prior[row]
            self.cells[row].peak = 0.0
            self.cells[row].turn = 0

    def __dealloc__(self):
        PyMem_Free(self.cells)
        PyMem_Free(self.rows)
        PyMem_Free(self.raised)

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
            pools: `index.adder.Pool`s: a list of rows, one of weights under which of each offer
                only the largest value among the rows counts, and nothing below 0, and one of
                weights under which all are added.
            bought: offers left out, as uint32 bytes; None for none.
            most: how many offers are wanted.

        Returns:
            At most `most` tuples of offer row and score.

        Raises:
            IndexError: a row names an offer that does not exist.
        """
        cdef Scored* heap = <Scored*>PyMem_Malloc(most * sizeof(Scored) + 1)
        cdef Py_ssize_t n_best
        cdef bint sound = True
        if heap is NULL:
            raise MemoryError
        try:
            try:
                for part, weight in zip(pairs, weights):
                    sound &= self._take(part, weight)
                for pool, pool_weights, pool_added in pools:
                    for part, weight, added in zip(pool, pool_weights, pool_added):
                        sound &= self._hear(part, weight, added)
                    self._add_peaks()
            except BaseException:
                self._add_peaks()
                self._select(heap, 0)
                raise
            if bought is not None:
                sound &= self._leave_out(bought)
            n_best = self._select(heap, most)
            if not sound:
                raise IndexError("a row names an offer that does not exist")
            return _sorted(heap, n_best)
        finally:
            PyMem_Free(heap)

    cdef bint _take(self, object part, float weight) except -1:
        """Add a row's weighted values."""
        cdef Py_buffer view
        cdef bint sound
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        sound = self._add(<Pair*>view.buf, view.len // <Py_ssize_t>sizeof(Pair), weight)
        PyBuffer_Release(&view)
        return sound

    cdef bint _add(self, Pair* pair, Py_ssize_t n, float weight) noexcept:
        cdef Cell* cells = self.cells
        cdef uint32_t* rows = self.rows
        cdef uint32_t turn = self.turn, n_offers = self.n_offers, row
        cdef Py_ssize_t place, n_rows = self.n_rows
        cdef Cell* cell
        cdef bint sound = True
        for place in range(n):
            row = pair[place].row
            if row >= n_offers:
                sound = False
                break
            cell = &cells[row]
            rows[n_rows] = row
            n_rows += _begin(cell, turn)
            cell.sum += pair[place].value * weight
        self.n_rows = n_rows
        return sound

    cdef bint _hear(self, object part, float weight, float added) except -1:
        """Lift the peaks of a row's offers to its weighted values, and add these under another."""
        cdef Py_buffer view
        cdef bint sound
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        sound = self._listen(
            <Pair*>view.buf, view.len // <Py_ssize_t>sizeof(Pair), weight, added
        )
        PyBuffer_Release(&view)
        return sound

    cdef bint _listen(self, Pair* pair, Py_ssize_t n, float weight, float added) noexcept:
        cdef Cell* cells = self.cells
        cdef uint32_t* rows = self.rows
        cdef uint32_t* raised = self.raised
        cdef uint32_t turn = self.turn, n_offers = self.n_offers, row
        cdef Py_ssize_t place, n_rows = self.n_rows, n_raised = self.n_raised
        cdef float value
        cdef Cell* cell
        cdef bint sound = True
        for place in range(n):
            row, value = pair[place].row, pair[place].value
            if row >= n_offers:
                sound = False
                break
            cell = &cells[row]
            rows[n_rows] = row
            n_rows += _begin(cell, turn)
            if added != 0.0:
                cell.sum += value * added
            value *= weight
            raised[n_raised] = row
            n_raised += cell.peak == 0.0 and value > 0.0
            cell.peak = value if value > cell.peak else cell.peak
        self.n_rows, self.n_raised = n_rows, n_raised
        return sound

    cdef void _add_peaks(self) noexcept:
        """Add the peaks, and take them down."""
        cdef Py_ssize_t place
        cdef Cell* cell
        for place in range(self.n_raised):
            cell = &self.cells[self.raised[place]]
            cell.sum += cell.peak
            cell.peak = 0.0
        self.n_raised = 0

    cdef bint _leave_out(self, const unsigned char[::1] bought) noexcept:
        if not bought.shape[0]:
            return True
        return self._take_out(<Row*>&bought[0], bought.shape[0] // <Py_ssize_t>sizeof(Row))

    cdef bint _take_out(self, Row* left_out, Py_ssize_t n) noexcept:
        cdef Py_ssize_t place
        cdef uint32_t row
        cdef Cell* cell
        for place in range(n):
            row = left_out[place].row
            if row >= self.n_offers:
                return False
            cell = &self.cells[row]
            self.rows[self.n_rows] = row
            self.n_rows += _begin(cell, self.turn)
            cell.sum = -INFINITY
        return True

    cdef Py_ssize_t _select(self, Scored* heap, Py_ssize_t most) noexcept:
        """Fill a heap with the best, the worst of them on top; the next turn begins."""
        cdef const Cell* cells = self.cells
        cdef const uint32_t* rows = self.rows
        cdef Py_ssize_t place, n_best = 0, n_rows = self.n_rows
        cdef float worst = LOWEST
        cdef Scored one
        for place in range(n_rows):
            one.row = rows[place]
            one.score = cells[one.row].sum
            # Neither those left out nor what a damaged value made NaN, nor, most often, the rest.
            if not one.score >= worst:
                continue
            if n_best < most:
                _sift_up(heap, n_best, one)
                n_best += 1
            elif most and _is_worse(heap[0], one):
                _sift_down(heap, n_best, one)
            if n_best == most > 0:
                worst = heap[0].score
        self.n_rows = 0
        self._turn()
        return n_best

    cdef void _turn(self) noexcept:
        cdef Py_ssize_t row
        self.turn += 1
        if self.turn == 0:  # once in four billion: no old turn may look like a new one
            self.turn = 1
            for row in range(self.n_offers):
                self.cells[row].turn = 0


cdef inline bint _begin(Cell* cell, uint32_t turn) noexcept:
    """Let a sum begin with the prior when it is first asked for in a turn; whether it was.

    Without a branch, which no processor could foresee: whether a row before named the offer.
    """
    cdef bint fresh = cell.turn != turn
    cell.sum = (&cell.sum)[2 * fresh]
    cell.turn = turn
    return fresh


cdef list _sorted(Scored* heap, Py_ssize_t n_best):
    cdef Py_ssize_t place
    _sort(heap, n_best)
    return [(heap[place].row, heap[place].score) for place in range(n_best)]


cdef void _sort(Scored* heap, Py_ssize_t n_best) noexcept:
    """Make a heap a list, the best first."""
    cdef Scored worst
    while n_best:
        n_best -= 1
        worst = heap[0]
        _sift_down(heap, n_best, heap[n_best])
        heap[n_best] = worst


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
