; Runs a plan: binds, allocates the outputs, walks the strips. Another Python thread may come in while the
; GIL is given up, and a Python step may do anything, so all that they could drop or re-enter is guarded.

; ---- steps with the ABI of kernels: i64 (operands, meta, begin, end); 0 means go on

; A guard: operand 0 must have the bytes that meta describes: how many, and where they are.
define i64 @guard(ptr %operands, ptr %meta, i64 %begin, i64 %end) #0 {
  %value = load ptr, ptr %operands
  %count = load i64, ptr %meta
  %expected.at = getelementptr ptr, ptr %meta, i64 1
  %expected = load ptr, ptr %expected.at
  %equal = call i1 @bytes.equal(ptr %value, ptr %expected, i64 %count)
  %status = select i1 %equal, i64 0, i64 1
  ret i64 %status
}

; ---- Python steps

; A NumPy view of an operand, owned by whatever owns the memory: a callable may keep its views (in a
; traceback, say) and they stay safe to read. Null on failure.
define internal ptr @view(ptr %frame, ptr %view, ptr %data) #0 {
entry:
  %spec.at = getelementptr %View, ptr %view, i32 0, i32 0
  %spec = load ptr, ptr %spec.at
  %flags.at = getelementptr %View, ptr %view, i32 0, i32 3
  %flags = load i64, ptr %flags.at
  %flags.32 = trunc i64 %flags to i32
  %array = call ptr @array.new(ptr %spec, ptr %data, i32 %flags.32)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %fail, label %choose

choose:
  %binding.at = getelementptr %View, ptr %view, i32 0, i32 1
  %binding = load i64, ptr %binding.at
  %bound = icmp sge i64 %binding, 0
  br i1 %bound, label %of.binding, label %of.constant

of.binding:
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %binding.owner.at = getelementptr ptr, ptr %owners, i64 %binding
  %binding.owner = load ptr, ptr %binding.owner.at
  br label %own

of.constant:
  %constant.at = getelementptr %View, ptr %view, i32 0, i32 2
  %constant = load ptr, ptr %constant.at
  %temporary = icmp eq ptr %constant, null
  %frame.owner.at = getelementptr %Frame, ptr %frame, i32 0, i32 4
  %frame.owner = load ptr, ptr %frame.owner.at
  %other = select i1 %temporary, ptr %frame.owner, ptr %constant
  br label %own

own:
  %owner = phi ptr [ %binding.owner, %of.binding ], [ %other, %of.constant ]
  call void @Py_IncRef(ptr %owner)
  %set = call i32 @PyArray_SetBaseObject(ptr %array, ptr %owner)
  %refused = icmp ne i32 %set, 0
  br i1 %refused, label %drop, label %done

drop:
  call void @Py_DecRef(ptr %array)
  br label %fail

done:
  ret ptr %array

fail:
  ret ptr null
}

; Call a Python step. 0, or 1 with a Python exception set.
define internal i64 @call.python(ptr %frame, ptr %call, ptr %operands) #0 {
entry:
  %callable.at = getelementptr %Call, ptr %call, i32 0, i32 0
  %callable = load ptr, ptr %callable.at
  %count.at = getelementptr %Call, ptr %call, i32 0, i32 1
  %count = load i64, ptr %count.at
  %views.at = getelementptr %Call, ptr %call, i32 0, i32 2
  %views = load ptr, ptr %views.at
  %args = alloca ptr, i64 %count
  br label %make

make:
  %i = phi i64 [ 0, %entry ], [ %i.next, %made ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %call.it

one:
  %view = getelementptr %View, ptr %views, i64 %i
  %data.at = getelementptr ptr, ptr %operands, i64 %i
  %data = load ptr, ptr %data.at
  %array = call ptr @view(ptr %frame, ptr %view, ptr %data)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %release, label %made

made:
  %slot = getelementptr ptr, ptr %args, i64 %i
  store ptr %array, ptr %slot
  %i.next = add i64 %i, 1
  br label %make

call.it:
  %result = call ptr @PyObject_Vectorcall(ptr %callable, ptr %args, i64 %count, ptr null)
  call void @Py_DecRef(ptr %result)
  br label %release

release:
  %held = phi i64 [ %i, %one ], [ %count, %call.it ]
  %answer = phi ptr [ null, %one ], [ %result, %call.it ]
  br label %drop

drop:
  %j = phi i64 [ 0, %release ], [ %j.next, %drop.one ]
  %left = icmp slt i64 %j, %held
  br i1 %left, label %drop.one, label %done

drop.one:
  %arg.at = getelementptr ptr, ptr %args, i64 %j
  %arg = load ptr, ptr %arg.at
  call void @Py_DecRef(ptr %arg)
  %j.next = add i64 %j, 1
  br label %drop

done:
  %raised = icmp eq ptr %answer, null
  %status = zext i1 %raised to i64
  ret i64 %status
}

