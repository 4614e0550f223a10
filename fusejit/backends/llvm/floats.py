"""Float primitives that a lesser machine lacks, and the remainder, which none has.

Each rule gives the same bits on every target. LLVM would call libm for them, once per lane: that
costs a hundred times the instructions that stand here.
"""

from __future__ import annotations

from .text import Lanes

# From here on a float is an integer (or inf, or NaN).
_INTEGERS_FROM = {"float": 2.0**23, "double": 2.0**52}
_EXACT_PRODUCTS = (2.0**-900, 2.0**1000)  # where no part of a two-product under- or overflows


def rounded(c: Lanes, hint: str, prim: str, element: str, x: str) -> str:
    """floor, ceil, trunc or rint, by the instruction where there is one."""
    if c.target.has_rounding:
        return c.intrinsic(hint, "roundeven" if prim == "rint" else prim, element, x)
    return _round_magic(c, hint, prim, element, x)


def fma(c: Lanes, hint: str, element: str, x: str, y: str, z: str) -> str:
    """x * y + z rounded once, by the instruction where there is one."""
    if c.target.has_fma:
        return c.intrinsic(hint, "fma", element, x, y, z)
    software = _fma_single if element == "float" else _fma_double
    return software(c, hint, x, y, z)


def _round_magic(c: Lanes, hint: str, prim: str, element: str, x: str) -> str:
    """floor, ceil, trunc and rint without SSE 4.1: adding 2**23 (2**52) rounds to an integer.

    The sign is copied back at the end, so -0.3 gives -0.0 as IEEE says. Large values, infinities
    and NaN pass through.
    """
    size = c.intrinsic(f"{hint}.abs", "fabs", element, x)
    limit = c.const(element, _INTEGERS_FROM[element])
    up = c.op(f"{hint}.up", "fadd", element, size, limit)
    near = c.op(f"{hint}.near", "fsub", element, up, limit)
    if prim == "trunc":
        near = _step(c, f"{hint}.cut", element, "fsub", "ogt", near, size)
    elif prim in ("floor", "ceil"):
        near = c.intrinsic(f"{hint}.sided", "copysign", element, near, x)
        opcode, order = ("fsub", "ogt") if prim == "floor" else ("fadd", "olt")
        near = _step(c, f"{hint}.step", element, opcode, order, near, x)
    signed = c.intrinsic(f"{hint}.sign", "copysign", element, near, x)
    small = c.op(f"{hint}.small", "fcmp olt", element, size, limit)
    return c.select(hint, small, element, signed, x)


def _step(c: Lanes, hint: str, element: str, opcode: str, order: str, rounded: str, x: str) -> str:
    """`rounded`, moved by one where it lies on the wrong side of `x`."""
    wrong = c.op(f"{hint}.wrong", f"fcmp {order}", element, rounded, x)
    moved = c.op(f"{hint}.moved", opcode, element, rounded, c.const(element, 1.0))
    return c.select(hint, wrong, element, moved, rounded)


def _fma_single(c: Lanes, hint: str, x: str, y: str, z: str) -> str:
    """float32 a * b + c, rounded once, without the instruction: always exact.

    The product is exact in float64. Their sum there is rounded to odd, after which the rounding to
    float32 is the only one that counts.
    """
    a, b, d = (c.convert(f"{hint}.wide", "fpext", v, "float", "double") for v in (x, y, z))
    product = c.op(f"{hint}.p", "fmul", "double", a, b)
    total, error = _two_sum(c, hint, product, d)
    odd = _to_odd(c, hint, total, error)
    return c.convert(hint, "fptrunc", odd, "double", "float")


def _fma_double(c: Lanes, hint: str, x: str, y: str, z: str) -> str:
    """float64 a * b + c, rounded once, without the instruction (Boldo and Melquiond, 2008).

    Exact while |a * b| lies in [2**-900, 2**1000] and |a| + |b| + |c| <= 2**1000, where every part
    of the exact product is representable. Beyond, the product is rounded before the sum.
    """
    product = c.op(f"{hint}.p", "fmul", "double", x, y)
    low = _product_error(c, hint, x, y, product)
    middle, tiny = _two_sum(c, f"{hint}.m", z, low)
    high, rest = _two_sum(c, f"{hint}.h", product, middle)
    small, error = _two_sum(c, f"{hint}.s", rest, tiny)
    odd = _to_odd(c, hint, small, error)
    exact = c.op(f"{hint}.exact", "fadd", "double", high, odd)
    plain = c.op(f"{hint}.plain", "fadd", "double", product, z)
    size = c.intrinsic(f"{hint}.size", "fabs", "double", product)
    least, most = (c.const("double", bound) for bound in _EXACT_PRODUCTS)
    above = c.op(f"{hint}.above", "fcmp oge", "double", size, least)
    below = c.op(f"{hint}.below", "fcmp ole", "double", size, most)
    parts = [c.intrinsic(f"{hint}.part", "fabs", "double", v) for v in (x, y, z)]
    largest = c.op(f"{hint}.largest", "fadd", "double", parts[0], parts[1])
    largest = c.op(f"{hint}.largest", "fadd", "double", largest, parts[2])
    mild = c.op(f"{hint}.mild", "fcmp ole", "double", largest, most)
    inside = c.op(f"{hint}.in", "and", "i1", above, below)
    inside = c.op(f"{hint}.in", "and", "i1", inside, mild)
    return c.select(hint, inside, "double", exact, plain)


