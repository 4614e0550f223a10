; Arrays: does one fit a place, is its content what it was.

; Whether %object is exactly an ndarray of the dtype and shape of %spec (%Array), C-contiguous and aligned.
define internal i1 @array.fits(ptr %object, ptr %spec) alwaysinline #0 {
entry:
  %type.at = getelementptr %object, ptr %object, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, @PyArray_Type
  br i1 %exact, label %layout, label %no

layout:
  %flags.at = getelementptr %ndarray, ptr %object, i32 0, i32 8
  %flags = load i32, ptr %flags.at
  %wanted = and i32 %flags, 257                 ; NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED
  %plain = icmp eq i32 %wanted, 257
  %ndim.at = getelementptr %ndarray, ptr %object, i32 0, i32 3
  %ndim.32 = load i32, ptr %ndim.at
  %ndim = sext i32 %ndim.32 to i64
  %spec.ndim.at = getelementptr %Array, ptr %spec, i32 0, i32 2
  %spec.ndim = load i64, ptr %spec.ndim.at
  %same.ndim = icmp eq i64 %ndim, %spec.ndim
  %fits = and i1 %plain, %same.ndim
  br i1 %fits, label %dtypes, label %no

dtypes:
  %dtype.at = getelementptr %ndarray, ptr %object, i32 0, i32 7
  %dtype = load ptr, ptr %dtype.at
  %spec.dtype.at = getelementptr %Array, ptr %spec, i32 0, i32 0
  %spec.dtype = load ptr, ptr %spec.dtype.at
  %identical = icmp eq ptr %dtype, %spec.dtype
  br i1 %identical, label %shape, label %equivalent

equivalent:
  %kind.at = getelementptr %dtype, ptr %dtype, i32 0, i32 3
  %kind.byte = load i8, ptr %kind.at
  %kind = zext i8 %kind.byte to i64
  %order.at = getelementptr %dtype, ptr %dtype, i32 0, i32 5
  %order.byte = load i8, ptr %order.at
  %order = zext i8 %order.byte to i64
  %size.at = getelementptr %dtype, ptr %dtype, i32 0, i32 9
  %size = load i64, ptr %size.at
  %spec.kind.at = getelementptr %Array, ptr %spec, i32 0, i32 5
  %spec.kind = load i64, ptr %spec.kind.at
  %spec.order.at = getelementptr %Array, ptr %spec, i32 0, i32 6
  %spec.order = load i64, ptr %spec.order.at
  %spec.size.at = getelementptr %Array, ptr %spec, i32 0, i32 3
  %spec.size = load i64, ptr %spec.size.at
  %same.kind = icmp eq i64 %kind, %spec.kind
  %same.order = icmp eq i64 %order, %spec.order
  %same.size = icmp eq i64 %size, %spec.size
  %same.0 = and i1 %same.kind, %same.order
  %same.1 = and i1 %same.0, %same.size
  br i1 %same.1, label %shape, label %no

shape:
  %dims.at = getelementptr %ndarray, ptr %object, i32 0, i32 4
  %dims = load ptr, ptr %dims.at
  %spec.dims.at = getelementptr %Array, ptr %spec, i32 0, i32 1
  %spec.dims = load ptr, ptr %spec.dims.at
  br label %axis

axis:
  %i = phi i64 [ 0, %shape ], [ %next, %compare ]
  %more = icmp slt i64 %i, %ndim
  br i1 %more, label %compare, label %yes

compare:
  %extent.at = getelementptr i64, ptr %dims, i64 %i
  %extent = load i64, ptr %extent.at
  %spec.extent.at = getelementptr i64, ptr %spec.dims, i64 %i
  %spec.extent = load i64, ptr %spec.extent.at
  %same.extent = icmp eq i64 %extent, %spec.extent
  %next = add i64 %i, 1
  br i1 %same.extent, label %axis, label %no

yes:
  ret i1 true

no:
  ret i1 false
}

; The data of an ndarray.
define internal ptr @array.data(ptr %array) alwaysinline #0 {
  %at = getelementptr %ndarray, ptr %array, i32 0, i32 2
  %data = load ptr, ptr %at
  ret ptr %data
}

; Whether two blocks of %count bytes are equal: eight bytes at a time, then one at a time.
define internal i1 @bytes.equal(ptr %a, ptr %b, i64 %count) #0 {
entry:
  %words = and i64 %count, -8
  br label %word

word:
  %i = phi i64 [ 0, %entry ], [ %i.next, %word.compare ]
  %more.words = icmp ult i64 %i, %words
  br i1 %more.words, label %word.compare, label %byte

word.compare:
  %a.word.at = getelementptr i8, ptr %a, i64 %i
  %a.word = load i64, ptr %a.word.at, align 1
  %b.word.at = getelementptr i8, ptr %b, i64 %i
  %b.word = load i64, ptr %b.word.at, align 1
  %same.word = icmp eq i64 %a.word, %b.word
  %i.next = add i64 %i, 8
  br i1 %same.word, label %word, label %no

byte:
  %j = phi i64 [ %words, %word ], [ %j.next, %byte.compare ]
  %more.bytes = icmp ult i64 %j, %count
  br i1 %more.bytes, label %byte.compare, label %yes

byte.compare:
  %a.byte.at = getelementptr i8, ptr %a, i64 %j
  %a.byte = load i8, ptr %a.byte.at
  %b.byte.at = getelementptr i8, ptr %b, i64 %j
  %b.byte = load i8, ptr %b.byte.at
  %same.byte = icmp eq i8 %a.byte, %b.byte
  %j.next = add i64 %j, 1
  br i1 %same.byte, label %byte, label %no

yes:
  ret i1 true

no:
  ret i1 false
}
