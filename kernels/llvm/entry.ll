; The vectorcall of a decorated function: find the entry whose checks hold, run its plan, make the
; result; whatever is out of the ordinary goes to Python.

%Entry = type {
  i64,                    ; 0 number of arguments, as `arrange` lays them out
  ptr,                    ; 1 %Plan
  i64,                    ; 2 number of checks
  ptr,                    ; 3 %Check
  i64,                    ; 4 number of registers
  i64,                    ; 5 number of objects to make
  ptr,                    ; 6 %Made
  i64,                    ; 7 number of Variables to assign
  ptr,                    ; 8 %Store
  i64,                    ; 9 number of nodes of the result
  ptr,                    ; 10 %Node
  i64,                    ; 11 number of inputs
  ptr,                    ; 12 the register that keeps each input, an i64
  i64,                    ; 13 number of outputs that may lie where inputs do
  ptr,                    ; 14 %Gift
  i64,                    ; 15 number of exits
  ptr,                    ; 16 %Exit
  i64,                    ; 17 number of carried values
  ptr                     ; 18 %Carried
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
  ptr,                    ; 9 their offsets: they become None
  ptr,                    ; 10 Python: takes the calls while 2 is not 0
  ptr,                    ; 11 %Signature, or null: positional calls only
  i64,                    ; 12 number of parameters of that
  i64,                    ; 13 the most objects that an entry makes
  i64                     ; 14 offset of a Variable's Tensor
}

; How a search went.
%Found = type {
  i64,                    ; 0 whether nothing is to be made: only the path is wanted
  ptr,                    ; 1 the %Entry at the end of the path
  ptr,                    ; 2 the %Entry that a guard has stopped last, or null
  i64,                    ; 3 its step
  ptr                     ; 4 a bytes object: what the guard saw there, if only the path is wanted
}

; A function object: object header, this entry, its %State.
define ptr @vectorcall(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) #0 {
entry:
  %state.at = getelementptr i8, ptr %self, i64 24
  %state = load ptr, ptr %state.at
  %active.at = getelementptr %State, ptr %state, i32 0, i32 2
  %active.address = load ptr, ptr %active.at
  %active = load i64, ptr %active.address
  %inactive = icmp eq i64 %active, 0
  br i1 %inactive, label %native, label %handled

native:
  %entered = call ptr @enter(ptr %state, ptr %args, i64 %nargsf, ptr %kwnames)
  ret ptr %entered

handled:
  %handled.call.at = getelementptr %State, ptr %state, i32 0, i32 10
  %handled.call = load ptr, ptr %handled.call.at
  %result = call ptr @pass.on(ptr %state, ptr %handled.call, ptr %args, i64 %nargsf, ptr %kwnames)
  ret ptr %result
}

; A builtin function of the call's arguments: the vectorcall, whatever is active. Its self is a tuple
; that owns the state and begins with its address.
define ptr @enter.builtin(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) #0 {
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %state = call ptr @PyLong_AsVoidPtr(ptr %address)
  %result = call ptr @enter(ptr %state, ptr %args, i64 %nargs, ptr %kwnames)
  ret ptr %result
}

; Call Python with the arguments of the call. It may install other entries, so this call holds on to its own.
define internal ptr @pass.on(ptr %state, ptr %callable, ptr %args, i64 %nargsf, ptr %kwnames) #0 {
  %owner = load ptr, ptr %state
  call void @Py_IncRef(ptr %owner)
  %result = call ptr @PyObject_Vectorcall(ptr %callable, ptr %args, i64 %nargsf, ptr %kwnames)
  call void @Py_DecRef(ptr %owner)
  ret ptr %result
}

; The native path, in which Python steps, too, may install other entries.
define internal ptr @enter(ptr %state, ptr %args, i64 %nargsf, ptr %kwnames) #0 {
entry:
  %owner = load ptr, ptr %state
  call void @Py_IncRef(ptr %owner)
  %nargs = and i64 %nargsf, 9223372036854775807   ; the top bit is PY_VECTORCALL_ARGUMENTS_OFFSET
  %search = alloca %Found
  store %Found zeroinitializer, ptr %search
  %as.given = call i1 @is.flat(ptr %state, i64 %nargs, ptr %kwnames)
  br i1 %as.given, label %direct, label %lay.out

direct:
  %direct.result = call ptr @search(ptr %state, ptr %args, i64 %nargs, ptr %search)
  br label %after

