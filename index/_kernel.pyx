# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What is compiled: `_sums.pxi` adds up, `_items.pxi` finds items, `_plain.pxi` decides, `_json.pxi` writes answers.

Each does what a Python file beside it does, to the last bit, since golden decisions are repeated by
either: sums are float32 and taken in the order of the rows, and no multiplication is fused with an
addition (which the build asks of the C compiler).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

include "_sums.pxi"
include "_items.pxi"
include "_plain.pxi"
include "_json.pxi"
