"""`index.plain` compiled: gathers, adds up and chooses for requests that ask for nothing special."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.datetime cimport (
    PyDateTime_Check, datetime_day, datetime_hour, datetime_minute, datetime_month,
    datetime_tzinfo, datetime_year, get_utc, import_datetime,
)
from cpython.mem cimport PyMem_Calloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport exp, pow
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_LINES = 32
    MAX_CONTEXT = 128  # a request names 64 features at most
    MAX_OWNED = 256  # offers that a cart's items are in; what is more takes a dict to look through
    SPARE = 8
    OFFER_BYTES = 256  # of an offer's record, as far as most are long
    CUSTOMER_HEAD = 16
    AVAILABLE = 1
    ALL = 0
    MOMENT = 1
    NOTHING = 2
    WHOLE_MINUTES_SINCE = 1973

cdef uint32_t NO_ROW = 0xFFFFFFFF
cdef uint32_t NO_PRICE = 0xFFFFFFFF
MAX_PRICE = 1e12
cdef double MAX_LOGIT = 60.0
import_datetime()


cdef packed struct CustomerHead:
    uint32_t n_orders
    uint16_t n
    uint16_t n_history
    uint32_t last_day
    uint32_t unused


cdef packed struct ContextHead:
    uint32_t context_row
    uint32_t n_orders
    uint16_t n
    uint16_t dim
    uint32_t unused


cdef packed struct OfferHead:
    uint32_t offer_row
    uint32_t flags
    uint64_t placements
    int64_t starts_us
    int64_t expires_us
    double value
    uint32_t n_orders
    uint32_t n_items
    uint16_t n_id
    uint16_t n_rules
    uint32_t n_fragment


cdef struct Record:
    # Where a table has it; all zero before it was looked for, and `n` below 0 where there is none.
    const char* data
    Py_ssize_t n


cdef struct Counted:
    uint32_t row
    Py_ssize_t times


cdef struct Heard:
    Pair* pairs
    Py_ssize_t n


cdef struct Tally:
    # Rows, each with how often it was met; few, so they are looked through.
    Counted* counted
    Py_ssize_t n, room


cdef class Weights:
    """Weights and calibration of one tier.

    Args:
        named: `TierModel.weights`.
        contexts: float64, shape (n_contexts,): weight of each context row.
        slope, intercept: see `TierModel`.
    """

    cdef double personal, cart, cart_sum, viewed, viewed_sum, slope, intercept
    cdef const double[::1] contexts

    def __init__(self, named, const double[::1] contexts, double slope, double intercept):
        self.personal = named.get("personal", 0.0)
        self.cart = named.get("cart", 0.0)
        self.cart_sum = named.get("cart_sum", 0.0)
        self.viewed = named.get("viewed", 0.0)
        self.viewed_sum = named.get("viewed_sum", 0.0)
        self.contexts = contexts
        self.slope = -slope
        self.intercept = -intercept

    cdef double probability(self, double score) noexcept:
        """The calibrated probability of a score."""
        cdef double logit = self.slope * score + self.intercept
        return 1.0 / (1.0 + exp(logit if logit < MAX_LOGIT else MAX_LOGIT))

    cdef double of(self, uint32_t row) except? -1.0:
        """Weight of a context row."""
        cdef double weight
        if row < self.contexts.shape[0]:
            weight = self.contexts[row]
            if weight == weight:
                return weight
        raise KeyError(row)


cdef class Plain:
    """Decides plain requests; for one caller at a time.

    Where records of contexts and offers lie is remembered: they stay there as long as the reader's
    transactions live, and whoever renews these drops this.

    Args:
        reader: the caller's way into the snapshot; its scratch space is used.
        lookup: context vocabularies.
        model: the snapshot's model.
        weights: `Weights` by tier, without a cart and with one.
        thin_below: orders from which a customer is no longer thin.
        chosen: makes one offer of an answer.
        quoted: writes a text as JSON that has to be escaped.
        conditions: makes of a request what is asked of offers that are there under conditions.
    """

    cdef object reader, lookup, chosen, quoted, conditions
    cdef Scratch scratch
    cdef Items items
    cdef dict weights, weights_with_cart, features
    cdef const double[::1] edges
    cdef const uint32_t[::1] bands
    cdef double cart_power, viewed_decay
    cdef uint32_t thin_below, n_contexts
    cdef Record* contexts
    cdef Record* offers
    cdef Tally in_cart, owned, counted  # of one call: offers, items, contexts
    cdef char* text  # what is being written
    cdef Py_ssize_t room
    cdef object may_show  # of one call, once it meets an offer that is there under conditions
    cdef int64_t minute  # that was asked for last
    cdef uint32_t hour_row  # of it

    def __cinit__(self, reader, lookup, model, *_):
        self.n_contexts = model.n_contexts
        self.contexts = <Record*>PyMem_Calloc(self.n_contexts + 1, sizeof(Record))
        self.offers = <Record*>PyMem_Calloc(model.n_offers + 1, sizeof(Record))
        if not (self.contexts and self.offers):
            raise MemoryError

    def __init__(
        self, reader, lookup, model, tuple weights, uint32_t thin_below, chosen, quoted, conditions
    ):
        self.reader, self.lookup = reader, lookup
        self.scratch = reader.adder.scratch
        self.weights, self.weights_with_cart = weights
        self.thin_below = thin_below
        self.chosen, self.quoted, self.conditions = chosen, quoted, conditions
        self.cart_power, self.viewed_decay = model.cart_power, model.viewed_decay
        self.features, self.items = lookup.by_name, Items(reader)
        self.edges, self.bands = lookup.band_edges()

    def __dealloc__(self):
        PyMem_Free(self.contexts)
        PyMem_Free(self.offers)
        PyMem_Free(self.text)
        PyMem_Free(self.in_cart.counted)
        PyMem_Free(self.owned.counted)
        PyMem_Free(self.counted.counted)

    def look_up(self, uint32_t[::1] context_rows, uint32_t[::1] offer_rows):
        """Remember where these records lie, before somebody asks for them; and those of items that
        are called like the offers, as they are where a shop offers what it sells.

        Args:
            context_rows: uint32; rows that there aren't are passed over.
            offer_rows: uint32, each below `n_offers`.
        """
        cdef Py_ssize_t place
        cdef Record* record
        for place in range(context_rows.shape[0]):
            self._context(context_rows[place])
        for place in range(offer_rows.shape[0]):
            record = self._offer(offer_rows[place])
            if record is not NULL:
                self.items.find(_offer_id(<OfferHead*>record.data))

    def decide(self, request, key, wanted, repeat, int at_most=ALL):
        """What `gather`, `terms_of` and `Chooser.choose` come to; None when that must be asked.

        Args:
            request: excludes and declines nothing, and wants no explanation.
            key: table key of the customer, None for nobody.
            wanted: how many offers.
            repeat: policy for what the customer took: `allow` or `exclude`.
            at_most: `ALL`, or what less is wanted, see `index.less`: `MOMENT` alone, or `NOTHING`.

        Returns:
            Tier and offers; None when a vector search or the last resort is needed, or the cart's
            items are in too many offers to look through.

        Raises:
            IndexError: a row names an offer that does not exist.
            ValueError: a record is cut short, or a damaged value is above all numbers.
        """
        return self._asked(request, key, wanted, repeat, at_most, False)

    def write(self, request, key, wanted, repeat, int at_most=ALL):
        """The same, with the offers as JSON objects joined by commas.

        Returns:
            Tier, JSON, how many offers, and the score of the first, 0 where there is none; or None
            as above.
        """
        return self._asked(request, key, wanted, repeat, at_most, True)

    cdef object _asked(
        self, object request, object key, Py_ssize_t wanted, object repeat, int at_most,
        bint writes,
    ):
        cdef Py_buffer customer
        cdef CustomerHead head
        cdef Py_ssize_t n_pairs = 0, n_history = 0
        cdef bint excludes = repeat == "exclude"
        data = None
        if key is not None and (at_most == ALL or excludes):
            data = self.reader.customer_data(key)
        if data is None:
            return self._decided(
                request, wanted, at_most, writes, NULL, 0, 0, NULL, 0, False
            )
        PyObject_GetBuffer(data, &customer, PyBUF_SIMPLE)
        try:
            if customer.len < CUSTOMER_HEAD:
                raise ValueError("a customer record is cut short")
            head = (<CustomerHead*>customer.buf)[0]
            n_pairs = min(<Py_ssize_t>head.n, (customer.len - CUSTOMER_HEAD) // 8)
            _fetch(<char*>customer.buf + CUSTOMER_HEAD, n_pairs * sizeof(Pair))
            if excludes:
                n_history = (customer.len - CUSTOMER_HEAD - 12 * <Py_ssize_t>head.n) // 4
                n_history = max(0, min(n_history, <Py_ssize_t>head.n_history))
            return self._decided(
                request, wanted, at_most, writes,
                <Pair*>(<char*>customer.buf + CUSTOMER_HEAD), n_pairs, head.n_orders,
                <Row*>(<char*>customer.buf + CUSTOMER_HEAD + 12 * <Py_ssize_t>head.n), n_history,
                at_most == ALL,
            )
        finally:
            PyBuffer_Release(&customer)

    cdef object _decided(
        self, object request, Py_ssize_t wanted, int at_most, bint writes,
        Pair* personal, Py_ssize_t n_pairs, uint32_t n_orders, Row* history, Py_ssize_t n_history,
        bint known,
    ):
        cdef uint32_t contexts[MAX_CONTEXT]
        cdef Heard cart_rows[MAX_LINES]
        cdef Heard viewed_rows[MAX_LINES]
        cdef Py_ssize_t n_lines = 0, n_viewed = 0, n_cart = 0, n_heard = 0
        cdef Py_ssize_t n_contexts = 0
        cdef Weights weights
        cdef Counted* counted
        self.in_cart.n = self.owned.n = self.counted.n = 0
        if at_most != NOTHING:
            n_contexts = self._contexts(request, contexts)
        cart, viewed = request.cart, request.viewed
        if cart:
            n_lines = self._gather_cart(cart, cart_rows, &n_cart, at_most)
            if n_lines < 0:
                return None
        if viewed and at_most == ALL:
            n_viewed = self._gather_viewed(cart, viewed, viewed_rows, &n_heard)
            if n_viewed < 0:
                return None
        cdef bint has_cart = n_lines > 0 or n_viewed > 0
        if known:
            tier = "thin" if n_orders < self.thin_below else "individual"
        else:
            tier = "context" if n_contexts or has_cart else "prior"
        weights = (self.weights_with_cart if has_cart else self.weights)[tier]
        cdef double damping = pow(<double>n_lines, -self.cart_power) if n_lines else 1.0
        cdef double weight, faded
        cdef Py_ssize_t most = wanted + SPARE + self.in_cart.n, place
        cdef bint sound = True
        cdef Scratch scratch = self.scratch
        cdef Scored* heap = <Scored*>PyMem_Malloc(most * sizeof(Scored) + 1)
        if heap is NULL:
            raise MemoryError
        try:
            try:
                if known:
                    sound &= scratch._add(personal, n_pairs, weights.personal)
                sound &= scratch._take(self.reader.top(request.placement), 1.0)
                for place in range(n_contexts):
                    sound &= self._add_context(contexts[place], weights.of(contexts[place]))
                for place in range(self.counted.n):
                    counted = &self.counted.counted[place]
                    weight = weights.of(counted.row) * damping * counted.times
                    sound &= self._add_context(counted.row, weight)
                for place in range(n_cart):
                    sound &= scratch._listen(
                        cart_rows[place].pairs, cart_rows[place].n,
                        weights.cart, weights.cart_sum * damping,
                    )
                scratch._add_peaks()
                for place in range(n_heard):
                    faded = pow(self.viewed_decay, <double>place)
                    sound &= scratch._listen(
                        viewed_rows[place].pairs, viewed_rows[place].n,
                        weights.viewed * faded, weights.viewed_sum * faded,
                    )
                scratch._add_peaks()
                if n_history:
                    sound &= scratch._take_out(history, n_history)
            except BaseException:
                scratch._add_peaks()
                scratch._select(heap, 0)
                raise
            most = scratch._select(heap, most)
            if not sound:
                raise IndexError("a row names an offer that does not exist")
            self._fetch_offers(heap, min(most, wanted))
            _sort(heap, most)
            if most and heap[0].score == INFINITY:
                raise ValueError("a score is above all numbers")
            if writes:
                return self._written(tier, heap, most, wanted, weights, request)
            return self._shown(tier, heap, most, wanted, weights, request)
        finally:
            PyMem_Free(heap)
            self.may_show = None

    cdef void _fetch_offers(self, Scored* some, Py_ssize_t n) noexcept:
        """Let memory bring the records of what is likely to be shown."""
        cdef Py_ssize_t place
        cdef Record* record
        for place in range(n):
            fetch_line(&self.offers[some[place].row])
        for place in range(n):
            record = &self.offers[some[place].row]
            if record.n > 0:
                _fetch(record.data, min(record.n, OFFER_BYTES))

    cdef Py_ssize_t _contexts(self, object request, uint32_t* rows) except -1:
        """Rows of the moment and of the caller's context, rising, each once."""
        cdef Py_ssize_t n = 0
        context, at = request.context, request.at
        if at is not None and "hour_of_week" not in context:
            _insert(self._hour_row(at), rows, &n)
        for name, value in context.items():
            feature = self.features.get(name)
            if feature is not None and value is not None:
                row = feature.rows.get(value) if type(value) is str else None
                _insert(self.lookup.row_of(feature, value) if row is None else row, rows, &n)
        return n

    cdef uint32_t _hour_row(self, object at) except? 0:
        """Row of the moment's hour; most ask for the minute that the one before asked for."""
        cdef int64_t minute = _minute_of(at)
        if minute < 0 or minute != self.minute:
            self.hour_row = self.lookup.hour_row(at)
            self.minute = minute
        return self.hour_row

    cdef bint _add_context(self, uint32_t row, double weight) except -1:
        cdef Record* record
        if weight == 0.0:
            return True
        record = self._context(row)
        if record is NULL:
            return True
        cdef ContextHead* head = <ContextHead*>record.data
        return self.scratch._add(<Pair*>(record.data + sizeof(ContextHead)), head.n, weight)

    cdef Record* _context(self, uint32_t row) except? NULL:
        """A context's record; NULL where there is none."""
        cdef Record* record
        cdef ContextHead* head
        if row >= self.n_contexts:
            return NULL
        record = &self.contexts[row]
        if not record.n:
            _look_for(record, self.reader.context_data(row), sizeof(ContextHead))
            head = <ContextHead*>record.data
            if head and record.n < <Py_ssize_t>sizeof(ContextHead) + 12 * head.n + 4 * head.dim:
                record.n = 0
                raise ValueError("a context record is cut short")
        return NULL if record.n < 0 else record

    cdef Record* _offer(self, uint32_t row) except? NULL:
        """An offer's record as it lies in the table; NULL where there is none."""
        cdef Record* record = &self.offers[row]
        cdef OfferHead* head
        if not record.n:
            _look_for(record, self.reader.offer_data(row), sizeof(OfferHead))
            head = <OfferHead*>record.data
            if head and record.n < <Py_ssize_t>sizeof(OfferHead) + head.n_id + head.n_rules + (
                <Py_ssize_t>head.n_fragment
            ):
                record.n = 0
                raise ValueError("an offer record is cut short")
        return NULL if record.n < 0 else record

    cdef Py_ssize_t _gather_cart(
        self, object cart, Heard* heard, Py_ssize_t* n_heard, int at_most
    ) except -2:
        """Rows of items, contexts of lines; how many lines say anything, -1 to be asked."""
        cdef Py_ssize_t first = len(cart) - MAX_LINES, place = 0, n_lines = 0, own
        cdef uint32_t category, band
        cdef ItemHead* item
        cdef Record* known
        cdef Row* offers
        cdef list item_ids = [line.item_id for line in cart]
        self.items.fetch(item_ids)
        for line in cart:
            item = self.items.find(item_ids[place])
            if item is not NULL:
                if _tally(&self.owned, item.item_row) == 1:
                    if self.in_cart.n + item.n_own > MAX_OWNED:
                        return -1
                    offers = <Row*>(<char*>item + sizeof(ItemHead))
                    for own in range(item.n_own):
                        _tally(&self.in_cart, offers[own].row)
            place += 1
            if place <= first or at_most != ALL:
                continue
            category, band = self._category(line, item), self._band(line, item)
            if item is not NULL and item.n:
                heard[n_heard[0]] = _row_of(item)
                n_heard[0] += 1
            elif item is not NULL and item.dim:
                return -1
            elif category != NO_ROW:
                known = self._context(category)
                if known is not NULL and (<ContextHead*>known.data).dim:
                    return -1
            if category != NO_ROW:
                _tally(&self.counted, category)
            if band != NO_ROW:
                _tally(&self.counted, band)
            n_lines += item is not NULL or category != NO_ROW or band != NO_ROW
        return n_lines

    cdef Py_ssize_t _gather_viewed(
        self, object cart, object viewed, Heard* heard, Py_ssize_t* n_heard
    ) except -2:
        """Rows of items, the latest first; how many are known, -1 to be asked."""
        cdef Py_ssize_t n_seen = 0, n_known = 0
        cdef set seen = {line.item_id for line in cart}
        cdef ItemHead* item
        for item_id in reversed(viewed):
            if item_id in seen:
                continue
            seen.add(item_id)
            n_seen += 1
            if n_seen > MAX_LINES:
                break
            item = self.items.find(item_id)
            if item is NULL:
                continue
            n_known += 1
            if item.n:
                heard[n_heard[0]] = _row_of(item)
                n_heard[0] += 1
            elif item.dim:
                return -1
        return n_known

    cdef uint32_t _category(self, object line, ItemHead* item) except? 0:
        if item is not NULL and item.category_row != NO_ROW:
            return item.category_row
        return self.lookup.row_of_category(line.category) if line.category else NO_ROW

    cdef uint32_t _band(self, object line, ItemHead* item) except? 0:
        cdef double cents
        cdef Py_ssize_t low = 0, high = self.edges.shape[0], middle
        price = line.unit_price
        if price is not None:
            cents = <double>min(price, MAX_PRICE) * 100.0
        elif item is not NULL and item.price_cents != NO_PRICE:
            cents = item.price_cents
        else:
            return NO_ROW
        while low < high:
            middle = (low + high) // 2
            if cents < self.edges[middle]:
                high = middle
            else:
                low = middle + 1
        return self.bands[low]

    cdef object _shown(
        self, object tier, Scored* best, Py_ssize_t n, Py_ssize_t wanted,
        Weights weights, object request,
    ):
        """Tier, and the first that may be shown; None when these are too few."""
        cdef list shown = []
        cdef Py_ssize_t place, rank = 0
        cdef OfferHead* head
        cdef const char* text
        patched = self.reader.patches.records
        for place in range(n):
            record = self._fitting(best[place].row, patched, request)
            if record is None:
                continue
            if record is True:
                head = <OfferHead*>self.offers[best[place].row].data
                text = <const char*>head + sizeof(OfferHead)
                offer_id = _offer_id(head)
                fragment = PyBytes_FromStringAndSize(
                    text + head.n_id + head.n_rules, head.n_fragment
                )
            else:
                offer_id, fragment = record.offer_id, record.fragment
            rank += 1
            shown.append(
                self.chosen(
                    offer_id, best[place].row, rank, <double>best[place].score,
                    weights.probability(best[place].score), 1.0, fragment,
                )
            )
            if rank == wanted:
                return tier, shown
        return None

    cdef object _written(
        self, object tier, Scored* best, Py_ssize_t n, Py_ssize_t wanted,
        Weights weights, object request,
    ):
        """The same as JSON, and what is counted of it."""
        cdef Py_ssize_t place, rank = 0, at = 0, n_id = 0, n_fragment
        cdef OfferHead* head
        cdef const char* text = NULL
        cdef const char* fragment
        cdef double first = 0.0
        cdef bytes name
        patched = self.reader.patches.records
        for place in range(n):
            record = self._fitting(best[place].row, patched, request)
            if record is None:
                continue
            if record is True:
                head = <OfferHead*>self.offers[best[place].row].data
                text, n_id = <const char*>head + sizeof(OfferHead), head.n_id
                fragment, n_fragment = text + n_id + head.n_rules, head.n_fragment
                name = None
                if not _is_plain(text, n_id):
                    name = self.quoted(_offer_id(head))
            else:
                name = self.quoted(record.offer_id)
                fragment, n_fragment = record.fragment, len(record.fragment)
            if name is not None:
                text, n_id = name, len(name)
            self._make_room(at, n_id + n_fragment)
            rank += 1
            if rank == 1:
                first = best[place].score
            at = _put_offer(
                self.text, at, text, n_id, name is None, rank, best[place].score,
                weights.probability(best[place].score), 1.0, fragment, n_fragment,
            )
            if rank == wanted:
                return tier, PyBytes_FromStringAndSize(self.text, at), rank, first
        return None

    cdef object _fitting(self, uint32_t row, object patched, object request):
        """None for an offer that may not be shown; its record where an overlay or conditions made
        it be read; True where `self.offers` has it."""
        cdef uint32_t flags, n_items
        cdef Py_ssize_t times
        cdef Record* found
        record = True
        if patched and row in patched:
            record = patched[row]
            flags, n_items = record.flags, record.n_items
        else:
            found = self._offer(row)
            if found is NULL:
                return None
            flags = (<OfferHead*>found.data).flags
            n_items = (<OfferHead*>found.data).n_items
        times = _times(&self.in_cart, row)
        if times and times >= n_items:
            return None
        if flags != AVAILABLE:
            if record is True:
                record = self.reader.offer(row)
            if self.may_show is None:
                self.may_show = self.conditions(request)
            if not self.may_show(record):
                return None
        return record

    cdef int _make_room(self, Py_ssize_t at, Py_ssize_t more) except -1:
        """Room for an offer whose texts have so many bytes."""
        cdef Py_ssize_t room = at + more + OFFER_ROOM
        cdef char* text
        if room > self.room:
            room *= 2
            text = <char*>PyMem_Realloc(self.text, room)
            if text is NULL:
                raise MemoryError
            self.text, self.room = text, room
        return 0