lay.out:
  %width.at = getelementptr %State, ptr %state, i32 0, i32 12
  %width = load i64, ptr %width.at
  %flat = alloca ptr, i64 %width
  call void @registers.start(ptr %flat, i64 %width)
  %known = call i1 @arrange(ptr %state, ptr %args, i64 %nargs, ptr %kwnames, ptr %flat)
  br i1 %known, label %arranged, label %drop

arranged:
  %arranged.result = call ptr @search(ptr %state, ptr %flat, i64 %width, ptr %search)
  br label %drop

drop:
  %found = phi ptr [ null, %lay.out ], [ %arranged.result, %arranged ]
  call void @registers.clear(ptr %flat, i64 %width)
  br label %after

after:                                            ; null without an exception: no entry applies
  %made = phi ptr [ %direct.result, %direct ], [ %found, %drop ]
  %none = icmp eq ptr %made, null
  br i1 %none, label %why, label %done

why:
  %error = call ptr @PyErr_Occurred()
  %missed = icmp eq ptr %error, null
  br i1 %missed, label %slow, label %done

slow:
  %slow.at = getelementptr %State, ptr %state, i32 0, i32 1
  %slow.call = load ptr, ptr %slow.at
  %slow.result = call ptr @PyObject_Vectorcall(ptr %slow.call, ptr %args, i64 %nargsf, ptr %kwnames)
  br label %done

done:
  %result = phi ptr [ %made, %after ], [ null, %why ], [ %slow.result, %slow ]
  call void @Py_DecRef(ptr %owner)
  ret ptr %result
}

; The result of the first root whose path, or one that branches off, this call takes to its end. Null
; without an exception if there is none. An error in a plan counts as none: nothing is committed yet, and
; Python then runs the body, which raises the same with exactly eager's effects.
define internal ptr @search(ptr %state, ptr %args, i64 %nargs, ptr %found) #0 {
entry:
  %count.at = getelementptr %State, ptr %state, i32 0, i32 3
  %count = load i64, ptr %count.at
  %entries.at = getelementptr %State, ptr %state, i32 0, i32 4
  %entries = load ptr, ptr %entries.at
  %room.at = getelementptr %State, ptr %state, i32 0, i32 5
  %room = load i64, ptr %room.at
  %registers = alloca ptr, i64 %room
  call void @registers.start(ptr %registers, i64 %room)
  %makes.at = getelementptr %State, ptr %state, i32 0, i32 13
  %makes = load i64, ptr %makes.at
  %made = alloca ptr, i64 %makes
  call void @registers.start(ptr %made, i64 %makes)
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %none

one:
  %at = getelementptr ptr, ptr %entries, i64 %i
  %root = load ptr, ptr %at
  %next = add i64 %i, 1
  %outcome = call i64 @attempt(ptr %state, ptr %root, ptr null, ptr null, ptr %args, i64 %nargs,
                               ptr %registers, ptr %made, ptr %found)
  switch i64 %outcome, label %error [ i64 0, label %nest.it
                                      i64 1, label %loop ]

nest.it:                                          ; may run the user's code: no frame is in use any more
  %leaf.at = getelementptr %Found, ptr %found, i32 0, i32 1
  %leaf = load ptr, ptr %leaf.at
  %probing = load i64, ptr %found
  %making = icmp eq i64 %probing, 0
  br i1 %making, label %nest.now, label %none

nest.now:
  %nested = call ptr @nest(ptr %leaf, ptr %made)
  br label %done

error:                                            ; not KeyboardInterrupt and its like
  %exception = load ptr, ptr @PyExc_Exception
  %ordinary = call i32 @PyErr_ExceptionMatches(ptr %exception)
  %is.ordinary = icmp ne i32 %ordinary, 0
  br i1 %is.ordinary, label %forget, label %none

forget:
  call void @PyErr_Clear()
  br label %none

none:
  br label %done

done:
  %result = phi ptr [ null, %none ], [ %nested, %nest.now ]
  call void @registers.clear(ptr %made, i64 %makes)
  ret ptr %result
}

; Make the objects, complete the plan and assign the Variables. False on failure, and nothing has changed.
define internal i1 @make.all(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers, ptr %made) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 5
  %count = load i64, ptr %count.at
  br label %make.it

make.it:
  %ready = call i1 @make(ptr %state, ptr %entry, ptr %frame, ptr %registers, ptr %made)
  br i1 %ready, label %settle, label %no

