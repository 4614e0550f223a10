; pointwise: a builtin function of arrays, one flat loop over all of their elements, of any size. Its
; self is a tuple that owns the record and begins with its address. None: the arrays do not fit.

%Pointwise = type {
  ptr,                    ; 0 kernel
  i64,                    ; 1 number of arguments
  ptr,                    ; 2 %Argument
  i64,                    ; 3 the first argument that is no single element, whose shape the result has
  i64,                    ; 4 the most elements
  ptr,                    ; 5 dtype object of the result
  i64,                    ; 6 number of operands of the kernel, without the result
  ptr,                    ; 7 for each of these, the argument that it is
  i64,                    ; 8 number of words of meta
  ptr                     ; 9 meta; the first word is the number of elements, set by each call
}

%Argument = type { ptr, i64 }     ; dtype object, whether it is a single element for all others

define ptr @pointwise(ptr %self, ptr %args, i64 %given) #0 {
entry:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %record = call ptr @PyLong_AsVoidPtr(ptr %address)
  %count.at = getelementptr %Pointwise, ptr %record, i32 0, i32 1
  %count = load i64, ptr %count.at
  %enough = icmp eq i64 %given, %count
  br i1 %enough, label %size, label %unfit

size:
  %lead.at = getelementptr %Pointwise, ptr %record, i32 0, i32 3
  %lead.number = load i64, ptr %lead.at
  %lead.place = getelementptr ptr, ptr %args, i64 %lead.number
  %lead = load ptr, ptr %lead.place
  %fits = call i1 @pointwise.fits(ptr %record, ptr %args, ptr %lead)
  br i1 %fits, label %sized, label %unfit

sized:
  %elements = call i64 @array.size(ptr %lead)
  %most.at = getelementptr %Pointwise, ptr %record, i32 0, i32 4
  %most = load i64, ptr %most.at
  %few = icmp sle i64 %elements, %most
  %some = icmp ne i64 %elements, 0               ; kernels need not care about empty extents
  %right = and i1 %few, %some
  br i1 %right, label %make, label %unfit

make:
  %dtype.at = getelementptr %Pointwise, ptr %record, i32 0, i32 5
  %dtype = load ptr, ptr %dtype.at
  call void @Py_IncRef(ptr %dtype)
  %ndim.at = getelementptr %ndarray, ptr %lead, i32 0, i32 3
  %ndim = load i32, ptr %ndim.at
  %dims.at = getelementptr %ndarray, ptr %lead, i32 0, i32 4
  %dims = load ptr, ptr %dims.at
  %result = call ptr @PyArray_NewFromDescr(ptr @PyArray_Type, ptr %dtype, i32 %ndim, ptr %dims, ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %done, label %run

run:
  call void @pointwise.run(ptr %record, ptr %args, ptr %result, i64 %elements)
  br label %done

done:
  ret ptr %result

unfit:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
}

; Whether the arguments are ndarrays of the dtypes of %record, each of the shape of %lead or, where it
; is a single element for all others, without axes.
define internal i1 @pointwise.fits(ptr %record, ptr %args, ptr %lead) alwaysinline #0 {
entry:
  %count.at = getelementptr %Pointwise, ptr %record, i32 0, i32 1
  %count = load i64, ptr %count.at
  %specs.at = getelementptr %Pointwise, ptr %record, i32 0, i32 2
  %specs = load ptr, ptr %specs.at
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %shape ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %place = getelementptr ptr, ptr %args, i64 %i
  %array = load ptr, ptr %place
  %type.at = getelementptr %object, ptr %array, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, @PyArray_Type
  br i1 %exact, label %layout, label %no

layout:
  %flags.at = getelementptr %ndarray, ptr %array, i32 0, i32 8
  %flags = load i32, ptr %flags.at
  %wanted = and i32 %flags, 257                 ; NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED
  %plain = icmp eq i32 %wanted, 257
  %spec = getelementptr %Argument, ptr %specs, i64 %i
  %spec.dtype = load ptr, ptr %spec
  %dtype.at = getelementptr %ndarray, ptr %array, i32 0, i32 7
  %dtype = load ptr, ptr %dtype.at
  %same.dtype = icmp eq ptr %dtype, %spec.dtype
  %known = and i1 %plain, %same.dtype
  br i1 %known, label %shape, label %no

