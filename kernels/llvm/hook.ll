; What CPython calls for each event of a thread that records a call: nearly all come from code that nobody has to
; look at, and are over here. See `fusejit/backends/llvm/hook.py`, which binds the external names.
;   @hook.table       how many bytes into a Hook lies its `_address`, an int: that of a row of code objects
;   @hook.names       the strs "call" and "c_call"
;   @hook.none        None

@hook.table = external global i64
@hook.names = external global [2 x ptr]
@hook.none = external global ptr

; -> 0, or -1 with an exception set
define i32 @hook(ptr %self, ptr %frame, i32 %what, ptr %arg) #0 {
entry:
  switch i32 %what, label %over [ i32 0, label %call
                                  i32 4, label %call ]      ; PyTrace_CALL and PyTrace_C_CALL
over:
  ret i32 0
call:
  %code = call ptr @PyFrame_GetCode(ptr %frame)
  call void @Py_DecRef(ptr %code)                           ; the frame has another
  %far = load i64, ptr @hook.table
  %at = getelementptr i8, ptr %self, i64 %far
  %number = load ptr, ptr %at
  %table = call ptr @PyLong_AsVoidPtr(ptr %number)
  %bits = ptrtoint ptr %code to i64
  %high = lshr i64 %bits, 4                                 ; objects lie 16 bytes apart
  %place = and i64 %high, 1023                              ; PLACES - 1
  %entry.at = getelementptr ptr, ptr %table, i64 %place
  %known = load ptr, ptr %entry.at
  %is.known = icmp eq ptr %known, %code
  br i1 %is.known, label %over, label %ask
ask:
  %is.c = icmp eq i32 %what, 4
  %which = zext i1 %is.c to i64
  %name.at = getelementptr ptr, ptr @hook.names, i64 %which
  %name = load ptr, ptr %name.at
  %none = load ptr, ptr @hook.none
  %no.arg = icmp eq ptr %arg, null
  %about = select i1 %no.arg, ptr %none, ptr %arg
  %args = alloca [3 x ptr]
  store ptr %frame, ptr %args
  %second = getelementptr ptr, ptr %args, i64 1
  store ptr %name, ptr %second
  %third = getelementptr ptr, ptr %args, i64 2
  store ptr %about, ptr %third
  %result = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 3, ptr null)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %raised, label %said
said:
  call void @Py_DecRef(ptr %result)
  ret i32 0
raised:
  ret i32 -1
}