; ---- bindings

; A fresh ndarray for %spec; around %data unless that is null. Null on failure.
define internal ptr @array.new(ptr %spec, ptr %data, i32 %flags) #0 {
  %dtype.at = getelementptr %Array, ptr %spec, i32 0, i32 0
  %dtype = load ptr, ptr %dtype.at
  %dims.at = getelementptr %Array, ptr %spec, i32 0, i32 1
  %dims = load ptr, ptr %dims.at
  %ndim.at = getelementptr %Array, ptr %spec, i32 0, i32 2
  %ndim = load i64, ptr %ndim.at
  %ndim.32 = trunc i64 %ndim to i32
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @PyArray_NewFromDescr(ptr @PyArray_Type, ptr %dtype, i32 %ndim.32, ptr %dims, ptr null,
                                          ptr %data, i32 %flags, ptr null)
  ret ptr %array
}

; Bind %data, owned by %owner: takes over a reference.
define internal void @bind(ptr %frame, i64 %binding, ptr %owner, ptr %data) #0 {
  %bases.at = getelementptr %Frame, ptr %frame, i32 0, i32 0
  %bases = load ptr, ptr %bases.at
  %base.at = getelementptr ptr, ptr %bases, i64 %binding
  store ptr %data, ptr %base.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %owner.at = getelementptr ptr, ptr %owners, i64 %binding
  store ptr %owner, ptr %owner.at
  ret void
}

; Take a bound object out of the frame, with its reference.
define internal ptr @unbind(ptr %frame, i64 %binding) #0 {
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %owner.at = getelementptr ptr, ptr %owners, i64 %binding
  %owner = load ptr, ptr %owner.at
  store ptr null, ptr %owner.at
  ret ptr %owner
}

; Drop what is still bound. The frame counts as in use until the last one has gone, since dropping an
; object may run Python code that comes back here.
define internal void @release(ptr %plan, ptr %frame) #0 {
entry:
  %count.at = getelementptr %Plan, ptr %plan, i32 0, i32 3
  %count = load i64, ptr %count.at
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %object = call ptr @unbind(ptr %frame, i64 %i)
  call void @Py_DecRef(ptr %object)
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; ---- one run of a frame whose inputs are bound

; Fresh memory for the outputs that have none yet. False with a Python exception set if there is none.
define internal i1 @allocate(ptr %plan, ptr %frame) #0 {
entry:
  %first.at = getelementptr %Plan, ptr %plan, i32 0, i32 2
  %first = load i64, ptr %first.at
  %count.at = getelementptr %Plan, ptr %plan, i32 0, i32 3
  %count = load i64, ptr %count.at
  %specs.at = getelementptr %Plan, ptr %plan, i32 0, i32 4
  %specs = load ptr, ptr %specs.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  br label %loop

loop:
  %i = phi i64 [ %first, %entry ], [ %next, %look ], [ %next, %keep ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done

look:
  %next = add i64 %i, 1
  %owner.at = getelementptr ptr, ptr %owners, i64 %i
  %owner = load ptr, ptr %owner.at
  %missing = icmp eq ptr %owner, null
  br i1 %missing, label %one, label %loop

one:
  %spec = getelementptr %Array, ptr %specs, i64 %i
  %array = call ptr @output.new(ptr %spec)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %done, label %keep

keep:
  %data = call ptr @array.data(ptr %array)
  call void @bind(ptr %frame, i64 %i, ptr %array, ptr %data)
  br label %loop

done:
  %ok = phi i1 [ true, %loop ], [ false, %one ]
  ret i1 %ok
}