settle:
  %taken = call i64 @gifts.settle(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers)
  switch i64 %taken, label %complete [ i64 -1, label %again
                                       i64 -2, label %no ]

again:
  call void @registers.clear(ptr %made, i64 %count)
  br label %make.it

complete:
  %unlocked = icmp eq i64 %taken, 0
  call void @complete(ptr %plan, ptr %frame, i1 %unlocked)
  call void @assign(ptr %state, ptr %entry, ptr %registers, ptr %made)
  ret i1 true

no:
  ret i1 false
}

; A frame in which the plan's inputs are bound, if the entry's checks hold: then the registers hold
; references. Null otherwise.
define internal ptr @applies(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr %owner.slot) #0 {
start:
  %wanted = load i64, ptr %entry
  %fits = icmp eq i64 %wanted, %nargs
  br i1 %fits, label %plan, label %no

plan:
  %plan.at = getelementptr %Entry, ptr %entry, i32 0, i32 1
  %plan.of = load ptr, ptr %plan.at
  %frame = call ptr @frame.take(ptr %plan.of, ptr %owner.slot)
  %no.frame = icmp eq ptr %frame, null
  br i1 %no.frame, label %forget, label %look

forget:
  call void @PyErr_Clear()
  br label %no

look:
  %failed = call i64 @checks.of(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr %frame)
  %hit = icmp eq i64 %failed, -1
  br i1 %hit, label %yes, label %undo

undo:
  %used.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %used = load i64, ptr %used.at
  call void @registers.clear(ptr %registers, i64 %used)
  %owner = load ptr, ptr %owner.slot
  call void @frame.give(ptr %plan.of, ptr %frame, ptr %owner)
  br label %no

yes:
  ret ptr %frame

no:
  ret ptr null
}

; Run the checks of an entry: see @checks.
define internal i64 @checks.of(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr %frame) #0 {
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 2
  %count = load i64, ptr %count.at
  %checks.at = getelementptr %Entry, ptr %entry, i32 0, i32 3
  %checks = load ptr, ptr %checks.at
  %failed = call i64 @checks(ptr %checks, i64 %count, ptr %args, i64 %nargs, ptr %registers, ptr %frame)
  ret i64 %failed
}

; Entry.first_miss: a builtin function of the call's flat arguments. Its self is a tuple that owns an
; entry and begins with its address. The number of the first check that fails, or -1.
define ptr @first.miss(ptr %self, ptr %args, i64 %nargs) #0 {
start:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %entry = call ptr @PyLong_AsVoidPtr(ptr %address)
  %room.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %room = load i64, ptr %room.at
  %registers = alloca ptr, i64 %room
  call void @registers.start(ptr %registers, i64 %room)
  %failed = call i64 @checks.of(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr null)
  call void @registers.clear(ptr %registers, i64 %room)
  %number = call ptr @PyLong_FromSsize_t(i64 %failed)
  ret ptr %number
}

; Entry.inputs: likewise. A tuple of the objects that become inputs, or None if a check fails.
define ptr @inputs(ptr %self, ptr %args, i64 %nargs) #0 {
start:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %entry = call ptr @PyLong_AsVoidPtr(ptr %address)
  %room.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %room = load i64, ptr %room.at
  %registers = alloca ptr, i64 %room
  call void @registers.start(ptr %registers, i64 %room)
  %failed = call i64 @checks.of(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr null)
  %hit = icmp eq i64 %failed, -1
  br i1 %hit, label %collect, label %missed

collect:
  %tuple = call ptr @input.tuple(ptr %entry, ptr %registers)
  br label %done

missed:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  br label %done

done:
  %result = phi ptr [ %tuple, %collect ], [ @_Py_NoneStruct, %missed ]
  call void @registers.clear(ptr %registers, i64 %room)
  ret ptr %result
}

define internal ptr @input.tuple(ptr %entry, ptr %registers) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 11
  %count = load i64, ptr %count.at
  %numbers.at = getelementptr %Entry, ptr %entry, i32 0, i32 12
  %numbers = load ptr, ptr %numbers.at
  %tuple = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %tuple, null
  br i1 %failed, label %done, label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %number.at = getelementptr i64, ptr %numbers, i64 %i
  %number = load i64, ptr %number.at
  %register = getelementptr ptr, ptr %registers, i64 %number
  %value = load ptr, ptr %register
  call void @Py_IncRef(ptr %value)
  %set = call i32 @PyTuple_SetItem(ptr %tuple, i64 %i, ptr %value)
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %tuple
}
