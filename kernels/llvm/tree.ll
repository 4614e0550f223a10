; Trace trees: where a guard stops a plan, the paths that have gone on from there are tried.

; Another path: from a guard that saw these bytes.
%Exit = type {
  i64,                    ; 0 the guard's step in the plan
  i64,                    ; 1 how many bytes it looks at
  ptr,                    ; 2 what it saw
  ptr                     ; 3 %Entry
}

; What such a path takes over from the plan that was stopped: an input of its own plan.
%Carried = type {
  i64,                    ; 0 position of the input
  i64,                    ; 1 the stopped plan's binding that holds it, or -1: its temporaries do
  i64                     ; 2 byte offset
}

; Run the plan of an entry if its checks hold, and where a guard stops it those that go on from there.
; `above` and `held` are the plan and frame that were stopped, or null. 0: the results are made; 1: no
; path is known; 2: a Python exception is set.
define internal i64 @attempt(ptr %state, ptr %entry, ptr %above, ptr %held, ptr %args, i64 %nargs,
                             ptr %registers, ptr %made, ptr %found) #0 {
start:
  %owner.slot = alloca ptr
  %used.at = getelementptr %Entry, ptr %entry, i32 0, i32 4
  %used = load i64, ptr %used.at
  %makes.at = getelementptr %Entry, ptr %entry, i32 0, i32 5
  %makes = load i64, ptr %makes.at
  %room.at = getelementptr %State, ptr %state, i32 0, i32 5
  %room = load i64, ptr %room.at
  %made.room.at = getelementptr %State, ptr %state, i32 0, i32 13
  %made.room = load i64, ptr %made.room.at
  %registers.fit = icmp sle i64 %used, %room
  %made.fit = icmp sle i64 %makes, %made.room
  %known = and i1 %registers.fit, %made.fit
  br i1 %known, label %look, label %no             ; it was grafted when this call was on its way

look:
  %frame = call ptr @applies(ptr %entry, ptr %args, i64 %nargs, ptr %registers, ptr %owner.slot)
  %misses = icmp eq ptr %frame, null
  br i1 %misses, label %no, label %run

run:
  %plan.at = getelementptr %Entry, ptr %entry, i32 0, i32 1
  %plan = load ptr, ptr %plan.at
  %owner = load ptr, ptr %owner.slot
  call void @carry(ptr %entry, ptr %above, ptr %held, ptr %frame)
  call void @gifts.offer(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers)
  %outcome = call i64 @begin(ptr %plan, ptr %frame)
  switch i64 %outcome, label %leave [ i64 0, label %through
                                      i64 1, label %stopped ]

through:
  %leaf.at = getelementptr %Found, ptr %found, i32 0, i32 1
  store ptr %entry, ptr %leaf.at
  %probing = load i64, ptr %found
  %making = icmp eq i64 %probing, 0
  br i1 %making, label %make.it, label %leave

make.it:                                          ; all that can fail comes before what is written over
  %ready = call i1 @make.all(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers, ptr %made)
  %status.made = select i1 %ready, i64 0, i64 2
  br label %leave

stopped:                                          ; its registers are free; the frame holds what was bound
  call void @registers.clear(ptr %registers, i64 %used)
  %further = call i64 @go.on(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %args, i64 %nargs,
                             ptr %registers, ptr %made, ptr %found)
  call void @frame.give(ptr %plan, ptr %frame, ptr %owner)
  ret i64 %further

leave:
  %status = phi i64 [ %outcome, %run ], [ 0, %through ], [ %status.made, %make.it ]
  call void @frame.give(ptr %plan, ptr %frame, ptr %owner)
  call void @registers.clear(ptr %registers, i64 %used)
  ret i64 %status

no:
  ret i64 1
}

; Try the exits of a plan that a guard has stopped.
define internal i64 @go.on(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %args, i64 %nargs,
                           ptr %registers, ptr %made, ptr %found) #0 {
