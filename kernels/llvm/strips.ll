; Walks the strips of a plan: their steps one after the other, or some rows at a time through all of them,
; shared with other threads. What a strip made from an array that has not changed is not made again.

; Walk the strips [%first, %end). The number of the place in the step array where it stopped, or -1: went
; through.
define internal i64 @walk(ptr %plan, ptr %frame, i64 %first, i64 %end) #0 {
entry:
  %strips.at = getelementptr %Plan, ptr %plan, i32 0, i32 13
  %strips = load ptr, ptr %strips.at
  br label %loop

loop:
  %i = phi i64 [ %first, %entry ], [ %next, %after ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %done

one:
  %strip = getelementptr %Strip, ptr %strips, i64 %i
  %keep.at = getelementptr %Strip, ptr %strip, i32 0, i32 9
  %keep = load i64, ptr %keep.at
  %always = icmp slt i64 %keep, 0
  br i1 %always, label %run, label %compare

compare:
  %keeps.at = getelementptr %Frame, ptr %frame, i32 0, i32 9
  %keeps = load ptr, ptr %keeps.at
  %valid.at = getelementptr %Keep, ptr %keeps, i64 %keep, i32 1
  %valid = load i64, ptr %valid.at
  store i64 1, ptr %valid.at                    ; a strip that is kept cannot stop
  %skip = icmp ne i64 %valid, 0
  br i1 %skip, label %after, label %run

run:
  %grain.at = getelementptr %Strip, ptr %strip, i32 0, i32 3
  %grain = load i64, ptr %grain.at
  %whole = icmp eq i64 %grain, 0
  br i1 %whole, label %steps, label %turns

steps:
  %where = call i64 @run.steps(ptr %plan, ptr %frame, ptr %strip)
  br label %after

turns:
  call void @run.turns(ptr %plan, ptr %frame, ptr %strip)
  br label %after

after:
  %stopped.at = phi i64 [ -1, %compare ], [ %where, %steps ], [ -1, %turns ]
  %next = add i64 %i, 1
  %stop = icmp ne i64 %stopped.at, -1
  br i1 %stop, label %done, label %loop

done:
  %result = phi i64 [ -1, %loop ], [ %stopped.at, %after ]
  ret i64 %result
}

; Run the steps of a strip one after the other, each as a whole. Where it stopped, or -1.
define internal i64 @run.steps(ptr %plan, ptr %frame, ptr %strip) #0 {
entry:
  %begin = load i64, ptr %strip
  %end.at = getelementptr %Strip, ptr %strip, i32 0, i32 1
  %end = load i64, ptr %end.at
  %steps.at = getelementptr %Plan, ptr %plan, i32 0, i32 8
  %steps = load ptr, ptr %steps.at
  %operands.at = getelementptr %Frame, ptr %frame, i32 0, i32 3
  %operands = load ptr, ptr %operands.at
  br label %loop

loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %after ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %done

one:
  %step = getelementptr %Step, ptr %steps, i64 %i
  %code = load ptr, ptr %step
  %meta.at = getelementptr %Step, ptr %step, i32 0, i32 1
  %meta = load ptr, ptr %meta.at
  %extent.at = getelementptr %Step, ptr %step, i32 0, i32 2
  %extent = load i64, ptr %extent.at
  %first.at = getelementptr %Step, ptr %step, i32 0, i32 3
  %first = load i64, ptr %first.at
  %own = getelementptr ptr, ptr %operands, i64 %first
  %python = icmp eq ptr %code, null
  br i1 %python, label %call.it, label %native

native:
  %native.status = call i64 %code(ptr %own, ptr %meta, i64 0, i64 %extent)
  br label %after

call.it:
  %thread.at = getelementptr %Frame, ptr %frame, i32 0, i32 8
  call void @lock.take(ptr %thread.at)
  %python.status = call i64 @call.python(ptr %frame, ptr %meta, ptr %own)
  call void @lock.give(ptr %plan, ptr %thread.at)
  br label %after

after:
  %status = phi i64 [ %native.status, %native ], [ %python.status, %call.it ]
  %next = add i64 %i, 1
  %stop = icmp ne i64 %status, 0
  br i1 %stop, label %done, label %loop

done:
  %where = phi i64 [ -1, %loop ], [ %i, %after ]
  ret i64 %where
}

; ---- strips of which every step goes over some rows, then over the next

%Turns = type { ptr, ptr, ptr, ptr, i64 }   ; %Step array, %Strip, operands, scratch, its bytes a thread