def _two_sum(c: Lanes, hint: str, a: str, b: str) -> tuple[str, str]:
    """a + b as the rounded sum and its exact error (Knuth)."""
    total = c.op(f"{hint}.sum", "fadd", "double", a, b)
    b_part = c.op(f"{hint}.bpart", "fsub", "double", total, a)
    a_part = c.op(f"{hint}.apart", "fsub", "double", total, b_part)
    a_rest = c.op(f"{hint}.arest", "fsub", "double", a, a_part)
    b_rest = c.op(f"{hint}.brest", "fsub", "double", b, b_part)
    return total, c.op(f"{hint}.err", "fadd", "double", a_rest, b_rest)


def _product_error(c: Lanes, hint: str, a: str, b: str, product: str) -> str:
    """a * b - product, exactly (Dekker): halves of 26 bits multiply without rounding."""
    a_high, a_low = _halves(c, f"{hint}.a", a)
    b_high, b_low = _halves(c, f"{hint}.b", b)
    error = c.op(f"{hint}.hh", "fmul", "double", a_high, b_high)
    error = c.op(f"{hint}.e0", "fsub", "double", error, product)
    for left, right in ((a_high, b_low), (a_low, b_high), (a_low, b_low)):
        part = c.op(f"{hint}.part", "fmul", "double", left, right)
        error = c.op(f"{hint}.e", "fadd", "double", error, part)
    return error


def _halves(c: Lanes, hint: str, x: str) -> tuple[str, str]:
    """x as the sum of two floats of at most 26 bits, by rounding its bits: nothing overflows."""
    bits = c.convert(f"{hint}.bits", "bitcast", x, "double", "i64")
    up = c.op(f"{hint}.up", "add", "i64", bits, c.const("i64", 2**26))
    kept = c.op(f"{hint}.kept", "and", "i64", up, c.const("i64", -(2**27)))
    high = c.convert(f"{hint}.high", "bitcast", kept, "i64", "double")
    return high, c.op(f"{hint}.low", "fsub", "double", x, high)


def _to_odd(c: Lanes, hint: str, total: str, error: str) -> str:
    """total + error rounded to odd: cut towards zero, then the last bit set if that lost anything.

    Plain integer arithmetic: SSE2 compares no 64-bit integers.
    """
    one = c.const("i64", 1)
    bits = c.convert(f"{hint}.bits", "bitcast", total, "double", "i64")
    sign = c.convert(f"{hint}.sign", "bitcast", error, "double", "i64")
    mixed = c.op(f"{hint}.mixed", "xor", "i64", bits, sign)
    over = c.op(f"{hint}.over", "lshr", "i64", mixed, c.const("i64", 63))
    # An infinite or NaN sum has a NaN error, which counts as exact.
    size = c.intrinsic(f"{hint}.size", "fabs", "double", error)
    lost = c.op(f"{hint}.lost", "fcmp ogt", "double", size, c.const("double", 0.0))
    every = c.convert(f"{hint}.every", "sext", lost, "i1", "i64")
    down = c.op(f"{hint}.down", "and", "i64", over, every)
    last = c.op(f"{hint}.last", "and", "i64", one, every)
    cut = c.op(f"{hint}.cut", "sub", "i64", bits, down)
    odd = c.op(f"{hint}.odd", "or", "i64", cut, last)
    return c.convert(f"{hint}.rounded", "bitcast", odd, "i64", "double")


# element -> its integer, the bits of its mantissa, its bias, and the quotient bits of one round.
_FORMATS = {"float": ("i32", 23, 127, 22), "double": ("i64", 52, 1023, 51)}