start:
  %where.at = getelementptr %Frame, ptr %frame, i32 0, i32 5
  %where = load i64, ptr %where.at
  %steps.at = getelementptr %Plan, ptr %plan, i32 0, i32 8
  %steps = load ptr, ptr %steps.at
  %step = getelementptr %Step, ptr %steps, i64 %where
  %number.at = getelementptr %Step, ptr %step, i32 0, i32 4
  %number = load i64, ptr %number.at
  %stopped.at = getelementptr %Found, ptr %found, i32 0, i32 2
  %stop.at = getelementptr %Found, ptr %found, i32 0, i32 3
  %first.at = getelementptr %Step, ptr %step, i32 0, i32 3
  %first = load i64, ptr %first.at
  %operands.at = getelementptr %Frame, ptr %frame, i32 0, i32 3
  %operands = load ptr, ptr %operands.at
  %operand.at = getelementptr ptr, ptr %operands, i64 %first
  %operand = load ptr, ptr %operand.at
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 15
  %count = load i64, ptr %count.at
  %exits.at = getelementptr %Entry, ptr %entry, i32 0, i32 16
  %exits = load ptr, ptr %exits.at
  br label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %one ], [ %next, %same.guard ], [ %next, %try ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %no

one:
  %exit = getelementptr %Exit, ptr %exits, i64 %i
  %next = add i64 %i, 1
  %of = load i64, ptr %exit
  %here = icmp eq i64 %of, %number
  br i1 %here, label %same.guard, label %loop

same.guard:
  %size.at = getelementptr %Exit, ptr %exit, i32 0, i32 1
  %size = load i64, ptr %size.at
  %seen.at = getelementptr %Exit, ptr %exit, i32 0, i32 2
  %seen = load ptr, ptr %seen.at
  %same = call i1 @bytes.equal(ptr %operand, ptr %seen, i64 %size)
  br i1 %same, label %try, label %loop

try:
  %entry.at = getelementptr %Exit, ptr %exit, i32 0, i32 3
  %further = load ptr, ptr %entry.at
  %status = call i64 @attempt(ptr %state, ptr %further, ptr %plan, ptr %frame, ptr %args, i64 %nargs,
                              ptr %registers, ptr %made, ptr %found)
  %unknown = icmp eq i64 %status, 1
  br i1 %unknown, label %loop, label %done

no:
  %probing = load i64, ptr %found
  %telling = icmp ne i64 %probing, 0
  br i1 %telling, label %tell, label %done

tell:
  store ptr %entry, ptr %stopped.at
  store i64 %number, ptr %stop.at
  %meta.at = getelementptr %Step, ptr %step, i32 0, i32 1
  %meta = load ptr, ptr %meta.at
  %width = load i64, ptr %meta
  %saw = call ptr @PyBytes_FromStringAndSize(ptr %operand, i64 %width)
  %saw.at = getelementptr %Found, ptr %found, i32 0, i32 4
  %before = load ptr, ptr %saw.at
  store ptr %saw, ptr %saw.at
  call void @Py_DecRef(ptr %before)
  %told = icmp ne ptr %saw, null
  br i1 %told, label %done, label %fail

fail:
  br label %done

done:
  %result = phi i64 [ 1, %no ], [ 1, %tell ], [ 2, %fail ], [ %status, %try ]
  ret i64 %result
}

; Bind what an entry takes over from a plan that was stopped, whose frame stays in use meanwhile.
define internal void @carry(ptr %entry, ptr %above, ptr %held, ptr %frame) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 17
  %count = load i64, ptr %count.at
  %rows.at = getelementptr %Entry, ptr %entry, i32 0, i32 18
  %rows = load ptr, ptr %rows.at
  br label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %bind.it ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %row = getelementptr %Carried, ptr %rows, i64 %i
  %next = add i64 %i, 1
  %position = load i64, ptr %row
  %binding.at = getelementptr %Carried, ptr %row, i32 0, i32 1
  %binding = load i64, ptr %binding.at
  %offset.at = getelementptr %Carried, ptr %row, i32 0, i32 2
  %offset = load i64, ptr %offset.at
  %bound = icmp sge i64 %binding, 0
  br i1 %bound, label %of.binding, label %of.temporaries

of.binding:
  %bases.at = getelementptr %Frame, ptr %held, i32 0, i32 0
  %bases = load ptr, ptr %bases.at
  %base.at = getelementptr ptr, ptr %bases, i64 %binding
  %base = load ptr, ptr %base.at
  %owners.at = getelementptr %Frame, ptr %held, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %owner.at = getelementptr ptr, ptr %owners, i64 %binding
  %owner = load ptr, ptr %owner.at
  br label %bind.it

