; The vectorcall of a decorated function: find the entry whose checks hold, run its plan, wrap the
; outputs; whatever is out of the ordinary goes to Python.

%Entry = type {
  i64,                    ; 0 number of arguments
  ptr,                    ; 1 %Plan
  i64,                    ; 2 number of checks
  ptr,                    ; 3 %Check
  i64,                    ; 4 number of registers
  i64,                    ; 5 what to return: 0 the one output, 1 a tuple of all, 2 finish(list of all)
  ptr                     ; 6 finish
}

%State = type {
  ptr,                    ; 0 Python object that owns all this
  ptr,                    ; 1 Python: the slow path, called with the same arguments
  ptr,                    ; 2 i64 that is not 0 while calls must not be taken here
  i64,                    ; 3 number of entries
  ptr,                    ; 4 addresses of %Entry
  i64,                    ; 5 the most registers that an entry needs
  ptr,                    ; 6 class of Tensors
  i64,                    ; 7 offset of a Tensor's ndarray
  i64,                    ; 8 number of other slots
  ptr                     ; 9 their offsets: they become None
}

; A function object: object header, this entry, its %State.
define ptr @vectorcall(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) #0 {
entry:
  %state.at = getelementptr i8, ptr %self, i64 24
  %state = load ptr, ptr %state.at
  ; The slow path and Python steps may install other entries, so this call holds on to its own.
  %owner = load ptr, ptr %state
  call void @Py_IncRef(ptr %owner)
  %active.at = getelementptr %State, ptr %state, i32 0, i32 2
  %active.address = load ptr, ptr %active.at
  %active = load i64, ptr %active.address
  %inactive = icmp eq i64 %active, 0
  %positional = icmp eq ptr %kwnames, null
  %plain = and i1 %inactive, %positional
  br i1 %plain, label %search, label %slow

search:
  %nargs = and i64 %nargsf, 9223372036854775807   ; the top bit is PY_VECTORCALL_ARGUMENTS_OFFSET
  %count.at = getelementptr %State, ptr %state, i32 0, i32 3
  %count = load i64, ptr %count.at
  %entries.at = getelementptr %State, ptr %state, i32 0, i32 4
  %entries = load ptr, ptr %entries.at
  %room.at = getelementptr %State, ptr %state, i32 0, i32 5
  %room = load i64, ptr %room.at
  %registers = alloca ptr, i64 %room
  call void @registers.start(ptr %registers, i64 %room)
  br label %loop

loop:
  %i = phi i64 [ 0, %search ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %slow

one:
  %at = getelementptr ptr, ptr %entries, i64 %i
  %candidate = load ptr, ptr %at
  %next = add i64 %i, 1
  %status = call i64 @applies(ptr %candidate, ptr %args, i64 %nargs, ptr %registers)
  %hit = icmp ne i64 %status, 0
  br i1 %hit, label %run, label %loop

run:
  %plan.at = getelementptr %Entry, ptr %candidate, i32 0, i32 1
  %plan = load ptr, ptr %plan.at
  %frame = load ptr, ptr %plan
  %outcome = call i64 @execute(ptr %plan, ptr %frame)
  %through = icmp eq i64 %outcome, 0
  br i1 %through, label %wrap.up, label %stopped

wrap.up:
  %wrapped = call ptr @wrap(ptr %state, ptr %candidate, ptr %frame)
  call void @leave(ptr %plan, ptr %frame)
  %finished = call ptr @finish(ptr %candidate, ptr %wrapped)
  br label %done

stopped:
  call void @leave(ptr %plan, ptr %frame)
  %guard = icmp eq i64 %outcome, 1
  br i1 %guard, label %slow, label %done

slow:
  %slow.at = getelementptr %State, ptr %state, i32 0, i32 1
  %slow.call = load ptr, ptr %slow.at
  %slow.result = call ptr @PyObject_Vectorcall(ptr %slow.call, ptr %args, i64 %nargsf, ptr %kwnames)
  br label %done

done:
  %result = phi ptr [ %finished, %wrap.up ], [ null, %stopped ], [ %slow.result, %slow ]
  call void @Py_DecRef(ptr %owner)
  ret ptr %result
}

; 1 if the entry's checks hold: then its plan's frame is in use, with the inputs bound.
define internal i64 @applies(ptr %entry, ptr %args, i64 %nargs, ptr %registers) #0 {
start:
  %wanted = load i64, ptr %entry
  %fits = icmp eq i64 %wanted, %nargs
  br i1 %fits, label %plan, label %no

plan:
  %plan.at = getelementptr %Entry, ptr %entry, i32 0, i32 1
  %plan.of = load ptr, ptr %plan.at
  %busy.at = getelementptr %Plan, ptr %plan.of, i32 0, i32 1
  %busy = load i64, ptr %busy.at
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %look, label %no

look:
  store i64 1, ptr %busy.at
  %frame = load ptr, ptr %plan.of
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 2
  %count = load i64, ptr %count.at
  %checks.at = getelementptr %Entry, ptr %entry, i32 0, i32 3
  %checks = load ptr, ptr %checks.at
  %failed = call i64 @checks(ptr %checks, i64 %count, ptr %args, i64 %nargs, ptr %registers, ptr %frame)
  %used.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %used = load i64, ptr %used.at
  call void @registers.clear(ptr %registers, i64 %used)
  %hit = icmp eq i64 %failed, -1
  br i1 %hit, label %yes, label %undo

undo:
  call void @leave(ptr %plan.of, ptr %frame)
  br label %no

yes:
  ret i64 1

no:
  ret i64 0
}

