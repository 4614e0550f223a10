; What the files beside this one share: the layout of the objects that they read, the records that
; Python prepares for them, and CPython's and NumPy's C API.
; Reference counts are read by @references alone and written nowhere; Py_IncRef and Py_DecRef accept null.

; ---- objects of CPython and NumPy. abi.py checks these offsets on real objects before first use.
%object  = type { i64, ptr }                                          ; references, type
%ndarray = type { i64, ptr, ptr, i32, ptr, ptr, ptr, ptr, i32 }       ; 2 data 3 ndim 4 dims 5 strides 6 base 7 dtype 8 flags
%weakref = type { i64, ptr, ptr }                                     ; 2 what it refers to, None when that is gone
%dtype   = type { i64, ptr, ptr, i8, i8, i8, i8, i32, i64, i64 }      ; 3 kind 5 byte order 9 item size

; ---- records: rows of 64-bit words, so that Python can write them as arrays of integers

; The array that a place expects. The dtype is usually recognised by its address; two dtype objects
; that mean the same (an unpickled one, long long beside long) agree in kind, byte order and size.
%Array = type {
  ptr,                    ; 0 dtype object
  ptr,                    ; 1 extents
  i64,                    ; 2 number of dimensions
  i64,                    ; 3 bytes of an element
  i64,                    ; 4 bytes in all
  i64,                    ; 5 kind of the dtype, a character
  i64                     ; 6 its byte order, likewise
}

; A plan. Bindings are what changes from run to run: the inputs, then the outputs.
%Plan = type {
  ptr,                    ; 0 its own %Frame
  i64,                    ; 1 whether that frame is in use
  i64,                    ; 2 number of inputs
  i64,                    ; 3 number of bindings
  ptr,                    ; 4 a %Array for each binding
  i64,                    ; 5 number of patches
  ptr,                    ; 6 %Patch
  i64,                    ; 7 number of steps
  ptr,                    ; 8 %Step
  ptr,                    ; 9 Python: () -> tuple, whose first item is the address of another frame
  ptr,                    ; 10 Python: (step, bytes) -> what `run` returns when a guard stops it
  ptr,                    ; 11 Python: (inputs) -> raises the TypeError that says what is wrong
  i64,                    ; 12 number of strips
  ptr,                    ; 13 %Strip
  i64,                    ; 14 bytes of scratch that a thread needs
  i64,                    ; 15 whether it takes so long that the GIL is given up
  i64,                    ; 16 number of %Keep of a frame
  i64,                    ; 17 whether it has work enough to wake threads for, not only to use what is awake
  i64,                    ; 18 the strip from which on outputs may lie in memory of inputs, and nothing stops it
  i64                     ; 19 whether other Python threads should not wait for the strips from there on
}

; The memory of one run: pointers, and behind `owner` the temporaries. A run that finds the plan's own
; frame in use (a Python step ran the plan again) makes another.
%Frame = type {
  ptr,                    ; 0 data of each binding
  ptr,                    ; 1 for each binding, the object that owns its data (a strong reference) or null
  ptr,                    ; 2 a cell of 8 bytes for each input: where a Python float is put
  ptr,                    ; 3 operand pointers of all steps
  ptr,                    ; 4 the object that owns temporaries and cells (borrowed)
  i64,                    ; 5 after a stop: which step
  ptr,                    ; 6 scratch of all threads
  i64,                    ; 7 for how many threads it is enough
  ptr,                    ; 8 the thread state of the GIL that was given up, or null
  ptr                     ; 9 %Keep
}

; What a strip has computed from one binding alone, and whether it is still that of the object in `list`.
%Keep = type { i64, i64, ptr }    ; binding, whether it is valid, a Python list of that one object

%Patch = type { i64, i64, i64 }   ; operand number, binding number, byte offset

%Step = type {
  ptr,                    ; 0 kernel, or null for a Python step
  ptr,                    ; 1 its meta, or the %Call of a Python step
  i64,                    ; 2 extent of the outermost axis
  i64,                    ; 3 number of its first operand
  i64,                    ; 4 number of the step in the plan
  i64                     ; 5 how much of its outermost axis makes a row of its strip
}

; Steps that run together: one after the other if the grain is 0, else that many rows at a time.
%Strip = type {
  i64,                    ; 0 its first step
  i64,                    ; 1 the end of its steps
  i64,                    ; 2 rows
  i64,                    ; 3 grain
  i64,                    ; 4 the most threads
  i64,                    ; 5 number of operands in scratch
  ptr,                    ; 6 %Scratch
  i64,                    ; 7 number of its first operand
  i64,                    ; 8 number of its operands
  i64                     ; 9 the %Keep that says whether it need not run, or -1
}

%Scratch = type { i64, i64, i64 }   ; operand number, byte offset in the scratch, bytes of a row

%Call = type { ptr, i64, ptr }    ; Python callable, number of operands, a %View for each

%View = type {
  ptr,                    ; 0 %Array
  i64,                    ; 1 binding that owns the memory, or -1
  ptr,                    ; 2 else the object that owns it, or null: the frame
  i64                     ; 3 flags of the ndarray
}

; ---- CPython and NumPy
@PyArray_Type = external global i8
@PyFloat_Type = external global i8
@PyFunction_Type = external global i8
@PyLong_Type = external global i8
@PyUnicode_Type = external global i8
@PyBytes_Type = external global i8
@_Py_NoneStruct = external global i8
@PyExc_AttributeError = external global ptr
@PyExc_Exception = external global ptr

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare i32 @PyErr_ExceptionMatches(ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)     ; takes over the dtype
declare i32 @PyArray_SetBaseObject(ptr, ptr)                                  ; takes over the base
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyInterpreterState_Get()
declare ptr @PyInterpreterState_ThreadHead(ptr)
declare ptr @PyThreadState_Next(ptr)                                          ; null after the last
declare i64 @PyType_GetFlags(ptr)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i64 @PyObject_Size(ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)                                ; borrowed
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)                                      ; borrowed; 0 at the end
declare ptr @PyCell_Get(ptr)
declare ptr @PyFrame_GetCode(ptr)
declare ptr @PyFunction_GetCode(ptr)                                          ; borrowed, as the next three
declare ptr @PyFunction_GetDefaults(ptr)
declare ptr @PyFunction_GetKwDefaults(ptr)
declare ptr @PyFunction_GetClosure(ptr)
declare ptr @PySequence_Tuple(ptr)
declare ptr @PyTuple_New(i64)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)                                        ; borrowed
declare i32 @PyTuple_SetItem(ptr, i64, ptr)                                   ; takes over the item
declare ptr @PyList_New(i64)
declare ptr @PyList_GetItem(ptr, i64)                                         ; borrowed
declare i32 @PyList_SetItem(ptr, i64, ptr)                                    ; takes over the item
declare ptr @PyLong_FromSsize_t(i64)
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyBytes_FromStringAndSize(ptr, i64)
declare double @PyFloat_AsDouble(ptr)



; No exceptions cross this code, and LLVM may not put calls of memset or memcmp into it: nothing links them.
attributes #0 = { nounwind "no-builtins" }
