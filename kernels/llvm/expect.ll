; What a check (see checks.ll) can expect of a value; arrays and floats become inputs of the plan here.

; Whether %value (borrowed, null if absent), taken from %source, is what the check expects.
define internal i1 @expect(ptr %check, ptr %source, ptr %value, ptr %registers, ptr %frame) alwaysinline #0 {
entry:
  %what.at = getelementptr %Check, ptr %check, i32 0, i32 2
  %what = load i64, ptr %what.at
  %expected.at = getelementptr %Check, ptr %check, i32 0, i32 8
  %expected = load ptr, ptr %expected.at
  %number.at = getelementptr %Check, ptr %check, i32 0, i32 9
  %number = load i64, ptr %number.at
  %absent = icmp eq ptr %value, null
  br i1 %absent, label %nothing, label %something

nothing:                                          ; absent: not there, or no such attribute; not any other error
  %wants.nothing = icmp eq i64 %what, 1
  br i1 %wants.nothing, label %who, label %no

who:                                              ; a part of a function is read without errors
  %source.type.at = getelementptr %object, ptr %source, i32 0, i32 1
  %source.type = load ptr, ptr %source.type.at
  %function = icmp eq ptr %source.type, @PyFunction_Type
  %take.at = getelementptr %Check, ptr %check, i32 0, i32 1
  %take = load i64, ptr %take.at
  %part = icmp sge i64 %take, 5
  %safe = and i1 %function, %part
  br i1 %safe, label %yes, label %why

why:
  %error = call ptr @PyErr_Occurred()
  %silent = icmp eq ptr %error, null
  br i1 %silent, label %yes, label %which

which:
  %attribute.error = load ptr, ptr @PyExc_AttributeError
  %matches = call i32 @PyErr_ExceptionMatches(ptr %attribute.error)
  call void @PyErr_Clear()
  %no.attribute = icmp ne i32 %matches, 0
  ret i1 %no.attribute

something:
  switch i64 %what, label %no [ i64 0, label %yes
                                i64 2, label %same
                                i64 3, label %referent
                                i64 4, label %length
                                i64 5, label %exact.type
                                i64 6, label %array
                                i64 7, label %number.cell
                                i64 8, label %twin
                                i64 9, label %distinct
                                i64 10, label %keys
                                i64 11, label %elsewhere ]

same:
  %is.same = call i1 @same(ptr %value, ptr %expected)
  ret i1 %is.same

referent:
  %target = call ptr @referent(ptr %expected)
  %is.referent = icmp eq ptr %target, %value
  %class.at = getelementptr %object, ptr %value, i32 0, i32 1
  %class = load ptr, ptr %class.at
  %address = ptrtoint ptr %class to i64
  %as.before = icmp eq i64 %address, %number
  %is.it = and i1 %is.referent, %as.before
  ret i1 %is.it

length:
  %size = call i64 @PyObject_Size(ptr %value)
  %is.long = icmp eq i64 %size, %number
  ret i1 %is.long

exact.type:
  %type.at = getelementptr %object, ptr %value, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %is.type = icmp eq ptr %type, %expected
  ret i1 %is.type

array:
  %is.array = call i1 @expect.array(ptr %check, ptr %value, ptr %frame)
  ret i1 %is.array

number.cell:
  %is.float = call i1 @expect.float(ptr %value, i64 %number, ptr %frame)
  ret i1 %is.float

twin:
  %twin.at = getelementptr ptr, ptr %registers, i64 %number
  %before = load ptr, ptr %twin.at
  %is.twin = icmp eq ptr %before, %value
  ret i1 %is.twin

distinct:
  %are.distinct = call i1 @expect.distinct(ptr %check, ptr %registers)
  ret i1 %are.distinct

keys:
  %are.keys = call i1 @expect.keys(ptr %value, ptr %expected, i64 %number)
  ret i1 %are.keys

elsewhere:
  %is.elsewhere = call i1 @expect.elsewhere(ptr %check, ptr %value)
  ret i1 %is.elsewhere

yes:
  ret i1 true

no:
  ret i1 false
}

; A Tensor around an array on another device, of the very spec that is expected. The row at 11 has the class of
; such arrays, where they have their spec, and the spec.
define internal i1 @expect.elsewhere(ptr %check, ptr %value) #0 {
entry:
  %class.at = getelementptr %Check, ptr %check, i32 0, i32 8
  %class = load ptr, ptr %class.at
  %type.at = getelementptr %object, ptr %value, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, %class
  br i1 %exact, label %find, label %no