cdef int64_t _minute_of(object at) except? -2:
    """A number of the minute in UTC; -1 where none may be kept, see `ContextLookup.hour_row`."""
    if not PyDateTime_Check(at) or datetime_tzinfo(at) is not get_utc():
        return -1
    if datetime_year(at) < WHOLE_MINUTES_SINCE:
        return -1
    cdef int64_t day = (datetime_year(at) * 13 + datetime_month(at)) * 32 + datetime_day(at)
    return (day * 24 + datetime_hour(at)) * 60 + datetime_minute(at)


cdef int _look_for(Record* record, object data, Py_ssize_t n_head) except -1:
    """Remember where a table has a record, or that it has none.

    The bytes are the table's, which stays mapped as long as the reader's transaction lives.
    """
    cdef Py_buffer view
    if data is None:
        record.n = -1
        return 0
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if view.len >= n_head:
        record.data, record.n = <const char*>view.buf, view.len
    PyBuffer_Release(&view)
    if not record.n:
        raise ValueError("a record is cut short")
    return 0


cdef inline object _offer_id(OfferHead* head):
    return PyUnicode_DecodeUTF8(<const char*>head + sizeof(OfferHead), head.n_id, NULL)


cdef inline Heard _row_of(ItemHead* item) noexcept:
    cdef Heard row
    row.pairs = <Pair*>(<char*>item + sizeof(ItemHead) + 4 * item.n_own)
    row.n = item.n
    _fetch(row.pairs, item.n * sizeof(Pair))
    return row


