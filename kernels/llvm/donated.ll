; Results in the memory of what they replace: the value of a Variable that the call assigns, if nothing but
; the Variable refers to it. Tensors never change, so nobody may see this one change: who could has a
; reference, to the Tensor, to its array or to the block of the array, and all of them are counted. The
; Tensor itself goes with the call, and a new one takes its place around the same array.
;
; What holds when the call begins may not when the plan comes to write: it gives up the GIL, and Python
; steps and finalizers run. So it is looked at again right before, and from then on the GIL is held and no
; Python runs until the Variables are assigned.

@own.threads = external global i64                ; how many Python threads fusejit has itself

%Gift = type {
  i64,                    ; 0 binding of the input
  i64,                    ; 1 binding of the output
  i64,                    ; 2 register of the Tensor
  i64,                    ; 3 register of the Variable that holds it
  i64                     ; 4 how many of the made objects are Tensors around the output
}

; The references to an object. In all versions of CPython with a GIL the lower half of the first word says how
; many there are, or that the object is immortal; abi.py checks it.
define internal i64 @references(ptr %object) alwaysinline #0 {
  %count.32 = load i32, ptr %object
  %count = zext i32 %count.32 to i64
  ret i64 %count
}

; Whether the value of the Variable is referred to by it, its register and the frame alone, its array by %more
; besides.
define internal i1 @gift.holds(ptr %state, ptr %gift, ptr %frame, ptr %registers, i64 %more) #0 {
entry:
  %tensor.number.at = getelementptr %Gift, ptr %gift, i32 0, i32 2
  %tensor.number = load i64, ptr %tensor.number.at
  %tensor.at = getelementptr ptr, ptr %registers, i64 %tensor.number
  %tensor = load ptr, ptr %tensor.at
  %variable.number.at = getelementptr %Gift, ptr %gift, i32 0, i32 3
  %variable.number = load i64, ptr %variable.number.at
  %variable.at = getelementptr ptr, ptr %registers, i64 %variable.number
  %variable = load ptr, ptr %variable.at
  %value.offset.at = getelementptr %State, ptr %state, i32 0, i32 14
  %value.offset = load i64, ptr %value.offset.at
  %value.at = getelementptr i8, ptr %variable, i64 %value.offset
  %value = load ptr, ptr %value.at
  %is.value = icmp eq ptr %value, %tensor
  %tensor.references = call i64 @references(ptr %tensor)
  %two = icmp eq i64 %tensor.references, 2
  %input = load i64, ptr %gift
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %array.at = getelementptr ptr, ptr %owners, i64 %input
  %array = load ptr, ptr %array.at
  %data.offset.at = getelementptr %State, ptr %state, i32 0, i32 7
  %data.offset = load i64, ptr %data.offset.at
  %content.at = getelementptr i8, ptr %tensor, i64 %data.offset
  %content = load ptr, ptr %content.at
  %is.content = icmp eq ptr %content, %array
  %known = add i64 %more, 2
  %array.references = call i64 @references(ptr %array)
  %as.many = icmp eq i64 %array.references, %known
  %unseen.0 = and i1 %is.value, %two
  %unseen.1 = and i1 %is.content, %as.many
  %unseen = and i1 %unseen.0, %unseen.1
  br i1 %unseen, label %memory, label %no

memory:
  %own = call i1 @array.is.alone(ptr %array)
  ret i1 %own

no:
  ret i1 false
}

; Whether only the array itself leads to its memory, which may be written.
define internal i1 @array.is.alone(ptr %array) #0 {
entry:
  %weak.at = getelementptr i8, ptr %array, i64 72
  %weak = load ptr, ptr %weak.at
  %unwatched = icmp eq ptr %weak, null
  %flags.at = getelementptr %ndarray, ptr %array, i32 0, i32 8
  %flags = load i32, ptr %flags.at
  %writable.flag = and i32 %flags, 1024           ; NPY_ARRAY_WRITEABLE
  %writable = icmp ne i32 %writable.flag, 0
  %owning.flag = and i32 %flags, 4                ; NPY_ARRAY_OWNDATA
  %owning = icmp ne i32 %owning.flag, 0
  %base.at = getelementptr %ndarray, ptr %array, i32 0, i32 6
  %base = load ptr, ptr %base.at
  %fit = and i1 %unwatched, %writable
  br i1 %fit, label %whose, label %no

whose:
  %no.base = icmp eq ptr %base, null
  br i1 %no.base, label %own, label %block

own:
  ret i1 %owning

block:
  %valid = call i32 @PyCapsule_IsValid(ptr %base, ptr @blocks.name)
  %is.block = icmp ne i32 %valid, 0
  %references = call i64 @references(ptr %base)
  %once = icmp eq i64 %references, 1
  %lone = and i1 %is.block, %once
  ret i1 %lone

no:
  ret i1 false
}