of.temporaries:
  %cells.at = getelementptr %Frame, ptr %held, i32 0, i32 2
  %cells = load ptr, ptr %cells.at
  %frame.owner.at = getelementptr %Frame, ptr %held, i32 0, i32 4
  %frame.owner = load ptr, ptr %frame.owner.at
  br label %bind.it

bind.it:
  %start.of = phi ptr [ %base, %of.binding ], [ %cells, %of.temporaries ]
  %kept = phi ptr [ %owner, %of.binding ], [ %frame.owner, %of.temporaries ]
  %data = getelementptr i8, ptr %start.of, i64 %offset
  call void @Py_IncRef(ptr %kept)
  call void @bind(ptr %frame, i64 %position, ptr %kept, ptr %data)
  br label %loop

done:
  ret void
}

; A builtin function of flat arguments: the result of the call in a tuple, or None where no path is known.
; Its self is a tuple that owns a %State and begins with its address, as that of the next.
define ptr @replay(ptr %self, ptr %args, i64 %nargs) #0 {
entry:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %state = call ptr @PyLong_AsVoidPtr(ptr %address)
  %found = alloca %Found
  store %Found zeroinitializer, ptr %found
  %result = call ptr @search(ptr %state, ptr %args, i64 %nargs, ptr %found)
  %none = icmp eq ptr %result, null
  br i1 %none, label %why, label %wrap

why:
  %error = call ptr @PyErr_Occurred()
  %missed = icmp eq ptr %error, null
  br i1 %missed, label %unknown, label %done

unknown:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  br label %done

wrap:
  %slot = alloca ptr
  store ptr %result, ptr %slot
  %tuple = call ptr @tuple.of(ptr %slot, i64 1)
  call void @Py_DecRef(ptr %result)
  br label %done

done:
  %answer = phi ptr [ null, %why ], [ @_Py_NoneStruct, %unknown ], [ %tuple, %wrap ]
  ret ptr %answer
}

; Likewise: a tuple of the address of the %Entry at the end of the call's path or 0, of that of the %Entry
; that a guard has stopped last or 0, its step, and the bytes that the guard saw or None. Nothing is made
; and nothing assigned.
define ptr @probe(ptr %self, ptr %args, i64 %nargs) #0 {
entry:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %state = call ptr @PyLong_AsVoidPtr(ptr %address)
  %found = alloca %Found
  store %Found { i64 1, ptr null, ptr null, i64 0, ptr null }, ptr %found
  %nothing = call ptr @search(ptr %state, ptr %args, i64 %nargs, ptr %found)
  %saw.at = getelementptr %Found, ptr %found, i32 0, i32 4
  %error = call ptr @PyErr_Occurred()
  %raised = icmp ne ptr %error, null
  br i1 %raised, label %fail, label %tell

fail:
  %unused = load ptr, ptr %saw.at
  call void @Py_DecRef(ptr %unused)
  ret ptr null

tell:
  %objects = alloca [4 x ptr]
  %leaf.at = getelementptr %Found, ptr %found, i32 0, i32 1
  %leaf = load i64, ptr %leaf.at
  %leaf.object = call ptr @PyLong_FromSsize_t(i64 %leaf)
  store ptr %leaf.object, ptr %objects
  %stopped.at = getelementptr %Found, ptr %found, i32 0, i32 2
  %stopped = load i64, ptr %stopped.at
  %stopped.object = call ptr @PyLong_FromSsize_t(i64 %stopped)
  %second = getelementptr ptr, ptr %objects, i64 1
  store ptr %stopped.object, ptr %second
  %step.at = getelementptr %Found, ptr %found, i32 0, i32 3
  %step = load i64, ptr %step.at
  %step.object = call ptr @PyLong_FromSsize_t(i64 %step)
  %third = getelementptr ptr, ptr %objects, i64 2
  store ptr %step.object, ptr %third
  %saw = load ptr, ptr %saw.at
  %nothing.seen = icmp eq ptr %saw, null
  %none = select i1 %nothing.seen, ptr @_Py_NoneStruct, ptr null
  call void @Py_IncRef(ptr %none)
  %last = select i1 %nothing.seen, ptr @_Py_NoneStruct, ptr %saw
  %fourth = getelementptr ptr, ptr %objects, i64 3
  store ptr %last, ptr %fourth
  %tuple = call ptr @tuple.of(ptr %objects, i64 4)
  call void @registers.clear(ptr %objects, i64 4)
  ret ptr %tuple
}