def remainder(c: Lanes, hint: str, element: str, a: str, b: str) -> str:
    """NumPy's %: fmod, moved to the sign of b; exact wherever fma is.

    Long division. Each round divides by |b| * 2**k, just small enough for the quotient to be an
    integer of the format, so that fma leaves the exact rest. One round serves quotients below 2**22
    (2**51); the most are 13 (41), and their number is known beforehand.
    """
    text, inf = c.text, c.const(element, float("inf"))
    size = c.intrinsic(f"{hint}.a", "fabs", element, a)
    divisor = c.intrinsic(f"{hint}.b", "fabs", element, b)
    integer, _, _, quotient_bits = _FORMATS[element]
    below = _exponent(c, f"{hint}.eb", element, divisor)
    above = _exponent(c, f"{hint}.ea", element, size)
    apart = c.op(f"{hint}.apart", "sub", integer, above, below)
    most = apart
    if c.width > 1:
        function = f"llvm.vector.reduce.smax.{c.suffix(integer)}"
        most = text.let(f"{hint}.most", text.call(integer, function, [(c.type(integer), apart)]))
    if integer != "i64":
        most = text.let(f"{hint}.most", f"sext {integer} {most} to i64")
    # One round in any case: it makes NaN of a zero divisor.
    once = text.call("i64", "llvm.smax.i64", [("i64", most), ("i64", "1")])
    last = text.let(f"{hint}.last", once)
    carried = [(f"{hint}.r", c.type(element), size)]
    with text.loop(f"{hint}.divide", ("0", last, quotient_bits), carried) as trip:
        trip.following.append(_division_round(c, hint, element, trip.values[0], divisor, below))
    rest = trip.values[0]
    finite = c.op(f"{hint}.finite", "fcmp olt", element, size, inf)
    endless = c.op(f"{hint}.endless", "fcmp oeq", element, divisor, inf)
    whole = c.op(f"{hint}.whole", "and", "i1", finite, endless)
    rest = c.select(f"{hint}.rest", whole, element, size, rest)
    return _sign_of_divisor(c, hint, element, c.intrinsic(hint, "copysign", element, rest, a), b)


def _exponent(c: Lanes, hint: str, element: str, x: str) -> str:
    """The biased exponent of a positive number, negative where it is subnormal."""
    integer, mantissa, _, _ = _FORMATS[element]
    lift = 2.0 ** (mantissa + 1)  # makes the least number a normal one
    tiny = c.op(f"{hint}.tiny", "fcmp olt", element, x, c.const(element, 1.0 / lift))
    lifted = c.op(f"{hint}.lifted", "fmul", element, x, c.const(element, lift))
    normal = c.select(f"{hint}.normal", tiny, element, lifted, x)
    bits = c.convert(f"{hint}.bits", "bitcast", normal, element, integer)
    field = c.op(f"{hint}.field", "lshr", integer, bits, c.const(integer, mantissa))
    lower = c.op(f"{hint}.lower", "sub", integer, field, c.const(integer, mantissa + 1))
    return c.select(hint, tiny, integer, lower, field)


def _division_round(
    c: Lanes, hint: str, element: str, rest: str, divisor: str, exponent: str
) -> str:
    """`rest` less the largest multiple of a power of two times `divisor`."""
    integer, mantissa, bias, quotient_bits = _FORMATS[element]
    zero, one = c.const(integer, 0), c.const(integer, 1)
    above = _exponent(c, f"{hint}.e", element, rest)
    apart = c.op(f"{hint}.over", "sub", integer, above, exponent)
    spare = c.op(f"{hint}.spare", "sub", integer, apart, c.const(integer, quotient_bits))
    power = c.intrinsic(f"{hint}.k", "smax", integer, spare, zero)
    half = c.op(f"{hint}.half", "lshr", integer, power, one)
    other = c.op(f"{hint}.other", "sub", integer, power, half)
    scaled = divisor
    for part in (half, other):  # 2**k itself can lie beyond the format
        biased = c.op(f"{hint}.biased", "add", integer, part, c.const(integer, bias))
        bits = c.op(f"{hint}.bits", "shl", integer, biased, c.const(integer, mantissa))
        factor = c.convert(f"{hint}.factor", "bitcast", bits, integer, element)
        scaled = c.op(f"{hint}.scaled", "fmul", element, scaled, factor)
    ratio = c.op(f"{hint}.ratio", "fdiv", element, rest, scaled)
    quotient = rounded(c, f"{hint}.q", "trunc", element, ratio)
    minus = c.op(f"{hint}.minus", "fneg", element, quotient)
    left = fma(c, f"{hint}.left", element, minus, scaled, rest)
    # The division may have been rounded up to the next integer.
    negative = c.op(f"{hint}.negative", "fcmp olt", element, left, c.const(element, 0.0))
    back = c.op(f"{hint}.back", "fadd", element, left, scaled)
    return c.select(f"{hint}.next", negative, element, back, left)


def _sign_of_divisor(c: Lanes, hint: str, element: str, rest: str, b: str) -> str:
    """fmod's result as Python's and NumPy's %: a zero has the sign of b, too."""
    zero = c.const(element, 0.0)
    none = c.op(f"{hint}.none", "fcmp oeq", element, rest, zero)
    signed = c.intrinsic(f"{hint}.zero", "copysign", element, zero, b)
    minus = c.op(f"{hint}.rneg", "fcmp olt", element, rest, zero)
    other = c.op(f"{hint}.bneg", "fcmp olt", element, b, zero)
    opposed = c.op(f"{hint}.opposed", "xor", "i1", minus, other)
    added = c.op(f"{hint}.added", "fadd", element, rest, b)
    moved = c.select(f"{hint}.moved", opposed, element, added, rest)
    return c.select(f"{hint}.mod", none, element, signed, moved)