; Write the addresses of the bindings into the operands that use them.
define internal void @patch(ptr %plan, ptr %frame) #0 {
entry:
  %count.at = getelementptr %Plan, ptr %plan, i32 0, i32 5
  %count = load i64, ptr %count.at
  %patches.at = getelementptr %Plan, ptr %plan, i32 0, i32 6
  %patches = load ptr, ptr %patches.at
  %bases.at = getelementptr %Frame, ptr %frame, i32 0, i32 0
  %bases = load ptr, ptr %bases.at
  %operands.at = getelementptr %Frame, ptr %frame, i32 0, i32 3
  %operands = load ptr, ptr %operands.at
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %patch = getelementptr %Patch, ptr %patches, i64 %i
  %operand = load i64, ptr %patch
  %binding.at = getelementptr %Patch, ptr %patch, i32 0, i32 1
  %binding = load i64, ptr %binding.at
  %offset.at = getelementptr %Patch, ptr %patch, i32 0, i32 2
  %offset = load i64, ptr %offset.at
  %base.at = getelementptr ptr, ptr %bases, i64 %binding
  %base = load ptr, ptr %base.at
  %address = getelementptr i8, ptr %base, i64 %offset
  %target = getelementptr ptr, ptr %operands, i64 %operand
  store ptr %address, ptr %target
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; Run to the end. 0: outputs are bound; 1: a guard stopped it, the frame says where; 2: a Python exception
; is set.
define internal i64 @execute(ptr %plan, ptr %frame) #0 {
entry:
  %status = call i64 @begin(ptr %plan, ptr %frame)
  %through = icmp eq i64 %status, 0
  br i1 %through, label %rest, label %done

rest:
  call void @complete(ptr %plan, ptr %frame, i1 true)
  br label %done

done:
  ret i64 %status
}

; Run the strips that may stop; what follows writes over inputs, if it is to. The status as of @execute.
define internal i64 @begin(ptr %plan, ptr %frame) #0 {
entry:
  %ready = call i1 @allocate(ptr %plan, ptr %frame)
  br i1 %ready, label %go, label %error

go:
  call void @patch(ptr %plan, ptr %frame)
  call void @keeps.compare(ptr %plan, ptr %frame)
  %end.at = getelementptr %Plan, ptr %plan, i32 0, i32 18
  %end = load i64, ptr %end.at
  %where = call i64 @walk.unlocked(ptr %plan, ptr %frame, i64 0, i64 %end)
  %through = icmp eq i64 %where, -1
  br i1 %through, label %done, label %stopped

stopped:
  %where.at = getelementptr %Frame, ptr %frame, i32 0, i32 5
  store i64 %where, ptr %where.at
  %raised = call ptr @PyErr_Occurred()
  %guard = icmp eq ptr %raised, null
  br i1 %guard, label %done, label %error

error:
  br label %done

done:
  %status = phi i64 [ 0, %go ], [ 1, %stopped ], [ 2, %error ]
  ret i64 %status
}

; Run the rest, which nothing stops; with the GIL held unless %unlocked.
define internal void @complete(ptr %plan, ptr %frame, i1 %unlocked) #0 {
entry:
  %first.at = getelementptr %Plan, ptr %plan, i32 0, i32 18
  %first = load i64, ptr %first.at
  %end.at = getelementptr %Plan, ptr %plan, i32 0, i32 12
  %end = load i64, ptr %end.at
  br i1 %unlocked, label %without, label %with

without:
  %always = call i64 @walk.unlocked(ptr %plan, ptr %frame, i64 %first, i64 %end)
  ret void

with:
  %likewise = call i64 @walk(ptr %plan, ptr %frame, i64 %first, i64 %end)
  ret void
}

; @walk without the GIL, if the plan is long.
define internal i64 @walk.unlocked(ptr %plan, ptr %frame, i64 %first, i64 %end) #0 {
entry:
  %some = icmp slt i64 %first, %end
  br i1 %some, label %go, label %done

go:
  %thread.at = getelementptr %Frame, ptr %frame, i32 0, i32 8
  call void @lock.give(ptr %plan, ptr %thread.at)
  %stopped = call i64 @walk(ptr %plan, ptr %frame, i64 %first, i64 %end)
  call void @lock.take(ptr %thread.at)
  br label %done

done:
  %where = phi i64 [ -1, %entry ], [ %stopped, %go ]
  ret i64 %where
}