find:
  %offset.at = getelementptr %Check, ptr %check, i32 0, i32 10
  %offset = load i64, ptr %offset.at
  %slot = getelementptr i8, ptr %value, i64 %offset
  %array = load ptr, ptr %slot
  %empty = icmp eq ptr %array, null
  br i1 %empty, label %no, label %look

look:
  %row.at = getelementptr %Check, ptr %check, i32 0, i32 11
  %row = load ptr, ptr %row.at
  %array.class = load ptr, ptr %row
  %array.type.at = getelementptr %object, ptr %array, i32 0, i32 1
  %array.type = load ptr, ptr %array.type.at
  %fits = icmp eq ptr %array.type, %array.class
  br i1 %fits, label %compare, label %no

compare:
  %place.at = getelementptr i64, ptr %row, i64 1
  %place = load i64, ptr %place.at
  %spec.at = getelementptr i8, ptr %array, i64 %place
  %spec = load ptr, ptr %spec.at
  %expected.at = getelementptr ptr, ptr %row, i64 2
  %expected = load ptr, ptr %expected.at
  %same = icmp eq ptr %spec, %expected
  ret i1 %same

no:
  ret i1 false
}

; No two of the listed registers hold the same object. Each goes into the check's own table, whose size is a
; power of two; where another is there already, the next place is tried. Under the GIL nobody else is in it.
define internal i1 @expect.distinct(ptr %check, ptr %registers) #0 {
entry:
  %listed.at = getelementptr %Check, ptr %check, i32 0, i32 8
  %listed = load ptr, ptr %listed.at
  %count.at = getelementptr %Check, ptr %check, i32 0, i32 9
  %count = load i64, ptr %count.at
  %last.at = getelementptr %Check, ptr %check, i32 0, i32 10
  %last = load i64, ptr %last.at
  %table.at = getelementptr %Check, ptr %check, i32 0, i32 12
  %table = load ptr, ptr %table.at
  br label %clear

clear:
  %j = phi i64 [ 0, %entry ], [ %j.next, %clear ]
  %cleared.at = getelementptr ptr, ptr %table, i64 %j
  store ptr null, ptr %cleared.at
  %j.next = add i64 %j, 1
  %cleared = icmp ugt i64 %j.next, %last
  br i1 %cleared, label %loop, label %clear

loop:
  %i = phi i64 [ 0, %clear ], [ %next, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %number.at = getelementptr i64, ptr %listed, i64 %i
  %number = load i64, ptr %number.at
  %register.at = getelementptr ptr, ptr %registers, i64 %number
  %object = load ptr, ptr %register.at
  %address = ptrtoint ptr %object to i64
  %mixed = mul i64 %address, -7046029254386353131 ; the golden ratio: the upper half depends on all bits
  %first = lshr i64 %mixed, 32
  br label %try

try:
  %hash = phi i64 [ %first, %one ], [ %further, %taken ]
  %place = and i64 %hash, %last
  %place.at = getelementptr ptr, ptr %table, i64 %place
  %held = load ptr, ptr %place.at
  %free = icmp eq ptr %held, null
  br i1 %free, label %put, label %taken

taken:
  %further = add i64 %hash, 1
  %again = icmp eq ptr %held, %object
  br i1 %again, label %no, label %try

put:
  store ptr %object, ptr %place.at
  %next = add i64 %i, 1
  br label %loop

yes:
  ret i1 true

no:
  ret i1 false
}

; A dict whose keys are those of the tuple %expected, of %count items, in the same order.
define internal i1 @expect.keys(ptr %dict, ptr %expected, i64 %count) #0 {
entry:
  %position = alloca i64
  %key.at = alloca ptr
  store i64 0, ptr %position
  %size = call i64 @PyObject_Size(ptr %dict)
  %as.many = icmp eq i64 %size, %count
  br i1 %as.many, label %loop, label %no

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %compare ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %found = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key.at, ptr null)
  %none = icmp eq i32 %found, 0
  br i1 %none, label %no, label %compare

compare:
  %key = load ptr, ptr %key.at
  %wanted = call ptr @PyTuple_GetItem(ptr %expected, i64 %i)
  %next = add i64 %i, 1
  %same = call i1 @same(ptr %key, ptr %wanted)
  br i1 %same, label %loop, label %no

yes:
  ret i1 true

no:
  ret i1 false
}

; The same object; or an exact float with the same bits, an exact int, str or bytes that is equal.
define internal i1 @same(ptr %a, ptr %b) #0 {
entry:
  %identical = icmp eq ptr %a, %b
  br i1 %identical, label %yes, label %types