shape:
  %single.at = getelementptr %Argument, ptr %spec, i32 0, i32 1
  %single = load i64, ptr %single.at
  %is.single = icmp ne i64 %single, 0
  %ndim.at = getelementptr %ndarray, ptr %array, i32 0, i32 3
  %ndim = load i32, ptr %ndim.at
  %no.axes = icmp eq i32 %ndim, 0
  %same.shape = call i1 @same.shape(ptr %array, ptr %lead)
  %fits = select i1 %is.single, i1 %no.axes, i1 %same.shape
  %next = add i64 %i, 1
  br i1 %fits, label %loop, label %no

yes:
  ret i1 true

no:
  ret i1 false
}

; Run the kernel on arguments that fit.
define internal void @pointwise.run(ptr %record, ptr %args, ptr %result, i64 %elements) #0 {
entry:
  %inputs.at = getelementptr %Pointwise, ptr %record, i32 0, i32 6
  %inputs = load i64, ptr %inputs.at
  %numbers.at = getelementptr %Pointwise, ptr %record, i32 0, i32 7
  %numbers = load ptr, ptr %numbers.at
  %all = add i64 %inputs, 1
  %operands = alloca ptr, i64 %all
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %inputs
  br i1 %more, label %one, label %target

one:
  %number.at = getelementptr i64, ptr %numbers, i64 %i
  %number = load i64, ptr %number.at
  %array.at = getelementptr ptr, ptr %args, i64 %number
  %array = load ptr, ptr %array.at
  %data = call ptr @array.data(ptr %array)
  %operand.at = getelementptr ptr, ptr %operands, i64 %i
  store ptr %data, ptr %operand.at
  %next = add i64 %i, 1
  br label %loop

target:
  %target.at = getelementptr ptr, ptr %operands, i64 %inputs
  %target.data = call ptr @array.data(ptr %result)
  store ptr %target.data, ptr %target.at
  %words.at = getelementptr %Pointwise, ptr %record, i32 0, i32 8
  %words = load i64, ptr %words.at
  %fixed.at = getelementptr %Pointwise, ptr %record, i32 0, i32 9
  %fixed = load ptr, ptr %fixed.at
  %meta = alloca i64, i64 %words                ; a copy: no other call may change it meanwhile
  br label %copy

copy:
  %j = phi i64 [ 0, %target ], [ %j.next, %copy ]
  %from = getelementptr i64, ptr %fixed, i64 %j
  %word = load i64, ptr %from
  %to = getelementptr i64, ptr %meta, i64 %j
  store i64 %word, ptr %to
  %j.next = add i64 %j, 1
  %copied = icmp eq i64 %j.next, %words
  br i1 %copied, label %call, label %copy

call:
  store i64 %elements, ptr %meta
  %kernel = load ptr, ptr %record
  %status = call i64 %kernel(ptr %operands, ptr %meta, i64 0, i64 %elements)
  ret void
}

; Whether two ndarrays have the same extents.
define internal i1 @same.shape(ptr %a, ptr %b) #0 {
entry:
  %a.ndim.at = getelementptr %ndarray, ptr %a, i32 0, i32 3
  %a.ndim = load i32, ptr %a.ndim.at
  %b.ndim.at = getelementptr %ndarray, ptr %b, i32 0, i32 3
  %b.ndim = load i32, ptr %b.ndim.at
  %same.ndim = icmp eq i32 %a.ndim, %b.ndim
  br i1 %same.ndim, label %extents, label %no

extents:
  %a.dims.at = getelementptr %ndarray, ptr %a, i32 0, i32 4
  %a.dims = load ptr, ptr %a.dims.at
  %b.dims.at = getelementptr %ndarray, ptr %b, i32 0, i32 4
  %b.dims = load ptr, ptr %b.dims.at
  %ndim = sext i32 %a.ndim to i64
  %bytes = mul i64 %ndim, 8
  %same = call i1 @bytes.equal(ptr %a.dims, ptr %b.dims, i64 %bytes)
  ret i1 %same

no:
  ret i1 false
}

; The number of elements of an ndarray.
define internal i64 @array.size(ptr %array) #0 {
entry:
  %ndim.at = getelementptr %ndarray, ptr %array, i32 0, i32 3
  %ndim.32 = load i32, ptr %ndim.at
  %ndim = sext i32 %ndim.32 to i64
  %dims.at = getelementptr %ndarray, ptr %array, i32 0, i32 4
  %dims = load ptr, ptr %dims.at
  br label %axis

axis:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %size = phi i64 [ 1, %entry ], [ %product, %one ]
  %more = icmp slt i64 %i, %ndim
  br i1 %more, label %one, label %done

one:
  %extent.at = getelementptr i64, ptr %dims, i64 %i
  %extent = load i64, ptr %extent.at
  %product = mul i64 %size, %extent
  %next = add i64 %i, 1
  br label %axis

done:
  ret i64 %size
}