define internal void @run.turns(ptr %plan, ptr %frame, ptr %strip) #0 {
  %turns = alloca %Turns
  %steps.at = getelementptr %Plan, ptr %plan, i32 0, i32 8
  %steps = load ptr, ptr %steps.at
  store ptr %steps, ptr %turns
  %strip.to = getelementptr %Turns, ptr %turns, i32 0, i32 1
  store ptr %strip, ptr %strip.to
  %operands.at = getelementptr %Frame, ptr %frame, i32 0, i32 3
  %operands = load ptr, ptr %operands.at
  %operands.to = getelementptr %Turns, ptr %turns, i32 0, i32 2
  store ptr %operands, ptr %operands.to
  %scratch.at = getelementptr %Frame, ptr %frame, i32 0, i32 6
  %scratch = load ptr, ptr %scratch.at
  %scratch.to = getelementptr %Turns, ptr %turns, i32 0, i32 3
  store ptr %scratch, ptr %scratch.to
  %bytes.at = getelementptr %Plan, ptr %plan, i32 0, i32 14
  %bytes = load i64, ptr %bytes.at
  %bytes.to = getelementptr %Turns, ptr %turns, i32 0, i32 4
  store i64 %bytes, ptr %bytes.to
  %rows.at = getelementptr %Strip, ptr %strip, i32 0, i32 2
  %rows = load i64, ptr %rows.at
  %grain.at = getelementptr %Strip, ptr %strip, i32 0, i32 3
  %grain = load i64, ptr %grain.at
  %useful.at = getelementptr %Strip, ptr %strip, i32 0, i32 4
  %useful = load i64, ptr %useful.at
  %room.at = getelementptr %Frame, ptr %frame, i32 0, i32 7
  %room = load i64, ptr %room.at
  %most = call i64 @llvm.umin.i64(i64 %useful, i64 %room)
  %waking.at = getelementptr %Plan, ptr %plan, i32 0, i32 17
  %waking = load i64, ptr %waking.at
  %worth.it = icmp ne i64 %waking, 0
  %started = load atomic i64, ptr @pool.threads monotonic, align 8
  %asleep.32 = load atomic i32, ptr @pool.sleepers monotonic, align 4
  %asleep = zext i32 %asleep.32 to i64
  %awake = icmp sgt i64 %started, %asleep
  %share = or i1 %worth.it, %awake
  %workers = select i1 %share, i64 %most, i64 1
  call void @parallel(ptr @turn, ptr %turns, i64 %rows, i64 %grain, i64 %workers)
  ret void
}

; One turn: rows [%begin, %end) through all steps, with the scratch of this worker.
define internal void @turn(ptr %turns, i64 %begin, i64 %end, i64 %worker) #0 {
entry:
  %strip.at = getelementptr %Turns, ptr %turns, i32 0, i32 1
  %strip = load ptr, ptr %strip.at
  %shared.at = getelementptr %Turns, ptr %turns, i32 0, i32 2
  %shared = load ptr, ptr %shared.at
  %patches.at = getelementptr %Strip, ptr %strip, i32 0, i32 5
  %patches = load i64, ptr %patches.at
  %simple = icmp eq i64 %patches, 0
  br i1 %simple, label %run, label %own

own:
  %count.at = getelementptr %Strip, ptr %strip, i32 0, i32 8
  %count = load i64, ptr %count.at
  %copy = alloca ptr, i64 %count
  %first.at = getelementptr %Strip, ptr %strip, i32 0, i32 7
  %first = load i64, ptr %first.at
  %from = getelementptr ptr, ptr %shared, i64 %first
  br label %copying

copying:
  %c = phi i64 [ 0, %own ], [ %c.next, %copying ]
  %from.at = getelementptr ptr, ptr %from, i64 %c
  %pointer = load ptr, ptr %from.at
  %to.at = getelementptr ptr, ptr %copy, i64 %c
  store ptr %pointer, ptr %to.at
  %c.next = add i64 %c, 1
  %copied = icmp eq i64 %c.next, %count
  br i1 %copied, label %place, label %copying

place:
  %bytes.at = getelementptr %Turns, ptr %turns, i32 0, i32 4
  %bytes = load i64, ptr %bytes.at
  %all.at = getelementptr %Turns, ptr %turns, i32 0, i32 3
  %all = load ptr, ptr %all.at
  %far = mul i64 %bytes, %worker
  %scratch = getelementptr i8, ptr %all, i64 %far
  %table.at = getelementptr %Strip, ptr %strip, i32 0, i32 6
  %table = load ptr, ptr %table.at
  %back = sub i64 0, %first
  %whole = getelementptr ptr, ptr %copy, i64 %back
  br label %placing