cdef inline void _insert(uint32_t row, uint32_t* rows, Py_ssize_t* n) noexcept:
    """Put a row where it belongs among rising ones, unless it is there or none."""
    cdef Py_ssize_t place = n[0]
    if row == NO_ROW:
        return
    while place and rows[place - 1] > row:
        place -= 1
    if place and rows[place - 1] == row:
        return
    cdef Py_ssize_t moved = n[0]
    while moved > place:
        rows[moved] = rows[moved - 1]
        moved -= 1
    rows[place] = row
    n[0] += 1


cdef Py_ssize_t _tally(Tally* tally, uint32_t row) except -1:
    """Count a row; how often it was met by now."""
    cdef Py_ssize_t place, room
    cdef Counted* counted
    for place in range(tally.n):
        if tally.counted[place].row == row:
            tally.counted[place].times += 1
            return tally.counted[place].times
    if tally.n == tally.room:
        room = 2 * tally.room + 16
        counted = <Counted*>PyMem_Realloc(tally.counted, room * sizeof(Counted))
        if counted is NULL:
            raise MemoryError
        tally.counted, tally.room = counted, room
    tally.counted[tally.n].row, tally.counted[tally.n].times = row, 1
    tally.n += 1
    return 1


cdef inline Py_ssize_t _times(Tally* tally, uint32_t row) noexcept:
    """How often a row was met."""
    cdef Py_ssize_t place
    for place in range(tally.n):
        if tally.counted[place].row == row:
            return tally.counted[place].times
    return 0