types:
  %a.type.at = getelementptr %object, ptr %a, i32 0, i32 1
  %a.type = load ptr, ptr %a.type.at
  %b.type.at = getelementptr %object, ptr %b, i32 0, i32 1
  %b.type = load ptr, ptr %b.type.at
  %same.type = icmp eq ptr %a.type, %b.type
  br i1 %same.type, label %kinds, label %no

kinds:
  %float = icmp eq ptr %a.type, @PyFloat_Type
  br i1 %float, label %floats, label %exact

floats:
  %a.value = call double @PyFloat_AsDouble(ptr %a)
  %b.value = call double @PyFloat_AsDouble(ptr %b)
  %a.bits = bitcast double %a.value to i64
  %b.bits = bitcast double %b.value to i64
  %same.bits = icmp eq i64 %a.bits, %b.bits
  ret i1 %same.bits

exact:                                            ; comparing these runs no Python code
  %int = icmp eq ptr %a.type, @PyLong_Type
  %str = icmp eq ptr %a.type, @PyUnicode_Type
  %bytes = icmp eq ptr %a.type, @PyBytes_Type
  %int.or.str = or i1 %int, %str
  %plain = or i1 %int.or.str, %bytes
  br i1 %plain, label %compare, label %no

compare:
  %equal = call i32 @PyObject_RichCompareBool(ptr %a, ptr %b, i32 2)
  %is.equal = icmp eq i32 %equal, 1
  ret i1 %is.equal

yes:
  ret i1 true

no:
  ret i1 false
}

; A Tensor or ndarray that fits; then it is bound as an input, or its content compared.
define internal i1 @expect.array(ptr %check, ptr %value, ptr %frame) alwaysinline #0 {
entry:
  %class.at = getelementptr %Check, ptr %check, i32 0, i32 8
  %class = load ptr, ptr %class.at
  %type.at = getelementptr %object, ptr %value, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, %class
  br i1 %exact, label %find, label %no

find:
  %offset.at = getelementptr %Check, ptr %check, i32 0, i32 10
  %offset = load i64, ptr %offset.at
  %direct = icmp eq i64 %offset, 0
  br i1 %direct, label %look, label %inside

inside:
  %slot = getelementptr i8, ptr %value, i64 %offset
  %content = load ptr, ptr %slot
  %empty = icmp eq ptr %content, null
  br i1 %empty, label %no, label %look

look:
  %array = phi ptr [ %value, %find ], [ %content, %inside ]
  %spec.at = getelementptr %Check, ptr %check, i32 0, i32 11
  %spec = load ptr, ptr %spec.at
  %fits = call i1 @array.fits(ptr %array, ptr %spec)
  br i1 %fits, label %use, label %no

use:
  %data = call ptr @array.data(ptr %array)
  %bytes.at = getelementptr %Check, ptr %check, i32 0, i32 12
  %bytes = load ptr, ptr %bytes.at
  %by.reference = icmp eq ptr %bytes, null
  br i1 %by.reference, label %input, label %compare

compare:
  %size.at = getelementptr %Array, ptr %spec, i32 0, i32 4
  %size = load i64, ptr %size.at
  %equal = call i1 @bytes.equal(ptr %data, ptr %bytes, i64 %size)
  ret i1 %equal

input:
  %only.checking = icmp eq ptr %frame, null
  br i1 %only.checking, label %yes, label %bind.it

bind.it:
  %number.at = getelementptr %Check, ptr %check, i32 0, i32 9
  %number = load i64, ptr %number.at
  call void @Py_IncRef(ptr %array)
  call void @bind(ptr %frame, i64 %number, ptr %array, ptr %data)
  br label %yes

yes:
  ret i1 true

no:
  ret i1 false
}

; An exact float; its value goes into the cell of its input.
define internal i1 @expect.float(ptr %value, i64 %input, ptr %frame) alwaysinline #0 {
entry:
  %type.at = getelementptr %object, ptr %value, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, @PyFloat_Type
  br i1 %exact, label %look, label %no

look:
  %only.checking = icmp eq ptr %frame, null
  br i1 %only.checking, label %yes, label %store.it

store.it:
  %number = call double @PyFloat_AsDouble(ptr %value)
  %cells.at = getelementptr %Frame, ptr %frame, i32 0, i32 2
  %cells = load ptr, ptr %cells.at
  %cell = getelementptr double, ptr %cells, i64 %input
  store double %number, ptr %cell
  %owner.at = getelementptr %Frame, ptr %frame, i32 0, i32 4
  %owner = load ptr, ptr %owner.at
  call void @Py_IncRef(ptr %owner)
  call void @bind(ptr %frame, i64 %input, ptr %owner, ptr %cell)
  br label %yes

yes:
  ret i1 true

no:
  ret i1 false
}