; Whether a gift is in effect: its output is bound to the array of its input.
define internal i1 @gift.taken(ptr %gift, ptr %frame) alwaysinline #0 {
  %input = load i64, ptr %gift
  %output.at = getelementptr %Gift, ptr %gift, i32 0, i32 1
  %output = load i64, ptr %output.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %given.at = getelementptr ptr, ptr %owners, i64 %input
  %given = load ptr, ptr %given.at
  %taken.at = getelementptr ptr, ptr %owners, i64 %output
  %taken = load ptr, ptr %taken.at
  %same = icmp eq ptr %given, %taken
  ret i1 %same
}

; Before the plan runs: bind the outputs that may lie where inputs do. None while a handler is active, for a
; tape or a recorder may know a Tensor by its tag, or if other threads would have to wait for long.
define internal void @gifts.offer(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 13
  %count = load i64, ptr %count.at
  %gifts.at = getelementptr %Entry, ptr %entry, i32 0, i32 14
  %gifts = load ptr, ptr %gifts.at
  %active.at = getelementptr %State, ptr %state, i32 0, i32 2
  %active.address = load ptr, ptr %active.at
  %active = load i64, ptr %active.address
  %handled = icmp ne i64 %active, 0
  %some = icmp sgt i64 %count, 0
  %long.at = getelementptr %Plan, ptr %plan, i32 0, i32 19
  %long = load i64, ptr %long.at
  %is.long = icmp ne i64 %long, 0
  %ask = and i1 %some, %is.long
  br i1 %handled, label %done, label %length

length:
  br i1 %ask, label %threads, label %loop

threads:
  %others = call i1 @other.threads()
  br i1 %others, label %done, label %loop

loop:
  %i = phi i64 [ 0, %length ], [ 0, %threads ], [ %next, %one ], [ %next, %take ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %gift = getelementptr %Gift, ptr %gifts, i64 %i
  %next = add i64 %i, 1
  %holds = call i1 @gift.holds(ptr %state, ptr %gift, ptr %frame, ptr %registers, i64 0)
  br i1 %holds, label %take, label %loop

take:
  %input = load i64, ptr %gift
  %output.at = getelementptr %Gift, ptr %gift, i32 0, i32 1
  %output = load i64, ptr %output.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  %array.at = getelementptr ptr, ptr %owners, i64 %input
  %array = load ptr, ptr %array.at
  call void @Py_IncRef(ptr %array)
  %data = call ptr @array.data(ptr %array)
  call void @bind(ptr %frame, i64 %output, ptr %array, ptr %data)
  br label %loop

done:
  ret void
}

; Whether the interpreter has other threads than this one and fusejit's own, which wait most of the time.
define internal i1 @other.threads() #0 {
entry:
  %own = load i64, ptr @own.threads
  %interpreter = call ptr @PyInterpreterState_Get()
  %first = call ptr @PyInterpreterState_ThreadHead(ptr %interpreter)
  br label %loop

loop:
  %thread = phi ptr [ %first, %entry ], [ %next, %one ]
  %count = phi i64 [ 0, %entry ], [ %counted, %one ]
  %last = icmp eq ptr %thread, null
  br i1 %last, label %done, label %one

one:
  %counted = add i64 %count, 1
  %next = call ptr @PyThreadState_Next(ptr %thread)
  br label %loop

done:
  %known = add i64 %own, 1
  %others = icmp sgt i64 %count, %known
  ret i1 %others
}

; Once the objects are made, look again. How many gifts are in effect; -1 if one is not any more: its output
; has fresh memory now, which the objects must be made around; -2: there is no memory, an exception is set.
define internal i64 @gifts.settle(ptr %state, ptr %entry, ptr %plan, ptr %frame, ptr %registers) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 13
  %count = load i64, ptr %count.at
  %gifts.at = getelementptr %Entry, ptr %entry, i32 0, i32 14
  %gifts = load ptr, ptr %gifts.at
  br label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %one ], [ %next, %look ]
  %taken = phi i64 [ 0, %start ], [ %taken, %one ], [ %one.more, %look ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %gift = getelementptr %Gift, ptr %gifts, i64 %i
  %next = add i64 %i, 1
  %is.taken = call i1 @gift.taken(ptr %gift, ptr %frame)
  br i1 %is.taken, label %look, label %loop

look:
  %one.more = add i64 %taken, 1
  %around.at = getelementptr %Gift, ptr %gift, i32 0, i32 4
  %around = load i64, ptr %around.at
  %and.bound = add i64 %around, 1
  %holds = call i1 @gift.holds(ptr %state, ptr %gift, ptr %frame, ptr %registers, i64 %and.bound)
  br i1 %holds, label %loop, label %withdraw

withdraw:
  %output.at = getelementptr %Gift, ptr %gift, i32 0, i32 1
  %output = load i64, ptr %output.at
  %array = call ptr @unbind(ptr %frame, i64 %output)
  call void @Py_DecRef(ptr %array)
  %bound = call i1 @allocate(ptr %plan, ptr %frame)
  call void @patch(ptr %plan, ptr %frame)
  %result = select i1 %bound, i64 -1, i64 -2
  ret i64 %result

done:
  ret i64 %taken
}