; Empty the frame and give it back.
define internal void @leave(ptr %plan, ptr %frame) #0 {
  call void @release(ptr %plan, ptr %frame)
  %busy.at = getelementptr %Plan, ptr %plan, i32 0, i32 1
  store i64 0, ptr %busy.at
  ret void
}

; The outputs as Tensors: one, a tuple, or the list for finish. Null on failure.
define internal ptr @wrap(ptr %state, ptr %entry, ptr %frame) #0 {
start:
  %plan.at = getelementptr %Entry, ptr %entry, i32 0, i32 1
  %plan = load ptr, ptr %plan.at
  %first.at = getelementptr %Plan, ptr %plan, i32 0, i32 2
  %first = load i64, ptr %first.at
  %end.at = getelementptr %Plan, ptr %plan, i32 0, i32 3
  %end = load i64, ptr %end.at
  %count = sub i64 %end, %first
  %form.at = getelementptr %Entry, ptr %entry, i32 0, i32 5
  %form = load i64, ptr %form.at
  switch i64 %form, label %list [ i64 0, label %single
                                  i64 1, label %tuple ]

single:
  %one = call ptr @tensor(ptr %state, ptr %frame, i64 %first)
  ret ptr %one

tuple:
  %new.tuple = call ptr @PyTuple_New(i64 %count)
  br label %fill

list:
  %new.list = call ptr @PyList_New(i64 %count)
  br label %fill

fill:
  %is.tuple = phi i1 [ true, %tuple ], [ false, %list ]
  %sequence = phi ptr [ %new.tuple, %tuple ], [ %new.list, %list ]
  %failed = icmp eq ptr %sequence, null
  br i1 %failed, label %done, label %loop

loop:
  %i = phi i64 [ 0, %fill ], [ %next, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %item, label %done

item:
  %binding = add i64 %first, %i
  %tensor = call ptr @tensor(ptr %state, ptr %frame, i64 %binding)
  %no.tensor = icmp eq ptr %tensor, null
  br i1 %no.tensor, label %drop, label %which

which:
  br i1 %is.tuple, label %put.tuple, label %put.list

put.tuple:
  %set.tuple = call i32 @PyTuple_SetItem(ptr %sequence, i64 %i, ptr %tensor)
  br label %put

put.list:
  %set.list = call i32 @PyList_SetItem(ptr %sequence, i64 %i, ptr %tensor)
  br label %put

put:
  %next = add i64 %i, 1
  br label %loop

drop:
  call void @Py_DecRef(ptr %sequence)
  ret ptr null

done:
  ret ptr %sequence
}

; A Tensor around a bound output, which leaves the frame. Null on failure.
define internal ptr @tensor(ptr %state, ptr %frame, i64 %binding) #0 {
entry:
  %class.at = getelementptr %State, ptr %state, i32 0, i32 6
  %class = load ptr, ptr %class.at
  %tensor = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %failed = icmp eq ptr %tensor, null
  br i1 %failed, label %done, label %store

store:
  %array = call ptr @unbind(ptr %frame, i64 %binding)
  %offset.at = getelementptr %State, ptr %state, i32 0, i32 7
  %offset = load i64, ptr %offset.at
  %slot = getelementptr i8, ptr %tensor, i64 %offset
  store ptr %array, ptr %slot
  %count.at = getelementptr %State, ptr %state, i32 0, i32 8
  %count = load i64, ptr %count.at
  %blanks.at = getelementptr %State, ptr %state, i32 0, i32 9
  %blanks = load ptr, ptr %blanks.at
  br label %loop

loop:
  %i = phi i64 [ 0, %store ], [ %next, %blank ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %blank, label %done

blank:
  %at = getelementptr i64, ptr %blanks, i64 %i
  %blank.offset = load i64, ptr %at
  %blank.slot = getelementptr i8, ptr %tensor, i64 %blank.offset
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  store ptr @_Py_NoneStruct, ptr %blank.slot
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %tensor
}

; finish(list) if the entry has a finish; else what was wrapped. Takes over the reference.
define internal ptr @finish(ptr %entry, ptr %wrapped) #0 {
start:
  %call.at = getelementptr %Entry, ptr %entry, i32 0, i32 6
  %callable = load ptr, ptr %call.at
  %plain = icmp eq ptr %callable, null
  %failed = icmp eq ptr %wrapped, null
  %ready = or i1 %plain, %failed
  br i1 %ready, label %done, label %call.it

call.it:
  %args = alloca ptr
  store ptr %wrapped, ptr %args
  %result = call ptr @PyObject_Vectorcall(ptr %callable, ptr %args, i64 1, ptr null)
  call void @Py_DecRef(ptr %wrapped)
  br label %done

done:
  %value = phi ptr [ %wrapped, %start ], [ %result, %call.it ]
  ret ptr %value
}

; Entry.first_miss: a builtin function of the call's arguments. Its self is a tuple that owns an
; entry and begins with its address. The number of the first check that fails, or -1.
define ptr @first.miss(ptr %self, ptr %args, i64 %nargs) #0 {
start:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %entry = call ptr @PyLong_AsVoidPtr(ptr %address)
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 2
  %count = load i64, ptr %count.at
  %checks.at = getelementptr %Entry, ptr %entry, i32 0, i32 3
  %checks = load ptr, ptr %checks.at
  %room.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %room = load i64, ptr %room.at
  %registers = alloca ptr, i64 %room
  call void @registers.start(ptr %registers, i64 %room)
  %failed = call i64 @checks(ptr %checks, i64 %count, ptr %args, i64 %nargs, ptr %registers, ptr null)
  call void @registers.clear(ptr %registers, i64 %room)
  %number = call ptr @PyLong_FromSsize_t(i64 %failed)
  ret ptr %number
}