placing:
  %p = phi i64 [ 0, %place ], [ %p.next, %placing ]
  %patch = getelementptr %Scratch, ptr %table, i64 %p
  %number = load i64, ptr %patch
  %offset.at = getelementptr %Scratch, ptr %patch, i32 0, i32 1
  %offset = load i64, ptr %offset.at
  %pitch.at = getelementptr %Scratch, ptr %patch, i32 0, i32 2
  %pitch = load i64, ptr %pitch.at
  ; Row %begin lies at the start of the scratch slot.
  %skipped = mul i64 %begin, %pitch
  %shift = sub i64 %offset, %skipped
  %address = getelementptr i8, ptr %scratch, i64 %shift
  %target = getelementptr ptr, ptr %whole, i64 %number
  store ptr %address, ptr %target
  %p.next = add i64 %p, 1
  %placed = icmp eq i64 %p.next, %patches
  br i1 %placed, label %run, label %placing

run:
  %operands = phi ptr [ %shared, %entry ], [ %whole, %placing ]
  %steps = load ptr, ptr %turns
  %first.step = load i64, ptr %strip
  %end.at = getelementptr %Strip, ptr %strip, i32 0, i32 1
  %end.step = load i64, ptr %end.at
  br label %step

step:
  %i = phi i64 [ %first.step, %run ], [ %next, %step ]
  %step.at = getelementptr %Step, ptr %steps, i64 %i
  %code = load ptr, ptr %step.at
  %meta.at = getelementptr %Step, ptr %step.at, i32 0, i32 1
  %meta = load ptr, ptr %meta.at
  %operand.at = getelementptr %Step, ptr %step.at, i32 0, i32 3
  %operand = load i64, ptr %operand.at
  %row.at = getelementptr %Step, ptr %step.at, i32 0, i32 5
  %row = load i64, ptr %row.at
  %its = getelementptr ptr, ptr %operands, i64 %operand
  %start = mul i64 %begin, %row
  %stop = mul i64 %end, %row
  %always.0 = call i64 %code(ptr %its, ptr %meta, i64 %start, i64 %stop)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end.step
  br i1 %more, label %step, label %done

done:
  ret void
}

; ---- what is kept from run to run

; Make invalid what was computed from other objects than are bound now, and hold on to those: an object
; that lives is the same one only if its address is. An array counts that owns its data, or a block of the
; pool: nobody else can change those.
define internal void @keeps.compare(ptr %plan, ptr %frame) #0 {
entry:
  %count.at = getelementptr %Plan, ptr %plan, i32 0, i32 16
  %count = load i64, ptr %count.at
  %keeps.at = getelementptr %Frame, ptr %frame, i32 0, i32 9
  %keeps = load ptr, ptr %keeps.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %after ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %keep = getelementptr %Keep, ptr %keeps, i64 %i
  %binding = load i64, ptr %keep
  %owner.at = getelementptr ptr, ptr %owners, i64 %binding
  %owner = load ptr, ptr %owner.at
  %list.at = getelementptr %Keep, ptr %keep, i32 0, i32 2
  %list = load ptr, ptr %list.at
  %before = call ptr @PyList_GetItem(ptr %list, i64 0)
  %flags.at = getelementptr %ndarray, ptr %owner, i32 0, i32 8
  %flags = load i32, ptr %flags.at
  %owning = and i32 %flags, 4                   ; NPY_ARRAY_OWNDATA
  %borrows = icmp eq i32 %owning, 0
  %base.at = getelementptr %ndarray, ptr %owner, i32 0, i32 6
  %base = load ptr, ptr %base.at
  %block = call i32 @PyCapsule_IsValid(ptr %base, ptr @blocks.name)
  %foreign = icmp eq i32 %block, 0
  %shared = and i1 %borrows, %foreign
  %other = icmp ne ptr %before, %owner
  %stale = or i1 %shared, %other
  br i1 %stale, label %replace, label %after

replace:
  %valid.at = getelementptr %Keep, ptr %keep, i32 0, i32 1
  store i64 0, ptr %valid.at
  call void @Py_IncRef(ptr %owner)
  %set = call i32 @PyList_SetItem(ptr %list, i64 0, ptr %owner)
  br label %after

after:
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; ---- the GIL: a plan that takes long gives it up; Python steps take it back for themselves

define internal void @lock.give(ptr %plan, ptr %thread.at) #0 {
  %long.at = getelementptr %Plan, ptr %plan, i32 0, i32 15
  %long = load i64, ptr %long.at
  %short = icmp eq i64 %long, 0
  br i1 %short, label %done, label %give

give:
  %thread = call ptr @PyEval_SaveThread()
  store ptr %thread, ptr %thread.at
  br label %done

done:
  ret void
}

define internal void @lock.take(ptr %thread.at) #0 {
  %thread = load ptr, ptr %thread.at
  %held = icmp eq ptr %thread, null
  br i1 %held, label %done, label %take

take:
  store ptr null, ptr %thread.at
  call void @PyEval_RestoreThread(ptr %thread)
  br label %done

done:
  ret void
}
